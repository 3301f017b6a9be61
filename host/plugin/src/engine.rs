//! The wasmtime engine: its settings, its pool of instance slots, and the clock that interrupts guests.
//!
//! It must not know what a guest is for: interfaces, grants and tools are above it.

use crate::instance::Guest;
use crate::levels::{self, Levels, Permit};
use cofferdam_core::limits;
use cofferdam_core::policy::{KindLimits, PluginKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
};

pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(limits::PLUGIN_EPOCH_TICK_MS);
/// How long the clock sleeps at most when nothing runs; it is woken when something does.
const EPOCH_REST: Duration = Duration::from_secs(1);

/// How instances get their memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allocation {
    /// The largest pool that the address space takes, else on demand.
    #[default]
    Probed,
    /// Reserved slots, reset between guests: an instance costs microseconds. No plugin loads where so many do not fit.
    Pooled {
        /// How many instances may live at once.
        slots: u32,
    },
    /// Mapped for each instance.
    OnDemand {
        /// How many instances may live at once.
        slots: u32,
    },
}

/// What engines hold at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Instances that may live at once.
    pub slots: usize,
    /// How many more may begin now.
    pub free: usize,
    /// Calls that run, or wait for their turn, on the threads of guests.
    pub tasks: usize,
}

/// How the code of an engine is interrupted. Fuel is a matter of compiling, so each has an engine of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meter {
    /// By the clock alone.
    Plain,
    /// By the clock, and after a number of instructions that is the same on every machine.
    Metered,
}

impl Meter {
    /// The word in the keys of the cache.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Metered => "metered",
        }
    }

    /// The byte by which the compile child is told.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Plain => b'p',
            Self::Metered => b'm',
        }
    }

    /// The meter of a byte.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Plain, Self::Metered].into_iter().find(|meter| meter.to_byte() == byte)
    }
}

/// One engine with everything that is built once per process: linker, slots, epoch clock.
pub(crate) struct Engine {
    meter: Meter,
    wasm: wasmtime::Engine,
    linker: Linker<Guest>,
    /// How many slots there are for calls that no tool made.
    outer: usize,
    slots: Levels,
    /// Slots that only what stays up takes: a journal that starts again must not wait for calls that wait for it.
    residents: Arc<Semaphore>,
    /// How many instances may wait for the next call of their step, each in a slot.
    waiting: Arc<Semaphore>,
    ticker: Ticker,
}

impl Engine {
    /// Builds the engine: a few milliseconds, so never before the first plugin is used.
    pub(crate) fn new(meter: Meter, wanted: Allocation) -> wasmtime::Result<Self> {
        let (wasm, outer) = allocate(meter, wanted)?;
        let linker = crate::import::linker(&wasm)?;
        let ticker = Ticker::start(&wasm)?;
        tracing::debug!(?meter, ?wanted, outer, "wasm engine ready");
        let waiting = Arc::new(Semaphore::new(outer / limits::PLUGIN_KEPT_SHARE));
        let (slots, residents) = (Levels::of(outer, |slots| slots), Arc::new(Semaphore::new(residents(outer))));
        Ok(Self { meter, wasm, linker, outer, slots, residents, waiting, ticker })
    }

    /// How many instances may live at once, and how many more may begin now.
    pub(crate) fn places(&self) -> (usize, usize) {
        (all_slots(self.outer), self.slots.free() + self.residents.available_permits())
    }

    /// How many of them may be of calls that no tool made.
    pub(crate) fn outer(&self) -> usize {
        self.outer
    }

    /// How its guests are interrupted.
    pub(crate) fn meter(&self) -> Meter {
        self.meter
    }

    /// The wasmtime engine.
    pub(crate) fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// Every host interface, linked once.
    pub(crate) fn linker(&self) -> &Linker<Guest> {
        &self.linker
    }

    /// Waits for a free slot, at this depth of calls of tools by tools.
    pub(crate) async fn slot(&self, depth: u32) -> Permit {
        self.slots.take(depth).await
    }

    /// Waits for a free slot for what stays up.
    pub(crate) async fn resident_slot(&self) -> Permit {
        match Arc::clone(&self.residents).try_acquire_owned() {
            Ok(permit) => permit.into(),
            Err(_) => self.slots.take(0).await,
        }
    }

    /// A place for an instance that waits for its next call; none when enough of them wait.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }

    /// Keeps the epoch clock ticking while the answer lives.
    pub(crate) fn ticking(&self) -> Ticking {
        self.ticker.tick()
    }
}

/// How many slots there are in all, with so many for calls that no tool made.
fn all_slots(outer: usize) -> usize {
    levels::all(outer).saturating_add(residents(outer))
}

fn residents(outer: usize) -> usize {
    outer / limits::PLUGIN_RESIDENT_SHARE
}

/// What the compiled code depends on. The compile child uses exactly this; the allocation strategy is not part
/// of it, so that the child needs no reserved address space and its code still fits.
pub(crate) fn compile_settings(meter: Meter) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        .wasm_component_model(true)
        .concurrency_support(false)
        .gc_support(false)
        .wasm_memory64(false)
        .shared_memory(false)
        .relaxed_simd_deterministic(true)
        .memory_init_cow(true)
        .epoch_interruption(true)
        .consume_fuel(meter == Meter::Metered)
        .max_wasm_stack(limits::PLUGIN_WASM_STACK_BYTES)
        .async_stack_size(limits::PLUGIN_FIBER_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // None is needed to name the functions of a backtrace, and all are hashed and loaded each time.
        .native_unwind_info(false)
        .generate_address_map(false)
        .debug_symbols(false);
    config
}

/// The engine that is wanted, and how many instances may live in it at once.
fn allocate(meter: Meter, wanted: Allocation) -> wasmtime::Result<(wasmtime::Engine, usize)> {
    let (engine, found) = match wanted {
        Allocation::Probed => probe(meter)?,
        Allocation::Pooled { slots } => (pooled(meter, slots)?, wanted),
        Allocation::OnDemand { .. } => (wasmtime::Engine::new(&compile_settings(meter))?, wanted),
    };
    let places = match found {
        Allocation::Pooled { slots } | Allocation::OnDemand { slots } => slots as usize,
        Allocation::Probed => limits::PLUGIN_POOL_SLOTS,
    };
    Ok((engine, places))
}

/// The engine with the largest pool that the address space takes, else without one.
pub(crate) fn probe(meter: Meter) -> wasmtime::Result<(wasmtime::Engine, Allocation)> {
    let bound = |slots: usize| u32::try_from(slots).unwrap_or(u32::MAX);
    for slots in [limits::PLUGIN_POOL_SLOTS, limits::PLUGIN_POOL_SLOTS_SMALL].map(bound) {
        match pooled(meter, slots) {
            Ok(engine) => return Ok((engine, Allocation::Pooled { slots })),
            Err(error) => tracing::debug!(slots, %error, "this pool does not fit the address space"),
        }
    }
    let engine = wasmtime::Engine::new(&compile_settings(meter))?;
    Ok((engine, Allocation::OnDemand { slots: bound(limits::PLUGIN_POOL_SLOTS) }))
}

fn pooled(meter: Meter, slots: u32) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = compile_settings(meter);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)));
    wasmtime::Engine::new(&config)
}

fn pool(slots: u32) -> PoolingAllocationConfig {
    // The kinds differ in bytes and time, not in how many parts a component may have.
    const PARTS: KindLimits = PluginKind::Tool.limits();
    let mut pool = PoolingAllocationConfig::new();
    let slots = u32::try_from(all_slots(slots as usize)).unwrap_or(u32::MAX);
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_core_instances(slots.saturating_mul(PARTS.core_instances))
        .total_memories(slots.saturating_mul(PARTS.memories))
        .total_tables(slots.saturating_mul(PARTS.tables))
        .max_core_instances_per_component(PARTS.core_instances)
        .max_memories_per_component(PARTS.memories)
        .max_memories_per_module(PARTS.memories)
        .max_tables_per_component(PARTS.tables)
        .max_tables_per_module(PARTS.tables)
        .table_elements(usize::try_from(PARTS.table_elements).unwrap_or(usize::MAX))
        .max_memory_size(limits::PLUGIN_POOLED_MEMORY_BYTES)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(limits::PLUGIN_KEEP_RESIDENT_BYTES)
        .table_keep_resident(limits::PLUGIN_KEEP_RESIDENT_BYTES)
        // The kernel tells which pages a guest touched, where it can: a third less for a call.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// The thread that advances the epoch while at least one guest runs. It holds the engine weakly and sleeps for
/// good while nothing runs, so that an idle process does not wake a hundred times a second.
struct Ticker {
    shared: Arc<Ticks>,
    thread: Thread,
}

#[derive(Default)]
struct Ticks {
    running: AtomicUsize,
    parked: AtomicBool,
}

impl Ticker {
    fn start(engine: &wasmtime::Engine) -> wasmtime::Result<Self> {
        let shared = Arc::new(Ticks::default());
        let (weak, ticks) = (engine.weak(), Arc::downgrade(&shared));
        let handle = thread::Builder::new().name("cofferdam-epoch".to_owned()).spawn(move || {
            while let (Some(engine), Some(ticks)) = (weak.upgrade(), ticks.upgrade()) {
                engine.increment_epoch();
                drop(engine);
                ticks.rest();
            }
        })?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    fn tick(&self) -> Ticking {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(Arc::downgrade(&self.shared))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

impl Ticks {
    /// Waits one tick, or until somebody runs when nobody does.
    fn rest(self: Arc<Self>) {
        if self.running.load(Ordering::SeqCst) > 0 {
            drop(self);
            thread::sleep(EPOCH_TICK);
            return;
        }
        self.parked.store(true, Ordering::SeqCst);
        // Looked at again after `parked` is set: whoever came in between saw no reason to unpark.
        if self.running.load(Ordering::SeqCst) == 0 {
            let shared = Arc::downgrade(&self);
            drop(self);
            thread::park_timeout(EPOCH_REST);
            if let Some(shared) = shared.upgrade() {
                shared.parked.store(false, Ordering::SeqCst);
            }
            return;
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

/// Keeps the clock ticking while it lives.
pub(crate) struct Ticking(Weak<Ticks>);

impl Drop for Ticking {
    fn drop(&mut self) {
        if let Some(ticks) = self.0.upgrade() {
            ticks.running.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// The moment at which a guest is interrupted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// `allowed` from now.
    pub(crate) fn after(allowed: Duration) -> Self {
        let now = Instant::now();
        Self { at: now.checked_add(allowed).unwrap_or(now), allowed }
    }

    /// Whether it has passed.
    pub(crate) fn has_passed(self) -> bool {
        Instant::now() >= self.at
    }

    /// Whether it has passed, and so much more.
    pub(crate) fn is_past_by(self, more: Duration) -> bool {
        Instant::now().checked_duration_since(self.at).is_some_and(|past| past >= more)
    }

    /// What is left until then.
    pub(crate) fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// How much time was given in all.
    pub(crate) fn allowed(self) -> Duration {
        self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::hash::{DefaultHasher, Hash, Hasher};

    fn compatibility(engine: &wasmtime::Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[tokio::test]
    async fn what_stays_up_does_not_wait_for_calls() {
        let engine = Engine::new(Meter::Plain, Allocation::OnDemand { slots: 8 }).unwrap();
        let calls: Vec<Permit> = (0..8).map(|_| engine.slot(0).now_or_never().unwrap()).collect();
        assert!(engine.slot(0).now_or_never().is_none());
        let resident = engine.resident_slot().now_or_never().unwrap();
        assert!(engine.resident_slot().now_or_never().is_none());
        assert_eq!(engine.places(), (9, 0));
        drop((calls, resident));
        assert_eq!(engine.places(), (9, 9));
    }

    #[test]
    fn code_from_an_engine_without_a_pool_fits_the_pooled_one() {
        for meter in [Meter::Plain, Meter::Metered] {
            let child = wasmtime::Engine::new(&compile_settings(meter)).unwrap();
            let (host, _) = probe(meter).unwrap();
            assert_eq!(compatibility(&child), compatibility(&host));
        }
    }

    #[test]
    fn code_of_one_engine_is_none_of_the_other() {
        let [plain, metered] =
            [Meter::Plain, Meter::Metered].map(|meter| wasmtime::Engine::new(&compile_settings(meter)).unwrap());
        assert_ne!(compatibility(&plain), compatibility(&metered));
    }

    #[test]
    fn the_clock_rests_when_nobody_runs() {
        let engine = wasmtime::Engine::new(&compile_settings(Meter::Plain)).unwrap();
        let ticker = Ticker::start(&engine).unwrap();
        let running = ticker.tick();
        assert_eq!(ticker.shared.running.load(Ordering::SeqCst), 1);
        drop(running);
        assert_eq!(ticker.shared.running.load(Ordering::SeqCst), 0);
    }
}
