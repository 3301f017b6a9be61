//! When agents are prepared and cleaned up: once, however many runs share them.

use cofferdam_core::fault::Fault;
use cofferdam_core::port::{Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, AgentQuestion, BoxFuture};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::Mutex;

/// An agent that is prepared by the first who needs it and cleaned up by the last. Runs come and go through the `Agent`
/// port; [`super::Flow::initialize`] keeps it prepared between them.
pub(crate) struct Kept {
    inner: Arc<dyn Agent>,
    /// Who needs it now. Held over the preparation, so that a second one waits for it.
    holders: Mutex<usize>,
}

impl Kept {
    pub(crate) fn new(inner: Arc<dyn Agent>) -> Self {
        Self { inner, holders: Mutex::new(0) }
    }

    pub(crate) fn is(&self, agent: &Arc<dyn Agent>) -> bool {
        Arc::ptr_eq(&self.inner, agent)
    }

    async fn enter(&self) -> Result<(), Fault> {
        let mut holders = self.holders.lock().await;
        if *holders == 0 {
            self.guarded(self.inner.initialize()).await?;
        }
        *holders += 1;
        Ok(())
    }

    async fn leave(&self) -> Result<(), Fault> {
        let mut holders = self.holders.lock().await;
        match *holders {
            // Its preparation failed, so there is nothing to clean up.
            0 => Ok(()),
            1 => {
                *holders = 0;
                self.guarded(self.inner.cleanup()).await
            }
            _ => {
                *holders -= 1;
                Ok(())
            }
        }
    }

    /// An agent that panics must not take the others' clean-up with it.
    async fn guarded(&self, work: BoxFuture<'_, Result<(), Fault>>) -> Result<(), Fault> {
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        outcome.unwrap_or_else(|_| Err(Fault::bug(format!("agent `{}` panicked", self.inner.name()))))
    }
}

impl Agent for Kept {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn questions(&self) -> Vec<AgentQuestion> {
        self.inner.questions()
    }

    fn initialize(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.enter())
    }

    fn run(&self, ctx: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        self.inner.run(ctx, input)
    }

    fn cleanup(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.leave())
    }
}

/// Prepares all, in this order; when one fails, those that were prepared are cleaned up again.
pub(crate) async fn initialize_all(agents: &[Arc<Kept>]) -> Result<(), Vec<Fault>> {
    initialize_more(&mut Vec::new(), agents).await
}

/// Prepares those that are not among the prepared, in this order; when one fails, those of them that were prepared are
/// cleaned up again. Each is among the prepared as soon as it is, so that one who gives up waiting can still clean up.
pub(crate) async fn initialize_more(prepared: &mut Vec<Arc<Kept>>, agents: &[Arc<Kept>]) -> Result<(), Vec<Fault>> {
    let (before, mut faults) = (prepared.len(), Vec::new());
    for agent in agents {
        if prepared.iter().any(|known| Arc::ptr_eq(known, agent)) {
            continue;
        }
        match agent.enter().await {
            Ok(()) => prepared.push(Arc::clone(agent)),
            Err(fault) => faults.push(told(agent, "cannot be prepared", fault)),
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    faults.extend(cleanup_from(before, prepared).await);
    Err(faults)
}

/// Cleans up all, the last prepared first, also when one fails.
pub(crate) async fn cleanup_all(agents: &[Arc<Kept>]) -> Vec<Fault> {
    cleanup_from(0, &mut agents.to_vec()).await
}

/// Cleans up all but the first so many, the last prepared first, also when one fails; none of them is left in the list.
pub(crate) async fn cleanup_from(first: usize, prepared: &mut Vec<Arc<Kept>>) -> Vec<Fault> {
    let mut faults = Vec::new();
    while prepared.len() > first
        && let Some(agent) = prepared.pop()
    {
        if let Err(fault) = agent.leave().await {
            faults.push(told(&agent, "did not clean up", fault));
        }
    }
    faults
}

fn told(agent: &Kept, what: &str, fault: Fault) -> Fault {
    Fault { message: format!("agent `{}` {what}: {}", agent.name(), fault.message), ..fault }
}
