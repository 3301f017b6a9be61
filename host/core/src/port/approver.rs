//! People who decide.

use super::BoxFuture;
use crate::id::{RunId, StepPath};
use serde::{Deserialize, Serialize};

/// Asks a person. Without one, the answer is no.
pub trait Approver: Send + Sync {
    /// Asks one question and waits for the answer. Dropping the future withdraws the question.
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer>;
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The run, when there is one already.
    pub run_id: Option<RunId>,
    /// The step that asks.
    pub path: StepPath,
    /// What is asked, in one line.
    pub title: String,
    /// What the person should see before answering.
    pub detail: String,
}

/// What a person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes, this time.
    Yes,
    /// Yes, and remember it.
    Always,
    /// No, with the reason if one was given.
    No(Option<String>),
    /// Nobody was there to answer; counts as no.
    Nobody,
}
