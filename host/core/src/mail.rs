//! Mail between the agents of a run: which messages wait where, and what became of the others.
//!
//! The state follows from the events alone, like that of the machine: posted = delivered + dropped + waiting. It must not know
//! who may write to whom.

mod law;

pub use law::{Tally, tally};

use crate::event::{Body, Delivered, DropReason, Dropped, MessageKind, Posted, RunEvent, StepStatus};
use crate::id::{StepPath, ToolName};
use foldhash::fast::RandomState;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// The tool by which a step writes to the coordinator.
pub const SEND_MESSAGE: &str = "send_message";
/// The tools that only the coordinator has.
pub const OF_COORDINATOR: [&str; 3] = ["forward_to_agent", "narrate", "finalize"];

/// The tool by which an agent has sub-agents.
pub const AGENT: &str = "agent";

/// Whether a tool is the one of sub-agents.
#[must_use]
pub fn is_agent(tool: &ToolName) -> bool {
    tool.alias().is_none() && tool.local().as_str() == AGENT
}

/// What the call for a sub-agent in the background gives as data.
#[must_use]
pub fn sent_off() -> Value {
    json!({ "background": true })
}

/// Whether this is the answer to a call for a sub-agent that works in the background from then on.
#[must_use]
pub fn sends_off(body: &Body) -> bool {
    let Body::ToolCallFinished { tool, result, error: None, .. } = body else { return false };
    is_agent(tool) && **result == sent_off()
}

/// Whether a tool is one by which agents write to each other, or a coordinator to people.
#[must_use]
pub fn is_tool(tool: &ToolName) -> bool {
    let name = tool.local().as_str();
    tool.alias().is_none() && (name == SEND_MESSAGE || OF_COORDINATOR.contains(&name))
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// Its number in the run, from 1.
    pub id: u64,
    /// Who wrote it.
    pub from: StepPath,
    /// Who it is for.
    pub to: StepPath,
    /// What it is for.
    pub kind: MessageKind,
    /// What it says.
    pub text: Arc<str>,
}

impl Letter {
    /// The event of its delivery, before a turn.
    #[must_use]
    pub fn delivered(&self, turn: u32) -> Body {
        let (from, text) = (self.from.clone(), Arc::clone(&self.text));
        Body::MessageDelivered(Delivered { id: self.id, from, message_kind: self.kind, text, turn })
    }

    /// The event of its end.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> Body {
        let (from, to, text) = (self.from.clone(), self.to.clone(), Arc::clone(&self.text));
        Body::MessageDropped(Dropped { id: self.id, from, to, reason, text })
    }
}

/// A message as an agent reads it.
#[must_use]
pub fn shown(from: &StepPath, kind: MessageKind, text: &str) -> String {
    let from = match from.delegating_call() {
        Some(call) => return format!("[message from sub-agent {call}, which is done]\n{text}"),
        None if from.is_coordinator() => "the coordinator".to_owned(),
        None => format!("step `{from}`"),
    };
    match kind {
        MessageKind::ContextUpdate => format!("[{from} updates what you know]\n{text}"),
        MessageKind::Info | MessageKind::Cancel => format!("[message from {from}]\n{text}"),
    }
}

/// Why a step is cancelled that a message stopped.
#[must_use]
pub fn called_off(text: &str) -> String {
    format!("the coordinator cancelled it: {text}")
}

/// A larger queue that is empty gives its room back.
const ROOM_KEPT: usize = 64;

/// A message that a try has read.
#[derive(Debug)]
struct Read {
    by: u32,
    from: StepPath,
    kind: MessageKind,
    text: Arc<str>,
}

/// The messages of a run.
#[derive(Debug, Default)]
pub struct Mail {
    /// What waits, by reader; also empty where a reader has read all.
    waiting: BTreeMap<StepPath, VecDeque<Letter>>,
    /// What the tries of each step have read, until it has ended.
    read: BTreeMap<StepPath, Vec<Read>>,
    /// The messages that a step wrote, by the keys of its calls, until it is done.
    written: HashMap<StepPath, HashMap<Arc<str>, u64, RandomState>, RandomState>,
    /// Why some of these reached nobody.
    dropped: HashMap<u64, DropReason, RandomState>,
    last: u64,
}

impl Mail {
    /// Takes in what happened, in order.
    pub fn note(&mut self, event: &RunEvent) {
        match &event.body {
            Body::MessagePosted(posted) => {
                self.post(&event.path, posted);
                if posted.in_reply_to.is_some() {
                    self.read.remove(&event.path);
                    self.forget_written(&event.path);
                }
            }
            Body::MessageDelivered(Delivered { id, from, message_kind, text, .. }) => {
                self.last = self.last.max(*id);
                self.remove(&event.path, *id);
                // Another try has sub-agents of its own.
                let own = from.is_delegate();
                if event.path.is_coordinator() || own || *message_kind == MessageKind::Cancel {
                    return;
                }
                let (from, text) = (from.clone(), Arc::clone(text));
                let read = Read { by: event.attempt.unwrap_or(1), from, kind: *message_kind, text };
                match self.read.get_mut(&event.path) {
                    Some(all) => all.push(read),
                    None => drop(self.read.insert(event.path.clone(), vec![read])),
                }
            }
            Body::MessageDropped(Dropped { id, to, reason, .. }) => {
                self.remove(to, *id);
                self.dropped.insert(*id, *reason);
            }
            Body::StepFinished { status: StepStatus::Completed, .. } => {
                self.read.remove(&event.path);
                self.forget_written(&event.path);
            }
            _ => {}
        }
    }

    fn post(&mut self, from: &StepPath, posted: &Posted) {
        let Posted { id, key, to, message_kind, text, failed: _, in_reply_to: _ } = posted;
        self.last = self.last.max(*id);
        self.written.entry(from.step()).or_default().insert(Arc::clone(key), *id);
        let letter =
            Letter { id: *id, from: from.clone(), to: to.clone(), kind: *message_kind, text: Arc::clone(text) };
        match self.waiting.get_mut(to) {
            Some(letters) => letters.push_back(letter),
            None => drop(self.waiting.insert(to.clone(), VecDeque::from([letter]))),
        }
    }

    /// Takes out a message, most often the first. An empty queue stays, since the next message comes soon.
    fn remove(&mut self, to: &StepPath, id: u64) {
        let Some(letters) = self.waiting.get_mut(to) else { return };
        if let Some(place) = letters.iter().position(|letter| letter.id == id) {
            letters.remove(place);
        }
        if letters.is_empty() && letters.capacity() > ROOM_KEPT {
            *letters = VecDeque::new();
        }
    }

    /// The number of the next message.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.last + 1
    }

    /// The message that a call of an agent wrote before it was repeated, and why that reached nobody, if so.
    #[must_use]
    pub fn written(&self, from: &StepPath, key: &str) -> Option<(u64, Option<DropReason>)> {
        let id = self.written.get(&from.step())?.get(key)?;
        Some((*id, self.dropped.get(id).copied()))
    }

    /// No call of a step that is done is repeated. What is dropped after that is nobody's.
    fn forget_written(&mut self, step: &StepPath) {
        for id in self.written.remove(step).into_iter().flat_map(HashMap::into_values) {
            self.dropped.remove(&id);
        }
    }

    /// Whether messages wait for a reader.
    #[must_use]
    pub fn has(&self, to: &StepPath) -> bool {
        self.waiting.get(to).is_some_and(|letters| !letters.is_empty())
    }

    /// How many messages wait for a reader.
    #[must_use]
    pub fn count(&self, to: &StepPath) -> usize {
        self.waiting.get(to).map_or(0, VecDeque::len)
    }

    /// The messages that wait for a reader, the oldest first.
    pub fn waiting(&self, to: &StepPath) -> impl Iterator<Item = &Letter> {
        self.waiting.get(to).into_iter().flatten()
    }

    /// Whether a message was ever written.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.last > 0
    }

    /// What waits within a try of a step that is over: messages to its sub-agents, and from them.
    pub fn within<'m>(&'m self, step: &'m StepPath) -> impl Iterator<Item = &'m Letter> {
        let near =
            self.waiting.range::<StepPath, _>(step..).take_while(move |(to, _)| to.as_str().starts_with(step.as_str()));
        near.flat_map(|(_, letters)| letters)
            .filter(move |letter| letter.from.is_delegate() && letter.to.step() == *step)
    }

    /// All messages that wait, by reader.
    pub fn all(&self) -> impl Iterator<Item = &Letter> {
        self.waiting.values().flatten()
    }

    /// What earlier tries of a step have read: a new one knows it too.
    #[must_use]
    pub fn read_before(&self, to: &StepPath, attempt: u32) -> Vec<Arc<str>> {
        let read = self.read.get(to).into_iter().flatten().filter(|read| read.by < attempt);
        read.map(|read| shown(&read.from, read.kind, &read.text).into()).collect()
    }
}
