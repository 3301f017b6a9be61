//! Replaces a file as a whole: whoever reads it meanwhile sees the old text or the new one, never half of one.

use std::fs::{Permissions, metadata};
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Puts this text in the place of a file, or makes the file. What the path is a link to is what is written; it stays as open
/// to others as it was, and a new one is as open as any file of its user.
///
/// # Errors
/// When the file is write-protected, or cannot be made beside the old one.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let permissions = match metadata(&path) {
        Ok(found) if found.permissions().readonly() => {
            return Err(Error::new(ErrorKind::PermissionDenied, "it is write-protected"));
        }
        Ok(found) => found.permissions(),
        Err(_) => Permissions::from_mode(0o666),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(permissions).tempfile_in(folder).map_err(|error| plain(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| plain(&error))?;
    file.persist(&path).map_err(|failed| plain(&failed.error))?;
    Ok(())
}

/// The error without the name of a file that nobody knows.
fn plain(error: &Error) -> Error {
    Error::from(error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_mode_its_links_and_its_protection() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        let mode = |path: &Path| metadata(path).unwrap().permissions().mode() & 0o777;
        replace(&file, "one").unwrap();
        assert_eq!(mode(&file) & 0o600, 0o600);
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, "two").unwrap();
        assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), mode(&file)), ("two", 0o640));
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        std::fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
        assert_eq!(replace(&file, "three").unwrap_err().to_string(), "it is write-protected");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
    }

    #[test]
    fn an_error_names_no_file_that_nobody_knows() {
        let error = replace(Path::new("/proc/self/nothing/file"), "").unwrap_err();
        assert!(!error.to_string().contains(".tmp"), "{error}");
    }
}
