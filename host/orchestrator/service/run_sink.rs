//! A sink as one run sees it. A sink that fails for longer than it is offered a batch does not lose the rest: the run goes
//! on without it, it is tried again with growing pauses, and what it missed comes from the journal.
//!
//! It must not know where events come from besides.

use super::courier::{Courier, LATER, Place, Round, Whose};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Sink, Want};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;

/// The sink of a run. Dropping it ends what it does for the run.
pub(crate) struct RunSink {
    courier: Arc<Courier>,
    run: RunId,
    /// None for a sink that is told of what happens while it happens, and of nothing later.
    standing: Option<Arc<Standing>>,
}

/// How the sink stands to the run.
struct Standing {
    place: Place,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// It gets nothing live until it has caught up.
    behind: bool,
    /// Batches that were let go since it is behind.
    let_go: u64,
    /// Failed offers of one batch.
    failures: u32,
    /// Why it is behind.
    fault: Option<Fault>,
    /// All that came live was handled before the end.
    flushed: bool,
    pursuit: Option<AbortHandle>,
}

impl Now {
    /// Whether a batch need not be offered now: it is in the journal, and comes from there.
    fn lets_go(&mut self) -> bool {
        self.let_go += u64::from(self.behind);
        self.behind
    }
}

impl Standing {
    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunSink {
    pub(super) fn passing(courier: Arc<Courier>, run: RunId) -> Self {
        Self { courier, run, standing: None }
    }

    pub(super) fn keeping(courier: Arc<Courier>, place: Place, behind: bool) -> Self {
        let run = place.run.clone();
        let now = Mutex::new(Now { behind, ..Now::default() });
        let sink = Self { courier, run, standing: Some(Arc::new(Standing { place, now })) };
        if behind {
            sink.pursue(Duration::ZERO);
        }
        sink
    }

    async fn pass(&self, batch: Batch) -> Result<Ack, Fault> {
        let Some(standing) = &self.standing else { return self.courier.pass_on(batch).await };
        // Looked at before its turn as well: nobody waits for a sink that is behind.
        if standing.now().lets_go() {
            return Ok(Ack::All);
        }
        let turn = self.courier.turn().await;
        if standing.now().lets_go() {
            return Ok(Ack::All);
        }
        if batch.dropped_before > 0 {
            // More came than waits for a sink: all of it comes from the journal, from where the sink is.
            standing.now().behind = true;
            self.pursue(Duration::ZERO);
            return Ok(Ack::All);
        }
        let outcome = self.courier.offer(&turn, &standing.place, batch).await;
        let mut now = standing.now();
        match outcome {
            Ok(ack) => {
                now.failures = 0;
                Ok(ack)
            }
            Err(fault) if fault.is_retryable() && now.failures < limits::SINK_OFFERS => {
                now.failures += 1;
                Err(fault)
            }
            Err(fault) => {
                let pause_ms = if fault.is_retryable() { 1_000 } else { limits::SINK_PAUSE_MS };
                now.behind = true;
                now.fault = Some(fault);
                drop(now);
                self.pursue(Duration::from_millis(pause_ms));
                Ok(Ack::All)
            }
        }
    }

    /// Tries again until the sink has caught up, with pauses that double.
    fn pursue(&self, mut pause: Duration) {
        let Some(standing) = self.standing.clone() else { return };
        let courier = Arc::clone(&self.courier);
        let clock = Arc::clone(&courier.means.clock);
        let pursuit = tokio::spawn({
            let standing = Arc::clone(&standing);
            async move {
                loop {
                    clock.sleep(pause).await;
                    match catch_up(&courier, &standing, limits::SINK_OFFERS).await {
                        Ok(()) => return,
                        Err(fault) => standing.now().fault = Some(fault),
                    }
                    pause = (pause * 2).clamp(Duration::from_secs(1), Duration::from_millis(limits::SINK_PAUSE_MS));
                }
            }
        });
        let before = standing.now().pursuit.replace(pursuit.abort_handle());
        before.iter().for_each(AbortHandle::abort);
    }

    /// Says what the sink did not get when the run has ended; none when it got all.
    pub(crate) async fn settle(&self, grace: Duration) -> Vec<String> {
        let Some(standing) = &self.standing else { return Vec::new() };
        let pursuit = standing.now().pursuit.take();
        pursuit.iter().for_each(AbortHandle::abort);
        // One that hangs has had its time.
        let grace = if standing.now().flushed { grace } else { Duration::ZERO };
        let (own, earlier) = tokio::join!(self.settle_own(standing, grace), self.courier.tell_of_earlier_runs(grace));
        own.into_iter().chain(earlier).collect()
    }

    async fn settle_own(&self, standing: &Standing, grace: Duration) -> Option<String> {
        let (behind, flushed, fault) = {
            let now = standing.now();
            (now.behind, now.flushed, now.fault.clone())
        };
        if behind && flushed && fault.as_ref().is_none_or(Fault::is_retryable) {
            tokio::select! {
                outcome = catch_up(&self.courier, standing, 0) => if let Err(fault) = outcome {
                    standing.now().fault = Some(fault);
                },
                () = self.courier.means.clock.sleep(grace) => {}
            }
        }
        let done = flushed && !standing.now().behind;
        let waiting = if done { Ok(0) } else { self.courier.count(&standing.place).await };
        let fault = standing.now().fault.take();
        let why = fault.map(|fault| format!(": {}", fault.message)).unwrap_or_default();
        let name = self.courier.name();
        match waiting {
            Ok(0) => match self.courier.ledger.strike_out(&self.run).await {
                Ok(()) => None,
                Err(error) => Some(format!("the place of {name} cannot be kept: {error}")),
            },
            Ok(1) => Some(format!("{name} lacks 1 event of this run{why}; {LATER}")),
            Ok(count) => Some(format!("{name} lacks {} events of this run{why}; {LATER}", at_most(count))),
            Err(error) => Some(format!("{name} lacks events of this run{why}; what it lacks cannot be read: {error}")),
        }
    }
}

fn at_most(count: usize) -> String {
    if count < limits::SINK_QUEUE_EVENTS { count.to_string() } else { format!("{count} or more") }
}

async fn catch_up(courier: &Courier, standing: &Standing, offers: u32) -> Result<(), Fault> {
    let delivered = AtomicUsize::new(0);
    let round = Round { courier, place: &standing.place, delivered: &delivered, whose: Whose::Its };
    loop {
        let before = standing.now().let_go;
        let at_the_end = || {
            let mut now = standing.now();
            // What was let go meanwhile may have been recorded after the last look at the journal.
            (now.behind, now.failures) = (now.let_go != before, 0);
        };
        courier.catch_up(&round, offers, at_the_end).await?;
        if !standing.now().behind {
            return Ok(());
        }
    }
}

impl Drop for RunSink {
    fn drop(&mut self) {
        if let Some(standing) = &self.standing {
            standing.now().pursuit.take().iter().for_each(AbortHandle::abort);
            self.courier.leave(&self.run);
        }
    }
}

impl Sink for RunSink {
    fn want(&self) -> Want {
        self.courier.want()
    }

    fn name(&self) -> String {
        self.courier.name()
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(self.pass(batch))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            if let Some(standing) = &self.standing {
                standing.now().flushed = true;
            }
            self.courier.sink().flush().await
        })
    }
}
