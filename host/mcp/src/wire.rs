//! Lines of JSON to and from a program: one message a line, each line bounded.
//!
//! It must not know what the messages mean.

use crate::health::Health;
use cofferdam_core::limits;
use rmcp::RoleClient;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::Mutex;

/// A program's standard input and output.
pub(crate) struct Wire {
    reader: BufReader<Receiver>,
    /// What has come of the line that is being read; kept here, since reading may be broken off at any wait.
    line: Vec<u8>,
    bad: usize,
    writer: Arc<Mutex<Option<Sender>>>,
    health: Arc<Health>,
}

/// What reading came to.
enum Read {
    Line,
    End,
}

impl Wire {
    pub(crate) fn new(reader: Receiver, writer: Sender, health: Arc<Health>) -> Self {
        let writer = Arc::new(Mutex::new(Some(writer)));
        Self { reader: BufReader::new(reader), line: Vec::new(), bad: 0, writer, health }
    }

    /// Reads up to the end of a line. Broken off and called again, it goes on where it was.
    async fn read_line(&mut self) -> Read {
        loop {
            let available = match self.reader.fill_buf().await {
                Ok([]) => {
                    self.health.end("it ended");
                    return Read::End;
                }
                Ok(available) => available,
                Err(error) => {
                    self.health.end(&format!("its output cannot be read: {error}"));
                    return Read::End;
                }
            };
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(available.len());
            if self.line.len().saturating_add(taken) > limits::MCP_MESSAGE_BYTES {
                self.health.end(&format!("it sent a line of more than {} bytes", limits::MCP_MESSAGE_BYTES));
                return Read::End;
            }
            self.line.extend_from_slice(available.get(..taken).unwrap_or_default());
            self.reader.consume(end.map_or(taken, |end| end + 1));
            if end.is_some() {
                return Read::Line;
            }
        }
    }

    /// The message of a line; none when it is none.
    fn message(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii();
        if text.is_empty() {
            return None;
        }
        match serde_json::from_slice(text) {
            Ok(message) => Some(message),
            Err(error) => {
                self.bad += 1;
                let shown = self.health.shown(&String::from_utf8_lossy(text.get(..text.len().min(200))?));
                tracing::debug!(server = %self.health.alias, %error, line = %shown, "a line that is no message");
                None
            }
        }
    }
}

impl Transport<RoleClient> for Wire {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let writer = Arc::clone(&self.writer);
        async move {
            let mut line = serde_json::to_vec(&item)?;
            line.push(b'\n');
            let mut writer = writer.lock().await;
            match writer.as_mut() {
                Some(writer) => writer.write_all(&line).await,
                None => Err(io::Error::from(io::ErrorKind::NotConnected)),
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            if matches!(self.read_line().await, Read::End) {
                return None;
            }
            if let Some(message) = self.message() {
                return Some(message);
            }
            if self.bad > limits::MCP_BAD_LINES {
                self.health.end("what it writes are not messages of the protocol");
                return None;
            }
            tokio::task::consume_budget().await;
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        // A writer that is stuck is dropped with its program.
        if let Ok(mut writer) = self.writer.try_lock() {
            drop(writer.take());
        }
        Ok(())
    }
}
