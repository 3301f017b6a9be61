//! The floor of a tool call: wasmtime alone, with the same settings and nothing of ours around it.

use bindings::cofferdam::types::common::CallContext;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceTable, ResourceType};
use wasmtime::{Config, Engine, Error, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/plugin", "../../wit/tool"],
        world: "cofferdam:tool/tool-plugin",
        exports: { default: async },
        require_store_data_send: true,
    });
}

pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

/// What a closed door would give; there is never one.
struct Closed;

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What is called, and how often.
pub(crate) struct Work<'a> {
    pub(crate) component: &'a [u8],
    pub(crate) tool: &'a str,
    pub(crate) args: &'a str,
    pub(crate) calls: usize,
}

/// How long an instance lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instance {
    /// As long as a call.
    Fresh,
    /// As long as all of them.
    Warm,
}

/// How long each call takes.
pub(crate) fn call(runtime: &Runtime, work: &Work<'_>, instance: Instance) -> Result<Vec<Duration>> {
    let engine = engine()?;
    let component = Component::new(&engine, work.component)?;
    let ready = link(&engine, &component)?;
    let (tool, args, calls) = (work.tool.to_owned(), work.args.to_owned(), work.calls);
    let calls = runtime.spawn(async move {
        let (mut times, mut kept) = (Vec::with_capacity(calls), None);
        for _ in 0..calls {
            let start = Instant::now();
            let (mut store, plugin) = match kept.take() {
                Some(kept) => kept,
                None => begin(&engine, &ready).await?,
            };
            let exports = plugin.cofferdam_tool_tool();
            let answer = exports.call_call(&mut store, &context(), &tool, &args).await?;
            answer.map_err(|error| Error::msg(error.message))?;
            if instance == Instance::Warm {
                kept = Some((store, plugin));
            }
            times.push(start.elapsed());
        }
        Ok(times)
    });
    runtime.block_on(calls).map_err(|error| Error::msg(error.to_string()))?
}

/// A component that can be instantiated.
pub(crate) type Ready = bindings::ToolPluginPre<State>;

async fn begin(engine: &Engine, ready: &Ready) -> Result<(Store<State>, bindings::ToolPlugin)> {
    let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
    let mut store = Store::new(engine, state);
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = ready.instantiate_async(&mut store).await?;
    Ok((store, instance))
}

fn link(engine: &Engine, component: &Component) -> Result<Ready> {
    bindings::ToolPluginPre::new(linker(engine, component)?.instantiate_pre(component)?)
}

fn linker(engine: &Engine, component: &Component) -> Result<Linker<State>> {
    let mut linker: Linker<State> = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    close_host_imports(engine, component, &mut linker)?;
    Ok(linker)
}

/// Compiled code, and what it is linked with.
pub(crate) struct Code {
    engine: Engine,
    linker: Linker<State>,
    bytes: Vec<u8>,
}

impl Code {
    pub(crate) fn of(component: &[u8]) -> Result<Self> {
        let engine = engine()?;
        let component = Component::new(&engine, component)?;
        Ok(Self { linker: linker(&engine, &component)?, bytes: component.serialize()?, engine })
    }

    /// Loads the code, as a host does with one that it has compiled before.
    #[expect(unsafe_code, reason = "the code was compiled by this process")]
    pub(crate) fn load(&self) -> Result<Component> {
        // SAFETY: these bytes come from `Component::serialize` and were not changed.
        unsafe { Component::deserialize(&self.engine, &self.bytes) }
    }

    /// Matches it with what it imports.
    pub(crate) fn link(&self, component: &Component) -> Result<Ready> {
        bindings::ToolPluginPre::new(self.linker.instantiate_pre(component)?)
    }
}

/// Links what the host would serve as doors that stay closed; the tool that is called opens none.
fn close_host_imports(engine: &Engine, component: &Component, linker: &mut Linker<State>) -> Result<()> {
    for (interface, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        if !interface.starts_with("cofferdam:host/") {
            continue;
        }
        let mut doors = linker.instance(interface)?;
        for (name, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    doors.func_new(name, |_, _, _, _| Err(Error::msg("not served here")))?;
                }
                ComponentItem::Resource(_) => doors.resource(name, ResourceType::host::<Closed>(), |_, _| Ok(()))?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .gc_support(false)
        .memory_init_cow(true)
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
    Engine::new(&config)
}

fn context() -> CallContext {
    CallContext {
        run_id: "bench".to_owned(),
        step_path: "step".to_owned(),
        attempt: 1,
        idempotency_key: "bench/step/1".to_owned(),
        deadline: 0,
        traceparent: String::new(),
        ext: Vec::new(),
    }
}
