//! Turns at a file, by a second file that only one can create.
//!
//! A sandbox has no locks of the system, so a lock that a crash left behind is told by its age: nobody holds one for longer
//! than it takes to write a batch.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Older locks were left behind.
const OLD: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// A turn; it ends when this is dropped.
pub(crate) struct Lock {
    path: PathBuf,
}

impl Lock {
    /// Waits for a turn; none when it did not come in time.
    pub(crate) fn take(path: &Path, patience: Duration) -> io::Result<Option<Self>> {
        let begun = Instant::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(_) => return Ok(Some(Self { path: path.to_owned() })),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if is_old(path) {
                clear(path);
            } else if begun.elapsed() >= patience {
                return Ok(None);
            } else {
                thread::sleep(PAUSE);
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays is old soon.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_old(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|about| about.modified()).ok().and_then(|made| made.elapsed().ok());
    age.is_some_and(|age| age > OLD)
}

/// Takes an old lock away. Of several who do that at once one moves it; who moved a young one instead puts it back.
fn clear(path: &Path) {
    let mut away = path.to_owned().into_os_string();
    away.push(".old");
    let away = PathBuf::from(away);
    if fs::rename(path, &away).is_ok() && !is_old(&away) {
        let _ = fs::hard_link(&away, path);
    }
    let _ = fs::remove_file(&away);
}

/// Makes a lock an old one.
#[cfg(test)]
pub(crate) fn age(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
}
