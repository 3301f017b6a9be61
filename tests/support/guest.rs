//! A project with the guest `echo`, which uses every part of the contract, and a server on loopback.

use super::Project;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// A folder with `echo.wasm`, which need not be compiled again.
pub(crate) fn with_echo() -> Project {
    static COMPILED: OnceLock<Vec<u8>> = OnceLock::new();
    let component = COMPILED.get_or_init(|| {
        let component = cofferdam_guests::built_bytes("echo").unwrap();
        let project = Project::new();
        project.file("echo.wasm", &component);
        project.run(&["plugin", "inspect", "echo.wasm"]).expect(0);
        component
    });
    let project = Project::new();
    project.file("echo.wasm", component);
    project
}

/// What a server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers with the request as it came.
    Repeats,
    /// Never answers.
    Stalls,
    /// Sends everything on to another port.
    SendsOn(u16),
}

/// A server that lives as long as the test.
pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let requests = Arc::clone(&seen);
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().flatten() {
                let mut stream: TcpStream = stream;
                stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let request = read(&mut stream);
                requests.lock().unwrap().push(request.clone());
                if manner == Manner::Stalls {
                    open.push(stream);
                    continue;
                }
                if let Manner::SendsOn(port) = manner {
                    let head =
                        format!("HTTP/1.1 307 On\r\nlocation: http://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n");
                    drop(stream.write_all(head.as_bytes()));
                    continue;
                }
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", request.len());
                drop(stream.write_all(format!("{head}{request}").as_bytes()));
            }
        });
        Self { port, seen }
    }

    /// The requests that came, as they came.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream) -> String {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(count) = stream.read(&mut piece) {
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
        if count == 0 || body.is_some_and(|body| body >= length.unwrap_or(0)) {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
