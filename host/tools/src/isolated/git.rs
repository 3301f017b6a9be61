//! Worktrees, by the program `git`: bounded in time, with an environment of its own, and without hooks.
//!
//! A step can write all that is in its worktree, so nothing there says what git does: the repository is always named, and
//! never found by the `.git` in the worktree.

use super::place::{Own, State};
use super::save;
use cofferdam_child::{Ended, Group};
use cofferdam_core::event::{ChangedFile, Changes, FileChange};
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Settings that beat those of the repository: none of them starts a program.
const SETTINGS: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.sparseCheckout=false",
    "core.quotePath=false",
    "submodule.recurse=false",
    "worktree.useRelativePaths=false",
    "protocol.allow=never",
    "gc.auto=0",
    // What was changed is what is saved, and a patch applies.
    "core.fileMode=true",
    "core.safecrlf=false",
    "diff.context=3",
    "diff.orderFile=/dev/null",
];

/// What an error of git is cut to.
const ERROR_BYTES: u64 = 4 * 1024;

/// The program.
pub(super) struct Git {
    /// Where it and what it starts is looked for. Nothing relative is among it: that would be looked for in worktrees.
    search: Vec<PathBuf>,
}

/// A repository, as it is around the working directory.
pub(super) struct Repository {
    /// The directory that is checked out.
    root: PathBuf,
    /// The repository's own directory.
    pub(super) common: PathBuf,
    /// The working directory below the root; empty, or ending in `/`.
    pub(super) prefix: String,
    /// The last commit.
    pub(super) head: String,
}

impl Repository {
    /// The working directory.
    pub(super) fn here(&self) -> PathBuf {
        if self.prefix.is_empty() { self.root.clone() } else { self.root.join(&self.prefix) }
    }
}

struct Said {
    success: bool,
    stdout: Vec<u8>,
    /// There was more than is kept.
    cut: bool,
    stderr: String,
}

impl Git {
    pub(super) fn new(search: &OsStr) -> Self {
        Self { search: std::env::split_paths(search).filter(|path| path.is_absolute()).collect() }
    }

    /// The repository that a directory is in.
    pub(super) fn find(&self, workdir: &Path) -> Result<Repository, Fault> {
        let workdir = workdir.canonicalize().unwrap_or_else(|_| workdir.to_owned());
        let (workdir, here) = (workdir.as_path(), workdir.display());
        let ask = ["rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir", "--show-prefix"];
        let said = self.ask(workdir, &ask)?;
        let mut lines = said.stdout.split(|byte| *byte == b'\n');
        let mut line = || lines.next().map(<[u8]>::to_vec).unwrap_or_default();
        let (root, common, prefix) = (line(), line(), line());
        if !said.success || root.is_empty() || common.is_empty() {
            let message = format!(
                "`isolation: worktree-per-step` needs a git repository, and `{here}` is in none: {}",
                said.stderr
            );
            return Err(Fault::user("isolation", message.trim_end_matches([':', ' ']))
                .with_hint("`git init` and commit, name another `--workdir`, or take `copy-per-step`"));
        }
        let prefix = String::from_utf8(prefix)
            .map_err(|_| Fault::user("isolation", format!("the path of `{here}` in its repository is no UTF-8")))?;
        let head = self.ask(workdir, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?;
        if !head.success {
            return Err(Fault::user("isolation", format!("the repository of `{here}` has no commit to begin with"))
                .with_hint("commit what steps shall see, or take `copy-per-step`"));
        }
        let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
        if !prefix.is_empty() && !self.ask(workdir, &["cat-file", "-e", &format!("{head}:{prefix}")])?.success {
            return Err(Fault::user("isolation", format!("`{here}` is not in the last commit of its repository"))
                .with_hint("commit it, or take `copy-per-step`"));
        }
        let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
        Ok(Repository { root: path(root), common: path(common), prefix, head })
    }

    /// Whether something in the working directory is not committed.
    pub(super) fn is_dirty(&self, repository: &Repository) -> Result<bool, Fault> {
        let said = self.ask(&repository.here(), &["status", "--porcelain", "--ignore-submodules=all", "--", "."])?;
        Ok(!said.stdout.is_empty())
    }

    /// Makes a worktree of the last commit; gives what the repository keeps of it.
    pub(super) fn add_worktree(&self, repository: &Repository, path: &Path) -> Result<PathBuf, Fault> {
        // By force where the repository still knows of one at this place that is gone.
        let args = ["worktree", "add", "--quiet", "--detach", "--force"].map(OsStr::new);
        let args = [&args[..], &[path.as_os_str(), OsStr::new(&repository.head)]].concat();
        let said = self.run(&repository.root, &args, &[])?;
        if !said.success {
            let message = format!("git cannot make the worktree `{}`: {}", path.display(), said.stderr);
            return Err(Fault::user("isolation", message));
        }
        // Nobody has been there yet.
        let link = fs::read(path.join(".git")).unwrap_or_default();
        let admin = link.strip_prefix(b"gitdir: ").map(<[u8]>::trim_ascii_end);
        let admin = admin.map(|admin| PathBuf::from(OsStr::from_bytes(admin)));
        admin.filter(|admin| admin.starts_with(repository.common.join("worktrees"))).ok_or_else(|| {
            Fault::user("isolation", format!("git made the worktree `{}` in an unknown way", path.display()))
        })
    }

    /// Saves what was changed in a worktree as a patch.
    pub(super) fn save(&self, own: &Own, state: &State, changes: &mut Changes) -> Result<(), String> {
        let (Some(common), Some(head)) = (&state.common, &state.head) else {
            return Err("it is not known of which repository it is".to_owned());
        };
        let failed = |error: io::Error| save::unsaved(&error);
        // The program has a working directory of its own.
        let path = own.path.canonicalize().map_err(failed)?;
        let (tree, index) = (path.join(super::place::TREE), path.join("index"));
        let _ = fs::remove_file(&index);
        let variables: [(&str, &OsStr); 1] = [("GIT_INDEX_FILE", index.as_os_str())];
        let below = if state.prefix.is_empty() { "." } else { state.prefix.as_str() };
        let in_tree = |args: &[&str]| {
            let mut all: Vec<OsString> =
                vec!["--git-dir".into(), common.into(), "--work-tree".into(), tree.clone().into()];
            all.extend(args.iter().map(OsString::from));
            let all: Vec<&OsStr> = all.iter().map(OsString::as_os_str).collect();
            self.run(&tree, &all, &variables).map_err(|fault| fault.message)
        };
        let read = in_tree(&["read-tree", head])?;
        if !read.success {
            return Err(format!("git cannot read `{head}`: {}", read.stderr));
        }
        let added = in_tree(&["add", "--all", "--ignore-errors", "--", below])?;
        if !added.success {
            changes.incomplete = Some(format!("git cannot take in all files: {}", added.stderr));
        }
        let diff = [
            "diff",
            "--cached",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "--no-color",
            "--no-relative",
            "--ignore-submodules=none",
            "--submodule=short",
            "--unified=3",
        ];
        let of = |more: &[&str]| in_tree(&[&diff[..], more, &[head.as_str(), "--", below]].concat());
        let listed = of(&["--raw", "--numstat", "-z"])?;
        if !listed.success || listed.cut {
            return Err(format!("git cannot list what was changed: {}", listed.stderr));
        }
        note(&listed.stdout, changes);
        // What lies in the place of a submodule is its repository's, and git does not look there.
        let known = in_tree(&["ls-tree", "-r", "-z", head, "--", below])?;
        let kept = submodules(&known.stdout).into_iter().find(|path| is_filled(&tree.join(path)));
        if let Some(path) = kept {
            changes
                .incomplete
                .get_or_insert(format!("`{path}` is the place of a submodule, and what lies there is in no patch"));
        }
        let patch = of(&["--binary", "--full-index", "--src-prefix=a/", "--dst-prefix=b/"])?;
        let _ = fs::remove_file(&index);
        if patch.cut {
            return Err(format!("the patch would have more than {} bytes", limits::PATCH_BYTES));
        }
        if !patch.success {
            return Err(format!("git cannot make the patch: {}", patch.stderr));
        }
        save::put(own, &patch.stdout, changes).map_err(failed)
    }

    fn ask(&self, at: &Path, args: &[&str]) -> Result<Said, Fault> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        self.run(at, &args, &[])
    }

    fn run(&self, at: &Path, args: &[&OsStr], variables: &[(&str, &OsStr)]) -> Result<Said, Fault> {
        let program = self.search.iter().map(|path| path.join("git")).find(|path| path.is_file());
        let program = program.ok_or_else(|| {
            Fault::user("isolation", "`isolation: worktree-per-step` needs the program `git`, which is not in `PATH`")
                .with_hint("install git, or take `copy-per-step`")
        })?;
        let broken = |error: io::Error| Fault::user("isolation", format!("git cannot be run: {error}"));
        let search = std::env::join_paths(&self.search).map_err(|error| broken(io::Error::other(error)))?;
        let mut command = Command::new(program);
        command.current_dir(at).env_clear().env("PATH", search).env("LC_ALL", "C");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_ATTR_NOSYSTEM", "1");
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_NO_LAZY_FETCH", "1");
        command.env("GIT_LITERAL_PATHSPECS", "1");
        command.envs(variables.iter().copied());
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (group, pipes) = Group::start(&mut command).map_err(broken)?;
        let group = Arc::new(group);
        let _over = watch(&group).map_err(broken)?;
        let errors = pipes.stderr.map(|pipe| {
            std::thread::Builder::new().name("git-errors".to_owned()).spawn(move || keep(pipe, ERROR_BYTES))
        });
        let errors = errors.transpose().map_err(broken)?;
        let (stdout, cut) = pipes.stdout.map(|pipe| keep(pipe, limits::PATCH_BYTES as u64)).unwrap_or_default();
        let (stderr, _) = errors.and_then(|errors| errors.join().ok()).unwrap_or_default();
        match group.wait() {
            None => {
                let message = format!("git was not done within {} s", limits::GIT_SECONDS);
                Err(Fault::step("isolation", message))
            }
            Some(ended) => {
                let stderr = String::from_utf8_lossy(&stderr).trim().replace('\n', "; ");
                Ok(Said { success: ended == Ended::Code(0), stdout, cut, stderr })
            }
        }
    }
}

/// Kills a program whose time is over, unless the end that is given is dropped before.
fn watch(group: &Arc<Group>) -> io::Result<std::sync::mpsc::Sender<()>> {
    let (over, waiting) = channel();
    let group = Arc::clone(group);
    std::thread::Builder::new().name("git-time".to_owned()).spawn(move || {
        let time = Duration::from_secs(limits::GIT_SECONDS);
        if waiting.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            group.kill();
        }
    })?;
    Ok(over)
}

/// Reads to the end, and keeps the beginning; says whether there was more.
fn keep(mut pipe: impl Read, most: u64) -> (Vec<u8>, bool) {
    let mut kept = Vec::new();
    // What cannot be read is as what was not said: the program's end tells.
    let _ = pipe.by_ref().take(most).read_to_end(&mut kept);
    let rest = io::copy(&mut pipe, &mut io::sink()).unwrap_or_default();
    (kept, rest > 0)
}

/// The places of submodules in what `git ls-tree -r -z` says: `MODE TYPE HASH\tPATH`.
fn submodules(listed: &[u8]) -> Vec<String> {
    let lines = listed.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let modules = lines.filter(|line| line.starts_with("160000 "));
    modules.filter_map(|line| line.split_once('\t').map(|(_, path)| path.to_owned())).collect()
}

/// Whether something lies in a directory.
fn is_filled(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}

/// Takes in what `git diff --raw --numstat -z` says: `:MODE MODE HASH HASH LETTER`, the path, and then `ADDED\tREMOVED\tPATH`, where
/// files that are no text have `-`.
fn note(listed: &[u8], changes: &mut Changes) {
    let mut parts = listed.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    while let Some(part) = parts.next() {
        if let Some(raw) = part.strip_prefix(':') {
            let path = parts.next().unwrap_or_default().into_owned();
            let change = match raw.bytes().next_back() {
                Some(b'A') => FileChange::Added,
                Some(b'D') => FileChange::Deleted,
                _ => FileChange::Modified,
            };
            if raw.split(' ').nth(1) == Some("160000") {
                changes.incomplete = Some(format!("`{path}` is a repository of its own"));
            }
            changes.files.push(ChangedFile { path, change, binary: false });
        } else if let Some(path) = part.strip_prefix("-\t-\t")
            && let Some(file) = changes.files.iter_mut().find(|file| file.path == path)
        {
            file.binary = true;
        }
    }
}

/// Takes away what a repository keeps of a worktree that is gone, and of no other.
pub(super) fn forget(admin: &Path, tree: &Path) -> io::Result<()> {
    let is_worktree = admin.parent().is_some_and(|parent| parent.ends_with("worktrees"));
    let link = fs::read(admin.join("gitdir")).unwrap_or_default();
    let of = Path::new(OsStr::from_bytes(link.trim_ascii_end()));
    if is_worktree && of == tree.join(".git") { super::place::remove_tree(admin) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_submodules_are_found() {
        let listed = b"100644 blob a\ta.rs\x00160000 commit b\tlib/sub\0";
        assert_eq!(submodules(listed), ["lib/sub"]);
    }

    #[test]
    fn what_git_lists_is_read() {
        let mut changes = Changes::default();
        let listed = b":100644 100644 a b M\0src/a.rs\0:000000 100644 0 c A\0pic\0:100644 000000 d 0 D\0old\0\
            1\t2\tsrc/a.rs\0-\t-\tpic\x000\t9\told\0";
        note(listed, &mut changes);
        let files: Vec<_> = changes.files.iter().map(|file| (&*file.path, file.change, file.binary)).collect();
        assert_eq!(
            files,
            [
                ("src/a.rs", FileChange::Modified, false),
                ("pic", FileChange::Added, true),
                ("old", FileChange::Deleted, false)
            ]
        );
        assert_eq!(changes.incomplete, None);
    }
}
