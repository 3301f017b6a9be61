//! One call into a fresh instance: a store with its bounds, the call, and what is left of it.
//!
//! A store is used for one call and dropped, whatever its end. It must not know tools or schemas.

use crate::artifact::Digest;
use crate::bindings::ServedPre;
use crate::bindings::cofferdam::types::common::{CallContext, PluginError};
use crate::bindings::condition::ConditionPluginPre;
use crate::bindings::exports::cofferdam::plugin::lifecycle::Description;
use crate::bindings::exports::cofferdam::tool::tool::{ToolDef, ToolOutput};
use crate::bindings::model::ModelPluginPre;
use crate::bindings::model::exports::cofferdam::model::model::ModelDef;
use crate::bindings::recall::RecallPluginPre;
use crate::bindings::sink::SinkPluginPre;
use crate::bindings::storage::StoragePluginPre;
use crate::bindings::transform::TransformPluginPre;
use crate::engine::{Deadline, EPOCH_TICK, Engine, Meter};
use crate::failure::{Allowed, Failure, OutOfTime};
use crate::frozen::Frozen;
use crate::grant::{Denial, Denials, Rights, Seen};
use crate::import::{Blobs, Captured, Preopens, open_mounts};
use crate::limit::{Limiter, size};
use crate::services::Services;
use crate::tap::{Spent, Tap};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::Alias;
use cofferdam_core::limits;
use cofferdam_core::policy::KindLimits;
use cofferdam_core::port::{Asker, Recorder, ToolContext};
use cofferdam_core::text::clean_to;
use cofferdam_egress::StandIn;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView};

/// What stays the same over all calls of a plugin.
pub(crate) struct Identity {
    pub(crate) alias: Alias,
    /// What it says its name is; empty while it has not said it.
    pub(crate) id: String,
    pub(crate) digest: Digest,
    pub(crate) config: Arc<str>,
    pub(crate) rights: Arc<Rights>,
    pub(crate) limits: KindLimits,
    pub(crate) services: Services,
}

impl Identity {
    /// What a run is told of its misconduct.
    pub(crate) fn failed(&self, fault: &Fault) -> Body {
        Body::PluginFailed { plugin: self.alias.to_string(), digest: self.digest.hex(), error: fault.clone() }
    }
}

/// One call: for whom it runs and what it did so far.
pub(crate) struct Call {
    pub(crate) plugin: Arc<Identity>,
    /// None while a plugin describes itself, where then nothing is granted, and for calls that are no tool's.
    pub(crate) ctx: Option<ToolContext>,
    /// Who hears of denials when there is no context.
    told: Option<Arc<dyn Recorder>>,
    /// The clock and the random numbers of what must give the same again.
    frozen: Option<Frozen>,
    /// What it may do: what the plugin was granted, without what the step takes away.
    pub(crate) rights: Arc<Rights>,
    pub(crate) denials: Denials,
    pub(crate) stand_ins: Vec<StandIn>,
    pub(crate) blobs: Blobs,
    pub(crate) invokes: u32,
    pub(crate) log_lines: usize,
    pub(crate) progress_events: usize,
    pub(crate) http_calls: u32,
    pub(crate) deadline: Deadline,
}

impl Call {
    /// A call within `allowed`, from now.
    pub(crate) fn new(plugin: Arc<Identity>, ctx: Option<ToolContext>, allowed: Duration) -> Self {
        let rights =
            ctx.as_ref().map_or_else(|| Arc::clone(&plugin.rights), |ctx| plugin.rights.narrowed(&ctx.narrowings));
        Self {
            plugin,
            ctx,
            told: None,
            frozen: None,
            rights,
            denials: Denials::default(),
            stand_ins: Vec::new(),
            blobs: Blobs::default(),
            invokes: 0,
            log_lines: 0,
            progress_events: 0,
            http_calls: 0,
            deadline: Deadline::after(allowed),
        }
    }

    /// A call of a model on behalf of a step, which may take away from what the plugin was granted.
    pub(crate) fn asked(plugin: Arc<Identity>, asker: Option<&Asker>, allowed: Duration) -> Self {
        let call = Self::new(plugin, None, allowed);
        let Some(asker) = asker else { return call };
        let rights = call.rights.narrowed(&asker.narrowings);
        Self { rights, told: Some(Arc::clone(&asker.events)), ..call }
    }

    /// A call that gives the same whenever it is made.
    pub(crate) fn pure(plugin: Arc<Identity>, frozen: Frozen, allowed: Duration) -> Self {
        Self { frozen: Some(frozen), ..Self::new(plugin, None, allowed) }
    }

    /// The same call, giving the same again whenever it is made.
    pub(crate) fn repeatable(self, frozen: Frozen) -> Self {
        Self { frozen: Some(frozen), ..self }
    }

    /// How deep it is in calls of tools by tools.
    pub(crate) fn depth(&self) -> u32 {
        self.ctx.as_ref().map_or(0, |ctx| ctx.depth)
    }

    /// Keeps a denial, and tells the run of it the first time.
    pub(crate) fn deny(&mut self, denial: Denial) {
        let body = Body::PluginDenied {
            plugin: self.plugin.alias.to_string(),
            digest: self.plugin.digest.hex(),
            request: denial.request.clone(),
            allow: denial.allow.clone(),
        };
        let events = self.ctx.as_ref().map(|ctx| &ctx.events).or(self.told.as_ref());
        if let (Seen::First, Some(events)) = (self.denials.add(denial), events) {
            events.observe(body);
        }
    }
}

/// What a store holds for its guest.
pub(crate) struct Guest {
    pub(crate) call: Call,
    wasi: WasiCtx,
    table: ResourceTable,
    limiter: Limiter,
    stdout: Captured,
    stderr: Captured,
}

impl Guest {
    pub(crate) fn new(call: Call) -> Result<Self, Failure> {
        let limits = call.plugin.limits;
        let (stdout, stderr) = (Captured::new(size(limits.output_bytes)), Captured::new(size(limits.output_bytes)));
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(stdout.clone()).stderr(stderr.clone()).max_random_size(limits::PLUGIN_RANDOM_BYTES);
        if let Some(frozen) = &call.frozen {
            frozen.apply(&mut wasi);
        }
        if call.ctx.is_none() && call.frozen.is_none() {
            open_mounts(&mut wasi, &call.plugin.services.mounts, &call.rights.granted.fs)
                .map_err(|error| Failure::Refused(error.to_string()))?;
        }
        if let Some(ctx) = &call.ctx {
            let preopens =
                Preopens { dirs: &ctx.dirs, grant: &call.rights.granted.fs, mounts: &call.plugin.services.mounts };
            preopens.open(&mut wasi).map_err(|error| Failure::Refused(error.to_string()))?;
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        Ok(Self { call, wasi: wasi.build(), table, limiter: Limiter::new(limits), stdout, stderr })
    }

    pub(crate) fn wasi_view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }

    /// Begins another call of a guest that lives on.
    pub(crate) fn renew(&mut self, call: Call) {
        self.call = call;
        self.limiter.begin();
    }

    /// What the call was denied; what it printed goes to the log.
    pub(crate) fn end_call(&mut self) -> Vec<Denial> {
        self.log_output();
        std::mem::take(&mut self.call.denials).explaining()
    }

    pub(crate) fn allowed(&self) -> Allowed {
        let limits = &self.call.plugin.limits;
        Allowed {
            wall: self.call.deadline.allowed(),
            fuel: limits.fuel.unwrap_or(0),
            stack_bytes: limits::PLUGIN_WASM_STACK_BYTES,
            copied_bytes: size(limits.hostcall_bytes),
            handles: limits.handles as usize,
            parts: limits.core_instances,
            hit: self.limiter.hit(),
        }
    }

    /// Tells whoever watches what the call took.
    pub(crate) fn tell_spent(&self, fuel_left: Option<u64>) {
        if let Some(Tap(tap)) = &self.call.plugin.services.observation.tap {
            let fuel = fuel_left.map(|left| fuel_of(&self.call.plugin.limits).saturating_sub(left));
            tap.ended(Spent { fuel, memory_bytes: self.limiter.memory_used() as u64 });
        }
    }

    fn log_output(&self) {
        for (stream, captured) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if let Some((text, dropped)) = captured.take() {
                let plugin = self.call.plugin.alias.as_str();
                // Redacted before it is cut: half of a secret could not be found any more.
                let text = clean_to(&self.call.plugin.services.shown(text), captured_bytes(&self.call));
                tracing::debug!(target: "cofferdam::guest", plugin, stream, dropped, "{text}");
            }
        }
    }
}

fn captured_bytes(call: &Call) -> usize {
    size(call.plugin.limits.output_bytes)
}

/// What a call ended with, and what it was denied on the way.
pub(crate) struct Ended<T> {
    pub(crate) answer: Result<T, Failure>,
    pub(crate) denials: Vec<Denial>,
}

/// A component ready to be instantiated in one of its worlds.
#[derive(Clone)]
pub(crate) struct Prepared<W> {
    pub(crate) engine: Arc<Engine>,
    pub(crate) world: W,
}

/// The exports of one kind of plugin, matched with ours.
pub(crate) trait World: Clone + Send + Sync {
    /// A fresh instance.
    type Instance: Send;

    fn instantiate(&self, store: &mut Store<Guest>) -> impl Future<Output = wasmtime::Result<Self::Instance>> + Send;
}

macro_rules! worlds {
    ($($pre:ty => $instance:ty),*) => {$(
        impl World for $pre {
            type Instance = $instance;

            async fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Self::Instance> {
                self.instantiate_async(store).await
            }
        }
    )*};
}

worlds! {
    ServedPre<Guest> => crate::bindings::Served,
    TransformPluginPre<Guest> => crate::bindings::transform::TransformPlugin,
    ConditionPluginPre<Guest> => crate::bindings::condition::ConditionPlugin,
    StoragePluginPre<Guest> => crate::bindings::storage::StoragePlugin,
    SinkPluginPre<Guest> => crate::bindings::sink::SinkPlugin,
    ModelPluginPre<Guest> => crate::bindings::model::ModelPlugin,
    RecallPluginPre<Guest> => crate::bindings::recall::RecallPlugin
}

/// What a plugin says of itself.
pub(crate) struct SelfDescription {
    pub(crate) description: Description,
    pub(crate) tools: Vec<ToolDef>,
    pub(crate) transform_options: Option<String>,
    pub(crate) condition_options: Option<String>,
    pub(crate) models: Vec<ModelDef>,
}

impl SelfDescription {
    /// What says nothing more than this.
    pub(crate) fn of(description: Description) -> Self {
        let (tools, models) = (Vec::new(), Vec::new());
        Self { description, tools, transform_options: None, condition_options: None, models }
    }
}

/// The tool that is called.
pub(crate) struct Invocation {
    pub(crate) context: CallContext,
    pub(crate) name: String,
    pub(crate) args: String,
}

impl Prepared<ServedPre<Guest>> {
    /// Asks the plugin what it is. `call` has no context, so everything is denied.
    pub(crate) async fn describe(self, call: Call) -> Ended<SelfDescription> {
        self.run(call, async |store: &mut Store<Guest>, served| {
            let description = served.cofferdam_plugin_lifecycle().call_describe(&mut *store).await?;
            let tools = served.cofferdam_tool_tool().call_list_tools(store).await?;
            Ok(SelfDescription { tools, ..SelfDescription::of(description) })
        })
        .await
    }

    /// Calls a tool.
    pub(crate) async fn call(self, call: Call, invocation: Invocation) -> Ended<ToolOutput> {
        let Ended { answer, denials } = self
            .run(call, async |store: &mut Store<Guest>, served| {
                let Invocation { context, name, args } = &invocation;
                served.cofferdam_tool_tool().call_call(store, context, name, args).await
            })
            .await;
        let answer: Result<Result<ToolOutput, PluginError>, Failure> = answer;
        Ended { answer: answer.and_then(|answer| answer.map_err(Failure::Own)), denials }
    }
}

/// What a call does with a fresh instance, owning what it needs.
pub(crate) type Working<'s, T> = std::pin::Pin<Box<dyn Future<Output = wasmtime::Result<T>> + Send + 's>>;

impl<W: World> Prepared<W> {
    /// As [`Self::run`], for work that runs on other threads.
    pub(crate) async fn run_owned<T: Send>(
        self,
        call: Call,
        work: impl for<'s> FnOnce(&'s mut Store<Guest>, W::Instance) -> Working<'s, T> + Send,
    ) -> Ended<T> {
        self.run(call, async move |store: &mut Store<Guest>, instance| work(store, instance).await).await
    }

    /// Instantiates, runs `work`, and drops everything.
    pub(crate) async fn run<T>(
        self,
        call: Call,
        work: impl AsyncFnOnce(&mut Store<Guest>, W::Instance) -> wasmtime::Result<T>,
    ) -> Ended<T> {
        let deadline = call.deadline;
        let guest = match Guest::new(call) {
            Ok(guest) => guest,
            Err(failure) => return Ended { answer: Err(failure), denials: Vec::new() },
        };
        let allowed = guest.allowed();
        let out_of_time = || Failure::classify(&wasmtime::Error::new(OutOfTime), &allowed);
        // The epoch ends a guest that computes; this timer one that waits, for a slot or in a host call.
        let (wait, share) = (deadline.remaining(), guest.call.plugin.services.share.clone());
        let entering = share.enter(&self.engine, guest.call.depth());
        let Ok(_seat) = tokio::time::timeout(wait, entering).await else {
            return Ended { answer: Err(Failure::Busy(deadline.allowed())), denials: Vec::new() };
        };
        let _ticking = self.engine.ticking();
        let mut store = match new_store(&self.engine, guest) {
            Ok(store) => store,
            Err(error) => return Ended { answer: Err(Failure::Host(error.to_string())), denials: Vec::new() },
        };
        let running = async {
            let served = self.world.instantiate(&mut store).await?;
            work(&mut store, served).await
        };
        let patience = deadline.remaining().saturating_add(EPOCH_TICK);
        let outcome = tokio::time::timeout(patience, share.paced(deadline, running)).await;
        let left = store.get_fuel().ok();
        let guest = store.into_data();
        guest.tell_spent(left);
        guest.log_output();
        let answer = match outcome {
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(error))) => {
                let shown = guest.call.plugin.services.shown(format!("{error:?}"));
                tracing::debug!(plugin = %guest.call.plugin.alias, "{shown}");
                Err(Failure::classify(&error, &guest.allowed()))
            }
            Ok(None) | Err(_) => Err(out_of_time()),
        };
        Ended { answer, denials: guest.call.denials.explaining() }
    }
}

/// What a guest may spend where it is metered; tools have no bound but their time.
fn fuel_of(limits: &KindLimits) -> u64 {
    limits.fuel.unwrap_or(u64::MAX)
}

/// Gives a metered store what a call may spend, whatever the calls before it have spent.
pub(crate) fn refuel(engine: &Engine, store: &mut Store<Guest>) {
    let fuel = fuel_of(&store.data().call.plugin.limits);
    if engine.meter() == Meter::Metered && store.set_fuel(fuel).is_err() {
        tracing::debug!("a metered engine takes no fuel");
    }
}

/// A store with every bound set, before anything of the guest runs in it.
pub(crate) fn new_store(engine: &Engine, guest: Guest) -> wasmtime::Result<Store<Guest>> {
    let limits = guest.call.plugin.limits;
    let mut store = Store::new(engine.wasm(), guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(size(limits.hostcall_bytes));
    store.set_max_component_handles(limits.handles as usize);
    if engine.meter() == Meter::Metered {
        store.set_fuel(fuel_of(&limits))?;
    }
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        if context.data().call.deadline.has_passed() {
            return Err(OutOfTime.into());
        }
        // tokio's own yield lets timers and other guests run first; waking oneself does not.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    Ok(store)
}
