//! The model server over TCP, as a client sees it: every mode in every protocol.

mod answers;
mod client;
mod faults;
mod reading;
mod server;
