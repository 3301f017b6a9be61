//! Test files of plugins: calls of one tool each, what is granted, and what is expected of them.
//!
//! A case goes the way of every call, in a folder of its own, and records nothing. Its plugin is real and so is the time.
//! It must not build anything: who runs a case says where the component is.

use super::reader::{Fields, items, members, text};
use super::script::Shared;
use super::shape::{Form, Shape, Want};
use super::stage::{Machine, events};
use super::verdict::{Miss, Verdict};
use crate::call::Call;
use crate::error::Error;
use crate::grants::GrantPolicy;
use crate::orchestrator::Orchestrator;
use crate::sources::read_named;
use cofferdam_core::diagnostic::Diagnostics;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, LocalName};
use cofferdam_core::limits;
use cofferdam_core::policy::Grants;
use cofferdam_core::spec::authored::{Findings, Part, read};
use cofferdam_core::spec::code;
use cofferdam_core::value::Map;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The keys of a file, of a case, of its call, and of where the component is.
pub(super) const KEYS: [&[&str]; 4] = [
    &["description", "plugin", "config", "grants", "files", "cases"],
    &["name", "about", "call", "config", "grants", "files", "expect"],
    &["tool", "args"],
    &["source", "build"],
];

/// What the plugin of a test file is called in grants and messages.
const ALIAS: &str = "plugin";

/// Of a call.
pub(super) const CALLED: Shape = Shape {
    short: "result",
    keys: &[
        ("result", Form::Value),
        ("content", Form::Value),
        ("error", Form::Table(&FAILED)),
        ("denied", Form::Value),
    ],
};

/// Of a call that failed.
pub(super) const FAILED: Shape = Shape {
    short: "code",
    keys: &[("code", Form::Value), ("kind", Form::Value), ("message", Form::Value), ("own", Form::Value)],
};

/// Where the component of a test file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A file, or `builtin:NAME`.
    Source(String),
    /// It is built first, from the crate in this folder.
    Build(PathBuf),
}

/// A test file of a plugin, checked.
#[derive(Debug)]
pub struct PluginTests {
    subject: Subject,
    cases: Vec<PluginCase>,
}

/// One call, and what is expected of it.
#[derive(Debug)]
pub struct PluginCase {
    name: String,
    file: String,
    line: u32,
    tool: LocalName,
    args: Map,
    config: Map,
    grants: Grants,
    files: Vec<(PathBuf, Arc<str>)>,
    expect: Want,
    fails: bool,
}

/// What a file says for all its cases.
struct Common<'a> {
    root: Fields<'a>,
    place: Shared,
}

impl PluginTests {
    /// Loads a test file, YAML or JSON. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, with place and hint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = read_named(path, limits::DOCUMENT_BYTES).map_err(|error| Error::Settings(error.to_string()))?.bytes;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::Settings(format!("`{name}` is not UTF-8 text")))?;
        let (file, mut findings) = read(text, &name);
        let tests = file.as_ref().and_then(|file| decode(file.root(), path, &mut findings));
        match tests {
            Some(tests) if !findings.has_errors() => Ok(tests),
            _ => Err(Error::Invalid(findings.finish())),
        }
    }

    /// Where the component is.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The cases, in the order of the file.
    #[must_use]
    pub fn cases(&self) -> &[PluginCase] {
        &self.cases
    }
}

fn decode(root: Part<'_>, path: &Path, findings: &mut Findings) -> Option<PluginTests> {
    let fields = Fields::open(root, KEYS[0], findings)?;
    if let Some(part) = fields.get("description") {
        text(part, findings);
    }
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let subject = subject(fields, root, &directory, findings);
    let mut place = Shared::new(path.display().to_string(), directory);
    place.settings = place.read(fields, findings);
    let Some(list) = fields.given("cases") else {
        let hint = Some("`cases` is a list of `{ name, call, expect }`".to_owned());
        findings.at(root, code::MISSING_KEY, "the key `cases` is missing", hint);
        return None;
    };
    let common = Common { root: fields, place };
    let parts = items(list, findings);
    if parts.is_empty() && list.items().is_some() {
        findings.at(list, code::EMPTY, "there is no case", None);
    }
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for part in parts {
        let Some(case) = case(part, &common, findings) else { continue };
        if !names.insert(case.name.clone()) {
            let message = format!("two cases are called `{}`", case.name);
            findings.at(part.nearest("name"), code::DUPLICATE_STEP, message, None);
        }
        cases.push(case);
    }
    Some(PluginTests { subject: subject?, cases })
}

/// `plugin: SOURCE`, `{ source: SOURCE }` or `{ build: FOLDER }`.
fn subject(fields: Fields<'_>, root: Part<'_>, directory: &Path, findings: &mut Findings) -> Option<Subject> {
    let hint = || Some("write `{ source: ./my-tool.wasm }`, `{ source: builtin:text }` or `{ build: . }`".to_owned());
    let Some(part) = fields.get("plugin") else {
        findings.at(root, code::MISSING_KEY, "the key `plugin` is missing", hint());
        return None;
    };
    let file = |source: &str| match source.starts_with("builtin:") {
        true => Subject::Source(source.to_owned()),
        false => Subject::Source(directory.join(source).display().to_string()),
    };
    if let Some(source) = part.text() {
        return Some(file(source));
    }
    let fields = Fields::open(part, KEYS[3], findings)?;
    match (fields.text("source", findings), fields.text("build", findings)) {
        (Some(source), None) => Some(file(source)),
        (None, Some(folder)) => Some(Subject::Build(directory.join(folder))),
        _ => {
            findings.at(part, code::CONFLICT, "a plugin has one of `source` and `build`", hint());
            None
        }
    }
}

fn case(part: Part<'_>, common: &Common<'_>, findings: &mut Findings) -> Option<PluginCase> {
    let fields = Fields::open(part, KEYS[1], findings)?;
    let name = fields.required("name", findings);
    if let Some(part) = fields.get("about") {
        text(part, findings);
    }
    let of_both = |key| fields.given(key).or_else(|| common.root.given(key));
    let config = of_both("config").and_then(|part| object(part, findings)).unwrap_or_default();
    let grants = of_both("grants").and_then(|part| grants(part, findings)).unwrap_or_default();
    let files = common.place.read(fields, findings).files.into_iter().collect();
    let (tool, args) = match fields.get("call") {
        Some(part) => call(part, findings)?,
        None => {
            let hint = Some("write `call: { tool: count, args: { text: two words } }`".to_owned());
            findings.at(part, code::MISSING_KEY, "the case calls nothing", hint);
            return None;
        }
    };
    let Some(expected) = fields.get("expect") else {
        let hint = Some("`expect: { result: ... }`, or `{ error: { code: plugin_error } }`".to_owned());
        findings.at(part, code::MISSING_KEY, "the case expects nothing", hint);
        return None;
    };
    let fails = expected.member("error").is_some_and(|part| !part.to_json().is_null());
    let expect = Want::decode(expected, &CALLED, findings);
    let (name, file) = (name?.to_owned(), common.place.file.clone());
    Some(PluginCase { name, file, line: part.line(), tool, args, config, grants, files, expect, fails })
}

fn call(part: Part<'_>, findings: &mut Findings) -> Option<(LocalName, Map)> {
    let fields = Fields::open(part, KEYS[2], findings)?;
    let name = fields.required("tool", findings)?;
    let args = fields.get("args").and_then(|part| object(part, findings)).unwrap_or_default();
    match LocalName::parse(name) {
        Ok(tool) => Some((tool, args)),
        Err(error) => {
            findings.at(part.nearest("tool"), code::BAD_NAME, error.to_string(), None);
            None
        }
    }
}

fn object(part: Part<'_>, findings: &mut Findings) -> Option<Map> {
    members(part, findings)?;
    part.to_json().as_object().cloned()
}

fn grants(part: Part<'_>, findings: &mut Findings) -> Option<Grants> {
    match Grants::parse(&part.to_json()) {
        Ok(grants) => Some(grants),
        Err(errors) => {
            for error in errors {
                findings.at(part.nearest(&error.path), code::BAD_GRANTS, error.message, error.hint);
            }
            None
        }
    }
}

impl PluginCase {
    /// Its name, unique in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the call with the component at `source`, and judges what came of it. Must run inside a tokio runtime.
    pub async fn run(&self, source: &str, machine: &Machine) -> Verdict {
        let began = Instant::now();
        let misses = match self.observe(source, machine).await {
            Ok(found) => self.misses(&found),
            Err(reason) => vec![Miss::new("call", "a call", reason)],
        };
        Verdict { file: self.file.clone(), case: self.name.clone(), line: self.line, misses, took: began.elapsed() }
    }

    fn misses(&self, found: &Value) -> Vec<Miss> {
        let mut misses = self.expect.misses("", found);
        let error = found.get("error").unwrap_or(&Value::Null);
        let shown = error.get("message").and_then(Value::as_str).unwrap_or_default();
        match (self.fails, error.is_null()) {
            (true, true) => misses.insert(0, Miss::new("error", "an error", "none")),
            // Who sees only that the result is missing has to guess.
            (false, false) if !misses.iter().any(|miss| miss.about.starts_with("error")) => {
                misses.insert(0, Miss::new("error", "nothing", shown));
            }
            _ => {}
        }
        misses
    }

    async fn observe(&self, source: &str, machine: &Machine) -> Result<Value, String> {
        let call = Call {
            alias: Alias::parse(ALIAS).map_err(|error| error.to_string())?,
            source: source.to_owned(),
            config: self.config.clone(),
            tool: self.tool.clone(),
            args: self.args.clone(),
        };
        let folder = tempfile::Builder::new().prefix("cofferdam-case-").tempdir().map_err(|error| error.to_string())?;
        self.stage(folder.path()).map_err(|error| format!("the case cannot be staged: {error}"))?;
        let workflow = call.workflow(".").map_err(|error| said(&error))?;
        let mut builder = Orchestrator::builder()
            .grants(GrantPolicy::deny_all().with_flag(call.alias.clone(), &self.grants))
            .isolation(crate::compose::directories(Some(work(folder.path())), Some(&folder.path().join("records"))));
        if let Some(dirs) = &machine.user_dirs {
            builder = builder.user_dirs(dirs.clone());
        }
        if let Some(child) = &machine.compile_child {
            builder = builder.compile_child(child.clone());
        }
        let orchestrator = builder.build().map_err(|error| said(&error))?;
        let result = orchestrator.run_flow(&workflow, call.options()).await.map_err(|error| said(&error))?;
        let told = events(orchestrator.runs().as_ref(), &result.run_id).await;
        orchestrator.close().await;
        let error = Call::fault(&result);
        let told = told.iter().filter_map(|event| match &event.body {
            Body::PluginDenied { request, .. } => Some(request.as_str()),
            _ => None,
        });
        let denied: BTreeSet<&str> = told.chain(error.map(Call::suspected).unwrap_or_default()).collect();
        let step = Call::step(&result);
        Ok(json!({
            "result": step.map(|step| &step.result),
            "content": step.map(|step| &step.content),
            "error": error.map(of_fault),
            "denied": denied,
        }))
    }

    /// The working directory of the case, with its files.
    fn stage(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir(work(folder))?;
        for (path, content) in &self.files {
            let path = work(folder).join(path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, content.as_bytes())?;
        }
        Ok(())
    }
}

fn work(folder: &Path) -> PathBuf {
    folder.join("work")
}

/// The fault of the host, and what the plugin itself says of it.
fn of_fault(fault: &Fault) -> Value {
    let detail = |key| fault.detail.as_ref().and_then(|detail| detail.get(key)).cloned();
    json!({ "code": fault.code, "message": fault.message, "kind": detail("kind"), "own": detail("code") })
}

fn said(error: &Error) -> String {
    let first = |findings: &Diagnostics| findings.iter().next().map(|finding| finding.message.clone());
    match error {
        Error::Invalid(findings) | Error::Inputs(findings) => first(findings).unwrap_or_else(|| error.to_string()),
        Error::Refused(faults) => faults.first().map_or_else(|| error.to_string(), |fault| fault.message.clone()),
        other => other.to_string(),
    }
}
