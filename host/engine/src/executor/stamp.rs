//! The place of an event in its run: its number and time, and what it says besides.

use super::run::Run;
use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::port::redact_event;
use cofferdam_core::run::Emission;

impl Run {
    /// Says what a turn cost, by the prices of now.
    fn price(&self, body: &mut Body) {
        if let Body::TurnFinished { model, usage, cost, .. } | Body::TurnFailed { model, usage, cost, .. } = body {
            *cost = self.request.settings.prices.cost(model, usage);
        }
    }

    /// Gives an event its place; what must not be seen is taken out before anybody sees it.
    pub(super) fn stamp(&mut self, mut emission: Emission) -> RunEvent {
        if let Body::StepStarted { narrowed, .. } = &mut emission.body {
            *narrowed = self.machine.narrowings(&emission.path).explain();
        }
        if let Body::FilesChanged(changes) = &mut emission.body {
            changes.conflicts = self.machine.conflicts(&emission.path, changes);
        }
        redact_event(self.ports.gateway.redactor(), &mut emission.body);
        self.price(&mut emission.body);
        let sub = if emission.body.is_transient() {
            self.sub += 1;
            Some(self.sub)
        } else {
            self.seq += 1;
            self.sub = 0;
            None
        };
        RunEvent {
            seq: self.seq,
            sub,
            at: self.ports.clock.now(),
            run_id: self.request.run_id.clone(),
            path: emission.path,
            attempt: emission.attempt,
            body: emission.body,
        }
    }
}
