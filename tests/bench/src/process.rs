//! Cost of a whole process: start, run, exit.

use crate::measure::{count, row};
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const ONE_STEP: &str = "name: one\nsteps:\n  - {id: only, instructions: go}\n";
const ONE_TOOL: &str =
    "name: one\nplugins: {text: 'builtin:text'}\nsteps:\n  - {id: only, tool: text.words, args: {text: two words}}\n";
const SCRIPT: &str = "default: {text: done}\n";

pub(crate) fn run(_: &Runtime) -> Result<()> {
    let binary = binary()?;
    let dir = tempfile::tempdir()?;
    for (name, text) in [("one.yaml", ONE_STEP), ("tool.yaml", ONE_TOOL), ("script.yaml", SCRIPT)] {
        std::fs::write(dir.path().join(name), text)?;
    }
    let bare = median(|| Command::new("/bin/true"), dir.path())?;
    row("floor: start of a bare process", &millis(bare), "");
    let version = median(|| with(&binary, &["--version"]), dir.path())?;
    row("cofferdam --version", &millis(version), "");
    let one = median(|| with(&binary, &["run", "one.yaml", "--model", "scripted/script.yaml"]), dir.path())?;
    row("cofferdam run, one scripted step", &millis(one), "10 ms");
    let tool = median(|| with(&binary, &["run", "tool.yaml"]), dir.path())?;
    row("cofferdam run, one cached component", &millis(tool), "25 ms");
    let size = std::fs::metadata(&binary)?.len();
    row("binary", &format!("{} MB", size / 1_000_000), "30 MB");
    Ok(())
}

/// The command beside this one.
pub(crate) fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name("cofferdam");
    ensure!(path.exists(), "`{}` is not built; run `cargo build --release` first", path.display());
    Ok(path)
}

pub(crate) fn with(binary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments);
    command
}

/// The median over some rounds, after one that is not counted.
pub(crate) fn median(command: impl Fn() -> Command, dir: &Path) -> Result<Duration> {
    let rounds = count(30, 1);
    let mut times = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        let mut command = command();
        command.env("XDG_CACHE_HOME", dir.join("cache")).env("XDG_STATE_HOME", dir.join("state"));
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status()?;
        let took = start.elapsed();
        ensure!(status.success(), "{command:?} ended with {status}");
        if round > 0 {
            times.push(took);
        }
    }
    times.sort_unstable();
    times.get(rounds / 2).copied().context("there are rounds")
}

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
