//! Replaces a file as a whole: whoever reads it meanwhile sees the old text or the new one, never half of one.

use std::fs::{Permissions, symlink_metadata};
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Puts this text in the place of a file, or makes the file, as open as any of its user. A file that was there keeps its
/// permissions; a link is refused, since what it leads to may be anybody's.
///
/// # Errors
/// When the file is write-protected or a link, or cannot be made beside the old one.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let before = match symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            return Err(Error::other("it is a link, and would write what it leads to"));
        }
        Ok(found) if found.permissions().readonly() => {
            return Err(Error::new(ErrorKind::PermissionDenied, "it is write-protected"));
        }
        Ok(found) => Some(found.permissions()),
        Err(_) => None,
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let open = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(open).tempfile_in(folder).map_err(|error| plain(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| plain(&error))?;
    if let Some(permissions) = before {
        file.as_file().set_permissions(permissions)?;
    }
    file.persist(path).map(drop).map_err(|failed| plain(&failed.error))
}

/// As [`replace`], through a link, so that it stays one: for files that only their user names.
///
/// # Errors
/// As [`replace`], and when the link leads nowhere.
pub fn replace_through(path: &Path, text: &str) -> Result<()> {
    match symlink_metadata(path) {
        Ok(found) if found.is_symlink() => replace(&path.canonicalize()?, text),
        _ => replace(path, text),
    }
}

/// The error without the name of a file that nobody knows.
fn plain(error: &Error) -> Error {
    Error::from(error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::metadata;

    #[test]
    fn a_file_keeps_its_permissions_and_its_protection() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        replace(&file, "one").unwrap();
        for mode in [0o640, 0o664] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            replace(&file, "two").unwrap();
            let now = metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), now), ("two", mode));
        }
        std::fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
        assert_eq!(replace(&file, "three").unwrap_err().to_string(), "it is write-protected");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
    }

    #[test]
    fn a_link_is_written_through_only_where_that_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert!(replace_through(&link, "one").is_err(), "it leads nowhere");
        std::fs::write(&file, "one").unwrap();
        assert!(replace(&link, "two").unwrap_err().to_string().contains("it is a link"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
        replace_through(&link, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
        assert!(symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn an_error_names_no_file_that_nobody_knows() {
        let error = replace(Path::new("/proc/self/nothing/file"), "").unwrap_err();
        assert!(!error.to_string().contains(".tmp"), "{error}");
    }
}
