//! Events on their way to sinks: one queue and one task a sink, so that no sink slows another.
//!
//! Durable events are never dropped. Of transient ones a slow sink loses some and is told how many.

use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::port::{Ack, Batch, Clock, Pressure, Sink, Want};
use cofferdam_core::spec::workflow::pattern_matches;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// All sinks of a run.
pub(crate) struct Bus {
    lines: Vec<Line>,
}

struct Line {
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
        let lines = sinks.iter().map(|sink| {
            let queue = Arc::new(Queue::default());
            let (sink, want) = (Arc::clone(sink), sink.want());
            let task = tokio::spawn(deliver_all(sink, want.clone(), Arc::clone(&queue), Arc::clone(clock)));
            Line { want, queue, task }
        });
        Self { lines: lines.collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Passes events to every sink that wants them; waits only for sinks that asked to be waited for, and not once
    /// the run is cancelled. `lost` counts transient events that never came here.
    pub(crate) async fn publish(&self, events: &[Arc<RunEvent>], lost: u64, cancel: &CancellationToken) {
        for line in &self.lines {
            line.queue.push(events, &line.want, lost);
            if line.want.pressure == Pressure::Wait {
                tokio::select! {
                    () = line.queue.wait_for_room() => {}
                    () = cancel.cancelled() => {}
                }
            }
        }
    }

    /// Waits until every sink has what is its due; says what went wrong. A sink that asked to be waited for has all
    /// the time it wants unless the run is cancelled, the others have the grace.
    pub(crate) async fn close(mut self, clock: &Arc<dyn Clock>, cancel: &CancellationToken) -> Vec<String> {
        let mut problems = Vec::new();
        for line in std::mem::take(&mut self.lines) {
            line.queue.close();
            let patient = line.want.pressure == Pressure::Wait;
            let grace = async {
                if patient {
                    cancel.cancelled().await;
                }
                clock.sleep(Duration::from_millis(limits::CLOSE_GRACE_MS)).await;
            };
            let abort = line.task.abort_handle();
            tokio::select! {
                outcome = line.task => match outcome {
                    Ok(problem) => problems.extend(problem),
                    Err(error) => problems.push(format!("an event sink ended: {error}")),
                },
                () = grace => {
                    abort.abort();
                    problems.push("an event sink did not take its last events in time".to_owned());
                }
            }
        }
        problems
    }
}

impl Drop for Bus {
    /// A run that is dropped leaves no sink waiting.
    fn drop(&mut self) {
        self.lines.iter().for_each(|line| line.queue.close());
    }
}

fn wants(want: &Want, body: &Body) -> bool {
    let kind = body.kind();
    if want.durable_only && body.is_transient() {
        return false;
    }
    want.kinds.is_empty() || want.kinds.iter().any(|pattern| pattern_matches(pattern, kind))
}

impl Queue {
    fn state(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn push(&self, events: &[Arc<RunEvent>], want: &Want, lost: u64) {
        let mut state = self.state();
        if state.dead {
            return;
        }
        state.dropped += lost;
        for event in events.iter().filter(|event| wants(want, &event.body)) {
            let full = state.events.len() >= limits::SINK_QUEUE_EVENTS;
            if full && event.body.is_transient() && want.pressure == Pressure::DropTransient {
                state.dropped += 1;
            } else {
                state.events.push_back(Arc::clone(event));
            }
        }
        drop(state);
        self.filled.notify_one();
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

/// Delivers until the queue is closed, or the sink fails for good; says why in the latter case.
async fn deliver_all(sink: Arc<dyn Sink>, want: Want, queue: Arc<Queue>, clock: Arc<dyn Clock>) -> Option<String> {
    let (mut problem, mut refused) = (None, 0);
    while let Some(batch) = queue.next(&want, clock.as_ref()).await {
        match deliver(sink.as_ref(), batch, clock.as_ref()).await {
            Ok(count) => refused += count,
            Err(fault) => {
                problem = Some(format!("an event sink stopped: {fault}"));
                queue.die();
                break;
            }
        }
    }
    if refused > 0 && problem.is_none() {
        let events = if refused == 1 { "1 event".to_owned() } else { format!("{refused} events") };
        problem = Some(format!("an event sink will never take {events}: dead letters"));
    }
    match sink.flush().await {
        Ok(()) => problem,
        Err(fault) => Some(problem.unwrap_or_else(|| format!("an event sink could not flush: {fault}"))),
    }
}

/// Delivers a batch; says how many of its events can never be delivered.
async fn deliver(sink: &dyn Sink, mut batch: Batch, clock: &dyn Clock) -> Result<usize, Fault> {
    let mut offers = 0;
    loop {
        match sink.deliver(batch.clone()).await {
            Ok(Ack::All) => return Ok(0),
            // Whoever keeps dead letters has kept them on the way.
            Ok(Ack::Except(rejected)) => return Ok(rejected.len()),
            Ok(Ack::First(count)) if count > 0 && count < batch.events.len() => {
                batch.events.drain(..count);
                offers = 0;
            }
            Ok(Ack::First(count)) if count == batch.events.len() => return Ok(0),
            Ok(Ack::First(count)) if count > batch.events.len() => {
                let given = batch.events.len();
                return Err(Fault::step("sink_protocol", format!("it took {count} events of a batch of {given}")));
            }
            Ok(Ack::First(_)) if offers == limits::SINK_OFFERS => {
                return Err(Fault::step("sink_stuck", "it takes nothing of a batch that was offered again and again"));
            }
            Err(fault) if !fault.is_retryable() || offers == limits::SINK_OFFERS => return Err(fault),
            Ok(Ack::First(_)) | Err(_) => {
                clock.sleep(Duration::from_millis(50 << offers)).await;
                offers += 1;
            }
        }
    }
}
