//! A recorded run as it is taken up: what it was started with, from its first records.
//!
//! It must not know how a run goes on.

use crate::error::{Error, SourceChange};
use crate::workflow::Workflow;
use cofferdam_core::event::{Body, PluginPin, RunEvent, RunStatus, Source};
use cofferdam_core::id::RunId;
use cofferdam_core::port::{Journal, JournalError, RecordBody};
use cofferdam_core::value::Map;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The kind of the note that tells where a run's document is.
const ORIGIN: &str = "origin";

/// How many records at the end of a journal are looked at for the end of the run.
const TAIL: u64 = 16;

/// What a run was started with.
#[derive(Clone, Debug)]
pub struct RecordedRun {
    /// The run.
    pub run_id: RunId,
    /// The document's name.
    pub workflow: String,
    /// SHA-256 over all sources.
    pub hash: String,
    /// The document and the files it names, as they were.
    pub sources: Vec<Source>,
    /// Its inputs, defaults filled in.
    pub inputs: Map,
    /// The free-text input.
    pub input: Option<Arc<str>>,
    /// The settings that were effective.
    pub settings: Map,
    /// Its plugins, as they were.
    pub plugins: Vec<PluginPin>,
    /// How it ended last; none when it goes on, or its process ended without a word.
    pub status: Option<RunStatus>,
    /// The directory of the document; none when it is not there any more.
    pub base: Option<PathBuf>,
    /// The document's file; none when it is not there any more.
    pub file: Option<PathBuf>,
}

/// Where a run's document is, to be kept beside its first event.
pub(super) fn origin(workflow: &Workflow) -> (String, Map) {
    let mut data = Map::new();
    let absolute = |path: &Path| std::path::absolute(path).ok().map(|path| Value::from(path.display().to_string()));
    data.extend(absolute(&workflow.base).map(|base| ("base".to_owned(), base)));
    data.extend(workflow.file.as_deref().and_then(absolute).map(|file| ("file".to_owned(), file)));
    (ORIGIN.to_owned(), data)
}

impl RecordedRun {
    /// Reads what a run was started with, and how it ended.
    ///
    /// # Errors
    /// When there is no such run, or its records cannot be read.
    pub async fn read(journal: &dyn Journal, run: &RunId) -> Result<Self, JournalError> {
        let page = journal.read(run, 0, 2).await?;
        let mut events = page.records.iter().filter_map(|record| match &record.body {
            RecordBody::Event(event) => Some(event),
            RecordBody::Note { .. } => None,
        });
        let damaged = |reason: &str| JournalError::Damaged { run: run.clone(), position: 1, reason: reason.to_owned() };
        let first = events.next().ok_or_else(|| damaged("the run has no beginning"))?;
        let mut recorded = Self::of(first).ok_or_else(|| damaged("it is not the beginning of a run"))?;
        let origin = page.records.iter().find_map(|record| match &record.body {
            RecordBody::Note { kind, data } if kind == ORIGIN => Some(data),
            _ => None,
        });
        let path = |key: &str| origin.and_then(|data| data.get(key)).and_then(Value::as_str).map(PathBuf::from);
        // On another machine, or once the project was moved, both are elsewhere.
        recorded.base = path("base").filter(|base| base.is_dir());
        recorded.file = path("file").filter(|file| file.is_file());
        recorded.status = status(journal, run, page.head).await?;
        Ok(recorded)
    }

    fn of(event: &RunEvent) -> Option<Self> {
        let Body::RunStarted { workflow, hash, sources, inputs, input, settings, plugins, .. } = &event.body else {
            return None;
        };
        Some(Self {
            run_id: event.run_id.clone(),
            workflow: workflow.clone(),
            hash: hash.clone(),
            sources: sources.clone(),
            inputs: inputs.clone(),
            input: input.clone(),
            settings: settings.clone(),
            plugins: plugins.clone(),
            status: None,
            base: None,
            file: None,
        })
    }

    /// The document of the run: from its file while that is what it was, else the copy that was recorded.
    ///
    /// # Errors
    /// [`Error::Changed`] when its file, or one that it names, is not what it was; [`Error::Invalid`] when the copy cannot be
    /// read as a document any more.
    pub fn workflow(&self) -> Result<Workflow, Error> {
        let Some(file) = self.file.as_deref() else { return self.pinned() };
        match Workflow::load(file) {
            Ok(now) if now.document().hash == self.hash => Ok(now),
            Ok(now) => Err(self.changed(&now.document().sources)),
            Err(Error::Invalid(findings)) => match self.changes(&read_again(file)) {
                changes if changes.is_empty() => Err(Error::Invalid(findings)),
                changes => Err(Error::Changed { run: self.run_id.clone(), changes }),
            },
            Err(other) => Err(other),
        }
    }

    /// The document as it is now: from its file, whatever became of it, else the copy that was recorded.
    ///
    /// # Errors
    /// When it cannot be read as a document.
    pub fn now(&self) -> Result<Workflow, Error> {
        match self.file.as_deref().filter(|file| file.exists()) {
            Some(file) => Workflow::load(file),
            None => self.pinned(),
        }
    }

    /// The document as it was recorded, to be compared with another one: also when secrets were taken out of it.
    pub(super) fn as_recorded(&self) -> Result<Workflow, Error> {
        Workflow::pinned(&self.sources, self.base.clone().unwrap_or_else(|| PathBuf::from(".")))
    }

    /// The document as it was recorded.
    ///
    /// # Errors
    /// When it cannot be read as a document, or secrets were taken out of it.
    pub fn pinned(&self) -> Result<Workflow, Error> {
        let base = self.base.clone().unwrap_or_else(|| PathBuf::from("."));
        let pinned = Workflow::pinned(&self.sources, base)?;
        if pinned.document().hash == self.hash {
            return Ok(pinned);
        }
        let message = format!(
            "secrets were taken out of the recorded copy of `{}`, and its file is gone; put it back to go on",
            self.workflow
        );
        Err(Error::Settings(message))
    }

    pub(super) fn changed(&self, now: &[Source]) -> Error {
        Error::Changed { run: self.run_id.clone(), changes: self.changes(now) }
    }

    fn changes(&self, now: &[Source]) -> Vec<SourceChange> {
        // The document may have been named in another way.
        let by_path = |sources: &[Source]| -> BTreeMap<String, Arc<str>> {
            let named = sources.first().map(|root| directory(&root.path).to_owned()).unwrap_or_default();
            let short = |source: &Source| source.path.strip_prefix(&named).unwrap_or(&source.path).to_owned();
            sources.iter().map(|source| (short(source), Arc::clone(&source.text))).collect()
        };
        let (before, now) = (by_path(&self.sources), by_path(now));
        let paths: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let change = |path: &&String| before.get(*path) != now.get(*path);
        paths
            .into_iter()
            .filter(change)
            .map(|path| SourceChange {
                path: path.clone(),
                before: before.get(path).cloned(),
                now: now.get(path).cloned(),
            })
            .collect()
    }

    /// A text among the settings that were effective: `model`, `default_model`, `session`.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).and_then(Value::as_str)
    }
}

/// The directory in a path, with its final `/`.
fn directory(path: &str) -> &str {
    path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or_default()
}

/// A document that is none any more, as a source.
fn read_again(file: &Path) -> Vec<Source> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let path = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    vec![Source { path, sha256: String::new(), text: text.into() }]
}

/// How the run ended last, by its last records.
async fn status(journal: &dyn Journal, run: &RunId, head: u64) -> Result<Option<RunStatus>, JournalError> {
    let after = head.saturating_sub(TAIL);
    let page = journal.read(run, after, usize::try_from(TAIL).unwrap_or(usize::MAX)).await?;
    let end = page.records.iter().rev().find_map(|record| match &record.body {
        RecordBody::Event(event) => match &event.body {
            Body::RunFinished { status, .. } => Some(Some(*status)),
            _ => Some(None),
        },
        RecordBody::Note { .. } => None,
    });
    Ok(end.flatten())
}
