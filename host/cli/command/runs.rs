//! `runs`: what was recorded.

mod history;
mod tree;

use crate::args::{Global, RunsCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local_time;
use crate::session::{self, Session};
use crate::terminal;
use crate::ui::table::{self, Wide};
use cofferdam::Journal;
use cofferdam::core::event::Sensitive;
use cofferdam::core::id::RunId;
use cofferdam::core::limits;
use cofferdam::core::port::{JournalError, RecordBody, RunFilter, RunRow};
use cofferdam::core::spec::suggest::did_you_mean;
use cofferdam::sink::{clean, duration};
use history::History;

/// Statuses that runs can have, `running` included.
const STATUSES: [&str; 7] = ["running", "waiting", "cancelled", "failed", "partial", "completed", "damaged"];

/// Most runs that share the beginning of an id and are named.
const CANDIDATES: usize = 5;

pub(super) fn run(global: &Global, command: RunsCommand) -> anyhow::Result<Exit> {
    let session = Session::open(global, &[])?;
    let (RunsCommand::List { grant, .. } | RunsCommand::Show { grant, .. }) = &command;
    let orchestrator = session.with_storage(session.orchestrator(), grant)?.build().map_err(Failure::from)?;
    let journal = orchestrator.runs();
    session::runtime()?.block_on(async {
        let outcome = match command {
            RunsCommand::List { limit, status, json, .. } => list(&*journal, limit, status, json).await,
            RunsCommand::Show { run, json, reveal, .. } => {
                let form = if json { Form::Events } else { Form::Tree };
                show(&*journal, &run, form, if reveal { Content::All } else { Content::Public }).await
            }
        };
        orchestrator.close().await;
        outcome
    })
}

async fn list(journal: &dyn Journal, limit: usize, statuses: Vec<String>, json: bool) -> anyhow::Result<Exit> {
    if let Some(unknown) = statuses.iter().find(|status| !STATUSES.contains(&status.as_str())) {
        let hint = did_you_mean(unknown, STATUSES).unwrap_or_else(|| format!("it is one of {}", STATUSES.join(", ")));
        return Err(Failure::usage(format!("there is no status `{unknown}`")).with_hint(hint).into());
    }
    let rows = rows(journal, RunFilter { statuses, ..RunFilter::default() }, limit).await?;
    if json {
        let lines = rows.iter().map(|row| Ok(serde_json::to_string(row)? + "\n"));
        terminal::print(&lines.collect::<Result<String, serde_json::Error>>()?)?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        terminal::tell("no run is recorded here");
        return Ok(Exit::Done);
    }
    let mut shown = table::with_head(Wide::Keep, &["RUN", "WORKFLOW", "STATUS", "STARTED", "TOOK"]);
    for row in &rows {
        let took = duration(row.updated_at.since(row.index.started_at));
        let started = local_time::date_and_time(row.index.started_at);
        shown.add_row([
            row.run_id.to_string(),
            clean(&row.index.workflow, 40),
            row.index.status.clone(),
            started,
            took,
        ]);
    }
    terminal::print(&table::render(&shown))?;
    Ok(Exit::Done)
}

/// Runs, the latest first, at most `limit`; 0 means all.
async fn rows(journal: &dyn Journal, mut filter: RunFilter, limit: usize) -> Result<Vec<RunRow>, Failure> {
    let mut rows = Vec::new();
    loop {
        filter.limit = limit.saturating_sub(rows.len()).min(limits::JOURNAL_LIST_ROWS);
        let page = journal.list(filter.clone()).await.map_err(|error| refused(&error))?;
        rows.extend(page.rows);
        match page.next {
            Some(next) if limit == 0 || rows.len() < limit => filter.cursor = Some(next),
            _ => return Ok(rows),
        }
    }
}

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Every event as a line of JSON.
    Events,
    /// For people.
    Tree,
}

/// What is shown of sensitive steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// What sinks got of it.
    Public,
    /// All that the journal has.
    All,
}

async fn show(journal: &dyn Journal, given: &str, form: Form, content: Content) -> anyhow::Result<Exit> {
    let run = find(journal, given).await?;
    let mut sensitive = None;
    let mut history = History::new(run.clone());
    let mut after = 0;
    loop {
        let page = journal.read(&run, after, limits::JOURNAL_PAGE_RECORDS).await.map_err(|error| refused(&error))?;
        let mut lines = String::new();
        for record in &page.records {
            let RecordBody::Event(event) = &record.body else { continue };
            if content == Content::Public && sensitive.is_none() {
                sensitive = Sensitive::recorded(event);
            }
            let public = sensitive.as_mut().and_then(|sensitive| sensitive.publish(event));
            let event = public.as_ref().unwrap_or(event);
            match form {
                Form::Events => {
                    lines.push_str(&serde_json::to_string(event)?);
                    lines.push('\n');
                }
                Form::Tree => history.add(event),
            }
        }
        terminal::print(&lines)?;
        after += page.records.len() as u64;
        if page.records.is_empty() || after >= page.head {
            break;
        }
    }
    if form == Form::Tree {
        terminal::print(&tree::render(&history))?;
    }
    Ok(Exit::Done)
}

/// A run by its id, the beginning of it, or `last`.
async fn find(journal: &dyn Journal, given: &str) -> Result<RunId, Failure> {
    if given == "last" {
        let latest = rows(journal, RunFilter::default(), 1).await?;
        let latest = latest.into_iter().next().map(|row| row.run_id);
        return latest
            .ok_or_else(|| Failure::usage("no run is recorded here").with_hint("`cofferdam run FILE` makes one"));
    }
    let all = rows(journal, RunFilter::default(), 0).await?;
    let ids = || all.iter().map(|row| &row.run_id);
    if let Some(exact) = ids().find(|id| id.as_str() == given) {
        return Ok(exact.clone());
    }
    let matching: Vec<&RunId> = ids().filter(|id| !given.is_empty() && id.as_str().starts_with(given)).collect();
    match matching.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Failure::usage(format!("no run is called `{given}`")).with_hint("`cofferdam runs list` lists them")),
        several => {
            let names: Vec<&str> = several.iter().take(CANDIDATES).map(|id| id.as_str()).collect();
            Err(Failure::usage(format!("`{given}` is the beginning of {} runs", several.len()))
                .with_hint(format!("write more of it: {}", names.join(", "))))
        }
    }
}

fn refused(error: &JournalError) -> Failure {
    Failure::failed(format!("the records cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam::core::event::{Body, RunEvent};
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
