//! Writes an answer on a connection as HTTP/1.1, and breaks off as it is told. It must not know what it writes.

use crate::limits::WRITE_BYTES;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer on the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Status line and headers; without them nothing at all is said.
    pub(crate) head: Option<Head>,
    pub(crate) acts: Vec<Act>,
    pub(crate) ending: Ending,
}

#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) length: Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Known(usize),
    Chunked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Write(Vec<u8>),
    /// The same text so many times, with a number that counts up in the middle.
    Repeat {
        before: String,
        numbered: Option<(u64, String)>,
        times: u64,
    },
    Pause(Duration),
}

/// What comes after the last act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The end of the body, then of the connection.
    Complete,
    /// The end of the connection alone.
    Cut,
    /// Nothing, until the client goes.
    Stall,
    /// A reset.
    Reset,
}

impl Reply {
    /// A whole document.
    pub(crate) fn document(status: u16, content_type: &str, body: &str) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        let head = Head { status, headers, length: Length::Known(body.len()) };
        Self { head: Some(head), acts: vec![Act::Write(body.into())], ending: Ending::Complete }
    }

    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::document(status, "application/json", &body.to_string())
    }

    /// Writes it; an error means that the client has gone.
    pub(crate) async fn send(self, stream: &mut TcpStream) -> io::Result<()> {
        let mut is_chunked = false;
        if let Some(head) = &self.head {
            is_chunked = head.length == Length::Chunked;
            stream.write_all(head.written().as_bytes()).await?;
        }
        for act in self.acts {
            match act {
                Act::Write(bytes) => write(stream, &bytes, is_chunked).await?,
                Act::Pause(duration) => tokio::time::sleep(duration).await,
                Act::Repeat { before, numbered, times } => {
                    repeat(stream, (&before, numbered), times, is_chunked).await?;
                }
            }
        }
        match self.ending {
            Ending::Complete => {
                if is_chunked {
                    stream.write_all(b"0\r\n\r\n").await?;
                }
                stream.shutdown().await
            }
            Ending::Cut => stream.shutdown().await,
            Ending::Stall => until_gone(stream).await,
            // Closing then sends a reset.
            Ending::Reset => stream.set_zero_linger(),
        }
    }
}

impl Head {
    fn written(&self) -> String {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            // What came from a request must not begin another header.
            let value: String = value.chars().filter(|found| !found.is_control()).collect();
            text += &format!("{name}: {value}\r\n");
        }
        text += &match self.length {
            Length::Known(length) => format!("content-length: {length}\r\n"),
            Length::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
        };
        text + "connection: close\r\n\r\n"
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8], is_chunked: bool) -> io::Result<()> {
    if bytes.is_empty() {
        // An empty chunk would be the end.
        return Ok(());
    }
    if is_chunked {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        stream.write_all(&chunk).await?;
    } else {
        stream.write_all(bytes).await?;
    }
    stream.flush().await
}

async fn repeat(
    stream: &mut TcpStream,
    (before, numbered): (&str, Option<(u64, String)>),
    times: u64,
    is_chunked: bool,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(WRITE_BYTES + before.len());
    let (first, after) = numbered.unzip();
    for time in 0..times {
        buffer.extend_from_slice(before.as_bytes());
        if let (Some(first), Some(after)) = (first, &after) {
            buffer.extend_from_slice(first.saturating_add(time).to_string().as_bytes());
            buffer.extend_from_slice(after.as_bytes());
        }
        if buffer.len() >= WRITE_BYTES {
            write(stream, &buffer, is_chunked).await?;
            buffer.clear();
        }
    }
    write(stream, &buffer, is_chunked).await
}

/// Reads and forgets until the client closes.
async fn until_gone(stream: &mut TcpStream) -> io::Result<()> {
    let mut forgotten = [0; 4096];
    while stream.read(&mut forgotten).await? > 0 {}
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Payload Too Large",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        529 => "Site Overloaded",
        _ => "Unknown",
    }
}
