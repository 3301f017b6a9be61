//! Every bound of the server, and what would happen without it.

/// Of the head of a request; a client that never ends its headers would fill the memory.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;

/// Of the body of a request; so would one that never ends its body.
pub(crate) const BODY_BYTES: usize = 64 * 1024 * 1024;

/// Connections at once; the next ones wait in the queue of the kernel.
pub(crate) const CONNECTIONS: usize = 4096;

/// Requests in the log; the oldest go first.
pub(crate) const LOGGED_REQUESTS: usize = 10_000;

/// Bytes of bodies in the log; the oldest go first, the newest one always stays.
pub(crate) const LOGGED_BYTES: usize = 256 * 1024 * 1024;

/// Names of models whose failures are counted for `flaky-N`; all counts start again beyond it.
pub(crate) const COUNTED_NAMES: usize = 10_000;

/// The largest number in the name of a mode; `tokens-N` keeps the whole text of the answer where a protocol repeats it.
pub(crate) const COUNT: u64 = 1_000_000;

/// Of the line of `huge-line`: twice what a client should take.
pub(crate) const HUGE_LINE_BYTES: usize = 2 * 1024 * 1024;

/// What is written at once of frames that repeat.
pub(crate) const WRITE_BYTES: usize = 32 * 1024;

/// What is still read of a request that was too large, so that the client sees the answer and not a reset.
pub(crate) const DRAINED_BYTES: usize = 8 * 1024 * 1024;

/// How deep a schema is followed; deeper parts become `null`. A body that nests deeper than 128 is no JSON here anyway.
pub(crate) const SCHEMA_DEPTH: usize = 32;
