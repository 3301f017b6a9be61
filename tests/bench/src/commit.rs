//! Cost of a step that survives a power cut, beside a bare append and a bare commit.

use crate::graph::{ports, request, step, workflow};
use crate::measure::{count, micros, micros_each, row};
use anyhow::Result;
use cofferdam_engine::Executor;
use cofferdam_llm::Scripted;
use cofferdam_store::Sqlite;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let append = bare_append(dir.path())?;
    row("floor: append 1 KiB + fdatasync", &micros(append, steps()), "");
    let commit = bare_commit(dir.path())?;
    row("floor: SQLite WAL FULL, one commit of 1 KiB", &micros(commit, steps()), "");
    let chain = durable_chain(runtime, dir.path())?;
    row("chain on SQLite, strict, per step", &micros(chain, steps()), "1.5 x floor");
    let ratio = micros_each(chain, steps()) / micros_each(commit, steps());
    row("chain on SQLite against one bare commit", &format!("{ratio:.2} x"), "1.5 x");
    Ok(())
}

/// Steps, and what is written for them.
fn steps() -> usize {
    count(300, 3)
}

fn bare_append(dir: &std::path::Path) -> Result<Duration> {
    let mut file = std::fs::File::create(dir.join("bare.log"))?;
    let start = Instant::now();
    for _ in 0..steps() {
        file.write_all(&[b'x'; 1024])?;
        file.sync_data()?;
    }
    Ok(start.elapsed())
}

fn bare_commit(dir: &std::path::Path) -> Result<Duration> {
    let database = rusqlite::Connection::open(dir.join("bare.db"))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute("CREATE TABLE records (position INTEGER PRIMARY KEY, body TEXT)", [])?;
    let body = "x".repeat(1024);
    let start = Instant::now();
    for position in 0..steps() {
        database.execute("INSERT INTO records VALUES (?1, ?2)", rusqlite::params![i64::try_from(position)?, body])?;
    }
    Ok(start.elapsed())
}

fn durable_chain(runtime: &Runtime, dir: &std::path::Path) -> Result<Duration> {
    let steps = (0..steps()).map(|index| step(index, index.checked_sub(1).into_iter().collect()));
    let workflow = workflow(steps.collect());
    let mut ports = ports(Arc::new(Scripted::answering("done")));
    ports.journal = Arc::new(Sqlite::new(dir.join("runs.db")));
    let request = request(&workflow, 5);
    let start = Instant::now();
    let result =
        runtime.block_on(async { tokio::spawn(async move { Executor::new().run(ports, request).await }).await })??;
    assert!(result.success(), "the run completes");
    Ok(start.elapsed())
}
