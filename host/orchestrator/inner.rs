//! Runs that work for the step of another run: which run that is, and that it goes on with it.
//!
//! Its id follows from the outer run, the step, the try and the name of the workflow, so that an outer run which is taken up
//! finds it without a record of its own. What is found is only taken for it when it is the same work.

use super::lineage::Lineage;
use super::recorded::read_context;
use super::resume::Within;
use super::{Orchestrator, RecordedRun, ResumeOptions, RunOptions};
use crate::error::Error;
use crate::workflow::Workflow;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::event::{Body, RunStatus};
use cofferdam_core::id::RunId;
use cofferdam_core::message::Usage;
use cofferdam_core::port::{AgentContext, JournalError, redact_text};
use cofferdam_core::run::RunResult;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which run a run is part of.
pub(crate) struct Inner<'a> {
    /// The workflows around it, with its own at the end.
    pub(crate) lineage: Lineage,
    /// The step that it works for.
    pub(crate) ctx: &'a AgentContext,
    /// What the step calls the workflow.
    pub(crate) name: &'a str,
}

/// The runs that one workflow has begun or gone on with in a try, by the number of the try and their own in it.
#[derive(Default)]
struct Claimed {
    runs: BTreeSet<(u32, u32)>,
    /// The first number that no run of this try has.
    next: u32,
}

/// The run that works.
enum Work {
    New(RunId),
    /// A recorded one, and what the step is known to have spent on it.
    Recorded(Box<RecordedRun>, Usage),
}

impl Orchestrator {
    /// Runs a workflow for a step of another one; goes on where an earlier process began to. The tokens in the result are
    /// those that the step has not counted yet.
    pub(crate) async fn run_inner(
        &self,
        workflow: &Workflow,
        options: RunOptions,
        inner: Inner<'_>,
    ) -> Result<RunResult, Error> {
        let work = self.work_for(workflow, options.input.as_deref().unwrap_or_default(), &inner).await?;
        let Inner { mut lineage, ctx, .. } = inner;
        let approvals = ctx.approvals.said.clone();
        let named = lineage.path();
        let relayed = lineage.relay.take().map(|relay| relay.inner(workflow.shared(), &ctx.path, named));
        let (sink, relay) = relayed.unzip();
        lineage.relay = relay;
        let on_unknown_effect = lineage.on_unknown_effect;
        let within = Within { lineage, sinks: sink.into_iter().collect() };
        let (recorded, spent) = match work {
            Work::New(id) => {
                let options = RunOptions { run_id: Some(id), ..options };
                return self.run_within(workflow, options, within.lineage, within.sinks).await;
            }
            Work::Recorded(recorded, spent) => (recorded, spent),
        };
        let mut result = if recorded.status == Some(RunStatus::Completed) {
            self.result_of(workflow, &recorded, &ResumeOptions::default()).await?
        } else {
            let RunOptions {
                answers,
                model,
                model_options,
                timeout,
                budget,
                purse,
                pauses,
                approver,
                defer_approvals,
                sinks,
                ..
            } = options;
            let again = ResumeOptions {
                answers,
                on_unknown_effect,
                model,
                model_options,
                timeout,
                budget,
                purse,
                pauses,
                approver,
                approvals,
                defer_approvals,
                sinks,
                accept_changes: false,
            };
            self.take_up_within(workflow, *recorded, again, within).await?
        };
        result.usage -= spent;
        Ok(result)
    }

    /// The run that works for the try: one that an earlier process began for the same work, else a new one.
    async fn work_for(&self, workflow: &Workflow, input: &str, inner: &Inner<'_>) -> Result<Work, Error> {
        let Inner { ctx, name, .. } = inner;
        let claimed = ctx.kept.share::<tokio::sync::Mutex<Claimed>>(&format!("runs of {name}"));
        let mut claimed = claimed.lock().await;
        if let Some(recorded) = self.begun_earlier(workflow, input, inner, &mut claimed).await? {
            return Ok(recorded);
        }
        loop {
            let number = claimed.next;
            claimed.next += 1;
            let id = inner_id(ctx, ctx.attempt, name, number);
            // One that is recorded stays for the message that it worked on.
            if !claimed.runs.contains(&(ctx.attempt, number)) && self.recorded_if_any(&id).await?.is_none() {
                claimed.runs.insert((ctx.attempt, number));
                return Ok(Work::New(id));
            }
        }
    }

    async fn begun_earlier(
        &self,
        workflow: &Workflow,
        input: &str,
        inner: &Inner<'_>,
        claimed: &mut Claimed,
    ) -> Result<Option<Work>, Error> {
        let Inner { ctx, name, .. } = inner;
        let mut spent = Usage::default();
        let mut passed_over = None;
        for earlier in ctx.earlier.iter().rev() {
            // What a try that goes on has spent is not counted yet.
            if earlier.number != ctx.attempt {
                spent += earlier.usage;
            }
            for number in 0.. {
                if claimed.runs.contains(&(earlier.number, number)) {
                    continue;
                }
                let id = inner_id(ctx, earlier.number, name, number);
                let Some(recorded) = self.recorded_if_any(&id).await? else { break };
                if !self.is_about(&recorded, input) {
                    passed_over = Some(id);
                    continue;
                }
                let completed = recorded.status == Some(RunStatus::Completed);
                // The step failed though the run had not: with its result, the step would fail again.
                let useless = completed && earlier.number != ctx.attempt;
                if useless || !completed && self.refuse_foreign_engine(workflow).is_err() {
                    continue;
                }
                if recorded.hash != workflow.document().hash {
                    return Err(recorded.changed(&workflow.document().sources));
                }
                if !completed {
                    recorded.refuse_other_context(&read_context(workflow).await?)?;
                }
                claimed.runs.insert((earlier.number, number));
                self.until_idle(&id).await;
                // Its end may have been recorded meanwhile.
                let recorded = self.recorded(&id).await?;
                return Ok(Some(Work::Recorded(Box::new(recorded), spent)));
            }
        }
        if let Some(id) = passed_over {
            let message = format!("the workflow `{name}` begins anew: run `{id}` worked on another message");
            ctx.events.observe(Body::Warning { code: "inner_run".to_owned(), message });
        }
        Ok(None)
    }

    async fn recorded_if_any(&self, id: &RunId) -> Result<Option<RecordedRun>, Error> {
        match self.recorded(id).await {
            Ok(recorded) => Ok(Some(recorded)),
            Err(Error::Journal(JournalError::NotFound(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a run was begun with this message; secrets are not in the record.
    fn is_about(&self, recorded: &RecordedRun, message: &str) -> bool {
        let mut message = Arc::from(message);
        redact_text(&*self.shared.settings.vault, &mut message);
        recorded.input.as_deref() == Some(&*message)
    }

    /// Waits until nobody here works on a run: one that was cancelled is still recording that.
    async fn until_idle(&self, run: &RunId) {
        loop {
            let idle = self.shared.idle.notified();
            if !self.shared.running().values().any(|running| running == run) {
                return;
            }
            idle.await;
        }
    }
}

/// The id of a run that works for a try: the same whenever it is asked for.
fn inner_id(ctx: &AgentContext, attempt: u32, name: &str, number: u32) -> RunId {
    let text = format!("{}\n{}\n{attempt}\n{name}\n{number}", ctx.run_id, ctx.path);
    let mut id = sha256_hex(text.as_bytes());
    id.truncate(INNER_ID);
    RunId::parse(&id).expect("hexadecimal digits follow the grammar of run ids")
}

/// How many digits of the digest an id has: as many as those of other runs.
const INNER_ID: usize = 32;
