//! Whether a component is newer than all that it was made of. It must not read any of it.

use std::path::Path;
use std::time::SystemTime;

/// What is made, fetched or written by runs, and not by an author.
const LEFT_OUT: [&str; 6] = ["dist", "node_modules", ".venv", ".cofferdam", ".git", "__pycache__"];
/// More levels than folders of sources have; a link in a circle ends there.
const DEPTH: usize = 16;

/// Whether the component of a folder is newer than the folder's files.
pub(super) fn is_newer(component: &Path, dir: &Path) -> bool {
    let Some(made) = changed(component) else { return false };
    newest(dir, 0).is_some_and(|source| source < made)
}

/// The newest file, folders included: one that was taken away changes its folder. The folder itself does not count, since
/// what is left out lies in it.
fn newest(dir: &Path, depth: usize) -> Option<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    if depth > DEPTH {
        return None;
    }
    for entry in std::fs::read_dir(dir).ok()? {
        let entry = entry.ok()?;
        if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let path = entry.path();
        newest = newest.max(changed(&path)?);
        if path.is_dir() {
            newest = newest.max(self::newest(&path, depth + 1)?);
        }
    }
    Some(newest)
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
