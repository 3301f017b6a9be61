//! What becomes of a wake-up: what still has a place becomes events.
//!
//! It must not append anything: what it gathers is one commit.

use super::run::{Done, Pass, Run, sort_effects};
use super::{Answer, Wake};
use crate::attempt::timed_out;
use cofferdam_core::event::{Body, RunReason};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{AgentFailure, AgentOutput, TryEnd};
use cofferdam_core::run::{Emission, Stop};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

impl Run {
    /// Takes in one wake-up: what still has a place becomes events.
    pub(super) fn take(&mut self, wake: Wake, pass: &mut Pass) {
        if let Some(wake) = self.take_spending(wake, pass) {
            self.take_other(wake, pass);
        }
        self.settle(pass);
        self.resume_called(pass);
        self.pause_at_rest(pass);
    }

    fn take_other(&mut self, wake: Wake, pass: &mut Pass) {
        match wake {
            Wake::Ended { path, attempt, outcome } => {
                if self.machine.admits(&path, Some(attempt)) {
                    let ended = self.attempts.remove(&path);
                    ended.and_then(|ended| ended.timer).iter().for_each(AbortHandle::abort);
                    self.end_try((path, attempt), outcome, pass);
                }
            }
            Wake::Left { path, changes, .. } if self.machine.is_finished() => self.left_over.push((path, changes)),
            Wake::Left { path, attempt, changes } => {
                let (attempt, body) = (Some(attempt), Body::FilesChanged(*changes));
                pass.queue.push_back(Emission { path, attempt, body });
            }
            Wake::Transformed { path, attempt, outcome } => {
                if self.machine.admits(&path, Some(attempt)) {
                    self.take_transformed((path, attempt), outcome, pass);
                }
            }
            Wake::TimedOut { path, attempt, whole } => self.time_out(path, attempt, whole, pass),
            Wake::Record { path, attempt, body, done } => self.record(Emission { path, attempt, body }, done, pass),
            Wake::Flush(done) => pass.waiting.push(done),
            Wake::Shortened { path, attempt, inputs } => {
                // A conversation that goes on keeps the beginning that it had.
                if self.machine.attempt_of(&path) == Some(attempt) {
                    pass.queue.extend(self.note_shortened(path, attempt, inputs));
                }
            }
            Wake::Answered { path, instance, answer } => {
                if self.machine.admits(&path, None) && self.machine.instance(&path) == instance {
                    self.take_answer(&path, answer, pass);
                }
            }
            Wake::Evaluated => self.release(pass),
            Wake::Set { path, attempt, key, value, done } => match self.refuse_variable(&path, attempt, &key) {
                Some(fault) => drop(done.send(Err(fault))),
                None => {
                    self.record(Emission { path, attempt, body: Body::VariableSet { key, value } }, Some(done), pass);
                }
            },
            Wake::Remember { path, attempt, asked } => self.share(path, attempt, asked, pass),
            Wake::Lasting { path, attempt, fetched, done } => self.take_fetched((path, attempt), *fetched, done, pass),
            Wake::Post { path, attempt, posting } => self.post(path, attempt, posting, pass),
            Wake::Fetch { path, attempt, fetch } => self.fetch(&path, attempt, fetch, pass),
            Wake::Said { path, body, counts, done } => self.say(path, body, (counts, done), pass),
            Wake::Coordinated(outcome) => self.take_coordinated(outcome, pass),
            Wake::HoldOver => self.hold_is_over(pass),
            Wake::Closing => {}
            Wake::Look { from, name, reply } => drop(reply.send(self.machine.step_end(&from, &name))),
            Wake::Due(path) => {
                let effects = self.machine.due(&path);
                sort_effects(effects, pass);
            }
            Wake::Expired(path) => {
                let effects = self.expire(&path);
                sort_effects(effects, pass);
            }
            Wake::Deadline => self.stop(Stop::Reason(RunReason::Timeout), pass),
            Wake::Cancelled => self.stop(Stop::Cancelled, pass),
            Wake::Fenced(error) => self.fenced = Some(error),
            Wake::Reserve { .. } | Wake::Released(_) | Wake::LetGo(_) | Wake::Wall(_) | Wake::OwnWall { .. } => {}
        }
    }

    /// Records what happens within a step.
    fn record(&mut self, emission: Emission, done: Option<Done>, pass: &mut Pass) {
        if emission.body.is_transient() {
            self.inbox.saw_transient();
        }
        if self.machine.admits(&emission.path, emission.attempt) {
            pass.queue.push_back(emission);
            pass.waiting.extend(done);
        } else if let Some(done) = done {
            let _ = done.send(Err(Fault::cancelled()));
        }
    }

    /// Ends a try whose time is over; one with a directory of its own once what it changed there is saved.
    fn time_out(&mut self, path: StepPath, attempt: u32, whole: Duration, pass: &mut Pass) {
        if !self.machine.admits(&path, Some(attempt)) || self.saves_first(&path, attempt, whole) {
            return;
        }
        self.abandon(&path);
        let outcome = Err(timed_out(&path, whole).into());
        self.end_try((path, attempt), outcome, pass);
    }

    /// The end of a try, or of what its agent did behind the end of its step.
    pub(super) fn end_try(
        &mut self,
        (path, attempt): (StepPath, u32),
        outcome: Result<AgentOutput, AgentFailure>,
        pass: &mut Pass,
    ) {
        if self.machine.attempt_of(&path).is_none() {
            return self.take_reply((&path, attempt), &outcome, pass);
        }
        let body = self.end_of_attempt(&path, outcome);
        pass.queue.push_back(Emission { path, attempt: Some(attempt), body });
    }

    /// Whether a try has a directory of its own: then it ends later.
    fn saves_first(&mut self, path: &StepPath, attempt: u32, whole: Duration) -> bool {
        let Some(under_way) = self.attempts.get_mut(path).filter(|under_way| under_way.place.is_own()) else {
            return false;
        };
        under_way.cancel.set();
        under_way.handle.abort();
        let (place, inbox, path) = (Arc::clone(&under_way.place), self.inbox.clone(), path.clone());
        under_way.handle = self.tasks.spawn(async move {
            if let Some(changes) = place.leave(TryEnd::Itself).await {
                inbox.send(Wake::Left { path: path.clone(), attempt, changes: Box::new(changes) });
            }
            let outcome = Err(timed_out(&path, whole).into());
            inbox.send(Wake::Ended { path, attempt, outcome });
        });
        true
    }

    /// Stops the run; at once when nothing but its output is missing.
    pub(super) fn stop(&mut self, stop: Stop, pass: &mut Pass) {
        if self.cuts_last_word(pass) {
            return;
        }
        sort_effects(self.machine.stop(stop), pass);
        pass.queue.extend(self.stopped_short());
        self.stop_coordinator(pass);
    }

    fn take_answer(&mut self, path: &StepPath, answer: Answer, pass: &mut Pass) {
        match answer {
            Answer::GoOn => sort_effects(self.machine.go_on(path), pass),
            Answer::Admitted => self.decide(path),
            Answer::Deadlock(fault) => {
                self.deadlock.get_or_insert(fault);
                sort_effects(self.machine.stop(Stop::Reason(RunReason::Deadlock)), pass);
            }
            Answer::Over(outcome) => {
                pass.queue.extend(self.starter_over(outcome));
                pass.queue.extend(self.conclude());
            }
            Answer::Events(bodies) => {
                for body in bodies {
                    let body = self.checked(body);
                    pass.queue.push_back(Emission { path: path.clone(), attempt: None, body });
                }
            }
        }
    }

    /// Why a variable cannot be set by code of this step, if it cannot.
    fn refuse_variable(&self, path: &StepPath, attempt: Option<u32>, key: &str) -> Option<Fault> {
        if !self.machine.admits(path, attempt) {
            return Some(Fault::cancelled());
        }
        self.context.variables.refuse(key)
    }
}
