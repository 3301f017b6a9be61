//! What a process holds: descriptors, memory, and the lines that it logs. For one scene at a time.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tracing_subscriber::fmt::MakeWriter;

/// The process is one for all tests of this program: what counts descriptors must be alone.
static PROCESS: RwLock<()> = RwLock::new(());

thread_local! {
    /// How many guards this thread holds; a second one of the same thread waits for nobody.
    static HELD: RefCell<usize> = const { RefCell::new(0) };
}

/// While it lives, nobody counts.
pub(crate) struct Present(#[expect(dead_code, reason = "held, not read")] Option<RwLockReadGuard<'static, ()>>);

impl Present {
    pub(crate) fn new() -> Self {
        let first = HELD.with_borrow_mut(|held| std::mem::replace(held, *held + 1) == 0);
        Self(first.then(|| PROCESS.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| *held -= 1);
    }
}

/// While it lives, nobody else is there.
pub(crate) struct Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>);

impl Alone {
    pub(crate) fn new() -> Self {
        let guard = PROCESS.write().unwrap_or_else(PoisonError::into_inner);
        HELD.with_borrow_mut(|held| *held += 1);
        Self(guard)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| *held -= 1);
    }
}

/// Open descriptors of this process.
pub(crate) fn descriptors() -> usize {
    // One of them is that of the listing itself, each time.
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Bytes of memory of this process that are there.
pub(crate) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap();
    pages * 4096
}

/// What was logged since it was last taken.
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Begins to keep what this program logs, however fine.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter =
            tracing_subscriber::EnvFilter::new("cofferdam=trace,cofferdam_plugin=trace,cofferdam_egress=trace");
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Lines).init();
    });
}

/// What was logged, as text.
pub(crate) fn take_lines() -> String {
    String::from_utf8_lossy(&std::mem::take(&mut *lines())).into_owned()
}

fn lines() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy)]
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lines().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}
