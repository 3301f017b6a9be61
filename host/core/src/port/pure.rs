//! Transforms and conditions: pure code between the steps, of plugins or of the embedder.
//!
//! Neither has effects, a clock or true randomness, so its answers need not be kept: the same call gives the same
//! answer, also after a crash. `engine/contract` holds the laws; a native implementation and a component pass both.

use super::{BoxFuture, Recorder};
use crate::fault::Fault;
use crate::id::{Alias, RunId, StepPath};
use crate::time::Timestamp;
use crate::value::Map;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Where and for whom pure code works. Random numbers derive from `run_id` and `path`.
#[derive(Clone)]
pub struct PureContext {
    /// The run.
    pub run_id: RunId,
    /// The step that is decided about, or whose text is changed.
    pub path: StepPath,
    /// The try of the step, from 1; 1 for what belongs to no try.
    pub attempt: u32,
    /// The moment at which the clock stands: when the run began.
    pub now: Timestamp,
    /// Failures of plugins go here.
    pub events: Arc<dyn Recorder>,
}

impl fmt::Debug for PureContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PureContext({}, {}, {})", self.run_id, self.path, self.attempt)
    }
}

/// Changes texts and data on their way into a step or out of it.
///
/// The engine calls it for the `transform` of steps and agents, and for `outputTransform`; several calls may run at
/// once. Dropping the future ends the call and leaves nothing behind.
pub trait Transform: Send + Sync {
    /// Why these options are none of this transform's, if they are not. Asked before a run begins.
    fn refuse(&self, options: &Map) -> Option<String>;

    /// One outcome for each item, in the same order; none for no items. A batch is one step's message, or one step's
    /// text and data: [`crate::transform::items`].
    ///
    /// # Errors
    /// The batch has no answer: a trap, a limit, a broken contract, told apart by the fault's code.
    fn apply<'a>(
        &'a self,
        ctx: PureContext,
        options: &'a Map,
        items: Vec<Item>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>>;
}

/// Decides which steps run.
///
/// The engine asks once for each instance of a step, or once for all steps of a scope that share plugin and options and
/// have labels. Dropping the future ends the call and leaves nothing behind.
pub trait Condition: Send + Sync {
    /// Why these options are none of this condition's, if they are not. Asked before a run begins.
    fn refuse(&self, options: &Map) -> Option<String>;

    /// Decides about one step. `view` is what an expression could read there.
    ///
    /// # Errors
    /// The condition cannot decide; the step fails.
    fn decide<'a>(&'a self, ctx: PureContext, options: &'a Map, view: Map)
    -> BoxFuture<'a, Result<PureVerdict, Fault>>;

    /// Picks one of `choice.labels` by its index, or none. The index is always below their number.
    ///
    /// # Errors
    /// The condition cannot choose; the step that it was asked for fails.
    fn choose<'a>(
        &'a self,
        ctx: PureContext,
        options: &'a Map,
        choice: Choice,
    ) -> BoxFuture<'a, Result<Option<usize>, Fault>>;
}

/// Transforms and conditions by the names that documents use: the aliases of plugins.
#[derive(Clone, Default)]
pub struct PurePlugins {
    /// For `{plugin: ALIAS}` in a chain of transforms.
    pub transforms: BTreeMap<Alias, Arc<dyn Transform>>,
    /// For `condition: {plugin: ALIAS}`.
    pub conditions: BTreeMap<Alias, Arc<dyn Condition>>,
}

/// Something that a transform changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What it is of its batch.
    pub id: Arc<str>,
    /// The text or the data.
    pub value: ItemValue,
}

/// Text or data.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemValue {
    /// Text.
    Text(Arc<str>),
    /// Data.
    Json(Arc<Value>),
}

/// What becomes of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It stays one item, perhaps a changed one.
    Keep(Item),
    /// These take its place.
    Replace(Vec<Item>),
    /// It is left out, for this reason.
    Drop(String),
    /// It cannot be changed.
    Fail(Fault),
}

/// Whether a step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PureVerdict {
    /// It runs.
    Proceed,
    /// It is skipped, for this reason.
    Skip(String),
    /// It is skipped, and with it all of its scope that has not begun.
    Stop(String),
}

/// What a condition chooses from.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The labels of the steps, in declaration order.
    pub labels: Vec<String>,
    /// What an expression could read at the step that came up first.
    pub view: Map,
}
