//! What guests may call: every host interface of the contract, and the closed doors of WASI.
//!
//! It must not decide policy: each function asks the rights of its call. Linked once per engine.

mod blobs;
mod control;
mod files;
mod http;
mod kv;
mod secrets;
mod sockets;
mod stdio;
mod tools;
mod watched;

pub(crate) use blobs::Blobs;
pub(crate) use files::{Preopens, open_mounts};
pub use http::Network;
pub use kv::{KeptValue, namespaces_of};
pub(crate) use stdio::Captured;

use crate::bindings::Served;
use crate::bindings::cofferdam::types::common::{self, ErrorKind, PluginError};
use crate::engine::Deadline;
use crate::failure::HostPanicked;
use crate::instance::Guest;
use futures_util::FutureExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtxView, WasiView};

/// Links everything. What a call may not do is refused when it is called, not here.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    Served::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    link_wasi(&mut linker)?;
    sockets::link(&mut linker)?;
    Ok(linker)
}

/// What the standard libraries of languages import.
fn link_wasi(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    // Streams, polling, clocks, secure random numbers and the three standard streams.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    cli::exit::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::environment::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    random::insecure_seed::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    filesystem::types::add_to_linker::<Guest, WasiFilesystem>(linker, Guest::filesystem)?;
    filesystem::preopens::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    watched::link(linker)
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi_view()
    }
}

impl common::Host for Guest {}

/// An error that the host answers a guest with.
fn refuse(kind: ErrorKind, message: impl Into<String>) -> PluginError {
    PluginError { kind, code: None, message: message.into(), retryable: None, retry_after_ms: None, detail: None }
}

/// Runs a host function that may wait: at most until the call's time is over, and a panic in it ends the call and
/// nothing else.
async fn guarded<T>(
    function: &'static str,
    deadline: Deadline,
    work: impl Future<Output = Result<T, PluginError>>,
) -> wasmtime::Result<Result<T, PluginError>> {
    match tokio::time::timeout(deadline.remaining(), AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(HostPanicked(function).into()),
        Err(_) => Ok(Err(refuse(ErrorKind::Timeout, "the time of the call is over"))),
    }
}

/// Runs a host function that answers at once; a panic in it ends the call and nothing else.
fn caught<T>(function: &'static str, work: impl FnOnce() -> T) -> wasmtime::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| HostPanicked(function).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_host_function_ends_with_the_time_of_its_call() {
        let begun = Instant::now();
        let deadline = Deadline::after(Duration::from_millis(50));
        let answer = guarded("test", deadline, std::future::pending::<Result<(), _>>()).await.unwrap();
        assert_eq!(answer.unwrap_err().kind, ErrorKind::Timeout);
        assert!(begun.elapsed() < Duration::from_millis(250));
    }

    #[tokio::test]
    async fn a_panic_in_a_host_function_ends_its_call_alone() {
        let deadline = Deadline::after(Duration::from_secs(5));
        let work = async { if deadline.has_passed() { Ok(()) } else { panic!("boom") } };
        let error = guarded("kv.scan", deadline, work).await.unwrap_err();
        assert!(error.downcast_ref::<HostPanicked>().is_some(), "{error}");
        assert!(error.to_string().contains("kv.scan") && !error.to_string().contains("boom"), "{error}");
        assert!(caught("log.log", || panic!("boom")).map(|(): ()| ()).is_err());
    }
}
