//! Which calls share threads, and how those threads share processors with all others.
//!
//! A short call must not wait for a processor that a long one has, nor behind hundreds of others. Linux lets a thread that
//! wakes take the processor from one that asked for longer slices; from any other only when a slice is over, which are
//! milliseconds. So short calls ask for short slices, and those that are long or very many for long ones and less weight.

use crate::runtime::threads;
use cofferdam_core::limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// As nice as a thread can be.
const NICEST: i32 = 19;

/// A kind of calls, with threads of its own; in this order calls move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Those that are over within a tick.
    Short,
    /// Those of which one component has very many.
    Crowd,
    /// Those that compute for longer.
    Long,
}

impl Lane {
    /// What its threads are called: at most fifteen bytes are shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Short => "cofferdam-guest",
            Self::Crowd => "cofferdam-crowd",
            Self::Long => "cofferdam-long",
        }
    }

    /// How long its threads want to go on when they do. The system takes 0.1 to 100 ms, and has up to 2.8 ms for those who say
    /// nothing.
    fn slice(self) -> Duration {
        match self {
            Self::Short => Duration::from_micros(100),
            Self::Crowd => Duration::from_millis(5),
            Self::Long => Duration::from_millis(10),
        }
    }

    /// How much nicer they are than the process. A crowd also makes its callers work: against them it has to weigh next to
    /// nothing, and it loses little, since each of its calls is short.
    fn nicer(self) -> i32 {
        match self {
            Self::Short => 0,
            Self::Long => 10,
            Self::Crowd => NICEST,
        }
    }

    /// Has the thread that calls this be one of the lane. Where the system does not know how, it is like all others.
    pub(crate) fn enter(self, process: Nice) {
        let nice = process.0.saturating_add(self.nicer()).min(NICEST);
        if let Err(error) = schedule(nice, self.slice()) {
            tracing::debug!(%error, lane = self.name(), "a thread of guests is scheduled like all others");
        }
    }
}

/// How nice a thread is to others: -20 to 19. A thread gets it from the one that starts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nice(i32);

impl Nice {
    /// That of the thread that asks.
    pub(crate) fn of_this_thread() -> Self {
        Self(rustix::process::getpriority_process(None).unwrap_or(0))
    }
}

/// What the calls of a component do. Clones are of the same component.
#[derive(Clone, Default)]
pub(crate) struct Pace(Arc<Lately>);

#[derive(Default)]
struct Lately {
    /// Whether the last one that ended, or went on aside, has computed long.
    long: AtomicBool,
    /// How many could go on, and wait for others of the component.
    queued: AtomicUsize,
}

impl Pace {
    /// Where the next call begins.
    pub(crate) fn lane(&self) -> Lane {
        if self.0.long.load(Ordering::Relaxed) {
            Lane::Long
        } else if self.0.queued.load(Ordering::Relaxed) >= crowd() {
            Lane::Crowd
        } else {
            Lane::Short
        }
    }

    /// Notes whether a call computes long.
    pub(crate) fn note(&self, long: bool) {
        self.0.long.store(long, Ordering::Relaxed);
    }

    /// Notes that a call waits for others of its component, until the answer is dropped.
    pub(crate) fn queue(&self) -> Queued {
        self.0.queued.fetch_add(1, Ordering::Relaxed);
        Queued(self.clone())
    }
}

/// From how many calls that wait for each other those of a component are a crowd.
pub(crate) fn crowd() -> usize {
    limits::PLUGIN_CROWD * threads()
}

/// A call that waits for others.
pub(crate) struct Queued(Pace);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.0.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `SCHED_FLAG_KEEP_POLICY` of sched_setattr(2): the user may have chosen another.
#[cfg(target_os = "linux")]
const KEEP_POLICY: u64 = 0x08;
/// `SCHED_FLAG_RESET_ON_FORK`: what a thread starts has no slice of its own.
#[cfg(target_os = "linux")]
const RESET_ON_FORK: u64 = 0x01;

/// `struct sched_attr` of sched_setattr(2), in its first version.
#[cfg(target_os = "linux")]
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// For a normal thread its slice in nanoseconds, since Linux 6.12; before that, nothing.
    runtime: u64,
    deadline: u64,
    period: u64,
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library has sched_setattr; it reads one struct and concerns this thread alone")]
fn schedule(nice: i32, slice: Duration) -> std::io::Result<()> {
    let attributes = Attributes {
        size: u32::try_from(size_of::<Attributes>()).unwrap_or(0),
        policy: 0,
        flags: KEEP_POLICY | RESET_ON_FORK,
        nice,
        priority: 0,
        runtime: u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX),
        deadline: 0,
        period: 0,
    };
    // SAFETY: the struct is what the call reads, and lives until it returns; 0 is this thread.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn schedule(_: i32, _: Duration) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_takes_the_priority_of_its_lane() {
        let nice = || Nice::of_this_thread().0;
        let before = nice();
        let inside = std::thread::spawn(move || {
            Lane::Long.enter(Nice(before));
            nice()
        });
        assert_eq!(inside.join().unwrap(), (before + Lane::Long.nicer()).min(NICEST));
        assert_eq!(nice(), before, "other threads stay as they are");
    }
}
