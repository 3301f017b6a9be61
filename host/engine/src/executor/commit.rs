//! What a pass has gathered: into the journal, to the sinks, then acted upon.

use super::Error;
use super::run::{Pass, Run};
use cofferdam_core::event::{Body, RunEvent, RunStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{Append, Durability, JournalError, Record, RecordBody, RunIndex};
use cofferdam_core::run::Emission;
use serde_json::Value;
use std::sync::Arc;

impl Run {
    /// What to tell when nobody will find what was recorded. A store may go on with files that have no name any more.
    pub(super) async fn lost(&self) -> Option<String> {
        let there = self.ports.journal.is_there(&self.request.run_id).await;
        there.err().map(|error| format!("the record of this run is lost: {error}"))
    }

    /// Appends, publishes, answers who waits, performs; again for what follows at once.
    pub(super) async fn commit(&mut self, mut pass: Pass) -> Result<(), Error> {
        loop {
            self.append(&pass.events).await?;
            self.publish(&pass.events).await;
            self.note_for_memory(&pass.events);
            self.tell_of_drops(&pass.events);
            self.keep_mail(&pass.events).await;
            for done in pass.waiting.drain(..) {
                let _ = done.send(Ok(()));
            }
            let mut next = Pass::default();
            for effect in std::mem::take(&mut pass.effects) {
                next.queue.extend(self.perform(effect));
            }
            if next.queue.is_empty() {
                return Ok(());
            }
            self.settle(&mut next);
            self.resume_called(&mut next);
            self.wake_coordinator(&mut next);
            pass = next;
        }
    }

    /// Passes events on to the sinks, without what is none of their business.
    async fn publish(&mut self, events: &[Arc<RunEvent>]) {
        if self.bus.is_empty() {
            // The result must know what views of it may not show.
            if let Some(sensitive) = &mut self.sensitive {
                events.iter().for_each(|event| sensitive.note(event));
            }
            return;
        }
        let lost = self.inbox.take_lost();
        match &mut self.sensitive {
            None => self.bus.publish(events, lost, &self.request.cancel).await,
            Some(sensitive) => {
                let (mut shown, mut held) = (Vec::new(), 0);
                for event in events {
                    match sensitive.publish(event) {
                        Some(event) => shown.push(Arc::new(event)),
                        // Of a sensitive step nobody misses the pieces; of others they are told that some are missing.
                        None => held += u64::from(!sensitive.covers(&event.path)),
                    }
                }
                self.bus.publish(&shown, lost + held, &self.request.cancel).await;
            }
        }
    }

    async fn append(&mut self, events: &[Arc<RunEvent>]) -> Result<(), Error> {
        let durable = events.iter().filter(|event| !event.body.is_transient());
        let records: Vec<Record> =
            durable.map(|event| Record { at: event.at, body: RecordBody::Event(Arc::clone(event)) }).collect();
        if records.is_empty() {
            return Ok(());
        }
        let mut records = records;
        records.splice(..0, self.digest());
        if self.head == 0
            && let Some((kind, data)) = self.request.note.take()
        {
            // Right behind the beginning, where it is found without reading on.
            records.insert(1, Record { at: self.started_at, body: RecordBody::Note { kind, data } });
        }
        let index = events.iter().find_map(|event| self.index_after(event));
        let request = Append {
            run: self.request.run_id.clone(),
            expected_head: self.head,
            durability: self.durability_of(events),
            records,
            index,
        };
        let last = request.records.iter().rev().find_map(|record| match &record.body {
            RecordBody::Event(event) => Some(event.seq),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        });
        let appended = self.ports.journal.append(request).await;
        self.head = appended.map_err(|error| match self.head {
            // It has not begun here.
            0 => Error::Journal(error),
            _ => Error::of_conflict(&self.request.run_id, error),
        })?;
        self.recorded = last.unwrap_or(self.recorded);
        self.stretch(events);
        Ok(())
    }

    /// A record that the journal does not take ends the run, which must not look as if it went on: what was not recorded did
    /// not happen, and the end follows what was.
    pub(super) async fn end_beyond_journal(&mut self, error: &JournalError) {
        let JournalError::TooLarge(why) = error else { return };
        if self.recorded == 0 {
            return;
        }
        let fault = Fault::user("record_too_large", format!("the journal does not take what happened: {why}"))
            .with_hint("write large results to a file, `out:NAME`, and pass its name on");
        let body = Body::RunFinished {
            status: RunStatus::Failed,
            reason: None,
            output: Value::Null,
            usage: self.machine.usage(),
            cost: self.machine.known_cost(),
            error: Some(fault),
        };
        self.seq = self.recorded;
        let event = Arc::new(self.stamp(Emission { path: StepPath::ROOT, attempt: None, body }));
        let events = [event];
        // The error that led here is told anyway.
        if self.append(&events).await.is_ok() {
            self.publish(&events).await;
        }
    }

    /// Only barriers wait for the disk.
    fn durability_of(&self, events: &[Arc<RunEvent>]) -> Durability {
        let ends_run = events.iter().any(|event| matches!(event.body, Body::RunFinished { .. }));
        let barrier = events.iter().any(|event| {
            matches!(
                event.body,
                Body::StepFinished { .. }
                    | Body::ToolCallStarted { .. }
                    | Body::StepRetrying { .. }
                    | Body::StepStarted { .. }
                    | Body::StepWaiting(_)
                    | Body::QuestionAsked { .. }
                    | Body::PermissionAsked { .. }
                    | Body::LoopPostponed { .. }
                    | Body::VariableSet { .. }
                    | Body::MemoryWritten { .. }
                    | Body::MemoryDeleted { .. }
                    | Body::MessagePosted(_)
                    | Body::EffectDecided { .. }
            )
        });
        if ends_run || (barrier && self.request.settings.durability == Durability::Durable) {
            Durability::Durable
        } else {
            Durability::Written
        }
    }

    fn index_after(&self, event: &RunEvent) -> Option<RunIndex> {
        let status = match &event.body {
            Body::RunStarted { .. } | Body::RunResumed { .. } => "running",
            Body::RunFinished { status, .. } => status.as_str(),
            _ => return None,
        };
        Some(RunIndex {
            workflow: self.request.workflow.name.clone(),
            status: status.to_owned(),
            started_at: self.started_at,
        })
    }
}
