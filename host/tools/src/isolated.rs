//! Directories of steps: empty, a copy, or a git worktree, and what was changed in them as a patch.
//!
//! A run has `work/NAME.TRY/` with the step's directory in it (`tree`), what that began as (`base`, of a copy) and what is known
//! of it (`state.json`), which no step can reach; and `changes/NAME.TRY.patch`. A directory that is not in a patch as a whole is
//! never removed. What this must not do is give a step more than its own `tree`.

mod git;
mod list;
mod patch;
mod place;
mod save;

use crate::outputs;
use cap_std::fs::Dir;
use cofferdam_core::event::Changes;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{DirHandle, StepEntry, TryEnd};
use cofferdam_core::spec::workflow::IsolationMode;
use git::Git;
use list::{Leaves, Stop};
use place::{Own, State};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Makes and keeps the directories that steps have for themselves. All of it blocks.
pub(crate) struct Isolated {
    workdir: PathBuf,
    runs_root: PathBuf,
    git: Git,
    /// One for each step that somebody is at: what was given up may still be at work.
    busy: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

impl Isolated {
    /// `search` is where `git` is looked for.
    pub(crate) fn new(workdir: PathBuf, runs_root: PathBuf, search: &OsStr) -> Self {
        Self { workdir, runs_root, git: Git::new(search), busy: Mutex::default() }
    }

    /// Whether steps can have directories of these kinds, and what a person should know of them.
    pub(crate) fn check(&self, modes: &BTreeSet<IsolationMode>) -> Result<Vec<String>, Fault> {
        let mut warnings = Vec::new();
        if let Some(mode) = modes.iter().find(|mode| matches!(mode, IsolationMode::Own(_))) {
            return Err(not_known(mode));
        }
        if modes.contains(&IsolationMode::Copy) {
            let dir = open(&self.workdir).map_err(|error| self.no_workdir(&error))?;
            self.list(&dir)?;
        }
        if modes.contains(&IsolationMode::Worktree) {
            let repository = self.git.find(&self.workdir)?;
            if self.git.is_dirty(&repository)? {
                warnings.push(format!(
                    "`{}` has changes that are not committed: worktrees of steps begin with the last commit, without them",
                    repository.here().display()
                ));
            }
        }
        Ok(warnings)
    }

    /// The directory of a try.
    pub(crate) fn enter(&self, entry: &StepEntry) -> Result<DirHandle, Fault> {
        self.alone(entry, || {
            let own = Own::of(&self.runs_root, entry);
            if entry.continues && self.resume(&own, entry)? {
                return own.open_tree().map_err(|error| own.fault("opened", &error));
            }
            self.tidy(&own, entry)?;
            self.make(&own, &entry.mode)?;
            own.open_tree().map_err(|error| own.fault("opened", &error))
        })
    }

    /// What was changed in the directory of a try; it is saved as a patch. One in which nothing was goes, unless its try may go on.
    pub(crate) fn leave(&self, entry: &StepEntry, end: TryEnd) -> Option<Changes> {
        self.alone(entry, || {
            let own = Own::of(&self.runs_root, entry);
            let state = own.read().filter(|state| state.made)?;
            let changes = save::save(&self.git, &own, state);
            if end == TryEnd::Itself
                && let Some(state) = own.read()
                && let Err(error) = own.write(&State { ended: true, ..state })
            {
                tracing::warn!(%error, path = %own.path.display(), "it is not noted that a step's try has ended");
            }
            if changes.count() > 0 || changes.incomplete.is_some() {
                return Some(changes);
            }
            if end == TryEnd::Itself
                && let Err(error) = self.remove(&own)
            {
                tracing::warn!(%error, path = %own.path.display(), "a step's directory stays");
            }
            None
        })
    }

    /// Takes along what steps of a run changed, for a branch of it; their directories are copied when a step goes on in one.
    pub(crate) fn branch(&self, of: &RunId, into: &RunId) -> io::Result<()> {
        let from = self.runs_root.join(of.as_str());
        place::remember_origin(&self.runs_root, of, into)?;
        if !is_directory(&from.join(place::CHANGES)) {
            return Ok(());
        }
        let to = place::make(&self.runs_root, &[into.as_str(), place::CHANGES])?;
        outputs::copy(&open(&from.join(place::CHANGES))?, &to)
    }

    /// Deletes all that a run has but patches, which go to `patches/RUN` beside the runs.
    pub(crate) fn discard(&self, run: &RunId, force: bool) -> Result<Option<PathBuf>, Fault> {
        let directory = self.runs_root.join(run.as_str());
        let failed = |error: io::Error| {
            Fault::user("isolation", format!("the directory `{}` cannot be deleted: {error}", directory.display()))
        };
        if !is_directory(&directory) {
            return Ok(None);
        }
        for own in Own::all(&self.runs_root, run).map_err(failed)? {
            if !self.is_saved(&own) && !force {
                let message = format!("`{}` has changes that cannot be saved as a patch", own.tree().display());
                return Err(
                    Fault::user("isolation", message).with_hint("take out of it what you need; `--force` deletes it")
                );
            }
            self.remove(&own).map_err(failed)?;
        }
        let kept = self.keep_patches(run).map_err(failed)?;
        place::remove_tree(&directory).map_err(failed)?;
        Ok(kept)
    }

    /// Moves the patches of a run out of its directory.
    fn keep_patches(&self, run: &RunId) -> io::Result<Option<PathBuf>> {
        let changes = self.runs_root.join(run.as_str()).join(place::CHANGES);
        if !is_directory(&changes) || std::fs::read_dir(&changes)?.next().is_none() {
            return Ok(None);
        }
        let Some(state) = self.runs_root.parent() else { return Ok(None) };
        place::make(state, &["patches"])?;
        let named = |number: u32| match number {
            1 => run.as_str().to_owned(),
            number => format!("{run}-{number}"),
        };
        let names = (1..).map(|number| state.join("patches").join(named(number)));
        let kept = names.into_iter().find(|path| std::fs::symlink_metadata(path).is_err());
        kept.iter().try_for_each(|kept| std::fs::rename(&changes, kept))?;
        Ok(kept)
    }

    /// Whether a try that an earlier process was at has its directory, here or in the run that this one is a branch of.
    fn resume(&self, own: &Own, entry: &StepEntry) -> Result<bool, Fault> {
        if let Some(mut state) = own.read().filter(|state| state.made) {
            state.saved = false;
            own.write(&state).map_err(|error| own.fault("written to", &error))?;
            return Ok(true);
        }
        let Some(origin) = place::origin(&self.runs_root, &entry.run) else { return Ok(false) };
        let before = Own::of(&self.runs_root, &StepEntry { run: origin, ..entry.clone() });
        // A try that had ended there is done, and this one another.
        let Some(mut state) = before.read().filter(|state| state.made && !state.ended) else { return Ok(false) };
        // It is a copy: the repository knows nothing of it.
        (state.saved, state.admin) = (false, None);
        let copied = own.make().and_then(|dir| {
            own.write(&State::new(state.mode.clone()))?;
            outputs::copy(&open(&before.path)?.open_dir(place::TREE)?, &place::make_in(&dir, place::TREE)?)?;
            if state.mode == IsolationMode::Copy {
                outputs::copy(&open(&before.path)?.open_dir(place::BASE)?, &place::make_in(&dir, place::BASE)?)?;
            }
            own.write(&state)
        });
        copied.map(|()| true).map_err(|error| own.fault("copied", &error))
    }

    /// Removes the directories of earlier tries of a step that are saved. What another process left under the same name goes
    /// aside.
    fn tidy(&self, own: &Own, entry: &StepEntry) -> Result<(), Fault> {
        let all = Own::all(&self.runs_root, &entry.run).map_err(|error| own.fault("made", &error))?;
        for earlier in all.iter().filter(|other| other.is_of(&entry.step)) {
            if self.is_saved(earlier) {
                self.remove(earlier).map_err(|error| earlier.fault("removed", &error))?;
            } else if earlier.path == own.path {
                own.set_aside().map_err(|error| own.fault("made", &error))?;
            }
        }
        Ok(())
    }

    /// Whether all that was changed in a directory is in a patch, or can be saved as one now.
    fn is_saved(&self, own: &Own) -> bool {
        match own.read() {
            // Somebody took away what is known of it, and nobody knows what it began as.
            None => false,
            Some(state) if state.saved || !state.made => true,
            Some(state) => save::save(&self.git, own, state).incomplete.is_none(),
        }
    }

    fn remove(&self, own: &Own) -> io::Result<()> {
        let admin = own.read().and_then(|state| state.admin);
        let tree = own.path.canonicalize().map(|path| path.join(place::TREE));
        own.remove()?;
        match admin.zip(tree.ok()) {
            Some((admin, tree)) => git::forget(&admin, &tree),
            None => Ok(()),
        }
    }

    fn make(&self, own: &Own, mode: &IsolationMode) -> Result<(), Fault> {
        let failed = |error: io::Error| own.fault("made", &error);
        let dir = own.make().map_err(failed)?;
        own.write(&State::new(mode.clone())).map_err(failed)?;
        let mut state = State { made: true, below: place::below(&self.workdir), ..State::new(mode.clone()) };
        match mode {
            IsolationMode::Own(_) => return Err(not_known(mode)),
            IsolationMode::None | IsolationMode::Workdir => {
                dir.create_dir(place::TREE).map_err(failed)?;
            }
            IsolationMode::Copy => {
                let from = open(&self.workdir).map_err(|error| self.no_workdir(&error))?;
                let listing = self.list(&from)?;
                // The second one is made of the first, so that both are of one moment.
                let base = place::copy(&from, &listing, &dir, place::BASE).map_err(failed)?;
                place::copy(&base, &listing, &dir, place::TREE).map_err(failed)?;
            }
            IsolationMode::Worktree => {
                let repository = self.git.find(&self.workdir)?;
                let path = own.path.canonicalize().map_err(failed)?.join(place::TREE);
                state.admin = Some(self.git.add_worktree(&repository, &path)?);
                let git::Repository { common, prefix, head, .. } = repository;
                (state.common, state.prefix, state.head) = (Some(common), prefix, Some(head));
            }
        }
        own.write(&state).map_err(failed)
    }

    /// What a copy of the working directory holds.
    fn list(&self, dir: &Dir) -> Result<list::Listing, Fault> {
        let within = |what: String| {
            let message = format!("`isolation: copy-per-step` cannot copy `{}`: {what}", self.workdir.display());
            Fault::user("isolation", message)
                .with_hint("let a `.gitignore` leave out what steps need not see, or take `worktree-per-step`")
        };
        let listing = list::list(dir, Leaves::Ignored, list::identity(&self.runs_root)).map_err(|stop| match stop {
            Stop::Files => within(format!("it has more than {} files", cofferdam_core::limits::COPY_FILES)),
            Stop::Io(error) => self.no_workdir(&error),
        })?;
        if listing.bytes() > cofferdam_core::limits::COPY_BYTES as u64 {
            return Err(within(format!("its files have more than {} bytes", cofferdam_core::limits::COPY_BYTES)));
        }
        Ok(listing)
    }

    fn no_workdir(&self, error: &io::Error) -> Fault {
        let message = format!("the working directory `{}` cannot be read: {error}", self.workdir.display());
        Fault::user("working_directory", message).with_hint("name an existing directory with `--workdir`")
    }

    /// Does something with the directories of a step while nobody else does.
    fn alone<T>(&self, entry: &StepEntry, work: impl FnOnce() -> T) -> T {
        let key = Own::of(&self.runs_root, &StepEntry { attempt: 0, ..entry.clone() }).path;
        let own = {
            let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            busy.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(busy.entry(key).or_default())
        };
        let _alone = own.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }
}

/// Opens a directory that the host names.
fn open(path: &Path) -> io::Result<Dir> {
    Dir::open_ambient_dir(path, cap_std::ambient_authority())
}

/// A mode that only another program knows.
fn not_known(mode: &IsolationMode) -> Fault {
    let known = IsolationMode::WORDS.map(|word| format!("`{word}`")).join(", ");
    mode.not_here().with_hint(format!("it is a name of another program's own; here are {known}"))
}

fn is_directory(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}
