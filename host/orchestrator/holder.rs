//! Who this process is to others that look after the same runs, and whether another one has ended.

use super::Orchestrator;
use super::conversation::refuse_reserved;
use crate::error::Error;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, Lease, LeaseRequest, Owner};
use cofferdam_engine::Holder;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// The places of what is read in `/proc/PID/stat`, behind the name, which ends with the last `)` (proc_pid_stat(5)).
const STATE: usize = 0;
const THREADS: usize = 17;
const START_TIME: usize = 19;

/// The processes of a machine outside of containers (`PROC_PID_INIT_INO` of the kernel).
const FIRST_SPACE: &str = "pid:[4026531836]";

impl Orchestrator {
    /// Who works on a run now: none when nobody does, or its process has ended. A run that is recorded as `running` and that
    /// nobody works on was interrupted. It costs one small read, however long the run is.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn worked_on_by(&self, run: &RunId) -> Result<Option<Lease>, Error> {
        let lease = self.runs().holder(run).await?;
        Ok(lease.filter(|lease| lease.until > self.clock().now() && !is_gone(&lease.owner)))
    }

    /// Takes a run that nobody works on, so that nobody begins to while it is deleted.
    ///
    /// # Errors
    /// [`JournalError::Held`] when somebody works on it; [`Error::Refused`] when it is no run but the conversation that
    /// coordinators share.
    pub async fn claim(&self, run: &RunId) -> Result<(), Error> {
        refuse_reserved(run)?;
        let (journal, owner) = (self.runs(), holder().owner);
        let (now, hold) = (self.clock().now(), Duration::from_millis(limits::LEASE_HOLD_MS));
        if self.shared.running().values().any(|running| running == run) {
            let lease = Lease { owner, epoch: 0, until: now.after(hold) };
            return Err(JournalError::Held(Box::new(lease)).into());
        }
        let request = LeaseRequest { run: run.clone(), owner, epoch: 0, now, hold, owner_is_gone: false };
        match journal.lease(request.clone()).await {
            Err(JournalError::Held(held)) if is_gone(&held.owner) => {
                journal.lease(LeaseRequest { epoch: held.epoch, owner_is_gone: true, ..request }).await?;
            }
            taken => drop(taken?),
        }
        Ok(())
    }
}

/// This process, for the leases of its runs.
pub(super) fn holder() -> Holder {
    static OWNER: OnceLock<Owner> = OnceLock::new();
    Holder { owner: OWNER.get_or_init(this_process).clone(), is_gone }
}

fn this_process() -> Owner {
    let pid = std::process::id();
    Owner { host: host(), boot_id: of_kernel("random/boot_id"), pid, process_started: started(pid).unwrap_or_default() }
}

/// The machine, as far as numbers of processes mean the same there: containers that share its name do not see each other's.
fn host() -> String {
    let name = of_kernel("hostname");
    match fs::read_link("/proc/self/ns/pid") {
        Ok(space) if space != Path::new(FIRST_SPACE) => format!("{name} {}", space.display()),
        _ => name,
    }
}

/// Whether the owner was a process of this machine that has ended. Of another machine nobody knows.
fn is_gone(owner: &Owner) -> bool {
    let here = holder().owner;
    if owner.host != here.host {
        return false;
    }
    owner.boot_id != here.boot_id || started(owner.pid) != Some(owner.process_started)
}

fn of_kernel(name: &str) -> String {
    fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).unwrap_or_default().trim().to_owned()
}

/// When a process of this machine started, in ticks since the machine did; none when there is no such process, or it has ended and
/// its parent has not asked yet how: in a container without an init nobody may ever do.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_ascii_whitespace().collect();
    // A process whose first thread alone has ended looks the same, apart from its other threads.
    let threads: u32 = fields.get(THREADS)?.parse().ok()?;
    let is_over = matches!(*fields.get(STATE)?, "Z" | "X" | "x") && threads <= 1;
    if is_over { None } else { fields.get(START_TIME)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_that_nobody_has_waited_for_is_gone_once_it_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let owner = Owner { pid: child.id(), process_started: started(child.id()).unwrap(), ..holder().owner };
        assert!(!is_gone(&owner));
        child.stdin = None;
        let (pid, ended) = (Pid::from_child(&child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        waitid(WaitId::Pid(pid), ended).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        assert!(stat.contains(") Z "), "{stat}");
        assert!(is_gone(&owner));
        child.wait().unwrap();
        assert!(is_gone(&owner));
    }

    #[test]
    fn a_process_that_has_ended_is_gone_and_one_elsewhere_may_be_there() {
        let here = holder().owner;
        assert!(here.process_started > 0 && !here.boot_id.is_empty());
        assert!(!is_gone(&here));
        assert!(
            is_gone(&Owner { process_started: here.process_started + 1, ..here.clone() }),
            "its number was given again"
        );
        assert!(is_gone(&Owner { boot_id: "another".to_owned(), ..here.clone() }));
        assert!(!is_gone(&Owner { host: "another".to_owned(), ..here }));
    }
}
