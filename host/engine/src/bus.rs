//! Events on their way to sinks: one queue and one task a sink, so that no sink slows another.
//!
//! Durable events are never dropped. Of transient ones a slow sink loses some and is told how many.

use cofferdam_core::event::RunEvent;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::port::{Batch, Clock, Pressure, Sink, Want};
use futures_util::future::join_all;
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
        let lines = sinks.iter().map(|sink| {
            let queue = Arc::new(Queue::default());
            let want = sink.want();
            let task = tokio::spawn(deliver_all(Arc::clone(sink), want.clone(), Arc::clone(&queue), Arc::clone(clock)));
            Line { name: sink.name(), want, queue, task }
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
    /// the time it wants unless the run is cancelled, the others have the grace, and they have it at the same time.
    pub(crate) async fn close(mut self, clock: &Arc<dyn Clock>, cancel: &CancellationToken) -> Vec<String> {
        let lines = std::mem::take(&mut self.lines);
        lines.iter().for_each(|line| line.queue.close());
        let endings = lines.into_iter().map(|line| line.end(clock, cancel));
        join_all(endings).await.into_iter().flatten().collect()
    }
}

impl Line {
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

    fn push(&self, events: &[Arc<RunEvent>], want: &Want, lost: u64) {
        let mut state = self.state();
        if state.dead {
            return;
        }
        state.dropped += lost;
        for event in events.iter().filter(|event| want.takes(&event.body)) {
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
        let patience = Patience { clock: clock.as_ref(), offers: limits::SINK_OFFERS };
        match deliver(sink.as_ref(), batch, patience).await {
            Ok(count) => refused += count,
            Err(fault) => {
                problem = Some(format!("{} stopped: {fault}", sink.name()));
                queue.die();
                break;
            }
        }
    }
    if refused > 0 && problem.is_none() {
        let events = if refused == 1 { "1 event".to_owned() } else { format!("{refused} events") };
        problem = Some(format!("{} will never take {events}: dead letters", sink.name()));
    }
    match sink.flush().await {
        Ok(()) => problem,
        Err(fault) => Some(problem.unwrap_or_else(|| format!("{} could not flush: {fault}", sink.name()))),
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
mod tests {
    use super::*;
    use crate::clock::TokioClock;
    use cofferdam_core::event::Body;
    use cofferdam_core::id::{RunId, StepPath};
    use cofferdam_core::port::{Ack, BoxFuture, Rejection};
    use cofferdam_core::time::Timestamp;

    /// Gives its answers one after another, then takes all; keeps what it was offered.
    struct Played {
        answers: Mutex<VecDeque<Result<Ack, Fault>>>,
        offered: Mutex<Vec<Vec<u64>>>,
    }

    impl Played {
        fn new(answers: Vec<Result<Ack, Fault>>) -> Self {
            Self { answers: Mutex::new(answers.into()), offered: Mutex::default() }
        }
    }

    impl Sink for Played {
        fn want(&self) -> Want {
            Want::new(Vec::new(), Pressure::Wait)
        }

        fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
            self.offered.lock().unwrap().push(batch.events.iter().map(|event| event.seq).collect());
            let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(Ack::All));
            Box::pin(std::future::ready(answer))
        }

        fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    fn patience(clock: &TokioClock) -> Patience<'_> {
        Patience { clock, offers: limits::SINK_OFFERS }
    }

    fn batch(count: u64) -> Batch {
        let event = |seq| {
            Arc::new(RunEvent {
                seq,
                sub: None,
                at: Timestamp::from_millis(0),
                run_id: RunId::parse("r").unwrap(),
                path: StepPath::from("a"),
                attempt: None,
                body: Body::StepReady {},
            })
        };
        Batch { events: (1..=count).map(event).collect(), dropped_before: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_handled_is_offered_again_beside_rejections() {
        let rejected = vec![Rejection { index: 1, reason: "it is odd".to_owned() }];
        let sink = Played::new(vec![Ok(Ack::Except { handled: 2, rejected })]);
        assert_eq!(deliver(&sink, batch(3), patience(&TokioClock::new())).await, Ok(1));
        assert_eq!(*sink.offered.lock().unwrap(), [vec![1, 2, 3], vec![3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_is_left_alone_as_long_as_it_asks() {
        let busy = |wait| Err(Fault::retry("busy", "busy").with_retry_after(Duration::from_secs(wait)));
        let sink = Played::new(vec![busy(2), busy(3_600), Ok(Ack::First(0))]);
        let begun = tokio::time::Instant::now();
        assert_eq!(deliver(&sink, batch(1), patience(&TokioClock::new())).await, Ok(0));
        assert_eq!(begun.elapsed(), Duration::from_millis(2_000 + limits::CLOSE_GRACE_MS + 200));
    }
    /// Never answers.
    struct Hung;

    impl Sink for Hung {
        fn want(&self) -> Want {
            Want::new(Vec::new(), Pressure::DropTransient)
        }

        fn deliver(&self, _: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
            Box::pin(std::future::pending())
        }

        fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sinks_that_hang_cost_one_grace_together() {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let bus = Bus::start(&[Arc::new(Hung), Arc::new(Hung), Arc::new(Hung)], &clock);
        let begun = tokio::time::Instant::now();
        bus.publish(&batch(1).events, 0, &CancellationToken::new()).await;
        assert_eq!(bus.close(&clock, &CancellationToken::new()).await.len(), 3);
        assert_eq!(begun.elapsed(), Duration::from_millis(limits::CLOSE_GRACE_MS));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_cancels_meanwhile_waits_less_for_a_sink_that_hangs() {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let (bus, cancel) = (Bus::start(&[Arc::new(Hung)], &clock), CancellationToken::new());
        let begun = tokio::time::Instant::now();
        bus.publish(&batch(1).events, 0, &cancel).await;
        let closing = async {
            clock.sleep(Duration::from_secs(1)).await;
            cancel.cancel();
        };
        let (problems, ()) = tokio::join!(bus.close(&clock, &cancel), closing);
        assert_eq!(problems.len(), 1);
        assert_eq!(begun.elapsed(), Duration::from_millis(1_000 + limits::CANCEL_GRACE_MS));
    }
}
