//! Loading a component whose code is in the cache, beside what its parts cost alone: the digest of the component, the
//! authentication of the entry, and wasmtime's own loading.

use crate::bare;
use crate::measure::{Spread, count, row, spread};
use crate::plugin::{host, reference};
use anyhow::{Context as _, Result, anyhow};
use cofferdam_plugin::Digest;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    // The smallest there is, and of those that are shipped one of the middle and the largest.
    figures(runtime, "greet", &cofferdam_guests::built_bytes("greet")?.into())?;
    for name in ["fetch", "csv"] {
        figures(runtime, name, &cofferdam_guests::dist_bytes(name)?.into())?;
    }
    Ok(())
}

fn figures(runtime: &Runtime, name: &str, component: &Arc<[u8]>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let host = host(dir.path());
    drop(runtime.block_on(host.load(reference(name, component)))?);
    let rounds = count(200, 2);
    let whole = often(rounds, || Ok(runtime.block_on(host.load(reference(name, component)))?))?;
    let digest = often(rounds, || Ok(Digest::of(component)))?;
    let entry = largest(&dir.path().join("code"))?;
    let read = often(rounds, || Ok(std::fs::read(&entry)?))?;
    let bytes = std::fs::read(&entry)?;
    let mac = often(rounds, || Ok(blake3::keyed_hash(&[7; 32], &bytes)))?;
    let code = bare::Code::of(component).map_err(|error| anyhow!("{error:#}"))?;
    let loaded = often(rounds, || code.load().map_err(|error| anyhow!("{error:#}")))?;
    let one = code.load().map_err(|error| anyhow!("{error:#}"))?;
    let linked = often(rounds, || code.link(&one).map_err(|error| anyhow!("{error:#}")))?;
    let size = format!("{name}, {} KiB of component, {} KiB of code", component.len() / 1024, bytes.len() / 1024);
    row(&format!("floor: digest of {size}"), &millis(&digest), "");
    row("floor: reading the entry", &millis(&read), "");
    row("floor: authenticating the entry", &millis(&mac), "");
    row("floor: bare wasmtime, load", &millis(&loaded), "");
    row("floor: bare wasmtime, link", &millis(&linked), "");
    row(&format!("cached component load, {name}, median"), &millis(&whole), "1 ms");
    let floor = [&digest, &read, &mac, &loaded, &linked].into_iter().map(|part| part.median.as_secs_f64()).sum::<f64>();
    row("against the sum of its floors", &format!("{:.2} x", whole.median.as_secs_f64() / floor), "");
    Ok(())
}

/// What comes out is dropped after the clock was read.
fn often<T>(rounds: usize, mut work: impl FnMut() -> Result<T>) -> Result<Spread> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        let made = black_box(work()?);
        times.push(start.elapsed());
        drop(made);
    }
    Ok(spread(times))
}

fn largest(folder: &Path) -> Result<std::path::PathBuf> {
    let sizes =
        std::fs::read_dir(folder)?.flatten().map(|entry| (entry.metadata().map_or(0, |data| data.len()), entry));
    Ok(sizes.max_by_key(|(size, _)| *size).context("the cache is empty")?.1.path())
}

fn millis(spread: &Spread) -> String {
    format!("{:.2} ms", spread.median.as_secs_f64() * 1e3)
}
