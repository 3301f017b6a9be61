//! What guests may call: every host interface of the contract, and the closed doors of WASI.
//!
//! It must not decide policy: each function asks the rights of its call. Linked once per engine.

mod control;
mod files;
mod http;
mod stdio;
mod unsupported;

pub(crate) use files::Preopens;
pub use http::Network;
pub(crate) use stdio::Captured;

use crate::bindings::Served;
use crate::bindings::cofferdam::types::common::{self, ErrorKind, PluginError};
use crate::instance::Guest;
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
    Ok(linker)
}

/// What the standard libraries of languages import. No sockets: importing them is a load error.
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
    filesystem::preopens::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
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
