//! Branches of recorded runs: a new run that takes over what need not be done again.
//!
//! What that is says the core. Here the record is read, the copy is written, and the new run is taken up as any other; the
//! recorded one is only read.

use super::recall::RecallChoice;
use super::recorded::{RecordedRun, origin, read_context};
use super::{Orchestrator, ResumeOptions, RunOptions, launch};
use crate::error::Error;
use crate::workflow::{InputText, Workflow};
use cofferdam_core::event::RunEvent;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath, ToolName};
use cofferdam_core::limits;
use cofferdam_core::model_options::SETTING;
use cofferdam_core::policy::Grants;
use cofferdam_core::port::{Append, Record, RecordBody, Redactor, RunIndex, redact_event, redact_map};
use cofferdam_core::run::RunResult;
use cofferdam_core::run::branch::{Opaque, Recorded, Wish, branch};
use cofferdam_core::spec::workflow::Input;
use cofferdam_core::value::Map;
use cofferdam_engine::read_events;
use std::sync::Arc;

/// What is different in a fork.
#[derive(Clone, Default)]
pub struct ForkOptions {
    /// Steps that run again, by their paths, and with them all that depends on them.
    pub from: Vec<StepPath>,
    /// Inputs with other values; the others keep theirs. Steps that read one run again.
    pub inputs: Vec<(String, InputText)>,
    /// How the new run goes on.
    pub resume: ResumeOptions,
}

/// A new run that takes over a part of a recorded one, before it is recorded itself.
#[derive(Clone)]
pub struct RunBranch {
    /// The new run.
    pub run_id: RunId,
    /// The recorded one.
    pub of: RunId,
    /// Steps that keep what they gave, without those inside of them.
    pub reused: Vec<StepPath>,
    /// Steps that had begun and run again, without those inside of them.
    pub again: Vec<StepPath>,
    /// Whether its document is another one than the recorded run's.
    pub changed: bool,
    workflow: Workflow,
    events: Vec<RunEvent>,
}

impl Orchestrator {
    /// Starts a new run that takes over everything of a recorded one but what shall be different, and runs it to its end. The
    /// recorded one stays as it is, and may be under way. Dropping the future cancels the new run and records that.
    ///
    /// # Errors
    /// When there is no such run or step, when nothing would be different, when the document has changed and that is not
    /// accepted, and when the new run cannot start.
    pub async fn fork(&self, run: &RunId, options: ForkOptions) -> Result<RunResult, Error> {
        let branch = self.branch(run, None, &options).await?;
        self.run_branch(branch, options.resume).await
    }

    /// What a fork would take over, and what would run again. Records and starts nothing. Without a workflow the document is
    /// taken as [`Self::resume_flow`] does.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub async fn branch(
        &self,
        run: &RunId,
        workflow: Option<&Workflow>,
        options: &ForkOptions,
    ) -> Result<RunBranch, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let recorded = self.recorded(run).await?;
        recorded.refuse_planning()?;
        let now = match workflow {
            Some(given) => given.clone(),
            None => recorded.now()?,
        };
        let changed = now.document().hash != recorded.hash;
        let before = match changed {
            true if options.resume.accept_changes => recorded.as_recorded()?,
            true => return Err(recorded.changed(&now.document().sources)),
            false => now.clone(),
        };
        let host = recorded.host()?;
        let (before, now) = (before.under(&host), now.under(&host));
        let context_files = read_context(&now).await?;
        if !options.resume.accept_changes {
            recorded.refuse_other_context(&context_files)?;
        }
        let changed = changed || !recorded.context_changes(&context_files).is_empty();
        let mut inputs = self.inputs(&recorded, (&before, &now), &options.inputs)?;
        // What cannot start leaves no run behind, and secrets are known from here on.
        self.look(&now, &of_recorded(&recorded, &options.resume)?, Some(inputs.clone())).await?;
        redact_map(&*self.shared.settings.vault, &mut inputs);
        let events = self.events_of(run).await?;
        let wish = Wish {
            from: options.from.clone(),
            inputs,
            workflow: Arc::clone(now.shared()),
            opaque: self.opaque(&now),
            context_files,
        };
        let run_id = launch::new_run_id();
        let of = Recorded { workflow: before.shared(), events: &events };
        let made = branch(of, &wish, (&run_id, self.clock().now())).map_err(|fault| Error::Refused(vec![fault]))?;
        let mut events = made.events;
        if let Some(first) = events.first_mut() {
            redact_event(&*self.shared.settings.vault as &dyn Redactor, &mut first.body);
        }
        let (reused, again) = (made.reused, made.again);
        Ok(RunBranch { run_id, of: run.clone(), reused, again, changed, workflow: now, events })
    }

    /// Records a branch and runs it to its end.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub async fn run_branch(&self, branch: RunBranch, options: ResumeOptions) -> Result<RunResult, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let along = self.shared.settings.isolation.branch(&branch.of, &branch.run_id).await;
        along.map_err(|fault| Error::Refused(vec![fault]))?;
        self.record(&branch).await?;
        let recorded = self.recorded(&branch.run_id).await?;
        self.take_up(&branch.workflow, recorded, options).await
    }

    /// The inputs of the new run: given ones, and those of the recorded run, unless they were a default that is another
    /// one now.
    fn inputs(
        &self,
        recorded: &RecordedRun,
        (before, now): (&Workflow, &Workflow),
        given: &[(String, InputText)],
    ) -> Result<Map, Error> {
        let default = |of: &Workflow, name: &str| declared(of, name).and_then(|input| input.default.clone());
        let keeps = |name: &str, value: &serde_json::Value| {
            let was_default = default(before, name).as_ref() == Some(value);
            let moved = default(before, name) != default(now, name);
            declared(now, name).is_some() && !value.is_null() && !(was_default && moved)
        };
        let kept = recorded.inputs.iter().filter(|(name, value)| keeps(name, value));
        let kept = kept.map(|(name, value)| (name.clone(), InputText::Value(value.clone())));
        let all: Vec<(String, InputText)> = kept.chain(given.iter().cloned()).collect();
        now.document().bind_inputs(&all).map_err(Error::Inputs)
    }

    /// All events of a run.
    pub(super) async fn events_of(&self, run: &RunId) -> Result<Vec<Arc<RunEvent>>, Error> {
        let mut events = Vec::new();
        let mut count = 0_usize;
        read_events(&*self.shared.settings.journal, run, |event| {
            count += 1;
            if count <= limits::BRANCH_EVENTS {
                events.push(Arc::clone(event));
            }
        })
        .await?;
        if count > limits::BRANCH_EVENTS {
            let message = format!("the run has {count} events, more than the limit of {}", limits::BRANCH_EVENTS);
            return Err(Error::Refused(vec![Fault::user("too_many_events", message)]));
        }
        Ok(events)
    }

    /// What may read inputs and variables and does not say so.
    fn opaque(&self, workflow: &Workflow) -> Opaque {
        let settings = &self.shared.settings;
        // The first are the native ones, which read what the document says.
        let tools = settings.tools.iter().skip(1).flat_map(|tool| tool.definitions());
        let none = Grants::default();
        let mounted = |alias: &&cofferdam_core::id::Alias| {
            let granted = settings.grants.effective(alias, &none, &none);
            granted.fs.also.iter().any(|mount| mount.from.contains("inputs"))
        };
        let callers = workflow
            .document()
            .plugins
            .keys()
            .map(|alias| (alias.clone(), settings.grants.effective(alias, &none, &none).tools));
        Opaque {
            callers: callers.collect(),
            agents: self.agents_for(workflow).into_keys().collect(),
            tools: tools.map(|definition| ToolName::new(None, definition.name.clone())).collect(),
            plugins: workflow.document().plugins.keys().filter(mounted).cloned().collect(),
        }
    }

    /// Writes the copied events as a run that is under way.
    async fn record(&self, branch: &RunBranch) -> Result<(), Error> {
        let settings = &self.shared.settings;
        let at = branch.events.first().map(|first| first.at).unwrap_or_default();
        let (kind, data) = origin(&branch.workflow);
        let note = Record { at, body: RecordBody::Note { kind, data } };
        let workflow = branch.workflow.document().name.clone();
        let index = |status: &str| RunIndex { workflow: workflow.clone(), status: status.to_owned(), started_at: at };
        let chunks = branch.events.len().div_ceil(limits::BRANCH_CHUNK_EVENTS);
        let (mut head, mut note) = (0, Some(note));
        for (number, events) in branch.events.chunks(limits::BRANCH_CHUNK_EVENTS).enumerate() {
            // As long as something is missing it is no run that anybody may go on with.
            let status = if number + 1 == chunks { "running" } else { RunIndex::COPYING };
            let record = |event: &RunEvent| Record { at: event.at, body: RecordBody::Event(Arc::new(event.clone())) };
            let mut records: Vec<Record> = events.iter().map(record).collect();
            if let Some(note) = note.take() {
                // Right behind the beginning, where it is found without reading on.
                records.insert(1.min(records.len()), note);
            }
            let append = Append {
                run: branch.run_id.clone(),
                expected_head: head,
                records,
                index: Some(index(status)),
                durability: settings.durability,
            };
            head = settings.journal.append(append).await?;
        }
        Ok(())
    }
}

fn declared<'w>(of: &'w Workflow, name: &str) -> Option<&'w Input> {
    of.document().inputs.iter().find(|input| input.name == name)
}

/// What the new run is checked with before it is there.
fn of_recorded(recorded: &RecordedRun, options: &ResumeOptions) -> Result<RunOptions, Error> {
    Ok(RunOptions {
        input: recorded.input.as_deref().map(str::to_owned),
        answers: options.answers.clone(),
        model: options.model.clone().or_else(|| recorded.setting("model").map(str::to_owned)),
        model_options: options.model_options.over(&recorded.model_options(SETTING)?),
        coordinator: recorded.coordinator()?,
        recall: RecallChoice::recorded(&recorded.settings)?,
        ..RunOptions::default()
    })
}
