//! The compile child: reads for which engine, and a component, from standard input, limits itself, writes machine code to standard output.
//!
//! It runs in a process of its own and must not know the host: no cache, no settings, no environment.

use crate::compile::{CompileError, cpu_allowance_s, precompile_alone};
use crate::engine::Meter;
use cofferdam_core::limits;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

/// The exit status that means "the component is not valid"; the reason is on standard error.
pub(crate) const INVALID: i32 = 65;
const INVALID_STATUS: u8 = 65;

/// The whole life of the child. A program calls this, and nothing else, when it is started as
/// [`crate::CompileChild`] describes.
#[must_use]
pub fn main() -> ExitCode {
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Invalid(reason)) => {
            complain(&reason);
            ExitCode::from(INVALID_STATUS)
        }
        Err(Failure::Io(error)) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Invalid(String),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn compile() -> Result<(), Failure> {
    restrict(Resource::As, limits::PLUGIN_COMPILE_BYTES)?;
    restrict(Resource::Core, 0)?;
    let (mut meter, mut component) = ([0], Vec::new());
    let mut stdin = io::stdin().lock();
    stdin.read_exact(&mut meter)?;
    let meter = Meter::from_byte(meter[0]).ok_or_else(|| io::Error::other("unknown engine"))?;
    stdin.take(limits::PLUGIN_COMPONENT_BYTES as u64).read_to_end(&mut component)?;
    restrict(Resource::Cpu, cpu_allowance_s(component.len()))?;
    let code = precompile_alone(meter, &component).map_err(|error| match error {
        CompileError::Invalid(reason) => Failure::Invalid(reason),
        other => Failure::Io(io::Error::other(other)),
    })?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&code)?;
    stdout.flush()?;
    Ok(())
}

/// Sets a limit on this process, never above what it inherited.
fn restrict(resource: Resource, value: u64) -> io::Result<()> {
    let inherited = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let value = value.min(inherited);
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(inherited) })?;
    Ok(())
}

fn complain(reason: &str) {
    // Nobody is left to tell when this fails.
    drop(io::stderr().lock().write_all(reason.as_bytes()));
}
