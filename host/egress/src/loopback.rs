//! A server on loopback that answers with prepared bytes, and a resolver with prepared answers. For tests.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Resolve;

/// What to do with one connection after the request has been read.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Write these bytes and close.
    Close(Vec<u8>),
    /// Write these bytes and keep the connection open without a word.
    Stall(Vec<u8>),
    /// Write the first bytes, then the second without end.
    Endless(Vec<u8>, Vec<u8>),
    /// Echo the request as the body.
    Echo,
}

/// Bytes of a response with a length.
pub(crate) fn response(status: &str, headers: &str, body: &[u8]) -> Answer {
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Answer::Close(bytes)
}

pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers the first request with the first answer, and so on; the last answer serves the rest.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for index in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let answer = answers.get(index).or(answers.last()).unwrap().clone();
                tokio::spawn(serve(stream, answer, Arc::clone(&seen)));
            }
        });
        Self { port, requests }
    }

    /// The requests so far, as text.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, seen: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let request = read_request(&mut stream).await?;
    seen.lock().unwrap().push(request.clone());
    match answer {
        Answer::Close(bytes) => stream.write_all(&bytes).await?,
        Answer::Echo => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-echo: {}\r\n\r\n",
                request.len(),
                request.replace("\r\n", " ")
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(request.as_bytes()).await?;
        }
        Answer::Stall(bytes) => {
            stream.write_all(&bytes).await?;
            stream.read_to_end(&mut Vec::new()).await?;
        }
        Answer::Endless(first, rest) => {
            stream.write_all(&first).await?;
            loop {
                stream.write_all(&rest).await?;
            }
        }
    }
    Ok(())
}

async fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            break;
        }
        // A TLS handshake has no blank line to wait for.
        if bytes.first() == Some(&0x16) {
            break;
        }
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
        if body.len() >= length {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Answers each question with the next list; the last list serves the rest.
pub(crate) struct Answers {
    lists: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Answers {
    pub(crate) fn new(lists: &[&[&str]]) -> Arc<Self> {
        let lists = lists.iter().map(|list| list.iter().map(|text| text.parse().unwrap()).collect()).collect();
        Arc::new(Self { lists, asked: AtomicUsize::new(0) })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Answers {
    fn resolve<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let index = self.asked.fetch_add(1, Ordering::SeqCst);
        let list = self.lists.get(index).or(self.lists.last()).unwrap().clone();
        Box::pin(async move { Ok(list) })
    }
}
