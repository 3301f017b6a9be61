//! What events say of messages between the agents of a run.

use crate::id::StepPath;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a message is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Something to know.
    #[default]
    Info,
    /// Something that replaces what the agent knew before.
    ContextUpdate,
    /// The step shall stop: nobody reads this.
    Cancel,
}

/// Why a message reached nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// No step has that name, or no agent works there.
    UnknownStep,
    /// The step had ended, or ended before it read the message.
    TargetFinished,
    /// Too many messages waited there.
    MailboxFull,
    /// The run was stopped.
    RunCancelled,
    /// The run has no coordinator, or that has ended.
    NoCoordinator,
    /// The step holds other steps, and nobody reads there.
    WrapperTarget,
    /// The agent was woken too often after its last turn.
    MaxWakeCycles,
    /// The coordinator did not come to an end in the time that the run waits for it.
    HoldTimeout,
}

impl DropReason {
    /// The reason as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownStep => "unknown_step",
            Self::TargetFinished => "target_finished",
            Self::MailboxFull => "mailbox_full",
            Self::RunCancelled => "run_cancelled",
            Self::NoCoordinator => "no_coordinator",
            Self::WrapperTarget => "wrapper_target",
            Self::MaxWakeCycles => "max_wake_cycles",
            Self::HoldTimeout => "hold_timeout",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message was written. The event's path is its sender's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posted {
    /// Its number in the run, from 1.
    pub id: u64,
    /// The same for a repetition of the same call, which is no other message.
    pub key: Arc<str>,
    /// The step that it is for, or the name that was given where there is none.
    pub to: StepPath,
    /// What it is for.
    pub message_kind: MessageKind,
    /// What it says.
    pub text: Arc<str>,
    /// It tells why a sub-agent or an answer failed, and not what it came to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The message that it answers: its sender had ended when it got that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<u64>,
}

/// A message stands in front of an agent. The event's path and try are the reader's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivered {
    /// Its number.
    pub id: u64,
    /// Who wrote it.
    pub from: StepPath,
    /// What it is for.
    pub message_kind: MessageKind,
    /// What it says.
    pub text: Arc<str>,
    /// The turn before which it is read; 0 where nobody reads it: it stopped the step.
    pub turn: u32,
}

/// A message reached nobody. The event has no path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Its number.
    pub id: u64,
    /// Who wrote it.
    pub from: StepPath,
    /// Who it was for.
    pub to: StepPath,
    /// Why.
    pub reason: DropReason,
    /// What it said.
    pub text: Arc<str>,
}

/// An agent hears of something that no agent wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The turn before which it reads this.
    pub turn: u32,
    /// The last event that a coordinator knows of from here on; absent for others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub upto: u64,
    /// What it reads.
    pub text: Arc<str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(position: &u64) -> bool {
    *position == 0
}
