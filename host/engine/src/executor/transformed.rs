//! Outputs that plugins change before they enter a prompt: done when a try needs them, once for each output.
//!
//! The try has its slot meanwhile and can be cancelled; what is found out is no event, since it can be had again. Tries
//! that need the same output at the same time wait for the same work, which ends with the last of them.

use super::Wake;
use super::mail::Reading;
use super::run::{Pass, Run, UnderWay};
use crate::chain::Chains;
use cofferdam_core::event::StepOutput;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{AgentFailure, BoxFuture, CancelFlag};
use cofferdam_core::run::{Effect, Untransformed};
use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use tokio::task::AbortHandle;

/// The work on one output.
type Change = BoxFuture<'static, Result<StepOutput, Fault>>;

/// Work on outputs that some try still waits for, by the step that gave them.
pub(super) type Changing = HashMap<StepPath, (Untransformed, WeakShared<Change>)>;

/// Outputs with what became of them.
type Done = Vec<(Untransformed, StepOutput)>;

impl Run {
    /// Has outputs changed; the try starts again when they are.
    pub(super) fn transform_first(&mut self, path: StepPath, attempt: u32, outputs: Vec<Untransformed>) {
        let work: Vec<(Untransformed, Shared<Change>)> = outputs
            .into_iter()
            .map(|output| {
                let change = self.change_of(&output, (&path, attempt));
                (output, change)
            })
            .collect();
        let (inbox, reader) = (self.inbox.clone(), path.clone());
        let handle = self.tasks.spawn(async move {
            let outcome = all(work).await;
            inbox.send(Wake::Transformed { path: reader, attempt, outcome });
        });
        let place = self.place(&path, attempt, false);
        let deadline = self.deadline(&path);
        let timer = deadline.map(|deadline| self.time(path.clone(), attempt, deadline));
        let at_work = self.ports.gateway.person().work(path.clone(), &self.ports.clock);
        let cancel = CancelFlag::default();
        let under_way = UnderWay { handle, timer, _at_work: at_work, cancel, place, reading: Reading::default() };
        self.attempts.insert(path, under_way);
    }

    /// The work on an output: that of another try which waits for it too, else a new one.
    fn change_of(&mut self, output: &Untransformed, (path, attempt): (&StepPath, u32)) -> Shared<Change> {
        self.changing.retain(|_, (_, change)| change.upgrade().is_some());
        if let Some((of, change)) = self.changing.get(&output.path)
            && of.is_same(output)
            && let Some(change) = change.upgrade()
        {
            return change;
        }
        // The same in whatever prompt: plugins see the step that gave it, failures stand with those that read it.
        let mut chains = self.chains(path, Some(attempt));
        chains.pure.path = output.path.clone();
        chains.pure.attempt = 1;
        let change = transform(chains, output.clone()).boxed().shared();
        if let Some(weak) = change.downgrade() {
            self.changing.insert(output.path.clone(), (output.clone(), weak));
        }
        change
    }

    pub(super) fn take_transformed(
        &mut self,
        (path, attempt): (StepPath, u32),
        outcome: Result<Done, Fault>,
        pass: &mut Pass,
    ) {
        let changing = self.attempts.remove(&path);
        changing.and_then(|changing| changing.timer).iter().for_each(AbortHandle::abort);
        match outcome {
            Ok(outputs) => {
                for (of, became) in outputs {
                    self.transformed.insert(of, became);
                }
                // First of all, so that a stop in the same pass finds the try and ends it.
                pass.effects.insert(0, Effect::Start { path, attempt });
            }
            Err(fault) => {
                self.end_try((path, attempt), Err(AgentFailure::from(fault)), pass);
            }
        }
    }
}

async fn transform(chains: Chains, of: Untransformed) -> Result<StepOutput, Fault> {
    let panicked = |_| Err(Fault::bug("what changes the outputs of steps panicked".to_owned()));
    let changing = AssertUnwindSafe(chains.apply(&of.chain, of.output)).catch_unwind();
    changing.await.unwrap_or_else(panicked).map_err(|fault| {
        let message = format!("what step `{}` gave cannot be transformed: {}", of.path, fault.message);
        Fault { message, ..fault }
    })
}

async fn all(work: Vec<(Untransformed, Shared<Change>)>) -> Result<Done, Fault> {
    let mut done = Vec::with_capacity(work.len());
    for (of, change) in work {
        done.push((of, change.await?));
    }
    Ok(done)
}
