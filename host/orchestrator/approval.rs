//! Whoever is asked, within a time: who does not answer in it has not allowed anything.

use super::{Orchestrator, RunOptions};
use cofferdam_core::port::{Answer, Approver, BoxFuture, Clock, Inquiry, Question};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

impl Orchestrator {
    /// Who is asked in a run: its own approver, else the orchestrator's.
    pub(super) fn approver_of(&self, options: &RunOptions) -> Option<Arc<dyn Approver>> {
        let settings = &self.shared.settings;
        let own = options.approver.clone();
        own.map(|own| Timed::wrap(own, settings.approval_timeout, &settings.clock))
            .or_else(|| settings.approver.clone())
    }
}

/// An approver whose answers are awaited for a while, and whose panics are no answers.
pub(super) struct Timed {
    approver: Arc<dyn Approver>,
    /// None = as long as it takes.
    timeout: Option<Duration>,
    clock: Arc<dyn Clock>,
}

impl Timed {
    /// The approver, as every question reaches it.
    pub(super) fn wrap(
        approver: Arc<dyn Approver>,
        timeout: Option<Duration>,
        clock: &Arc<dyn Clock>,
    ) -> Arc<dyn Approver> {
        Arc::new(Self { approver, timeout, clock: Arc::clone(clock) })
    }

    /// Waits for an answer; none when there is none in time.
    async fn within<T>(&self, asking: BoxFuture<'_, T>) -> Option<T> {
        let asking = AssertUnwindSafe(asking).catch_unwind();
        let answer = match self.timeout {
            None => asking.await,
            Some(timeout) => tokio::select! {
                biased;
                answer = asking => answer,
                () = self.clock.sleep(timeout) => {
                    tracing::warn!("nobody answered in time; that is a no");
                    return None;
                }
            },
        };
        answer.inspect_err(|_| tracing::warn!("who was asked panicked; that is a no")).ok()
    }
}

impl Approver for Timed {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            self.within(Box::pin(async move { self.approver.ask(question).await })).await.unwrap_or(Answer::Nobody)
        })
    }

    fn answer(&self, inquiry: Inquiry) -> BoxFuture<'_, Option<String>> {
        Box::pin(
            async move { self.within(Box::pin(async move { self.approver.answer(inquiry).await })).await.flatten() },
        )
    }
}
