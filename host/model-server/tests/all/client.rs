//! A client that hides nothing: what came, in which chunks, and how it ended. It must not know any protocol.

use cofferdam_model_server::ModelServer;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After the whole body.
    Complete,
    /// Before it.
    Cut,
    Reset,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The body in the pieces that it was framed in.
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) end: End,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap()
    }
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

pub(crate) async fn connect(server: &ModelServer, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream
}

/// Sends and reads to the end; none if the server said nothing at all.
pub(crate) async fn send(server: &ModelServer, request: &[u8]) -> Option<Answer> {
    let mut stream = connect(server, request).await;
    let mut bytes = Vec::new();
    let is_reset = stream.read_to_end(&mut bytes).await.is_err();
    if bytes.is_empty() && !is_reset { None } else { Some(parsed(&bytes, is_reset)) }
}

pub(crate) async fn get(server: &ModelServer, path: &str) -> Answer {
    send(server, &request("GET", path, "", "")).await.unwrap()
}

fn parsed(bytes: &[u8], is_reset: bool) -> Answer {
    let reset = Answer { status: 0, headers: Vec::new(), chunks: Vec::new(), end: End::Reset };
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        assert!(is_reset, "no head: {bytes:?}");
        return reset;
    };
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
    let mut answer = Answer { status, headers: lines.map(header).collect(), ..reset };
    let rest = &bytes[end + 4..];
    let is_complete = match answer.header("content-length").map(str::to_owned) {
        Some(length) => {
            answer.chunks = vec![rest.to_vec()];
            rest.len() == length.parse::<usize>().unwrap()
        }
        None => {
            assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
            dechunked(rest, &mut answer.chunks)
        }
    };
    answer.end = match (is_reset, is_complete) {
        (true, _) => End::Reset,
        (false, true) => End::Complete,
        (false, false) => End::Cut,
    };
    answer
}

/// Whether the last chunk came.
fn dechunked(mut rest: &[u8], chunks: &mut Vec<Vec<u8>>) -> bool {
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return false };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            assert_eq!(&rest[end..], b"\r\n\r\n");
            return true;
        }
        if rest.len() < end + 2 + size + 2 {
            return false;
        }
        chunks.push(rest[end + 2..end + 2 + size].to_vec());
        rest = &rest[end + 2 + size + 2..];
    }
}
