//! Listens on loopback, a task for each connection, and keeps the log. It must not know what is answered.

use crate::http::{self, Request};
use crate::limits::{CONNECTIONS, COUNTED_NAMES, DRAINED_BYTES};
use crate::log::{Log, Recorded};
use crate::reply::Reply;
use crate::route::{self, LOG};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// How to start a server.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The pause before each half event of `slow-drip`. Stalls have no length: they end when the client goes.
    pub drip: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 0, drip: Duration::from_millis(50) }
    }
}

/// A running server. It ends, with every connection, when it is dropped.
#[derive(Debug)]
pub struct ModelServer {
    shared: Arc<Shared>,
    listening: AbortHandle,
}

impl ModelServer {
    /// Listens on 127.0.0.1, in a task of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            drip: options.drip,
            log: Mutex::default(),
            failures: Mutex::default(),
            number: AtomicU64::new(0),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, listening })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The base URL of OpenAI's clients: `http://127.0.0.1:PORT/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("{}/v1", self.root())
    }

    /// The base URL of all others: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn root(&self) -> String {
        self.shared.root()
    }

    /// What it was asked so far, in order; requests to the log itself are not in it.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log().all()
    }

    /// Forgets the requests and how often `flaky-N` failed, and numbers answers from one again.
    pub fn clear(&self) {
        self.shared.clear();
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    address: SocketAddr,
    pub(crate) drip: Duration,
    log: Mutex<Log>,
    failures: Mutex<HashMap<String, u64>>,
    number: AtomicU64,
}

impl Shared {
    pub(crate) fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nothing is left half done under these locks, so that a panic elsewhere does not matter.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shown_log(&self) -> Value {
        let requests = self.log().all();
        json!(requests.iter().map(Recorded::shown).collect::<Vec<_>>())
    }

    pub(crate) fn clear(&self) {
        self.log().clear();
        self.failures().clear();
        self.number.store(0, Ordering::Relaxed);
    }

    /// Whether this name still has to fail, of the times that it does.
    pub(crate) fn fails_again(&self, name: &str, times: u64) -> bool {
        let mut failures = self.failures();
        if failures.len() >= COUNTED_NAMES {
            failures.clear();
        }
        let failed = failures.entry(name.to_owned()).or_default();
        let again = *failed < times;
        *failed += u64::from(again);
        again
    }

    fn record(&self, request: &Arc<Request>) -> u64 {
        if request.path() == LOG {
            return 0;
        }
        self.log().push(Arc::clone(request));
        self.number.fetch_add(1, Ordering::Relaxed) + 1
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    // Dropping the set ends the connections.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => _ = connections.spawn(serve(stream, Arc::clone(&shared))),
            // Of a connection that is gone already, or for want of descriptors until some end.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    // Each write is to leave at once: that is what several modes are about.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match http::read(&mut stream).await {
        Ok(request) => {
            let request = Arc::new(request);
            let number = shared.record(&request);
            let reply = route::reply(&request, number, &shared);
            drop(request);
            // An error means that the client has gone, as it may.
            reply.send(&mut stream).await.unwrap_or_default();
        }
        Err(bad) => {
            let Some((status, message)) = bad.status() else { return };
            let error = json!({"error": {"message": message, "type": "invalid_request_error"}});
            if Reply::json(status, &error).send(&mut stream).await.is_ok() {
                drain(&mut stream).await;
            }
        }
    }
}

/// Reads on for a while, since closing over unread bytes would be a reset.
async fn drain(stream: &mut TcpStream) {
    let mut forgotten = vec![0; 64 * 1024];
    let mut drained = 0;
    while drained < DRAINED_BYTES {
        match stream.read(&mut forgotten).await {
            Ok(count) if count > 0 => drained += count,
            _ => return,
        }
    }
}
