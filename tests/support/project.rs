//! A folder of a user, and the `cofferdam` binary run in it as a user runs it: with an environment of its own, without
//! a terminal, never for longer than a minute.
//!
//! It must not look into the host: what it sees is what a user sees.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Once, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;

/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with nothing in it but what the test put there.
#[derive(Debug)]
pub(crate) struct Project {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    pid: Pid,
    lines: mpsc::Receiver<String>,
    exit: mpsc::Receiver<ExitStatus>,
    stdout: JoinHandle<String>,
}

impl Project {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("cofferdam-test-").tempdir().unwrap();
        // Found first, so that no project above the temporary folder is.
        fs::create_dir(folder.path().join(".cofferdam")).unwrap();
        Self { folder, variables: Vec::new() }
    }

    /// A folder in which the plugins that come along need not be compiled again.
    pub(crate) fn with_plugins() -> Self {
        let project = Self::new();
        compile_plugins();
        project
    }

    /// A folder without the directory of records.
    pub(crate) fn bare() -> Self {
        let project = Self::new();
        fs::remove_dir(project.path(".cofferdam")).unwrap();
        project
    }

    /// Sets a variable of the environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file; folders are made.
    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Copies a folder into this one.
    pub(crate) fn copy_from(&self, folder: &Path) -> &Self {
        copy(folder, self.folder.path());
        self
    }

    /// Copies a folder to a place in this one.
    pub(crate) fn copy_to(&self, folder: &Path, place: &str) -> &Self {
        copy(folder, &self.path(place));
        self
    }

    /// Copies a folder of the repository to the same place here.
    pub(crate) fn copy_from_repository(&self, folder: &str) -> &Self {
        copy(&super::repository().join(folder), &self.path(folder));
        self
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.finish(self.command(args))
    }

    /// Runs a command to its end, with something to read.
    pub(crate) fn run_reading(&self, args: &[&str], input: &str) -> Outcome {
        self.file("stdin.txt", input);
        let mut command = self.command(args);
        command.stdin(fs::File::open(self.path("stdin.txt")).unwrap());
        self.finish(command)
    }

    /// Runs a command whose reader goes away at once.
    pub(crate) fn run_unread(&self, args: &[&str]) -> Outcome {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = self.command(args);
        command.stdout(writer);
        self.finish(command)
    }

    /// Runs a command that was made before to its end.
    pub(crate) fn finish(&self, mut command: Command) -> Outcome {
        let running = Running::new(command.spawn().unwrap());
        // The parent's copy of a pipe would keep it open.
        drop(command);
        running.wait()
    }

    /// Starts a command.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::new(self.command(args).spawn().unwrap())
    }

    /// The command, with nothing of the environment of whoever runs the tests.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.args(args).current_dir(self.folder.path()).env_clear();
        // Port 9 answers nobody: whether this machine has a local model is not what is tested.
        let user = super::user_directory();
        command.env("XDG_CACHE_HOME", user.join("cache")).env("XDG_STATE_HOME", user.join("state"));
        command.env("HOME", self.path("home")).env("OLLAMA_HOST", "http://127.0.0.1:9");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Running {
    fn new(mut child: Child) -> Self {
        let pid = Pid::from_child(&child);
        let stdout = child.stdout.take();
        let stdout = thread::spawn(move || stdout.map(read_all).unwrap_or_default());
        let stderr = child.stderr.take().unwrap();
        let (send_line, lines) = mpsc::channel();
        let (send_exit, exit) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                // Nobody may be left who listens.
                let _ = send_line.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                let _ = send_exit.send(status);
            }
        });
        Self { pid, lines, exit, stdout }
    }

    /// Waits until a line on stderr contains a text; the lines until then.
    pub(crate) fn until(&self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let line = self.lines.recv_timeout(PATIENCE);
            seen.push_str(&line.unwrap_or_else(|_| panic!("`{text}` was never said:\n{seen}")));
            seen.push('\n');
        }
        seen
    }

    /// Sends a signal to this command and no other.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Sends a signal, unless the command has ended already.
    pub(crate) fn signal_if_there(&self, signal: Signal) {
        let sent = kill_process(self.pid, signal);
        assert!(matches!(sent, Ok(()) | Err(rustix::io::Errno::SRCH)), "{sent:?}");
    }

    /// Waits for the end; a command that hangs is killed and fails the test.
    pub(crate) fn wait(self) -> Outcome {
        let Ok(status) = self.exit.recv_timeout(PATIENCE) else {
            let _ = kill_process(self.pid, Signal::KILL);
            panic!("the command hangs; it said: {}", self.lines.iter().collect::<Vec<_>>().join("\n"));
        };
        let stdout = self.stdout.join().unwrap();
        let stderr: String = self.lines.iter().map(|line| line + "\n").collect();
        Outcome { code: status.code(), stdout, stderr }
    }
}

fn read_all(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Outcome {
    /// Fails the test with everything that was said, unless the exit code is this one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Fails the test unless stderr contains all of these.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is not in\n{}", self.stderr);
        }
        self
    }

    /// The lines of stdout as JSON.
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// Compiles each plugin that comes along, once, so that tests that run at the same time do not all do it.
fn compile_plugins() {
    static COMPILED: Once = Once::new();
    COMPILED.call_once(|| {
        let project = Project::new();
        for name in cofferdam_guests::FIRST_PARTY {
            project.run(&["plugin", "inspect", &format!("builtin:{name}")]).expect(0);
        }
    });
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
            // The cache is closed to others, and refuses to be open.
            fs::set_permissions(&target, entry.metadata().unwrap().permissions()).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
