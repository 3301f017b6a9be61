//! The runs of a directory: their heads, records and rows.

use crate::commit::{Kept, KeptRecord, decode};
use crate::disk::{Disk, number};
use crate::{blob_path, run_folder, run_of, wanted};
use cofferdam_sdk::storage::{RecordPage, RunFilter, RunIndex, RunPage, RunRow, damaged};
use cofferdam_sdk::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The status of a run that cannot be read.
const DAMAGED: &str = "damaged";

/// A page ends with the commit that fills it, so that it can be handed over whole.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The commit that begins at a position; none when there is none.
pub(crate) fn at(disk: &Disk, folder: &Path, position: u64) -> Result<Option<Kept>> {
    let Some(bytes) = disk.read(&folder.join(number(position)))? else { return Ok(None) };
    let run = folder.file_name().and_then(|name| run_of(&name.to_string_lossy())).unwrap_or_default();
    let broken = || damaged(&run, position, "its text is not what was written");
    let kept = decode(&bytes).ok_or_else(broken)?;
    let dense = kept.records.iter().map(|record| record.position).eq((position..=u64::MAX).take(kept.records.len()));
    if kept.records.is_empty() || !dense { Err(broken()) } else { Ok(Some(kept)) }
}

/// Where the commits of a run begin, in order.
fn begins(disk: &Disk, folder: &Path) -> Result<Vec<u64>> {
    Ok(disk.names(folder)?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The head of a run; 0 when there is none.
pub(crate) fn head(disk: &Disk, folder: &Path) -> Result<u64> {
    let Some(last) = begins(disk, folder)?.pop() else { return Ok(0) };
    Ok(at(disk, folder, last)?.and_then(|kept| kept.records.last().map(|record| record.position)).unwrap_or(0))
}

fn missing(run: &str) -> Error {
    Error::not_found(format!("there is no run `{run}`"))
}

/// Records after a position.
pub(crate) fn read(disk: &Disk, run: &str, after: u64, limit: u32) -> Result<RecordPage> {
    let folder = run_folder(run)?;
    let head = head(disk, &folder)?;
    if head == 0 {
        return Err(missing(run));
    }
    let first = after.saturating_add(1);
    let mut records = Vec::new();
    if limit == 0 || first > head {
        return Ok(RecordPage { records, head });
    }
    let begins = begins(disk, &folder)?;
    let mut wanted = begins.iter().rev().find(|&&begin| begin <= first).copied();
    if wanted.is_none() {
        return Err(damaged(run, first, "it is missing"));
    }
    let mut bytes = 0;
    while let Some(begin) = wanted {
        let kept = at(disk, &folder, begin)?.ok_or_else(|| damaged(run, begin, "it is missing"))?;
        let next = begin.saturating_add(kept.records.len() as u64);
        let more = kept.records.into_iter().filter(|record| record.position >= first).map(KeptRecord::into_record);
        records.extend(more.inspect(|record| bytes += record.body.len()));
        if records.len() >= limit as usize || bytes >= PAGE_BYTES {
            break;
        }
        wanted = (next <= head).then_some(next);
    }
    if records.is_empty() {
        return Err(damaged(run, first, "it is missing"));
    }
    records.truncate(limit as usize);
    Ok(RecordPage { records, head })
}

/// The row of a run; none when it has no record, or none that brought a row.
fn row(disk: &Disk, folder: &Path, run: String) -> Result<Option<RunRow>> {
    let mut begins = begins(disk, folder)?;
    let Some(last) = begins.pop().map(|begin| at(disk, folder, begin)).transpose()?.flatten() else { return Ok(None) };
    let Some((head, updated_at_ms)) = last.records.last().map(|record| (record.position, record.at)) else {
        return Ok(None);
    };
    let mut index = last.index;
    while let (None, Some(begin)) = (&index, begins.pop()) {
        index = at(disk, folder, begin)?.and_then(|kept| kept.index);
    }
    let index = index.map(crate::commit::KeptIndex::into_index);
    Ok(index.map(|index| RunRow { run, head, updated_at_ms, index }))
}

/// The row of a run that cannot be read; it comes last.
fn damaged_row(run: String) -> RunRow {
    let index = RunIndex { status: DAMAGED.to_owned(), ..RunIndex::default() };
    RunRow { run, head: 0, updated_at_ms: 0, index }
}

/// The folders of runs; what else lies there is none of ours.
fn all(disk: &Disk) -> Result<Vec<(PathBuf, String)>> {
    let names = disk.names(Path::new("runs"))?;
    let runs = names.iter().filter_map(|name| Some((Path::new("runs").join(name), run_of(name)?)));
    let is_own = |folder: &Path, run: &str| run_folder(run).is_ok_and(|own| own == folder) && !disk.is_stray(folder);
    Ok(runs.filter(|(folder, run)| is_own(folder, run)).collect())
}

/// A page of runs, the one that was written to last first.
pub(crate) fn list(disk: &Disk, filter: &RunFilter, cursor: Option<&str>, limit: u32) -> Result<RunPage> {
    let mut rows = Vec::new();
    for (folder, run) in all(disk)? {
        // One run that cannot be read keeps nobody from the others.
        let row = row(disk, &folder, run.clone()).unwrap_or_else(|_| Some(damaged_row(run)));
        rows.extend(row.filter(|row| filter.admits(&row.index)));
    }
    rows.sort_by(|one, other| key(other).cmp(&key(one)));
    if let Some(cursor) = cursor {
        let (at, run) = cursor.split_once(' ').ok_or_else(|| Error::invalid_input("that is no cursor"))?;
        let at: u64 = at.parse().map_err(|_| Error::invalid_input("that is no cursor"))?;
        rows.retain(|row| key(row) < (at, run));
    }
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| format!("{} {}", row.updated_at_ms, row.run));
    Ok(RunPage { rows, next })
}

fn key(row: &RunRow) -> (u64, &str) {
    (row.updated_at_ms, &row.run)
}

/// Deletes a run, and the blobs that only it names.
pub(crate) fn delete(disk: &Disk, run: &str) -> Result<()> {
    let folder = run_folder(run)?;
    let mut blobs = mentioned(disk, &folder, None)?;
    if begins(disk, &folder)?.is_empty() {
        return Err(missing(run));
    }
    for (other, _) in all(disk)?.into_iter().filter(|(other, _)| *other != folder) {
        if blobs.is_empty() {
            break;
        }
        for kept in mentioned(disk, &other, Some(&blobs))? {
            blobs.remove(&kept);
        }
    }
    // The run itself goes last: whoever crashes in between finds it again, and deletes the rest with it.
    let wanted = wanted::all(disk)?;
    for blob in blobs.difference(&wanted) {
        disk.remove_file(&blob_path(blob)?);
    }
    let leases = Path::new("leases").join(crate::folder_name(run)?);
    if disk.exists(&leases) {
        disk.remove_folder(&leases)?;
    }
    disk.remove_folder(&folder)?;
    Ok(())
}

/// The blobs that a run names; only those among `wanted`, when that is given.
fn mentioned(disk: &Disk, folder: &Path, wanted: Option<&BTreeSet<String>>) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for begin in begins(disk, folder)? {
        // A damaged commit keeps nobody from deleting its run.
        let Ok(Some(kept)) = at(disk, folder, begin) else { continue };
        for record in kept.records {
            let body = record.into_record().body;
            for id in ids(&body) {
                let is_wanted = wanted.is_none_or(|wanted| wanted.contains(&id));
                if is_wanted && blob_path(&id).is_ok_and(|path| disk.exists(&path)) {
                    found.insert(id);
                }
            }
        }
    }
    Ok(found)
}

/// Everything in a text that could be the id of a blob: 64 digits of lower hex, and no more.
pub(crate) fn ids(body: &[u8]) -> impl Iterator<Item = String> + '_ {
    let words = body.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| word.len() == 64);
    words.filter_map(|word| String::from_utf8(word.to_vec()).ok())
}
