//! How a connection is: whether and why it ended, what was dropped, what the program said last.

use cofferdam_core::fault::Fault;
use cofferdam_core::id::Alias;
use cofferdam_core::limits;
use cofferdam_core::text::clean_to;
use cofferdam_egress::Scrubber;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is known of one connection; shared by its parts.
pub(crate) struct Health {
    pub(crate) alias: Alias,
    pub(crate) scrubber: Scrubber,
    /// The tools may be others by now.
    pub(crate) changed: AtomicBool,
    /// Messages that nobody asked for and that were let in.
    pub(crate) notices: AtomicU64,
    /// Those that were not.
    pub(crate) dropped: AtomicU64,
    ended: Mutex<Option<String>>,
    last_words: Mutex<String>,
    problem: Mutex<Option<String>>,
}

impl Health {
    pub(crate) fn new(alias: Alias, scrubber: Scrubber) -> Self {
        Self {
            alias,
            scrubber,
            changed: AtomicBool::new(false),
            notices: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            ended: Mutex::default(),
            last_words: Mutex::default(),
            problem: Mutex::default(),
        }
    }

    /// Says why it ended; the first reason is the one.
    pub(crate) fn end(&self, reason: &str) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.to_owned());
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Remembers a line that the program wrote for people.
    pub(crate) fn hear(&self, line: &str) {
        line.clone_into(&mut self.last_words.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Remembers what went wrong with a request; the library drops it on the way.
    pub(crate) fn stumble(&self, problem: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
    }

    /// What went wrong with the last request, once.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Why it ended, as far as anybody knows.
    pub(crate) fn reason(&self) -> String {
        if let Some(problem) = self.problem() {
            return problem;
        }
        let reason = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = reason.unwrap_or_else(|| "the connection ended".to_owned());
        let last = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if last.is_empty() { reason } else { format!("{reason}; it last wrote: {last}") }
    }

    /// Text of the server as it may be shown: bounded, without secrets and without what forges lines.
    pub(crate) fn shown(&self, text: &str) -> String {
        let cut = text.get(..text.floor_char_boundary(limits::MCP_ERROR_BYTES * 2)).unwrap_or_default();
        let clean = self.scrubber.scrub(cut.as_bytes());
        clean_to(&String::from_utf8_lossy(&clean), limits::MCP_ERROR_BYTES)
    }

    /// Counts a message that nobody asked for; false when there were too many.
    pub(crate) fn admit(&self) -> bool {
        let admitted = self.notices.fetch_add(1, Ordering::Relaxed) < limits::MCP_NOTICES as u64;
        if !admitted {
            self.drop_one();
        }
        admitted
    }

    /// Counts a message that is not let in.
    pub(crate) fn drop_one(&self) {
        if self.dropped.fetch_add(1, Ordering::Relaxed) == limits::MCP_NOTICES as u64 {
            tracing::warn!(server = %self.alias, "the MCP server floods us with messages; they are counted and dropped");
        }
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            tracing::debug!(server = %self.alias, dropped, "messages of the MCP server that nobody asked for");
        }
    }
}

/// A fault that a person must mend before the server can be used.
pub(crate) fn fault(alias: &Alias, code: &'static str, message: &str) -> Fault {
    Fault::user(code, format!("MCP server `{alias}`: {message}"))
}

/// A fault of one call.
pub(crate) fn failed(alias: &Alias, code: &'static str, message: &str) -> Fault {
    Fault::step(code, format!("MCP server `{alias}`: {message}"))
}
