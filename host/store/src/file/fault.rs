//! What a caller is told when the system refuses.
//!
//! It must not decide what happens then.

use cofferdam_core::port::JournalError;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The error of an operation on a file of the store.
pub(super) fn refused(path: &Path, error: &io::Error) -> JournalError {
    let path = path.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            JournalError::Full(format!("`{path}` cannot be written: the disk is full: {error}"))
        }
        ErrorKind::TimedOut => JournalError::Unavailable(format!(
            "`{path}` is held by another process (go on when that one is done with it, or end it)"
        )),
        _ => JournalError::Unavailable(format!("`{path}` cannot be used: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_faults() {
        // The numbers of ENOSPC, EDQUOT and EFBIG.
        for number in [28, 122, 27] {
            let told = refused(Path::new("f"), &io::Error::from_raw_os_error(number));
            assert!(matches!(told, JournalError::Full(_)), "{told:?}");
        }
        assert!(matches!(refused(Path::new("f"), &ErrorKind::PermissionDenied.into()), JournalError::Unavailable(_)));
    }
}
