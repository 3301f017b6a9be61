//! Locks on files, which keep processes and threads apart; the system lets go of them when their holder dies.
//!
//! It must not know what is locked.

use cofferdam_core::limits;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait before asking again for a file that others hold.
const RETRY: Duration = Duration::from_millis(1);

/// Which others may hold the same lock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Others of this kind.
    Shared,
    /// Nobody.
    Alone,
}

/// A lock that is held until this is dropped.
pub(super) struct Locked(Arc<File>);

impl Drop for Locked {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "a file of the store stays locked until it is closed");
        }
    }
}

/// Takes the lock of an open file.
pub(super) fn take(file: &Arc<File>, kind: Kind) -> io::Result<Locked> {
    wait(file, kind)?;
    Ok(Locked(Arc::clone(file)))
}

/// Takes the lock that a file stands for; it is made when it is missing.
pub(super) fn take_at(path: &Path) -> io::Result<Locked> {
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    take(&Arc::new(file), Kind::Alone)
}

fn wait(file: &File, kind: Kind) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_millis(limits::STORE_BUSY_MS);
    loop {
        let taken = match kind {
            Kind::Shared => file.try_lock_shared(),
            Kind::Alone => file.try_lock(),
        };
        match taken {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(RETRY),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
