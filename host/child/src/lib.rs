//! Programs that this process starts: each in a process group of its own, and killed with its group.
//!
//! It must not know what the programs are for. None is reaped before its group was killed: until then the number of the group
//! is ours and nobody else's.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group, waitid};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The groups of all programs that run in this process. None once the process is about to end.
static GROUPS: Mutex<Option<Vec<Pid>>> = Mutex::new(Some(Vec::new()));

fn groups() -> MutexGuard<'static, Option<Vec<Pid>>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills all programs with their groups, for a process that is about to end without unwinding. None starts afterwards.
pub fn kill_all() {
    groups().take().into_iter().flatten().for_each(kill_group);
}

/// Makes this process the leader of a session and a group of its own, without a terminal. It must not lead a group already.
///
/// # Errors
/// When it leads one.
pub fn lead_session() -> io::Result<()> {
    rustix::process::setsid().map(drop).map_err(io::Error::from)
}

/// Kills the group that this process is in, itself included.
pub fn kill_own_group() {
    kill_group(rustix::process::getpgrp());
}

fn kill_group(pid: Pid) {
    // One that does not lead its group yet has started nothing.
    if let Err(error) = kill_process_group(pid, Signal::KILL).or_else(|_| kill_process(pid, Signal::KILL)) {
        tracing::debug!(%error, "a group of processes cannot be killed");
    }
}

/// A program and all that it starts and that stays in its group. Dropping it kills them.
#[derive(Debug)]
pub struct Group {
    child: Mutex<Option<Child>>,
    pid: Pid,
}

/// The ends of a program's pipes that were asked for.
#[derive(Debug)]
pub struct Pipes {
    /// Its standard input.
    pub stdin: Option<ChildStdin>,
    /// Its standard output.
    pub stdout: Option<ChildStdout>,
    /// Its standard error.
    pub stderr: Option<ChildStderr>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Group {
    /// Starts a program in a group of its own. Under one lock with [`kill_all`], so that none is missed by it and none starts
    /// behind it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &mut Command) -> io::Result<(Self, Pipes)> {
        Self::begin(program.process_group(0))
    }

    /// The same for a program that begins with [`lead_session`], by which it also leaves the terminal of this process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_session(program: &mut Command) -> io::Result<(Self, Pipes)> {
        Self::begin(program)
    }

    fn begin(program: &mut Command) -> io::Result<(Self, Pipes)> {
        let mut groups = groups();
        let groups = groups.as_mut().ok_or_else(|| io::Error::other("this process is about to end"))?;
        let mut child = program.spawn()?;
        let pid = Pid::from_child(&child);
        groups.push(pid);
        let pipes = Pipes { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() };
        Ok((Self { child: Mutex::new(Some(child)), pid }, pipes))
    }

    /// Whether the program itself has ended; it stays to be reaped.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self.look(WaitIdOptions::NOHANG), Ok(None))
    }

    /// Waits, blocking the thread, until the program itself has ended; it stays to be reaped. None when it was killed and
    /// reaped meanwhile.
    #[must_use]
    pub fn wait(&self) -> Option<Ended> {
        let status = self.look(WaitIdOptions::empty()).ok().flatten()?;
        let signal = status.terminating_signal().map(Ended::Signal);
        signal.or_else(|| status.exit_status().map(Ended::Code))
    }

    fn look(&self, how: WaitIdOptions) -> rustix::io::Result<Option<WaitIdStatus>> {
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | how))
    }

    /// Kills the group, once.
    pub fn kill(&self) {
        let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        groups().iter_mut().for_each(|groups| groups.retain(|pid| *pid != self.pid));
        kill_group(self.pid);
        // It ends at once, unless the kernel holds it; nobody waits for that.
        let reap = move || drop(child.wait());
        if let Err(error) = std::thread::Builder::new().name("reap".to_owned()).spawn(reap) {
            tracing::debug!(%error, "a program is not reaped");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
