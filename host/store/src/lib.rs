//! Where runs are kept: the journals `memory`, file and SQLite, small durable values, and the laws that every store
//! must hold.
//!
//! It must not know what records mean, beyond the blobs that they name. Reading order:

pub mod contract;

mod append;
mod directory;
mod entry;
mod lease;
mod listing;
mod mailbox;
mod mention;

mod memory;
mod memory_state;
mod recall;

mod file;

mod spilling;

mod connection;
mod database;
mod recall_file;
mod sqlite;
mod state;

pub use file::File;
pub use mailbox::MemoryMailbox;
pub use memory::Memory;
pub use memory_state::MemoryState;
pub use mention::named_blobs;
pub use recall::MemoryRecall;
pub use recall_file::FileRecall;
pub use spilling::Spilling;
pub use sqlite::Sqlite;
pub use state::StateStore;
