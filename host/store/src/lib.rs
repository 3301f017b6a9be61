//! Where runs are kept: the journals `memory` and SQLite, small durable values, and the laws that every store
//! must hold.
//!
//! It must not know what records mean, beyond the blobs that they name. Reading order:

mod append;
mod lease;
mod listing;
mod mention;

mod memory;




pub use memory::Memory;

