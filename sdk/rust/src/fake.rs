//! A host for native tests: answers what the test told it, keeps what the tool
//! said. Not part of a component.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::context::{CallInfo, Context, Level};
use crate::error::{Error, Result};
use crate::http::{Request, Response};
use crate::output::Payload;
use crate::pure::PureContext;

/// A host that a test sets up and looks into.
///
/// ```
/// use cofferdam_sdk::{Fake, http};
///
/// let host = Fake::new()
///     .config(serde_json::json!({ "org": "acme" }))
///     .respond("https://api.example.com/user", http::Response::new(200, "{}"));
/// let ctx = host.context();
/// let answer = ctx.fetch(http::Request::get("https://api.example.com/user"))?;
/// assert_eq!(answer.status, 200);
/// assert_eq!(host.requests().len(), 1);
/// # Ok::<(), cofferdam_sdk::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fake {
    state: Arc<Mutex<State>>,
}

/// A line that a tool logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// Its fields, in order.
    pub fields: Vec<(String, String)>,
}

/// Progress that a tool reported.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgressLine {
    /// What it is doing.
    pub message: String,
    /// How far it is, if known.
    pub fraction: Option<f32>,
}

#[derive(Debug, Default)]
struct State {
    config: Option<Value>,
    responses: BTreeMap<String, Result<Response>>,
    secrets: Vec<String>,
    tools: BTreeMap<String, Payload>,
    step: Option<PathBuf>,
    out: Option<PathBuf>,
    cancelled: bool,
    logs: Vec<LogLine>,
    progress: Vec<ProgressLine>,
    requests: Vec<Request>,
}

impl Fake {
    /// A host that grants nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the plugin's configuration.
    #[must_use]
    pub fn config(self, config: Value) -> Self {
        self.state().config = Some(config);
        self
    }

    /// Grants a URL and sets what it answers.
    #[must_use]
    pub fn respond(self, url: impl Into<String>, response: Response) -> Self {
        self.state().responses.insert(url.into(), Ok(response));
        self
    }

    /// Sets how a request to a URL fails.
    #[must_use]
    pub fn fail(self, url: impl Into<String>, error: Error) -> Self {
        self.state().responses.insert(url.into(), Err(error));
        self
    }

    /// Grants a secret.
    #[must_use]
    pub fn secret(self, name: impl Into<String>) -> Self {
        self.state().secrets.push(name.into());
        self
    }

    /// Grants a tool and sets what it answers.
    #[must_use]
    pub fn tool(self, name: impl Into<String>, answer: Payload) -> Self {
        self.state().tools.insert(name.into(), answer);
        self
    }

    /// Grants a directory as the step's.
    #[must_use]
    pub fn step(self, directory: impl Into<PathBuf>) -> Self {
        self.state().step = Some(directory.into());
        self
    }

    /// Grants a directory as the run's output directory.
    #[must_use]
    pub fn out(self, directory: impl Into<PathBuf>) -> Self {
        self.state().out = Some(directory.into());
        self
    }

    /// Makes the run look cancelled.
    pub fn cancel(&self) {
        self.state().cancelled = true;
    }

    /// The context of a call, the first attempt of a step `test`.
    pub fn context(&self) -> Context {
        let info = CallInfo {
            run_id: "run".to_owned(),
            step_path: "test".to_owned(),
            attempt: 1,
            idempotency_key: "run/test".to_owned(),
            deadline_ms: u64::MAX,
            traceparent: String::new(),
        };
        Context::new(info, Host(self.clone()))
    }

    /// The context of a pure call of the same step.
    pub fn pure_context(&self) -> PureContext {
        PureContext::new(self.context().info().clone(), Host(self.clone()))
    }

    /// What was logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.state().logs.clone()
    }

    /// The progress reported so far.
    pub fn progress(&self) -> Vec<ProgressLine> {
        self.state().progress.clone()
    }

    /// The requests sent so far, refused ones included.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fake behind the interface that the real host has.
#[derive(Clone, Debug)]
pub(crate) struct Host(Fake);

impl Host {
    pub(crate) fn log(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.0.state().logs.push(LogLine { level, message: message.to_owned(), fields });
    }

    pub(crate) fn progress(&self, message: &str, fraction: Option<f32>) {
        self.0.state().progress.push(ProgressLine { message: message.to_owned(), fraction });
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.state().cancelled
    }

    pub(crate) fn config(&self) -> String {
        self.0.state().config.clone().unwrap_or_else(|| json!({})).to_string()
    }

    pub(crate) fn fetch(&self, request: Request) -> Result<Response> {
        let mut state = self.0.state();
        let url = request.url.clone();
        state.requests.push(request);
        let Some(answer) = state.responses.get(&url) else {
            return Err(Error::denied(format!("no grant allows `{url}`")));
        };
        let mut response = answer.clone()?;
        if response.final_url.is_empty() {
            response.final_url = url;
        }
        let longest = state.requests.last().and_then(|request| request.max_response_bytes);
        if longest.is_some_and(|longest| response.body.len() as u64 > longest) {
            return Err(Error::too_large("the answer is longer than allowed"));
        }
        Ok(response)
    }

    pub(crate) fn fetch_many(&self, requests: Vec<Request>, _: u32) -> Vec<Result<Response>> {
        requests.into_iter().map(|request| self.fetch(request)).collect()
    }

    pub(crate) fn has_secret(&self, name: &str) -> bool {
        self.0.state().secrets.iter().any(|known| known == name)
    }

    pub(crate) fn secret_placeholder(&self, name: &str) -> Result<String> {
        if self.has_secret(name) {
            Ok(format!("placeholder-of-{name}"))
        } else {
            Err(Error::denied(format!("no grant allows the secret `{name}`")))
        }
    }

    pub(crate) fn invoke(&self, tool: &str, _args: &Value) -> Result<Payload> {
        let answer = self.0.state().tools.get(tool).cloned();
        answer.ok_or_else(|| Error::denied(format!("no grant allows the tool `{tool}`")))
    }

    pub(crate) fn step_root(&self) -> PathBuf {
        self.0.state().step.clone().unwrap_or_else(|| Path::new("/step").to_owned())
    }

    pub(crate) fn out_root(&self) -> PathBuf {
        self.0.state().out.clone().unwrap_or_else(|| Path::new("/out").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Config {
        org: String,
    }

    #[test]
    fn what_a_tool_says_can_be_read() {
        let host = Fake::new();
        let ctx = host.context();
        ctx.log_with(Level::Warn, "odd", &[("line", "3")]);
        ctx.progress_at("half", 0.5);
        assert_eq!(host.logs()[0].fields, [("line".to_owned(), "3".to_owned())]);
        assert_eq!(host.progress()[0].fraction, Some(0.5));
    }

    #[test]
    fn a_configuration_is_decoded_and_faults_are_named() {
        let ctx = Fake::new().config(json!({ "org": "acme" })).context();
        assert_eq!(ctx.config::<Config>().unwrap().org, "acme");
        let ctx = Fake::new().config(json!({ "org": 3 })).context();
        let error = ctx.config::<Config>().err().unwrap();
        assert_eq!(error.message(), "configuration `org`: invalid type: integer `3`, expected a string");
    }

    #[test]
    fn what_is_not_granted_is_denied() {
        let ctx = Context::fake();
        let fetched = ctx.fetch(Request::get("https://example.com"));
        assert_eq!(fetched.unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(ctx.secret_placeholder("KEY").unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(ctx.invoke("read", &json!({})).unwrap_err().kind(), ErrorKind::Denied);
    }
}
