//! Where code without effects works in a replay: the run as it was, at the time of the record.
//!
//! Whatever such code records is not recorded again.

use crate::chain::Chains;
use crate::context::{ContextSource, Variables};
use crate::executor::{MemoryAsked, Wake, recall};
use crate::recorder::{AttemptRecorder, Inbox};
use cofferdam_core::event::RunEvent;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::port::{BoxFuture, Clock, PureContext, RunContext};
use cofferdam_core::run::Machine;
use cofferdam_core::spec::workflow::Workflow;
use cofferdam_core::time::Timestamp;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

use super::ReplayPorts;

/// The run, as closures and plugins see it.
pub(super) struct Scope {
    clock: Arc<RecordClock>,
    inbox: Inbox,
    wakes: mpsc::UnboundedReceiver<Wake>,
    source: Arc<ContextSource>,
    run_id: RunId,
}

/// The time of the event that is looked at.
#[derive(Default)]
struct RecordClock(AtomicI64);

impl Clock for RecordClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Scope {
    pub(super) fn new(workflow: &Workflow, first: Option<&Arc<RunEvent>>) -> Self {
        let (sender, wakes) = mpsc::unbounded_channel();
        let (inbox, clock) = (Inbox::new(sender), Arc::new(RecordClock::default()));
        let run_id = first.map_or_else(nobody, |event| event.run_id.clone());
        let source = Arc::new(ContextSource {
            recollection: std::sync::OnceLock::new(),
            run_id: run_id.clone(),
            workflow_id: workflow.hash.clone(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            inbox: inbox.clone(),
            variables: Variables::default(),
        });
        Self { clock, inbox, wakes, source, run_id }
    }

    pub(super) fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// From now on it is the time of this event, and the variables are those of the machine.
    pub(super) fn look(&mut self, machine: &Machine, event: &RunEvent) {
        self.clock.0.store(event.at.as_millis(), Ordering::Relaxed);
        self.source.variables.replace(machine.vars());
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn context(&self, path: &StepPath, attempt: Option<u32>) -> Arc<dyn RunContext> {
        self.source.of(path.clone(), attempt)
    }

    pub(super) fn pure(&self, machine: &Machine, path: &StepPath, attempt: Option<u32>) -> PureContext {
        let recorder = AttemptRecorder { inbox: self.inbox.clone(), path: path.clone(), attempt, past: None };
        PureContext {
            run_id: self.run_id.clone(),
            path: path.clone(),
            attempt: attempt.unwrap_or(1),
            now: machine.began_at(),
            events: Arc::new(recorder),
        }
    }

    pub(super) fn chains(
        &self,
        ports: &ReplayPorts,
        machine: &Machine,
        path: &StepPath,
        attempt: Option<u32>,
    ) -> Chains {
        Chains {
            natives: Arc::clone(&ports.natives),
            plugins: Arc::clone(&ports.plugins),
            run: self.context(path, attempt),
            pure: self.pure(machine, path, attempt),
        }
    }

    /// Waits for work, and answers what it asks of the run meanwhile.
    pub(super) async fn wait_for<T>(&mut self, machine: &Machine, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                outcome = &mut work => return outcome,
                Some(wake) = self.wakes.recv() => reply(machine, wake),
            }
        }
    }
}

/// What is set or recorded stands in the record already.
fn reply(machine: &Machine, wake: Wake) {
    match wake {
        Wake::Look { from, name, reply } => drop(reply.send(machine.step_end(&from, &name))),
        Wake::Set { done, .. } | Wake::Record { done: Some(done), .. } => drop(done.send(Ok(()))),
        Wake::Remember { path, asked, .. } => remember(machine, &path, asked),
        _ => {}
    }
}

/// What code reads is what the record has; what it changes stands there already.
fn remember(machine: &Machine, path: &StepPath, asked: MemoryAsked) {
    let MemoryAsked { request, reply, done } = asked;
    let outcome = recall(machine, path, request).map(|(answer, _)| drop(reply.send(answer)));
    let _ = done.send(outcome);
}

fn nobody() -> RunId {
    RunId::parse("replay").expect("`replay` follows the grammar")
}
