//! The laws that every store must hold, as suites that any implementation can run: ours and an embedder's.
//!
//! It must not know an implementation, and tells of a broken law by its name and what was found instead.
//!
//! ```
//! use std::sync::Arc;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! cofferdam_store::contract::journal(|| Arc::new(cofferdam_store::Memory::new())).await
//! # }).unwrap();
//! ```

mod append;
mod blob;
mod lease;
mod list;
mod race;
mod recall;
mod sample;
mod state;

#[cfg(test)]
pub(crate) use sample::{large, long};

use cofferdam_core::port::{BoxFuture, Journal, Recall, State};
use std::fmt::Debug;
use std::sync::Arc;

/// What a law found: nothing to say, or what is wrong.
type Verdict = Result<(), String>;

/// A law with the sentence that it is.
struct Law<T: ?Sized + 'static> {
    sentence: &'static str,
    holds: for<'a> fn(&'a T) -> BoxFuture<'a, Verdict>,
}

/// Runs all laws of journals, each on a journal of its own that `make` gives and that must be empty.
///
/// # Errors
/// The first law that does not hold, and what was found instead.
pub async fn journal(make: impl Fn() -> Arc<dyn Journal>) -> Result<(), String> {
    for law in [append::LAWS, list::LAWS, blob::LAWS, lease::LAWS, race::LAWS].into_iter().flatten() {
        judge(law, &*make()).await?;
    }
    Ok(())
}

/// Runs all laws of state stores, each on a store of its own that `make` gives and that must be empty.
///
/// # Errors
/// The first law that does not hold, and what was found instead.
pub async fn state(make: impl Fn() -> Arc<dyn State>) -> Result<(), String> {
    for law in state::LAWS {
        judge(law, &*make()).await?;
    }
    Ok(())
}

/// Runs all laws of retrieval memories, each on one of its own that `make` gives and that must be empty.
///
/// # Errors
/// The first law that does not hold, and what was found instead.
pub async fn recall(make: impl Fn() -> Arc<dyn Recall>) -> Result<(), String> {
    for law in recall::LAWS {
        judge(law, &*make()).await?;
    }
    Ok(())
}

async fn judge<T: ?Sized>(law: &Law<T>, store: &T) -> Verdict {
    (law.holds)(store).await.map_err(|found| format!("{}: {found}", law.sentence))
}

/// What was found must be what was wanted.
fn same<T: PartialEq + Debug>(what: &str, found: &T, wanted: &T) -> Verdict {
    if found == wanted { Ok(()) } else { Err(format!("{what}: found {found:?}, wanted {wanted:?}")) }
}

/// What was asked must have been done.
fn done<T, E: Debug>(what: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: failed with {error:?}"))
}

/// What was asked must have been refused, and in this way.
fn refused<T: Debug, E: Debug>(what: &str, result: Result<T, E>, is_right: impl FnOnce(&E) -> bool) -> Verdict {
    match result {
        Err(error) if is_right(&error) => Ok(()),
        other => Err(format!("{what}: found {other:?}")),
    }
}
