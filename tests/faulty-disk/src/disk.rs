//! The folder that is watched: what belongs to it, and the trace.
//!
//! A line of the trace is a word and numbers or paths, with a tab between two paths; the bytes of a write or a mark
//! follow their line.
//!
//! ```text
//! folder PATH          make INODE PATH      length INODE LENGTH    write INODE OFFSET LENGTH
//! rename FROM TO       link FROM TO         unlink PATH            sync INODE PATH    mark LENGTH    fault KIND
//! ```

use crate::fault::{Fault, Kind, Verdict};
use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// What the variables say.
pub(crate) struct Disk {
    root: Vec<u8>,
    marks: Vec<u8>,
    trace: Option<libc::c_int>,
    fault: Option<Fault>,
    slow: Duration,
    /// Held while a call is made and noted: the trace is in the order of the calls.
    turn: Mutex<()>,
}

/// Where a link of the system leads; its name ends with a zero.
fn target(name: &str) -> Option<Vec<u8>> {
    let mut path = [0_u8; 4096];
    // SAFETY: the name ends with a zero, and the buffer is as long as is said.
    let length =
        unsafe { libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, name.as_ptr(), path.as_mut_ptr(), path.len()) };
    Some(path.get(..usize::try_from(length).ok()?)?.to_vec())
}

/// What a call is about.
pub(crate) enum Place {
    /// A file or folder of the disk.
    Inside(Vec<u8>),
    /// The file of the marks.
    Marks,
}

static DISK: OnceLock<Option<Disk>> = OnceLock::new();

impl Disk {
    /// The disk, if this process has one.
    pub(crate) fn get() -> Option<&'static Self> {
        DISK.get_or_init(Self::read).as_ref()
    }

    fn read() -> Option<Self> {
        let variable = |name: &str| std::env::var_os(name);
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let trace = variable("FAULTY_DISK_TRACE").map(|path| {
            let path = [path.into_vec(), vec![0]].concat();
            let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
            // SAFETY: the path ends with a zero and lives until the call returns.
            let opened = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
            libc::c_int::try_from(opened).unwrap_or(-1)
        });
        Some(Self {
            root: variable("FAULTY_DISK")?.into_vec(),
            marks: variable("FAULTY_DISK_MARKS").map(OsString::into_vec).unwrap_or_default(),
            trace,
            fault: text("FAULTY_DISK_FAULT").and_then(|text| Fault::parse(&text)),
            slow: Duration::from_millis(text("FAULTY_DISK_SLOW").and_then(|text| text.parse().ok()).unwrap_or(0)),
            turn: Mutex::new(()),
        })
    }

    /// Where a path is, if that is of interest.
    pub(crate) fn place(&self, path: &[u8]) -> Option<Place> {
        if path == self.marks {
            return Some(Place::Marks);
        }
        let below = path.strip_prefix(self.root.as_slice())?;
        // The index of a write-ahead log is memory that processes share, and made anew after a crash.
        let is_inside = (below.is_empty() || below.starts_with(b"/")) && !below.ends_with(b"-shm");
        is_inside.then(|| Place::Inside(path.to_vec()))
    }

    /// Where an open file is.
    pub(crate) fn place_of(&self, file: libc::c_int) -> Option<Place> {
        self.place(&target(&format!("/proc/self/fd/{file}\0"))?)
    }

    /// Where a path is that a caller gave.
    pub(crate) fn place_at(&self, path: *const libc::c_char) -> Option<Place> {
        if path.is_null() {
            return None;
        }
        // SAFETY: the caller gives a path as it would to the C library.
        let path = unsafe { CStr::from_ptr(path) }.to_bytes();
        if path.starts_with(b"/") {
            return self.place(path);
        }
        self.place(&[&target("/proc/self/cwd\0")?, b"/".as_slice(), path].concat())
    }

    /// What becomes of a call.
    pub(crate) fn judge(&self, kind: Kind) -> Verdict {
        let verdict = self.fault.as_ref().map_or(Verdict::Passes, |fault| fault.judge(kind));
        if verdict != Verdict::Passes {
            self.note(format!("fault {kind:?}").as_bytes(), b"");
        }
        verdict
    }

    /// Waits for its turn.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes as long as a flush.
    pub(crate) fn wait(&self) {
        if !self.slow.is_zero() {
            std::thread::sleep(self.slow);
        }
    }

    /// Adds to the trace; whoever calls has the turn.
    pub(crate) fn note(&self, line: &[u8], bytes: &[u8]) {
        let Some(trace) = self.trace else { return };
        let entry = [line, b"\n", bytes].concat();
        let mut rest = entry.as_slice();
        while !rest.is_empty() {
            // SAFETY: the bytes live until the call returns.
            let written = unsafe { libc::syscall(libc::SYS_write, trace, rest.as_ptr(), rest.len()) };
            match usize::try_from(written).ok().filter(|written| *written > 0) {
                Some(written) => rest = rest.get(written..).unwrap_or_default(),
                // A trace with a hole would prove nothing.
                None => std::process::abort(),
            }
        }
    }
}
