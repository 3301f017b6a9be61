//! Recording and replaying as a host uses it: real folders, a provider on loopback, models by name.
//!
//! The folder is the host's, a floor above: this crate reads no files by itself, and its tests borrow what does.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

#[path = "../../../tape.rs"]
pub mod folder;

mod asking;
mod damage;
mod order;
mod replay;
mod secrets;
mod unlike;
