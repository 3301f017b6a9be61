//! Crashes of the whole instance, once, at the change of the disk that the file `crash` names: so that whoever runs it sees
//! what a crash leaves, and starts it again. Only the build for tests has this.

use std::cell::Cell;

const ORDER: &str = "/journal/crash";

std::thread_local! {
    static COMMITS: Cell<bool> = const { Cell::new(false) };
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// While commits are under way: nothing else is done again by the host after a crash.
pub(crate) struct Committing(());

impl Committing {
    pub(crate) fn begin() -> Self {
        COMMITS.set(true);
        Self(())
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        COMMITS.set(false);
    }
}

pub(super) fn dies() -> bool {
    if !COMMITS.get() {
        return false;
    }
    let ordered = || std::fs::read_to_string(ORDER).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let left = LEFT.get().unwrap_or_else(ordered);
    LEFT.set(Some(left.saturating_sub(1)));
    // Whoever cannot take the order back is not the one who crashes.
    left == 0 && std::fs::remove_file(ORDER).is_ok()
}

#[expect(clippy::panic, reason = "it is what is tried")]
pub(super) fn died() -> std::io::Error {
    panic!("crash")
}
