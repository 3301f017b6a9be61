//! Memory of the process over many calls of fresh components.

use crate::measure::{count, resident_kib, row};
use crate::plugin::{call_often, host, reference};
use anyhow::Result;
use std::sync::Arc;
use tokio::runtime::Runtime;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let component: Arc<[u8]> = cofferdam_guests::built_bytes("echo")?.into();
    let plugin = runtime.block_on(host(dir.path()).load(reference("echo", &component)))?;
    let calls = count(10_000, 10);
    // What the first calls reserve stays: slots, stacks, buffers of the allocator.
    let often = |calls: usize| runtime.block_on(runtime.spawn(call_often(Arc::clone(&plugin), calls)));
    often(calls / 10)??;
    let before = resident_kib();
    often(calls)??;
    let after = resident_kib();
    row("memory before the calls", &mebibytes(before), "");
    row(&format!("memory after {calls} calls"), &mebibytes(after), "");
    row("growth", &format!("{:+.1} MiB", mib(after) - mib(before)), "+20 MiB");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures are rounded for people")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn mebibytes(kib: u64) -> String {
    format!("{:.1} MiB", mib(kib))
}
