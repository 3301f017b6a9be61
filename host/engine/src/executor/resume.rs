//! What is recorded of a run, folded: the state it goes on from, and what its tries had come to.
//!
//! It must not start anything.

use super::Error;
use super::run::{Run, release};
use cofferdam_core::event::{Body, RunEvent, RunStatus, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::message::Usage;
use cofferdam_core::port::{Journal, JournalError, PastAttempt, PastTry, RecordBody};
use cofferdam_core::run::RunResult;
use std::collections::HashMap;
use std::sync::Arc;

/// Reads the events of a run in order, and gives its head.
///
/// # Errors
/// When there is no such run, or a record cannot be read: it is never treated as absent.
pub async fn read_events(
    journal: &dyn Journal,
    run: &RunId,
    mut take: impl FnMut(&Arc<RunEvent>) + Send,
) -> Result<u64, JournalError> {
    let mut after = 0;
    loop {
        let page = journal.read(run, after, limits::JOURNAL_PAGE_RECORDS).await?;
        for record in &page.records {
            if let RecordBody::Event(event) = &record.body {
                take(event);
            }
        }
        after += page.records.len() as u64;
        if page.records.is_empty() || after >= page.head {
            return Ok(page.head);
        }
    }
}

/// What the last try of each step had come to, where it may be taken up.
#[derive(Default)]
pub(super) struct PastTries(HashMap<StepPath, Past>);

/// What is known of the tries of a step that is not done.
#[derive(Default)]
pub(super) struct Past {
    /// What is recorded of the last one.
    last: PastTry,
    /// Those since the step last began anew, each but the first because the run was taken up after the one before had failed.
    tries: Vec<PastAttempt>,
}

impl Past {
    /// The number of the last try.
    fn number(&self) -> Option<u32> {
        self.tries.last().map(|last| last.number)
    }
}

impl PastTries {
    pub(super) fn note(&mut self, event: &RunEvent) {
        if event.path.is_delegate() {
            let past = self
                .0
                .get_mut(&event.path.step())
                .filter(|past| past.number().is_some() && past.number() == event.attempt);
            return past.into_iter().for_each(|past| past.last.note_delegate(&event.path, &event.body));
        }
        let Some(attempt) = event.attempt else {
            if matches!(event.body, Body::StepRetrying { .. }) {
                // What is inside begins anew as well.
                self.0.retain(|path, _| !event.path.holds(path));
            }
            return;
        };
        match &event.body {
            Body::StepStarted { .. } => {
                let past = self.0.entry(event.path.clone()).or_default();
                if past.number() != Some(attempt) {
                    past.last = PastTry::default();
                    past.tries.push(PastAttempt { number: attempt, usage: Usage::default() });
                }
            }
            Body::StepFinished { status: StepStatus::Completed, .. } | Body::StepRetrying { .. } => {
                self.0.remove(&event.path);
            }
            body => {
                let Some(past) = self.0.get_mut(&event.path).filter(|past| past.number() == Some(attempt)) else {
                    return;
                };
                if let (Body::StepFinished { usage, .. }, Some(last)) = (body, past.tries.last_mut()) {
                    last.usage = *usage;
                }
                past.last.note(body);
            }
        }
    }
}

impl Run {
    /// Goes on from what is recorded to the end.
    pub(super) async fn take_up(mut self) -> Result<RunResult, Error> {
        let held = self.hold().await?;
        self.recall().await?;
        self.trust_words();
        let is_completed = self.machine.is_finished() && self.machine.ended_as() == Some(RunStatus::Completed);
        let mut late = self.refuse_late_answers().await;
        if is_completed {
            late = late.and_then(|()| self.refuse_idle_answers());
        }
        let approved = match late {
            Ok(()) => self.resolve_approvals().await,
            Err(error) => Err(error),
        };
        let approved = match approved {
            Ok(approved) => approved,
            Err(error) => {
                release(held).await;
                return Err(error);
            }
        };
        if is_completed {
            release(held).await;
            let result = self.machine.result(&self.request.run_id);
            return result.ok_or_else(|| Error::Refused(vec![Fault::bug("the run ended without a result")]));
        }
        self.compare_mail().await;
        let (settings, plugins) = (self.request.settings.shown.clone(), self.request.plugins.clone());
        let first = Body::RunResumed { settings, plugins, approved };
        self.execute_from(first, held).await
    }

    /// What earlier processes recorded of the tries of a step; of its conversation only when it is the same try.
    pub(super) fn past_of(&mut self, path: &StepPath, number: u32) -> (Option<Arc<PastTry>>, Vec<PastAttempt>) {
        let Some(past) = self.past.0.remove(path) else { return (None, Vec::new()) };
        let same = past.number() == Some(number) && !past.last.is_empty();
        (same.then(|| Arc::new(past.last)), past.tries)
    }
}
