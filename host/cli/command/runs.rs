//! `runs`: what was recorded.

mod archive;
mod compare;
mod diff;
mod gc;
mod history;
pub(super) mod remembered;
mod removal;
mod show;
mod side;
mod standing;
mod transcript;
mod tree;
mod waiting;

use crate::args::{Global, ListArgs, RunsCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local_time;
use crate::session::{self, Session};
use crate::terminal;
use crate::ui::table::{self, Wide};
use cofferdam::core::budget::Money;
use cofferdam::core::event::Body;
use cofferdam::core::event::RunEvent;
use cofferdam::core::id::RunId;
use cofferdam::core::limits;
use cofferdam::core::port::{JournalError, RecordBody, RunFilter, RunIndex, RunPage, RunRow};
use cofferdam::core::spec::suggest::did_you_mean;
use cofferdam::sink::clean;
use cofferdam::{Journal, Orchestrator};
use futures_util::future::maybe_done;
use serde::Serialize;
use standing::{INTERRUPTED, RUNNING};
use std::pin::Pin;

/// Statuses that runs can have, also while they have not ended.
const STATUSES: [&str; 9] =
    [RUNNING, INTERRUPTED, "waiting", "cancelled", "failed", "partial", "completed", "damaged", RunIndex::COPYING];

/// Most runs that share the beginning of an id and are named.
const CANDIDATES: usize = 5;

/// How many records at the end of a journal are looked at for the end of the run.
const LAST_RECORDS: usize = 4;

pub(super) fn run(global: &Global, command: RunsCommand) -> anyhow::Result<Exit> {
    let session = Session::open(global, &[])?;
    let orchestrator = session.with_storage(session.orchestrator(), command.grant())?.build().map_err(Failure::from)?;
    session::runtime()?.block_on(async {
        let outcome = act(&session, &orchestrator, command).await;
        orchestrator.close().await;
        outcome
    })
}

async fn act(session: &Session, orchestrator: &Orchestrator, command: RunsCommand) -> anyhow::Result<Exit> {
    let journal = &*orchestrator.runs();
    match command {
        RunsCommand::List(args) => list(orchestrator, args).await,
        RunsCommand::Show(args) => show::run(session, orchestrator, &args).await,
        RunsCommand::Diff(args) => diff::run(journal, &args).await,
        RunsCommand::Export(args) => archive::export(journal, &args).await,
        RunsCommand::Import(args) => archive::import(journal, &args).await,
        RunsCommand::Rm(args) => removal::run(orchestrator, &args).await,
        RunsCommand::Gc(args) => gc::run(session, orchestrator, &args).await,
    }
}

async fn list(orchestrator: &Orchestrator, args: ListArgs) -> anyhow::Result<Exit> {
    let ListArgs { limit, status: statuses, json, .. } = args;
    known(&statuses)?;
    let rows = standing::rows(orchestrator, RunFilter { statuses, ..RunFilter::default() }, limit).await?;
    let hint = standing::hint(&rows);
    let costs = costs(&*orchestrator.runs(), &rows).await;
    let waits = waiting::of(&*orchestrator.runs(), &rows).await;
    if json {
        let told = rows.iter().zip(costs).zip(&waits);
        let told = told.map(|((row, cost), waits)| Told { row, cost: cost.map(Known), waits: waits.as_ref() });
        print_lines(&told.collect::<Vec<_>>())?;
        hint.iter().for_each(|hint| terminal::tell(hint));
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        terminal::tell("no run is recorded here");
        return Ok(Exit::Done);
    }
    // How long somebody worked on a run only its records tell: a run that waited for days did not take them.
    let mut shown = table::with_head(Wide::Keep, &["RUN", "WORKFLOW", "STATUS", "STARTED", "LAST EVENT", "COST"]);
    for (row, cost) in rows.iter().zip(costs) {
        let [started, last] = [row.index.started_at, row.updated_at].map(local_time::date_and_time);
        shown.add_row([
            row.run_id.to_string(),
            clean(&row.index.workflow, 40),
            row.index.status.clone(),
            started,
            last,
            cost.map(|cost| cost.map_or_else(|| "unknown".to_owned(), |cost| cost.to_string())).unwrap_or_default(),
        ]);
    }
    terminal::print(&table::render(&shown))?;
    waiting::tell(&rows, &waits);
    hint.iter().for_each(|hint| terminal::tell(hint));
    Ok(Exit::Done)
}

/// A row of the list, with what the run cost.
#[derive(Serialize)]
struct Told<'r> {
    #[serde(flatten)]
    row: &'r RunRow,
    /// Absent while it has not ended, and when no model was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Known>,
    /// What it waits with; absent where it does not wait, or where so many do that it is not looked for.
    #[serde(flatten)]
    waits: Option<&'r waiting::Waiting>,
}

/// A cost, or that it is not known.
struct Known(Option<Money>);

impl Serialize for Known {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(cost) => cost.serialize(serializer),
            None => serializer.serialize_str("unknown"),
        }
    }
}

/// What runs cost, by the last that is recorded of each.
async fn costs(journal: &dyn Journal, rows: &[RunRow]) -> Vec<Option<Option<Money>>> {
    let mut costs = Vec::with_capacity(rows.len());
    for row in rows {
        // A run that cannot be read is shown as that elsewhere.
        let page = journal.read(&row.run_id, row.head.saturating_sub(LAST_RECORDS as u64), LAST_RECORDS).await;
        let records = page.map(|page| page.records).unwrap_or_default();
        let ends = records.iter().rev().find_map(|record| match &record.body {
            RecordBody::Event(event) => match &event.body {
                Body::RunFinished { usage, cost, .. } => Some((cost.is_some() || !usage.is_empty()).then_some(*cost)),
                _ => None,
            },
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        });
        costs.push(ends.flatten());
    }
    costs
}

/// Runs as they are recorded, the latest first, at most `limit`; 0 means all.
async fn rows(journal: &dyn Journal, mut filter: RunFilter, limit: usize) -> Result<Vec<RunRow>, Failure> {
    let mut rows = Vec::new();
    loop {
        let found = page(journal, &filter, limit.saturating_sub(rows.len())).await?;
        rows.extend(found.rows.into_iter().filter(|row| !row.run_id.is_reserved()));
        match found.next {
            Some(next) if limit == 0 || rows.len() < limit => filter.cursor = Some(next),
            _ => return Ok(rows),
        }
    }
}

/// A page of runs as they are recorded, of at most so many.
async fn page(journal: &dyn Journal, filter: &RunFilter, most: usize) -> Result<RunPage, Failure> {
    let limit = most.min(limits::JOURNAL_LIST_ROWS);
    journal.list(RunFilter { limit, ..filter.clone() }).await.map_err(|error| refused(&error))
}

/// Calls with each event of a run, and the position of its record. While a page is taken, the store reads the next one.
async fn each_event(
    journal: &dyn Journal,
    run: &RunId,
    mut take: impl FnMut(u64, &RunEvent) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut page = journal.read(run, 0, limits::SHOWN_RECORDS).await.map_err(|error| refused(&error))?;
    loop {
        let after = page.first.saturating_sub(1).saturating_add(page.records.len() as u64);
        let is_last = page.records.is_empty() || after >= page.head;
        let mut next = (!is_last).then(|| maybe_done(journal.read(run, after, limits::SHOWN_RECORDS)));
        if let Some(next) = &mut next {
            // Asked for once, it is under way.
            let _ = futures_util::poll!(next);
        }
        for (position, record) in (page.first..).zip(&page.records) {
            if let RecordBody::Event(event) = &record.body {
                take(position, event)?;
            }
        }
        let Some(mut next) = next else { return Ok(()) };
        (&mut next).await;
        let read = Pin::new(&mut next).take_output().expect("it was waited for");
        page = read.map_err(|error| refused(&error))?;
    }
}

/// A run by its id, the beginning of it, or `last`.
pub(super) async fn find(journal: &dyn Journal, given: &str) -> Result<RunId, Failure> {
    find_row(journal, given).await.map(|row| row.run_id)
}

/// The row of a run by its id, the beginning of it, or `last`.
async fn find_row(journal: &dyn Journal, given: &str) -> Result<RunRow, Failure> {
    if given == "last" {
        let latest = rows(journal, RunFilter::default(), 1).await?.into_iter().next();
        return latest
            .ok_or_else(|| Failure::usage("no run is recorded here").with_hint("`cofferdam run FILE` makes one"));
    }
    if given == RunId::SHARED_COORDINATOR {
        let message = format!("no run is called `{given}`: the conversation that coordinators share has that name");
        return Err(Failure::usage(message).with_hint("`cofferdam runs list` lists the runs"));
    }
    let mut matching = rows(journal, RunFilter::default(), 0).await?;
    matching.retain(|row| !given.is_empty() && row.run_id.as_str().starts_with(given));
    if let Some(exact) = matching.iter().position(|row| row.run_id.as_str() == given) {
        return Ok(matching.swap_remove(exact));
    }
    if let [one] = matching.as_slice() {
        return Ok(one.clone());
    }
    if matching.is_empty() {
        let hint = "`cofferdam runs list` lists them";
        return Err(Failure::usage(format!("no run is called `{given}`")).with_hint(hint));
    }
    let names: Vec<&str> = matching.iter().take(CANDIDATES).map(|row| row.run_id.as_str()).collect();
    Err(Failure::usage(format!("`{given}` is the beginning of {} runs", matching.len()))
        .with_hint(format!("write more of it: {}", names.join(", "))))
}

/// Refuses a status that no run can have.
fn known(statuses: &[String]) -> Result<(), Failure> {
    let Some(unknown) = statuses.iter().find(|status| !STATUSES.contains(&status.as_str())) else { return Ok(()) };
    let hint = did_you_mean(unknown, STATUSES).unwrap_or_else(|| format!("it is one of {}", STATUSES.join(", ")));
    Err(Failure::usage(format!("there is no status `{unknown}`")).with_hint(hint))
}

fn print_lines<T: Serialize>(items: &[T]) -> anyhow::Result<()> {
    let lines = items.iter().map(|item| Ok(serde_json::to_string(item)? + "\n"));
    terminal::print(&lines.collect::<Result<String, serde_json::Error>>()?)?;
    Ok(())
}

fn refused(error: &JournalError) -> Failure {
    Failure::failed(format!("the records cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam::core::id::StepPath;
    use cofferdam::core::port::{Append, Durability, Record, RunIndex};
    use cofferdam::core::time::Timestamp;
    use cofferdam::store::Memory;
    use std::sync::Arc;

    async fn journal(ids: &[&str]) -> Memory {
        let journal = Memory::new();
        for (index, id) in (0_i64..).zip(ids) {
            let run = RunId::parse(id).unwrap();
            let at = Timestamp::from_millis(1_000 * index);
            let body = Body::StepReady {};
            let event =
                RunEvent { seq: 1, sub: None, at, run_id: run.clone(), path: StepPath::ROOT, attempt: None, body };
            let record = Record { at, body: RecordBody::Event(Arc::new(event)) };
            let row = RunIndex { workflow: "w".into(), status: "completed".into(), started_at: at };
            let append = Append {
                run,
                expected_head: 0,
                records: vec![record],
                index: Some(row),
                durability: Durability::Written,
            };
            journal.append(append).await.unwrap();
        }
        journal
    }

    #[tokio::test]
    async fn runs_are_found_by_the_beginning_of_their_id() {
        let journal = journal(&["abc1", "abd2", "x"]).await;
        assert_eq!(find(&journal, "abc").await.unwrap().as_str(), "abc1");
        assert_eq!(find(&journal, "last").await.unwrap().as_str(), "x");
        assert!(find(&journal, "ab").await.unwrap_err().to_string().contains("2 runs"));
        assert!(find(&journal, "").await.is_err());
        assert!(find(&Memory::new(), "last").await.is_err());
    }

    #[tokio::test]
    async fn a_listing_has_as_many_rows_as_wanted() {
        let journal = journal(&["a", "b", "c"]).await;
        for (limit, count) in [(0, 3), (2, 2), (9, 3)] {
            assert_eq!(rows(&journal, RunFilter::default(), limit).await.unwrap().len(), count);
        }
    }
}
