//! Where the directory of a try is, and what is known of it.
//!
//! Below the root of all runs no link is followed on the way to it: a step that could write there must not choose where
//! another one works.

use super::list::{Kind, Listing};
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, PermissionsExt as _};
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::port::{DirHandle, StepEntry};
use cofferdam_core::spec::workflow::IsolationMode;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where a run has the directories of its steps.
pub(super) const WORK: &str = "work";
/// Where a run has its patches.
pub(super) const CHANGES: &str = "changes";
/// The directory that a step sees.
pub(super) const TREE: &str = "tree";
/// What a copy began as.
pub(super) const BASE: &str = "base";
const STATE: &str = "state.json";
const ORIGIN: &str = "origin";

/// Longer names get a digest in the place of their end.
const NAME_BYTES: usize = 120;

/// What is known of a directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) mode: IsolationMode,
    /// The commit that a worktree began with.
    pub(super) head: Option<String>,
    /// The step's directory in a worktree; empty, or ending in `/`.
    #[serde(default)]
    pub(super) prefix: String,
    /// What paths in the patch begin with, so that it is one of the repository around the working directory, if there is one.
    #[serde(default)]
    pub(super) below: String,
    /// The repository's own directory.
    pub(super) common: Option<PathBuf>,
    /// What the repository keeps of the worktree.
    pub(super) admin: Option<PathBuf>,
    /// It is whole, and its step may have seen it.
    pub(super) made: bool,
    /// All that was changed is in the patch, and nobody has entered since.
    pub(super) saved: bool,
    /// Its try has ended: nobody goes on in it.
    #[serde(default)]
    pub(super) ended: bool,
}

impl State {
    pub(super) fn new(mode: IsolationMode) -> Self {
        Self {
            mode,
            head: None,
            prefix: String::new(),
            below: String::new(),
            common: None,
            admin: None,
            made: false,
            saved: false,
            ended: false,
        }
    }
}

/// The directory of one try of a step.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) path: PathBuf,
    runs_root: PathBuf,
    run: String,
    pub(super) name: String,
}

impl Own {
    pub(super) fn of(runs_root: &Path, entry: &StepEntry) -> Self {
        let name = format!("{}.{}", encoded(&entry.step), entry.attempt);
        Self::named(runs_root, &entry.run, name)
    }

    fn named(runs_root: &Path, run: &RunId, name: String) -> Self {
        let path = runs_root.join(run.as_str()).join(WORK).join(&name);
        Self { path, runs_root: runs_root.to_owned(), run: run.as_str().to_owned(), name }
    }

    /// Those of all tries of all steps of a run.
    pub(super) fn all(runs_root: &Path, run: &RunId) -> io::Result<Vec<Self>> {
        // A link leads to what is not ours.
        let there = [run.as_str(), WORK].iter().try_fold(runs_root.to_owned(), |path, name| {
            let path = path.join(name);
            super::is_directory(&path).then_some(path)
        });
        let Some(work) = there else { return Ok(Vec::new()) };
        let names = fs::read_dir(work)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names.into_iter().map(|name| Self::named(runs_root, run, name)).collect())
    }

    /// Whether it is one of this step.
    pub(super) fn is_of(&self, step: &StepPath) -> bool {
        let rest = self.name.strip_prefix(&encoded(step)).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|attempt| attempt.bytes().all(|letter| letter.is_ascii_digit()))
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.path.join(TREE)
    }

    /// Makes it, empty; what has its name already goes aside.
    pub(super) fn make(&self) -> io::Result<Dir> {
        if fs::symlink_metadata(&self.path).is_ok() {
            self.set_aside()?;
        }
        make(&self.runs_root, &[&self.run, WORK, &self.name])
    }

    /// Removes it. Only below the directory of the run, whatever links there may be by now.
    pub(super) fn remove(&self) -> io::Result<()> {
        let work = make(&self.runs_root, &[&self.run, WORK])?;
        let gone = |removed: io::Result<()>| match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        gone(work.remove_dir_all(&self.name)).or_else(|_| {
            open_up(&self.path, cofferdam_core::limits::GLOB_DEPTH * 2);
            gone(work.remove_dir_all(&self.name))
        })
    }

    /// Opens the part of it that the step sees.
    pub(super) fn open_tree(&self) -> io::Result<DirHandle> {
        let mut dir = enter(&make(&self.runs_root, &[&self.run, WORK, &self.name])?, TREE)?;
        let prefix = self.read().map(|state| state.prefix).unwrap_or_default();
        for name in prefix.split('/').filter(|name| !name.is_empty()) {
            dir = enter(&dir, name)?;
        }
        Ok(DirHandle::new(dir.into_std_file()))
    }

    /// What is known of it; none when it is not there, or not whole.
    pub(super) fn read(&self) -> Option<State> {
        let text = fs::read(self.path.join(STATE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub(super) fn write(&self, state: &State) -> io::Result<()> {
        write_whole(&self.path.join(STATE), &serde_json::to_vec(state)?)
    }

    /// Renames it to a name that no try has.
    pub(super) fn set_aside(&self) -> io::Result<()> {
        let free = (1..).map(|number: u32| self.path.with_file_name(format!("{}-left-{number}", self.name)));
        let free = free.into_iter().find(|path| fs::symlink_metadata(path).is_err());
        free.map_or(Ok(()), |path| fs::rename(&self.path, path))
    }

    /// The directory of the run's patches.
    pub(super) fn changes(&self) -> io::Result<PathBuf> {
        make(&self.runs_root, &[&self.run, CHANGES])?;
        Ok(self.runs_root.join(&self.run).join(CHANGES))
    }

    pub(super) fn fault(&self, act: &str, error: &io::Error) -> Fault {
        Fault::user("isolation", format!("the step's directory `{}` cannot be {act}: {error}", self.path.display()))
    }
}

/// A step's path as the name of a file: `scan[3].b` is `scan~3.b`.
fn encoded(step: &StepPath) -> String {
    let name: String = step
        .as_str()
        .chars()
        .filter_map(|letter| match letter {
            '[' => Some('~'),
            ']' => None,
            letter if letter.is_ascii_alphanumeric() || "._-".contains(letter) => Some(letter),
            _ => Some('='),
        })
        .collect();
    match name.get(..NAME_BYTES) {
        Some(head) if name.len() > NAME_BYTES => {
            let digest = sha256_hex(step.as_str().as_bytes());
            format!("{head}={}", digest.get(..16).unwrap_or_default())
        }
        _ => name,
    }
}

/// Makes directories, one in the other, and opens the last.
pub(super) fn make(root: &Path, names: &[&str]) -> io::Result<Dir> {
    let mut dir = super::open(root)?;
    for name in names {
        let mut private = DirBuilder::new();
        private.mode(0o700);
        match dir.create_dir_with(name, &private) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        dir = enter(&dir, name)?;
    }
    Ok(dir)
}

/// Makes a directory in another one.
pub(super) fn make_in(dir: &Dir, name: &str) -> io::Result<Dir> {
    dir.create_dir(name)?;
    dir.open_dir(name)
}

/// Opens a directory by its name, unless a link has that.
fn enter(dir: &Dir, name: &str) -> io::Result<Dir> {
    if !dir.symlink_metadata(name)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    dir.open_dir(name)
}

/// Writes a file that is there as a whole or not at all.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, content)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, path)
}

/// Copies what is listed into a new directory.
pub(super) fn copy(from: &Dir, listing: &Listing, into: &Dir, name: &str) -> io::Result<Dir> {
    let to = make_in(into, name)?;
    for (path, kind) in listing.entries() {
        match kind {
            Kind::Directory => to.create_dir(path)?,
            Kind::Link => to.symlink_contents(from.read_link_contents(path)?, path)?,
            Kind::File { .. } => {
                from.copy(path, &to, path)?;
                // Whoever works there may write.
                let mut permissions = to.metadata(path)?.permissions();
                permissions.set_mode(permissions.mode() | 0o600);
                to.set_permissions(path, permissions)?;
            }
        }
    }
    Ok(to)
}

/// Removes a tree, also one whose directories a step has closed.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    gone(fs::remove_dir_all(path)).or_else(|_| {
        open_up(path, cofferdam_core::limits::GLOB_DEPTH * 2);
        gone(fs::remove_dir_all(path))
    })
}

fn open_up(path: &Path, depth: usize) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|there| there.is_dir());
    if depth == 0 || !is_directory || fs::set_permissions(path, fs::Permissions::from_mode(0o700)).is_err() {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        open_up(&entry.path(), depth - 1);
    }
}

/// Where a directory is in the repository around it, as paths in a patch have it; nothing where there is none.
pub(super) fn below(workdir: &Path) -> String {
    let Ok(workdir) = workdir.canonicalize() else { return String::new() };
    let root = workdir.ancestors().find(|path| fs::symlink_metadata(path.join(".git")).is_ok());
    let inner = root.and_then(|root| workdir.strip_prefix(root).ok()?.to_str());
    inner.filter(|inner| !inner.is_empty()).map(|inner| format!("{inner}/")).unwrap_or_default()
}

/// Notes which run a branch is made of.
pub(super) fn remember_origin(runs_root: &Path, of: &RunId, into: &RunId) -> io::Result<()> {
    if !super::is_directory(&runs_root.join(of.as_str()).join(WORK)) {
        return Ok(());
    }
    make(runs_root, &[into.as_str()])?;
    write_whole(&runs_root.join(into.as_str()).join(ORIGIN), of.as_str().as_bytes())
}

pub(super) fn origin(runs_root: &Path, run: &RunId) -> Option<RunId> {
    RunId::parse(&fs::read_to_string(runs_root.join(run.as_str()).join(ORIGIN)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_names_of_their_own() {
        let name = |path: &str| encoded(&StepPath::from(path));
        assert_eq!(name("a"), "a");
        assert_eq!(name("scan[3].b"), "scan~3.b");
        let long = |end: &str| name(&format!("{}.{end}", ["abcdefghij"; 20].join(".")));
        assert!(long("x").len() < 160 && long("x") != long("y"));
    }
}
