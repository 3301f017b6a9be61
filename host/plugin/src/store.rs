//! Components that were fetched, kept by what they are: each file is named by the digest of its bytes.
//!
//! Whoever can write into the directory cannot change a plugin: the bytes are hashed each time they are read. Unlike the
//! cache, an entry that is damaged is an error, since nothing here can make it again. It must not fetch.

use crate::artifact::{Artifact, Digest, ReadError};
use crate::cache::{private_directory, private_file};
use cofferdam_core::limits;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a file that is being written may lie there.
const ABANDONED: Duration = Duration::from_secs(limits::PLUGIN_LEFTOVER_S);

/// A directory of components. Nothing is opened or made before it is used.
#[derive(Clone, Debug)]
pub struct ComponentStore {
    directory: PathBuf,
}

/// Why a component could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It was never fetched, or was removed.
    #[error("the component {0} is not on this machine")]
    Absent(Digest),
    /// Its file holds other bytes.
    #[error("the fetched component {expected} was changed: its digest is {found} now")]
    Changed {
        /// The digest that its name says.
        expected: Digest,
        /// The digest of its bytes.
        found: Digest,
    },
    /// Its file cannot be read.
    #[error("the fetched component {digest} cannot be read: {cause}")]
    Unreadable {
        /// The digest that its name says.
        digest: Digest,
        /// Why.
        #[source]
        cause: ReadError,
    },
}

impl ComponentStore {
    /// The store in this directory, which is made by the first [`Self::put`].
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Keeps a component, and gives its digest. A damaged file of that name is replaced.
    ///
    /// # Errors
    /// When the directory belongs to somebody else or cannot be made, or the file cannot be written.
    pub fn put(&self, component: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(component);
        private_directory(&self.directory)?;
        if self.load(digest).is_ok() {
            return Ok(digest);
        }
        self.sweep();
        let path = self.path(digest);
        let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
        let written =
            private_file(&temporary).and_then(|mut file| file.write_all(component).and_then(|()| file.sync_all()));
        // Renaming shows either nothing or the whole component to other processes.
        let done = written.and_then(|()| fs::rename(&temporary, &path));
        if done.is_err() {
            drop(fs::remove_file(&temporary));
        }
        done.map(|()| digest)
    }

    /// Removes what programs left that were killed while they wrote: nobody writes for so long.
    fn sweep(&self) {
        let Ok(listing) = fs::read_dir(&self.directory) else { return };
        for entry in listing.flatten() {
            let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
            if entry.path().extension().is_some_and(|ext| ext == "tmp") && age.is_some_and(|age| age > ABANDONED) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }

    /// Whether a component is there, whole and unchanged.
    ///
    /// # Errors
    /// When it is there and is not what its name says.
    pub fn has(&self, digest: Digest) -> Result<bool, StoreError> {
        match self.load(digest) {
            Ok(_) => Ok(true),
            Err(StoreError::Absent(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn load(&self, digest: Digest) -> Result<Artifact, StoreError> {
        match Artifact::read(&self.path(digest)) {
            Ok(artifact) if artifact.digest == digest => Ok(artifact),
            Ok(artifact) => Err(StoreError::Changed { expected: digest, found: artifact.digest }),
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => Err(StoreError::Absent(digest)),
            Err(cause) => Err(StoreError::Unreadable { digest, cause }),
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(format!("{}.wasm", digest.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_a_killed_program_left_goes_in_the_end() {
        let folder = Scratch::new();
        let store = ComponentStore::new(folder.path().join("fetched"));
        store.put(b"one").unwrap();
        let (old, new) = (store.directory().join("old.tmp"), store.directory().join("new.tmp"));
        for path in [&old, &new] {
            fs::write(path, b"half").unwrap();
        }
        let file = fs::File::options().write(true).open(&old).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - 2 * ABANDONED).unwrap();
        store.put(b"two").unwrap();
        assert!(!old.exists() && new.exists());
    }

    #[test]
    fn a_changed_byte_is_an_error_until_it_is_fetched_again() {
        let folder = Scratch::new();
        let store = ComponentStore::new(folder.path().join("fetched"));
        let digest = Digest::of(b"component");
        assert!(!store.has(digest).unwrap());
        assert_eq!(store.put(b"component").unwrap(), digest);
        assert!(store.has(digest).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(store.directory()), mode(&store.path(digest))), (0o700, 0o600));
        fs::write(store.path(digest), b"componenT").unwrap();
        assert!(matches!(store.load(digest), Err(StoreError::Changed { .. })));
        assert!(store.has(digest).is_err());
        assert_eq!(store.put(b"component").unwrap(), digest);
        assert!(store.has(digest).unwrap());
        assert_eq!(fs::read_dir(store.directory()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_is_no_component() {
        let folder = Scratch::new();
        let store = ComponentStore::new(folder.path());
        let digest = Digest::of(b"component");
        fs::create_dir(store.path(digest)).unwrap();
        assert!(matches!(store.load(digest), Err(StoreError::Unreadable { .. })));
        assert!(store.put(b"component").is_err());
    }
}
