//! Who is asked before a model is: whether its answer fits the budgets that pay for it.

use super::BoxFuture;
use crate::budget::Money;
use crate::fault::Fault;
use crate::id::StepPath;
use crate::message::Usage;
use std::fmt;
use std::sync::Arc;

/// What an agent is about to ask of a model.
#[derive(Clone, Debug)]
pub struct Need {
    /// The model.
    pub model: Arc<str>,
    /// How long the request is, by estimate.
    pub input_tokens: u64,
    /// The most tokens that the answer may have, if anybody said so.
    pub output_tokens: Option<u32>,
}

/// Permission to ask once. The most that it can cost is held back as long as this lives: it is dropped after the answer is
/// recorded, or when there will be none.
#[derive(Debug, Default)]
pub struct Grant {
    /// The most tokens that the answer may have; none = as it was asked.
    pub max_tokens: Option<u32>,
    /// What is held back.
    pub hold: Hold,
}

/// Lets go of something when it is dropped.
#[derive(Default)]
pub struct Hold(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Hold {
    /// Calls this once, when it is dropped.
    pub fn new(release: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(release)))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(release) = self.0.take() {
            release();
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("holds", &self.0.is_some()).finish()
    }
}

/// Pays for what a try of a step asks of models. An agent of somebody else's that asks models by itself may use it too: what
/// it spends without telling is counted when its try ends, and nobody knows what that cost.
pub trait Purse: Send + Sync {
    /// Asks for room, and waits while requests that are under way may leave some.
    ///
    /// # Errors
    /// `budget_exhausted` when there is none; that the run was stopped.
    fn reserve(&self, need: Need) -> BoxFuture<'_, Result<Grant, Fault>>;

    /// The same for a sub-agent of the try, at its own path; none where it pays as its agent does.
    fn below(&self, path: &StepPath) -> Option<Arc<dyn Purse>> {
        let _ = path;
        None
    }

    /// Tells what was spent on a model outside of turns that are recorded for this try. The [`Grant`] for it is dropped
    /// afterwards.
    fn spent(&self, model: &Arc<str>, usage: &Usage, cost: Option<Money>) {
        let _ = (model, usage, cost);
    }
}

/// Pays for everything.
pub struct Unlimited;

impl Purse for Unlimited {
    fn reserve(&self, _: Need) -> BoxFuture<'_, Result<Grant, Fault>> {
        Box::pin(std::future::ready(Ok(Grant::default())))
    }
}
