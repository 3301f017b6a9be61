//! What durability costs: a step beside the floor of its store, many runs at once, syncs, bytes, and how soon a long run
//! goes on.

use crate::graph::{self, ports, request, workflow};
use crate::measure::{best, count, micros_each, row};
use crate::shown;
use anyhow::{Context as _, Result};
use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{
    Ack, Append, Batch, BlobId, BoxFuture, Durability, Journal, JournalError, Lease, LeaseRequest, Page, Pressure,
    RunFilter, RunPage, Sink, Want,
};
use cofferdam_core::spec::workflow::Workflow;
use cofferdam_engine::{Executor, Ports, RunRequest};
use cofferdam_llm::Scripted;
use cofferdam_store::{File, Sqlite};
use rusqlite::Connection;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    for store in [Store::Sqlite, Store::File] {
        let name = store.name();
        let steps = count(500, 4);
        let floor = store.floor(steps)?;
        row(
            &format!("{name}: floor, one durable commit of 1 KiB"),
            &format!("{:.0} us", micros_each(floor, steps)),
            "",
        );
        let one = chain(runtime, store, steps)?;
        let ratio = micros_each(one, steps) / micros_each(floor, steps);
        let each = format!("{:.0} us, {ratio:.2} x the floor", micros_each(one, steps));
        row(&format!("{name}: strictly durable step of a chain"), &each, "1.5 x");
        // As often as the chain: what is slow once in a process is slow for neither.
        let mut many = 0.0_f64;
        for _ in 0..3 {
            many = many.max(at_once(runtime, store, count(100, 3), count(200, 2))?);
        }
        let factor = many / (1e6 / micros_each(one, steps));
        row(&format!("{name}: 100 runs at once, steps a second"), &format!("{many:.0}, {factor:.1} x one run"), "10 x");
        sizes(runtime, store)?;
        resume(runtime, store)?;
    }
    shown::run()
}

#[derive(Clone, Copy)]
enum Store {
    Sqlite,
    File,
}

impl Store {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::File => "file",
        }
    }

    fn open(self, folder: &Path) -> Arc<dyn Journal> {
        match self {
            Self::Sqlite => Arc::new(Sqlite::new(folder.join("runs.db"))),
            Self::File => Arc::new(File::new(folder.join("runs"))),
        }
    }

    /// Bytes of what was kept, once SQLite has copied its log back: that is at most 4 MiB, however much was written.
    fn bytes(self, folder: &Path) -> Result<u64> {
        if matches!(self, Self::Sqlite) {
            let connection = Connection::open(folder.join("runs.db"))?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        bytes(folder)
    }

    /// What the store cannot do without: a write and a flush, or a commit with a flushed log.
    fn floor(self, times: usize) -> Result<Duration> {
        let folder = tempfile::tempdir()?;
        let text = "x".repeat(1_024);
        match self {
            Self::Sqlite => {
                let connection = Connection::open(folder.path().join("floor.db"))?;
                connection.execute_batch(
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (place INTEGER PRIMARY KEY, body TEXT);",
                )?;
                let mut statement = connection.prepare("INSERT INTO t (body) VALUES (?1)")?;
                Ok(best(3, || (0..times).for_each(|_| _ = statement.execute([&text]).expect("the insert works"))))
            }
            Self::File => {
                let mut file = OpenOptions::new().create(true).append(true).open(folder.path().join("floor"))?;
                Ok(best(3, || {
                    for _ in 0..times {
                        file.write_all(text.as_bytes()).expect("the write works");
                        file.sync_data().expect("the flush works");
                    }
                }))
            }
        }
    }
}

/// A journal that counts what is asked of it.
struct Counted {
    journal: Arc<dyn Journal>,
    syncs: AtomicUsize,
}

impl Journal for Counted {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        self.syncs.fetch_add(usize::from(request.durability == Durability::Durable), Ordering::Relaxed);
        self.journal.append(request)
    }
    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        self.journal.read(run, after, limit)
    }
    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        self.journal.list(filter)
    }
    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.journal.put_blob(id, bytes)
    }
    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        self.journal.get_blob(id)
    }
    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        self.journal.lease(request)
    }
    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.journal.delete(run)
    }
}

fn steps(count: usize) -> Arc<Workflow> {
    workflow((0..count).map(|index| graph::step(index, index.checked_sub(1).into_iter().collect())).collect())
}

fn over(journal: Arc<dyn Journal>, text: &str) -> Ports {
    Ports { journal, ..ports(Arc::new(Scripted::answering(text))) }
}

fn named(workflow: &Arc<Workflow>, name: &str) -> RunRequest {
    let run_id = RunId::parse(name).expect("the name follows the grammar");
    RunRequest { run_id, ..request(workflow, 5) }
}

fn finish(runtime: &Runtime, ports: Ports, request: RunRequest) {
    let work = async { tokio::spawn(async move { Executor::new().run(ports, request).await }).await };
    let result = runtime.block_on(work).expect("the task does not panic").expect("the run starts");
    assert!(result.success(), "the run completes");
}

fn chain(runtime: &Runtime, store: Store, count: usize) -> Result<Duration> {
    let (folder, workflow) = (tempfile::tempdir()?, steps(count));
    let (journal, number) = (store.open(folder.path()), AtomicUsize::new(0));
    Ok(best(3, || {
        let name = format!("r{}", number.fetch_add(1, Ordering::Relaxed));
        finish(runtime, over(Arc::clone(&journal), "done"), named(&workflow, &name));
    }))
}

/// Steps a second of so many runs at once.
fn at_once(runtime: &Runtime, store: Store, runs: usize, count: usize) -> Result<f64> {
    let (folder, workflow) = (tempfile::tempdir()?, steps(count));
    let journal = store.open(folder.path());
    let started = Instant::now();
    runtime.block_on(async {
        let executor = Arc::new(Executor::new());
        let all: Vec<_> = (0..runs)
            .map(|run| {
                let (executor, ports) = (Arc::clone(&executor), over(Arc::clone(&journal), "done"));
                let request = named(&workflow, &format!("r{run}"));
                tokio::spawn(async move { executor.run(ports, request).await.expect("the run starts") })
            })
            .collect();
        for run in all {
            assert!(run.await.expect("the task does not panic").success(), "the run completes");
        }
    });
    Ok((runs * count) as f64 / started.elapsed().as_secs_f64())
}

/// Bytes of everything below a folder.
fn bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}

fn sizes(runtime: &Runtime, store: Store) -> Result<()> {
    let (name, count) = (store.name(), count(1_000, 4));
    let (folder, workflow) = (tempfile::tempdir()?, steps(count));
    let counted = Arc::new(Counted { journal: store.open(folder.path()), syncs: AtomicUsize::new(0) });
    finish(runtime, over(Arc::clone(&counted) as _, "done"), named(&workflow, "r"));
    let syncs = counted.syncs.load(Ordering::Relaxed) as f64 / count as f64;
    row(&format!("{name}: syncs a turn without tools"), &format!("{syncs:.2}"), "3");
    let journal = counted.journal.clone();
    drop((counted, journal));
    let each = store.bytes(folder.path())? as f64 / count as f64 / 1_024.0;
    row(&format!("{name}: journal a scripted step"), &format!("{each:.2} KiB"), "1.5 KiB");
    let folder = tempfile::tempdir()?;
    let text = "abcdefghijklmnopqrstuvwxyz012345".repeat(32);
    finish(runtime, over(store.open(folder.path()), &text), named(&workflow, "r"));
    let ratio = store.bytes(folder.path())? as f64 / (count * 1_024) as f64;
    row(&format!("{name}: journal of 1 000 x 1 KiB against the payload"), &format!("{ratio:.2} x"), "2.5 x");
    Ok(())
}

/// Hears when the run has gone on and a step begins.
#[derive(Default)]
struct Heard(Mutex<Option<Instant>>);

impl Sink for Heard {
    fn want(&self) -> Want {
        Want::new(vec!["step_started".to_owned()], Pressure::Wait)
    }
    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let started = |event: &&Arc<RunEvent>| matches!(event.body, Body::StepStarted { .. });
        if batch.events.iter().any(|event| started(&event)) {
            self.0.lock().expect("nobody panics").get_or_insert_with(Instant::now);
        }
        Box::pin(std::future::ready(Ok(Ack::All)))
    }
    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn resume(runtime: &Runtime, store: Store) -> Result<()> {
    let (folder, count) = (tempfile::tempdir()?, count(10_000, 4));
    let workflow = steps(count + 1);
    let last = format!(
        "answers: [{{ step: s{count}, error: {{ code: broken, class: step, message: no }} }}]\ndefault: {{ text: done }}"
    );
    let broken = || Scripted::parse(&last).expect("the script is one");
    let before = Ports { journal: store.open(folder.path()), ..ports(Arc::new(broken())) };
    let request = || named(&workflow, "r");
    let first = request();
    runtime.block_on(async { tokio::spawn(async move { Executor::new().run(before, first).await }).await })??;
    let mut times = Vec::new();
    for _ in 0..3 {
        let heard = Arc::new(Heard::default());
        let sinks = vec![Arc::clone(&heard) as Arc<dyn Sink>];
        // It fails again, so that there is something to do each time.
        let ports = Ports { journal: store.open(folder.path()), sinks, ..ports(Arc::new(broken())) };
        let request = request();
        let started = Instant::now();
        runtime
            .block_on(async { tokio::spawn(async move { Executor::new().resume(ports, request).await }).await })??;
        let heard = heard.0.lock().expect("nobody panics").context("a step begins")?;
        times.push(heard - started);
    }
    let best = times.iter().min().copied().unwrap_or_default();
    let shown = format!("{:.1} ms", best.as_secs_f64() * 1e3);
    row(&format!("{}: resume of 10 000 steps, to the first new one", store.name()), &shown, "20 ms");
    Ok(())
}
