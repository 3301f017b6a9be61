//! The model server over TCP, as a client sees it: every mode in every protocol.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod answers;
mod client;
mod faults;
mod odd;
mod reading;
mod server;
