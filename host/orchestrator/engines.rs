//! The workflow engine of a run: ours, or one that the embedder registered.

use super::Orchestrator;
use crate::stream::mode_of;
use crate::workflow::{Desk, EngineRun, Workflow, config_of};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The name that replaces ours.
const DEFAULT: &str = "default";

/// An engine that waits for its run to begin.
pub(super) struct Engaged {
    pub(super) desk: Arc<Desk>,
    run: Box<dyn EngineRun>,
}

/// An engine at work; it ends with the run.
pub(super) struct AtWork {
    task: AbortHandle,
    desk: Arc<Desk>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.task.abort();
        self.desk.release();
    }
}

impl Orchestrator {
    /// Why a run of this workflow cannot be taken up: an engine that is not ours does not know what was done.
    pub(crate) fn refuse_foreign_engine(&self, workflow: &Workflow) -> Result<(), Fault> {
        let name = workflow.document().options.engine.as_deref().unwrap_or(DEFAULT);
        if !self.shared.settings.engines.contains_key(name) {
            return Ok(());
        }
        let message =
            format!("the steps of the run were started by the workflow engine `{name}`, which cannot take it up");
        Err(Fault::user("engine_cannot_resume", message).with_hint("run it anew"))
    }

    /// The engine of a run of this workflow; none when it is ours.
    pub(super) fn engage(&self, workflow: &Workflow) -> Result<Option<Engaged>, Fault> {
        let document = workflow.document();
        let name = document.options.engine.as_deref().unwrap_or(DEFAULT);
        let engines = &self.shared.settings.engines;
        let Some(engine) = engines.get(name) else {
            return if name == DEFAULT { Ok(None) } else { Err(unknown(name, engines.keys())) };
        };
        let desk = Desk::new(document);
        let run = engine.prepare(&config_of(document, mode_of(workflow)), desk.steps())?;
        Ok(Some(Engaged { desk, run }))
    }

    /// Lets the engine work.
    pub(super) fn set_to_work(&self, engaged: Engaged, run_id: RunId) -> AtWork {
        let Engaged { desk, run } = engaged;
        let work = tokio::spawn(run.drive(desk.handle(run_id, self.runs(), self.clock())));
        let at_work = AtWork { task: work.abort_handle(), desk: Arc::clone(&desk) };
        tokio::spawn(async move {
            let panicked = |_| Err(Fault::step("engine", "the workflow engine panicked"));
            desk.close(work.await.unwrap_or_else(panicked));
        });
        at_work
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Fault {
    let known: Vec<&str> = known.map(String::as_str).chain([DEFAULT]).collect();
    Fault::user("unknown_engine", format!("there is no workflow engine `{name}`"))
        .with_hint(format!("this program has {}", known.join(", ")))
}
