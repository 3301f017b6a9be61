//! The text of a stream as bytes, for whoever takes a reader.

use super::{Chunk, Stream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// The chunks of a stream.
pub(super) type Chunks<'a> = Pin<Box<dyn futures_core::Stream<Item = Chunk> + Send + 'a>>;

/// The text of a run as it is written: pieces as they come, and whole the text of steps that gave it whole.
///
/// It ends with the run. A run that failed ends it too, without an error: the result says so.
pub struct TextReader<'a> {
    chunks: Chunks<'a>,
    text: Vec<u8>,
    read: usize,
}

impl<'a> TextReader<'a> {
    pub(super) fn new(stream: &'a mut Stream) -> Self {
        Self { chunks: stream.boxed(), text: Vec::new(), read: 0 }
    }
}

impl AsyncRead for TextReader<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let left = self.text.get(self.read..).unwrap_or_default();
            if !left.is_empty() {
                let count = left.len().min(buf.remaining());
                buf.put_slice(left.get(..count).unwrap_or_default());
                self.read += count;
                return Poll::Ready(Ok(()));
            }
            match self.chunks.as_mut().poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(chunk)) => {
                    self.text = chunk.text().unwrap_or_default().as_bytes().to_vec();
                    self.read = 0;
                }
            }
        }
    }
}
