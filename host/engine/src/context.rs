//! The run as code inside of it sees it: variables, the steps that have ended, the time.
//!
//! Variables are read from a copy that the loop of the run keeps up to date; to set one is a wake-up of the loop.

use crate::executor::{MemoryAsked, Wake, posted};
use crate::recollection::Recollection;
use crate::recorder::Inbox;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::port::{
    BoxFuture, Clock, Hit, MemoryReply, MemoryRequest, Post, Receipt, RunContext, StepEnd, no_recall,
};
use cofferdam_core::recollect;
use cofferdam_core::time::Timestamp;
use cofferdam_core::value::Map;
use cofferdam_core::variable;
use serde_json::Value;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tokio::sync::oneshot;

/// What the handles of one run share.
pub(crate) struct ContextSource {
    pub(crate) run_id: RunId,
    pub(crate) workflow_id: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) inbox: Inbox,
    pub(crate) variables: Variables,
    pub(crate) recollection: OnceLock<Recollection>,
}

/// The copy of the variables.
#[derive(Default)]
pub(crate) struct Variables(RwLock<Map>);

impl Variables {
    pub(crate) fn new(initial: Map) -> Self {
        Self(RwLock::new(initial))
    }

    fn get(&self, key: &str) -> Option<Value> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// All of them at once.
    pub(crate) fn replace(&self, all: &Map) {
        all.clone_into(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn set(&self, key: &str, value: Option<&Value>) {
        let mut variables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match value {
            Some(value) => drop(variables.insert(key.to_owned(), value.clone())),
            None => drop(variables.shift_remove(key)),
        }
    }

    /// Why one more variable of this name is too much, if it is.
    pub(crate) fn refuse(&self, key: &str) -> Option<Fault> {
        let variables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let full = variables.len() >= limits::VARIABLES && !variables.contains_key(key);
        full.then(|| {
            let message = format!("the run has {} variables already, and `{key}` would be one more", limits::VARIABLES);
            Fault::step("too_many_variables", message)
        })
    }
}

impl ContextSource {
    /// The retrieval memory, once it is there.
    pub(crate) fn set_recollection(&self, recollection: Recollection) {
        let _ = self.recollection.set(recollection);
    }

    /// The handle of a step; of a try of it when there is one.
    pub(crate) fn of(self: &Arc<Self>, path: StepPath, attempt: Option<u32>) -> Arc<dyn RunContext> {
        Arc::new(StepContext { source: Arc::clone(self), path, attempt })
    }
}

struct StepContext {
    source: Arc<ContextSource>,
    path: StepPath,
    attempt: Option<u32>,
}

impl RunContext for StepContext {
    fn run_id(&self) -> &RunId {
        &self.source.run_id
    }

    fn workflow_id(&self) -> &str {
        &self.source.workflow_id
    }

    fn path(&self) -> &StepPath {
        &self.path
    }

    fn now(&self) -> Timestamp {
        self.source.clock.now()
    }

    fn variable(&self, key: &str) -> Option<Value> {
        self.source.variables.get(key)
    }

    fn set_variable(&self, key: String, value: Value) -> BoxFuture<'_, Result<(), Fault>> {
        if let Err(fault) = variable::check_set(&self.path, &key, &value) {
            return Box::pin(std::future::ready(Err(fault)));
        }
        let (done, answer) = oneshot::channel();
        let (path, attempt) = (self.path.clone(), self.attempt);
        self.source.inbox.send(Wake::Set { path, attempt, key, value, done });
        Box::pin(async { answer.await.unwrap_or_else(|_| Err(Fault::cancelled())) })
    }

    fn remember(&self, request: MemoryRequest) -> BoxFuture<'_, Result<MemoryReply, Fault>> {
        let ((reply, answer), (done, recorded)) = (oneshot::channel(), oneshot::channel());
        let asked = MemoryAsked { request, reply, done };
        self.source.inbox.send(Wake::Remember { path: self.path.clone(), attempt: self.attempt, asked });
        Box::pin(async {
            recorded.await.unwrap_or_else(|_| Err(Fault::cancelled()))?;
            answer.await.map_err(|_| Fault::cancelled())
        })
    }

    fn step(&self, name: String) -> BoxFuture<'_, Option<StepEnd>> {
        let (reply, answer) = oneshot::channel();
        self.source.inbox.send(Wake::Look { from: self.path.clone(), name, reply });
        Box::pin(async { answer.await.ok().flatten() })
    }

    fn post(&self, post: Post) -> BoxFuture<'_, Result<Receipt, Fault>> {
        let (wake, receipt, recorded) = posted(self.path.clone(), self.attempt, post);
        self.source.inbox.send(wake);
        Box::pin(async {
            recorded.await.unwrap_or_else(|_| Err(Fault::cancelled()))?;
            receipt.await.map_err(|_| Fault::cancelled())
        })
    }

    fn recall(&self, query: String, limit: usize) -> BoxFuture<'_, Result<Vec<Hit>, Fault>> {
        Box::pin(async move {
            let recollection = self.source.recollection.get().ok_or_else(no_recall)?;
            let limit = limit.clamp(1, limits::RECALL_FOUND_MAX);
            recollection.find(&self.path, (recollect::query(&query), ""), limit).await
        })
    }

    fn narrate(&self, text: String, key: Arc<str>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { self.say(Body::Narrated { text: text.into(), key }).await.map(drop) })
    }

    fn summarize(&self, summary: String) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(self.say(Body::Summarized { summary: summary.into() }))
    }
}

impl StepContext {
    /// Says something to people; whether it counts.
    async fn say(&self, body: Body) -> Result<bool, Fault> {
        let ((counts, counted), (done, recorded)) = (oneshot::channel(), oneshot::channel());
        self.source.inbox.send(Wake::Said { path: self.path.clone(), body, counts, done });
        recorded.await.unwrap_or_else(|_| Err(Fault::cancelled()))?;
        counted.await.map_err(|_| Fault::cancelled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_so_many_variables_fit() {
        let variables = Variables::default();
        for index in 0..limits::VARIABLES {
            assert!(variables.refuse(&format!("v{index}")).is_none());
            variables.set(&format!("v{index}"), Some(&json!(index)));
        }
        assert!(variables.refuse("v1").is_none());
        assert_eq!(variables.refuse("one_more").unwrap().code, "too_many_variables");
        variables.set("v1", None);
        assert!(variables.refuse("one_more").is_none() && variables.get("v1").is_none());
    }
}
