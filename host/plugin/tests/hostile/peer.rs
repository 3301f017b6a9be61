//! A server on loopback that may be reached, and does as its paths say; and a port that nobody may reach.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

pub(crate) struct Peer {
    /// Of the server.
    pub(crate) port: u16,
    /// Of the listener that nobody may connect to.
    pub(crate) closed_port: u16,
    closed: StdListener,
    requests: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl Peer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let closed = StdListener::bind("127.0.0.1:0").unwrap();
        closed.set_nonblocking(true).unwrap();
        let closed_port = closed.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen)));
            }
        });
        Self { port, closed_port, closed, requests, task: task.abort_handle() }
    }

    /// The heads of the requests since they were last taken.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    /// Whether somebody connected to the port that nobody may reach.
    pub(crate) fn was_breached(&self) -> bool {
        self.closed.accept().is_ok()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    seen.lock().unwrap().push(head.clone());
    let path = head.split(' ').nth(1).unwrap_or_default();
    match path.split_once('?').map_or((path, ""), |(path, rest)| (path, rest)) {
        ("/to", location) => stream.write_all(&response("302 Found", &format!("location: {location}\r\n"), b"")).await,
        ("/loop", _) => stream.write_all(&response("302 Found", "location: /loop\r\n", b"")).await,
        ("/slow", _) => stream.read_to_end(&mut Vec::new()).await.map(drop),
        ("/drip", _) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx").await?;
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        }
        ("/endless", _) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 65_536]).await?;
            }
        }
        ("/bomb", _) => stream.write_all(&response("200 OK", "content-encoding: gzip\r\n", &bomb())).await,
        ("/headers", _) => stream.write_all(&response("200 OK", &"x: y\r\n".repeat(20_000), b"")).await,
        ("/echo", _) => stream.write_all(&response("200 OK", "", head.as_bytes())).await,
        _ => stream.write_all(&response("200 OK", "", b"hello")).await,
    }
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Sixty-four megabytes of nothing.
fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..1024 {
        encoder.write_all(&[0; 65_536]).unwrap();
    }
    encoder.finish().unwrap()
}
