//! What an earlier process recorded of a try that is taken up: what the model said and what became of calls.
//!
//! A conversation that is held again from it comes to where it was without asking anybody anything.

use super::ToolReply;
use crate::event::{Body, Decision, Delivered, Posted, Recalled, StepStatus, Told};
use crate::id::{StepPath, ToolName};
use crate::mail;
use crate::message::{Message, Usage};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is recorded of one try.
#[derive(Clone, Debug, Default)]
pub struct PastTry {
    turns: BTreeMap<u32, PastTurn>,
    calls: BTreeMap<String, PastCall>,
    mail: BTreeMap<u32, Vec<Arc<str>>>,
    /// What sub-agents of the try had come to, by where they work.
    delegates: BTreeMap<StepPath, Arc<PastTry>>,
    recalled: Option<Recalled>,
    /// Sub-agents in the background that it has heard of.
    heard: BTreeSet<StepPath>,
    /// The calls that were made by the last time that it had nothing more to do.
    closed: BTreeSet<String>,
    ended: Option<Ended>,
    /// Its last turn called no tools.
    rests: bool,
    /// How often it was given something to read when it had nothing more to do.
    wakes: u32,
}

/// How far the conversation of a completed step had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The last turn before the step ended.
    pub step: u32,
    /// The last turn before that, or before the last answer to a message that came later.
    pub last: u32,
}

/// A try of an earlier process, and what it is known to have spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastAttempt {
    /// Its number.
    pub number: u32,
    /// What is counted to it; nothing where it was cut short.
    pub usage: Usage,
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq)]
pub struct PastTurn {
    /// The model.
    pub model: Arc<str>,
    /// What it said.
    pub message: Message,
    /// What that cost.
    pub usage: Usage,
    /// It was cut at its token limit.
    pub cut: bool,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum PastCall {
    /// The rule that denied it.
    Denied(String),
    /// A person was to be asked about it, and nobody was there.
    Asked {
        /// The tool.
        tool: ToolName,
        /// The arguments, as they are recorded.
        args: Arc<Value>,
        /// The rule that asks; none where no rule decided.
        rule: Option<String>,
    },
    /// It had begun; whether it had its effect is not known.
    Open {
        /// The tool.
        tool: ToolName,
        /// The arguments, as they are recorded.
        args: Arc<Value>,
    },
    /// It was answered.
    Answered {
        /// The tool.
        tool: ToolName,
        /// The arguments, as they are recorded.
        args: Arc<Value>,
        /// The answer.
        reply: ToolReply,
    },
}

impl PastTry {
    /// Takes in what is recorded, in order.
    pub fn note(&mut self, body: &Body) {
        match body {
            Body::TurnFinished { turn, model, message, usage, cut, .. } => {
                let (model, message) = (Arc::clone(model), message.clone());
                self.rests = matches!(&message, Message::Assistant { tool_calls, .. } if tool_calls.is_empty());
                self.turns.insert(*turn, PastTurn { model, message, usage: *usage, cut: *cut });
            }
            Body::MessageDelivered(Delivered { from, message_kind, text, turn, .. }) => {
                self.mail.entry(*turn).or_default().push(mail::shown(from, *message_kind, text).into());
                if from.is_delegate() {
                    self.heard.insert(from.clone());
                }
                if *turn > 0 && std::mem::take(&mut self.rests) && !from.is_delegate() {
                    self.wakes += 1;
                }
            }
            Body::StepFinished { status: StepStatus::Completed, .. }
            | Body::MessagePosted(Posted { in_reply_to: Some(_), .. }) => self.end(),
            Body::Told(Told { turn, text, .. }) => {
                self.mail.entry(*turn).or_default().push(Arc::clone(text));
            }
            Body::MemoryRecalled(recalled) => self.recalled = Some(recalled.clone()),
            Body::PermissionAsked { call_id, tool, args, rule, .. } => {
                let (tool, args, rule) = (tool.clone(), Arc::clone(args), rule.clone());
                self.calls.insert(call_id.clone(), PastCall::Asked { tool, args, rule });
            }
            Body::PermissionDecided { call_id, decision: Decision::Deny, rule, .. } => {
                self.calls.insert(call_id.clone(), PastCall::Denied(rule.clone()));
            }
            Body::ToolCallStarted { call_id, tool, args } => {
                self.calls.insert(call_id.clone(), PastCall::Open { tool: tool.clone(), args: Arc::clone(args) });
            }
            Body::ToolCallFinished { call_id, result, content, error, .. } => {
                let Some(PastCall::Open { tool, args }) = self.calls.remove(call_id) else { return };
                let text = if content.is_empty() { crate::value::to_text(result).into() } else { Arc::clone(content) };
                let reply = ToolReply { text, result: Arc::clone(result), error: error.clone() };
                self.calls.insert(call_id.clone(), PastCall::Answered { tool, args, reply });
            }
            _ => {}
        }
    }

    /// The agent has nothing more to do: its step has ended, or a message that came later is answered.
    fn end(&mut self) {
        let last = self.turns_taken();
        self.ended = Some(Ended { step: self.ended.map_or(last, |ended| ended.step), last });
        self.rests = true;
        self.close();
    }

    /// Whoever was sent off by a call that is made now does nothing more.
    fn close(&mut self) {
        self.closed = self.calls.keys().cloned().collect();
        self.delegates.values_mut().for_each(|delegate| Arc::make_mut(delegate).close());
    }

    /// Takes in what is recorded of a sub-agent.
    pub fn note_delegate(&mut self, path: &StepPath, body: &Body) {
        Arc::make_mut(self.delegates.entry(path.clone()).or_default()).note(body);
    }

    /// What the sub-agents of the try had come to.
    #[must_use]
    pub fn delegates(&self) -> &BTreeMap<StepPath, Arc<Self>> {
        &self.delegates
    }

    /// The ids of the calls that have their answer.
    pub fn answered(&self) -> impl Iterator<Item = &str> {
        let answered = self.calls.iter().filter(|(_, call)| matches!(call, PastCall::Answered { .. }));
        answered.map(|(id, _)| id.as_str())
    }

    /// Whether nothing is recorded that could be taken up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
            && self.calls.is_empty()
            && self.mail.is_empty()
            && self.delegates.is_empty()
            && self.recalled.is_none()
    }

    /// Whether a model has answered.
    #[must_use]
    pub fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Whether it has read what a sub-agent in the background came to.
    #[must_use]
    pub fn has_heard_of(&self, delegate: &StepPath) -> bool {
        self.heard.contains(delegate)
    }

    /// Whether the agent had nothing more to do since a call: whoever it sent off is done, or was stopped.
    #[must_use]
    pub fn is_closed(&self, call_id: &str) -> bool {
        self.closed.contains(call_id)
    }

    /// How far the conversation had come when its step completed, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Where the conversation of a completed step stands, and nothing of what was said.
    #[must_use]
    pub fn mark(&self) -> Self {
        Self { ended: self.ended, ..Self::default() }
    }

    /// The last turn that was answered.
    #[must_use]
    pub fn turns_taken(&self) -> u32 {
        self.turns.last_key_value().map_or(0, |(turn, _)| *turn)
    }

    /// How often others than its sub-agents gave it something to read when it had nothing more to do.
    #[must_use]
    pub fn wakes(&self) -> u32 {
        self.wakes
    }

    /// What retrieval memory had found for it.
    #[must_use]
    pub fn recalled(&self) -> Option<&Recalled> {
        self.recalled.as_ref()
    }

    /// What the model answered in a turn, from 1.
    #[must_use]
    pub fn turn(&self, turn: u32) -> Option<&PastTurn> {
        self.turns.get(&turn)
    }

    /// What was read before a turn, from 1.
    #[must_use]
    pub fn mail(&self, turn: u32) -> &[Arc<str>] {
        self.mail.get(&turn).map(Vec::as_slice).unwrap_or_default()
    }

    /// What became of a call, if it was made.
    #[must_use]
    pub fn call(&self, call_id: &str) -> Option<&PastCall> {
        self.calls.get(call_id)
    }
}
