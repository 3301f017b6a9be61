//! Events on their way to sinks: one queue and one task a sink, so that no sink slows another.
//!
//! A queue holds so many events and no more. What a slow sink misses it is told by number, and finds in the journal where it
//! was durable; a sink that asked to be waited for misses nothing. A sink that panics gets nothing more.

use cofferdam_core::event::RunEvent;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::port::{Batch, Clock, Pressure, Sink, Want};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// All sinks of a run.
pub(crate) struct Bus {
    lines: Vec<Line>,
    /// What is wrong with sinks that get nothing.
    unserved: Vec<String>,
}

struct Line {
    name: String,
    want: Want,
    queue: Arc<Queue>,
    task: JoinHandle<Option<String>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    filled: Notify,
    drained: Notify,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Arc<RunEvent>>,
    dropped: u64,
    closed: bool,
    /// The sink takes nothing any more.
    dead: bool,
}

impl Bus {
    /// Starts a task for each sink.
    pub(crate) fn start(sinks: &[Arc<dyn Sink>], clock: &Arc<dyn Clock>) -> Self {
        let (mut lines, mut unserved) = (Vec::new(), Vec::new());
        for sink in sinks {
            match Line::start(sink, clock) {
                Ok(line) => lines.push(line),
                Err(problem) => unserved.push(problem),
            }
        }
        Self { lines, unserved }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Passes events to every sink that wants them; waits only for sinks that asked to be waited for, and not once
    /// the run is cancelled. `lost` counts transient events that never came here.
    pub(crate) async fn publish(&self, events: &[Arc<RunEvent>], lost: u64, cancel: &CancellationToken) {
        for line in &self.lines {
            line.publish(events, lost, cancel).await;
        }
    }

    /// Waits until every sink has what is its due; says what went wrong. A sink that asked to be waited for has all
    /// the time it wants unless the run is cancelled, the others have the grace, and they have it at the same time.
    pub(crate) async fn close(mut self, clock: &Arc<dyn Clock>, cancel: &CancellationToken) -> Vec<String> {
        let lines = std::mem::take(&mut self.lines);
        lines.iter().for_each(|line| line.queue.close());
        let endings = lines.into_iter().map(|line| line.end(clock, cancel));
        let problems = join_all(endings).await.into_iter().flatten();
        self.unserved.drain(..).chain(problems).collect()
    }
}

impl Line {
    fn start(sink: &Arc<dyn Sink>, clock: &Arc<dyn Clock>) -> Result<Self, String> {
        let asked = catch_unwind(AssertUnwindSafe(|| (sink.name(), sink.want())));
        let panicked = |_| "an event sink panicked when it was asked what it wants, and gets nothing".to_owned();
        let (name, want) = asked.map_err(panicked)?;
        let queue = Arc::new(Queue::default());
        let delivery = Delivery {
            sink: Arc::clone(sink),
            name: name.clone(),
            want: want.clone(),
            queue: Arc::clone(&queue),
            clock: Arc::clone(clock),
        };
        let task = tokio::spawn(delivery.guarded());
        Ok(Self { name, want, queue, task })
    }

    async fn publish(&self, events: &[Arc<RunEvent>], lost: u64, cancel: &CancellationToken) {
        self.queue.miss(&self.want, lost);
        for events in events.chunks(limits::SINK_BATCH_EVENTS) {
            let fills = self.queue.push(events, &self.want);
            match self.want.pressure {
                Pressure::Wait => tokio::select! {
                    () = self.queue.wait_for_room() => {}
                    () = cancel.cancelled() => {}
                },
                // It is not waited for, but a run that never pauses must leave it the time to take what it could.
                Pressure::Drop if fills => tokio::task::yield_now().await,
                Pressure::Drop => {}
            }
        }
    }

    async fn end(self, clock: &Arc<dyn Clock>, cancel: &CancellationToken) -> Option<String> {
        let patient = self.want.pressure == Pressure::Wait;
        // Whoever cancels does not want to wait as long.
        let cancelled = async {
            cancel.cancelled().await;
            clock.sleep(Duration::from_millis(limits::CANCEL_GRACE_MS)).await;
        };
        let closing = async {
            if patient {
                std::future::pending::<()>().await;
            }
            clock.sleep(Duration::from_millis(limits::CLOSE_GRACE_MS)).await;
        };
        let grace = async {
            tokio::select! {
                () = cancelled => {}
                () = closing => {}
            }
        };
        let abort = self.task.abort_handle();
        tokio::select! {
            outcome = self.task => match outcome {
                Ok(problem) => problem,
                Err(error) => Some(format!("{} ended: {error}", self.name)),
            },
            () = grace => {
                abort.abort();
                Some(format!("{} did not take its last events in time", self.name))
            }
        }
    }
}

impl Drop for Bus {
    /// A run that is dropped leaves no sink waiting.
    fn drop(&mut self) {
        self.lines.iter().for_each(|line| line.queue.close());
    }
}

impl Queue {
    fn state(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts transient events that never came here.
    fn miss(&self, want: &Want, lost: u64) {
        if lost > 0 && want.takes_transient() {
            self.state().dropped += lost;
        }
    }

    /// Queues what is wanted of some events; says whether the queue fills up.
    fn push(&self, events: &[Arc<RunEvent>], want: &Want) -> bool {
        let mut state = self.state();
        if state.dead {
            return false;
        }
        for event in events.iter().filter(|event| want.takes(&event.body)) {
            let full = want.pressure == Pressure::Drop && state.events.len() >= limits::SINK_QUEUE_EVENTS;
            state.dropped += u64::from(full);
            if full && event.body.is_transient() {
                continue;
            }
            if full {
                // The oldest go, so that the end of a run, behind which nothing comes, always stays.
                state.events.pop_front();
            }
            state.events.push_back(Arc::clone(event));
        }
        let fills = state.events.len() > limits::SINK_QUEUE_EVENTS / 2;
        drop(state);
        self.filled.notify_one();
        fills
    }

    fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
    }

    async fn wait_for_room(&self) {
        loop {
            let drained = self.drained.notified();
            {
                let state = self.state();
                if state.dead || state.events.len() < limits::SINK_QUEUE_EVENTS {
                    return;
                }
            }
            drained.await;
        }
    }

    /// Nothing is taken any more: what waits is let go, and who waits for room goes on.
    fn die(&self) {
        let mut state = self.state();
        state.dead = true;
        state.events.clear();
        drop(state);
        self.drained.notify_one();
    }

    /// Waits until a batch is full, the queue is closed, or the time is over in which a batch may fill.
    async fn fill(&self, want: &Want, clock: &dyn Clock) {
        let over = clock.sleep(want.linger);
        let full = async {
            loop {
                let filled = self.filled.notified();
                {
                    let state = self.state();
                    if state.closed || state.events.len() >= want.batch_events {
                        return;
                    }
                }
                filled.await;
            }
        };
        tokio::select! {
            () = full => {}
            () = over => {}
        }
    }

    /// The next batch; none when the queue is closed and empty.
    async fn next(&self, want: &Want, clock: &dyn Clock) -> Option<Batch> {
        let mut lingers = !want.linger.is_zero();
        loop {
            let begins = lingers && !self.state().events.is_empty();
            if begins {
                lingers = false;
                self.fill(want, clock).await;
            }
            {
                let mut state = self.state();
                if !state.events.is_empty() {
                    let count = state.events.len().min(want.batch_events.max(1));
                    let events = state.events.drain(..count).collect();
                    let dropped_before = std::mem::take(&mut state.dropped);
                    drop(state);
                    self.drained.notify_one();
                    return Some(Batch { events, dropped_before });
                }
                if state.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }
}

/// What brings the events of a queue to its sink.
struct Delivery {
    sink: Arc<dyn Sink>,
    name: String,
    want: Want,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
}

impl Delivery {
    /// Delivers; a panic of the sink is its end, and nothing waits for it any more.
    async fn guarded(self) -> Option<String> {
        let outcome = AssertUnwindSafe(self.deliver_all()).catch_unwind().await;
        outcome.unwrap_or_else(|_| {
            self.queue.die();
            Some(format!("{} panicked, and got nothing more", self.name))
        })
    }

    /// Delivers until the queue is closed, or the sink fails for good; says why in the latter case.
    async fn deliver_all(&self) -> Option<String> {
        let Self { sink, name, want, queue, clock } = self;
        let (mut problem, mut refused) = (None, 0);
        while let Some(batch) = queue.next(want, clock.as_ref()).await {
            let patience = Patience { clock: clock.as_ref(), offers: limits::SINK_OFFERS };
            match deliver(sink.as_ref(), batch, patience).await {
                Ok(count) => refused += count,
                Err(fault) => {
                    problem = Some(format!("{name} stopped: {fault}"));
                    queue.die();
                    break;
                }
            }
        }
        if refused > 0 && problem.is_none() {
            let events = if refused == 1 { "1 event".to_owned() } else { format!("{refused} events") };
            problem = Some(format!("{name} will never take {events}: dead letters"));
        }
        match sink.flush().await {
            Ok(()) => problem,
            Err(fault) => Some(problem.unwrap_or_else(|| format!("{name} could not flush: {fault}"))),
        }
    }
}

/// How patient whoever delivers is with a sink.
#[derive(Clone, Copy)]
pub struct Patience<'c> {
    /// By which it waits between two offers.
    pub clock: &'c dyn Clock,
    /// How often a batch is offered again before it is given up.
    pub offers: u32,
}

/// Delivers a batch, offered again as often as it takes and with a wait that doubles; says how many of its events can
/// never be delivered.
///
/// # Errors
/// The sink's last fault, when it may not be tried again or was tried often enough; an answer that cannot be.
pub async fn deliver(sink: &dyn Sink, mut batch: Batch, patience: Patience<'_>) -> Result<usize, Fault> {
    let Patience { clock, offers: most } = patience;
    let (mut offers, mut refused) = (0, 0);
    loop {
        let given = batch.events.len();
        let asked_ms = match sink.deliver(batch.clone()).await {
            Ok(ack) => {
                // Whoever keeps dead letters has kept them on the way.
                refused += ack.rejected().len();
                match ack.handled(given) {
                    count if count > given => {
                        let message = format!("it took {count} events of a batch of {given}");
                        return Err(Fault::step("sink_protocol", message));
                    }
                    count if count == given => return Ok(refused),
                    0 if offers == most => {
                        let message = "it takes nothing of a batch that was offered again and again";
                        return Err(Fault::step("sink_stuck", message));
                    }
                    0 => 0,
                    count => {
                        batch.events.drain(..count);
                        batch.dropped_before = 0;
                        offers = 0;
                        continue;
                    }
                }
            }
            Err(fault) if !fault.is_retryable() || offers == most => return Err(fault),
            Err(fault) => fault.retry_after_ms.unwrap_or(0),
        };
        clock.sleep(pause(offers, asked_ms)).await;
        offers += 1;
    }
}

/// The wait before a batch is offered again: it doubles, and is no shorter than the sink asks for. A wait longer than
/// the grace at the end of a run would lose the batch there.
fn pause(offers: u32, asked_ms: u64) -> Duration {
    let own_ms = 50_u64 << offers;
    Duration::from_millis(own_ms.max(asked_ms).min(limits::CLOSE_GRACE_MS))
}

#[cfg(test)]
mod tests;
