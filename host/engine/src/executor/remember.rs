//! What a run hands over to its retrieval memory: of each agent step that completed what it was told and gave, once that is
//! recorded.
//!
//! It sees events as sinks do, and of sensitive steps nothing. It must not wait for the memory while the run goes on.

use super::run::Run;
use crate::recollection::Recollection;
use cofferdam_core::event::{Body, RunEvent, StepStatus};
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::recollect::{self, Entry, STEP_INPUT, STEP_OUTPUT};
use cofferdam_core::spec::workflow::RecallKind;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The memory of the run, and what the agents under way were told.
#[derive(Default)]
pub(super) struct Remembering {
    recollection: Option<Recollection>,
    told: HashMap<StepPath, Arc<str>>,
}

impl Run {
    /// Opens the way to the memory, if the run has one.
    pub(super) fn remember(&mut self) {
        let Some(of) = &self.ports.recall else { return };
        let (run, clock) = (self.request.run_id.clone(), Arc::clone(&self.ports.clock));
        let (recollection, task) = Recollection::new(of, run, clock, self.inbox.clone());
        self.tasks.spawn(task);
        self.context.set_recollection(recollection.clone());
        self.remembering.recollection = Some(recollection);
    }

    /// The way to the memory for a try; judges have none, since they look at what is there, nor have sensitive steps.
    pub(super) fn recollection(&self, path: &StepPath) -> Option<Recollection> {
        let covered = self.sensitive.as_ref().is_some_and(|sensitive| sensitive.covers(path));
        self.remembering.recollection.clone().filter(|_| !self.machine.is_judge(path) && !covered)
    }

    pub(super) fn remembers(&self) -> bool {
        self.ports.recall.is_some()
    }

    /// Takes in what is recorded.
    pub(super) fn note_for_memory(&mut self, events: &[Arc<RunEvent>]) {
        if !self.remembers() {
            return;
        }
        for event in events.iter().filter(|event| event.attempt.is_some() && !event.body.is_transient()) {
            match self.sensitive.as_ref().map(|sensitive| event.public(sensitive)) {
                Some(shown) => self.note_as_shown(&shown),
                None => self.note_as_shown(event),
            }
        }
    }

    fn note_as_shown(&mut self, event: &RunEvent) {
        let Some(recollection) = &self.remembering.recollection else { return };
        match &event.body {
            Body::StepStarted { .. } => recollection.note_start(&event.path, event.seq),
            Body::MemoryRecalled(recalled) => {
                self.remembering.told.insert(event.path.clone(), Arc::clone(&recalled.input));
            }
            Body::StepRetrying { .. } | Body::StepCancelled { .. } => drop(self.remembering.told.remove(&event.path)),
            Body::StepFinished { status, output, .. } => {
                let Some(told) = self.remembering.told.remove(&event.path) else { return };
                let covered = self.sensitive.as_ref().is_some_and(|sensitive| sensitive.covers(&event.path));
                if *status != StepStatus::Completed || covered {
                    return;
                }
                let workflow = self.request.workflow.name.as_str();
                let entry = Entry { run: &event.run_id, path: &event.path, seq: event.seq, at: event.at, workflow };
                let gave = recollect::output(output);
                let texts =
                    [(RecallKind::Inputs, STEP_INPUT, &*told), (RecallKind::Outputs, STEP_OUTPUT, gave.as_str())];
                // What was told is cut, and half of a text that must not be shown is not known for one.
                let whole = |kind: RecallKind| kind == RecallKind::Outputs || self.sensitive.is_none();
                let kept = texts.into_iter().filter(|(kind, _, text)| {
                    recollection.settings.keeps(*kind) && whole(*kind) && !text.trim().is_empty()
                });
                recollection.keep(kept.map(|(_, kind, text)| entry.memo(kind, text)).collect());
            }
            _ => {}
        }
    }

    /// Waits until the memory has what the last steps gave; says what it did not take.
    pub(super) async fn remembered(&self) -> Vec<String> {
        let Some(recollection) = &self.remembering.recollection else { return Vec::new() };
        let cancelled = self.request.cancel.is_cancelled();
        let most_ms = if cancelled { limits::CANCEL_GRACE_MS } else { limits::RECALL_CLOSE_MS };
        recollection.flush(&self.ports.clock, Duration::from_millis(most_ms)).await
    }
}
