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
                Fault::step("path_refused", message)
                    .with_hint("copy the file into the directory, or start with another `--workdir`")
            }
            io::ErrorKind::PermissionDenied => {
                Fault::step("permission_denied", format!("`{self}` cannot be {act}: permission denied"))
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::tests::{Folder, run};
    use crate::{read, write};
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn paths_are_normalised_or_refused() {
        for (given, shown) in [
            ("a", "a"),
            ("./a//b/.", "a/b"),
            ("out:a/b", "out:a/b"),
            ("./out:a", "./out:a"),
            ("..a/b..", "..a/b.."),
            ("ä b\\c", "ä b\\c"),
        ] {
            assert_eq!(Place::parse(given).unwrap().to_string(), shown);
        }
        let long = "a/".repeat(3_000);
        for given in
            ["", "..", "a/..", "../a", "a/../b", "/", "/etc/passwd", "out:/a", "out:../a", "a\0b", "//a", &long]
        {
            let fault = Place::parse(given).unwrap_err();
            assert_eq!(fault.code, "path_refused", "{given}");
            assert!(fault.message.len() < 400 && fault.hint.is_some());
        }
    }

    #[test]
    fn what_a_place_shows_is_the_place() {
        for given in ["a/b", "./out:a", "out:a", "out:out:a"] {
            let place = Place::parse(given).unwrap();
            assert_eq!(Place::parse(&place.to_string()).unwrap(), place);
        }
    }

    #[test]
    fn links_out_of_the_directory_are_refused() {
        let folder = Folder::new();
        let outside = folder.path("outside");
        folder.link(&outside, "dir");
        folder.link(outside.join("secret.txt"), "file");
        folder.link("../outside", "relative");
        folder.link("dir", "twice");
        folder.link("/proc/self/root", "proc");
        let secret = format!("proc{}/secret.txt", outside.display());
        for path in ["dir/secret.txt", "file", "relative/secret.txt", "twice/secret.txt", &secret] {
            let fault = run(&folder, read::run, json!({ "path": path })).unwrap_err();
            assert_eq!(fault.code, "path_refused", "{path}: {fault}");
        }
        for path in ["dir/new.txt", "relative/new.txt", "twice/deep/new.txt"] {
            let fault = run(&folder, write::run, json!({ "path": path, "content": "x" })).unwrap_err();
            assert_eq!(fault.code, "path_refused", "{path}: {fault}");
        }
        // A link itself is replaced, not followed.
        run(&folder, write::run, json!({ "path": "file", "content": "mine" })).unwrap();
        assert_eq!(std::fs::read_to_string(outside.join("secret.txt")).unwrap(), "secret");
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 1);
    }

    #[test]
    fn links_inside_the_directory_are_followed() {
        let folder = Folder::new();
        folder.file("real/a.txt", "a");
        folder.link("real", "link");
        assert_eq!(run(&folder, read::run, json!({ "path": "link/a.txt" })).unwrap()["content"], "a");
    }

    #[test]
    fn a_link_that_takes_a_directorys_place_meanwhile_leads_nowhere() {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = Folder::new();
        folder.file("dir/secret.txt", "harmless");
        folder.link(folder.path("outside"), "link");
        let (dir, link) = (folder.path("step/dir"), folder.path("step/link"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
            for _ in 0..2_000 {
                if let Ok(result) = run(&folder, read::run, json!({ "path": "dir/secret.txt" })) {
                    assert_eq!(result["content"], "harmless");
                }
                let _ = run(&folder, write::run, json!({ "path": "dir/new.txt", "content": "x" }));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(!folder.path("outside/new.txt").exists());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(512)))]

        /// Whatever is written, what is outside stays as it is and is never read.
        #[test]
        fn no_path_escapes(path in path()) {
            let folder = Folder::new();
            folder.link(folder.path("outside"), "l");
            folder.file("a/b", "inside");
            let outside = || std::fs::read_dir(folder.path("")).unwrap().count() + std::fs::read_dir(folder.path("outside")).unwrap().count();
            let before = outside();
            if let Ok(result) = run(&folder, read::run, json!({ "path": path })) {
                prop_assert_ne!(&result["content"], "secret");
            }
            let _ = run(&folder, write::run, json!({ "path": path, "content": "x" }));
            prop_assert_eq!(outside(), before);
            prop_assert_eq!(std::fs::read_to_string(folder.path("outside/secret.txt")).unwrap(), "secret");
        }
    }

    fn path() -> impl Strategy<Value = String> {
        let parts = [
            "..",
            ".",
            "",
            "a",
            "b",
            "l",
            "secret.txt",
            "outside",
            "out:",
            "step",
            "~",
            "\\",
            "%2e%2e",
            "\u{ff0e}\u{ff0e}",
            "C:",
        ];
        let part = prop_oneof![8 => prop::sample::select(parts.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,8}"];
        (any::<bool>(), prop::collection::vec(part, 0..7))
            .prop_map(|(is_out, parts)| format!("{}{}", if is_out { OUT } else { "" }, parts.join("/")))
    }
}
