//! What `.gitignore` files leave out, from the root of a walk down to the directory it is in.
//!
//! It must not look above the root: what a repository around it ignores is not known here.

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use cofferdam_core::limits;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::OFlags;
use std::io::Read as _;

/// The rules in force, outermost first.
#[derive(Default)]
pub(crate) struct Rules {
    levels: Vec<Level>,
}

struct Level {
    /// Length of the directory's path with its final slash, which the rules do not see.
    base: usize,
    rules: Gitignore,
}

impl Rules {
    /// Adds the rules of a directory; `path` is empty for the root. Says whether there were any.
    pub(crate) fn enter(&mut self, dir: &Dir, path: &str) -> bool {
        let Some(rules) = read(dir) else { return false };
        let base = if path.is_empty() { 0 } else { path.len() + 1 };
        self.levels.push(Level { base, rules });
        true
    }

    /// Forgets the rules that were added last.
    pub(crate) fn leave(&mut self) {
        self.levels.pop();
    }

    /// Whether an entry is left out. The innermost rule that matches decides; a parent that is left out is never
    /// walked, so that nothing below it can be taken back in.
    pub(crate) fn ignores(&self, path: &str, is_dir: IsDir) -> bool {
        for level in self.levels.iter().rev() {
            let below = path.get(level.base..).unwrap_or_default();
            match level.rules.matched(below, is_dir == IsDir::Yes) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        false
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IsDir {
    /// A directory.
    Yes,
    /// A file.
    No,
}

/// The rules of one directory. A file that cannot be read, or a line that is no rule, leaves nothing out.
fn read(dir: &Dir) -> Option<Gitignore> {
    // Like git, does not follow a link; unlike a plain open, does not wait for a writer of a pipe.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).ok()?;
    let file = dir.open_with(".gitignore", OpenOptions::new().read(true).custom_flags(flags)).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(limits::GITIGNORE_BYTES as u64).read_to_end(&mut text).ok()?;
    let mut builder = GitignoreBuilder::new("");
    for line in String::from_utf8_lossy(&text).lines() {
        if let Err(error) = builder.add_line(None, line) {
            tracing::debug!(%error, line, "a line of a .gitignore is no rule");
        }
    }
    builder.build().ok().filter(|rules| !rules.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::glob;
    use crate::native::tests::{Folder, run};
    use serde_json::json;

    fn files(folder: &Folder) -> Vec<String> {
        let found = run(folder, glob::run, json!({ "pattern": "**/*" })).unwrap();
        serde_json::from_value(found["files"].clone()).unwrap()
    }

    #[test]
    fn rules_hold_as_git_has_them() {
        let folder = Folder::new();
        for name in [
            "keep.log",
            "a.log",
            "build/x",
            "src/build/x",
            "src/a.log",
            "src/keep.log",
            "docs/only/x",
            "only/x",
            "sp ace",
            "src/build.rs",
        ] {
            folder.file(name, "");
        }
        folder.file(".gitignore", "# comment\n*.log\n!keep.log\nbuild/\n/only\nsp\\ ace\n[\n\n");
        assert_eq!(files(&folder), ["docs/only/x", "keep.log", "src/build.rs", "src/keep.log"]);
    }

    #[test]
    fn an_inner_file_overrides_an_outer_one_and_ends_with_its_directory() {
        let folder = Folder::new();
        for name in ["a.txt", "in/a.txt", "in/b.md", "in/deep/a.txt", "z/a.txt", "z/b.md"] {
            folder.file(name, "");
        }
        folder.file(".gitignore", "*.txt\n");
        folder.file("in/.gitignore", "!*.txt\n*.md\n/deep\n");
        assert_eq!(files(&folder), ["in/a.txt", "z/b.md"]);
    }

    #[test]
    fn nothing_below_a_directory_that_is_left_out_comes_back() {
        let folder = Folder::new();
        folder.file("out/keep.txt", "");
        folder.file("a", "");
        folder.file(".gitignore", "out/\n!out/keep.txt\n");
        folder.file("out/.gitignore", "!*\n");
        assert_eq!(files(&folder), ["a"]);
    }

    #[test]
    fn odd_rule_files_leave_nothing_out() {
        let folder = Folder::new();
        folder.file("a", "");
        folder.file("rules", "*\n");
        folder.link("rules", ".gitignore");
        assert_eq!(files(&folder), ["a", "rules"]);
        folder.file("b/.gitignore", b"\xff\xfe\0\n");
        folder.file("b/c", "");
        assert_eq!(files(&folder), ["a", "b/c", "rules"]);
    }
}
