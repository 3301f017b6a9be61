//! A host for native tests: answers what the test told it, keeps what the tool
//! said. Not part of a component.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::context::{CallInfo, Context, Level};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Request, Response};
use crate::kv::{Entry, Page, When, Write};
use crate::output::Payload;

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
    revealed: BTreeMap<String, Vec<u8>>,
    /// None when the store is not granted.
    kv: Option<BTreeMap<String, Entry>>,
    last_version: u64,
    blobs: Vec<Vec<u8>>,
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

    /// Grants a secret together with its value.
    #[must_use]
    pub fn revealed(self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let name = name.into();
        self.state().revealed.insert(name.clone(), value.into());
        self.secret(name)
    }

    /// Grants the key-value store, empty. Values are not forgotten by themselves.
    #[must_use]
    pub fn kv(self) -> Self {
        self.state().kv.get_or_insert_default();
        self
    }

    /// What the key-value store holds.
    pub fn kv_entries(&self) -> Vec<Entry> {
        self.state().kv.iter().flat_map(|entries| entries.values().cloned()).collect()
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

    pub(crate) fn reveal_secret(&self, name: &str) -> Result<Vec<u8>> {
        let value = self.0.state().revealed.get(name).cloned();
        value.ok_or_else(|| Error::denied(format!("no grant reveals the secret `{name}`")))
    }

    pub(crate) fn kv_get_many(&self, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        let state = self.0.state();
        let entries = state.kv.as_ref().ok_or_else(no_store)?;
        Ok(keys.iter().map(|key| entries.get(*key).cloned()).collect())
    }

    pub(crate) fn kv_commit(&self, writes: Vec<Write>) -> Result<Vec<u64>> {
        let mut state = self.0.state();
        let State { kv, last_version, .. } = &mut *state;
        let entries = kv.as_mut().ok_or_else(no_store)?;
        for write in &writes {
            let found = entries.get(&write.key).map_or(0, |entry| entry.version);
            let holds = match write.when {
                When::Always => true,
                When::Absent => found == 0,
                When::Version(version) => found == version,
            };
            if !holds {
                return Err(Error::new(ErrorKind::Conflict, format!("`{}` has version {found}", write.key)));
            }
        }
        let mut versions = Vec::new();
        for Write { key, value, .. } in writes {
            let Some(value) = value else {
                entries.remove(&key);
                versions.push(0);
                continue;
            };
            *last_version += 1;
            versions.push(*last_version);
            entries.insert(key.clone(), Entry { key, value, version: *last_version });
        }
        Ok(versions)
    }

    pub(crate) fn kv_scan(&self, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<Page> {
        let state = self.0.state();
        let entries = state.kv.as_ref().ok_or_else(no_store)?;
        let after = |key: &str| cursor.is_none_or(|cursor| key > cursor);
        let mut found = entries.values().filter(|entry| entry.key.starts_with(prefix) && after(&entry.key));
        let entries: Vec<Entry> = found.by_ref().take(limit.max(1) as usize).cloned().collect();
        let next = found.next().and(entries.last()).map(|entry| entry.key.clone());
        Ok(Page { entries, next })
    }

    pub(crate) fn blob_size(&self, blob: &str) -> Result<u64> {
        Ok(self.blob(blob)?.len() as u64)
    }

    pub(crate) fn read_blob(&self, blob: &str, offset: u64, len: u32) -> Result<Vec<u8>> {
        let bytes = self.blob(blob)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(bytes.into_iter().skip(from).take(len as usize).collect())
    }

    pub(crate) fn write_blob(&self, bytes: &[u8]) -> Result<String> {
        let mut state = self.0.state();
        state.blobs.push(bytes.to_vec());
        Ok(format!("{:064x}", state.blobs.len()))
    }

    fn blob(&self, blob: &str) -> Result<Vec<u8>> {
        let number = usize::from_str_radix(blob, 16).ok();
        let found = number.and_then(|number| self.0.state().blobs.get(number.checked_sub(1)?).cloned());
        found.ok_or_else(|| Error::not_found(format!("there is no blob `{blob}`")))
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

fn no_store() -> Error {
    Error::denied("no grant allows the key-value store")
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
    fn values_are_kept_with_conditions_and_listed_in_pages() {
        let host = Fake::new().kv();
        let ctx = host.context();
        let versions = ctx.kv().commit(vec![Write::put("a/1", "x").if_absent(), Write::put("a/2", "y")]).unwrap();
        let conflict = ctx.kv().commit(vec![Write::delete("a/2"), Write::put("a/1", "z").if_absent()]).unwrap_err();
        assert_eq!(conflict.kind(), ErrorKind::Conflict);
        ctx.kv().commit(vec![Write::put("a/1", "z").if_version(versions[0])]).unwrap();
        let page = ctx.kv().scan("a/", None, 1).unwrap();
        assert_eq!((page.entries[0].text().unwrap(), page.next.as_deref()), ("z", Some("a/1")));
        assert_eq!(ctx.kv().scan("a/", page.next.as_deref(), 9).unwrap().next, None);
        assert_eq!(host.kv_entries().len(), 2);
    }

    #[test]
    fn blobs_and_secrets_come_back() {
        let ctx = Fake::new().revealed("K", "value").context();
        assert_eq!(ctx.reveal_secret("K").unwrap(), b"value");
        let id = ctx.write_blob(b"bytes").unwrap();
        assert_eq!((ctx.blob_size(&id).unwrap(), ctx.read_blob(&id, 1, 3).unwrap()), (5, b"yte".to_vec()));
    }

    #[test]
    fn what_is_not_granted_is_denied() {
        let ctx = Context::fake();
        let fetched = ctx.fetch(Request::get("https://example.com"));
        assert_eq!(fetched.unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(ctx.reveal_secret("KEY").unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(ctx.kv().get("k").unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(ctx.secret_placeholder("KEY").unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(ctx.invoke("read", &json!({})).unwrap_err().kind(), ErrorKind::Denied);
    }
}
