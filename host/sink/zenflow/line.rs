//! One line of the stream: the fields that all types share, and how they are written.

use cofferdam_core::event::RunEvent;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::message::Usage;
use cofferdam_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// The fields in the order in which they are written; absent ones are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Timestamp,
    run_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Tokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    piece: Option<Piece>,
}

#[derive(Debug, Serialize)]
struct Tokens {
    prompt: u64,
    completion: u64,
    total: u64,
}

/// A piece of an answer: the fields of the type `output` alone.
#[derive(Debug, Serialize)]
struct Piece {
    delta: String,
    done: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reasoning: bool,
}

/// What a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Text,
    Reasoning,
    /// The answer has ended.
    End,
}

impl Line {
    /// A line at the event's time and step.
    pub(super) fn new(kind: &'static str, event: &RunEvent) -> Self {
        let step_id = (!event.path.is_root()).then(|| step_name(&event.path));
        Self {
            kind,
            timestamp: event.at,
            run_id: event.run_id.to_string(),
            step_id,
            agent: None,
            message: None,
            duration: None,
            tokens: None,
            error: None,
            data: None,
            piece: None,
        }
    }

    pub(super) fn step(mut self, path: &StepPath) -> Self {
        self.step_id = Some(step_name(path));
        self
    }

    pub(super) fn agent(mut self, agent: Option<Arc<str>>) -> Self {
        self.agent = agent;
        self
    }

    pub(super) fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into()).filter(|message| !message.is_empty());
        self
    }

    pub(super) fn took(mut self, took: Option<Duration>) -> Self {
        self.duration = took.map(written);
        self
    }

    /// Tokens that were spent; none are not told.
    pub(super) fn spent(self, usage: &Usage) -> Self {
        if usage.is_empty() { self } else { self.tokens(usage) }
    }

    pub(super) fn tokens(mut self, usage: &Usage) -> Self {
        self.tokens = Some(Tokens { prompt: usage.input, completion: usage.output, total: usage.total() });
        self
    }

    pub(super) fn error(mut self, fault: Option<&Fault>) -> Self {
        self.error = fault.map(ToString::to_string);
        self
    }

    pub(super) fn data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    pub(super) fn piece(mut self, channel: Channel, delta: &str) -> Self {
        let (done, reasoning) = (channel == Channel::End, channel == Channel::Reasoning);
        self.piece = Some(Piece { delta: delta.to_owned(), done, reasoning });
        self
    }
}

/// A path as a name of a step; the coordinator has none here, and one there.
pub(super) fn step_name(path: &StepPath) -> String {
    if path.is_coordinator() { "coordinator".to_owned() } else { path.as_str().to_owned() }
}

/// A duration as Go writes it, in milliseconds: `0s`, `12ms`, `1.5s`, `1m10.88s`, `1h0m3s`.
pub(super) fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, fraction) = (millis / 1_000 % 60, millis % 1_000);
    let mut text = String::new();
    // Writing into a string cannot fail.
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if millis >= 60_000 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = match fraction {
        0 => write!(text, "{seconds}s"),
        _ => write!(text, "{seconds}.{}s", format!("{fraction:03}").trim_end_matches('0')),
    };
    text
}
