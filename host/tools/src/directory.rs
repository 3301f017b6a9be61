//! The directories of steps: one that all steps of all runs share, or one for each, and an output directory for each run.
//!
//! It opens nothing before a step needs it, and deletes only what was discarded.

use crate::isolated::Isolated;
use crate::outputs;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _};
use cofferdam_core::event::Changes;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{BoxFuture, DirHandle, Isolation, StepDirs, StepEntry, TryEnd};
use cofferdam_core::spec::workflow::IsolationMode;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Gives every step the same directory, or one of its own below `<runs root>/<run id>`, and `<runs root>/<run id>/out` as its
/// run's output directory. Needs a tokio runtime: directories are opened on its threads for blocking work.
pub struct Directories {
    workdir: PathBuf,
    runs_root: PathBuf,
    isolated: Arc<Isolated>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    step: Option<DirHandle>,
    runs: HashMap<RunId, Entered>,
}

struct Entered {
    dirs: Arc<StepDirs>,
    steps: usize,
}

impl Directories {
    /// Steps work in `workdir`, which must exist when the first of them starts; `runs_root` is made when needed. The program `git`
    /// is looked for in the directories of `search`.
    #[must_use]
    pub fn new(workdir: PathBuf, runs_root: PathBuf, search: &OsStr) -> Self {
        let isolated = Arc::new(Isolated::new(workdir.clone(), runs_root.clone(), search));
        Self { workdir, runs_root, isolated, open: Mutex::default() }
    }

    /// The output directory of a run, for people to look at; it may not exist.
    #[must_use]
    pub fn out_path(&self, run: &RunId) -> PathBuf {
        self.runs_root.join(run.as_str()).join("out")
    }

    /// Does what may take its time on a thread for that. Dropping the future does not stop it.
    async fn at_leisure<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Isolated) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let isolated = Arc::clone(&self.isolated);
        let done = tokio::task::spawn_blocking(move || work(&isolated)).await;
        done.map_err(|error| Fault::bug(format!("work on a step's directory broke off: {error}")))
    }

    fn state(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, run: &RunId) -> Result<Arc<StepDirs>, Fault> {
        let known = self.state().step.clone();
        let (workdir, runs_root, name) = (self.workdir.clone(), self.runs_root.clone(), run.clone());
        let opened = tokio::task::spawn_blocking(move || open(known, &workdir, &runs_root, &name)).await;
        let dirs = opened.map_err(|error| Fault::bug(format!("opening a step's directory broke off: {error}")))??;
        Ok(self.state().enter(run, Arc::new(dirs)))
    }
}

impl Isolation for Directories {
    fn check<'a>(&'a self, modes: &'a BTreeSet<IsolationMode>) -> BoxFuture<'a, Result<Vec<String>, Fault>> {
        if modes.iter().all(|mode| *mode == IsolationMode::None) {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        let modes = modes.clone();
        Box::pin(async move { self.at_leisure(move |isolated| isolated.check(&modes)).await? })
    }

    fn enter<'a>(&'a self, entry: &'a StepEntry) -> BoxFuture<'a, Result<Arc<StepDirs>, Fault>> {
        let entered = self.state().enter_again(&entry.run);
        match entered {
            Some(dirs) if entry.mode == IsolationMode::None => Box::pin(std::future::ready(Ok(dirs))),
            entered => Box::pin(async move {
                let shared = match entered {
                    Some(dirs) => dirs,
                    None => self.open(&entry.run).await?,
                };
                if entry.mode == IsolationMode::None {
                    return Ok(shared);
                }
                let own = entry.clone();
                let step = self.at_leisure(move |isolated| isolated.enter(&own)).await??;
                Ok(Arc::new(StepDirs { step, out: shared.out.clone() }))
            }),
        }
    }

    fn leave<'a>(&'a self, entry: &'a StepEntry, end: TryEnd) -> BoxFuture<'a, Option<Changes>> {
        self.state().leave(&entry.run);
        if entry.mode == IsolationMode::None {
            return Box::pin(std::future::ready(None));
        }
        let own = entry.clone();
        Box::pin(async move {
            let left = self.at_leisure(move |isolated| isolated.leave(&own, end)).await;
            left.unwrap_or_else(|fault| {
                tracing::error!(%fault, step = %entry.step, "what a step changed was not looked at; its directory stays");
                None
            })
        })
    }

    fn discard<'a>(&'a self, run: &'a RunId, force: bool) -> BoxFuture<'a, Result<Option<PathBuf>, Fault>> {
        let run = run.clone();
        Box::pin(async move { self.at_leisure(move |isolated| isolated.discard(&run, force)).await? })
    }

    fn branch<'a>(&'a self, of: &'a RunId, into: &'a RunId) -> BoxFuture<'a, Result<(), Fault>> {
        let (runs_root, from, to) = (self.runs_root.clone(), of.clone(), into.clone());
        let isolated = Arc::clone(&self.isolated);
        let refused = move |error: io::Error| {
            Fault::user("output_directory", format!("the output directory of run `{of}` cannot be copied: {error}"))
        };
        Box::pin(async move {
            let work = move || take_along(&runs_root, &from, &to).and_then(|()| isolated.branch(&from, &to));
            let copied = tokio::task::spawn_blocking(work).await;
            copied.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(refused)
        })
    }
}

/// Copies the output directory of a run, if it has one.
fn take_along(runs_root: &Path, of: &RunId, into: &RunId) -> io::Result<()> {
    match fs::symlink_metadata(runs_root.join(of.as_str()).join("out")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => _ = found?,
    }
    let dir = |run| make_out(runs_root, run).and_then(|handle| handle.as_file().try_clone()).map(Dir::from_std_file);
    outputs::copy(&dir(of)?, &dir(into)?)
}

impl Open {
    fn enter_again(&mut self, run: &RunId) -> Option<Arc<StepDirs>> {
        let entered = self.runs.get_mut(run)?;
        entered.steps += 1;
        Some(Arc::clone(&entered.dirs))
    }

    /// Keeps what was opened, unless another step of the run was faster.
    fn enter(&mut self, run: &RunId, dirs: Arc<StepDirs>) -> Arc<StepDirs> {
        self.step.get_or_insert_with(|| dirs.step.clone());
        let entered = self.runs.entry(run.clone()).or_insert(Entered { dirs, steps: 0 });
        entered.steps += 1;
        Arc::clone(&entered.dirs)
    }

    /// A run between two steps keeps its directories, so that a chain opens them once; what is kept is bounded.
    fn leave(&mut self, run: &RunId) {
        if let Some(entered) = self.runs.get_mut(run) {
            entered.steps = entered.steps.saturating_sub(1);
        }
        if self.runs.len() > limits::DIRECTORY_IDLE_RUNS {
            self.runs.retain(|_, entered| entered.steps > 0);
        }
    }
}

fn open(known: Option<DirHandle>, workdir: &Path, runs_root: &Path, run: &RunId) -> Result<StepDirs, Fault> {
    let step = known.map_or_else(|| open_workdir(workdir), Ok)?;
    let out = make_out(runs_root, run).map_err(|error| {
        let path = runs_root.join(run.as_str()).join("out");
        Fault::new(
            cofferdam_core::fault::Class::User,
            "output_directory",
            format!("the output directory `{}` cannot be made: {error}", path.display()),
        )
    })?;
    Ok(StepDirs { step, out })
}

fn open_workdir(workdir: &Path) -> Result<DirHandle, Fault> {
    let opened = fs::metadata(workdir).and_then(|found| match found.is_dir() {
        true => fs::File::open(workdir),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    opened.map(DirHandle::new).map_err(|error| {
        Fault::user(
            "working_directory",
            format!("the working directory `{}` cannot be opened: {error}", workdir.display()),
        )
        .with_hint("name an existing directory with `--workdir`")
    })
}

/// Makes the output directory. Below the root no link is followed: a step that can write there must not choose
/// where the next run writes.
fn make_out(runs_root: &Path, run: &RunId) -> io::Result<DirHandle> {
    make_runs_root(runs_root)?;
    let root = Dir::open_ambient_dir(runs_root, cap_std::ambient_authority())?;
    let mut dir = root;
    for name in [run.as_str(), "out"] {
        let mut private = DirBuilder::new();
        private.mode(0o700);
        match dir.create_dir_with(name, &private) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !dir.symlink_metadata(name)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        dir = dir.open_dir(name)?;
    }
    Ok(DirHandle::new(dir.into_std_file()))
}

/// Makes the root of all runs, which no repository shall take in.
fn make_runs_root(runs_root: &Path) -> io::Result<()> {
    if runs_root.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(runs_root)?;
    match fs::File::options().write(true).create_new(true).open(runs_root.join(".gitignore")) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::id::StepPath;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    fn run(name: &str) -> RunId {
        RunId::parse(name).unwrap()
    }

    fn entry(name: &str) -> StepEntry {
        let (step, mode) = (StepPath::from("one"), IsolationMode::None);
        StepEntry { run: run(name), step, attempt: 1, mode, continues: false }
    }

    fn directories(workdir: PathBuf, runs_root: PathBuf) -> Directories {
        Directories::new(workdir, runs_root, OsStr::new(""))
    }

    fn inode(handle: &DirHandle) -> u64 {
        handle.as_file().metadata().unwrap().ino()
    }

    #[tokio::test]
    async fn steps_share_a_directory_and_runs_have_their_own_output() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join(".cofferdam/runs");
        let shared = directories(folder.path().to_owned(), runs.clone());
        assert!(!runs.exists(), "nothing is made before a step enters");
        let a = shared.enter(&entry("a")).await.unwrap();
        let again = shared.enter(&entry("a")).await.unwrap();
        let b = shared.enter(&entry("b")).await.unwrap();
        assert!(Arc::ptr_eq(&a, &again));
        assert_eq!(inode(&a.step), inode(&b.step));
        assert_ne!(inode(&a.out), inode(&b.out));
        let out = shared.out_path(&run("a"));
        assert_eq!(fs::metadata(&out).unwrap().ino(), inode(&a.out));
        for path in [&out, &runs] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        assert_eq!(fs::read_to_string(runs.join(".gitignore")).unwrap(), "*\n");
    }

    #[tokio::test]
    async fn a_missing_working_directory_is_the_users_to_mend() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for workdir in [folder.path().join("none"), file] {
            let shared = directories(workdir.clone(), folder.path().join("runs"));
            let fault = shared.enter(&entry("a")).await.unwrap_err();
            assert_eq!(fault.code, "working_directory");
            assert!(fault.message.contains(&workdir.display().to_string()) && fault.hint.is_some());
        }
    }

    #[tokio::test]
    async fn a_link_does_not_choose_where_a_run_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (runs, outside) = (folder.path().join("runs"), folder.path().join("outside"));
        for path in [&runs, &outside, &runs.join("b")] {
            fs::create_dir(path).unwrap();
        }
        std::os::unix::fs::symlink(&outside, runs.join("a")).unwrap();
        std::os::unix::fs::symlink("../../outside", runs.join("b/out")).unwrap();
        let shared = directories(folder.path().to_owned(), runs);
        for name in ["a", "b"] {
            assert_eq!(shared.enter(&entry(name)).await.unwrap_err().code, "output_directory");
        }
        assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn directories_of_runs_that_ended_are_not_kept_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let shared = directories(folder.path().to_owned(), folder.path().join("runs"));
        let busy = shared.enter(&entry("busy")).await.unwrap();
        for number in 0..200 {
            let own = entry(&format!("run-{number}"));
            shared.enter(&own).await.unwrap();
            shared.leave(&own, TryEnd::Itself).await;
        }
        assert!(shared.state().runs.len() <= limits::DIRECTORY_IDLE_RUNS);
        assert!(Arc::ptr_eq(&busy, &shared.enter(&entry("busy")).await.unwrap()));
    }
}
