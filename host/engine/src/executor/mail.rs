//! Messages between agents on their way through the loop: posted, delivered or dropped, each with an event.
//!
//! It must not know what agents do with them.

use super::run::{Pass, Run};
use super::{DroppedMessage, Wake};
use crate::mailbox::Fetch;
use cofferdam_core::event::{Body, DropReason, Dropped, MessageKind, Posted, RunEvent, RunStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::mail::{self, Letter};
use cofferdam_core::port::{Post, Receipt};
use cofferdam_core::run::{Emission, Unreachable};
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

/// How the reading of a try stands.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The agent has nothing more to do: nothing reaches it any more.
    closed: bool,
    /// Tells an agent that waits for something else.
    pub(super) mail_came: Arc<Notify>,
}

/// Who writes, and who waits for what becomes of it.
#[derive(Debug)]
pub(crate) struct Posting {
    pub(crate) post: Post,
    /// Takes what became of it.
    pub(crate) receipt: oneshot::Sender<Receipt>,
    /// Says when it is recorded.
    pub(crate) done: oneshot::Sender<Result<(), Fault>>,
}

impl Run {
    /// A message is written.
    pub(super) fn post(&mut self, path: StepPath, attempt: Option<u32>, posting: Posting, pass: &mut Pass) {
        let Posting { post, receipt, done } = posting;
        if !self.machine.admits(&path, attempt) {
            return drop(done.send(Err(Fault::cancelled())));
        }
        pass.waiting.push(done);
        let key = self.key_of(&path, &post.key);
        if let Some((id, dropped)) = self.mail.written(&path, &key) {
            let dropped = dropped.map(|reason| (reason, "it was written before".to_owned()));
            return drop(receipt.send(Receipt { id, dropped }));
        }
        let id = self.mail.next_id();
        let (to, refused) = match self.reader_of(&path, &post) {
            Ok(to) => (to, None),
            Err(Unreachable { reason, to, detail }) => (to, Some((reason, detail))),
        };
        let Post { kind, text, failed, .. } = post;
        let text: Arc<str> = text.into();
        let posted =
            Posted { id, key, to: to.clone(), message_kind: kind, text: Arc::clone(&text), failed, in_reply_to: None };
        pass.queue.push_back(Emission { path: path.clone(), attempt, body: Body::MessagePosted(posted) });
        match &refused {
            Some((reason, _)) => {
                let body = Body::MessageDropped(Dropped { id, from: path, to, reason: *reason, text });
                pass.queue.push_back(about_mail(body));
            }
            None if kind == MessageKind::Cancel => {
                let letter = Letter { id, from: path, to: to.clone(), kind, text };
                let attempt = self.machine.attempt_of(&to);
                pass.queue.push_back(Emission { path: to.clone(), attempt, body: letter.delivered(0) });
                self.settle(pass);
                let why = mail::called_off(&letter.text);
                if self.machine.is_resumed(&to) {
                    self.call_off_sequel(&to, why, pass);
                    return drop(receipt.send(Receipt { id, dropped: refused }));
                }
                super::run::sort_effects(self.machine.call_off(&to, &why), pass);
                // What has not begun is told by the machine itself.
                if attempt.is_some() {
                    self.called_off.insert(to, why);
                }
            }
            None => {
                self.attempts.get(&to).iter().for_each(|under_way| under_way.reading.mail_came.notify_one());
                if self.has_ended(&to) {
                    self.call(to);
                }
            }
        }
        drop(receipt.send(Receipt { id, dropped: refused }));
    }

    /// The key of a message. What a sub-agent came to, and nobody read since the run was stopped, is written once more when
    /// that goes on.
    fn key_of(&self, from: &StepPath, key: &Arc<str>) -> Arc<str> {
        let is_lost = |key: &Arc<str>| self.mail.written(from, key).is_some_and(|(_, dropped)| dropped.is_some());
        let again = (2_u32..).map(|time| format!("{key}/{time}").into());
        let mut keys = std::iter::once(Arc::clone(key)).chain(again);
        let lost = |key: &Arc<str>| from.is_delegate() && is_lost(key);
        keys.find(|key| !lost(key)).unwrap_or_else(|| Arc::clone(key))
    }

    /// Who reads a message: the coordinator writes to steps, and steps to it; a sub-agent to whoever called for it.
    fn reader_of(&self, from: &StepPath, post: &Post) -> Result<StepPath, Unreachable> {
        let refuse = |reason, to: &StepPath, detail: &str| {
            Err(Unreachable { reason, to: to.clone(), detail: detail.to_owned() })
        };
        if self.machine.is_stopped() {
            let to = post.to.as_deref().map_or_else(StepPath::coordinator, StepPath::from);
            return refuse(DropReason::RunCancelled, &to, "the run was stopped");
        }
        let to = match &post.to {
            Some(name) if from.is_coordinator() => self.machine.addressee(name)?,
            Some(name) if from.delegator().is_some_and(|above| above.as_str() == name) => StepPath::from(name.as_str()),
            Some(name) => {
                let to = StepPath::from(name.as_str());
                return refuse(DropReason::UnknownStep, &to, "only the coordinator writes to steps");
            }
            None => StepPath::coordinator(),
        };
        if to.is_coordinator() && !self.has_coordinator() {
            return refuse(DropReason::NoCoordinator, &to, "the run has no coordinator, or that has ended");
        }
        let ended = self.has_ended(&to);
        let closed = self.attempts.get(&to).is_some_and(|under_way| under_way.reading.closed);
        match post.kind {
            MessageKind::Cancel if ended && !self.machine.is_resumed(&to) => {
                return refuse(DropReason::TargetFinished, &to, "the step has ended");
            }
            MessageKind::Cancel => {}
            _ if ended || closed && self.machine.may_resume(&to) => self.refuse_sequel(&to)?,
            _ if closed => return refuse(DropReason::TargetFinished, &to, "its agent has nothing more to do"),
            _ => {}
        }
        if self.mail.count(&to) >= limits::MAILBOX_MESSAGES && post.kind != MessageKind::Cancel {
            return refuse(DropReason::MailboxFull, &to, "too many messages wait there");
        }
        Ok(to)
    }

    fn has_ended(&self, path: &StepPath) -> bool {
        self.machine.state_of(path).is_some_and(|state| state.status().is_some())
    }

    /// An agent wants what there is for it.
    pub(super) fn fetch(&mut self, path: &StepPath, attempt: u32, fetch: Fetch, pass: &mut Pass) {
        if path.is_coordinator() {
            return self.inform(fetch, pass);
        }
        let Fetch { turn, closing, letters, done } = fetch;
        if !self.machine.admits(path, Some(attempt)) {
            return drop(done.send(Err(Fault::cancelled())));
        }
        let beyond = closing.is_some_and(|wakes| wakes >= limits::WAKE_CYCLES);
        if beyond {
            self.drop_waiting(path, DropReason::MaxWakeCycles, pass);
            self.settle(pass);
        }
        let given = self.hand_over(path, attempt, turn, pass);
        match (closing, given.is_empty()) {
            (Some(_), true) => self.close_mailbox(path),
            (Some(wakes), false) if wakes + 1 == limits::WAKE_CYCLES * 4 / 5 => {
                let message = format!(
                    "the agent was woken {} times after its last turn; after {} it is not woken again",
                    wakes + 1,
                    limits::WAKE_CYCLES
                );
                let body = Body::Warning { code: "wake_cycles".to_owned(), message };
                pass.queue.push_back(Emission { path: path.clone(), attempt: Some(attempt), body });
            }
            _ => {}
        }
        pass.waiting.push(done);
        drop(letters.send(given));
    }

    fn close_mailbox(&mut self, path: &StepPath) {
        if let Some(under_way) = self.attempts.get_mut(path) {
            under_way.reading.closed = true;
        }
    }

    /// Delivers all that waits for an agent.
    pub(super) fn hand_over(&mut self, path: &StepPath, attempt: u32, turn: u32, pass: &mut Pass) -> Vec<Arc<str>> {
        let letters: Vec<Letter> = self.mail.waiting(path).cloned().collect();
        let deliver =
            |letter: &Letter| Emission { path: path.clone(), attempt: Some(attempt), body: letter.delivered(turn) };
        pass.queue.extend(letters.iter().map(deliver));
        letters.iter().map(|letter| mail::shown(&letter.from, letter.kind, &letter.text).into()).collect()
    }

    pub(super) fn drop_waiting(&mut self, path: &StepPath, reason: DropReason, pass: &mut Pass) {
        pass.queue.extend(self.mail.waiting(path).map(|letter| about_mail(letter.dropped(reason))));
    }

    /// What waits for a step that has ended reaches nobody, nor does what its sub-agents wrote in a try that has.
    pub(super) fn return_mail(&mut self, event: &RunEvent, pass: &mut Pass) {
        if matches!(event.body, Body::StepRetrying { .. }) {
            let letters = self.mail.within(&event.path);
            pass.queue.extend(letters.map(|letter| about_mail(letter.dropped(DropReason::TargetFinished))));
            return self.begins_anew(event);
        }
        if self.keeps_mail(event, pass) {
            return;
        }
        let ended =
            matches!(event.body, Body::StepFinished { .. } | Body::StepCancelled { .. } | Body::StepSkipped { .. });
        if ended {
            let reason = self.reason_of_end();
            self.drop_waiting(&event.path, reason, pass);
            let below = self.mail.within(&event.path).filter(|letter| letter.to != event.path);
            pass.queue.extend(below.map(|letter| about_mail(letter.dropped(reason))));
        }
    }

    /// Why a message for a step that has ended reaches nobody.
    pub(super) fn reason_of_end(&self) -> DropReason {
        if self.machine.is_stopped() { DropReason::RunCancelled } else { DropReason::TargetFinished }
    }

    /// What waits when the run ends reaches nobody; that is recorded before its end.
    pub(super) fn returned_before(&self, end: &Emission) -> Vec<Emission> {
        let Body::RunFinished { status, .. } = &end.body else { return Vec::new() };
        if *status == RunStatus::Waiting {
            // It is read when the run goes on.
            return Vec::new();
        }
        let reason = |letter: &Letter| match letter.to.is_coordinator() {
            _ if self.machine.is_stopped() => DropReason::RunCancelled,
            true => self.coordinator_left(),
            false => DropReason::TargetFinished,
        };
        self.mail.all().map(|letter| about_mail(letter.dropped(reason(letter)))).collect()
    }
}

impl Run {
    /// Tells whoever wants to know of each message that reached nobody, once that is recorded.
    pub(super) fn tell_of_drops(&mut self, events: &[Arc<RunEvent>]) {
        if !self.drops.is_wanted() {
            return;
        }
        for event in events {
            let Body::MessageDropped(Dropped { from, to, reason, text, .. }) = &event.body else { continue };
            let run_id = self.request.run_id.clone();
            let (from, to, message) = (from.clone(), to.clone(), Arc::clone(text));
            self.drops.tell(DroppedMessage { run_id, from, to, message, reason: *reason });
        }
    }
}

/// What becomes of a message is the run's affair, and no step's.
pub(super) fn about_mail(body: Body) -> Emission {
    Emission { path: StepPath::ROOT, attempt: None, body }
}

/// Where code inside the run hands its messages over.
pub(crate) fn posted(
    path: StepPath,
    attempt: Option<u32>,
    post: Post,
) -> (Wake, oneshot::Receiver<Receipt>, oneshot::Receiver<Result<(), Fault>>) {
    let ((receipt, given), (done, recorded)) = (oneshot::channel(), oneshot::channel());
    (Wake::Post { path, attempt, posting: Posting { post, receipt, done } }, given, recorded)
}
