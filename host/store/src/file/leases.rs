//! The leases of runs, one file each, replaced as a whole under one lock.
//!
//! They need not outlive a power cut: their owners do not. It must not decide who gets one.

use super::fault::refused;
use super::lock;
use super::places::Places;
use crate::directory;
use crate::lease::decide;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{JournalError, Lease, LeaseRequest};
use std::fs;
use std::io::{self, ErrorKind, Write as _};

const LOCK: &str = "lock";
const NEW: &str = "new";

/// Takes or renews a lease.
pub(super) fn take(places: &Places, request: &LeaseRequest) -> Result<Lease, JournalError> {
    let folder = places.leases();
    let fault = |error: io::Error| refused(&folder, &error);
    directory::make(places.root()).and_then(|()| directory::make(&folder)).map_err(fault)?;
    let _lock = lock::take_at(&folder.join(LOCK)).map_err(fault)?;
    let lease = decide(present(places, &request.run)?, request)?;
    let text = serde_json::to_string(&lease).expect("a lease is text and numbers");
    replace(places, &request.run, &text).map_err(fault)?;
    Ok(lease)
}

/// Removes the lease of a run that is deleted.
pub(super) fn remove(places: &Places, run: &RunId) -> Result<(), JournalError> {
    match fs::remove_file(places.lease(run)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| refused(&places.lease(run), &error)),
    }
}

/// The lease that is there. A file is replaced as a whole, so that no lock is needed to read it.
pub(super) fn present(places: &Places, run: &RunId) -> Result<Option<Lease>, JournalError> {
    let bytes = match fs::read(places.lease(run)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| refused(&places.lease(run), &error))?,
    };
    // A power cut may leave the name of a file whose bytes never came to the disk.
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let path = places.lease(run);
        let message = format!("the lease of run `{run}` in `{}` is damaged: {error}", path.display());
        JournalError::Unavailable(format!("{message}; delete the file when nobody works on the run"))
    })
}

fn replace(places: &Places, run: &RunId, text: &str) -> io::Result<()> {
    let path = places.lease(run);
    let new = path.with_extension(NEW);
    // What is there was left by somebody who died with the lock.
    let _ = fs::remove_file(&new);
    let Some(mut file) = directory::make_new(&new)? else { return Err(ErrorKind::AlreadyExists.into()) };
    file.write_all(text.as_bytes())?;
    fs::rename(new, path)
}
