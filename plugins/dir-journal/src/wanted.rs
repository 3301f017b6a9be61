//! Blobs that were stored and that no record names yet: no deletion of a run may take them.
//!
//! ```text
//! wanted/ab12....0   one file for each time that the blob was stored, until a commit names it
//! ```
//!
//! What a crash leaves there keeps a blob for longer than anybody needs it, and never for less.

use crate::disk::Disk;
use crate::runs::ids;
use cofferdam_sdk::Result;
use cofferdam_sdk::storage::Commit;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn place(id: &str, number: usize) -> PathBuf {
    Path::new("wanted").join(format!("{id}.{number}"))
}

fn id_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(id, _)| id)
}

/// Says that a record is about to name the blob.
pub(crate) fn announce(disk: &Disk, id: &str) -> Result<()> {
    let folder = Path::new("wanted");
    if !disk.exists(folder) {
        disk.make(folder)?;
    }
    let mut number = 0;
    while !disk.create(&place(id, number), &[])? {
        number += 1;
    }
    Ok(())
}

/// A commit has named what it names; each blob was stored once for it.
pub(crate) fn settle(disk: &Disk, commit: &Commit) {
    let Ok(waiting) = disk.names(Path::new("wanted")) else { return };
    if waiting.is_empty() {
        return;
    }
    let named: BTreeSet<String> = commit.records.iter().flat_map(|record| ids(&record.body)).collect();
    for id in named {
        if let Some(name) = waiting.iter().find(|name| id_of(name) == id) {
            disk.remove_file(&Path::new("wanted").join(name));
        }
    }
}

/// The blobs that are about to be named.
pub(crate) fn all(disk: &Disk) -> Result<BTreeSet<String>> {
    Ok(disk.names(Path::new("wanted"))?.iter().map(|name| id_of(name).to_owned()).collect())
}
