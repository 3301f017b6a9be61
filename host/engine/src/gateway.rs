//! The one way to a tool: every call, of a document or a model, native or component, passes here.
//!
//! In this order: the tool is known, the arguments fit its schema, the call is permitted, the intent is in the
//! journal, the tool runs, the outcome is in the journal.

mod asking;
mod deferred;
mod handler;
mod list;
mod past;
mod words;

pub use handler::{PermissionAnswer, PermissionHandler, PermissionRequest};
pub use list::Listed;
pub(crate) use words::denial_reply;

use crate::context_tools::{self, ContextTools};
use crate::delegate_tool::DelegateTool;
use crate::mail_tools::{self, MailTools};
use crate::memory_tools::MemoryTools;
use crate::person::{self, PersonTime};
use crate::recall_tools::{self, RecallTools};
use asking::{Asked, Asking, Ruling};
use cofferdam_core::event::{Approved, Body, Decision, OpenApproval};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::{Alias, ToolName};
use cofferdam_core::limits;
use cofferdam_core::mail;
use cofferdam_core::permission::{self, Decided, Origin, Outcome, Request, Rule, Rules};
use cofferdam_core::port::{
    Approver, BoxFuture, Clock, Invoke, Nested, NoRedactor, Question, Redactor, Remembered, Seal, Tool, ToolContext,
    ToolDefinition, ToolReply, ToolSpec, redact_fault, redact_text, redact_value,
};
use cofferdam_core::schema::{self, Checker, SchemaError};
use cofferdam_core::spec::workflow::{ToolFilter, UnknownEffect};
use cofferdam_core::value;
use deferred::denies;
use futures_util::FutureExt as _;
use past::Before;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tracing::Instrument as _;
use words::{denial, refusal, reply, shown, title};

/// Tools that cannot be offered together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// Two sources offer the same name.
    #[error("two tools are called `{0}`")]
    Collision(ToolName),
    /// A tool's schema is not one.
    #[error("tool `{tool}`: {source}")]
    Schema {
        /// The tool.
        tool: ToolName,
        /// What is wrong.
        source: SchemaError,
    },
}

/// The tools of a run, and the rules about them.
pub struct Gateway {
    entries: BTreeMap<ToolName, Entry>,
    /// Sources whose tools are not known here.
    unlisted: BTreeSet<Alias>,
    rules: Rules,
    asking: Asking,
    clock: Arc<dyn Clock>,
    person: Arc<PersonTime>,
    redactor: Arc<dyn Redactor>,
    /// What becomes of a call whose effect is not known; none = a person is asked, where there is one.
    unknown_effect: Option<UnknownEffect>,
    /// A coordinator reads what agents write.
    coordinated: bool,
    /// The run has a retrieval memory.
    recalls: bool,
    handler: Option<PermissionHandler>,
    /// Calls that nobody is there to allow wait.
    deferring: AtomicBool,
}

struct Entry {
    source: Arc<dyn Tool>,
    definition: ToolDefinition,
    schema: OnceLock<Result<Checker, SchemaError>>,
}

/// A call on its way through the gateway.
pub(crate) struct Call {
    pub(crate) ctx: ToolContext,
    pub(crate) tool: ToolName,
    pub(crate) args: Value,
    pub(crate) origin: Origin,
    /// Whose model made it.
    pub(crate) agent: Option<Arc<str>>,
    /// The tool that makes it, where one does.
    pub(crate) caller: Option<ToolName>,
}

impl Gateway {
    /// Collects the tools of all sources: native ones without an alias, a plugin's under its alias.
    ///
    /// # Errors
    /// When two tools have the same name.
    pub fn new(
        sources: impl IntoIterator<Item = (Option<Alias>, Arc<dyn Tool>)>,
        rules: Rules,
        approver: Option<Arc<dyn Approver>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GatewayError> {
        let mut entries = BTreeMap::new();
        let context: Arc<dyn Tool> = Arc::new(ContextTools::new());
        let mail: Arc<dyn Tool> = Arc::new(MailTools::new());
        let memory: Arc<dyn Tool> = Arc::new(MemoryTools::new());
        let agent: Arc<dyn Tool> = Arc::new(DelegateTool::new());
        let recall: Arc<dyn Tool> = Arc::new(RecallTools::new());
        let own = [context, mail, memory, agent, recall].map(|own| (None, own));
        for (alias, source) in sources.into_iter().chain(own) {
            for definition in source.definitions().to_vec() {
                let name = ToolName::new(alias.clone(), definition.name.clone());
                let entry = Entry { source: Arc::clone(&source), definition, schema: OnceLock::new() };
                if entries.insert(name.clone(), entry).is_some() {
                    return Err(GatewayError::Collision(name));
                }
            }
        }
        Ok(Self {
            entries,
            unlisted: BTreeSet::new(),
            rules,
            asking: Asking::new(approver),
            clock,
            person: Arc::default(),
            redactor: Arc::new(NoRedactor),
            unknown_effect: None,
            coordinated: false,
            recalls: false,
            handler: None,
            deferring: AtomicBool::new(false),
        })
    }

    /// Who knows what must not be seen of what tools give.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Arc<dyn Redactor>) -> Self {
        self.redactor = redactor;
        self
    }

    /// Who keeps answers for later runs.
    #[must_use]
    pub fn with_remembered(mut self, remembered: Option<Arc<dyn Remembered>>) -> Self {
        self.asking.remembered = remembered;
        self
    }

    /// Who tells what this user said about calls from what a record only claims; nobody = the record is believed.
    #[must_use]
    pub fn with_seal(mut self, seal: Option<Arc<dyn Seal>>) -> Self {
        self.asking.seal = seal;
        self
    }

    /// What becomes of a call of an earlier process that may or may not have had its effect.
    #[must_use]
    pub fn with_unknown_effect(mut self, policy: Option<UnknownEffect>) -> Self {
        self.unknown_effect = policy;
        self
    }

    /// Whether a coordinator reads what agents write: without one they are not offered to.
    #[must_use]
    pub fn with_coordinator(mut self, coordinated: bool) -> Self {
        self.coordinated = coordinated;
        self
    }

    /// Whether the run has a retrieval memory: without one nobody is offered to search it.
    #[must_use]
    pub fn with_recall(mut self, recalls: bool) -> Self {
        self.recalls = recalls;
        self
    }

    /// Who decides before a person is asked.
    #[must_use]
    pub fn with_handler(mut self, handler: Option<PermissionHandler>) -> Self {
        self.handler = handler;
        self
    }

    /// Calls that nobody is there to allow wait from now on; with what people said about those that the run waited with.
    pub(crate) fn defer_approvals<'w>(&self, said: impl Iterator<Item = (&'w OpenApproval, &'w Approved)>) {
        self.deferring.store(true, Ordering::Relaxed);
        self.asking.take_words(said);
    }

    /// Whether calls that nobody is there to allow wait; else they are denied.
    pub(crate) fn defers(&self) -> bool {
        self.deferring.load(Ordering::Relaxed)
    }

    pub(crate) fn seal(&self) -> Option<&dyn Seal> {
        self.asking.seal.as_deref()
    }

    /// Who knows what must not be seen.
    pub(crate) fn shared_redactor(&self) -> Arc<dyn Redactor> {
        Arc::clone(&self.redactor)
    }

    pub(crate) fn redactor(&self) -> &dyn Redactor {
        self.redactor.as_ref()
    }

    /// Names sources whose tools are known only where they run: nothing is said against a name of theirs.
    #[must_use]
    pub fn with_unlisted(mut self, aliases: impl IntoIterator<Item = Alias>) -> Self {
        self.unlisted.extend(aliases);
        self
    }

    /// Who can be asked.
    pub(crate) fn approver(&self) -> Option<&Arc<dyn Approver>> {
        self.asking.approver.as_ref()
    }

    /// The time that people took.
    pub(crate) fn person(&self) -> &Arc<PersonTime> {
        &self.person
    }

    /// The names of all tools.
    pub fn names(&self) -> impl Iterator<Item = &ToolName> {
        self.entries.keys()
    }

    /// Whether a rule names an argument that none of its tools here has.
    #[must_use]
    pub fn lacks_argument(&self, rule: &Rule) -> bool {
        let Some(argument) = rule.argument() else { return false };
        let mut named = self.entries.iter().filter(|(tool, _)| rule.names(tool)).peekable();
        let has = |entry: &Entry| {
            let properties = entry.definition.input_schema.get("properties");
            properties.is_none_or(|properties| properties.get(argument).is_some())
        };
        named.peek().is_some() && !named.any(|(_, entry)| has(entry))
    }

    /// Whether there is such a tool, or nobody knows.
    #[must_use]
    pub fn has(&self, tool: &ToolName) -> bool {
        self.entries.contains_key(tool) || tool.alias().is_some_and(|alias| self.unlisted.contains(alias))
    }

    /// Whether there is such a tool here.
    pub(crate) fn knows(&self, tool: &ToolName) -> bool {
        self.entries.contains_key(tool)
    }

    /// Why arguments that are known before anything runs cannot be given to a tool, if they cannot.
    pub(crate) fn refuse(&self, tool: &ToolName, args: &Value) -> Option<Fault> {
        self.entries.get(tool).and_then(|entry| entry.check(tool, args).err())
    }

    /// The tools that a filter admits, as a model sees them.
    #[must_use]
    pub fn specs(&self, filter: &ToolFilter) -> Arc<[ToolSpec]> {
        self.specs_of(|name| self.offers(name, filter))
    }

    /// Whether an agent with this filter is offered a tool.
    fn offers(&self, name: &ToolName, filter: &ToolFilter) -> bool {
        let meant = match mail::is_tool(name) {
            true => self.coordinated && mail_tools::is_send(name),
            false => context_tools::is_offered(name, filter) && (self.recalls || !recall_tools::is_search(name)),
        };
        filter.admits(name) && meant
    }

    /// The same for the coordinator, who has tools of its own.
    pub(crate) fn coordinator_specs(&self, filter: &ToolFilter) -> Arc<[ToolSpec]> {
        let own = |name: &ToolName| mail::is_tool(name) && !mail_tools::is_send(name);
        // Sub-agents are those of a step.
        let others =
            |name: &ToolName| !mail::is_tool(name) && context_tools::is_offered(name, filter) && !mail::is_agent(name);
        self.specs_of(|name| filter.admits(name) && (own(name) || others(name)))
    }

    fn specs_of(&self, admitted: impl Fn(&ToolName) -> bool) -> Arc<[ToolSpec]> {
        let admitted = self.entries.iter().filter(|(name, _)| admitted(name));
        admitted
            .map(|(name, entry)| ToolSpec {
                name: name.wire(),
                description: entry.definition.description.clone(),
                parameters: Arc::clone(&entry.definition.input_schema),
            })
            .collect()
    }

    /// Passes a call.
    ///
    /// # Errors
    /// Only what ends the attempt: it was cancelled, or the journal refuses. What the tool or the rules say is a
    /// reply.
    pub(crate) async fn call(&self, mut call: Call) -> Result<ToolReply, Fault> {
        let Some(entry) = self.entries.get(&call.tool) else { return Ok(refusal(self.unknown(&call.tool))) };
        if let Err(fault) = entry.check(&call.tool, &call.args) {
            return Ok(refusal(fault));
        }
        if let Before::Answered(reply) = self.before(entry, &call).await? {
            return Ok(reply);
        }
        let before = self.clock.now();
        let mut decided = match self.decide(entry, &call).await {
            Ruling::Decided(decided) => decided,
            Ruling::Wait(rule) => return self.defer(&call, rule).await,
        };
        // A person may have said something that must not be seen.
        let mut rule = Arc::from(decided.rule);
        redact_text(self.redactor(), &mut rule);
        decided.rule = rule.to_string();
        let asked = self.person.within(&call.ctx.path, before, self.clock.now());
        call.ctx.deadline = call.ctx.deadline.map(|deadline| deadline.after(asked));
        let denied = decided.outcome != Outcome::Allow;
        call.ctx.events.observe(Body::PermissionDecided {
            call_id: call.ctx.call_id.to_string(),
            tool: call.tool.clone(),
            decision: if denied { Decision::Deny } else { Decision::Allow },
            rule: decided.rule.clone(),
        });
        if denied {
            let fault = denial(&call.tool, &decided.rule);
            if call.origin != Origin::Document {
                let hint = fault.hint.as_deref().unwrap_or_default();
                let message = format!("{}; {hint}", fault.message);
                call.ctx.events.observe(Body::Warning { code: "tool_denied".to_owned(), message });
            }
            return Ok(denial_reply(&call.tool, &decided.rule));
        }
        let span = tracing::info_span!("tool_call", tool = %call.tool, call = %call.ctx.call_id);
        self.run(entry, call).instrument(span).await
    }

    async fn run(&self, entry: &Entry, call: Call) -> Result<ToolReply, Fault> {
        let args = Arc::new(call.args);
        let call_id = call.ctx.call_id.to_string();
        let intent =
            Body::ToolCallStarted { call_id: call_id.clone(), tool: call.tool.clone(), args: Arc::clone(&args) };
        call.ctx.events.record(intent).await?;
        let began = self.clock.now();
        let events = Arc::clone(&call.ctx.events);
        let ctx = ToolContext { tool: Some(call.tool.clone()), ..call.ctx };
        let work = AssertUnwindSafe(entry.source.call(ctx, &entry.definition.name, args)).catch_unwind();
        let outcome = work.await.unwrap_or_else(|_| Err(Fault::bug(format!("tool `{}` panicked", call.tool))));
        let mut reply = match outcome {
            Err(fault) if fault.class == Class::Cancelled || ends_agent(&call.tool, &fault) => return Err(fault),
            Err(fault) => refusal(fault),
            Ok(output) => reply(output),
        };
        self.redact(&mut reply);
        let took = self.clock.now().since(began);
        events.observe(Body::ToolCallFinished {
            call_id,
            tool: call.tool,
            result: Arc::clone(&reply.result),
            content: if *reply.text == *value::to_text(&reply.result) {
                Arc::default()
            } else {
                Arc::clone(&reply.text)
            },
            error: reply.error.clone(),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        Ok(reply)
    }

    /// What a model or another tool gets is searched like what is recorded.
    fn redact(&self, reply: &mut ToolReply) {
        redact_text(self.redactor(), &mut reply.text);
        redact_value(self.redactor(), &mut reply.result);
        reply.error.iter_mut().for_each(|fault| redact_fault(self.redactor(), fault));
    }

    async fn decide(&self, entry: &Entry, call: &Call) -> Ruling {
        let request =
            Request { tool: &call.tool, args: &call.args, effects: entry.definition.effects, origin: call.origin };
        let decided = permission::decide(&request, &self.rules);
        let word = self.word_about(call);
        let held = self.held(call, word);
        let rule = match decided.outcome {
            Outcome::Deny => return Ruling::Decided(decided),
            // What a person was asked about is theirs to decide, unless somebody allows it by a rule now.
            Outcome::Allow if held.is_none() || decided.by_rule && !denies(word) => return Ruling::Decided(decided),
            Outcome::Allow => held.flatten(),
            Outcome::Undecided => None,
            Outcome::Ask => Some(decided.rule),
        };
        let asked = Asked { tool: &call.tool, args: &call.args, rule };
        if let Some((_, word)) = word {
            return Ruling::Decided(self.asking.take_word(&asked, word));
        }
        if let Some(known) = self.asking.known(&asked).await {
            return Ruling::Decided(known);
        }
        if let Some(decided) = self.handled(call) {
            return Ruling::Decided(decided);
        }
        let question = Question {
            run_id: Some(call.ctx.run_id.clone()),
            path: call.ctx.path.clone(),
            title: title(&call.tool, call.caller.as_ref()),
            detail: shown(&call.args),
            always: asked
                .rule
                .is_none()
                .then(|| format!("every call of `{}` by models and plugins in this project", call.tool)),
        };
        let ask = || self.person.ask(call.ctx.path.clone(), &self.clock, person::Presence::Here);
        let _open = self.approver().map(|_| ask());
        self.asking.ask(&asked, question, self.without_answer(call)).await
    }

    /// What code decides where otherwise a person is asked; none leaves it to the person.
    fn handled(&self, call: &Call) -> Option<Decided> {
        let handler = self.handler.as_ref()?;
        let request = PermissionRequest {
            run_id: call.ctx.run_id.clone(),
            step: call.ctx.path.clone(),
            agent: call.agent.clone(),
            caller: call.caller.clone(),
            tool: call.tool.clone(),
            args: call.args.clone(),
        };
        let decided = |outcome, rule: String| Some(Decided { outcome, rule, by_rule: true });
        match std::panic::catch_unwind(AssertUnwindSafe(|| handler(&request))) {
            Ok(PermissionAnswer::Allow) => decided(Outcome::Allow, "the program allowed it".to_owned()),
            Ok(PermissionAnswer::Deny(why)) => decided(Outcome::Deny, format!("the program denied it: {why}")),
            Ok(PermissionAnswer::Ask) => None,
            Err(_) => decided(Outcome::Deny, "what the program decides with panicked".to_owned()),
        }
    }

    fn unknown(&self, tool: &ToolName) -> Fault {
        let names: Vec<String> = self.names().filter(|name| !mail::is_tool(name)).map(ToString::to_string).collect();
        Fault::step("unknown_tool", format!("there is no tool `{tool}`"))
            .with_hint(format!("the tools of this run are: {}", names.join(", ")))
    }
}

impl Invoke for Gateway {
    fn invoke<'a>(&'a self, from: &'a ToolContext, call: Nested) -> BoxFuture<'a, Result<ToolReply, Fault>> {
        let Nested { number, tool, args, deadline } = call;
        if from.depth >= limits::PLUGIN_INVOKE_DEPTH {
            let message = format!("tools call each other at most {} deep", limits::PLUGIN_INVOKE_DEPTH);
            return Box::pin(std::future::ready(Ok(refusal(Fault::step("invoke_depth", message)))));
        }
        let caller = from.tool.clone();
        let ctx = ToolContext {
            tool: None,
            call_id: format!("{}.{number}", from.call_id).into(),
            idempotency_key: format!("{}.{number}", from.idempotency_key).into(),
            deadline: Some(from.deadline.map_or(deadline, |own| own.min(deadline))),
            depth: from.depth + 1,
            agents: None,
            ..from.clone()
        };
        Box::pin(self.call(Call { ctx, tool, args, origin: Origin::Plugin, agent: None, caller }))
    }
}

impl Entry {
    fn check(&self, tool: &ToolName, args: &Value) -> Result<(), Fault> {
        let schema = self.schema.get_or_init(|| schema::check(&self.definition.input_schema));
        let schema = schema.as_ref().map_err(|error| Fault::step("tool_schema", format!("tool `{tool}`: {error}")))?;
        schema.check(args).map_err(|what| {
            Fault::step("invalid_arguments", format!("arguments of `{tool}` do not fit its schema: {what}"))
        })
    }
}

/// Whether a sub-agent cannot go on for a reason that ends the try of its step too.
fn ends_agent(tool: &ToolName, fault: &Fault) -> bool {
    mail::is_agent(tool) && fault.ends_try()
}
