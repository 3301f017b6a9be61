//! Directories and files that their owner alone reads, kept out of repositories.
//!
//! It must not know what is kept in them.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a directory with those above it, unless it is there. The names of those that it makes are on the disk then: what
/// is written below them would be lost with them.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    let is_named = |path: &&Path| !path.as_os_str().is_empty();
    let missing: Vec<&Path> = directory.ancestors().filter(is_named).take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if let Some(mut file) = make_new(&directory.join(".gitignore"))? {
        file.write_all(b"*\n")?;
    }
    for above in missing.into_iter().filter_map(Path::parent) {
        flush(if is_named(&above) { above } else { Path::new(".") })?;
    }
    Ok(())
}

/// Makes a file; none when it is there.
pub(crate) fn make_new(path: &Path) -> io::Result<Option<File>> {
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes sure that the names in a directory are on the disk.
pub(crate) fn flush(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some systems have no way to flush a directory, and need none.
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => Ok(()),
        flushed => flushed,
    }
}
