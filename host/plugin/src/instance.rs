//! One call into a fresh instance: a store with its bounds, the call, and what is left of it.
//!
//! A store is used for one call and dropped, whatever its end. It must not know tools or schemas.

use crate::artifact::Digest;
use crate::bindings::cofferdam::types::common::{CallContext, PluginError};
use crate::bindings::exports::cofferdam::plugin::lifecycle::Description;
use crate::bindings::exports::cofferdam::tool::tool::{ToolDef, ToolOutput};
use crate::bindings::{Served, ServedPre};
use crate::engine::{Deadline, EPOCH_TICK, Engine};
use crate::failure::{Allowed, Failure, OutOfTime};
use crate::grant::{Denial, Denials, Rights, Seen};
use crate::import::{Blobs, Captured, Preopens};
use crate::limit::{Limiter, size};
use crate::services::Services;
use cofferdam_core::event::Body;
use cofferdam_core::id::Alias;
use cofferdam_core::limits;
use cofferdam_core::policy::KindLimits;
use cofferdam_core::port::ToolContext;
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

/// One call: for whom it runs and what it did so far.
pub(crate) struct Call {
    pub(crate) plugin: Arc<Identity>,
    /// None while a plugin describes itself: then nothing of a run is there, and nothing is granted.
    pub(crate) ctx: Option<ToolContext>,
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

    /// Keeps a denial, and tells the run of it the first time.
    pub(crate) fn deny(&mut self, denial: Denial) {
        let body = Body::PluginDenied {
            plugin: self.plugin.alias.to_string(),
            digest: self.plugin.digest.hex(),
            request: denial.request.clone(),
            allow: denial.allow.clone(),
        };
        if let (Seen::First, Some(ctx)) = (self.denials.add(denial), &self.ctx) {
            ctx.events.observe(body);
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
    fn new(call: Call) -> Result<Self, Failure> {
        let limits = call.plugin.limits;
        let (stdout, stderr) = (Captured::new(size(limits.output_bytes)), Captured::new(size(limits.output_bytes)));
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(stdout.clone()).stderr(stderr.clone()).max_random_size(limits::PLUGIN_RANDOM_BYTES);
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

    fn allowed(&self) -> Allowed {
        let limits = &self.call.plugin.limits;
        Allowed {
            wall: self.call.deadline.allowed(),
            stack_bytes: limits::PLUGIN_WASM_STACK_BYTES,
            copied_bytes: size(limits.hostcall_bytes),
            handles: limits.handles as usize,
            parts: limits.core_instances,
            hit: self.limiter.hit(),
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

/// A component ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) pre: ServedPre<Guest>,
}

/// What a plugin says of itself.
pub(crate) struct SelfDescription {
    pub(crate) description: Description,
    pub(crate) tools: Vec<ToolDef>,
}

/// The tool that is called.
pub(crate) struct Invocation {
    pub(crate) context: CallContext,
    pub(crate) name: String,
    pub(crate) args: String,
}

impl Prepared {
    /// Asks the plugin what it is. `call` has no context, so everything is denied.
    pub(crate) async fn describe(self, call: Call) -> Ended<SelfDescription> {
        self.run(call, async |store: &mut Store<Guest>, served: Served| {
            let description = served.cofferdam_plugin_lifecycle().call_describe(&mut *store).await?;
            let tools = served.cofferdam_tool_tool().call_list_tools(store).await?;
            Ok(SelfDescription { description, tools })
        })
        .await
    }

    /// Calls a tool.
    pub(crate) async fn call(self, call: Call, invocation: Invocation) -> Ended<ToolOutput> {
        let Ended { answer, denials } = self
            .run(call, async |store: &mut Store<Guest>, served: Served| {
                let Invocation { context, name, args } = &invocation;
                served.cofferdam_tool_tool().call_call(store, context, name, args).await
            })
            .await;
        let answer: Result<Result<ToolOutput, PluginError>, Failure> = answer;
        Ended { answer: answer.and_then(|answer| answer.map_err(Failure::Own)), denials }
    }

    /// Instantiates, runs `work`, and drops everything.
    async fn run<T>(
        self,
        call: Call,
        work: impl AsyncFnOnce(&mut Store<Guest>, Served) -> wasmtime::Result<T>,
    ) -> Ended<T> {
        let deadline = call.deadline;
        let guest = match Guest::new(call) {
            Ok(guest) => guest,
            Err(failure) => return Ended { answer: Err(failure), denials: Vec::new() },
        };
        let allowed = guest.allowed();
        let out_of_time = || Failure::classify(&wasmtime::Error::new(OutOfTime), &allowed);
        // The epoch ends a guest that computes; this timer one that waits, for a slot or in a host call.
        let wait = deadline.remaining();
        let Ok(_slot) = tokio::time::timeout(wait, self.engine.enter()).await else {
            return Ended { answer: Err(out_of_time()), denials: Vec::new() };
        };
        let mut store = store(&self.engine, guest);
        let running = async {
            let served = self.pre.instantiate_async(&mut store).await?;
            work(&mut store, served).await
        };
        let patience = deadline.remaining().saturating_add(EPOCH_TICK);
        let outcome = tokio::time::timeout(patience, running).await;
        let guest = store.into_data();
        guest.log_output();
        let answer = match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let shown = guest.call.plugin.services.shown(format!("{error:?}"));
                tracing::debug!(plugin = %guest.call.plugin.alias, "{shown}");
                Err(Failure::classify(&error, &guest.allowed()))
            }
            Err(_) => Err(out_of_time()),
        };
        Ended { answer, denials: guest.call.denials.explaining() }
    }
}

/// A store with every bound set, before anything of the guest runs in it.
fn store(engine: &Engine, guest: Guest) -> Store<Guest> {
    let deadline = guest.call.deadline;
    let limits = guest.call.plugin.limits;
    let mut store = Store::new(engine.wasm(), guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(size(limits.hostcall_bytes));
    store.set_max_component_handles(limits.handles as usize);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        if deadline.has_passed() {
            return Err(OutOfTime.into());
        }
        // tokio's own yield lets timers and other guests run first; waking oneself does not.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}
