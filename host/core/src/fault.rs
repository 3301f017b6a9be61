//! What went wrong at run time, classed by what happens next.
//!
//! It must not know who raised it: providers, tools, plugins and the machine speak of failure in this one type,
//! which also stands in the journal.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

/// What the runtime does next about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Class {
    /// The same thing tried again may succeed. The only class that is ever retried.
    Retry,
    /// The step fails; the run goes on by the failure policy.
    Step,
    /// The run cannot go on (its journal is unreachable, say).
    Run,
    /// A person must change something first: a key, a grant, a file.
    User,
    /// Cofferdam or an adapter of it is wrong; the message asks for a report.
    Bug,
    /// Somebody cancelled it. Never counted as a failure of the step.
    Cancelled,
    /// It waits for a person, and goes on when the run is taken up. No failure, and never recorded as one.
    Waiting,
}

/// One failure: a class, a stable code, a sentence, and what may help.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What happens next.
    pub class: Class,
    /// Stable, machine-readable, snake case: `timeout`, `tool_denied`, `model_auth`.
    pub code: Cow<'static, str>,
    /// One sentence in lower case without a final period.
    pub message: String,
    /// What to do about it, kept apart from the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How long the other side asked to be left alone, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Data for machines: the plugin and its digest, the HTTP status, the request id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<Value>>,
}

impl Fault {
    /// Whether it ends the try of the step in which it comes up, also from within a sub-agent: the work was cancelled or waits,
    /// nothing is left to pay for it, or nobody knows what an earlier process had done.
    #[must_use]
    pub fn ends_try(&self) -> bool {
        matches!(self.class, Class::Cancelled | Class::Waiting)
            || ["effect_unknown", "conversation_changed", "budget_exhausted"].contains(&&*self.code)
    }

    /// A fault of the given class.
    pub fn new(class: Class, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into(), hint: None, retry_after_ms: None, detail: None }
    }

    /// A fault that fails its step.
    pub fn step(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::Step, code, message)
    }

    /// A fault that trying again may cure.
    pub fn retry(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::Retry, code, message)
    }

    /// A fault that only a person can cure.
    pub fn user(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::User, code, message)
    }

    /// A fault of ours.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Class::Bug, "internal", message)
            .with_hint("this is a bug in Cofferdam; please report it with the run's journal")
    }

    /// The work was cancelled.
    pub fn cancelled() -> Self {
        Self::new(Class::Cancelled, "cancelled", "cancelled")
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds data for machines.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }

    /// Adds how long to wait before trying again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Whether the same thing may be tried again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.class == Class::Retry
    }
}
