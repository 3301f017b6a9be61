//! Prints what the first and the following appends to a new file cost: the share of a store in a short run.
//!
//! It must not be taken for a benchmark of the disk: what a flush costs depends on the machine.

use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::port::{Append, Durability, Journal, Record, RecordBody, RunIndex};
use cofferdam_core::time::Timestamp;
use cofferdam_store::Sqlite;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

const APPENDS: u64 = 200;

fn request(run: &RunId, expected_head: u64, durability: Durability) -> Append {
    let at = Timestamp::from_millis(0);
    let body = Body::Warning { code: "W000".to_owned(), message: "x".repeat(1_000) };
    let event = RunEvent {
        seq: expected_head + 1,
        sub: None,
        at,
        run_id: run.clone(),
        path: StepPath::ROOT,
        attempt: None,
        body,
    };
    Append {
        run: run.clone(),
        expected_head,
        records: vec![Record { at, body: RecordBody::Event(Arc::new(event)) }],
        index: Some(RunIndex { workflow: "w".to_owned(), status: "running".to_owned(), started_at: at }),
        durability,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("new").join("runs.db");
    for (what, name) in [("new file", "first"), ("existing file", "second")] {
        let run = RunId::parse(name)?;
        let journal = Sqlite::new(&path);
        let begin = Instant::now();
        journal.append(request(&run, 0, Durability::Durable)).await?;
        let first = begin.elapsed();
        let mut line = format!("{what}: first append {first:?}");
        for durability in [Durability::Durable, Durability::Written] {
            let begin = Instant::now();
            let head = journal.read(&run, u64::MAX, 0).await?.head;
            let read = begin.elapsed();
            let begin = Instant::now();
            for head in head..head + APPENDS {
                journal.append(request(&run, head, durability)).await?;
            }
            let each = begin.elapsed() / u32::try_from(APPENDS)?;
            line.push_str(&format!(", a read {read:?}, each {durability:?} append {each:?}"));
        }
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}
