//! People who decide.

use super::BoxFuture;
use crate::event::{Decision, OpenApproval};
use crate::id::{RunId, StepPath, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// Asks a person. Without one, the answer is no.
pub trait Approver: Send + Sync {
    /// Asks one question and waits for the answer. Dropping the future withdraws the question.
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer>;

    /// Puts a step's question and waits for the answer as text; none when nobody is there to answer. An answer that does
    /// not fit is asked for again, with what was wrong with it. Dropping the future withdraws the question.
    fn answer(&self, inquiry: Inquiry) -> BoxFuture<'_, Option<String>> {
        drop(inquiry);
        Box::pin(std::future::ready(None))
    }
}

/// A person's word about calls that a run waits with, as it is given when the run goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The step that wants them: its path, or its id where only one step that waits has it.
    pub step: String,
    /// Which of its calls.
    pub calls: Calls,
    /// Whether they may be made.
    pub decision: Decision,
    /// Why not, for the model.
    pub reason: Option<String>,
}

/// Calls of one step that a run waits with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calls {
    /// The only one there is.
    Only,
    /// All of them.
    All,
    /// The one with this id, as in [`OpenApproval::call`](crate::event::OpenApproval::call).
    One(String),
    /// That of a try. Where the run does not wait with it any more, the word is passed over.
    Of {
        /// The try.
        attempt: u32,
        /// The call's id.
        call: String,
    },
}

/// What becomes of calls that nobody is there to allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals {
    /// They are asked about, and the run waits; else they are denied.
    pub defer: bool,
    /// What was said about those that a run waited with.
    pub said: Vec<Approval>,
}

/// Tells what a user said about calls from what a record only claims: records may come from anywhere.
pub trait Seal: Send + Sync {
    /// What belongs to a word about a call of a run, and nobody else can make; none = it cannot be made, and no word of the record
    /// that allows something counts.
    fn of(&self, run: &RunId, call: &OpenApproval, decision: Decision) -> Option<String>;
}

/// Answers of people that hold for later runs as well.
pub trait Remembered: Send + Sync {
    /// Whether calls of this tool were allowed for good.
    fn allows<'a>(&'a self, tool: &'a ToolName) -> BoxFuture<'a, bool>;

    /// Keeps that they are. What cannot be kept is asked about again.
    fn allow<'a>(&'a self, tool: &'a ToolName) -> BoxFuture<'a, ()>;
}

/// A step's question, as a person should see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    /// The run.
    pub run_id: RunId,
    /// The step that asks.
    pub path: StepPath,
    /// What is asked.
    pub prompt: Arc<str>,
    /// The answers that may be given; empty = any.
    pub choices: Arc<[String]>,
    /// JSON Schema of the answer, which is then written as JSON unless it is a string; none = text.
    pub schema: Option<Arc<Value>>,
    /// Taken when the answer is empty.
    pub default: Option<Value>,
    /// What was wrong with the answer before this one.
    pub problem: Option<String>,
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
    /// What the answer [`Answer::Always`] would cover; none = there is nothing to remember, and it is a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always: Option<String>,
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
