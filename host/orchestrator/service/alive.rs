//! Whether the process that once took something on is still there: it holds a lock on a file of its own as long as it
//! lives, and the system lets go of the lock when it dies, however it dies.
//!
//! It must not know what was taken on.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The ending of a file that is not locked yet.
const NEW: &str = "new";

/// The mark of this orchestrator.
pub(super) struct Alive {
    id: String,
    /// None where nothing outlives the process: then nobody else can have taken anything on.
    folder: Option<PathBuf>,
    file: Mutex<Option<File>>,
}

impl Alive {
    /// A mark below the directory of a project's records. Nothing is made yet.
    pub(super) fn new(project: Option<&Path>) -> Self {
        let folder = project.map(|project| project.join("alive"));
        Self { id: uuid::Uuid::now_v7().to_string(), folder, file: Mutex::default() }
    }

    /// Who this is.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Makes the mark, once; what dead ones left is removed.
    pub(super) fn mark(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(folder) = self.folder.as_ref().filter(|_| file.is_none()) else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        sweep(folder);
        let (path, new) = (folder.join(&self.id), folder.join(format!("{}.{NEW}", self.id)));
        let made = File::create(&new)?;
        made.lock()?;
        // Under its name it was never without the lock.
        fs::rename(&new, path)?;
        *file = Some(made);
        Ok(())
    }

    /// Whether the orchestrator with this mark lives. What cannot be found out counts as yes.
    pub(super) fn lives(&self, id: &str) -> bool {
        let Some(folder) = &self.folder else { return id == self.id };
        let is_name = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        id == self.id || (is_name && is_held(&folder.join(id)))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let made = self.file.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(folder), Some(_)) = (&self.folder, made) {
            let _ = fs::remove_file(folder.join(&self.id));
        }
    }
}

fn is_held(path: &Path) -> bool {
    match File::open(path) {
        // Shared, so that two who look do not take each other for its owner.
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => true,
        },
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Removes the marks of the dead. What stays is only in the way of a listing.
fn sweep(folder: &Path) {
    let marks = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in marks.filter(|path| path.extension().is_none_or(|ending| ending != NEW)) {
        if !is_held(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_lives_as_long_as_whoever_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Alive::new(Some(folder.path())), Alive::new(Some(folder.path())));
        assert!(!other.lives(one.id()), "it made no mark yet");
        one.mark().unwrap();
        one.mark().unwrap();
        other.mark().unwrap();
        assert!(other.lives(one.id()) && one.lives(other.id()) && one.lives(one.id()));
        let id = one.id().to_owned();
        drop(one);
        assert!(!other.lives(&id) && !other.lives("../x") && !other.lives(""));
        // One that died without a word leaves its file.
        fs::write(folder.path().join("alive").join(&id), "").unwrap();
        assert!(!other.lives(&id));
        Alive::new(Some(folder.path())).mark().unwrap();
        assert!(!folder.path().join("alive").join(&id).exists());
    }
}
