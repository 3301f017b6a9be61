//! Why a call into a guest gave no answer: kinds that are never merged.
//!
//! It must not know what the call was for.

use crate::artifact::Digest;
use crate::bindings::cofferdam::types::common::{ErrorKind, PluginError};
use crate::grant::{Certainty, Denial};
use crate::limit::Limit;
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::Alias;
use cofferdam_core::text::clean;
use cofferdam_core::value;
use serde_json::{Value, json};
use std::time::Duration;
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

/// Why a call gave no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The plugin says so itself.
    Own(PluginError),
    /// The guest's code ended in a trap.
    Trap(String),
    /// A bound was reached.
    Limit(Limit),
    /// The guest broke the contract: lied about lengths, sent no UTF-8 or no JSON, or not what its schema says.
    Lie(String),
    /// Others were in front of it for so long, and it never began.
    Busy(Duration),
    /// The host does not do that.
    Refused(String),
    /// The host itself failed.
    Host(String),
}

/// The moment has come; raised by the epoch clock.
#[derive(Debug, thiserror::Error)]
#[error("out of time")]
pub(crate) struct OutOfTime;

/// A function of the host panicked; what it said stays in the host's own log.
#[derive(Debug, thiserror::Error)]
#[error("the host function `{0}` panicked")]
pub(crate) struct HostPanicked(pub(crate) &'static str);

/// What the bounds were, to say how much was allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    pub(crate) wall: Duration,
    pub(crate) fuel: u64,
    pub(crate) stack_bytes: usize,
    pub(crate) copied_bytes: usize,
    pub(crate) handles: usize,
    pub(crate) parts: u32,
    /// The bound that refused growth before, if any did.
    pub(crate) hit: Option<Limit>,
}

impl Failure {
    /// Whether the plugin did what no plugin may do: a run is told of that.
    pub(crate) fn is_misconduct(&self) -> bool {
        matches!(self, Self::Trap(_) | Self::Limit(_) | Self::Lie(_))
    }

    /// Tells from what wasmtime reports which kind it is.
    pub(crate) fn classify(error: &wasmtime::Error, allowed: &Allowed) -> Self {
        if error.downcast_ref::<OutOfTime>().is_some() {
            return Self::Limit(Limit::Wall(allowed.wall));
        }
        if let Some(panicked) = error.downcast_ref::<HostPanicked>() {
            return Self::Host(panicked.to_string());
        }
        if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
            return Self::Limit(Limit::Handles(allowed.handles));
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return Self::Trap(format!("it ended itself with status {}", exit.0));
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return Self::from_trap(*trap, allowed);
        }
        if let Some(limit) = allowed.hit {
            return Self::Limit(limit);
        }
        Self::from_message(&error.root_cause().to_string(), allowed)
    }

    fn from_trap(trap: Trap, allowed: &Allowed) -> Self {
        match (trap, allowed.hit) {
            (Trap::StackOverflow, _) => Self::Limit(Limit::Stack(allowed.stack_bytes)),
            (Trap::OutOfFuel, _) => Self::Limit(Limit::Fuel(allowed.fuel)),
            (Trap::Interrupt, _) => Self::Limit(Limit::Wall(allowed.wall)),
            (
                Trap::StringOutOfBounds
                | Trap::ListOutOfBounds
                | Trap::InvalidChar
                | Trap::InvalidDiscriminant
                | Trap::UnalignedPointer,
                _,
            ) => Self::Lie(trap.to_string()),
            // A refused growth is rarely the end by itself: the guest's allocator then gives up by `unreachable`.
            (_, Some(limit)) => Self::Limit(limit),
            (_, None) => Self::Trap(trap.to_string()),
        }
    }

    /// wasmtime has no types for these; a test holds each text.
    fn from_message(message: &str, allowed: &Allowed) -> Self {
        if message.contains("fuel allocated for hostcalls") {
            return Self::Limit(Limit::Copied(allowed.copied_bytes));
        }
        if message.contains("store handle limit exceeded") {
            return Self::Limit(Limit::Handles(allowed.handles));
        }
        if message.contains("resource limit exceeded") {
            return Self::Limit(Limit::Instances(allowed.parts));
        }
        Self::Lie(clean(message))
    }

    /// The stable code.
    fn code(&self) -> &'static str {
        match self {
            Self::Own(_) => "plugin_error",
            Self::Trap(_) => "plugin_trap",
            Self::Limit(_) => "plugin_limit",
            Self::Lie(_) => "plugin_protocol",
            Self::Busy(_) => "plugin_busy",
            Self::Refused(_) => "plugin_refused",
            Self::Host(_) => "internal",
        }
    }

    fn class(&self) -> Class {
        let error = match self {
            Self::Own(error) => error,
            Self::Host(_) => return Class::Bug,
            Self::Busy(_) => return Class::Retry,
            Self::Trap(_) | Self::Limit(_) | Self::Lie(_) | Self::Refused(_) => return Class::Step,
        };
        let retry = matches!(error.kind, ErrorKind::RateLimited | ErrorKind::Timeout | ErrorKind::Unavailable);
        match error.kind {
            ErrorKind::AuthRequired => Class::User,
            _ if error.retryable.unwrap_or(retry) => Class::Retry,
            _ => Class::Step,
        }
    }
}

/// Whose failure it is.
#[derive(Clone, Debug)]
pub(crate) struct Culprit<'a> {
    pub(crate) alias: &'a Alias,
    pub(crate) digest: Digest,
    /// What was called: `list-tools`, or the tool's name.
    pub(crate) function: &'a str,
}

impl Culprit<'_> {
    /// The fault that the run sees. Names plugin, digest and function; never a path of the host.
    pub(crate) fn fault(&self, failure: &Failure, denials: &[Denial]) -> Fault {
        let who = format!("plugin `{}` ({})", self.alias, self.digest.short());
        let message = match failure {
            Failure::Own(error) => format!("{who} failed in `{}`: {}", self.function, clean(&error.message)),
            Failure::Trap(trap) => format!("{who} crashed in `{}`: {trap}", self.function),
            Failure::Limit(limit) => format!("{who} was stopped in `{}`: it {limit}", self.function),
            Failure::Lie(what) => format!("{who} broke the plugin contract in `{}`: {what}", self.function),
            Failure::Busy(waited) => {
                format!("{who} is busy: `{}` waited {waited:?} for those in front of it and never began", self.function)
            }
            Failure::Refused(why) => format!("{who} was refused `{}`: {why}", self.function),
            Failure::Host(why) => format!("the host failed while {who} ran `{}`: {why}", self.function),
        };
        let denied = denials.iter().any(|denial| denial.certainty == Certainty::Certain);
        // What trying again may cure is not for a person to cure, denied or not.
        let class = match failure.class() {
            Class::Step if denied => Class::User,
            class => class,
        };
        let mut fault = Fault::new(class, failure.code(), message).with_detail(self.detail(failure, denials));
        if let Failure::Own(PluginError { retry_after_ms: Some(wait), .. }) = failure {
            fault = fault.with_retry_after(Duration::from_millis(*wait));
        }
        match (denials.first(), failure) {
            (Some(denial), _) => fault.with_hint(denial.hint()),
            (None, Failure::Limit(Limit::Memory(_) | Limit::Wall(_) | Limit::Fuel(_))) => {
                fault.with_hint(format!("the bound stands in `plugins.{}.limits`, at most the host's own", self.alias))
            }
            (None, Failure::Trap(_) | Failure::Lie(_)) => {
                fault.with_hint("this is a fault of the plugin; tell its author")
            }
            (None, Failure::Host(_)) => fault.with_hint("this is a bug in Cofferdam; please report it"),
            (None, _) => fault,
        }
    }

    fn detail(&self, failure: &Failure, denials: &[Denial]) -> Value {
        let mut detail = json!({
            "plugin": self.alias.as_str(),
            "digest": self.digest.to_string(),
            "function": self.function,
        });
        let extra = match failure {
            Failure::Own(error) => json!({
                "kind": kind_name(error.kind),
                "code": error.code.as_deref().map(clean),
                "detail": error.detail.as_deref().and_then(|text| value::parse(text).ok()),
            }),
            Failure::Limit(limit) => json!({ "limit": limit.name() }),
            _ => json!({}),
        };
        if let (Some(detail), Value::Object(extra)) = (detail.as_object_mut(), extra) {
            detail.extend(extra.into_iter().filter(|(_, value)| !value.is_null()));
            if !denials.is_empty() {
                detail.insert("denied".to_owned(), denials.iter().map(|denial| json!(denial.request)).collect());
            }
        }
        detail
    }
}

/// The kinds as the contract spells them.
const KINDS: [(&str, ErrorKind); 13] = [
    ("invalid-input", ErrorKind::InvalidInput),
    ("not-found", ErrorKind::NotFound),
    ("conflict", ErrorKind::Conflict),
    ("denied", ErrorKind::Denied),
    ("auth-required", ErrorKind::AuthRequired),
    ("rate-limited", ErrorKind::RateLimited),
    ("timeout", ErrorKind::Timeout),
    ("unavailable", ErrorKind::Unavailable),
    ("cancelled", ErrorKind::Cancelled),
    ("too-large", ErrorKind::TooLarge),
    ("unsupported", ErrorKind::Unsupported),
    ("internal", ErrorKind::Internal),
    ("other", ErrorKind::Other),
];

/// The word for a kind.
pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("other", |(name, _)| name)
}

/// The kind that a word stands for.
pub(crate) fn kind_of_name(name: &str) -> Option<ErrorKind> {
    KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}
