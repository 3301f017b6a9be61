//! Standard output and error of a guest: kept up to a bound, then only counted.
//!
//! It must not fail a guest that prints too much: many do in a panic.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// How much one write may bring; the guest's own buffer is rarely larger.
const WRITE_BYTES: usize = 64 * 1024;

/// What was printed. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    bound: usize,
    printed: Arc<Mutex<Printed>>,
}

#[derive(Debug, Default)]
struct Printed {
    kept: Vec<u8>,
    dropped: u64,
}

impl Captured {
    /// Keeps at most `bound` bytes.
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, printed: Arc::default() }
    }

    /// The text that was kept, and how many bytes were not. None when nothing was printed.
    pub(crate) fn take(&self) -> Option<(String, u64)> {
        let printed = std::mem::take(&mut *self.printed.lock().unwrap_or_else(PoisonError::into_inner));
        if printed.kept.is_empty() && printed.dropped == 0 {
            return None;
        }
        Some((String::from_utf8_lossy(&printed.kept).into_owned(), printed.dropped))
    }

    fn add(&self, bytes: &[u8]) {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.bound.saturating_sub(printed.kept.len());
        let (kept, dropped) = bytes.split_at(room.min(bytes.len()));
        printed.kept.extend_from_slice(kept);
        printed.dropped = printed.dropped.saturating_add(dropped.len() as u64);
    }
}

impl IsTerminal for Captured {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Captured {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only the previous and the next WASI ask for this form, and neither is linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Captured {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Captured {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_BYTES {
            return Err(StreamError::trap("wrote more than was permitted"));
        }
        self.add(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_bound_is_counted() {
        let captured = Captured::new(5);
        captured.add(b"abc");
        captured.add(b"defgh");
        assert_eq!(captured.take(), Some(("abcde".to_owned(), 3)));
        assert_eq!(captured.take(), None);
    }
}
