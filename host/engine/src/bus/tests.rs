//! Sinks that are slow, that fail, and that panic.

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
        Want::new(Vec::new(), Pressure::Drop)
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

/// Panics in one of its functions.
struct Panics(&'static str, Pressure);

impl Panics {
    fn at(&self, place: &str) {
        assert_ne!(self.0, place, "a broken sink");
    }
}

impl Sink for Panics {
    fn want(&self) -> Want {
        self.at("want");
        Want::new(Vec::new(), self.1)
    }

    fn name(&self) -> String {
        self.at("name");
        "the broken sink".to_owned()
    }

    fn deliver(&self, _: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        self.at("deliver");
        Box::pin(async {
            self.at("delivering");
            Ok(Ack::All)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.at("flush");
        Box::pin(std::future::ready(Ok(())))
    }
}

/// More than wait for a sink, a hundred at a time.
async fn publish_many(bus: &Bus, count: usize) {
    let events = batch(100).events;
    for _ in 0..count / 100 {
        bus.publish(&events, 0, &CancellationToken::new()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_gets_nothing_more_and_holds_up_nobody() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    for pressure in [Pressure::Drop, Pressure::Wait] {
        for place in ["want", "name", "deliver", "delivering", "flush"] {
            let bus = Bus::start(&[Arc::new(Panics(place, pressure))], &clock);
            publish_many(&bus, 3 * limits::SINK_QUEUE_EVENTS).await;
            tokio::task::yield_now().await;
            let waiting: usize = bus.lines.iter().map(|line| line.queue.state().events.len()).sum();
            assert!(place == "flush" || waiting == 0, "{place}: {waiting} events wait for nobody");
            let problems = bus.close(&clock, &CancellationToken::new()).await;
            assert!(problems.len() == 1 && problems[0].contains("sink panicked"), "{place}: {problems:?}");
        }
    }
}

/// Takes nothing before it is let go, then all.
#[derive(Default)]
struct Stalled {
    free: Notify,
    taken: Mutex<Vec<Batch>>,
}

impl Sink for Stalled {
    fn want(&self) -> Want {
        Want::new(Vec::new(), Pressure::Drop)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(async move {
            if self.taken.lock().unwrap().is_empty() {
                self.free.notified().await;
            }
            self.taken.lock().unwrap().push(batch);
            Ok(Ack::All)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_stalls_keeps_so_many_events_and_no_more() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let sink = Arc::new(Stalled::default());
    let bus = Bus::start(&[Arc::clone(&sink) as Arc<dyn Sink>], &clock);
    publish_many(&bus, 1_000_000).await;
    let mut last = (*batch(1).events[0]).clone();
    last.seq = 7_777;
    bus.publish(&[Arc::new(last)], 0, &CancellationToken::new()).await;
    assert_eq!(bus.lines[0].queue.state().events.len(), limits::SINK_QUEUE_EVENTS);
    sink.free.notify_one();
    assert!(bus.close(&clock, &CancellationToken::new()).await.is_empty());
    let taken = sink.taken.lock().unwrap();
    let events: usize = taken.iter().map(|batch| batch.events.len()).sum();
    let dropped: u64 = taken.iter().map(|batch| batch.dropped_before).sum();
    assert_eq!(events as u64 + dropped, 1_000_001, "it is told of all that it missed");
    assert_eq!(taken.last().unwrap().events.last().unwrap().seq, 7_777, "what comes last always comes");
}

/// Takes all at once.
#[derive(Default)]
struct Quick(Mutex<(usize, u64)>);

impl Sink for Quick {
    fn want(&self) -> Want {
        Want::new(Vec::new(), Pressure::Drop)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let mut taken = self.0.lock().unwrap();
        *taken = (taken.0 + batch.events.len(), taken.1 + batch.dropped_before);
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_quick_sink_misses_nothing_of_a_run_that_never_pauses() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let sink = Arc::new(Quick::default());
    let bus = Bus::start(&[Arc::clone(&sink) as Arc<dyn Sink>], &clock);
    // On one thread, and the last of it all at once.
    publish_many(&bus, 50_000).await;
    bus.publish(&batch(50_000).events, 0, &CancellationToken::new()).await;
    assert!(bus.close(&clock, &CancellationToken::new()).await.is_empty());
    assert_eq!(*sink.0.lock().unwrap(), (100_000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sink_is_told_only_of_what_it_wanted() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let wants: [(&[&str], bool, u64); 4] =
        [(&[], false, 5), (&[], true, 0), (&["step_*"], false, 0), (&["step_*", "prog*"], false, 5)];
    for (kinds, durable_only, told) in wants {
        let want = Want { durable_only, ..Want::new(kinds.iter().map(ToString::to_string).collect(), Pressure::Drop) };
        let queue = Queue::default();
        queue.miss(&want, 5);
        queue.push(&batch(1).events, &want);
        assert_eq!(queue.next(&want, clock.as_ref()).await.unwrap().dropped_before, told, "{kinds:?}");
    }
}
