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
