//! Sub-agents: an agent has itself do a part of its task, in a conversation of its own, at a path below that of its step.
//!
//! It is a call of a tool like others; what happens within it is recorded at its own path, so that it is taken up where a
//! process left it.

use super::background::{Background, Room, SentOff};
use super::{Setting, Terms, waits};
use crate::agent::LlmAgent;
use crate::mailbox::Recorded;
use crate::recorder::AttemptRecorder;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{StepPath, ToolName};
use cofferdam_core::limits;
use cofferdam_core::mail::{self, AGENT};
use cofferdam_core::port::{
    Agent as _, AgentFailure, AgentInput, Approvals, BoxFuture, Delegate, Mailbox, NoMail, PastTry, Task, ToolContext,
    ToolOutput, ToolSpec,
};
use cofferdam_core::spec::workflow::pattern_matches;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The sub-agents of one conversation.
#[derive(Default)]
pub(super) struct Delegates {
    /// How many agents stand between this conversation and the step.
    depth: u32,
    /// How many have begun.
    begun: AtomicU32,
    /// What earlier processes recorded of all sub-agents of the try.
    past: Arc<BTreeMap<StepPath, Arc<PastTry>>>,
}

impl Delegates {
    /// Those of a try.
    pub(super) fn of_try(setting: &Setting) -> Self {
        let past = setting.recorder.past.as_deref();
        let delegates = past.map(|past| past.delegates().clone()).unwrap_or_default();
        let begun = answered(past, &setting.path, &delegates);
        Self { depth: 0, begun: AtomicU32::new(begun), past: Arc::new(delegates) }
    }
}

/// How many sub-agents of a conversation have done their task before it is taken up; others begin once more.
fn answered(past: Option<&PastTry>, path: &StepPath, all: &BTreeMap<StepPath, Arc<PastTry>>) -> u32 {
    let calls = past.into_iter().flat_map(PastTry::answered);
    let count = calls.filter(|call| all.contains_key(&path.delegate(call))).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Setting {
    /// The way to sub-agents for an agent with these terms.
    pub(super) fn delegation(self: &Arc<Self>, terms: &Terms) -> Option<Delegation> {
        terms.delegate.as_ref()?;
        Some(Delegation { setting: Arc::clone(self), terms: terms.clone() })
    }

    /// The place of a sub-agent in the same try.
    fn below(&self, call: &str) -> Self {
        let path = self.path.delegate(call);
        let past = self.delegates.past.get(&path).cloned();
        let delegates = Delegates {
            depth: self.delegates.depth + 1,
            begun: AtomicU32::new(answered(past.as_deref(), &path, &self.delegates.past)),
            past: Arc::clone(&self.delegates.past),
        };
        let mail: Arc<dyn Mailbox> = match &past {
            Some(past) => Arc::new(Recorded(Arc::clone(past))),
            None => Arc::new(NoMail),
        };
        let room = Room {
            path: path.clone(),
            clock: Arc::clone(&self.clock),
            person: Arc::clone(self.gateway.person()),
            // Nobody but its own sub-agents writes to it, and these say so themselves.
            mail_came: Arc::default(),
        };
        let purse = self.purse.below(&path).unwrap_or_else(|| Arc::clone(&self.purse));
        let recorder = AttemptRecorder { path: path.clone(), past, ..(*self.recorder).clone() };
        Self {
            run_id: self.run_id.clone(),
            path,
            number: self.number,
            earlier: Vec::new(),
            limits: self.limits,
            chains: self.chains.clone(),
            clock: Arc::clone(&self.clock),
            deadline: self.deadline,
            cancel: self.cancel.clone(),
            recorder: Arc::new(recorder),
            gateway: Arc::clone(&self.gateway),
            place: Arc::clone(&self.place),
            narrowings: Arc::clone(&self.narrowings),
            kept: Arc::default(),
            answers: BTreeMap::new(),
            approvals: Approvals::default(),
            mail,
            coordinated: false,
            recollection: None,
            purse,
            calls: AtomicU32::new(0),
            delegates,
            background: Arc::new(Background::new(room)),
        }
    }
}

/// The sub-agents of an agent.
pub(super) struct Delegation {
    setting: Arc<Setting>,
    terms: Terms,
}

impl Delegate for Delegation {
    fn delegate<'a>(&'a self, from: &'a ToolContext, task: Task) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(self.take(from, task))
    }
}

impl Delegation {
    async fn take(&self, from: &ToolContext, task: Task) -> Result<ToolOutput, Fault> {
        let call = &*from.call_id;
        let work = self.work_of(call, &task)?;
        if task.background {
            self.setting.background.refuse()?;
        }
        if self.setting.delegates.begun.fetch_add(1, Ordering::Relaxed) >= limits::AGENT_CHILDREN {
            let message =
                format!("{} sub-agents have worked for this agent, and that is the most", limits::AGENT_CHILDREN);
            return Err(Fault::step("too_many_agents", message).with_hint("do the rest yourself"));
        }
        if !task.background {
            return work.done().await;
        }
        self.setting.background.begin(self.sent_off(call), Box::pin(work.done()));
        let told = format!("sub-agent {call} is at work; what it comes to arrives as a message from it");
        Ok(ToolOutput { result: Arc::new(mail::sent_off()), content: Some(told.into()) })
    }

    /// Goes on with what a sub-agent in the background had come to in an earlier process: the call that sent it off is
    /// answered from the record. One whose answer was read is done, and so is one whose agent had nothing more to do since.
    pub(super) fn take_up(&self, call: &str, task: &Task) {
        let (setting, path) = (&self.setting, self.setting.path.delegate(call));
        if !setting.delegates.past.contains_key(&path) {
            setting.delegates.begun.fetch_add(1, Ordering::Relaxed);
        }
        let is_done = |past: &Arc<PastTry>| past.has_heard_of(&path) || past.is_closed(call);
        if setting.recorder.past.as_ref().is_some_and(is_done) {
            return setting.background.open();
        }
        let (sent, work) = (self.sent_off(call), self.work_of(call, task));
        let work = async move { work?.done().await };
        setting.background.begin(sent, Box::pin(work));
    }

    fn work_of(&self, call: &str, task: &Task) -> Result<Work, Fault> {
        let Some(agent) = &self.terms.delegate else { return Err(no_agents()) };
        let tools = self.tools_of(task)?;
        let agent = match &task.instructions {
            Some(instructions) => Arc::new(agent.instructed(Arc::clone(instructions))),
            None => Arc::clone(agent),
        };
        let terms = Terms { tools, result: None, delegate: Some(Arc::clone(&agent)), ..self.terms.clone() };
        Ok(Work { setting: Arc::new(self.setting.below(call)), agent, terms, text: Arc::clone(&task.text) })
    }

    fn sent_off(&self, call: &str) -> SentOff {
        let setting = &self.setting;
        let recorder = AttemptRecorder { path: setting.path.delegate(call), past: None, ..(*setting.recorder).clone() };
        let key = format!("{}/answer", setting.idempotency_key(call)).into();
        SentOff { recorder, to: setting.path.clone(), key }
    }

    /// The tools of a sub-agent: those of its agent that the task names.
    fn tools_of(&self, task: &Task) -> Result<Arc<[ToolSpec]>, Fault> {
        let deepest = self.setting.delegates.depth + 1 >= limits::AGENT_DEPTH;
        // Nobody could answer a message to the coordinator: the conversation has no name that a document knows.
        let own = |(name, _): &(ToolName, &ToolSpec)| !(mail::is_tool(name) || deepest && name.to_string() == AGENT);
        let named = self.terms.tools.iter().filter_map(|spec| Some((ToolName::parse_wire(&spec.name).ok()?, spec)));
        let has: Vec<(String, &ToolSpec)> = named.filter(own).map(|(name, spec)| (name.to_string(), spec)).collect();
        let Some(patterns) = &task.tools else { return Ok(has.into_iter().map(|(_, spec)| spec.clone()).collect()) };
        let is_none = |pattern: &&String| !has.iter().any(|(name, _)| pattern_matches(pattern, name));
        if let Some(pattern) = patterns.iter().find(is_none) {
            let names: Vec<&str> = has.iter().map(|(name, _)| name.as_str()).collect();
            let message =
                format!("`{pattern}` is no tool that a sub-agent here could have; these are: {}", names.join(", "));
            return Err(Fault::step("unknown_tool", message));
        }
        let meant = has.iter().filter(|(name, _)| patterns.iter().any(|pattern| pattern_matches(pattern, name)));
        Ok(meant.map(|(_, spec)| (*spec).clone()).collect())
    }
}

/// A sub-agent and its task.
struct Work {
    setting: Arc<Setting>,
    agent: Arc<LlmAgent>,
    terms: Terms,
    text: Arc<str>,
}

impl Work {
    async fn done(self) -> Result<ToolOutput, Fault> {
        let Self { setting, agent, terms, text } = self;
        let events = Arc::clone(&setting.recorder);
        let ctx = setting.agent_context(&terms, events);
        let given = agent.run(ctx, AgentInput { message: text, attachments: Vec::new() }).await;
        setting.background.end(waits(&given), &setting.recorder).await;
        let given = given.map_err(failed)?;
        let content = match given.output.truncated {
            true => format!("{}\n[The sub-agent was cut off before it was done.]", given.output.content).into(),
            false => given.output.content,
        };
        Ok(ToolOutput { result: given.output.result, content: Some(content) })
    }
}

/// Why a sub-agent is not done. What ends the try of its step does so as it is.
fn failed(failure: AgentFailure) -> Fault {
    let fault = failure.fault;
    if fault.ends_try() {
        return fault;
    }
    Fault::step("agent_failed", format!("the sub-agent failed: {}", fault.message))
}

pub(crate) fn no_agents() -> Fault {
    Fault::step("no_agents", "no sub-agent can work here").with_hint("only agents that a model drives have sub-agents")
}
