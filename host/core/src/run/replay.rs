//! Replay: a recorded run is walked again beside a live [`Machine`], event by event.
//!
//! What follows from the state must be what is recorded; what was evaluated is evaluated again by whoever walks
//! ([`Answers`]); what came from outside is taken as it is. It must not know expressions, agents or tools, and starts nothing.

mod outside;
mod owed;
mod same;
mod walk;

use super::{Effect, Machine};
use crate::event::slots::{self, Change};
use crate::event::{Body, RunEvent, RunStatus, Sensitive};
use crate::fault::Fault;
use crate::id::StepPath;
use crate::port::BoxFuture;
use crate::spec::workflow::Workflow;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

pub use same::{REDACTED, agree, values_agree};
pub(in crate::run) use walk::Walk;

/// Evaluates again what the machine asks for.
pub trait Answers: Send {
    /// What follows from `asked`, by the state of `machine`.
    fn answer<'a>(&'a mut self, machine: &'a Machine, asked: Asked<'a>) -> BoxFuture<'a, Answer>;

    /// What the loop, group or include at `path`, or a step that has not begun, fails of when its time is over; none when
    /// it has all the time there is.
    fn overdue(&self, machine: &Machine, path: &StepPath) -> Option<Fault>;
}

/// A question of the machine, and what the record says about it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What is asked for.
    pub effect: &'a Effect,
    /// What the record has in answer to it.
    pub recorded: &'a RunEvent,
    /// What is recorded of the same try or question before that.
    pub before: &'a [Arc<RunEvent>],
}

/// What came out of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// These events, in order.
    Events(Vec<Body>),
    /// The loop goes on.
    GoOn,
    /// It cannot be found out here: what is recorded holds.
    Taken,
    /// Within the try something is not as it is recorded.
    Differs(Box<Difference>),
}

/// The first place where a record and its replay part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The position in the record.
    pub seq: u64,
    /// The step; empty for the run itself.
    #[serde(skip_serializing_if = "StepPath::is_root")]
    pub path: StepPath,
    /// Which try of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// In words, without any content.
    pub what: String,
    /// What is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Value>,
    /// What came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Value>,
}

impl Difference {
    /// A difference at an event.
    #[must_use]
    pub fn at(event: &RunEvent, what: impl Into<String>) -> Self {
        let (path, attempt) = (event.path.clone(), event.attempt);
        Self { seq: event.seq, path, attempt, what: what.into(), recorded: None, replayed: None }
    }

    /// The difference without what a document keeps out of views.
    #[must_use]
    pub fn public(&self, sensitive: &Sensitive) -> Self {
        let mut shown = self.clone();
        sensitive.hide(&self.path, |change| {
            hide(shown.recorded.as_mut(), change);
            hide(shown.replayed.as_mut(), change);
        });
        shown
    }

    /// With what is recorded there.
    #[must_use]
    pub fn recorded(mut self, value: Value) -> Self {
        self.recorded = Some(value);
        self
    }

    /// With what came out instead.
    #[must_use]
    pub fn replayed(mut self, value: Value) -> Self {
        self.replayed = Some(value);
        self
    }
}

/// Shows what stands in the values of a difference to `change`: events by their content, other data as a whole.
fn hide(slot: Option<&mut Value>, change: &mut dyn Change) {
    let Some(slot) = slot else { return };
    match serde_json::from_value::<Body>(slot.clone()) {
        Ok(mut body) => {
            slots::visit(&mut body, change);
            *slot = serde_json::to_value(body).unwrap_or_default();
        }
        Err(_) => slots::data(slot, change),
    }
}

/// How far a record was walked without a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// How many events it has.
    pub events: usize,
    /// How the run ended; none when the record stops before its end.
    pub status: Option<RunStatus>,
}

/// Walks a record from its first event to its last. `gated`: somebody else said when the document's own steps began.
///
/// # Errors
/// The first difference.
pub async fn walk<A: Answers>(
    workflow: &Arc<Workflow>,
    gated: bool,
    record: &[Arc<RunEvent>],
    answers: &mut A,
) -> Result<Walked, Box<Difference>> {
    let mut walk = Walk::new(workflow, gated, record, answers);
    walk.finish().await?;
    Ok(Walked { events: record.len(), status: walk.status() })
}
