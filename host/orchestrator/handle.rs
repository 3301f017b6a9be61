//! Agents that work in the background, and what their callers hold of them.

use super::agent::AgentResult;
use super::launch::{self, Held};
use super::{Launch, Lineage, Orchestrator, RunOptions, Shared};
use crate::error::Error;
use crate::workflow::AgentConfig;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::time::Timestamp;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// An agent that works in the background. Clones are the same agent; dropping them all lets it go on.
#[derive(Clone, Debug)]
pub struct AgentHandle {
    run_id: RunId,
    session: Option<String>,
    cancel: CancellationToken,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What came of it, and when.
type Outcome = (Timestamp, Arc<Result<AgentResult, Error>>);

impl AgentHandle {
    /// The run that the agent is recorded as.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.run_id
    }

    /// The session that it counts to.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Waits until it has ended, and gives what came of it. [`Error::Closed`] also where the runtime that it worked in is gone.
    pub async fn done(&self) -> Arc<Result<AgentResult, Error>> {
        let mut outcome = self.outcome.clone();
        let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        ended.map_or_else(|| Arc::new(Err(Error::Closed)), |(_, result)| result)
    }

    /// What came of it; none while it works.
    #[must_use]
    pub fn result(&self) -> Option<Arc<Result<AgentResult, Error>>> {
        self.outcome.borrow().as_ref().map(|(_, result)| Arc::clone(result))
    }

    /// Cancels it. It ends as cancelled, soon, and can be resumed as a run; one that had not begun yet ends with
    /// [`Error::Closed`] and leaves no record.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// When it ended; long ago, where whoever worked on it is gone.
    fn ended_at(&self) -> Option<Timestamp> {
        let ended = self.outcome.borrow().as_ref().map(|(at, _)| *at);
        ended.or_else(|| self.outcome.has_changed().is_err().then(Timestamp::default))
    }
}

impl Orchestrator {
    /// Has an agent work in the background, for half an hour at most: `limits::AGENT_HANDLE_MS`, or the smaller timeout of the
    /// options. The time that people take to answer does not count. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the agent is not described as one can be, too many are listed already, or the orchestrator is closed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn run_agent_async(
        &self,
        agent: &AgentConfig,
        prompt: &str,
        mut options: RunOptions,
    ) -> Result<AgentHandle, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let (workflow, turns) = self.alone(agent, prompt, &mut options)?;
        let lives = Duration::from_millis(limits::AGENT_HANDLE_MS);
        options.timeout = Some(options.timeout.map_or(lives, |timeout| timeout.min(lives)));
        let run_id = options.run_id.get_or_insert_with(launch::new_run_id).clone();
        let cancel = self.shared.closing.child_token();
        let (ended, outcome) = watch::channel(None);
        let handle = AgentHandle { run_id, session: options.session.clone(), cancel: cancel.clone(), outcome };
        if self.shared.handles_at(self.clock().now()).len() >= limits::AGENT_HANDLES {
            let message =
                format!("there are {} agents in the background, or that have just ended", limits::AGENT_HANDLES);
            return Err(Error::Refused(vec![Fault::user("too_many_agents", message)]));
        }
        // Entered before it begins and left when what came of it is known, so that `close` waits for both.
        let held = Held::enter(&self.shared, handle.run_id.clone());
        let lineage = Lineage::outermost(workflow.name(), workflow.shared(), None);
        let launch = Launch { workflow, options, cancel, sinks: Vec::new(), lineage, again: None };
        // An agent in the background must not keep the orchestrator from ending with its last clone.
        let this = Self { shared: Arc::clone(&self.shared), _handle: None };
        tokio::spawn(async move {
            let result = Box::pin(this.launch(launch)).await.map(|run| AgentResult::new(run, turns.count()));
            // Whoever held it may be gone.
            let _ = ended.send(Some((this.clock().now(), Arc::new(result))));
            drop(held);
        });
        self.shared.handles_at(self.clock().now()).push(handle.clone());
        Ok(handle)
    }

    /// Agents in the background: of one session, or all. Those that have ended are listed for half an hour more.
    #[must_use]
    pub fn agent_handles(&self, session: Option<&str>) -> Vec<AgentHandle> {
        let handles = self.shared.handles_at(self.clock().now());
        handles
            .iter()
            .filter(|handle| session.is_none_or(|session| handle.session() == Some(session)))
            .cloned()
            .collect()
    }
}

impl Shared {
    /// The handles, without those that ended long ago.
    fn handles_at(&self, now: Timestamp) -> MutexGuard<'_, Vec<AgentHandle>> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let lives = Duration::from_millis(limits::AGENT_HANDLE_MS);
        handles.retain(|handle| handle.ended_at().is_none_or(|at| now.since(at) < lives));
        handles
    }
}
