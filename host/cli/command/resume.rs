//! `resume` and `answer`: a recorded run goes on.
//!
//! It must not call anything below the library's `Orchestrator`.

use super::run::{self, Task};
use super::runs;
use crate::args::{AnswerArgs, Global, ResumeArgs, RunArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::settings;
use crate::terminal;
use crate::ui::paint;
use cofferdam::core::event::RunStatus;
use cofferdam::{Orchestrator, RecordedRun, ResumeOptions};
use std::path::Path;

pub(super) fn resume(global: &Global, args: ResumeArgs) -> anyhow::Result<Exit> {
    let ResumeArgs { run, answers, how } = args;
    let on_unknown_effect = how.on_unknown_effect.map(crate::args::UnknownEffectArg::policy);
    let options =
        ResumeOptions { answers: run::inputs::answers(&answers)?, on_unknown_effect, ..ResumeOptions::default() };
    go_on(global, &run, &how.into_run(), options)
}

pub(super) fn answer(global: &Global, args: AnswerArgs) -> anyhow::Result<Exit> {
    let AnswerArgs { run, step, value, how } = args;
    let on_unknown_effect = how.on_unknown_effect.map(crate::args::UnknownEffectArg::policy);
    let answers = run::inputs::answers(&[format!("{step}={value}")])?;
    go_on(global, &run, &how.into_run(), ResumeOptions { answers, on_unknown_effect, ..ResumeOptions::default() })
}

fn go_on(global: &Global, given: &str, args: &RunArgs, options: ResumeOptions) -> anyhow::Result<Exit> {
    let session = Session::open(global, &settings::flags(args))?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(async {
        let reader =
            session.with_storage(session.orchestrator(), &args.grants.grant)?.build().map_err(Failure::from)?;
        let outcome = find(&reader, given).await;
        if let Ok(recorded) = &outcome
            && recorded.status == Some(RunStatus::Completed)
        {
            let shown = show_result(&reader, recorded, args).await;
            reader.close().await;
            return shown;
        }
        reader.close().await;
        let recorded = outcome?;
        let workflow = recorded.workflow().map_err(Failure::from)?;
        let file = recorded.file.as_deref().map(Path::to_owned);
        let base = recorded.base.clone().unwrap_or_else(|| Path::new(".").to_owned());
        let directory = file.as_deref().and_then(Path::parent).unwrap_or(&base).to_owned();
        let task = Task::Again(Box::new(recorded), options);
        run::start(&session, args, (workflow, &directory), task).await
    });
    // A thread that waits for a slow reader or for a person must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn find(reader: &Orchestrator, given: &str) -> anyhow::Result<RecordedRun> {
    let run = runs::find(&*reader.runs(), given).await?;
    Ok(reader.recorded(&run).await.map_err(Failure::from)?)
}

/// What a run gave that is completed: nothing is left to do.
async fn show_result(reader: &Orchestrator, recorded: &RecordedRun, args: &RunArgs) -> anyhow::Result<Exit> {
    let result = reader.resume_flow(&recorded.run_id, None, ResumeOptions::default()).await.map_err(Failure::from)?;
    if args.json {
        terminal::print(&format!("{}\n", serde_json::to_string(&result.public())?))?;
    } else {
        terminal::print(&run::output(&result))?;
    }
    if !args.quiet {
        terminal::tell(&paint::quiet(&format!("run {} is completed; nothing was left to do", recorded.run_id)));
    }
    Ok(Exit::of_result(&result, None))
}
