//! The tool `exec`: a command of the shell, in the step's directory, confined as far as the kernel permits.
//!
//! It is there only where it was asked for. Every end of a call is the end of the command's whole process group.

mod confine;

pub use confine::main as confined;

use cofferdam_child::{Ended, Group, Pipes};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::limits;
use cofferdam_core::port::{DirHandle, Effects, StepDirs, ToolContext, ToolDefinition, ToolOutput};
use confine::Order;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// How commands are run. Without it there is no tool `exec`.
#[derive(Clone, Debug)]
pub struct ExecSettings {
    /// A program that calls [`confined`] when it is run with these arguments and one more.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The variables that commands get, `PATH` above all. `HOME` and `TMPDIR` are a directory of the call unless they are here.
    pub variables: BTreeMap<String, OsString>,
    /// What commands may read besides the system's directories and those of `PATH`.
    pub read: Vec<PathBuf>,
    /// What they may write besides the directories of their step.
    pub write: Vec<PathBuf>,
    /// Whether they may use TCP. Other protocols are not confined.
    pub network: bool,
}

/// Where the system keeps programs, libraries and their settings, and what it says of itself. The rest of `/proc` stays closed:
/// it shows what other processes were started with, keys of models among it.
const SYSTEM: [&str; 18] = [
    "/bin",
    "/sbin",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/nix",
    "/sys",
    "/proc/sys",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
];

/// How long what is left in the pipes of a command that has ended is waited for.
const DRAIN: Duration = Duration::from_secs(1);

/// How many names are tried for the directory of a call.
const TRIES: usize = 16;

/// How long the end of a command waits for its temporary directory to be removed.
const TIDY: Duration = Duration::from_secs(5);

/// Enough to remove a tree that is as deep as a process may have files open.
const TIDY_STACK_BYTES: usize = 256 * 1024 * 1024;

/// What `exec` says of itself.
pub(crate) fn definition() -> ToolDefinition {
    ToolDefinition {
        name: LocalName::parse("exec").expect("`exec` follows the grammar of tool names"),
        title: Some("Run a command".to_owned()),
        description: "Runs a command with `/bin/sh -c` in the working directory and gives its exit code and what it wrote, in the middle \
                      cut out where that is long. It sees the working directory, the run's output directory (`$OUT`), a temporary \
                      directory of its own (`$TMPDIR`) and the system's programs. It gets no input, and what it leaves running in its process group ends with it."
            .to_owned(),
        input_schema: Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["command"],
            "properties": {
                "command": { "type": "string", "minLength": 1, "maxLength": limits::EXEC_COMMAND_BYTES, "description": "A command line of the shell." },
                "timeout_s": { "type": "integer", "minimum": 1, "maximum": limits::EXEC_TIMEOUT_MAX_S, "default": limits::EXEC_TIMEOUT_S, "description": "After so many seconds it is killed." },
            },
        })),
        output_schema: Some(Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["exit_code", "stdout", "stderr", "truncated", "timed_out", "confined"],
            "properties": {
                "exit_code": { "type": ["integer", "null"], "description": "128 and the number of the signal that ended it; null when it was killed." },
                "stdout": { "type": "string" },
                "stderr": { "type": "string" },
                "truncated": { "type": "boolean", "description": "Whether something of it was left out." },
                "timed_out": { "type": "boolean" },
                "confined": { "type": "boolean", "description": "Whether the kernel kept it to its directories." },
            },
        }))),
        effects: Effects { destructive: true, open_world: true, ..Effects::default() },
        examples: vec![json!({ "command": "ls -l" }), json!({ "command": "cargo test", "timeout_s": 600 })],
    }
}

/// The arguments of `exec`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    command: String,
    timeout_s: Option<u64>,
}

/// Runs a command. Dropping the future kills it.
pub(crate) async fn run(settings: &ExecSettings, ctx: ToolContext, args: Args) -> Result<ToolOutput, Fault> {
    let fault = |error: io::Error| Fault::step("io", format!("the command cannot be run: {error}"));
    let timeout = Duration::from_secs(args.timeout_s.unwrap_or(limits::EXEC_TIMEOUT_S).min(limits::EXEC_TIMEOUT_MAX_S));
    let (own, dirs, command) = (settings.clone(), Arc::clone(&ctx.dirs), args.command);
    let confined = confine::is_supported();
    let started = tokio::task::spawn_blocking(move || start(&own, &dirs, command)).await;
    let started = started.map_err(|error| Fault::bug(format!("starting a command broke off: {error}")))?;
    // When nobody waits any longer, the command is killed before its directory goes.
    let (temporary, running, pipes) = started.map_err(fault)?;
    // Held open as long as somebody waits: the command ends with it.
    let _input = pipes.stdin;
    let (mut stdout, mut stderr) = (Kept::default(), Kept::default());
    let group = Arc::clone(&running.group);
    let waiting = tokio::time::timeout(timeout, tokio::task::spawn_blocking(move || group.wait()));
    let ended = {
        let (out, err) = (keep(pipes.stdout, &mut stdout), keep(pipes.stderr, &mut stderr));
        let mut reading = std::pin::pin!(async { tokio::join!(out, err) });
        let mut waiting = std::pin::pin!(waiting);
        let mut read = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut waiting => break ended,
                _ = &mut reading, if !read => read = true,
            }
        };
        running.group.kill();
        if !read {
            // Whoever left the group may hold the pipes: what came through them is kept, the rest is not waited for.
            let _ = tokio::time::timeout(DRAIN, &mut reading).await;
        }
        ended
    };
    temporary.remove().await;
    let ended = match ended {
        Err(_) => None,
        Ok(ended) => Some(ended.ok().flatten()),
    };
    Ok(output(timeout, ended, (&stdout, &stderr), confined))
}

/// A command that runs.
struct Running {
    group: Arc<Group>,
    /// The program opens them by their numbers.
    _dirs: Arc<StepDirs>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.kill();
    }
}

fn start(settings: &ExecSettings, dirs: &Arc<StepDirs>, command: String) -> io::Result<(Temporary, Running, Pipes)> {
    let temporary = Temporary::make()?;
    let (step, out) = (path_of(&dirs.step)?, path_of(&dirs.out)?);
    let search = settings.variables.get("PATH").cloned().unwrap_or_default();
    // What lies where commands write is reached through the directory, and never by a name that one of them may have changed.
    let own = [step.as_path(), out.as_path(), temporary.path.as_path()];
    let is_apart = |path: &PathBuf| path.is_absolute() && !lies_in(path, &own);
    let named =
        SYSTEM.map(PathBuf::from).into_iter().chain(std::env::split_paths(&search)).chain(settings.read.clone());
    let write = settings.write.iter().filter(|path| is_apart(path)).cloned();
    let order = Order {
        command,
        write: write.chain([open_path(&dirs.out), temporary.path.clone()]).collect(),
        read: named.filter(is_apart).collect(),
        network: settings.network,
    };
    let mut program = Command::new(&settings.program);
    program.args(&settings.args).arg(serde_json::to_string(&order)?).env_clear();
    program.env("HOME", &temporary.path).env("TMPDIR", &temporary.path).env("OUT", &out).env("TERM", "dumb");
    program.envs(&settings.variables);
    // In the process that becomes the program, which has it open until then.
    program.current_dir(format!("/proc/self/fd/{}", dirs.step.as_file().as_raw_fd()));
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (group, pipes) = Group::start_session(&mut program)?;
    Ok((temporary, Running { group: Arc::new(group), _dirs: Arc::clone(dirs) }, pipes))
}

/// Whether a path, or a directory on the way to it, is one of these or below.
fn lies_in(path: &Path, own: &[&Path]) -> bool {
    let real = path.ancestors().filter_map(|ancestor| ancestor.canonicalize().ok());
    real.into_iter().any(|ancestor| own.iter().any(|own| ancestor.starts_with(own)))
}

/// An open directory itself, whatever stands under its name by now, for a program that this process starts.
fn open_path(dir: &DirHandle) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), dir.as_file().as_raw_fd()).into()
}

/// Where an open directory is.
fn path_of(dir: &DirHandle) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", dir.as_file().as_raw_fd()))
}

/// A directory that goes with its call.
struct Temporary {
    path: PathBuf,
    /// Whether somebody sees to its end already.
    going: bool,
}

impl Temporary {
    fn make() -> io::Result<Self> {
        let parent = std::env::temp_dir().canonicalize()?;
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for number in 0..TRIES {
            // Seeded by the system, so that no command knows what the next one will have.
            let path = parent.join(format!("cofferdam-exec-{:016x}", RandomState::new().hash_one(number)));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, going: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

impl Temporary {
    /// Removes it, however deep it is; after a while it goes on without being waited for.
    async fn remove(mut self) {
        self.going = true;
        let (done, removed) = tokio::sync::oneshot::channel();
        self.tidy(move || {
            // Whoever waits may have given up.
            let _ = done.send(());
        });
        let _ = tokio::time::timeout(TIDY, removed).await;
    }

    fn tidy(&self, then: impl FnOnce() + Send + 'static) {
        let path = self.path.clone();
        let thread = std::thread::Builder::new().name("exec-tidy".to_owned()).stack_size(TIDY_STACK_BYTES);
        let spawned = thread.spawn(move || {
            let removed = fs::remove_dir_all(&path).or_else(|_| {
                open_up(&path);
                fs::remove_dir_all(&path)
            });
            if let Err(error) = removed {
                tracing::warn!(%error, path = %path.display(), "the temporary directory of a command stays");
            }
            then();
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, path = %self.path.display(), "the temporary directory of a command stays");
        }
    }
}

/// Of a command that was cancelled: the process may end before a thread has done anything.
impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.going && fs::remove_dir(&self.path).is_err() {
            self.tidy(|| ());
        }
    }
}

/// Opens directories that a command has closed to their owner.
fn open_up(path: &Path) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|there| there.is_dir());
    if !is_directory || fs::set_permissions(path, fs::Permissions::from_mode(0o700)).is_err() {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        open_up(&entry.path());
    }
}

/// The beginning and the end of what a command wrote.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
    /// Whether the end was reached.
    whole: bool,
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let room = limits::EXEC_HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(limits::EXEC_TAIL_BYTES);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.left_out == 0 {
            return String::from_utf8_lossy(&[self.head.as_slice(), &tail].concat()).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[... {} bytes left out ...]\n{tail}", self.left_out)
    }

    fn is_cut(&self) -> bool {
        self.left_out > 0 || !self.whole
    }
}

/// Reads to the end and keeps what there is room for.
async fn keep(pipe: Option<impl Into<OwnedFd>>, kept: &mut Kept) {
    let Some(Ok(mut pipe)) = pipe.map(|pipe| Receiver::from_owned_fd(pipe.into())) else { return };
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = pipe.read(&mut buffer).await {
        if read == 0 {
            kept.whole = true;
            return;
        }
        kept.take(buffer.get(..read).unwrap_or_default());
    }
}

/// What the caller sees; `ended` is none when the time was over.
fn output(
    timeout: Duration,
    ended: Option<Option<Ended>>,
    (stdout, stderr): (&Kept, &Kept),
    confined: bool,
) -> ToolOutput {
    let code = ended.flatten().map(|ended| match ended {
        Ended::Code(code) => code,
        Ended::Signal(signal) => 128 + signal,
    });
    let timed_out = ended.is_none();
    let (out, err) = (stdout.text(), stderr.text());
    let mut content = out.clone();
    if !err.is_empty() {
        content.push_str(&format!("\n[standard error]\n{err}"));
    }
    match code {
        _ if timed_out => content.push_str(&format!("\n[killed after {} s]", timeout.as_secs())),
        Some(0) => {}
        Some(code) => content.push_str(&format!("\n[exit code {code}]")),
        None => content.push_str("\n[killed]"),
    }
    let result = json!({
        "exit_code": code.map_or(Value::Null, Value::from),
        "stdout": out,
        "stderr": err,
        "truncated": stdout.is_cut() || stderr.is_cut(),
        "timed_out": timed_out,
        "confined": confined,
    });
    ToolOutput { result: Arc::new(result), content: Some(content.trim_start_matches('\n').into()) }
}
