//! Leases: one file for each change, so that of two who ask at once one fails and looks again.
//!
//! The last changes stay for a while: somebody who looked long ago must not find the name free that was taken meanwhile.

use crate::disk::{Disk, number};
use crate::folder_name;
use cofferdam_sdk::storage::{LeaseRequest, LeaseState, decide_lease};
use cofferdam_sdk::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How often somebody else may be faster.
const TRIES: usize = 100;
/// How many changes stay.
const KEPT: usize = 16;

#[derive(Serialize, Deserialize)]
struct Kept {
    owner: String,
    epoch: u64,
    until: u64,
}

/// Takes or renews a lease.
pub(crate) fn decide(disk: &Disk, request: &LeaseRequest) -> Result<LeaseState> {
    let folder: PathBuf = Path::new("leases").join(folder_name(&request.run)?);
    for _ in 0..TRIES {
        let numbers = changes(disk, &folder)?;
        if let Some(granted) = try_once(disk, &folder, request, &numbers)? {
            return Ok(granted);
        }
    }
    Err(Error::unavailable("too many ask for the lease at once"))
}

/// The changes that are there, in order.
fn changes(disk: &Disk, folder: &Path) -> Result<Vec<u64>> {
    Ok(disk.names(folder)?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Takes or renews a lease behind the changes that were seen; none when somebody else was faster.
fn try_once(disk: &Disk, folder: &Path, request: &LeaseRequest, seen: &[u64]) -> Result<Option<LeaseState>> {
    let present = match seen.last() {
        None => None,
        Some(last) => match disk.read(&folder.join(number(*last)))? {
            Some(bytes) => Some(state(&bytes)?),
            // It was replaced meanwhile.
            None => return Ok(None),
        },
    };
    let granted = decide_lease(present, request)?;
    if seen.is_empty() {
        disk.make(folder)?;
    }
    let kept = Kept { owner: granted.owner.clone(), epoch: granted.epoch, until: granted.until_ms };
    let next = seen.last().copied().unwrap_or(0).saturating_add(1);
    let path = folder.join(number(next));
    if !disk.create(&path, serde_json::to_string(&kept)?.as_bytes())? {
        return Ok(None);
    }
    if changes(disk, folder)?.last().is_some_and(|last| *last > next) {
        // Others came and went since we looked, so many that the name was free again.
        disk.remove_file(&path);
        return Ok(None);
    }
    for old in seen.iter().rev().skip(KEPT) {
        disk.remove_file(&folder.join(number(*old)));
    }
    Ok(Some(granted))
}

fn state(bytes: &[u8]) -> Result<LeaseState> {
    let kept: Kept = serde_json::from_slice(bytes)?;
    Ok(LeaseState { owner: kept.owner, epoch: kept.epoch, until_ms: kept.until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(owner: &str, now: u64) -> LeaseRequest {
        let owner = format!("\"{owner}\"");
        LeaseRequest { run: "r".into(), owner, epoch: 0, now_ms: now, until_ms: now + 10, owner_is_gone: false }
    }

    #[test]
    fn somebody_who_looked_long_ago_gets_nothing() {
        for changes_between in [1, 5, 100] {
            let root = tempfile::tempdir().unwrap();
            let disk = Disk::new(root.path());
            let folder = Path::new("leases/r");
            decide(&disk, &ask("first", 0)).unwrap();
            let seen = changes(&disk, folder).unwrap();
            for change in 1..=changes_between {
                decide(&disk, &ask("other", change * 20)).unwrap();
            }
            let late = try_once(&disk, folder, &ask("late", changes_between * 20 + 1), &seen).unwrap();
            assert_eq!(late, None, "{changes_between}");
            let last = state(&disk.read(&folder.join(number(changes_between + 1))).unwrap().unwrap()).unwrap();
            assert_eq!(last.owner, "\"other\"");
            assert!(changes(&disk, folder).unwrap().len() <= KEPT + 1);
        }
    }

    #[test]
    fn of_many_who_ask_at_once_one_gets_it() {
        let root = tempfile::tempdir().unwrap();
        let granted: usize = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|number| {
                    let path = root.path();
                    scope.spawn(move || decide(&Disk::new(path), &ask(&format!("{number}"), 0)).is_ok())
                })
                .collect();
            asking.into_iter().map(|asked| usize::from(asked.join().unwrap())).sum()
        });
        assert_eq!(granted, 1);
    }
}
