//! A path that a document or a model wrote, as a place in one of the step's two directories.
//!
//! It must not touch the file system before the text is known to be relative and without `..`; what symbolic links
//! do is refused by the directory handle.

use cap_std::fs::Dir;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::port::{DirHandle, StepDirs};
use std::fmt;
use std::io;

/// What paths into the run's output directory begin with.
pub(crate) const OUT: &str = "out:";

const HINT: &str = "paths are relative to the step's directory, or `out:name` in the run's output directory";

/// One of the directories that a step sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// The step's directory.
    Step,
    /// The run's output directory.
    Out,
}

impl Root {
    /// Splits `out:` off a text.
    pub(crate) fn of(text: &str) -> (Self, &str) {
        match text.strip_prefix(OUT) {
            Some(rest) => (Self::Out, rest),
            None => (Self::Step, text),
        }
    }

    /// Opens the directory as a capability.
    pub(crate) fn open(self, dirs: &StepDirs) -> Result<Dir, Fault> {
        let handle = match self {
            Self::Step => &dirs.step,
            Self::Out => &dirs.out,
        };
        open_handle(handle).map_err(|error| Fault::step("io", format!("{self} cannot be opened: {error}")))
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Step => "the step's directory",
            Self::Out => "the run's output directory",
        })
    }
}

fn open_handle(handle: &DirHandle) -> io::Result<Dir> {
    Ok(Dir::from_std_file(handle.as_file().try_clone()?))
}

/// A place in a root: components joined by `/`, none of them `.` or `..`; empty for the root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where it is.
    pub(crate) root: Root,
    path: String,
}

impl Place {
    /// Parses what a caller wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let (root, rest) = Root::of(text);
        Ok(Self { root, path: relative(text, rest)? })
    }

    /// A place that a walk found.
    pub(crate) fn found(root: Root, path: String) -> Self {
        Self { root, path }
    }

    /// Parses a place of a file: it has a name.
    pub(crate) fn parse_file(text: &str) -> Result<Self, Fault> {
        let place = Self::parse(text)?;
        if place.path.is_empty() || text.ends_with('/') {
            return Err(Fault::step("path_refused", format!("`{text}` names a directory, not a file")).with_hint(HINT));
        }
        Ok(place)
    }

    /// The path below the root.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The directory that it is in, and its name there.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.path.rsplit_once('/').unwrap_or(("", &self.path))
    }

    /// What a caller is told when the file system refuses.
    pub(crate) fn fault(&self, act: &str, error: &io::Error) -> Fault {
        // The handle refuses by an error of its own, which has no number of the operating system.
        let is_escape = error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none();
        match error.kind() {
            io::ErrorKind::NotFound => Fault::step("not_found", format!("`{self}` does not exist in {}", self.root)),
            _ if is_escape => {
                let message = format!("`{self}` leads outside {} through a symbolic link", self.root);
                Fault::step("path_refused", message).with_hint("copy the file into the directory, or start with another `--workdir`")
            }
            io::ErrorKind::PermissionDenied => Fault::step("permission_denied", format!("`{self}` cannot be {act}: permission denied")),
            _ => Fault::step("io", format!("`{self}` cannot be {act}: {error}")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root {
            Root::Out => write!(f, "{OUT}{}", self.path),
            // A file of this name must not be taken for one of the output directory when the path comes back.
            Root::Step if self.path.starts_with(OUT) => write!(f, "./{}", self.path),
            Root::Step if self.path.is_empty() => f.write_str("."),
            Root::Step => f.write_str(&self.path),
        }
    }
}

/// Normalises a relative path, or says why it is refused.
pub(crate) fn relative(given: &str, rest: &str) -> Result<String, Fault> {
    let refuse = |why: &str| Err(Fault::step("path_refused", format!("`{}` {why}", shorten(given))).with_hint(HINT));
    if given.is_empty() {
        return Err(Fault::step("path_refused", "the path is empty").with_hint(HINT));
    }
    if given.len() > limits::TOOL_PATH_BYTES {
        return refuse("is longer than a path can be");
    }
    if rest.contains('\0') {
        return refuse("contains a NUL character");
    }
    if rest.starts_with('/') {
        return refuse("is an absolute path");
    }
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return refuse("contains `..`");
    }
    Ok(parts.join("/"))
}

/// The head of a text that may be long, for messages.
fn shorten(text: &str) -> String {
    const CHARS: usize = 200;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
