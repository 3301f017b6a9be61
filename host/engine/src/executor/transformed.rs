//! Outputs that plugins change before they enter a prompt: done when a try needs them, once for each output.
//!
//! The try has its slot meanwhile and can be cancelled; what is found out is no event, since it can be had again.

use super::Wake;
use super::run::{Pass, Run, UnderWay};
use crate::attempt::{Deadline, Place};
use crate::chain::Chains;
use cofferdam_core::event::StepOutput;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{AgentFailure, CancelFlag};
use cofferdam_core::run::{Effect, Emission, Untransformed};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// Outputs with what became of them.
type Done = Vec<(Untransformed, StepOutput)>;

impl Run {
    /// Has outputs changed; the try starts again when they are.
    pub(super) fn transform_first(&mut self, path: StepPath, attempt: u32, outputs: Vec<Untransformed>) {
        let work: Vec<(Chains, Untransformed)> = outputs
            .into_iter()
            .map(|output| {
                // The same in whatever prompt: plugins see the step that gave it, failures stand with the one that reads.
                let mut chains = self.chains(&path, Some(attempt));
                chains.pure.path = output.path.clone();
                chains.pure.attempt = 1;
                (chains, output)
            })
            .collect();
        let (inbox, reader) = (self.inbox.clone(), path.clone());
        let handle = self.tasks.spawn(async move {
            let panicked = |_| Err(Fault::bug("what changes the outputs of steps panicked".to_owned()));
            let outcome = AssertUnwindSafe(transform(work)).catch_unwind().await.unwrap_or_else(panicked);
            inbox.send(Wake::Transformed { path: reader, attempt, outcome });
        });
        let place = Place::new(Arc::clone(&self.ports.isolation), self.request.run_id.clone(), path.clone());
        let now = self.ports.clock.now();
        let deadline = self.time_left(&path).map(|(left, whole)| Deadline { from: now, left, whole });
        let timer = deadline.map(|deadline| self.time(path.clone(), attempt, deadline));
        let under_way = UnderWay { handle, timer, cancel: CancelFlag::default(), place: Arc::new(place) };
        self.attempts.insert(path, under_way);
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
                let body = self.end_of_attempt(&path, Err(AgentFailure::from(fault)));
                pass.queue.push_back(Emission { path, attempt: Some(attempt), body });
            }
        }
    }
}

async fn transform(work: Vec<(Chains, Untransformed)>) -> Result<Done, Fault> {
    let mut done = Vec::with_capacity(work.len());
    for (chains, of) in work {
        let became = chains.apply(&of.chain, of.output.clone()).await.map_err(|fault| {
            let message = format!("what step `{}` gave cannot be transformed: {}", of.path, fault.message);
            Fault { message, ..fault }
        })?;
        done.push((of, became));
    }
    Ok(done)
}
