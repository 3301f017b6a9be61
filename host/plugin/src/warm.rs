//! An instance that lives over many calls, supervised: what storage, sinks, models and retrieval memories are.
//!
//! One call at a time enters it. After a trap, a timeout, a broken contract or a dropped call its store is gone, and the
//! next call gets a fresh one after a rest that doubles. Failures in a row end it for good: an answer that its caller calls
//! a lie is one, waiting for those in front is none.

use crate::bindings::cofferdam::types::common::PluginError;
use crate::engine::{Deadline, EPOCH_TICK};
use crate::failure::{Culprit, Failure, OutOfTime};
use crate::grant::Denial;
use crate::host::Core;
use crate::instance::{Call, Guest, Identity, Prepared, Working, World, new_store};
use crate::lane::Pace;
use crate::levels::Permit;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use wasmtime::Store;

/// What an instance is told when it begins, and what it says then.
pub(crate) trait Opens: World {
    /// Whether runs cannot go on before it has answered.
    const IS_AWAITED: bool = false;
    /// What it said.
    type Opened: Clone + Send + Sync + 'static;

    /// Opens a fresh instance.
    fn open<'s>(
        store: &'s mut Store<Guest>,
        instance: &'s Self::Instance,
        config: String,
    ) -> Working<'s, Result<Self::Opened, PluginError>>;
}

/// A supervised instance. All clones are one.
pub(crate) struct Warm<W: Opens> {
    inner: Arc<Inner<W>>,
}

impl<W: Opens> Clone for Warm<W> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<W: Opens> {
    core: Arc<Core>,
    prepared: Prepared<W>,
    identity: Arc<Identity>,
    /// Nobody calls it any more.
    is_closed: AtomicBool,
    state: Mutex<State<W>>,
}

struct State<W: Opens> {
    live: Option<Live<W>>,
    /// Failures in a row.
    strikes: u32,
    rests_until: Option<Instant>,
}

/// An instance that is up.
struct Live<W: Opens> {
    store: Store<Guest>,
    instance: W::Instance,
    opened: W::Opened,
    _slot: Permit,
}

impl<W: Opens + 'static> Warm<W> {
    pub(crate) fn new(core: Arc<Core>, prepared: Prepared<W>, identity: Arc<Identity>) -> Self {
        let state = Mutex::new(State { live: None, strikes: 0, rests_until: None });
        Self { inner: Arc::new(Inner { core, prepared, identity, is_closed: AtomicBool::new(false), state }) }
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.inner.identity
    }

    /// Brings an instance up unless one is, and gives what it said when it was opened.
    ///
    /// # Errors
    /// Why it did not open.
    pub(crate) async fn opened(&self) -> Result<W::Opened, Fault> {
        let inner = Arc::clone(&self.inner);
        self.over("open", async move { inner.open().await }).await
    }

    /// Calls the instance, a fresh one if there is none. `judge` turns what it says into an answer, or calls it a lie: that
    /// counts as a failure, and the instance is gone. Dropping the future ends the call and the instance.
    ///
    /// # Errors
    /// The plugin's own error, or what ended the call.
    pub(crate) async fn call<T: Send + 'static, U: Send + 'static>(
        &self,
        function: &'static str,
        work: impl for<'s> FnOnce(&'s mut Store<Guest>, &'s W::Instance) -> Working<'s, Result<T, PluginError>>
        + Send
        + 'static,
        judge: impl FnOnce(T) -> Result<U, Failure> + Send + 'static,
    ) -> Result<U, Fault> {
        let inner = Arc::clone(&self.inner);
        self.over(function, async move { inner.enter(work, judge).await }).await
    }

    /// Lets the instance go, after telling it so; there is none any more afterwards.
    pub(crate) async fn close(
        &self,
        tell: impl for<'s> FnOnce(&'s mut Store<Guest>, &'s W::Instance) -> Working<'s, ()> + Send + 'static,
    ) {
        // Before anybody is waited for: whoever is in it, or would be next, may hang.
        self.inner.is_closed.store(true, Ordering::SeqCst);
        let inner = Arc::clone(&self.inner);
        let closing = self.inner.core.runtime.call(&Pace::default(), async move {
            let Some(mut live) = inner.state.lock().await.live.take() else { return };
            let call = inner.call();
            live.store.data_mut().renew(call);
            let _ticking = inner.prepared.engine.ticking();
            let told = tokio::time::timeout(inner.identity.limits.wall, tell(&mut live.store, &live.instance)).await;
            if !matches!(told, Ok(Ok(()))) {
                tracing::debug!(plugin = %inner.identity.alias, "it did not close in order");
            }
        });
        let _ = closing.await;
    }

    /// Hands work over to the guests' threads, and says of a failure whose it is.
    async fn over<T: Send + 'static>(
        &self,
        function: &str,
        work: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Result<T, Fault> {
        let (runtime, pace) = (&self.inner.core.runtime, self.inner.identity.services.share.pace());
        // Whole runs wait for some of them: those never make way.
        let ended = if W::IS_AWAITED { runtime.spawn(work).await } else { runtime.call(pace, work).await };
        let (failure, denials) = match ended {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failed)) => failed,
            Err(panicked) => (Failure::Host(panicked.0), Vec::new()),
        };
        let identity = &self.inner.identity;
        let failure = identity.services.told(failure);
        let culprit = Culprit { alias: &identity.alias, digest: identity.digest, function };
        Err(culprit.fault(&failure, &denials))
    }
}

type Outcome<T> = Result<T, (Failure, Vec<Denial>)>;

impl<W: Opens> Inner<W> {
    fn call(&self) -> Call {
        Call::new(Arc::clone(&self.identity), None, self.identity.limits.wall)
    }

    async fn open(&self) -> Outcome<W::Opened> {
        let mut state = self.turn().await?;
        let live = match state.live.take() {
            Some(live) => live,
            None => self.start(&mut state).await?,
        };
        let opened = live.opened.clone();
        state.live = Some(live);
        Ok(opened)
    }

    async fn enter<T, U>(
        &self,
        work: impl for<'s> FnOnce(&'s mut Store<Guest>, &'s W::Instance) -> Working<'s, Result<T, PluginError>> + Send,
        judge: impl FnOnce(T) -> Result<U, Failure> + Send,
    ) -> Outcome<U> {
        let mut state = self.turn().await?;
        let mut live = match state.live.take() {
            Some(live) => live,
            None => self.start(&mut state).await?,
        };
        live.store.data_mut().renew(self.call());
        let said = {
            let _ticking = self.prepared.engine.ticking();
            self.timed(work(&mut live.store, &live.instance)).await
        };
        let denials = live.store.data_mut().end_call();
        let answer = match said {
            Ok(Ok(said)) => judge(said),
            Ok(Err(error)) => Err(Failure::Own(error)),
            Err(error) => Err(self.classify(&error, &live.store)),
        };
        if matches!(answer, Ok(_) | Err(Failure::Own(_))) {
            // Only now: a store whose call was dropped half-way is never entered again.
            state.live = Some(live);
            state.strikes = 0;
        } else {
            state.strike();
        }
        answer.map_err(|failure| (failure, denials))
    }

    /// Waits until nobody else is in the instance and its rest is over.
    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, State<W>>, (Failure, Vec<Denial>)> {
        let wall = self.identity.limits.wall;
        let Ok(state) = tokio::time::timeout(wall, self.state.lock()).await else {
            return Err((Failure::Busy(wall), Vec::new()));
        };
        if state.strikes >= limits::PLUGIN_STRIKES {
            let why = format!("it failed {} times in a row and is not started again", state.strikes);
            return Err((Failure::Refused(why), Vec::new()));
        }
        if let Some(until) = state.rests_until {
            tokio::time::sleep_until(until.into()).await;
        }
        if self.is_closed.load(Ordering::SeqCst) {
            return Err((Failure::Refused("it was closed".to_owned()), Vec::new()));
        }
        Ok(state)
    }

    /// Brings up a fresh instance.
    async fn start(&self, state: &mut State<W>) -> Outcome<Live<W>> {
        match self.bring_up().await {
            Ok(live) => Ok(live),
            // That there is no room is not its fault.
            Err(failed @ (Failure::Busy(_), _)) => Err(failed),
            Err(failed) => {
                state.strike();
                Err(failed)
            }
        }
    }

    async fn bring_up(&self) -> Outcome<Live<W>> {
        let engine = &self.prepared.engine;
        let wall = self.identity.limits.wall;
        let Ok(slot) = tokio::time::timeout(wall, engine.resident_slot()).await else {
            return Err((Failure::Busy(wall), Vec::new()));
        };
        // Its time begins here, not while it waited for others.
        let guest = Guest::new(self.call()).map_err(|failure| (failure, Vec::new()))?;
        let broken = |error: wasmtime::Error| (Failure::Host(error.to_string()), Vec::new());
        let mut store = new_store(engine, guest).map_err(broken)?;
        let _ticking = engine.ticking();
        let config = self.identity.config.to_string();
        let opening = async {
            let instance = self.prepared.world.instantiate(&mut store).await?;
            let opened = W::open(&mut store, &instance, config).await?;
            Ok((instance, opened))
        };
        let outcome = self.timed(Box::pin(opening)).await;
        let denials = store.data_mut().end_call();
        match outcome {
            Ok((instance, Ok(opened))) => Ok(Live { store, instance, opened, _slot: slot }),
            Ok((_, Err(error))) => Err((Failure::Own(error), denials)),
            Err(error) => Err((self.classify(&error, &store), denials)),
        }
    }

    /// The epoch ends a guest that computes; this timer one that waits in a host call.
    async fn timed<T>(&self, work: Working<'_, T>) -> wasmtime::Result<T> {
        let patience = Deadline::after(self.identity.limits.wall).remaining().saturating_add(EPOCH_TICK);
        match tokio::time::timeout(patience, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(OutOfTime.into()),
        }
    }

    fn classify(&self, error: &wasmtime::Error, store: &Store<Guest>) -> Failure {
        let shown = self.identity.services.shown(format!("{error:?}"));
        tracing::debug!(plugin = %self.identity.alias, "{shown}");
        Failure::classify(error, &store.data().allowed())
    }
}

impl<W: Opens> State<W> {
    fn strike(&mut self) {
        let rest = limits::PLUGIN_REST_MS.saturating_mul(1 << self.strikes.min(16));
        self.strikes += 1;
        self.rests_until = Some(Instant::now() + Duration::from_millis(rest));
    }
}
