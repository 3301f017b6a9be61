//! `runs rm`: runs go with all that belongs to them.

use super::{find_row, print_lines, refused};
use crate::args::RmArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::terminal;
use cofferdam::Orchestrator;
use cofferdam::core::id::RunId;
use cofferdam::core::port::{JournalError, RunRow};
use cofferdam::sink::clean;
use serde::Serialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The status of a run that may be under way.
pub(super) const RUNNING: &str = "running";

/// A deleted run, for programs.
#[derive(Serialize)]
struct Deleted<'a> {
    deleted: &'a RunId,
    workflow: &'a str,
    status: &'a str,
}

pub(super) async fn run(session: &Session, orchestrator: &Orchestrator, args: &RmArgs) -> anyhow::Result<Exit> {
    let journal = orchestrator.runs();
    let mut rows: Vec<RunRow> = Vec::new();
    for given in &args.runs {
        let row = find_row(&*journal, given).await?;
        // Named twice is named once.
        if !rows.iter().any(|known| known.run_id == row.run_id) {
            rows.push(row);
        }
    }
    if let Some(row) = rows.iter().find(|row| row.index.status == RUNNING && !args.force) {
        let message = format!("run `{}` may be under way; nothing was deleted", row.run_id);
        return Err(Failure::usage(message)
            .with_hint("`--force` deletes it all the same: if it was killed, say")
            .into());
    }
    let outputs = outputs(session);
    for row in &rows {
        delete(orchestrator, &row.run_id, &outputs).await?;
        let (workflow, status) = (row.index.workflow.as_str(), row.index.status.as_str());
        terminal::tell(&format!("deleted {} ({}, {status})", row.run_id, clean(workflow, 40)));
        if args.json {
            print_lines(&[Deleted { deleted: &row.run_id, workflow, status }])?;
        }
    }
    Ok(Exit::Done)
}

/// Where output directories of runs are.
pub(super) fn outputs(session: &Session) -> PathBuf {
    session.project.state().join("runs")
}

/// Deletes a run. Its records go last: when something fails before, the run is still listed and can be deleted again.
pub(super) async fn delete(orchestrator: &Orchestrator, run: &RunId, outputs: &Path) -> Result<(), Failure> {
    orchestrator.forget_values(run).await.map_err(Failure::from)?;
    delete_outputs(&outputs.join(run.as_str()))?;
    match orchestrator.runs().delete(run).await {
        // Somebody else was faster.
        Ok(()) | Err(JournalError::NotFound(_)) => Ok(()),
        Err(error) => Err(refused(&error)),
    }
}

/// Deletes an output directory, if there is one.
pub(super) fn delete_outputs(directory: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::failed(format!(
            "the output directory `{}` cannot be deleted: {error}",
            terminal::name(directory)
        ))),
        _ => Ok(()),
    }
}
