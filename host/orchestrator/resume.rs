//! Recorded runs that go on.

use super::conversation::refuse_reserved;
use super::launch::{Again, Launch};
use super::recall::RecallChoice;
use super::recorded::{RecordedRun, read_context};
use super::{ForkOptions, Lineage, Orchestrator, ResumeOptions, RunOptions};
use crate::archive::half_copied;
use crate::error::Error;
use crate::workflow::Workflow;
use cofferdam_core::event::{Body, RunStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::model_options::{DEFAULT_SETTING, SETTING};
use cofferdam_core::port::Sink;
use cofferdam_core::run::{Machine, RunResult, Settings};
use cofferdam_engine::{asks_nothing_more, calls_nothing_more, read_events, repeats_answers, repeats_approvals};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a run is part of, and what it is shown to besides.
pub(super) struct Within {
    pub(super) lineage: Lineage,
    pub(super) sinks: Vec<Arc<dyn Sink>>,
}

impl Orchestrator {
    /// What a recorded run was started with, and how it ended last.
    ///
    /// # Errors
    /// When there is no such run, or its records cannot be read.
    pub async fn recorded(&self, run: &RunId) -> Result<RecordedRun, Error> {
        refuse_reserved(run)?;
        self.open_storage().await?;
        if half_copied(&*self.shared.settings.journal, run).await? {
            let message = format!("run `{run}` is not whole: it is being copied, or whoever copied it was stopped");
            let hint = format!("import or fork it again; `cofferdam runs rm {run}` deletes what is there");
            return Err(Error::Refused(vec![Fault::user("half_copied", message).with_hint(hint)]));
        }
        Ok(RecordedRun::read(&*self.shared.settings.journal, run).await?)
    }

    /// Goes on with a recorded run: finished steps keep what they gave, a conversation goes on from where it was, what
    /// failed or was cancelled runs again. A run that is completed gives its result, and nothing is called; answers must be
    /// those that it was given. Without a workflow its document is taken from its file while that has not changed, else from
    /// the copy in the journal. Dropping the future cancels the run and records that. With a changed document that is
    /// accepted, a new run goes on in its place; its id is in the result.
    ///
    /// # Errors
    /// When the run cannot go on: there is none, its document is another one, somebody else works on it, or nothing can be
    /// recorded. What steps did, failures included, is in the result.
    pub async fn resume_flow(
        &self,
        run: &RunId,
        workflow: Option<&Workflow>,
        options: ResumeOptions,
    ) -> Result<RunResult, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let recorded = self.recorded(run).await?;
        if options.accept_changes {
            let now = workflow.cloned().map_or_else(|| recorded.now(), Ok)?;
            if recorded.differs_from(&now) {
                let fork = ForkOptions { resume: options, ..ForkOptions::default() };
                let branch = self.branch(run, Some(&now), &fork).await?;
                return self.run_branch(branch, fork.resume).await;
            }
        }
        let workflow = match workflow {
            Some(given) if given.document().hash == recorded.hash => given.clone(),
            Some(given) => return Err(recorded.changed(&given.document().sources)),
            // What is done needs no file.
            None if recorded.status == Some(RunStatus::Completed) => {
                recorded.pinned().or_else(|_| recorded.workflow())?
            }
            None => recorded.workflow()?,
        };
        if recorded.status == Some(RunStatus::Completed) {
            return self.result_of(&workflow, &recorded, &options).await;
        }
        recorded.refuse_planning()?;
        recorded.refuse_other_context(&read_context(&workflow).await?)?;
        self.take_up(&workflow, recorded, options).await
    }

    pub(super) async fn take_up(
        &self,
        workflow: &Workflow,
        recorded: RecordedRun,
        options: ResumeOptions,
    ) -> Result<RunResult, Error> {
        let lineage = Lineage::outermost(workflow.name(), workflow.shared(), None);
        self.take_up_within(workflow, recorded, options, Within { lineage, sinks: Vec::new() }).await
    }

    pub(super) async fn take_up_within(
        &self,
        workflow: &Workflow,
        recorded: RecordedRun,
        options: ResumeOptions,
        within: Within,
    ) -> Result<RunResult, Error> {
        if self.shared.running().values().any(|running| *running == recorded.run_id) {
            let message = format!("run `{}` is under way here", recorded.run_id);
            return Err(Error::Refused(vec![Fault::user("held", message)]));
        }
        self.refuse_foreign_engine(workflow).map_err(|fault| Error::Refused(vec![fault]))?;
        let again = Again {
            inputs: recorded.inputs.clone(),
            on_unknown_effect: options.on_unknown_effect,
            approvals: options.approvals,
            plugins: recorded.plugins.clone(),
            host: Some(recorded.host()?),
            default_model_options: recorded.model_options(DEFAULT_SETTING)?,
        };
        let metadata = recorded.settings.get("metadata").and_then(|metadata| metadata.as_object()).cloned();
        let options = RunOptions {
            input: recorded.input.as_deref().map(str::to_owned),
            answers: options.answers,
            model: options.model.or_else(|| recorded.setting("model").map(str::to_owned)),
            model_options: options.model_options.over(&recorded.model_options(SETTING)?),
            timeout: options.timeout,
            // What was given before stands in the record.
            budget: options.budget,
            purse: options.purse,
            pauses: options.pauses,
            defer_approvals: options.defer_approvals || recorded.defers_approvals(),
            coordinator: self.coordinator_of(&recorded)?,
            recall: RecallChoice::recorded(&recorded.settings)?,
            metadata: metadata.unwrap_or_default(),
            session: recorded.setting("session").map(str::to_owned),
            approver: options.approver,
            sinks: options.sinks,
            run_id: Some(recorded.run_id),
            ..RunOptions::default()
        };
        let cancel = self.shared.closing.child_token();
        let guard = cancel.clone().drop_guard();
        let Within { lineage, sinks } = within;
        let launch = Launch { workflow: workflow.clone(), options, cancel, sinks, lineage, again: Some(again) };
        let outcome = Box::pin(self.launch(launch)).await;
        drop(guard.disarm());
        outcome
    }

    /// The result of a run that has ended, from its records.
    pub(super) async fn result_of(
        &self,
        workflow: &Workflow,
        recorded: &RecordedRun,
        given: &ResumeOptions,
    ) -> Result<RunResult, Error> {
        let settings = Settings { max_concurrency: None };
        let workflow = &workflow.under(&recorded.host()?);
        let mut machine = Machine::new(Arc::clone(workflow.shared()), &settings);
        let mut sensitive = cofferdam_core::event::Sensitive::of(workflow.document());
        let (mut said, mut asked) = (BTreeMap::new(), Vec::new());
        read_events(&*self.shared.settings.journal, &recorded.run_id, |event| {
            machine.fold(event);
            if let Body::QuestionAnswered { answer, .. } = &event.body {
                said.insert(event.path.clone(), answer.clone());
            }
            if !given.approvals.is_empty() {
                asked.push(Arc::clone(event));
            }
            if let Some(sensitive) = &mut sensitive {
                sensitive.note(event);
            }
        })
        .await?;
        if !repeats_approvals(&given.approvals, asked.iter().map(AsRef::as_ref)) {
            return Err(Error::Refused(vec![calls_nothing_more(&recorded.run_id)]));
        }
        if !repeats_answers(workflow.document(), &given.answers, &said).map_err(Error::Refused)? {
            return Err(Error::Refused(vec![asks_nothing_more(&recorded.run_id)]));
        }
        let result = machine.result(&recorded.run_id);
        let mut result = result.ok_or_else(|| Error::Refused(vec![Fault::bug("the run ended without a result")]))?;
        result.sensitive = sensitive.map(Arc::new);
        result.session = recorded.setting("session").map(str::to_owned);
        result.metadata =
            recorded.settings.get("metadata").and_then(|value| value.as_object()).cloned().unwrap_or_default();
        Ok(result)
    }

    /// Opens the plugin that keeps the runs, where one does.
    pub(super) async fn open_storage(&self) -> Result<(), Error> {
        let services = &self.shared.settings.services;
        self.shared.settings.vault.learn(services.secret_names().iter().map(String::as_str));
        services.open_journal().await.map_err(|fault| Error::Refused(vec![fault]))
    }
}
