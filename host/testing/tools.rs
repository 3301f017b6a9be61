//! Scripted tools: answers that stand in a test file, in place of native tools and plugins.
//!
//! A plugin with a scripted tool is not loaded at all, so that it need not be there. A call that no answer fits is an
//! error that says so: nothing is made up.

use super::matcher::includes;
use super::reader::{Fields, one_or_many, wrong};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::{Alias, LocalName, ToolName};
use cofferdam_core::port::{BoxFuture, Effects, Tool, ToolContext, ToolDefinition, ToolOutput};
use cofferdam_core::spec::authored::{Findings, Part};
use cofferdam_core::spec::code;
use cofferdam_core::spec::duration;
use cofferdam_llm::scripted::PathPattern;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The keys of an answer.
pub(super) const KEYS: [&str; 7] = ["step", "args", "times", "result", "content", "error", "delay"];
const ERROR: [&str; 3] = ["code", "message", "class"];
const CLASSES: [(&str, Class); 3] = [("step", Class::Step), ("retry", Class::Retry), ("user", Class::User)];

/// One answer of a tool, and when it is given.
#[derive(Debug)]
pub(super) struct ToolScript {
    step: Option<PathPattern>,
    args: Option<Value>,
    times: Option<u64>,
    outcome: Result<Output, Fault>,
    delay: Duration,
}

#[derive(Clone, Debug)]
struct Output {
    result: Arc<Value>,
    content: Option<Arc<str>>,
}

/// Reads the answers of a tool: one, or a list of which the first that fits answers.
pub(super) fn decode(part: Part<'_>, findings: &mut Findings) -> Vec<ToolScript> {
    one_or_many(part).filter_map(|part| answer(part, findings)).collect()
}

fn answer(part: Part<'_>, findings: &mut Findings) -> Option<ToolScript> {
    let fields = Fields::open(part, &KEYS, findings)?;
    let failed = fields.get("error").map(|part| error(part, findings));
    let says = fields.given("result").is_some() || fields.given("content").is_some();
    if failed.is_some() == says {
        let message = if says { "the answer has an error and a result" } else { "the answer says nothing" };
        let hint = Some("give it `result`, `content` or both, or else `error`".to_owned());
        findings.at(part, code::CONFLICT, message, hint);
    }
    let delay = fields.get("delay").map(|part| {
        let parsed = part.text().and_then(duration::parse);
        if parsed.is_none() {
            findings.at(part, code::BAD_DURATION, "not a duration", Some("write `90s` or `500ms`".to_owned()));
        }
        parsed.unwrap_or_default()
    });
    let output = Output {
        result: Arc::new(fields.get("result").map(Part::to_json).unwrap_or_default()),
        content: fields.get("content").and_then(Part::text).map(Arc::from),
    };
    Some(ToolScript {
        step: fields.text("step", findings).map(PathPattern::new),
        args: fields.get("args").map(Part::to_json),
        times: fields.number("times", findings),
        outcome: failed.map_or(Ok(output), Err),
        delay: delay.unwrap_or_default(),
    })
}

fn error(part: Part<'_>, findings: &mut Findings) -> Fault {
    if let Some(message) = part.text() {
        return Fault::step("tool_error", message);
    }
    let Some(fields) = Fields::open(part, &ERROR, findings) else { return Fault::bug("") };
    let class = fields.get("class").map(|part| {
        let known = CLASSES.iter().find(|(word, _)| part.text() == Some(word));
        if known.is_none() {
            wrong(part, "`step`, `retry` or `user`", findings);
        }
        known.map_or(Class::Step, |(_, class)| *class)
    });
    let code = fields.text("code", findings).unwrap_or("tool_error").to_owned();
    let message = fields.text("message", findings).unwrap_or("the scripted tool failed");
    Fault::new(class.unwrap_or(Class::Step), code, message)
}

/// The scripted tools of one run.
pub(crate) struct StandIns {
    sources: Vec<(Option<Alias>, Arc<dyn Tool>)>,
    names: Vec<LocalName>,
}

impl StandIns {
    pub(super) fn new(tools: &BTreeMap<ToolName, Arc<[ToolScript]>>) -> Self {
        let mut sources: BTreeMap<Option<Alias>, Source> = BTreeMap::new();
        for (name, answers) in tools {
            let source = sources.entry(name.alias().cloned()).or_default();
            source.definitions.push(definition(name));
            source
                .answers
                .insert(name.local().clone(), Answers { answers: Arc::clone(answers), used: Mutex::default() });
        }
        let names = tools.keys().filter(|name| name.alias().is_none()).map(|name| name.local().clone()).collect();
        let sources = sources.into_iter().map(|(alias, source)| (alias, Arc::new(source) as Arc<dyn Tool>)).collect();
        Self { sources, names }
    }

    /// Whether a plugin is played by the script.
    pub(crate) fn plays(&self, alias: &Alias) -> bool {
        self.sources.iter().any(|(known, _)| known.as_ref() == Some(alias))
    }

    /// The scripted tools. Of plugins only those that the document has: another tool is as unknown as in earnest.
    pub(crate) fn sources(&self, has: impl Fn(&Alias) -> bool) -> Vec<(Option<Alias>, Arc<dyn Tool>)> {
        let wanted = self.sources.iter().filter(|(alias, _)| alias.as_ref().is_none_or(&has));
        wanted.cloned().collect()
    }

    /// The tool without what the script plays.
    pub(crate) fn beside(&self, tool: &Arc<dyn Tool>) -> Arc<dyn Tool> {
        let is_free = |definition: &&ToolDefinition| !self.names.contains(&definition.name);
        let definitions: Vec<ToolDefinition> = tool.definitions().iter().filter(is_free).cloned().collect();
        Arc::new(Beside { definitions, inner: Arc::clone(tool) })
    }
}

/// What a scripted tool says of itself: it takes anything, and needs nobody's permission.
fn definition(name: &ToolName) -> ToolDefinition {
    ToolDefinition {
        name: name.local().clone(),
        title: None,
        description: "answers from a test file".to_owned(),
        input_schema: Arc::new(json!({ "type": "object" })),
        output_schema: None,
        effects: Effects { read_only: true, idempotent: true, ..Effects::default() },
        examples: Vec::new(),
    }
}

/// The scripted tools of one plugin, or the native ones.
#[derive(Default)]
struct Source {
    definitions: Vec<ToolDefinition>,
    answers: BTreeMap<LocalName, Answers>,
}

struct Answers {
    answers: Arc<[ToolScript]>,
    used: Mutex<BTreeMap<usize, u64>>,
}

impl Answers {
    fn find(&self, ctx: &ToolContext, args: &Value) -> Option<&ToolScript> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |(index, answer): &(usize, &ToolScript)| {
            answer.step.as_ref().is_none_or(|step| step.fits(ctx.path.as_str()))
                && answer.args.as_ref().is_none_or(|wanted| includes(args, wanted))
                && answer.times.is_none_or(|times| used.get(index).copied().unwrap_or_default() < times)
        };
        let (index, answer) = self.answers.iter().enumerate().find(fits)?;
        *used.entry(index).or_default() += 1;
        Some(answer)
    }
}

impl Tool for Source {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move {
            let Some(answer) = self.answers.get(name).and_then(|answers| answers.find(&ctx, &args)) else {
                let message = format!("the test has no answer of `{name}` for step `{}` with {args}", ctx.path);
                return Err(Fault::step("tool_script_no_answer", message));
            };
            if !answer.delay.is_zero() {
                tokio::time::sleep(answer.delay).await;
            }
            let output = answer.outcome.clone()?;
            Ok(ToolOutput { result: output.result, content: output.content })
        })
    }
}

/// A tool of which some are played by a script.
struct Beside {
    definitions: Vec<ToolDefinition>,
    inner: Arc<dyn Tool>,
}

impl Tool for Beside {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        self.inner.call(ctx, name, args)
    }
}
