//! Stages a case: a run of its own, in a directory of its own, with a journal in memory and time that is simulated.
//!
//! Time is tokio's, paused: whenever nothing is left to do it jumps to the next thing that waits, so that retries,
//! delays and time limits cost no time. That holds only if nothing works beside the runtime's one thread, so
//! expressions are evaluated on it, and its stack is as large as that of the threads for expressions.

use super::case::Case;
use super::models::{CaseModels, Voice};
use super::observed::{Observed, Seen};
use super::script::Document;
use super::tools::StandIns;
use super::verdict::Verdict;
use crate::error::Error;
use crate::orchestrator::{Builder, Orchestrator, RunOptions, UserDirs};
use crate::workflow::Workflow;
use cofferdam_core::event::RunEvent;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::permission::Rules;
use cofferdam_core::port::{Durability, Journal, Models, RecordBody};
use cofferdam_engine::{Coordinator, FixedRandomness, TokioClock};
use cofferdam_llm::Scripted;
use cofferdam_plugin::{CompileChild, Tap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What cases use of the machine: where compiled plugins are kept, and how they are compiled.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Directories of the user.
    pub user_dirs: Option<UserDirs>,
    /// Compiles plugins in a process of its own.
    pub compile_child: Option<CompileChild>,
    /// Who is told what tested plugins ask of their host.
    pub tap: Option<Tap>,
}

/// How soon a case notices that it is to stop.
const PULSE: Duration = Duration::from_millis(20);

/// Runs a case and judges it; none when it was stopped before its end.
pub(super) fn run(case: &Arc<Case>, machine: &Machine, stop: &AtomicBool) -> Option<Verdict> {
    if stop.load(Ordering::Relaxed) {
        return None;
    }
    let began = Instant::now();
    let (sender, receiver) = mpsc::channel();
    let (staged, machine) = (Arc::clone(case), machine.clone());
    let thread = thread::Builder::new()
        .name("case".to_owned())
        .stack_size(2 * limits::EXPRESSION_STACK_BYTES)
        .spawn(move || _ = sender.send(observe(&staged, machine)));
    let patience = Duration::from_millis(limits::TEST_CASE_MS);
    let wait = || loop {
        let pulse = PULSE.min(patience.saturating_sub(began.elapsed()));
        match receiver.recv_timeout(pulse) {
            Err(mpsc::RecvTimeoutError::Timeout) if !pulse.is_zero() && !stop.load(Ordering::Relaxed) => {}
            outcome => return outcome,
        }
    };
    let observed = match thread.map(|_| wait()) {
        Ok(Ok(observed)) => observed,
        Ok(Err(mpsc::RecvTimeoutError::Timeout)) if stop.load(Ordering::Relaxed) => return None,
        Ok(Err(mpsc::RecvTimeoutError::Timeout)) => Observed::Broken(format!("nothing after {} s", patience.as_secs())),
        Ok(Err(mpsc::RecvTimeoutError::Disconnected)) => Observed::Broken("the case panicked".to_owned()),
        Err(error) => Observed::Broken(format!("no thread for the case: {error}")),
    };
    Some(Verdict {
        file: case.file.clone(),
        case: case.name.clone(),
        line: case.line,
        misses: case.expect.misses(&observed),
        spent: None,
        took: began.elapsed(),
    })
}

fn observe(case: &Case, machine: Machine) -> Observed {
    let workflow = match load(case) {
        Ok(workflow) => workflow,
        Err(error) => return refused(error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let (runtime, folder) = match runtime.and_then(|runtime| Ok((runtime, folder(case)?))) {
        Ok(ready) => ready,
        Err(error) => return Observed::Broken(format!("the case cannot be staged: {error}")),
    };
    let observed = runtime.block_on(play(case, machine, &workflow, folder.path()));
    runtime.shutdown_background();
    observed
}

fn load(case: &Case) -> Result<Workflow, Error> {
    match &case.settings.document {
        Some(Document::Text(text)) => Workflow::parse(text, &case.directory),
        Some(Document::File(path)) => Workflow::load(path),
        None => Err(Error::Settings("the case has no document".to_owned())),
    }
}

/// The working directory of the case, with its files.
fn folder(case: &Case) -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("cofferdam-case-").tempdir()?;
    std::fs::create_dir(folder.path().join("work"))?;
    for (path, content) in &case.settings.files {
        let path = folder.path().join("work").join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, content.as_bytes())?;
    }
    Ok(folder)
}

async fn play(case: &Case, machine: Machine, workflow: &Workflow, folder: &Path) -> Observed {
    let voice = case.settings.model.clone().unwrap_or_else(|| Voice::Script(Arc::new(silent())));
    let models = match CaseModels::new(voice, Arc::new(TokioClock::new())) {
        Ok(models) => Arc::new(models),
        Err(error) => return Observed::Broken(error.to_string()),
    };
    let orchestrator = match builder(case, machine, folder).models(Arc::clone(&models) as Arc<dyn Models>).build() {
        Ok(orchestrator) => orchestrator,
        Err(error) => return refused(error),
    };
    let outcome = orchestrator.run_flow(workflow, options(case)).await;
    let observed = match outcome {
        Ok(result) => {
            let events = events(orchestrator.runs().as_ref(), &result.run_id).await;
            Observed::Ran(Box::new(Seen::new(&result, &events, models.asked())))
        }
        Err(error) => refused(error),
    };
    orchestrator.close().await;
    observed
}

/// A model without answers: whoever asks it is told which one is missing.
fn silent() -> Scripted {
    Scripted::parse("answers: []").expect("a script without answers is one")
}

fn builder(case: &Case, machine: Machine, folder: &Path) -> Builder {
    let rules = Rules { allow: case.settings.allow.clone(), deny: case.settings.deny.clone(), ..Rules::default() };
    let mut builder = Orchestrator::builder()
        .default_model("scripted")
        .randomness(Arc::new(FixedRandomness(0.5)))
        .isolation(crate::compose::directories(Some(folder.join("work")), Some(&folder.join("records"))))
        .durability(Durability::Written)
        .permissions(rules)
        .rehearsal(StandIns::new(&case.settings.tools));
    if let Some(dirs) = machine.user_dirs {
        builder = builder.user_dirs(dirs);
    }
    if let Some(child) = machine.compile_child {
        builder = builder.compile_child(child);
    }
    if let Some(count) = case.max_concurrency {
        builder = builder.max_concurrency(count);
    }
    builder
}

fn options(case: &Case) -> RunOptions {
    RunOptions {
        input: case.input.clone(),
        inputs: case.inputs.clone(),
        answers: case.answers.clone(),
        timeout: case.timeout,
        budget: case.budget,
        coordinator: case.coordinator.then(Coordinator::default),
        ..RunOptions::default()
    }
}

pub(super) async fn events(journal: &dyn Journal, run: &RunId) -> Vec<Arc<RunEvent>> {
    let mut events = Vec::new();
    let mut after = 0;
    while let Ok(page) = journal.read(run, after, limits::SINK_BATCH_EVENTS).await {
        after += page.records.len() as u64;
        let is_last = page.records.is_empty() || after >= page.head;
        events.extend(page.records.into_iter().filter_map(|record| match record.body {
            RecordBody::Event(event) => Some(event),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        }));
        if is_last {
            break;
        }
    }
    events
}

fn refused(error: Error) -> Observed {
    match error {
        Error::Invalid(findings) | Error::Inputs(findings) => Observed::refused_by_findings(&findings),
        Error::Refused(faults) => Observed::refused_by_host(&faults),
        other => Observed::Broken(other.to_string()),
    }
}
