//! How things end, and who decided: the words of events, results and listings.

use serde::{Deserialize, Serialize};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It has an output.
    Completed,
    /// It has an error.
    Failed,
    /// It was not meant to run.
    Skipped,
    /// It was stopped, or never started because the run or a dependency ended.
    Cancelled,
}

impl StepStatus {
    /// The word that documents, events and results use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Waits for a person; can go on.
    Waiting,
    /// Stopped by the user or the program.
    Cancelled,
    /// Nothing completed, or a reason holds.
    Failed,
    /// Some completed, some failed or were cancelled.
    Partial,
    /// All is done.
    Completed,
}

impl RunStatus {
    /// The word that events, results and listings use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Completed => "completed",
        }
    }
}

/// Why a run failed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunReason {
    /// Its time was over.
    Timeout,
    /// Its budget was spent.
    Budget,
    /// A step failed whose policy is `abort`.
    Aborted,
    /// The workflow engine left steps that nobody will start.
    Deadlock,
}

/// Why a step was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkippedBecause {
    /// Its condition was false, or read a key that is missing.
    Condition,
    /// A step that it depends on failed.
    Upstream,
    /// A condition ended the scope.
    Stop,
}

/// What ended a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopEnd {
    /// All items are done.
    Items,
    /// `until` was true.
    Until,
    /// The judge said that it is done.
    Judge,
    /// `while` was false.
    While,
    /// The most iterations have begun.
    Limit,
    /// `loop_continue` was set to false.
    Signal,
    /// An iteration failed.
    Failed,
    /// The loop's time was over.
    Timeout,
    /// The run was stopped.
    Stopped,
}

impl LoopEnd {
    /// The word that events and results use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Until => "until",
            Self::Judge => "judge",
            Self::While => "while",
            Self::Limit => "limit",
            Self::Signal => "signal",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Stopped => "stopped",
        }
    }
}

/// Who answered a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// A person who was asked.
    Person,
    /// The answer was given with the run.
    Given,
    /// The question's default was taken.
    Default,
}

/// Who decided about a tool call, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The call may run.
    Allow,
    /// The call does not run.
    Deny,
}

/// What becomes of a call whose effect is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectDecision {
    /// It is made again, with the same idempotency key.
    Repeat,
    /// Its step fails.
    Fail,
}
