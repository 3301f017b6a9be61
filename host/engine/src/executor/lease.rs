//! The right to write to a run: taken before the run begins or goes on, renewed while it is under way, given back at its end.
//!
//! It keeps well-behaved writers apart and tells who holds a run. What it misses is fenced off by appends.

use super::Wake;
use super::run::Run;
use crate::recorder::Inbox;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{Clock, Journal, JournalError, Lease, LeaseRequest, Owner};
use std::sync::Arc;
use std::time::Duration;

/// Who writes to runs, and how it is found out whether another one is gone.
#[derive(Clone)]
pub struct Holder {
    /// This process.
    pub owner: Owner,
    /// Whether another owner is known to be gone: a process of this machine that has ended. What is not known counts as no.
    pub is_gone: fn(&Owner) -> bool,
}

/// The right, as long as it is renewed.
pub(super) struct Held {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    request: LeaseRequest,
}

impl Run {
    /// Takes the right to write to the run, and sees to it that it stays.
    ///
    /// # Errors
    /// [`JournalError::Held`] when another one works on the run.
    pub(super) async fn hold(&mut self) -> Result<Option<Held>, JournalError> {
        let Some(holder) = self.request.holder.clone() else { return Ok(None) };
        let (journal, clock) = (Arc::clone(&self.ports.journal), Arc::clone(&self.ports.clock));
        let request = request(&self.request.run_id, &holder, &*clock);
        let lease = take(&*journal, &holder, request.clone(), &*clock).await?;
        let held = Held { journal, clock, request: LeaseRequest { epoch: lease.epoch, ..request } };
        let (renewed, inbox) = (held.clone(), self.inbox.clone());
        self.tasks.spawn(async move { renewed.renew(&inbox).await });
        Ok(Some(held))
    }
}

fn request(run: &RunId, holder: &Holder, clock: &dyn Clock) -> LeaseRequest {
    let hold = Duration::from_millis(limits::LEASE_HOLD_MS);
    let owner = holder.owner.clone();
    LeaseRequest { run: run.clone(), owner, epoch: 0, now: clock.now(), hold, owner_is_gone: false }
}

/// One on another machine is waited for as long as its right holds; one whose process has ended is replaced at once.
async fn take(
    journal: &dyn Journal,
    holder: &Holder,
    request: LeaseRequest,
    clock: &dyn Clock,
) -> Result<Lease, JournalError> {
    let held = match journal.lease(request.clone()).await {
        Err(JournalError::Held(held)) => held,
        other => return other,
    };
    if (holder.is_gone)(&held.owner) {
        return journal.lease(LeaseRequest { epoch: held.epoch, owner_is_gone: true, ..request }).await;
    }
    if held.owner.host == holder.owner.host {
        return Err(JournalError::Held(held));
    }
    clock.sleep(held.until.since(clock.now())).await;
    journal.lease(LeaseRequest { now: clock.now(), ..request }).await
}

impl Clone for Held {
    fn clone(&self) -> Self {
        let (journal, clock) = (Arc::clone(&self.journal), Arc::clone(&self.clock));
        Self { journal, clock, request: self.request.clone() }
    }
}

impl Held {
    /// Renews until somebody else has the right. A store that cannot be reached is asked again: appends tell in time.
    async fn renew(&self, inbox: &Inbox) {
        loop {
            self.clock.sleep(Duration::from_millis(limits::LEASE_RENEW_MS)).await;
            let request = LeaseRequest { now: self.clock.now(), ..self.request.clone() };
            match self.journal.lease(request).await {
                Err(error @ (JournalError::Held(_) | JournalError::Conflict { .. })) => {
                    inbox.send(Wake::Fenced(error));
                    return;
                }
                Err(error) => tracing::warn!(%error, "the right to write to the run cannot be renewed"),
                Ok(_) => {}
            }
        }
    }

    /// Gives the right back, so that nobody waits for its end.
    pub(super) async fn release(self) {
        let request = LeaseRequest { now: self.clock.now(), hold: Duration::ZERO, ..self.request };
        if let Err(error) = self.journal.lease(request).await {
            tracing::debug!(%error, "the right to write to the run was not given back");
        }
    }
}
