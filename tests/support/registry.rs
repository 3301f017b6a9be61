//! A registry on loopback that speaks the OCI distribution protocol: in memory, with the status codes of the specification,
//! digests that are checked, tokens, uploads by POST and PUT; and every way in which a registry can misbehave.
//!
//! It must not know what is in a component.

use cofferdam::core::digest::sha256_hex;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Who may do what. The one user is `ann`, with the password `canary-pass`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Everybody everything.
    #[default]
    Open,
    /// Name and password with each request.
    Basic,
    /// A token of `/token`; nobody gets one without a password.
    Token,
    /// A token of `/token`; everybody gets one to read.
    PublicToken,
}

/// What it does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Answers everything but tokens with this status.
    Status(u16),
    /// Gives blobs with one byte changed.
    OtherBlob,
    /// Gives manifests with a space behind them.
    OtherManifest,
    /// Says that manifests have another digest.
    OtherHeader,
    /// Closes the connection in the middle of a blob.
    Truncated,
    /// Sends blobs without an end.
    Endless,
    /// Sends the head of a blob, and then nothing.
    Stalls,
    /// Sends manifests of five megabytes.
    HugeManifest,
    /// Has blobs at another port of this machine.
    BlobsAt(u16),
    /// Has uploads at another port of this machine.
    UploadsAt(u16),
    /// Repeats the key that it was sent in its refusal.
    Echo,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    requests: Vec<String>,
    gate: Gate,
    fault: Fault,
    uploads: usize,
}

/// A registry that lives as long as the test, or until it is stopped.
pub(crate) struct Registry {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    stopping: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// What becomes of the body.
    ending: Fault,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, stopping) = (Arc::<Mutex<State>>::default(), Arc::new(AtomicBool::new(false)));
        let (shared, ended) = (Arc::clone(&state), Arc::clone(&stopping));
        let serving = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (state, ended) = (Arc::clone(&shared), Arc::clone(&ended));
                thread::spawn(move || serve(stream, port, &state, &ended));
            }
        });
        Self { port, state, stopping, serving: Some(serving) }
    }

    /// `oci://127.0.0.1:PORT/` and this.
    pub(crate) fn reference(&self, rest: &str) -> String {
        format!("oci://127.0.0.1:{}/{rest}", self.port)
    }

    pub(crate) fn gate(&self, gate: Gate) {
        self.state.lock().unwrap().gate = gate;
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    /// The heads of the requests that came, with their bodies' lengths; and forgets them.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// The manifest under a tag or digest of a repository.
    pub(crate) fn manifest(&self, name: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().manifests.get(name).map(|(_, text)| text.clone())
    }

    /// Puts a manifest there without asking what it is.
    pub(crate) fn put_manifest(&self, name: &str, media_type: &str, text: &str) {
        let entry = (media_type.to_owned(), text.as_bytes().to_vec());
        self.state.lock().unwrap().manifests.insert(name.to_owned(), entry);
    }

    /// Forgets every manifest of a digest, as a registry does that collects garbage.
    pub(crate) fn forget_digests(&self) {
        self.state.lock().unwrap().manifests.retain(|name, _| !name.contains("@sha256:"));
    }

    /// Takes over the blobs of another one.
    pub(crate) fn copy_blobs(&self, other: &Self) {
        let blobs = other.state.lock().unwrap().blobs.clone();
        self.state.lock().unwrap().blobs.extend(blobs);
    }

    /// Closes the port.
    pub(crate) fn stop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // It waits for somebody.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: TcpStream, port: u16, state: &Mutex<State>, ended: &AtomicBool) {
    let Some(request) = read(&stream) else { return };
    let reply = {
        let mut state = state.lock().unwrap();
        let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let length = request.body.len();
        state.requests.push(format!("{} {}\n{}\n[{length} bytes]", request.method, request.path, headers.join("\n")));
        state.answer(&request, port)
    };
    let is_head = request.method == "HEAD";
    // Whoever asked may be gone.
    drop(write(&mut stream, &reply, is_head, ended));
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    // A handshake has no line to wait for.
    if reader.fill_buf().ok()?.first() == Some(&0x16) {
        let mut stream = stream;
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"));
        return None;
    }
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(name, value)| (name.to_owned(), value.replace("%3A", ":").replace("%2F", "/"))).collect();
    Some(Request { method, path: path.to_owned(), query, headers, body })
}

fn write(stream: &mut TcpStream, reply: &Reply, is_head: bool, ended: &AtomicBool) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.ending {
        Fault::Endless => head.push_str("transfer-encoding: chunked\r\n\r\n"),
        _ => head.push_str(&format!("content-length: {}\r\n\r\n", reply.body.len())),
    }
    stream.write_all(head.as_bytes())?;
    if is_head {
        return Ok(());
    }
    match reply.ending {
        Fault::Truncated => stream.write_all(&reply.body[..reply.body.len() / 2]),
        Fault::Stalls => {
            stream.read_to_end(&mut Vec::new())?;
            Ok(())
        }
        Fault::Endless => {
            while !ended.load(Ordering::SeqCst) {
                stream.write_all(b"10000\r\n")?;
                stream.write_all(&[b'x'; 0x10000])?;
                stream.write_all(b"\r\n")?;
            }
            Ok(())
        }
        _ => stream.write_all(&reply.body),
    }
}

impl Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), ending: Fault::None }
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
        Self::new(status, body).with("content-type", "application/json")
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl State {
    fn answer(&mut self, request: &Request, port: u16) -> Reply {
        if request.path == "/token" {
            return self.token(request);
        }
        if let Some(refusal) = self.refusal(request, port) {
            return refusal;
        }
        if let Some(digest) = request.path.strip_prefix("/cdn/") {
            return match self.blobs.get(digest) {
                Some(blob) => Reply::new(200, blob.clone()),
                None => Reply::new(404, ""),
            };
        }
        if let Fault::Status(status) = self.fault {
            let reply = Reply::error(status, "TOOBAD", "come back \u{1b}[31mlater");
            return if status == 429 { reply.with("retry-after", "7") } else { reply };
        }
        let Some(path) = request.path.strip_prefix("/v2/") else { return Reply::new(404, "") };
        if let Some((name, version)) = path.split_once("/manifests/") {
            return self.at_manifest(request, name, version);
        }
        if let Some((name, place)) = path.split_once("/blobs/uploads/") {
            return self.at_upload(request, name, place, port);
        }
        match path.split_once("/blobs/") {
            Some((_, digest)) => self.at_blob(digest),
            None => Reply::new(404, ""),
        }
    }

    /// What those get who may not.
    fn refusal(&self, request: &Request, port: u16) -> Option<Reply> {
        let sent = request.headers.get("authorization").cloned().unwrap_or_default();
        let needed = if matches!(request.method.as_str(), "GET" | "HEAD") { "pull" } else { "push" };
        let (allowed, challenge) = match self.gate {
            Gate::Open => return None,
            Gate::Basic => (is_ann(&sent), "Basic realm=\"registry\"".to_owned()),
            Gate::Token | Gate::PublicToken => {
                let rights = sent.strip_prefix("Bearer canary-token:").unwrap_or_default();
                let realm = format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"test\"");
                (rights.split(',').any(|right| right == needed), realm)
            }
        };
        if allowed {
            return None;
        }
        let message = if self.fault == Fault::Echo { format!("no: {sent}") } else { "who are you".to_owned() };
        Some(Reply::error(401, "UNAUTHORIZED", &message).with("www-authenticate", challenge))
    }

    fn token(&self, request: &Request) -> Reply {
        let sent = request.headers.get("authorization").cloned().unwrap_or_default();
        let scope = request.query.get("scope").cloned().unwrap_or_default();
        let rights = scope.rsplit(':').next().unwrap_or_default().replace("%2C", ",");
        match (is_ann(&sent), self.gate, sent.is_empty()) {
            (true, _, _) => Reply::new(200, json!({ "token": format!("canary-token:{rights}") }).to_string()),
            (false, Gate::PublicToken, true) => {
                Reply::new(200, json!({ "access_token": "canary-token:pull" }).to_string())
            }
            _ => Reply::error(401, "UNAUTHORIZED", &format!("{sent} is nobody")),
        }
    }

    fn at_manifest(&mut self, request: &Request, name: &str, version: &str) -> Reply {
        let mark = if version.starts_with("sha256:") { '@' } else { ':' };
        let key = format!("{name}{mark}{version}");
        if request.method == "PUT" {
            let digest = format!("sha256:{}", sha256_hex(&request.body));
            let media_type = request.headers.get("content-type").cloned().unwrap_or_default();
            let manifest: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let layers = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
            for named in layers {
                let known = self.blobs.get(named["digest"].as_str().unwrap());
                if known.is_none_or(|blob| blob.len() as u64 != named["size"].as_u64().unwrap()) {
                    return Reply::error(404, "MANIFEST_BLOB_UNKNOWN", "a blob is unknown");
                }
            }
            self.manifests.insert(format!("{name}@{digest}"), (media_type.clone(), request.body.clone()));
            self.manifests.insert(key, (media_type, request.body.clone()));
            return Reply::new(201, "").with("docker-content-digest", digest);
        }
        let Some((media_type, text)) = self.manifests.get(&key) else {
            return Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        };
        let digest = format!("sha256:{}", sha256_hex(text));
        let (text, digest) = match self.fault {
            Fault::OtherManifest => ([text, &b" "[..]].concat(), String::new()),
            Fault::OtherHeader => (text.clone(), format!("sha256:{}", "0".repeat(64))),
            Fault::HugeManifest => (vec![b' '; 5 << 20], String::new()),
            _ => (text.clone(), digest),
        };
        Reply::new(200, text).with("content-type", media_type.clone()).with("docker-content-digest", digest)
    }

    fn at_upload(&mut self, request: &Request, name: &str, place: &str, port: u16) -> Reply {
        if request.method == "POST" {
            self.uploads += 1;
            let at = format!("/v2/{name}/blobs/uploads/{}?state=x", self.uploads);
            let location = match self.fault {
                Fault::UploadsAt(other) => format!("http://127.0.0.1:{other}{at}"),
                // Both forms are allowed.
                _ if self.uploads.is_multiple_of(2) => format!("http://127.0.0.1:{port}{at}"),
                _ => at,
            };
            return Reply::new(202, "").with("location", location);
        }
        let begun = place.parse::<usize>().is_ok_and(|number| number <= self.uploads);
        let kept = request.query.get("state").is_some_and(|state| state == "x");
        if request.method != "PUT" || !begun || !kept {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
        }
        let digest = format!("sha256:{}", sha256_hex(&request.body));
        if request.query.get("digest") != Some(&digest) {
            return Reply::error(400, "DIGEST_INVALID", "the digest is another one");
        }
        self.blobs.insert(digest.clone(), request.body.clone());
        Reply::new(201, "").with("location", format!("/v2/{name}/blobs/{digest}"))
    }

    fn at_blob(&self, digest: &str) -> Reply {
        let Some(blob) = self.blobs.get(digest) else { return Reply::error(404, "BLOB_UNKNOWN", "blob unknown") };
        match self.fault {
            Fault::OtherBlob => {
                let mut other = blob.clone();
                *other.last_mut().unwrap() ^= 1;
                Reply::new(200, other)
            }
            Fault::BlobsAt(port) => {
                Reply::new(307, "").with("location", format!("http://127.0.0.1:{port}/cdn/{digest}"))
            }
            ending => Reply { ending, ..Reply::new(200, blob.clone()) },
        }
    }
}

/// Whether it is the user's name and password, `ann:canary-pass`.
fn is_ann(sent: &str) -> bool {
    sent == "Basic YW5uOmNhbmFyeS1wYXNz"
}
