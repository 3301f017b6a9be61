//! Files of a granted directory, by paths relative to it. What a path may reach
//! is the host's business; this gives errors that say what to do.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result, kind_of_io};

/// A granted directory: [`Context::step`](crate::Context::step) or
/// [`Context::out`](crate::Context::out). `std::fs` works on the same paths;
/// this adds bounds and messages.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
    grant: &'static str,
}

impl Directory {
    pub(crate) fn new(root: impl Into<PathBuf>, grant: &'static str) -> Self {
        Self { root: root.into(), grant }
    }

    /// Where it is, e.g. `/step`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The full path of something below this directory. A path that starts with
    /// the directory's own (`/step/a.txt`) is understood.
    ///
    /// # Errors
    ///
    /// A path that would leave the directory.
    pub fn path(&self, relative: &str) -> Result<PathBuf> {
        let given = Path::new(relative);
        let below = given.strip_prefix(&self.root).unwrap_or(given);
        let mut full = self.root.clone();
        for part in below.components() {
            match part {
                Component::Normal(name) => full.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(Error::invalid_input(format!(
                        "path `{relative}` leaves the directory `{}`",
                        self.root.display()
                    )));
                }
            }
        }
        Ok(full)
    }

    /// Reads a file of at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// Not found, denied, longer than `max_bytes`, not a file.
    pub fn read(&self, relative: &str, max_bytes: u64) -> Result<Vec<u8>> {
        let path = self.path(relative)?;
        let file = fs::File::open(&path).map_err(|error| self.explain(relative, &error))?;
        let metadata = file.metadata().map_err(|error| self.explain(relative, &error))?;
        if metadata.is_dir() {
            return Err(Error::invalid_input(format!("`{relative}` is a directory, not a file")));
        }
        let mut bytes = Vec::new();
        // One more than allowed tells too long from just fitting, whatever the
        // metadata said.
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| self.explain(relative, &error))?;
        if bytes.len() as u64 > max_bytes {
            return Err(Error::too_large(format!("file `{relative}` exceeds {max_bytes} bytes")));
        }
        Ok(bytes)
    }

    /// Reads a text of at most `max_bytes`, without a byte order mark.
    ///
    /// # Errors
    ///
    /// Those of [`Directory::read`], and bytes that are not UTF-8.
    pub fn read_text(&self, relative: &str, max_bytes: u64) -> Result<String> {
        let text = String::from_utf8(self.read(relative, max_bytes)?)
            .map_err(|_| Error::invalid_input(format!("file `{relative}` is not UTF-8 text")))?;
        Ok(match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        })
    }

    /// Writes a file, making the directories on the way to it.
    ///
    /// # Errors
    ///
    /// Denied (a grant to read does not allow writing), no space.
    pub fn write(&self, relative: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(relative)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| self.explain(relative, &error))?;
        }
        fs::write(&path, bytes).map_err(|error| self.explain(relative, &error))
    }

    /// Says which file and, where no directory is granted at all, which grant.
    fn explain(&self, relative: &str, error: &io::Error) -> Error {
        if !self.root.is_dir() {
            return Error::denied(format!(
                "file `{relative}` cannot be reached: no directory is granted (`{}`)",
                self.grant
            ))
            .with_code("no_directory");
        }
        let kind = kind_of_io(error.kind());
        Error::new(kind, format!("file `{relative}`: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn directory() -> Directory {
        Directory::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"), "fs: { read: true }")
    }

    #[test]
    fn a_file_is_read_by_its_relative_path() {
        let text = directory().read_text("./lib.rs", 1 << 20).unwrap();
        assert!(text.starts_with("//! Write Cofferdam plugins"));
    }

    #[test]
    fn a_path_may_begin_with_the_directory_itself() {
        let directory = Directory::new("/step", "fs: { read: true }");
        assert_eq!(directory.path("/step/a/b").unwrap(), Path::new("/step/a/b"));
        assert_eq!(directory.path("a/./b").unwrap(), Path::new("/step/a/b"));
    }

    #[test]
    fn a_path_that_leaves_the_directory_is_refused() {
        for path in ["../Cargo.toml", "a/../../b", "/etc/passwd"] {
            let error = directory().path(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
        }
    }

    #[test]
    fn a_bound_is_exact() {
        let length = directory().read("lib.rs", 1 << 20).unwrap().len() as u64;
        assert!(directory().read("lib.rs", length).is_ok());
        let error = directory().read("lib.rs", length - 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn a_missing_file_and_a_missing_grant_are_told_apart() {
        let error = directory().read("nothing.rs", 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = Directory::new("/nowhere", "fs: { read: true }").read("a", 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.message().contains("fs: { read: true }"));
    }
}
