//! A recorded run as it is taken up: what it was started with, from its first records.
//!
//! It must not know how a run goes on.

use super::Orchestrator;
use super::launch::{COORDINATOR, HOST};
use crate::changes::{beside, source_changes};
use crate::error::{Error, SourceChange};
use crate::workflow::Workflow;
use cofferdam_core::event::{Body, ContextFile, PluginPin, RunEvent, RunStatus, Source};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{Journal, JournalError, RecordBody};
use cofferdam_core::run::DEFER_APPROVALS;
use cofferdam_core::run::branch::changed_files;
use cofferdam_core::spec::HostDefaults;
use cofferdam_core::value::Map;
use cofferdam_engine::Coordinator;
use serde_json::Value;
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
    /// The files that go with its prompts, as they were.
    pub context_files: Vec<ContextFile>,
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
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
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
        let Body::RunStarted { workflow, hash, sources, inputs, input, context_files, settings, plugins, .. } =
            &event.body
        else {
            return None;
        };
        Some(Self {
            run_id: event.run_id.clone(),
            workflow: workflow.clone(),
            hash: hash.clone(),
            sources: sources.clone(),
            inputs: inputs.clone(),
            input: input.clone(),
            context_files: context_files.to_vec(),
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
            Err(Error::Invalid(findings)) => match source_changes(&self.sources, &self.read_again(file)) {
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
        Error::Changed { run: self.run_id.clone(), changes: source_changes(&self.sources, now) }
    }

    /// The files of a document that is none any more, as far as they are there.
    fn read_again(&self, file: &Path) -> Vec<Source> {
        let text = |path: &Path| std::fs::read_to_string(path).ok();
        let source =
            |path: &str, text: String| Source { path: path.to_owned(), sha256: String::new(), text: text.into() };
        let (base, name) = (file.parent().unwrap_or(Path::new("")), file.file_name().unwrap_or_default());
        let root = source(&name.to_string_lossy(), text(file).unwrap_or_default());
        let named = self.sources.iter().skip(1).map(|source| beside(&self.sources, &source.path));
        let there = named.filter_map(|name| text(&base.join(name)).map(|text| source(name, text)));
        std::iter::once(root).chain(there).collect()
    }

    /// What goes with prompts and is another file than when the run was started; of these no text was recorded. What is gone
    /// or came to be is none: a step that needs it says so, and steps make files.
    pub(super) fn context_changes(&self, now: &[ContextFile]) -> Vec<SourceChange> {
        let changed = changed_files(&self.context_files, now);
        changed.map(|file| SourceChange { path: file.path.clone(), before: None, now: None }).collect()
    }

    /// Whether the run would have to go on with something else than it was started with.
    #[must_use]
    pub fn differs_from(&self, now: &Workflow) -> bool {
        now.document().hash != self.hash || !self.context_changes(&now.context_files()).is_empty()
    }

    /// Refuses to go on when files that go with prompts are others now.
    pub(super) fn refuse_other_context(&self, now: &[ContextFile]) -> Result<(), Error> {
        let changes = self.context_changes(now);
        if changes.is_empty() { Ok(()) } else { Err(Error::Changed { run: self.run_id.clone(), changes }) }
    }

    /// A text among the settings that were effective: `model`, `default_model`, `session`.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).and_then(Value::as_str)
    }

    /// Whether calls that nobody was there to allow were to wait when the run was started.
    #[must_use]
    pub fn defers_approvals(&self) -> bool {
        self.settings.get(DEFER_APPROVALS) == Some(&Value::Bool(true))
    }

    /// Options of models among the settings that were effective, by the name of the setting.
    pub(super) fn model_options(&self, setting: &str) -> Result<ModelOptions, Error> {
        let found = self.settings.get(setting).cloned().map(serde_json::from_value).transpose();
        found.map(Option::unwrap_or_default).map_err(|error| {
            let message = format!("the record of the run has options of models that cannot be read: {error}");
            let hint = "a newer version of cofferdam may read it";
            Error::Refused(vec![Fault::user("model_options", message).with_hint(hint)])
        })
    }

    /// Refuses to go on with a run in which a plan was made: nobody would look at what comes of it.
    pub(super) fn refuse_planning(&self) -> Result<(), Error> {
        let metadata = self.settings.get("metadata");
        let has = |key: &str| metadata.is_some_and(|metadata| metadata.get(key).is_some());
        if self.workflow != Orchestrator::PLANNER || !has("goal") || has("planned_by") {
            return Ok(());
        }
        let message = format!("run `{}` was to make a plan, and came to none", self.run_id);
        Err(Error::Refused(vec![Fault::user("planning", message).with_hint("give the goal again: `cofferdam goal`")]))
    }

    /// The coordinator that the run was started with.
    pub(super) fn coordinator(&self) -> Result<Option<Coordinator>, Error> {
        recorded_coordinator(&self.settings)
    }

    /// What held beside its document.
    pub(super) fn host(&self) -> Result<HostDefaults, Error> {
        let found = self.settings.get(HOST).cloned().map(serde_json::from_value).transpose();
        found.map(Option::unwrap_or_default).map_err(|error| {
            let message = format!("the record of the run has settings of its host that cannot be read: {error}");
            Error::Refused(vec![Fault::user("host", message).with_hint("a newer version of cofferdam may read it")])
        })
    }
}

/// The coordinator among the settings of a run. One that cannot be read is not the same as none.
pub(super) fn recorded_coordinator(settings: &Map) -> Result<Option<Coordinator>, Error> {
    let found = settings.get(COORDINATOR).cloned().map(serde_json::from_value).transpose();
    found.map_err(|error| {
        let message = format!("the record of the run has a coordinator that cannot be read: {error}");
        Error::Refused(vec![Fault::user("coordinator", message).with_hint("a newer version of cofferdam may read it")])
    })
}

/// The files that go with the prompts of a document as they are now, read beside the runtime's threads.
///
/// # Errors
/// When reading breaks off: no files would mean that none has changed.
pub(super) async fn read_context(workflow: &Workflow) -> Result<Vec<ContextFile>, Error> {
    if workflow.document().context_files().is_empty() {
        return Ok(Vec::new());
    }
    let workflow = workflow.clone();
    let broke_off = |error| Error::Refused(vec![Fault::bug(format!("reading the context files broke off: {error}"))]);
    tokio::task::spawn_blocking(move || workflow.context_files()).await.map_err(broke_off)
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
        RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
    });
    Ok(end.flatten())
}
