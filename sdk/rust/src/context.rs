//! What a tool may ask of the host during a call. Every method is one import of
//! the component, and one that is not used is not imported: keep it so, by
//! calling the host directly and never through a table of functions.

use serde::de::DeserializeOwned;
use serde_json::Value;

#[cfg(target_family = "wasm")]
use crate::component::Host;
use crate::directory::Directory;
use crate::error::{Error, Result};
#[cfg(not(target_family = "wasm"))]
use crate::fake::{Fake, Host};
use crate::http::{Request, Response};
use crate::kv::Kv;
use crate::output::Payload;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every detail.
    Trace,
    /// For finding faults.
    Debug,
    /// Worth knowing.
    Info,
    /// Wrong, but the call goes on.
    Warn,
    /// The call fails, or its result is not what was asked for.
    Error,
}

/// Where in a run a call happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallInfo {
    /// The run, opaque.
    pub run_id: String,
    /// The step with namespaces and loop positions, e.g. `build[2].test`.
    pub step_path: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// The same in every retry and replay: send it with every external write.
    pub idempotency_key: String,
    /// When the call is ended, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// W3C trace context; empty when tracing is off.
    pub traceparent: String,
}

/// One call's view of the host. Each method is a capability: without a grant it
/// answers [`ErrorKind::Denied`](crate::ErrorKind::Denied), or nothing happens
/// where it cannot answer.
#[derive(Clone, Debug)]
pub struct Context {
    info: CallInfo,
    host: Host,
}

impl Context {
    pub(crate) fn new(info: CallInfo, host: Host) -> Self {
        Self { info, host }
    }

    /// A context for tests of a tool's logic: nothing configured, nothing
    /// granted. See [`Fake`] for one that has more.
    #[cfg(not(target_family = "wasm"))]
    pub fn fake() -> Self {
        Fake::new().context()
    }

    /// Where in a run this call happens.
    pub fn info(&self) -> &CallInfo {
        &self.info
    }

    /// Writes a line to the log of the run.
    pub fn log(&self, level: Level, message: &str) {
        self.host.log(level, message, &[]);
    }

    /// Writes a line with fields.
    pub fn log_with(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        self.host.log(level, message, fields);
    }

    /// Says what the call is doing. Shown live, may be dropped.
    pub fn progress(&self, message: &str) {
        self.host.progress(message, None);
    }

    /// Says how far the call is, from 0 to 1.
    pub fn progress_at(&self, message: &str, fraction: f32) {
        self.host.progress(message, Some(fraction));
    }

    /// True once the run is being cancelled: poll it in long loops.
    pub fn is_cancelled(&self) -> bool {
        self.host.is_cancelled()
    }

    /// The configuration of this plugin.
    ///
    /// # Errors
    ///
    /// A configuration that is not of the type `T`; the message names the field.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T> {
        crate::plugin::decode(&self.host.config()).map_err(|error| {
            let message = error.message().replace("argument", "configuration");
            Error::invalid_input(message).with_code("configuration")
        })
    }

    /// Sends a request to a granted host.
    ///
    /// # Errors
    ///
    /// A host that is not granted, an unreachable one, an answer too long. A
    /// status of 400 and above is not an error: see
    /// [`Response::error_for_status`].
    pub fn fetch(&self, request: Request) -> Result<Response> {
        self.host.fetch(request)
    }

    /// Sends several requests, at most `at_once` at a time, answered in order.
    pub fn fetch_many(&self, requests: Vec<Request>, at_once: u32) -> Vec<Result<Response>> {
        self.host.fetch_many(requests, at_once)
    }

    /// Whether a secret is granted and has a value.
    pub fn has_secret(&self, name: &str) -> bool {
        self.host.has_secret(name)
    }

    /// A stand-in for a secret: put it into a request, and the host swaps it for
    /// the value where the grant allows that.
    ///
    /// # Errors
    ///
    /// A secret that is not granted.
    pub fn secret_placeholder(&self, name: &str) -> Result<String> {
        self.host.secret_placeholder(name)
    }

    /// The value of a secret. A component that uses this imports
    /// `secrets-reveal`, which is a request of its own (`secrets: [{ name: K,
    /// reveal: true }]`), shown to whoever allows it; prefer
    /// [`Context::secret_placeholder`].
    ///
    /// # Errors
    ///
    /// A secret whose value is not granted, or that has none.
    pub fn reveal_secret(&self, name: &str) -> Result<Vec<u8>> {
        self.host.reveal_secret(name)
    }

    /// The store of this plugin.
    pub fn kv(&self) -> Kv<'_> {
        Kv(&self.host)
    }

    /// How many bytes a blob has.
    ///
    /// # Errors
    ///
    /// An id of no blob.
    pub fn blob_size(&self, blob: &str) -> Result<u64> {
        self.host.blob_size(blob)
    }

    /// At most `len` bytes of a blob from `offset` on.
    ///
    /// # Errors
    ///
    /// As [`Context::blob_size`].
    pub fn read_blob(&self, blob: &str, offset: u64, len: u32) -> Result<Vec<u8>> {
        self.host.read_blob(blob, offset, len)
    }

    /// Keeps bytes and answers the id of the blob; return it with
    /// [`Payload::Blob`].
    ///
    /// # Errors
    ///
    /// More bytes than one call may write.
    pub fn write_blob(&self, bytes: &[u8]) -> Result<String> {
        self.host.write_blob(bytes)
    }

    /// Calls another tool of the run.
    ///
    /// # Errors
    ///
    /// A tool that is not granted, and whatever it answers.
    pub fn invoke(&self, tool: &str, args: &Value) -> Result<Payload> {
        self.host.invoke(tool, args)
    }

    /// The step's directory.
    pub fn step(&self) -> Directory {
        Directory::new(self.host.step_root(), "fs: { read: true }")
    }

    /// The run's output directory.
    pub fn out(&self) -> Directory {
        Directory::new(self.host.out_root(), "fs: { out: true }")
    }
}
