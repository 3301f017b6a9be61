//! Brings the events of runs to one sink, at least once and in the order of their run: the place in each run is durable,
//! what the sink can never take is put aside, and what it missed comes from the journal.
//!
//! It must not know how a run goes.

use super::alive::Alive;
use super::ledger::{Held, Ledger, Owed};
use super::letters::Letters;
use super::missed::{Missed, last_seq};
use super::run_sink::RunSink;
use super::{ServiceSink, lost};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::{Alias, RunId};
use cofferdam_core::limits;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Clock, Journal, JournalError, Rejection, Sink, State, Want};
use cofferdam_engine::Patience;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::MutexGuard;

/// What couriers need of the world.
pub(crate) struct Means {
    pub(crate) state: Arc<dyn State>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How far a sink is in one run.
pub(super) struct Place {
    pub(super) run: RunId,
    seq: AtomicU64,
    /// Of a run that goes on nowhere: that nobody else has taken it on.
    held: Mutex<Option<Held>>,
}

impl Place {
    fn of(owed: &Owed, held: Option<Held>) -> Self {
        Self { run: owed.run.clone(), seq: AtomicU64::new(owed.seq), held: Mutex::new(held) }
    }

    fn held(&self) -> Option<Held> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    pub(super) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }
}

/// The one who delivers to a sink.
pub(crate) struct Courier {
    sink: Arc<ServiceSink>,
    pub(super) ledger: Ledger,
    pub(super) letters: Letters,
    pub(super) means: Arc<Means>,
    alive: Arc<Alive>,
    /// One batch is under way at a time.
    turn: tokio::sync::Mutex<()>,
    /// Runs that go on here.
    under_way: Mutex<BTreeSet<RunId>>,
    /// Held by whoever catches up on earlier runs.
    catching: Arc<tokio::sync::Mutex<Option<Fault>>>,
}

/// What catching up came to.
#[derive(Debug, Default)]
pub(super) struct Caught {
    /// Events that were delivered.
    pub(super) events: usize,
    /// What kept the sink from the rest.
    pub(super) fault: Option<Fault>,
}

/// A batch's turn at the sink.
pub(super) type Turn<'c> = MutexGuard<'c, ()>;

impl Courier {
    pub(super) fn new(sink: Arc<ServiceSink>, means: &Arc<Means>, alive: &Arc<Alive>) -> Self {
        let alias = sink.alias();
        Self {
            ledger: Ledger::new(&means.state, alias, alive.id()),
            letters: Letters::new(&means.state, alias),
            means: Arc::clone(means),
            alive: Arc::clone(alive),
            sink,
            turn: tokio::sync::Mutex::default(),
            under_way: Mutex::default(),
            catching: Arc::default(),
        }
    }

    pub(super) fn alias(&self) -> &Alias {
        self.sink.alias()
    }

    pub(super) fn sink(&self) -> &Arc<ServiceSink> {
        &self.sink
    }

    pub(super) fn want(&self) -> Want {
        self.sink.want()
    }

    pub(super) fn name(&self) -> String {
        self.sink.name()
    }

    /// Begins with a run, before anything of it is recorded, and sees to what is left of earlier ones.
    ///
    /// # Errors
    /// When it cannot be kept what the sink is owed.
    pub(crate) async fn begin(self: &Arc<Self>, run: &RunId) -> Result<RunSink, JournalError> {
        if !self.want().durable_only {
            return Ok(RunSink::passing(Arc::clone(self), run.clone()));
        }
        self.mark()?;
        let entering = Entering::new(self, run);
        let (owed, last) = self.enter(run).await?;
        entering.succeed();
        // Whoever is at it already does it for all.
        if let Ok(mut last) = Arc::clone(&self.catching).try_lock_owned() {
            let courier = Arc::clone(self);
            tokio::spawn(async move { *last = courier.catch_up_on_each(&AtomicUsize::new(0)).await.err() });
        }
        let behind = owed.seq < last;
        Ok(RunSink::keeping(Arc::clone(self), Place::of(&owed, None), behind))
    }

    async fn enter(&self, run: &RunId) -> Result<(Owed, u64), JournalError> {
        let last = last_seq(&*self.means.journal, run).await?;
        // Nobody delivers for the run any more who was catching up on it. Of a new one nobody could.
        let _turn = if last > 0 { Some(self.turn().await) } else { None };
        let owed = self.ledger.enter(run, last).await?;
        Ok((owed, last))
    }

    fn mark(&self) -> Result<(), JournalError> {
        let failed = |error| JournalError::Unavailable(format!("the mark of this process cannot be made: {error}"));
        self.alive.mark().map_err(failed)
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, BTreeSet<RunId>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends with a run.
    pub(super) fn leave(&self, run: &RunId) {
        self.under_way().remove(run);
    }

    pub(super) async fn turn(&self) -> Turn<'_> {
        self.turn.lock().await
    }

    /// Offers a batch of events that nothing is remembered of.
    pub(super) async fn pass_on(&self, batch: Batch) -> Result<Ack, Fault> {
        let _turn = self.turn().await;
        let events = batch.events.clone();
        let ack = self.sink.deliver(batch).await?;
        self.letters.keep(&events, ack.rejected()).await?;
        Ok(ack)
    }

    /// Offers a batch of one run, without what the sink has taken already, and moves its place.
    pub(super) async fn offer(&self, _turn: &Turn<'_>, place: &Place, mut batch: Batch) -> Result<Ack, Fault> {
        let (count, at) = (batch.events.len(), place.seq());
        batch.events.retain(|event| event.seq > at);
        let known = count - batch.events.len();
        if batch.events.is_empty() {
            return Ok(Ack::All);
        }
        let events = batch.events.clone();
        let ack = self.sink.deliver(batch).await?;
        let handled = ack.handled(events.len());
        if handled > events.len() {
            let message = format!("it took {handled} events of a batch of {}", events.len());
            return Err(Fault::step("sink_protocol", message));
        }
        self.letters.keep(&events, ack.rejected()).await?;
        let Some(last) = handled.checked_sub(1).and_then(|last| events.get(last)) else {
            return Err(Fault::retry("sink_stuck", "it takes nothing of a batch that was offered again and again"));
        };
        self.move_place(place, last.seq).await?;
        place.seq.store(last.seq, Ordering::Release);
        Ok(shifted(ack, known))
    }

    async fn move_place(&self, place: &Place, seq: u64) -> Result<(), Fault> {
        let Some(held) = place.held() else {
            return self.ledger.move_to(&place.run, seq).await.map_err(|error| lost(&error));
        };
        match self.ledger.move_held(&place.run, seq, held).await.map_err(|error| lost(&error))? {
            Some(held) => place.hold(held),
            // Somebody else sees to it now, and was told by nobody that this was delivered.
            None => return Err(Fault::cancelled()),
        }
        Ok(())
    }

    /// Delivers what the journal has of a run behind the sink's place. `at_the_end` is called while nobody else can offer
    /// anything: what is recorded later comes live.
    ///
    /// # Errors
    /// The sink's fault after so many offers of one batch, or why the journal cannot be read.
    pub(super) async fn catch_up(
        &self,
        round: &Round<'_>,
        offers: u32,
        at_the_end: impl FnOnce() + Send,
    ) -> Result<(), Fault> {
        let (want, place) = (self.want(), round.place);
        let mut missed = Missed::new(&*self.means.journal, &place.run, want.clone(), place.seq());
        let mut next = missed.next().await.map_err(|error| unread(&error))?;
        loop {
            match next {
                Some(events) => {
                    for events in events.chunks(want.batch_events.max(1)) {
                        let batch = Batch { events: events.to_vec(), dropped_before: 0 };
                        let patience = Patience { clock: &*self.means.clock, offers };
                        cofferdam_engine::deliver(round, batch, patience).await?;
                    }
                    next = missed.next().await.map_err(|error| unread(&error))?;
                }
                None => {
                    let _turn = self.turn().await;
                    next = missed.next().await.map_err(|error| unread(&error))?;
                    if next.is_none() {
                        at_the_end();
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Delivers what is left of runs that nobody sees to any more.
    ///
    /// # Errors
    /// When the mark of this process cannot be made.
    pub(super) async fn catch_up_on_earlier_runs(&self) -> Result<Caught, JournalError> {
        self.mark()?;
        let mut last = self.catching.lock().await;
        let delivered = AtomicUsize::new(0);
        let fault = self.catch_up_on_each(&delivered).await.err();
        last.clone_from(&fault);
        Ok(Caught { events: delivered.into_inner(), fault })
    }

    async fn catch_up_on_each(&self, delivered: &AtomicUsize) -> Result<(), Fault> {
        let mut unread = None;
        for owed in self.kept().await.map_err(|error| lost(&error))? {
            let Some(held) = self.ledger.take_on(&owed).await.map_err(|error| lost(&error))? else { continue };
            let place = Place::of(&owed, Some(held));
            let round = Round { courier: self, place: &place, delivered, whose: Whose::Nobodys };
            match self.catch_up(&round, limits::SINK_OFFERS, || {}).await {
                Ok(()) => self.close_account(&place).await.map_err(|error| lost(&error))?,
                // One run that cannot be read does not hold up the others.
                Err(fault) if &*fault.code == UNREAD => drop(unread.get_or_insert(fault)),
                Err(_) if self.is_under_way(&owed.run) => {}
                Err(fault) if fault.class == Class::Cancelled => {}
                Err(fault) => return Err(fault),
            }
        }
        unread.map_or(Ok(()), Err)
    }

    /// Strikes out a run that has nothing to come, unless it goes on here by now.
    async fn close_account(&self, place: &Place) -> Result<(), JournalError> {
        let _turn = self.turn().await;
        match place.held() {
            Some(held) if !self.is_under_way(&place.run) => self.ledger.strike_out_held(&place.run, held).await,
            _ => Ok(()),
        }
    }

    pub(super) fn is_under_way(&self, run: &RunId) -> bool {
        self.under_way().contains(run)
    }

    /// Runs of which something is owed and that nobody sees to, here or elsewhere.
    pub(super) async fn left(&self) -> Result<Vec<Owed>, JournalError> {
        let mut left = self.ledger.all().await?;
        let elsewhere = |owner: &String| owner != self.alive.id() && self.alive.lives(owner);
        left.retain(|owed| !self.is_under_way(&owed.run) && !owed.owner.as_ref().is_some_and(elsewhere));
        Ok(left)
    }

    /// As [`Self::left`]; of more than can be kept the oldest are given up.
    async fn kept(&self) -> Result<Vec<Owed>, JournalError> {
        let mut left = self.left().await?;
        let beyond = left.len().saturating_sub(limits::SINK_RUNS);
        for Owed { run, .. } in left.drain(..beyond) {
            tracing::warn!(sink = %self.alias(), %run, "it lacks events of too many runs; those of this one are given up");
            self.ledger.strike_out(&run).await?;
        }
        Ok(left)
    }

    /// What is left of earlier runs when this one has ended: in words, unless there is nothing.
    pub(super) async fn tell_of_earlier_runs(&self, grace: Duration) -> Option<String> {
        let fault = tokio::select! {
            last = self.catching.lock() => last.clone(),
            () = self.means.clock.sleep(grace) => None,
        };
        let left = self.left().await.ok()?;
        if left.is_empty() {
            return None;
        }
        let runs = if left.len() == 1 { "an earlier run".to_owned() } else { format!("{} earlier runs", left.len()) };
        let why = fault.map(|fault| format!(": {}", fault.message)).unwrap_or_default();
        Some(format!("{} still lacks events of {runs}{why}; {LATER}", self.name()))
    }

    /// How many events of a run the sink lacks.
    pub(super) async fn count(&self, place: &Place) -> Result<usize, JournalError> {
        let missed = Missed::new(&*self.means.journal, &place.run, self.want(), place.seq());
        missed.count(limits::SINK_QUEUE_EVENTS).await
    }
}

/// A run that is about to go on here. Whoever gives up before it does has not begun it.
struct Entering<'c> {
    courier: &'c Courier,
    run: Option<RunId>,
}

impl<'c> Entering<'c> {
    fn new(courier: &'c Courier, run: &RunId) -> Self {
        courier.under_way().insert(run.clone());
        Self { courier, run: Some(run.clone()) }
    }

    fn succeed(mut self) {
        self.run = None;
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            self.courier.leave(&run);
        }
    }
}

/// When what is left over is delivered.
pub(super) const LATER: &str = "they wait in the journal, for the next run with this sink or `cofferdam sinks deliver`";

const UNREAD: &str = "sink_journal";

fn unread(error: &JournalError) -> Fault {
    Fault::retry(UNREAD, format!("what it missed cannot be read: {error}"))
}

/// The answer to a batch before which so many events were known already.
fn shifted(ack: Ack, known: usize) -> Ack {
    let shift = |rejection: Rejection| Rejection { index: rejection.index + known, ..rejection };
    match ack {
        Ack::All => Ack::All,
        Ack::First(taken) => Ack::First(taken + known),
        Ack::Except { handled, rejected } => {
            Ack::Except { handled: handled + known, rejected: rejected.into_iter().map(shift).collect() }
        }
    }
}

/// The sink as whoever catches up on one run sees it.
pub(super) struct Round<'c> {
    pub(super) courier: &'c Courier,
    pub(super) place: &'c Place,
    /// Counts what the sink has taken.
    pub(super) delivered: &'c AtomicUsize,
    pub(super) whose: Whose,
}

/// Who sees to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The run itself, which goes on here.
    Its,
    /// Nobody, as long as it does not go on here.
    Nobodys,
}

impl Sink for Round<'_> {
    fn want(&self) -> Want {
        self.courier.want()
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(async move {
            let turn = self.courier.turn().await;
            if self.whose == Whose::Nobodys && self.courier.is_under_way(&self.place.run) {
                return Err(Fault::cancelled());
            }
            let offered = batch.events.len();
            let ack = self.courier.offer(&turn, self.place, batch).await?;
            self.delivered.fetch_add(ack.handled(offered) - ack.rejected().len(), Ordering::Relaxed);
            Ok(ack)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.courier.sink.flush()
    }
}
