//! What was changed in the directory of a try, as a patch beside the runs' directories.
//!
//! It must not change the directory, and says so when the patch does not hold all of it.

use super::git::Git;
use super::list::{self, Kind, Leaves, Listing, Stop};
use super::patch::{self, Mode, Side};
use super::place::{self, BASE, Own, State, TREE, WORK};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use cofferdam_core::event::{ChangedFile, Changes, FileChange};
use cofferdam_core::limits;
use cofferdam_core::spec::workflow::IsolationMode;
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

/// Saves what was changed, and says what that is.
pub(super) fn save(git: &Git, own: &Own, mut state: State) -> Changes {
    let mut changes = Changes {
        isolation: state.mode.clone(),
        base: state.head.clone(),
        directory: format!("{WORK}/{}/{TREE}", own.name),
        ..Changes::default()
    };
    let saved = match state.mode {
        IsolationMode::Worktree => git.save(own, &state, &mut changes),
        _ => plain(own, &state, &mut changes),
    };
    if let Err(why) = saved {
        changes.incomplete.get_or_insert(why);
    }
    changes.files.sort_by(|one, other| one.path.cmp(&other.path));
    changes.more += changes.files.len().saturating_sub(limits::CHANGED_FILES);
    changes.files.truncate(limits::CHANGED_FILES);
    state.saved = changes.incomplete.is_none();
    if let Err(error) = own.write(&state) {
        changes.incomplete.get_or_insert(unsaved(&error));
    }
    changes
}

/// Puts the patch where the run has its patches, or takes an earlier one away when there is nothing to say.
pub(super) fn put(own: &Own, patch: &[u8], changes: &mut Changes) -> io::Result<()> {
    let name = format!("{}.patch", own.name);
    if patch.is_empty() {
        return match fs::remove_file(own.changes()?.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    place::write_whole(&own.changes()?.join(&name), patch)?;
    changes.patch = Some(format!("{}/{name}", place::CHANGES));
    Ok(())
}

pub(super) fn unsaved(error: &io::Error) -> String {
    format!("the patch cannot be written: {error}")
}

/// Compares a directory with what it began as: a copy, or nothing.
fn plain(own: &Own, state: &State, changes: &mut Changes) -> Result<(), String> {
    let unread = |error: io::Error| format!("the directory cannot be read: {error}");
    let listed = |listing: Result<Listing, Stop>| {
        listing.map_err(|stop| match stop {
            Stop::Files => format!("it has more than {} files", limits::COPY_FILES),
            Stop::Io(error) => unread(error),
        })
    };
    let tree = super::open(&own.path).and_then(|dir| dir.open_dir(TREE)).map_err(unread)?;
    let is_copy = state.mode == IsolationMode::Copy;
    let leaves = if is_copy { Leaves::Ignored } else { Leaves::Tools };
    let after = listed(list::list(&tree, leaves, None))?;
    let (base, before) = match is_copy {
        true => {
            let base = super::open(&own.path).and_then(|dir| dir.open_dir(BASE)).map_err(unread)?;
            let before = listed(list::list(&base, Leaves::Nothing, None))?;
            (Some(base), before)
        }
        false => (None, Listing::default()),
    };
    if after.skipped > 0 {
        changes.incomplete = Some(format!("{} entries of it cannot be read, or have odd names", after.skipped));
    }
    let (base, below) = (base.as_ref(), state.below.as_str());
    let mut comparison = Comparison { own, base, tree: &tree, below, text: String::new(), whole: 0, changes };
    comparison.walk(&before, &after)?;
    let patch = std::mem::take(&mut comparison.text);
    put(own, patch.as_bytes(), changes).map_err(|error| unsaved(&error))
}

struct Comparison<'a> {
    own: &'a Own,
    base: Option<&'a Dir>,
    tree: &'a Dir,
    below: &'a str,
    text: String,
    /// Bytes of files that are kept whole.
    whole: u64,
    changes: &'a mut Changes,
}

impl Comparison<'_> {
    fn walk(&mut self, before: &Listing, after: &Listing) -> Result<(), String> {
        let paths: BTreeSet<&str> = before.entries().chain(after.entries()).map(|(path, _)| path).collect();
        for path in paths {
            let old = before.get(path).filter(|kind| *kind != Kind::Directory);
            // What a `.gitignore` leaves out by now is there all the same.
            let new = after.get(path).or_else(|| old.and_then(|_| look_within(self.tree, path)));
            let new = new.filter(|kind| *kind != Kind::Directory);
            if old.is_some() || new.is_some() {
                let compared = self.file(path, old, new);
                compared.map_err(|error| format!("`{path}` cannot be compared: {error}"))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, old: Option<Kind>, new: Option<Kind>) -> io::Result<()> {
        if old == new && self.is_same(path, new)? {
            return Ok(());
        }
        let change = match (old, new) {
            (None, _) => FileChange::Added,
            (_, None) => FileChange::Deleted,
            _ => FileChange::Modified,
        };
        let shown = format!("{}{path}", self.below);
        let before = self.base.zip(old).map(|(base, kind)| text(base, path, kind)).transpose()?;
        let after = new.map(|kind| text(self.tree, path, kind)).transpose()?;
        let binary = before == Some(None) || after == Some(None) || self.text.len() >= limits::PATCH_BYTES;
        if binary {
            if let Some(kind) = new {
                self.keep(path, &shown, kind)?;
            }
        } else {
            let (before, after) = (before.flatten(), after.flatten());
            let (before, after) = (side(old, before.as_deref()), side(new, after.as_deref()));
            patch::push(&mut self.text, &shown, before, after);
        }
        self.changes.files.push(ChangedFile { path: shown, change, binary });
        Ok(())
    }

    /// Keeps a file that a patch cannot hold.
    fn keep(&mut self, path: &str, shown: &str, kind: Kind) -> io::Result<()> {
        let Kind::File { bytes, .. } = kind else { return Ok(()) };
        self.whole = self.whole.saturating_add(bytes);
        if self.whole > limits::WHOLE_FILES_BYTES as u64 {
            let most = limits::WHOLE_FILES_BYTES;
            let why = format!("files that are no text have more than {most} bytes; they are in the directory alone");
            self.changes.incomplete.get_or_insert(why);
            return Ok(());
        }
        let name = format!("{}.files", self.own.name);
        let kept = super::open(&self.own.changes()?)?;
        let to = Path::new(&name).join(shown);
        if let Some(parent) = to.parent() {
            kept.create_dir_all(parent)?;
        }
        self.tree.copy(path, &kept, &to)?;
        self.changes.whole.get_or_insert_with(|| format!("{}/{name}", place::CHANGES));
        Ok(())
    }

    fn is_same(&self, path: &str, kind: Option<Kind>) -> io::Result<bool> {
        let (Some(base), Some(kind)) = (self.base, kind) else { return Ok(false) };
        if kind == Kind::Link {
            return Ok(base.read_link_contents(path)? == self.tree.read_link_contents(path)?);
        }
        let (mut one, mut other) = (open(base, path)?, open(self.tree, path)?);
        let (mut here, mut there) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            let (read, same) = (fill(&mut one, &mut here)?, fill(&mut other, &mut there)?);
            if read != same || here.get(..read) != there.get(..read) {
                return Ok(false);
            }
            if read == 0 {
                return Ok(true);
            }
        }
    }
}

/// What stands at a path whose directories are directories of this tree, and no links to others.
fn look_within(tree: &Dir, path: &str) -> Option<Kind> {
    let parents = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
    let mut kinds = parents.map(|parent| list::look(tree, parent));
    kinds.all(|kind| kind == Some(Kind::Directory)).then(|| list::look(tree, path)).flatten()
}

fn side(kind: Option<Kind>, text: Option<&str>) -> Option<Side<'_>> {
    let mode = match kind? {
        Kind::Link => Mode::Link,
        Kind::File { executable: true, .. } => Mode::Executable,
        Kind::File { .. } | Kind::Directory => Mode::Plain,
    };
    Some(Side { mode, text: text? })
}

/// The text of a file, or where a link leads; none when it is no text, or too long for a patch.
fn text(dir: &Dir, path: &str, kind: Kind) -> io::Result<Option<String>> {
    if kind == Kind::Link {
        return Ok(dir.read_link_contents(path)?.into_os_string().into_string().ok());
    }
    let mut content = Vec::new();
    open(dir, path)?.take(limits::PATCH_FILE_BYTES as u64 + 1).read_to_end(&mut content)?;
    let fits = content.len() <= limits::PATCH_FILE_BYTES && !content.contains(&0);
    Ok(if fits { String::from_utf8(content).ok() } else { None })
}

/// Opens a file, without following a link that has taken its place or waiting for a writer of a pipe.
fn open(dir: &Dir, path: &str) -> io::Result<cap_std::fs::File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).map_err(io::Error::other)?;
    dir.open_with(path, OpenOptions::new().read(true).custom_flags(flags))
}

fn fill(file: &mut cap_std::fs::File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
