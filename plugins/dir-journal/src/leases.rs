//! Leases: one file for each change, so that of two who ask at once one fails and looks again.

use crate::disk::{Disk, number};
use crate::folder_name;
use cofferdam_sdk::storage::{LeaseRequest, LeaseState, decide_lease};
use cofferdam_sdk::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How often somebody else may be faster.
const TRIES: usize = 100;

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
        let numbers: Vec<u64> = disk.names(&folder)?.iter().filter_map(|name| name.parse().ok()).collect();
        let last = numbers.last().copied();
        let present = match last {
            None => None,
            Some(last) => match disk.read(&folder.join(number(last)))? {
                Some(bytes) => Some(state(&bytes)?),
                // It was replaced meanwhile.
                None => continue,
            },
        };
        let granted = decide_lease(present, request)?;
        if last.is_none() {
            disk.make(&folder)?;
        }
        let kept = Kept { owner: granted.owner.clone(), epoch: granted.epoch, until: granted.until_ms };
        let next = last.unwrap_or(0).saturating_add(1);
        if disk.create(&folder.join(number(next)), serde_json::to_string(&kept)?.as_bytes())? {
            for old in numbers {
                disk.remove_file(&folder.join(number(old)));
            }
            return Ok(granted);
        }
    }
    Err(Error::unavailable("too many ask for the lease at once"))
}

fn state(bytes: &[u8]) -> Result<LeaseState> {
    let kept: Kept = serde_json::from_slice(bytes)?;
    Ok(LeaseState { owner: kept.owner, epoch: kept.epoch, until_ms: kept.until })
}
