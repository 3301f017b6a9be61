//! `runs rm`: runs go with all that belongs to them.

use super::standing::stand;
use super::{find_row, print_lines, refused};
use crate::args::RmArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::terminal;
use cofferdam::core::id::RunId;
use cofferdam::core::port::{JournalError, Lease, RunRow};
use cofferdam::sink::clean;
use cofferdam::{Error, Orchestrator};
use serde::Serialize;
use std::path::PathBuf;

/// A deleted run, for programs.
#[derive(Serialize)]
struct Deleted<'a> {
    deleted: &'a RunId,
    workflow: &'a str,
    status: &'a str,
}

pub(super) async fn run(orchestrator: &Orchestrator, args: &RmArgs) -> anyhow::Result<Exit> {
    let journal = orchestrator.runs();
    let mut rows: Vec<RunRow> = Vec::new();
    for given in &args.runs {
        let mut row = find_row(&*journal, given).await?;
        stand(orchestrator, &mut row).await;
        // Named twice is named once.
        if !rows.iter().any(|known| known.run_id == row.run_id) {
            rows.push(row);
        }
    }
    // All are looked at before anything is deleted.
    for row in &rows {
        if let Err(kept) = look(orchestrator, &row.run_id, args.force).await {
            return Err(kept.failure(&row.run_id).into());
        }
    }
    for row in &rows {
        if let Some(kept) = delete(orchestrator, &row.run_id, args.force).await? {
            return Err(kept.failure(&row.run_id).into());
        }
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

/// Why a run is not deleted.
pub(super) enum Kept {
    /// Somebody works on it.
    Busy(Box<Lease>),
    /// Nobody can tell.
    Unknown(String),
}

impl Kept {
    fn of(error: Error) -> Self {
        match error {
            Error::Journal(JournalError::Held(lease)) => Self::Busy(lease),
            other => Self::Unknown(Failure::from(other).to_string()),
        }
    }

    /// In words.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Busy(lease) => format!("process {} on `{}` works on it", lease.owner.pid, lease.owner.host),
            Self::Unknown(error) => format!("nobody can tell who works on it: {error}"),
        }
    }

    fn failure(&self, run: &RunId) -> Failure {
        let failure = Failure::usage(format!("run `{run}` was not deleted: {}", self.why()));
        failure.with_hint(match self {
            Self::Busy(_) => "wait for its end, or stop it",
            Self::Unknown(_) => "`cofferdam runs rm --force` deletes it all the same, if you know that nobody does",
        })
    }
}

/// Whether a run may be deleted, by force also one of which nobody can tell.
pub(super) async fn look(orchestrator: &Orchestrator, run: &RunId, force: bool) -> Result<(), Kept> {
    match orchestrator.worked_on_by(run).await {
        Ok(None) => Ok(()),
        Ok(Some(lease)) => Err(Kept::Busy(Box::new(lease))),
        Err(_) if force => Ok(()),
        Err(error) => Err(Kept::of(error)),
    }
}

/// Deletes a run, unless somebody works on it: then it says why not. Its records go last: when something fails before, the run
/// is still listed and can be deleted again.
pub(super) async fn delete(orchestrator: &Orchestrator, run: &RunId, force: bool) -> Result<Option<Kept>, Failure> {
    match orchestrator.claim(run).await.map_err(Kept::of) {
        Ok(()) => {}
        Err(Kept::Unknown(_)) if force => {}
        Err(kept) => return Ok(Some(kept)),
    }
    orchestrator.forget_values(run).await.map_err(Failure::from)?;
    // A memory that is damaged keeps no run alive.
    if let Err(fault) = orchestrator.forget_recalled(run).await {
        terminal::tell(&format!("what the retrieval memory kept of {run} is still there: {}", fault.message));
    }
    delete_directory(orchestrator, run, force).await?;
    match orchestrator.runs().delete(run).await {
        // Somebody else was faster.
        Ok(()) | Err(JournalError::NotFound(_)) => Ok(None),
        Err(error) => Err(refused(&error)),
    }
}

/// Deletes the directory of a run, if there is one; patches of its steps are kept elsewhere.
pub(super) async fn delete_directory(orchestrator: &Orchestrator, run: &RunId, force: bool) -> Result<(), Failure> {
    match orchestrator.discard_directories(run, force).await {
        Ok(None) => Ok(()),
        Ok(Some(patches)) => {
            terminal::tell(&format!("kept the patches of {run}: {}", terminal::name(&patches)));
            Ok(())
        }
        Err(fault) => {
            let failure = Failure::failed(fault.message);
            Err(match fault.hint {
                Some(hint) => failure.with_hint(hint),
                None => failure,
            })
        }
    }
}
