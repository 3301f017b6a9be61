//! A provider on loopback that answers what a test tells it to, also nonsense.
//!
//! It must not interpret requests: what arrives is kept, what goes out was written by the test.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What goes out.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, header lines, and a body of known length.
    Http(u16, &'static str, String),
    /// The head of a stream and its first part; the connection then closes.
    CutStream(String),
    /// The connection closes.
    Nothing,
    /// The connection stays open and nothing is said.
    Silence,
}

/// The server; it ends with the process.
#[derive(Debug)]
pub(crate) struct Provider {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    /// Answers each request in turn, the last answer again and again.
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        Self::start_once(answers, || {})
    }

    /// As [`Self::start`], once `ready` has returned; whoever connects before waits for its answer.
    pub(crate) fn start_once(answers: Vec<Answer>, ready: impl FnOnce() + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            ready();
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let index = kept.lock().unwrap().len();
                let answer = answers.get(index).or(answers.last()).cloned().unwrap_or(Answer::Nothing);
                // Kept first: whoever has the answer must find the request.
                let request = read_request(&stream).unwrap_or_default();
                kept.lock().unwrap().push(request);
                let _ = answer_with(&stream, &answer);
                if matches!(answer, Answer::Silence) {
                    silent.push(stream);
                }
            }
        });
        Self { address, requests }
    }

    /// What a client calls the base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What arrived, oldest first.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn answer_with(mut stream: &TcpStream, answer: &Answer) -> std::io::Result<()> {
    let text = match answer {
        Answer::Http(status, head, body) => {
            format!(
                "HTTP/1.1 {status} Status\r\n{head}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
        }
        Answer::CutStream(part) => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{part}\r\n",
            part.len()
        ),
        Answer::Nothing | Answer::Silence => String::new(),
    };
    stream.write_all(text.as_bytes())
}

fn read_request(mut stream: &TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut bytes = Vec::new();
    let mut buffer = [0_u8; 4_096];
    loop {
        let count = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if count == 0 || is_complete(&text) {
            return Ok(text.into_owned());
        }
    }
}

fn is_complete(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    body.len() >= length.unwrap_or_default()
}
