//! Hears whether somebody stops the cases: the first time what was done by then is told, the second time at once.

use crate::command::run::stop::{at_once, next_signal};
use crate::exit::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

/// Whether the cases are stopped, and by whom.
#[derive(Clone, Default)]
pub(super) struct Stopped {
    flag: Arc<AtomicBool>,
    by: Arc<OnceLock<Signal>>,
}

impl Stopped {
    /// Listens in a thread of its own, which ends with the program. Without a way to hear signals the system's own handling
    /// stays in place.
    pub(super) fn listen() -> Self {
        let stopped = Self::default();
        let heard = stopped.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let listen = move || {
            let Ok(runtime) = runtime else { return };
            if let Ok(first) = runtime.block_on(next_signal()) {
                _ = heard.by.set(first);
                heard.flag.store(true, Ordering::Relaxed);
                at_once(runtime.block_on(next_signal()).unwrap_or(first));
            }
        };
        // Without a thread the signal ends the program, as it does by itself.
        _ = thread::Builder::new().name("signals".to_owned()).spawn(listen);
        stopped
    }

    pub(super) fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    pub(super) fn by(&self) -> Option<Signal> {
        self.by.get().copied()
    }
}
