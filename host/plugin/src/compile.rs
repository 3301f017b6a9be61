//! Turns a component into machine code: in a child process that can be killed, or in this one where the embedder
//! gave no program for it.
//!
//! It must not know the cache, and it gets only what the scan has passed.

use crate::engine::{Engine, Meter, compile_settings};
use cofferdam_core::limits;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A program that calls [`crate::compile_child::main`] when it is run with these arguments: this very binary,
/// with a hidden subcommand.
#[derive(Clone, Debug)]
pub struct CompileChild {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// Why a component could not be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The component is not valid.
    #[error("it is not a valid component: {0}")]
    Invalid(String),
    /// It takes too long.
    #[error("compiling it takes more than {0} s of processor time")]
    Time(u64),
    /// It takes too much memory, or the compiler gave up for another reason.
    #[error("the compiler ended without a result ({0}); it may use at most {gib} GiB", gib = limits::PLUGIN_COMPILE_BYTES >> 30)]
    Died(String),
    /// The child could not be started or talked to.
    #[error("the compiler could not be run")]
    Child(#[source] std::io::Error),
}

/// The processor time that compiling so many bytes may take, in seconds.
pub(crate) fn cpu_allowance_s(bytes: usize) -> u64 {
    let mib = (bytes as u64).div_ceil(1 << 20);
    if mib <= 4 {
        return limits::PLUGIN_COMPILE_CPU_S;
    }
    mib.saturating_mul(limits::PLUGIN_COMPILE_CPU_S_PER_MIB).min(limits::PLUGIN_COMPILE_CPU_MAX_S)
}

/// Compiles components, a few at once.
pub(crate) struct Compiler {
    child: Option<CompileChild>,
    places: Semaphore,
}

impl Compiler {
    pub(crate) fn new(child: Option<CompileChild>) -> Self {
        Self { child, places: Semaphore::new(limits::PLUGIN_COMPILES) }
    }

    /// The machine code of the component. Dropping the future kills a child at work.
    pub(crate) async fn compile(&self, engine: &Arc<Engine>, component: Arc<[u8]>) -> Result<Vec<u8>, CompileError> {
        let _place = self.places.acquire().await;
        match &self.child {
            Some(child) => in_child(child, engine.meter(), component).await,
            None => in_process(engine, component).await,
        }
    }
}

async fn in_process(engine: &Arc<Engine>, component: Arc<[u8]>) -> Result<Vec<u8>, CompileError> {
    let engine = Arc::clone(engine);
    let work = move || precompile(engine.wasm(), &component);
    tokio::task::spawn_blocking(work).await.map_err(|error| CompileError::Died(error.to_string()))?
}

/// Compiles with the settings of [`compile_settings`].
pub(crate) fn precompile(engine: &wasmtime::Engine, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    engine.precompile_component(component).map_err(|error| CompileError::Invalid(format!("{error:#}")))
}

/// Compiles in this process without an engine at hand: the body of the compile child.
pub(crate) fn precompile_alone(meter: Meter, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    let engine = wasmtime::Engine::new(&compile_settings(meter))
        .map_err(|error| CompileError::Died(format!("the compiler did not start: {error}")))?;
    precompile(&engine, component)
}

async fn in_child(child: &CompileChild, meter: Meter, component: Arc<[u8]>) -> Result<Vec<u8>, CompileError> {
    let allowance = cpu_allowance_s(component.len());
    let child = Running::start(child)?;
    let handle = Arc::clone(&child.0);
    let work = tokio::task::spawn_blocking(move || converse(&handle, meter, &component));
    // Processor time is the bound; this one only ends a child that was stopped or cannot be scheduled.
    let patience = Duration::from_secs(allowance.saturating_mul(4));
    let ended = tokio::time::timeout(patience, work).await.map_err(|_| CompileError::Time(allowance))?;
    let ended = ended.map_err(|error| CompileError::Died(error.to_string()))?.map_err(CompileError::Child)?;
    drop(child);
    ended.result(allowance)
}

/// Kills the child when dropped, also in the middle of everything.
struct Running(Arc<Mutex<Child>>);

impl Running {
    fn start(child: &CompileChild) -> Result<Self, CompileError> {
        let child = Command::new(&child.program)
            .args(&child.args)
            // Nothing of ours is the compiler's business: no keys, no tokens.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(CompileError::Child)?;
        Ok(Self(Arc::new(Mutex::new(child))))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = lock(&self.0);
        if matches!(child.try_wait(), Ok(None)) {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Ended {
    status: ExitStatus,
    code: Vec<u8>,
    complaint: String,
}

/// Sends for which engine and the component, then reads code and complaint. The child reads all of it before it writes.
fn converse(child: &Mutex<Child>, meter: Meter, component: &[u8]) -> std::io::Result<Ended> {
    let (stdin, stdout, stderr) = {
        let mut child = lock(child);
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    };
    if let Some(mut stdin) = stdin {
        // A child that died early shows in its status, not here.
        drop(stdin.write_all(&[meter.to_byte()]).and_then(|()| stdin.write_all(component)));
    }
    let mut code = Vec::new();
    if let Some(mut stdout) = stdout {
        stdout.read_to_end(&mut code)?;
    }
    let mut complaint = String::new();
    if let Some(stderr) = stderr {
        let mut bytes = Vec::new();
        stderr.take(limits::PLUGIN_MESSAGE_BYTES as u64).read_to_end(&mut bytes)?;
        complaint.push_str(&String::from_utf8_lossy(&bytes));
    }
    let status = lock(child).wait()?;
    Ok(Ended { status, code, complaint })
}

impl Ended {
    fn result(self, allowance: u64) -> Result<Vec<u8>, CompileError> {
        use std::os::unix::process::ExitStatusExt as _;
        if self.status.success() && !self.code.is_empty() {
            return Ok(self.code);
        }
        if self.status.code() == Some(crate::compile_child::INVALID) {
            return Err(CompileError::Invalid(self.complaint.trim().to_owned()));
        }
        let cpu_limit = rustix::process::Signal::XCPU.as_raw();
        match self.status.signal() {
            Some(signal) if signal == cpu_limit => Err(CompileError::Time(allowance)),
            Some(signal) => Err(CompileError::Died(format!("signal {signal}"))),
            None => Err(CompileError::Died(format!("exit status {}", self.status.code().unwrap_or_default()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowance_grows_with_the_component() {
        assert_eq!(cpu_allowance_s(100), 60);
        assert_eq!(cpu_allowance_s(4 << 20), 60);
        assert_eq!(cpu_allowance_s(10 << 20), 150);
        assert_eq!(cpu_allowance_s(64 << 20), 600);
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error_and_not_a_hang() {
        let child = CompileChild { program: PathBuf::from("/nonexistent/compiler"), args: Vec::new() };
        let error = in_child(&child, Meter::Plain, Arc::from(&b"x"[..])).await.unwrap_err();
        assert!(matches!(error, CompileError::Child(_)));
    }

    #[tokio::test]
    async fn a_child_that_dies_is_told_apart_from_an_invalid_component() {
        let shell =
            |script: &str| CompileChild { program: PathBuf::from("/bin/sh"), args: vec!["-c".into(), script.into()] };
        let died = in_child(&shell("kill -ABRT $$"), Meter::Plain, Arc::from(&b"x"[..])).await.unwrap_err();
        assert!(matches!(died, CompileError::Died(_)), "{died}");
        let slow = in_child(&shell("kill -XCPU $$"), Meter::Plain, Arc::from(&b"x"[..])).await.unwrap_err();
        assert!(matches!(slow, CompileError::Time(60)), "{slow}");
        let invalid =
            in_child(&shell("echo bad type >&2; exit 65"), Meter::Plain, Arc::from(&b"x"[..])).await.unwrap_err();
        assert_eq!(invalid.to_string(), "it is not a valid component: bad type");
    }
}
