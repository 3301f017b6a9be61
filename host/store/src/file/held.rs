//! The file of one run, as whoever writes to it has it: open, its end known, and locked during each change.
//!
//! The end that is known holds only as long as the file has the length that it had: another process may have
//! written. It must not decide when a change has to be on the disk.

use super::blob;
use super::fault::refused;
use super::lock::{self, Kind, Locked};
use super::places::Places;
use super::prepared::Prepared;
use super::tail::{self, End};
use crate::directory;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{Durability, JournalError};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

/// How often a file may be gone from under its name before that is no coincidence.
const TRIES: u32 = 100;

pub(super) struct Held {
    run: RunId,
    path: PathBuf,
    file: Arc<File>,
    /// The end, as long as the file has this length.
    known: Option<(u64, End)>,
    /// Whether the names of the file and of the blobs that it mentions are on the disk.
    is_settled: bool,
}

/// Whether to make a file that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

impl Held {
    /// Opens and locks the file of a run, unless it is missing and to be left so. `open` is what was kept of it.
    pub(super) fn take(
        places: &Places,
        run: &RunId,
        mut open: Option<Self>,
        missing: Missing,
    ) -> Result<Option<(Self, Locked)>, JournalError> {
        let path = places.run(run);
        let fault = |error: io::Error| refused(&path, &error);
        for _ in 0..TRIES {
            let held = match open.take() {
                Some(held) => held,
                None => match Self::open(places, run, missing).map_err(fault)? {
                    Some(held) => held,
                    None => return Ok(None),
                },
            };
            let locked = lock::take(&held.file, Kind::Alone).map_err(fault)?;
            // Whoever deletes a run removes the name first and then lets go of the lock.
            if held.is_at_its_path().map_err(fault)? {
                return Ok(Some((held, locked)));
            }
        }
        Err(JournalError::Unavailable(format!("`{}` is another file again and again", path.display())))
    }

    fn open(places: &Places, run: &RunId, missing: Missing) -> io::Result<Option<Self>> {
        if missing == Missing::Make {
            directory::make(places.root())?;
        }
        let path = places.run(run);
        let is_made = missing == Missing::Make;
        let opened = File::options().read(true).write(true).create(is_made).truncate(false).mode(0o600).open(&path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => Arc::new(opened?),
        };
        Ok(Some(Self { run: run.clone(), path, file, known: None, is_settled: false }))
    }

    fn is_at_its_path(&self) -> io::Result<bool> {
        let place = |about: Metadata| (about.dev(), about.ino());
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            there => Ok(place(there?) == place(self.file.metadata()?)),
        }
    }

    /// Where the next append begins.
    pub(super) fn end(&mut self) -> Result<End, JournalError> {
        let length = self.file.metadata().map_err(|error| refused(&self.path, &error))?.len();
        if let Some((known, end)) = &self.known
            && *known == length
        {
            return Ok(end.clone());
        }
        self.known = None;
        let end = tail::find(&self.run, &self.path, &self.file)?;
        self.known = Some((length, end.clone()));
        Ok(end)
    }

    /// Writes an append and gives the new head. What fails has changed nothing, or what it changed counts as torn.
    pub(super) fn append(&mut self, places: &Places, prepared: &Prepared) -> Result<u64, JournalError> {
        let end = self.end()?;
        if end.head != prepared.expected_head {
            return Err(JournalError::Conflict { expected: prepared.expected_head, found: end.head });
        }
        if prepared.is_empty() {
            return Ok(end.head);
        }
        let (lines, next) = prepared.lines(&end)?;
        if blob::hold(places, &self.run, &prepared.mentions)? {
            self.is_settled = false;
        }
        let length = self.known.take().map(|(length, _)| length);
        if length != Some(end.bytes) {
            self.file.set_len(end.bytes).map_err(|error| refused(&self.path, &error))?;
        }
        if let Err(error) = self.file.write_all_at(lines.as_bytes(), end.bytes) {
            self.go_back(&end);
            return Err(refused(&self.path, &error));
        }
        self.known = Some((next.bytes, next.clone()));
        blob::let_go(places, &prepared.mentions);
        Ok(next.head)
    }

    /// Takes away what stands behind an end; if that fails too, it counts as torn or as done.
    pub(super) fn go_back(&mut self, end: &End) {
        self.known = None;
        if let Err(error) = self.file.set_len(end.bytes) {
            tracing::warn!(%error, path = %self.path.display(), "a failed append cannot be taken back");
        }
    }

    /// Makes sure that all that was written is on the disk.
    pub(super) fn flush(&mut self, places: &Places) -> Result<(), JournalError> {
        let fault = |error: io::Error| refused(&self.path, &error);
        if !self.is_settled {
            blob::flush_names(places)?;
            directory::flush(places.root()).map_err(fault)?;
            if let Some(above) = places.root().parent().filter(|above| !above.as_os_str().is_empty()) {
                directory::flush(above).map_err(fault)?;
            }
        }
        self.file.sync_data().map_err(fault)?;
        self.is_settled = true;
        Ok(())
    }

    /// Writes appends that waited together and flushes them together. Each has an outcome of its own.
    pub(super) fn append_all(&mut self, places: &Places, group: &[&Prepared]) -> Vec<Result<u64, JournalError>> {
        let before = self.end();
        let mut outcomes: Vec<_> = group.iter().map(|prepared| self.append(places, prepared)).collect();
        let is_durable = |prepared: &&Prepared| prepared.durability == Durability::Durable && !prepared.is_empty();
        let has_durable =
            group.iter().zip(&outcomes).any(|(prepared, outcome)| outcome.is_ok() && is_durable(prepared));
        let flushed = if has_durable { self.flush(places) } else { Ok(()) };
        if let (Ok(before), Err(error)) = (before, flushed) {
            // What the disk refused may be lost although a later flush succeeds.
            self.go_back(&before);
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                *outcome = Err(error.clone());
            }
        }
        outcomes
    }

    /// Removes the run with the blobs that only it has; the file goes last, so that whoever dies in between can do
    /// it again.
    pub(super) fn delete(mut self, places: &Places) -> Result<(), JournalError> {
        match self.end() {
            Ok(end) if end.head == 0 => return Err(JournalError::NotFound(self.run.to_string())),
            // A run that cannot be read can be deleted.
            Ok(_) | Err(JournalError::Damaged { .. } | JournalError::TooNew { .. }) => {}
            Err(error) => return Err(error),
        }
        blob::release(places, &self.run)?;
        let fault = |error: io::Error| refused(&self.path, &error);
        super::leases::remove(places, &self.run)?;
        fs::remove_file(&self.path).map_err(fault)?;
        directory::flush(places.root()).map_err(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{all, durable, request, run};
    use super::*;
    use std::path::Path;

    fn prepared(head: u64, text: &str) -> Prepared {
        Prepared::new(durable(request(&run(), head, &[text]))).unwrap()
    }

    fn held(path: &Path, file: File) -> Held {
        Held { run: run(), path: path.to_owned(), file: Arc::new(file), known: None, is_settled: true }
    }

    #[tokio::test]
    async fn an_append_that_failed_does_not_make_the_next_one_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path().to_owned());
        let (mut sound, _locked) = Held::take(&places, &run(), None, Missing::Make).unwrap().unwrap();
        assert_eq!(sound.append_all(&places, &[&prepared(0, "one")]), [Ok(1)]);
        // The disk takes nothing.
        let mut refused = held(&places.run(&run()), File::open(places.run(&run())).unwrap());
        let (two, wrong) = (prepared(1, "two"), prepared(9, "wrong"));
        let outcomes = refused.append_all(&places, &[&two, &wrong, &two]);
        assert!(matches!(outcomes[..], [Err(JournalError::Unavailable(_)), _, Err(JournalError::Unavailable(_))]));
        assert_eq!(outcomes[1], Err(JournalError::Conflict { expected: 9, found: 1 }));
        assert_eq!(
            sound.append_all(&places, &[&wrong, &two, &two]).iter().filter(|outcome| outcome.is_ok()).count(),
            1
        );
        assert_eq!(all(folder.path()).await.unwrap().head, 2);
        // The disk took it, and could not keep it.
        let end = sound.end().unwrap();
        assert_eq!(sound.append(&places, &prepared(2, "three")), Ok(3));
        sound.go_back(&end);
        assert_eq!(sound.append(&places, &prepared(2, "three again")), Ok(3));
        assert_eq!(all(folder.path()).await.unwrap().head, 3);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_called_that() {
        let path = Path::new("/dev/full");
        let places = Places::new(PathBuf::from("/nowhere"));
        let mut full = held(path, File::options().read(true).write(true).open(path).unwrap());
        full.known = Some((0, End::default()));
        let outcomes = full.append_all(&places, &[&prepared(0, "one")]);
        assert!(matches!(outcomes[..], [Err(JournalError::Full(_))]), "{outcomes:?}");
    }
}
