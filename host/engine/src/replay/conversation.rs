//! What an agent meets in a replay: a model and tools that say what is recorded, and nothing else.

use super::calls::{Calls, Fate, Recorded};
use super::tries::{failure, other_call};
use crate::attempt::refused;
use crate::gateway::{Gateway, denial_reply};
use cofferdam_core::event::{Body, RunEvent, Waiting};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::ToolName;
use cofferdam_core::mail;
use cofferdam_core::message::{Message, ToolCall};
use cofferdam_core::port::{
    BoxFuture, FinishReason, Mailbox, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream, PastTry, PastTurn,
    Recorder, ToolReply, ToolSpec, Toolbox,
};
use cofferdam_core::run::replay::{Asked, Difference, values_agree};
use cofferdam_core::spec::RunLimits;
use cofferdam_core::value;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was found out while a conversation was held again.
#[derive(Default)]
pub(super) struct Findings {
    /// A turn that is asked for beyond the record.
    pub(super) beyond: Option<u32>,
    /// A call that the record does not answer.
    pub(super) cut: bool,
    pub(super) difference: Option<Difference>,
    /// Tools that are not here, and calls of which left no record.
    pub(super) unknown: BTreeSet<String>,
    /// A sub-agent was sent off: from then on its agent hears of more.
    pub(super) sent_off: bool,
    /// The last call that was found in the record.
    pub(super) calls: u32,
    /// The last turn that was asked for.
    pub(super) turns: u32,
}

/// The record of a try, as the agent's model, tools and recorder.
pub(super) struct Past {
    past: PastTry,
    /// Where it stands, for an agent that is not to know what is recorded.
    mark: PastTry,
    calls: Calls,
    events: Vec<Arc<RunEvent>>,
    specs: Arc<[ToolSpec]>,
    limits: RunLimits,
    gateway: Arc<Gateway>,
    /// How the try ended.
    end: RunEvent,
    failed: bool,
    findings: Mutex<Findings>,
}

impl Past {
    pub(super) fn new(asked: &Asked<'_>, specs: Arc<[ToolSpec]>, limits: RunLimits, gateway: Arc<Gateway>) -> Self {
        let mut past = PastTry::default();
        asked.before.iter().for_each(|event| past.note(&event.body));
        Self {
            mark: past.mark(),
            past,
            calls: Calls::of(asked.before),
            events: asked.before.to_vec(),
            specs,
            limits,
            gateway,
            end: asked.recorded.clone(),
            failed: failure(asked).is_some(),
            findings: Mutex::default(),
        }
    }

    pub(super) fn findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is recorded of the try and did not come up again.
    pub(super) fn left_over(&self) -> Option<Difference> {
        let (turns, calls) = {
            let findings = self.findings();
            (findings.turns, findings.calls)
        };
        let more = |event: &&Arc<RunEvent>| matches!(event.body, Body::TurnFinished { turn, .. } if turn > turns);
        if let Some(event) = self.events.iter().find(more) {
            return Some(Difference::at(event, "the agent is asked once more, and was done"));
        }
        let (_, call) = self.calls.after(calls)?;
        let what = format!("the call of `{}` is not asked for", call.tool);
        Some(Difference { seq: call.seq, ..Difference::at(&self.end, what) })
    }

    fn reply(&self, call: &ToolCall) -> Result<ToolReply, Fault> {
        let Some((tool, args)) = self.read(call) else { return Ok(refused("refused", String::new())) };
        let mut findings = self.findings();
        let fits = |recorded: &Recorded| {
            recorded.tool == tool && recorded.args.as_ref().is_none_or(|recorded| values_agree(&args, recorded))
        };
        let next = self.calls.after(findings.calls);
        if let Some((number, recorded)) = next.filter(|(_, recorded)| fits(recorded)) {
            findings.calls = number;
            return match &recorded.fate {
                Fate::Denied(rule) => Ok(denial_reply(&tool, rule)),
                Fate::Answered(reply) => {
                    findings.sent_off |= mail::is_agent(&tool) && *reply.result == mail::sent_off();
                    Ok(reply.clone())
                }
                // Where the try failed, it did so of something else before the call began.
                Fate::Waits if !self.failed => Err(Waiting::default().to_fault()),
                // A sub-agent waits, which has a record of its own.
                Fate::Open if self.waits() && mail::is_agent(&tool) => Err(Waiting::default().to_fault()),
                Fate::Waits | Fate::Open => {
                    findings.cut = true;
                    Ok(refused("open", String::new()))
                }
            };
        }
        let offered = self.specs.iter().any(|spec| spec.name == call.name);
        if !offered || self.gateway.refuse(&tool, &args).is_some() {
            // It was refused before it was one, or nobody here knows.
            if !self.gateway.knows(&tool) {
                findings.unknown.insert(tool.to_string());
            }
        } else if self.failed {
            // The try may have ended before it came to the call.
            findings.cut = true;
        } else {
            findings.difference = Some(match next {
                Some((_, recorded)) => other_call(&self.end, recorded, (&tool.to_string(), &args)),
                None => Difference::at(&self.end, format!("the call of `{tool}` is not in the record")).replayed(args),
            });
            return Err(stopped());
        }
        Ok(refused("refused", String::new()))
    }

    /// What came when there was nothing else to do.
    fn rest(&self, turn: u32) -> Result<Vec<Arc<str>>, Fault> {
        let mail = self.past.mail(turn);
        // Of those that were sent off one waits, which has a record of its own.
        let waits = self.waits() && self.findings().sent_off && self.past.turn(turn).is_none();
        if mail.is_empty() && waits { Err(Waiting::default().to_fault()) } else { Ok(mail.to_vec()) }
    }

    /// Whether the try ended waiting.
    fn waits(&self) -> bool {
        matches!(self.end.body, Body::StepWaiting(_))
    }

    /// What is looked at before a call gets its number; none when it is refused there.
    fn read(&self, call: &ToolCall) -> Option<(ToolName, Value)> {
        let tool = ToolName::parse_wire(&call.name).ok()?;
        let args = call.parse_arguments().ok().filter(|_| call.arguments.len() <= self.limits.tool_argument_bytes)?;
        value::check_depth(&args).ok()?;
        Some((tool, args))
    }
}

/// Ends a conversation that cannot go on.
fn stopped() -> Fault {
    Fault::cancelled()
}

impl Toolbox for Past {
    fn specs(&self) -> Arc<[ToolSpec]> {
        Arc::clone(&self.specs)
    }

    fn call<'a>(&'a self, call: &'a ToolCall) -> BoxFuture<'a, Result<ToolReply, Fault>> {
        Box::pin(std::future::ready(self.reply(call)))
    }
}

/// What was read is what is recorded.
impl Mailbox for Past {
    fn read(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(std::future::ready(Ok(self.past.mail(turn).to_vec())))
    }

    fn close(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(std::future::ready(self.rest(turn)))
    }

    fn wait(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(std::future::ready(self.rest(turn)))
    }

    fn listens_on(&self) -> bool {
        self.findings().sent_off
    }
}

impl Recorder for Past {
    fn record(&self, _: Body) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn past(&self) -> Option<&PastTry> {
        Some(&self.mark)
    }

    fn observe(&self, _: Body) {}
}

impl Model for Past {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "replay".into(), is_language_model: false, summary: "says what is recorded".to_owned() }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(std::future::ready(self.say(request.turn)))
    }
}

impl Past {
    fn say(&self, turn: u32) -> Result<ModelStream, Fault> {
        let mut findings = self.findings();
        let Some(PastTurn { message, usage, cut, .. }) = self.past.turn(turn) else {
            findings.beyond = Some(turn);
            return Err(stopped());
        };
        findings.turns = turn;
        if findings.cut {
            findings.difference = Some(Difference::at(&self.end, format!("turn {turn} follows a call without an end")));
            return Err(stopped());
        }
        let mut said = Vec::new();
        if let Message::Assistant { text, tool_calls, opaque } = message {
            said.extend((!text.is_empty()).then(|| ModelEvent::Text(text.to_string())));
            said.extend(tool_calls.iter().cloned().map(ModelEvent::ToolCall));
            said.extend(opaque.iter().cloned().map(ModelEvent::Opaque));
        }
        let reason = if *cut { FinishReason::Length } else { FinishReason::Stop };
        said.extend([ModelEvent::Usage(*usage), ModelEvent::Finished(reason)]);
        Ok(Box::pin(futures_util::stream::iter(said.into_iter().map(Ok))))
    }
}
