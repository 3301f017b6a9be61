//! Documents that steps include: opened, decoded and checked once each, whoever names them.
//!
//! An included document is checked as if it stood alone: what is known of it does not depend on who includes it. What
//! the documents of one run share is put together by [`super::merge`].

use super::code;
use super::decode::{Decoder, Document};
use super::expression::Reading;
use super::files::Unreadable;
use super::input::InputText;
use super::kind::Fields;
use super::merge::Shared;
use super::tree::{self, Node};
use super::workflow::{Include, Scope, Step, Work};
use crate::diagnostic::Place as InFile;
use crate::expr::Names;
use crate::limits;
use crate::model_options::ModelOptions;
use crate::port::SourceError;
use crate::template::{self, Template};
use crate::value::Map;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// So many missing inputs are named.
const NAMED_INPUTS: usize = 5;

/// The documents of one run.
#[derive(Default)]
pub(super) struct Documents {
    /// By path; none for those with faults, which are reported.
    known: BTreeMap<String, Option<Arc<Included>>>,
    /// The documents that are being decoded, each included by the one before it.
    chain: Vec<String>,
    /// The options of the document that runs, as they were written.
    pub(super) options: Map,
    /// What it says to models, for the agents of all of them.
    pub(super) model_options: Arc<ModelOptions>,
    /// What they have in common.
    pub(super) shared: Shared,
    /// Entries of `includes` that no step uses.
    unused: Vec<Named>,
    opened: usize,
    bytes: usize,
}

/// A document that steps include.
struct Included {
    document: Document,
    /// The inputs that must be given.
    required: Vec<String>,
    known_inputs: BTreeMap<String, usize>,
    /// Its steps, and those of the documents that it includes, each as often as it is included.
    steps: usize,
    /// How deep the documents nest that it includes.
    height: usize,
}

/// What the documents that were included so far add to the document that is being decoded.
#[derive(Default)]
pub(super) struct Inclusions {
    /// The entries of `includes`.
    names: BTreeMap<String, Named>,
    steps: usize,
    height: usize,
}

/// A path, and where it is written.
#[derive(Clone)]
struct Named {
    written: String,
    /// Below the directory of the document that runs; none when it leads out.
    path: Option<String>,
    place: InFile,
    within: String,
    /// Whether it stands in `includes`, and not in a step.
    is_entry: bool,
    is_used: bool,
}

impl Documents {
    /// The documents of a run of this one.
    pub(super) fn of(root: &str) -> Self {
        Self { chain: vec![root.to_owned()], ..Self::default() }
    }

    /// Whether the document that is being decoded is included by another one.
    pub(super) fn is_inner(&self) -> bool {
        self.chain.len() > 1
    }

    /// The document that is being decoded.
    pub(super) fn current(&self) -> &str {
        self.chain.last().map_or("", String::as_str)
    }

    fn circle(&self, path: &str) -> Option<String> {
        let from = self.chain.iter().position(|open| open == path)?;
        let names = self.chain.iter().skip(from).map(String::as_str).chain([path]);
        Some(names.collect::<Vec<_>>().join(" -> "))
    }

    fn chain_to(&self, path: &str) -> String {
        self.chain.iter().map(String::as_str).chain([path]).collect::<Vec<_>>().join(" -> ")
    }
}

impl Decoder<'_> {
    /// The `includes` of a document.
    pub(super) fn includes(&mut self, fields: &Fields<'_>) {
        for entry in fields.members("includes") {
            let Some(path) = entry.value.text().filter(|path| !path.trim().is_empty()) else { continue };
            let named = Named { is_entry: true, ..self.named(path, &entry.value) };
            self.inclusions.names.insert(entry.key.clone(), named);
        }
    }

    /// Decodes a step's `include` and `with`. `node` is the value of `include`.
    pub(super) fn include<'n>(
        &mut self,
        fields: &Fields<'n>,
        node: &'n Node,
        names: &Names<'_>,
        readings: &mut Vec<Reading<'n>>,
    ) -> Option<Include> {
        let with = match fields.get("with") {
            Some(node) => {
                let (template, read) = self.template(node, names);
                readings.extend(read);
                template
            }
            None => Template::constant(Value::Object(Map::new())),
        };
        if let Some(entry) = fields.entry("maxRetries") {
            self.report
                .at(code::NO_EFFECT, entry.spot, &entry.value.path, "`maxRetries` of an included document is its own")
                .warning()
                .hint("write `options: {maxRetries: ...}` in the included document");
        }
        let text = node.text()?;
        let target = match self.inclusions.names.get_mut(text) {
            Some(named) => {
                named.is_used = true;
                named.clone()
            }
            None => self.named(text, node),
        };
        let (included, path) = self.open(&target, Some(node))?;
        self.count(node, &included);
        self.check_with(node, fields.get("with"), &included);
        let Document { name, scope, inputs, output, timeout } = &included.document;
        Some(Include {
            name: Arc::clone(name),
            path,
            scope: Arc::clone(scope),
            inputs: Arc::clone(inputs),
            with,
            output: output.clone(),
            timeout: *timeout,
        })
    }

    /// Opens the entries of `includes` that no step uses, in all documents. Nothing of them runs: their faults are
    /// warnings.
    pub(super) fn unused_includes(&mut self) {
        self.set_unused_aside();
        let mark = self.report.mark();
        // Documents that are opened here may have such entries of their own.
        while let Some(named) = self.documents.unused.pop() {
            self.open(&named, None);
        }
        self.report.soften_since(mark);
    }

    fn set_unused_aside(&mut self) {
        let names = std::mem::take(&mut self.inclusions.names);
        self.documents.unused.extend(names.into_values().rev().filter(|named| !named.is_used));
    }

    fn named(&self, written: &str, node: &Node) -> Named {
        Named {
            written: written.to_owned(),
            path: self.files.resolve(written),
            place: self.report.place(node.spot),
            within: node.path.clone(),
            is_entry: false,
            is_used: false,
        }
    }

    /// The document at a path, decoded now or before. `step` is what a step says, when a step wants it.
    fn open(&mut self, named: &Named, step: Option<&Node>) -> Option<(Arc<Included>, String)> {
        let at_step = step.map_or_else(|| named.place.clone(), |node| self.report.place(node.spot));
        let within = step.map_or(named.within.as_str(), |node| node.path.as_str());
        let Some(path) = &named.path else {
            let error = SourceError::Escape(named.written.clone());
            self.refused(named, &error);
            return None;
        };
        if let Some(circle) = self.documents.circle(path) {
            let message = format!("documents include each other in a circle: {circle}");
            self.report
                .elsewhere(code::INCLUDE_CIRCLE, at_step, within, message)
                .hint("repeat steps with a `loop`, not by including a document in itself");
            return None;
        }
        let known = self.documents.known.get(path).cloned();
        let depth = self.documents.chain.len() + known.iter().flatten().map(|document| document.height).sum::<usize>();
        if depth > limits::INCLUDE_DEPTH {
            let chain = self.documents.chain_to(path);
            let message = format!("more than {} documents inside each other: {chain}", limits::INCLUDE_DEPTH);
            self.report.elsewhere(code::INCLUDE_DEPTH, at_step, within, message);
            return None;
        }
        let included = match known {
            Some(known) => known,
            None => {
                let included = self.open_new(named, path).map(Arc::new);
                self.documents.known.insert(path.clone(), included.clone());
                included
            }
        };
        if step.is_some() {
            let current = self.documents.current().to_owned();
            self.documents.shared.uses(&current, path);
        }
        Some((included?, path.clone()))
    }

    fn open_new(&mut self, named: &Named, path: &str) -> Option<Included> {
        // No more findings would be shown.
        if self.report.mark() > limits::DIAGNOSTICS && self.report.has_errors() {
            return None;
        }
        self.documents.opened += 1;
        let too_many = self.documents.opened > limits::INCLUDED_DOCUMENTS;
        if too_many || self.documents.bytes > limits::INCLUDED_BYTES {
            // Said once; whoever has so many documents has a fault in each further one.
            if self.documents.opened <= limits::INCLUDED_DOCUMENTS + 1 {
                let message = format!(
                    "the included documents are more than {} or have more than {} bytes together",
                    limits::INCLUDED_DOCUMENTS,
                    limits::INCLUDED_BYTES
                );
                self.report.elsewhere(code::TOO_LARGE, named.place.clone(), &named.within, message);
                self.documents.opened = limits::INCLUDED_DOCUMENTS + 1;
            }
            return None;
        }
        match self.files.document(path) {
            Ok(text) => {
                self.documents.bytes += text.len();
                self.decode_included(path, &text)
            }
            Err(Unreadable::Refused(error)) => {
                self.refused(named, &error);
                None
            }
            Err(Unreadable::NotText(spot)) => {
                let place = InFile { file: self.files.shown(path).into(), line: spot.line, column: spot.column };
                self.report
                    .elsewhere(code::SYNTAX, place, "", "the document is not UTF-8 text")
                    .hint("save it as UTF-8");
                None
            }
        }
    }

    fn refused(&mut self, named: &Named, error: &SourceError) {
        let code = if matches!(error, SourceError::TooLarge { .. }) { code::TOO_LARGE } else { code::FILE };
        let names = self.inclusions.names.keys().map(String::as_str);
        let hint =
            match error {
                SourceError::Missing(_) if named.is_entry => Some("paths are relative to the document".into()),
                SourceError::Missing(_) => Some(self.report.did_you_mean(&named.written, names).unwrap_or_else(|| {
                    "`include` takes a name of `includes`, or a path relative to the document".into()
                })),
                SourceError::Escape(_) => Some("move the document beside the one that runs, or below it".into()),
                SourceError::TooLarge { .. } | SourceError::Io { .. } => None,
            };
        self.report.elsewhere(code, named.place.clone(), &named.within, error.to_string()).maybe(hint);
    }

    /// Decodes a document in its own file, with names of its own.
    fn decode_included(&mut self, path: &str, text: &Arc<str>) -> Option<Included> {
        let mark = self.report.mark();
        let before = self.report.enter(self.files.shown(path).into(), Arc::clone(text));
        self.documents.chain.push(path.to_owned());
        let root = tree::parse(text, &mut self.report);
        let files = self.files.moved(path);
        let mut inner = Decoder::new(std::mem::take(&mut self.report), files, std::mem::take(&mut self.documents));
        let document = root.and_then(|root| inner.document(&root));
        inner.set_unused_aside();
        let Decoder { report, files, documents, inclusions, .. } = inner;
        self.report = report;
        self.files.resume(files);
        self.documents = documents;
        self.documents.chain.pop();
        self.report.enter(before.0, before.1);
        let document = document.filter(|_| !self.report.has_errors_since(mark))?;
        let steps = own_steps(&document.scope).saturating_add(inclusions.steps);
        let required = document.inputs.iter().filter(|input| input.required).map(|input| input.name.clone());
        Some(Included {
            required: required.collect(),
            known_inputs: document.inputs.iter().enumerate().map(|(at, input)| (input.name.clone(), at)).collect(),
            steps,
            height: inclusions.height,
            document,
        })
    }

    /// Adds what an included document has to the one that includes it.
    fn count(&mut self, node: &Node, included: &Included) {
        let before = self.inclusions.steps;
        self.inclusions.steps = before.saturating_add(included.steps);
        self.inclusions.height = self.inclusions.height.max(included.height + 1);
        if before <= limits::STEP_INSTANCES && self.inclusions.steps > limits::STEP_INSTANCES {
            let message = format!("the included documents have more than {} steps together", limits::STEP_INSTANCES);
            self.report.error(code::TOO_LONG, node, message).hint("loop over a list instead");
        }
    }

    /// Checks what an included document is given against what it takes. Templates are checked when they are rendered.
    fn check_with(&mut self, node: &Node, with: Option<&Node>, included: &Included) {
        let inputs = &included.document.inputs;
        let mut given = BTreeSet::new();
        for entry in with.map(Node::entries).unwrap_or_default() {
            given.insert(entry.key.as_str());
            match included.known_inputs.get(&entry.key).and_then(|at| inputs.get(*at)) {
                None => {
                    let known = inputs.iter().map(|input| input.name.as_str());
                    let hint = self.report.did_you_mean(&entry.key, known);
                    let message = format!("`{}` has no input `{}`", included.document.name, entry.key);
                    self.report.at(code::UNKNOWN_INPUT, entry.spot, &entry.value.path, message).maybe(hint);
                }
                Some(input) => {
                    let value = entry.value.to_json();
                    if let Some(wrong) =
                        input.read(&InputText::Value(value.clone())).err().filter(|_| !template::has_templates(&value))
                    {
                        self.report.error(code::BAD_INPUT, &entry.value, wrong.message).maybe(wrong.hint);
                    }
                }
            }
        }
        let missing: Vec<String> = included
            .required
            .iter()
            .filter(|name| !given.contains(name.as_str()))
            .map(|name| format!("`{name}`"))
            .take(NAMED_INPUTS)
            .collect();
        if !missing.is_empty() {
            let word = if missing.len() == 1 { "input" } else { "inputs" };
            let message = format!("`{}` lacks the {word} {}", included.document.name, missing.join(", "));
            self.report.error(code::MISSING_INPUT, with.unwrap_or(node), message).hint("give it in `with`");
        }
    }
}

impl Include {
    /// The time of a step that includes a document: its own, or that of the document's options when that is less.
    pub(super) fn tighter(&self, own: Option<Duration>) -> Option<Duration> {
        match (own, self.timeout) {
            (Some(own), Some(document)) if own > Duration::ZERO => Some(own.min(document)),
            (own, document) => document.or(own),
        }
    }
}

/// The steps of a document, those of its groups and loops among them; not those of documents that it includes.
fn own_steps(scope: &Scope) -> usize {
    let inner = |step: &Step| match &step.work {
        Work::Include(_) => 0,
        _ => step.inner().map_or(0, |scope| own_steps(scope)),
    };
    scope.steps.iter().map(|step| inner(step).saturating_add(1)).fold(0, usize::saturating_add)
}
