//! `resume`, `answer` and `approve`: a recorded run goes on.
//!
//! It must not call anything below the library's `Orchestrator`.

use super::run::{self, Task};
use super::runs;
use crate::args::{AnswerArgs, ApproveArgs, EventForm, Global, ResumeArgs, RunArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local_time;
use crate::session::{self, Session};
use crate::settings;
use crate::terminal;
use crate::ui::paint;
use cofferdam::core::event::{Body, RunEvent, RunStatus};
use cofferdam::core::id::StepPath;
use cofferdam::core::port::Batch;
use cofferdam::core::value::Map;
use cofferdam::sink::zenflow;
use cofferdam::{
    Approval, Calls, Decision, ForkOptions, Orchestrator, RecordedRun, ResumeOptions, RunResult, Sink, Workflow,
};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// How a recorded run goes on.
pub(super) enum Going {
    /// As itself.
    On(ResumeOptions),
    /// As a new run that takes over a part of it.
    Branch(ForkOptions),
}

pub(super) fn resume(global: &Global, args: ResumeArgs) -> anyhow::Result<Exit> {
    let ResumeArgs { run, answers, accept_changes, how } = args;
    let on_unknown_effect = how.on_unknown_effect.map(crate::args::UnknownEffectArg::policy);
    let answers = run::inputs::answers(&answers)?;
    let options = ResumeOptions { answers, on_unknown_effect, accept_changes, ..ResumeOptions::default() };
    take_up(global, &run, &how.into_run(), Going::On(options))
}

pub(super) fn answer(global: &Global, args: AnswerArgs) -> anyhow::Result<Exit> {
    let AnswerArgs { run, step, value, how } = args;
    let on_unknown_effect = how.on_unknown_effect.map(crate::args::UnknownEffectArg::policy);
    let answers = run::inputs::answers(&[format!("{step}={value}")])?;
    let options = ResumeOptions { answers, on_unknown_effect, ..ResumeOptions::default() };
    take_up(global, &run, &how.into_run(), Going::On(options))
}

pub(super) fn approve(global: &Global, args: ApproveArgs) -> anyhow::Result<Exit> {
    let ApproveArgs { run, step, denied, reason, call, all, how } = args;
    let on_unknown_effect = how.on_unknown_effect.map(crate::args::UnknownEffectArg::policy);
    let calls = match (call, all) {
        (Some(id), _) => Calls::One(id),
        (None, true) => Calls::All,
        (None, false) => Calls::Only,
    };
    let decision = if denied { Decision::Deny } else { Decision::Allow };
    let approvals = vec![Approval { step, calls, decision, reason }];
    // What it comes to next may wait as well.
    let options = ResumeOptions { approvals, on_unknown_effect, defer_approvals: true, ..ResumeOptions::default() };
    take_up(global, &run, &how.into_run(), Going::On(options))
}

pub(super) fn take_up(global: &Global, given: &str, args: &RunArgs, going: Going) -> anyhow::Result<Exit> {
    let session = Session::open(global, &settings::flags(args))?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(async {
        let reader =
            session.with_storage(session.orchestrator(), &args.work.grants.grant)?.build().map_err(Failure::from)?;
        let outcome = match find(&reader, given).await {
            Ok(recorded) => going.of(recorded),
            Err(error) => Err(error),
        };
        if let Ok((Task::Again(recorded, options), _)) = &outcome
            && recorded.status == Some(RunStatus::Completed)
        {
            let shown = show_result(&reader, recorded, options, args).await;
            reader.close().await;
            return shown;
        }
        reader.close().await;
        let (task, workflow) = outcome?;
        let (Task::Again(recorded, _) | Task::Branch(recorded, _)) = &task else {
            unreachable!("nothing new begins here")
        };
        let workflow = match workflow {
            Some(workflow) => workflow,
            None => recorded.workflow().map_err(Failure::from)?,
        };
        if recorded.file.is_none() && !args.work.quiet {
            let text = "the document's file is not where it was; going on with the recorded copy";
            terminal::tell(&paint::quiet(text));
        }
        let file = recorded.file.as_deref().map(Path::to_owned);
        let base = recorded.base.clone().unwrap_or_else(|| Path::new(".").to_owned());
        let directory = file.as_deref().and_then(Path::parent).unwrap_or(&base).to_owned();
        run::start(&session, args, (workflow, &directory), task).await
    });
    // A thread that waits for a slow reader or for a person must not hold up the end.
    runtime.shutdown_background();
    outcome
}

impl Going {
    /// What is to be done with a recorded run; and its document, where changes of it are accepted and there are some.
    fn of(self, recorded: RecordedRun) -> anyhow::Result<(Task, Option<Workflow>)> {
        let accepts = match &self {
            Self::On(options) => options.accept_changes,
            Self::Branch(options) => options.resume.accept_changes,
        };
        let now = if accepts { Some(recorded.now().map_err(Failure::from)?) } else { None };
        let now = now.filter(|now| recorded.differs_from(now));
        let recorded = Box::new(recorded);
        let task = match (self, &now) {
            (Self::On(resume), Some(_)) => Task::Branch(recorded, ForkOptions { resume, ..ForkOptions::default() }),
            (Self::On(options), None) => Task::Again(recorded, options),
            (Self::Branch(options), _) => Task::Branch(recorded, options),
        };
        Ok((task, now))
    }
}

async fn find(reader: &Orchestrator, given: &str) -> anyhow::Result<RecordedRun> {
    let run = runs::find(&*reader.runs(), given).await?;
    Ok(reader.recorded(&run).await.map_err(|error| Failure::of_run(&run, error))?)
}

/// A run that is completed as the events of one that goes on and ends at once, as zenflow tells it.
async fn show_as_zenflow(result: &RunResult, recorded: &RecordedRun) -> anyhow::Result<()> {
    let event = |body| {
        let (run_id, at) = (result.run_id.clone(), local_time::now());
        Arc::new(RunEvent { seq: 1, sub: None, at, run_id, path: StepPath::ROOT, attempt: None, body })
    };
    let begins = Body::RunResumed { settings: Map::new(), plugins: Vec::new(), approved: Vec::new() };
    let (status, output, usage) = (result.status, Value::Null, result.usage);
    let ends = Body::RunFinished { status, reason: None, output, usage, cost: result.cost.total, error: None };
    let workflow = recorded.workflow().map_err(Failure::from)?;
    let lines = zenflow(std::io::stdout()).document(workflow.document());
    let events = vec![event(begins), event(ends)];
    lines.deliver(Batch { events, dropped_before: 0 }).await.map_err(anyhow::Error::from)?;
    Ok(())
}

/// What a run gave that is completed: nothing is left to do.
async fn show_result(
    reader: &Orchestrator,
    recorded: &RecordedRun,
    options: &ResumeOptions,
    args: &RunArgs,
) -> anyhow::Result<Exit> {
    let (answers, approvals) = (options.answers.clone(), options.approvals.clone());
    let options = ResumeOptions { answers, approvals, ..ResumeOptions::default() };
    let run = &recorded.run_id;
    let result = reader.resume_flow(run, None, options).await.map_err(|error| Failure::of_run(run, error))?;
    if args.work.json == Some(EventForm::Zenflow) {
        show_as_zenflow(&result, recorded).await?;
    } else if args.work.json.is_some() {
        terminal::print(&format!("{}\n", serde_json::to_string(&result.public())?))?;
    } else {
        terminal::print(&run::output(&result))?;
    }
    if !args.work.quiet {
        terminal::tell(&paint::quiet(&format!("run {} is completed; nothing was left to do", recorded.run_id)));
    }
    Ok(Exit::of_result(&result, None))
}
