//! Which runs are really under way: a run that is recorded as running, and that nobody works on, was interrupted.
//!
//! It must not store that: whoever goes on with the run makes it running again.

use super::{find_row, page};
use crate::failure::Failure;
use crate::ui::paint;
use cofferdam::Orchestrator;
use cofferdam::core::id::RunId;
use cofferdam::core::port::{RunFilter, RunPage, RunRow};
use std::collections::HashMap;

/// The status that a record says of a run that has not ended.
pub(super) const RUNNING: &str = "running";

/// What is shown instead when nobody works on it.
pub(super) const INTERRUPTED: &str = "interrupted";

/// Runs as they stand, the latest first, at most `limit`; 0 means all.
pub(super) async fn rows(
    orchestrator: &Orchestrator,
    mut filter: RunFilter,
    limit: usize,
) -> Result<Vec<RunRow>, Failure> {
    let journal = orchestrator.runs();
    let wanted = filter.statuses.clone();
    let stored = |status: &String| if status == INTERRUPTED { RUNNING.to_owned() } else { status.clone() };
    filter.statuses = wanted.iter().map(stored).collect();
    let mut rows = Vec::new();
    loop {
        let RunPage { rows: found, next } = page(&*journal, &filter, limit.saturating_sub(rows.len())).await?;
        for row in standing(orchestrator, found).await? {
            if wanted.is_empty() || wanted.contains(&row.index.status) {
                rows.push(row);
            }
        }
        match next {
            Some(next) if limit == 0 || rows.len() < limit => filter.cursor = Some(next),
            _ => return Ok(rows),
        }
    }
}

/// Rows with the statuses that the runs have. What ended between the look at its row and that at who works on it is looked up
/// again, all at once.
async fn standing(orchestrator: &Orchestrator, mut found: Vec<RunRow>) -> Result<Vec<RunRow>, Failure> {
    let mut idle = Vec::new();
    for (place, row) in found.iter().enumerate() {
        if row.index.status == RUNNING && is_interrupted(orchestrator, &row.run_id).await {
            idle.push(place);
        }
    }
    if idle.is_empty() {
        return Ok(found);
    }
    let now = super::rows(&*orchestrator.runs(), RunFilter::default(), 0).await?;
    let now: HashMap<RunId, RunRow> = now.into_iter().map(|row| (row.run_id.clone(), row)).collect();
    for place in idle {
        if let Some(row) = found.get_mut(place) {
            let now = now.get(&row.run_id).cloned();
            interrupt(row, now);
        }
    }
    Ok(found)
}

/// Gives the row of a run that nobody works on the status that it has: it may have ended since the row was read.
fn interrupt(row: &mut RunRow, now: Option<RunRow>) {
    if let Some(now) = now {
        *row = now;
    }
    if row.index.status == RUNNING {
        INTERRUPTED.clone_into(&mut row.index.status);
    }
}

/// Gives a row the status that the run has.
pub(super) async fn stand(orchestrator: &Orchestrator, row: &mut RunRow) {
    if row.index.status == RUNNING && is_interrupted(orchestrator, &row.run_id).await {
        interrupt(row, find_row(&*orchestrator.runs(), row.run_id.as_str()).await.ok());
    }
}

/// Whether nobody works on a run that has not ended. Where that cannot be told, somebody may.
pub(super) async fn is_interrupted(orchestrator: &Orchestrator, run: &RunId) -> bool {
    match orchestrator.worked_on_by(run).await {
        Ok(holder) => holder.is_none(),
        Err(error) => {
            tracing::warn!(%error, "nobody knows who works on the run");
            false
        }
    }
}

/// What to do with a run that was interrupted.
pub(super) fn how_to_go_on(run: &RunId) -> String {
    format!("`cofferdam resume {run}` goes on with it")
}

/// The line below a listing, when some of its runs were interrupted.
pub(super) fn hint(rows: &[RunRow]) -> Option<String> {
    let interrupted: Vec<&RunRow> = rows.iter().filter(|row| row.index.status == INTERRUPTED).collect();
    let line = match interrupted.as_slice() {
        [] => return None,
        [one] => format!("1 run was interrupted; {}", how_to_go_on(&one.run_id)),
        [latest, ..] => {
            format!("{} runs were interrupted; {}, the latest", interrupted.len(), how_to_go_on(&latest.run_id))
        }
    };
    Some(paint::quiet(&line))
}
