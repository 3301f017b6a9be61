//! Messages for steps that have completed: the agent's conversation goes on, and what it answers goes back to the coordinator.
//!
//! It is the try that completed, held again from its record and taken further. What the step gave, and what has read that, stays
//! what it is. It must not know what is said.

use super::mail::about_mail;
use super::news::shortened;
use super::run::{Pass, Run, sort_effects};
use cofferdam_core::event::{Body, DropReason, Dropped, MessageKind, Posted, RunEvent, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::port::{AgentFailure, AgentOutput, PastTry};
use cofferdam_core::run::{Emission, NodeState, Unreachable};
use std::collections::HashMap;
use std::sync::Arc;

/// What is kept for conversations that may go on, and for whom one does.
#[derive(Default)]
pub(super) struct Sequels {
    tries: HashMap<StepPath, Kept>,
    /// Steps whose agents may have something to read or to answer.
    called: Vec<StepPath>,
    /// Steps that hold others, which begin anew.
    anew: Vec<StepPath>,
}

/// The last try of a step.
pub(super) struct Kept {
    pub(super) attempt: u32,
    pub(super) past: Arc<PastTry>,
    /// What earlier tries had read.
    pub(super) earlier: Vec<Arc<str>>,
}

impl Run {
    /// Keeps what a conversation that may go on came to.
    pub(super) fn note_for_sequels(&mut self, event: &RunEvent) {
        let (path, body) = (event.path.step(), &event.body);
        if body.is_transient() || self.prepared.coordinator.is_none() {
            return;
        }
        let tries = &mut self.sequels.tries;
        match (event.attempt, body) {
            (None, Body::StepRetrying { .. }) => tries.retain(|inner, _| !path.holds(inner)),
            (Some(attempt), Body::StepStarted { .. }) if self.machine.may_resume(&path) => {
                if tries.get(&path).is_none_or(|kept| kept.attempt != attempt) {
                    let earlier = self.mail.read_before(&path, attempt);
                    tries.insert(path, Kept { attempt, past: Arc::default(), earlier });
                }
            }
            (attempt, body) => {
                let own = |kept: &&mut Kept| attempt == Some(kept.attempt);
                let Some(kept) = tries.get_mut(&path).filter(own) else { return };
                let past = Arc::make_mut(&mut kept.past);
                if event.path.is_delegate() { past.note_delegate(&event.path, body) } else { past.note(body) }
            }
        }
    }

    /// Why the agent of a completed step, or of one that is about to end, does not read a message any more, if so.
    pub(super) fn refuse_sequel(&self, path: &StepPath) -> Result<(), Unreachable> {
        let refuse = |reason, detail: String| Err(Unreachable { reason, to: path.clone(), detail });
        let agent = self.machine.step_at(path).and_then(|step| self.prepared.agent(step));
        let turns = agent.filter(|_| self.ports.starter.is_none()).and_then(|offered| offered.agent.resumes());
        let (Some(turns), Some(kept), true) = (turns, self.sequels.tries.get(path), self.machine.may_resume(path))
        else {
            return refuse(DropReason::TargetFinished, format!("step `{path}` has ended"));
        };
        if kept.past.wakes() >= limits::WAKE_CYCLES {
            let times = limits::WAKE_CYCLES;
            return refuse(DropReason::MaxWakeCycles, format!("the agent of `{path}` was woken {times} times"));
        }
        if kept.past.turns_taken() >= turns {
            return refuse(DropReason::TargetFinished, format!("the agent of `{path}` has no turns left"));
        }
        Ok(())
    }

    /// Whether a message of the coordinator waits for an agent.
    fn has_letters(&self, path: &StepPath) -> bool {
        self.mail.waiting(path).any(|letter| !letter.from.is_delegate())
    }

    /// A message waits for a step; one that has completed takes it up.
    pub(super) fn call(&mut self, path: StepPath) {
        self.sequels.called.push(path);
    }

    /// What is unread or unanswered where a step has completed is taken up with the coordinator.
    pub(super) fn call_all(&mut self) {
        let completed = |path: &StepPath| {
            self.machine.state_of(path) == Some(NodeState::Done(StepStatus::Completed)) && self.has_letters(path)
        };
        let mut paths: Vec<StepPath> = self.mail.all().map(|letter| letter.to.clone()).filter(completed).collect();
        paths.extend(self.machine.all_unanswered());
        self.sequels.called.extend(paths);
    }

    /// Has those go on who were called, and ends those whose steps are no more.
    pub(super) fn resume_called(&mut self, pass: &mut Pass) {
        for holder in std::mem::take(&mut self.sequels.anew) {
            self.end_sequels_in(&holder, pass);
        }
        for path in std::mem::take(&mut self.sequels.called) {
            let wanted = self.has_letters(&path) || self.machine.unanswered(&path).is_some();
            if wanted && self.has_coordinator() && !self.machine.is_resumed(&path) {
                sort_effects(self.machine.resume(&path), pass);
            }
        }
        self.settle(pass);
    }

    /// A step that holds others is tried again as a whole.
    pub(super) fn begins_anew(&mut self, event: &RunEvent) {
        if event.attempt.is_none() && self.machine.has_resumed() {
            self.sequels.anew.push(event.path.clone());
        }
    }

    /// Keeps what waits for a step that has completed, if its agent reads on.
    pub(super) fn keeps_mail(&mut self, event: &RunEvent, pass: &mut Pass) -> bool {
        let completed = matches!(event.body, Body::StepFinished { status: StepStatus::Completed, .. });
        if !completed || !self.has_letters(&event.path) || self.refuse_sequel(&event.path).is_err() {
            return false;
        }
        self.drop_own(&event.path, pass);
        self.call(event.path.clone());
        true
    }

    /// What sub-agents wrote to an agent that is done, and nobody reads.
    fn drop_own(&self, path: &StepPath, pass: &mut Pass) {
        let own = self.mail.within(path).map(|letter| about_mail(letter.dropped(DropReason::TargetFinished)));
        pass.queue.extend(own);
    }

    /// What a conversation behind the end of a step came to: the answer, if something was read.
    pub(super) fn take_reply(
        &mut self,
        (path, attempt): (&StepPath, u32),
        outcome: &Result<AgentOutput, AgentFailure>,
        pass: &mut Pass,
    ) {
        let read = self.machine.unanswered(path);
        // What a stop cuts short goes on with the run.
        if let (Some(id), true) = (read, self.has_coordinator() && !self.machine.is_stopped()) {
            self.reply((path, attempt), id, reply_of(outcome), pass);
        }
        self.drop_own(path, pass);
        self.settle(pass);
        match read {
            Some(_) => self.call(path.clone()),
            // It would not read it the next time either.
            None => self.drop_waiting(path, self.reason_of_end(), pass),
        }
        self.settle(pass);
        sort_effects(self.machine.let_go(path), pass);
    }

    fn reply(&self, (path, attempt): (&StepPath, u32), answers: u64, said: (Arc<str>, bool), pass: &mut Pass) {
        let (id, to, (text, failed)) = (self.mail.next_id(), StepPath::coordinator(), said);
        let key = format!("{}/{path}/{attempt}/reply/{answers}", self.request.run_id).into();
        let posted = Posted {
            id,
            key,
            to: to.clone(),
            message_kind: MessageKind::Info,
            text: Arc::clone(&text),
            failed,
            in_reply_to: Some(answers),
        };
        let body = Body::MessagePosted(posted);
        pass.queue.push_back(Emission { path: path.clone(), attempt: Some(attempt), body });
        if self.mail.count(&to) >= limits::MAILBOX_MESSAGES {
            let dropped = Dropped { id, from: path.clone(), to, reason: DropReason::MailboxFull, text };
            pass.queue.push_back(about_mail(Body::MessageDropped(dropped)));
        }
    }

    /// Ends all of them: nobody is there any more whom they could answer.
    pub(super) fn end_sequels(&mut self, reason: DropReason, pass: &mut Pass) {
        for path in self.machine.resumed() {
            self.abandon(&path);
            self.drop_waiting(&path, reason, pass);
            self.settle(pass);
            sort_effects(self.machine.let_go(&path), pass);
        }
    }

    /// The steps inside of one that begins anew are no more, and what their agents were about is not answered otherwise.
    fn end_sequels_in(&mut self, holder: &StepPath, pass: &mut Pass) {
        let inside = |path: &StepPath| path != holder && holder.holds(path);
        for path in self.machine.resumed().into_iter().filter(inside) {
            self.abandon(&path);
            let attempt = self.machine.last_attempt(&path);
            let why = format!("step `{holder}` begins anew, and `{path}` with it");
            self.drop_waiting(&path, DropReason::TargetFinished, pass);
            self.settle(pass);
            self.take_reply((&path, attempt), &Err(Fault::step("begins_anew", why).into()), pass);
        }
    }

    /// The coordinator stops what an agent does behind the end of its step.
    pub(super) fn call_off_sequel(&mut self, path: &StepPath, why: String, pass: &mut Pass) {
        self.abandon(path);
        let attempt = self.machine.last_attempt(path);
        self.drop_waiting(path, DropReason::TargetFinished, pass);
        self.settle(pass);
        self.take_reply((path, attempt), &Err(Fault::step("called_off", why).into()), pass);
    }

    /// What is kept of the try whose conversation goes on.
    pub(super) fn kept_of(&self, path: &StepPath, attempt: u32) -> Option<(Arc<PastTry>, Vec<Arc<str>>)> {
        let kept = self.sequels.tries.get(path).filter(|kept| kept.attempt == attempt)?;
        Some((Arc::clone(&kept.past), kept.earlier.clone()))
    }
}

/// What goes back to whoever wrote, and whether it tells of a failure.
pub(crate) fn reply_of(outcome: &Result<AgentOutput, AgentFailure>) -> (Arc<str>, bool) {
    let (text, failed) = match outcome {
        Ok(AgentOutput { output, .. }) if output.content.trim().is_empty() => {
            ("(no answer in words)".to_owned(), false)
        }
        Ok(AgentOutput { output, .. }) if output.truncated => {
            (format!("{}\n[cut off before it was done]", output.content), false)
        }
        Ok(AgentOutput { output, .. }) => (output.content.to_string(), false),
        Err(AgentFailure { fault, .. }) => (format!("there is no answer: {fault}"), true),
    };
    (shortened(&text, limits::MESSAGE_TEXT_BYTES).into(), failed)
}
