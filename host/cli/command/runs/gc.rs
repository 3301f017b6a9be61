//! `runs gc`: what is old goes: ended runs, and output directories whose runs are gone.
//!
//! It must not delete what may be under way: neither a run nor a directory that somebody wrote to lately.

use super::removal::{self, Kept};
use super::standing::{self, INTERRUPTED, RUNNING};
use super::{STATUSES, known, print_lines, rows};
use crate::args::GcArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local_time;
use crate::services::FILES;
use crate::session::Session;
use crate::terminal;
use cofferdam::core::id::RunId;
use cofferdam::core::port::{RunFilter, RunRow};
use cofferdam::core::time::Timestamp;
use cofferdam::sink::clean;
use cofferdam::store::File;
use cofferdam::{Journal, Orchestrator};
use serde_json::json;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Most runs that are named before the question.
const NAMED: usize = 20;

/// The status of a run that goes on with an answer.
const WAITING: &str = "waiting";

/// What is to be deleted.
struct Garbage {
    runs: Vec<RunRow>,
    directories: Vec<PathBuf>,
    /// Runs that stay.
    kept: usize,
    /// Those of them that would go if nobody worked on them.
    busy: Vec<(RunRow, Kept)>,
}

impl Garbage {
    /// Deletes the runs, up to one that cannot be deleted. Who began to work on one meanwhile keeps it.
    async fn delete_runs(&mut self, orchestrator: &Orchestrator) -> Result<(), Failure> {
        let (mut deleted, mut failed) = (Vec::new(), None);
        let told = self.busy.len();
        for row in std::mem::take(&mut self.runs) {
            if failed.is_some() {
                self.kept += 1;
                continue;
            }
            match removal::delete(orchestrator, &row.run_id, false).await {
                Ok(None) => deleted.push(row),
                Ok(Some(kept)) => {
                    self.kept += 1;
                    self.busy.push((row, kept));
                }
                Err(error) => {
                    self.kept += 1;
                    failed = Some(error);
                }
            }
        }
        self.runs = deleted;
        tell_busy(self.busy.get(told..).unwrap_or_default());
        failed.map_or(Ok(()), Err)
    }
}

fn tell_busy(busy: &[(RunRow, Kept)]) {
    for (row, kept) in busy.iter().take(NAMED) {
        terminal::tell(&format!("kept {}: {}", row.run_id, kept.why()));
    }
}

/// The runs that nobody works on, and the others. Those that have ended are looked at when they are deleted.
async fn idle(orchestrator: &Orchestrator, runs: Vec<RunRow>) -> (Vec<RunRow>, Vec<(RunRow, Kept)>) {
    let (mut free, mut busy) = (Vec::new(), Vec::new());
    for row in runs {
        let may_be_busy = row.index.status == RUNNING;
        match if may_be_busy { removal::look(orchestrator, &row.run_id, false).await } else { Ok(()) } {
            Ok(()) => free.push(row),
            Err(kept) => busy.push((row, kept)),
        }
    }
    (free, busy)
}

pub(super) async fn run(session: &Session, orchestrator: &Orchestrator, args: &GcArgs) -> anyhow::Result<Exit> {
    known(&args.status)?;
    let all = standing::rows(orchestrator, RunFilter::default(), 0).await?;
    let outputs = removal::outputs(session);
    let recorded = recorded(session, &all).await?;
    let (now, age) = (local_time::now(), args.older_than);
    let directories = orphans(&outputs, &recorded, |written| now.since(written) >= age && now >= written)?;
    let count = all.len();
    let (runs, busy) = idle(orchestrator, old_runs(all, args, now)).await;
    let mut garbage = Garbage { kept: count - runs.len(), runs, directories, busy };
    tell_busy(&garbage.busy);
    let is_nothing = garbage.runs.is_empty() && garbage.directories.is_empty();
    let asks = terminal::is_interactive() && !args.yes && !is_nothing;
    if args.dry_run || asks {
        name(&garbage);
    }
    if args.dry_run {
        print_json(&garbage, args, "would_delete")?;
        tell_counts(&garbage, "would be deleted");
        return Ok(Exit::Done);
    }
    if asks && !confirmed(&garbage)? {
        terminal::tell("nothing was deleted");
        return Ok(Exit::Done);
    }
    let mut failed = garbage.delete_runs(orchestrator).await;
    for directory in std::mem::take(&mut garbage.directories) {
        if failed.is_ok() {
            failed = delete_orphan(orchestrator, &directory).await;
            garbage.directories.extend(failed.is_ok().then_some(directory));
        }
    }
    // What went is told, whatever did not.
    print_json(&garbage, args, "deleted")?;
    tell_counts(&garbage, "deleted");
    failed?;
    Ok(Exit::Done)
}

/// Deletes what a run has left that is recorded nowhere.
async fn delete_orphan(orchestrator: &Orchestrator, directory: &Path) -> Result<(), Failure> {
    match directory.file_name().and_then(|name| RunId::parse(name.to_str()?).ok()) {
        Some(run) => removal::delete_directory(orchestrator, &run, false).await,
        None => Ok(()),
    }
}

/// Of the runs with such a status, all that are old but the latest; they come with the latest first.
fn old_runs(mut all: Vec<RunRow>, args: &GcArgs, now: Timestamp) -> Vec<RunRow> {
    let wanted = |status: &str| match args.status.as_slice() {
        [] => STATUSES.contains(&status) && ![RUNNING, INTERRUPTED, WAITING].contains(&status),
        named => named.iter().any(|named| named == status),
    };
    all.retain(|row| wanted(&row.index.status));
    let is_old = |row: &RunRow| now >= row.updated_at && now.since(row.updated_at) >= args.older_than;
    all.into_iter().skip(args.keep).filter(is_old).collect()
}

/// The runs of this store, and of the two of the project when that is another.
async fn recorded(session: &Session, rows_here: &[RunRow]) -> anyhow::Result<HashSet<RunId>> {
    let mut recorded: HashSet<RunId> = rows_here.iter().map(|row| row.run_id.clone()).collect();
    let own = session.orchestrator().build().map_err(Failure::from)?;
    let journal = own.runs();
    let of_project = rows(&*journal as &dyn Journal, RunFilter::default(), 0).await;
    own.close().await;
    recorded.extend(of_project?.into_iter().map(|row| row.run_id));
    let files = File::new(session.project.state().join(FILES));
    recorded.extend(rows(&files as &dyn Journal, RunFilter::default(), 0).await?.into_iter().map(|row| row.run_id));
    Ok(recorded)
}

/// Output directories of runs that are recorded nowhere, if they are old.
fn orphans(
    outputs: &Path,
    recorded: &HashSet<RunId>,
    is_old: impl Fn(Timestamp) -> bool,
) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: &std::io::Error| {
        Failure::failed(format!("the directory `{}` cannot be read: {error}", terminal::name(outputs)))
    };
    let entries = match std::fs::read_dir(outputs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mut found = Vec::new();
    // A store that knows no run may be one that was damaged: then nobody knows whose directories these are.
    if recorded.is_empty() {
        return Ok(found);
    }
    for entry in entries {
        let entry = entry.map_err(|error| failed(&error))?;
        // Whatever else somebody put there is not ours.
        let run = entry.file_name().to_str().and_then(|name| RunId::parse(name).ok());
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_orphan = run.is_some_and(|run| !recorded.contains(&run));
        if is_directory && is_orphan && last_written(&entry.path()).is_some_and(&is_old) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// When somebody wrote into a run's directory, or into what is directly in it. None when that cannot be told.
fn last_written(directory: &Path) -> Option<Timestamp> {
    let inner = std::fs::read_dir(directory).ok()?;
    let paths = inner.map(|entry| entry.map(|entry| entry.path()).ok());
    let mut latest = Timestamp::default();
    for path in paths.chain([Some(directory.to_owned())]) {
        let modified = path?.symlink_metadata().ok()?.modified().ok()?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        latest = latest.max(Timestamp::default().after(since));
    }
    Some(latest)
}

fn name(garbage: &Garbage) {
    for row in garbage.runs.iter().take(NAMED) {
        let (status, at) = (&row.index.status, local_time::date_and_time(row.updated_at));
        terminal::tell(&format!("{}  {}  {status}  {at}", row.run_id, clean(&row.index.workflow, 40)));
    }
    for directory in garbage.directories.iter().take(NAMED) {
        terminal::tell(&terminal::name(directory));
    }
    let hidden = garbage.runs.len().saturating_sub(NAMED) + garbage.directories.len().saturating_sub(NAMED);
    if hidden > 0 {
        terminal::tell(&format!("and {hidden} more"));
    }
}

fn confirmed(garbage: &Garbage) -> anyhow::Result<bool> {
    terminal::tell(&format!("delete {}? [y]es, [N]o:", counts(garbage)));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn counts(garbage: &Garbage) -> String {
    let number =
        |count: usize, one: &str, many: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {many}") };
    let runs = number(garbage.runs.len(), "run", "runs");
    match garbage.directories.len() {
        0 => runs,
        count => format!(
            "{runs} and {}",
            number(count, "directory of a run that is gone", "directories of runs that are gone")
        ),
    }
}

fn tell_counts(garbage: &Garbage, what: &str) {
    terminal::tell(&format!("{} {what}, {} kept", counts(garbage), garbage.kept));
}

fn print_json(garbage: &Garbage, args: &GcArgs, act: &str) -> anyhow::Result<()> {
    if !args.json {
        return Ok(());
    }
    let of_run = |row: &RunRow| json!({ act: row.run_id, "workflow": row.index.workflow, "status": row.index.status });
    let mut lines: Vec<_> = garbage.runs.iter().map(of_run).collect();
    lines.extend(garbage.directories.iter().map(|directory| json!({ act: directory.display().to_string() })));
    let kept = |(row, kept): &(RunRow, Kept)| json!({ "kept": row.run_id, "because": kept.why() });
    lines.extend(garbage.busy.iter().map(kept));
    lines.push(json!({ "runs": garbage.runs.len(), "directories": garbage.directories.len(), "kept": garbage.kept }));
    print_lines(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, RunsCommand};
    use clap::Parser as _;
    use cofferdam::core::port::RunIndex;

    fn args(flags: &[&str]) -> GcArgs {
        let cli = Cli::try_parse_from([&["cofferdam", "runs", "gc"], flags].concat()).unwrap();
        let Command::Runs(RunsCommand::Gc(args)) = cli.command else { panic!("another command") };
        args
    }

    /// Runs of so many hours of age, the latest first.
    fn rows(of: &[(&str, &str, i64)]) -> Vec<RunRow> {
        let row = |(id, status, hours): &(&str, &str, i64)| {
            let updated_at = Timestamp::from_millis((1_000 - hours) * 3_600_000);
            let index = RunIndex { workflow: "w".into(), status: (*status).into(), started_at: updated_at };
            RunRow { run_id: RunId::parse(id).unwrap(), head: 1, updated_at, index }
        };
        of.iter().map(row).collect()
    }

    fn old(flags: &[&str]) -> String {
        let all = rows(&[
            ("a", "completed", 1),
            ("b", "failed", 30),
            ("c", "running", 40),
            ("d", "waiting", 50),
            ("e", "completed", 60),
            ("f", "cancelled", 800),
        ]);
        let now = Timestamp::from_millis(1_000 * 3_600_000);
        let ids: Vec<String> = old_runs(all, &args(flags), now).iter().map(|row| row.run_id.to_string()).collect();
        ids.join("")
    }

    #[test]
    fn old_runs_that_have_ended_go() {
        for (flags, ids) in [
            (&[][..], "f"),
            (&["--older-than", "1d"], "bef"),
            (&["--older-than", "0s"], "abef"),
            (&["--older-than", "0s", "--keep", "2"], "ef"),
            (&["--older-than", "0s", "--keep", "9"], ""),
            (&["--older-than", "0s", "--status", "waiting", "--status", "failed"], "bd"),
            (&["--older-than", "0s", "--status", "running"], "c"),
        ] {
            assert_eq!(old(flags), ids, "{flags:?}");
        }
    }
}
