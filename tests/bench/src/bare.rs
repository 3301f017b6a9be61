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

struct State {
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

/// How long `calls` calls of the tool `echo` take, each in an instance of its own.
pub(crate) fn call(runtime: &Runtime, component: &[u8], calls: usize) -> Result<Duration> {
    let engine = engine()?;
    let component = Component::new(&engine, component)?;
    let mut linker: Linker<State> = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    close_host_imports(&engine, &component, &mut linker)?;
    let ready = bindings::ToolPluginPre::new(linker.instantiate_pre(&component)?)?;
    let calls = runtime.spawn(async move {
        let start = Instant::now();
        for _ in 0..calls {
            let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
            let mut store = Store::new(&engine, state);
            store.set_epoch_deadline(u64::MAX / 2);
            let instance = ready.instantiate_async(&mut store).await?;
            let tool = instance.cofferdam_tool_tool();
            let args = r#"{"value":"a small argument"}"#.to_owned();
            tool.call_call(&mut store, &context(), "echo", &args).await?.map_err(|error| Error::msg(error.message))?;
        }
        Ok(start.elapsed())
    });
    runtime.block_on(calls).map_err(|error| Error::msg(error.to_string()))?
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
