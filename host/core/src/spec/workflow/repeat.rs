//! Loops: once for each item of a list, or until something says that it is enough.

use super::{Scope, Step};
use crate::expr::Expr;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Repeats a step, or a body of steps.
#[derive(Clone, Debug)]
pub struct Loop {
    /// How often.
    pub kind: LoopKind,
    /// The steps of one iteration; none = the step itself is repeated.
    pub body: Option<Arc<Scope>>,
}

/// How often a loop repeats.
#[derive(Clone, Debug)]
pub enum LoopKind {
    /// Once for each item, in parallel.
    ForEach(ForEach),
    /// One iteration after the other.
    Repeat(Box<Repeat>),
}

/// A loop over the items of a list, in parallel.
#[derive(Clone, Debug)]
pub struct ForEach {
    /// Where the items come from.
    pub items: Items,
    /// Most items at once; none = bounded by the run's limit alone.
    pub max_concurrency: Option<usize>,
    /// What a failed item does.
    pub on_item_failure: ItemFailure,
}

/// A loop that repeats until something says that it is enough.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Most iterations; at least 1.
    pub max_iterations: u32,
    /// Checked before each iteration, also the first; false ends the loop as completed.
    pub go_on: Option<LoopCheck>,
    /// Checked after each iteration; true ends the loop.
    pub until: Option<Expr>,
    /// Asked after each iteration that `until` did not end: an agent step with the id `judge`, whose result has `done`.
    pub judge: Option<Arc<Step>>,
    /// What reaching `max_iterations` means.
    pub on_limit: OnLimit,
    /// The pause between two iterations.
    pub delay: Duration,
    /// Which iterations the output is made of.
    pub output_mode: OutputMode,
}

/// What decides whether a loop goes on.
#[derive(Clone, Debug)]
pub enum LoopCheck {
    /// An expression that gives true or false.
    Expr(Expr),
    /// A closure of the embedder's, by its name.
    Native(Arc<str>),
}

/// What reaching the most iterations means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLimit {
    /// The loop is done.
    #[default]
    Complete,
    /// The loop has failed; it keeps the last output.
    Fail,
}

/// Which iterations a loop's output is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputMode {
    /// The last one.
    #[default]
    Last,
    /// All, separated by a line `---`.
    Cumulative,
}

/// Where items come from.
#[derive(Clone, Debug)]
pub enum Items {
    /// An expression that gives a list.
    Expr(Expr),
    /// A list that is written out.
    List(Arc<Vec<Value>>),
}

/// What a failed item of a `forEach` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemFailure {
    /// No new items; the step fails when those under way have ended.
    #[default]
    Stop,
    /// All items run; the step fails at the end and keeps what completed.
    Continue,
    /// All items run; the step completes.
    Ignore,
}
