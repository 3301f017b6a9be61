//! The copy of the mailboxes that an embedder keeps: told what happened, and compared when a run is taken up.

use super::run::Run;
use cofferdam_core::event::{Body, Delivered, Dropped, Posted, RunEvent};
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::mail::Letter;
use cofferdam_core::port::MailboxStore;
use futures_util::FutureExt as _;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// The store of a run, as long as it does what it must.
#[derive(Default)]
pub(super) struct KeptMail {
    store: Option<Arc<dyn MailboxStore>>,
    problems: Vec<String>,
}

impl KeptMail {
    pub(super) fn new(store: Option<Arc<dyn MailboxStore>>) -> Self {
        Self { store, problems: Vec::new() }
    }
}

impl Run {
    /// Tells the store what was written and read, once that is recorded.
    pub(super) async fn keep_mail(&mut self, events: &[Arc<RunEvent>]) {
        if self.kept_mail.store.is_none() {
            return;
        }
        for event in events {
            match &event.body {
                Body::MessagePosted(posted) => self.keep_letter(&letter_of(event, posted)).await,
                Body::MessageDelivered(Delivered { id, .. }) | Body::MessageDropped(Dropped { id, .. }) => {
                    self.mark_read(&[*id]).await;
                }
                _ => {}
            }
        }
    }

    /// Compares the store with what is recorded, says where they differ, and tells it what is so.
    pub(super) async fn compare_mail(&mut self) {
        let Some(store) = self.kept_mail.store.clone() else { return };
        let Some(unread) = self.within_bounds(store.unread()).await else { return };
        let recorded: BTreeSet<u64> = self.mail.all().map(|letter| letter.id).collect();
        let unread: BTreeSet<u64> = unread.into_iter().collect();
        if recorded == unread {
            return;
        }
        let named = |ids: Vec<&u64>| ids.into_iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let (missing, extra): (Vec<_>, Vec<_>) =
            (recorded.difference(&unread).collect(), unread.difference(&recorded).collect());
        let mut said = "the mailbox store differs from the record, which counts".to_owned();
        if !missing.is_empty() {
            said.push_str(&format!("; it lacks the messages {}", named(missing.clone())));
        }
        if !extra.is_empty() {
            said.push_str(&format!(
                "; it has {} as unread, which were read, dropped or never written",
                named(extra.clone())
            ));
        }
        self.kept_mail.problems.push(said);
        let letters: Vec<Letter> = self.mail.all().filter(|letter| missing.contains(&&letter.id)).cloned().collect();
        for letter in &letters {
            self.keep_letter(letter).await;
        }
        let extra: Vec<u64> = extra.into_iter().copied().collect();
        if !extra.is_empty() {
            self.mark_read(&extra).await;
        }
    }

    /// Closes the store, and gives what went wrong with it.
    pub(super) async fn close_mail(&mut self) -> Vec<String> {
        if let Some(store) = self.kept_mail.store.clone() {
            self.within_bounds(store.close()).await;
        }
        std::mem::take(&mut self.kept_mail.problems)
    }

    async fn keep_letter(&mut self, letter: &Letter) {
        if let Some(store) = self.kept_mail.store.clone() {
            self.within_bounds(store.append(letter)).await;
        }
    }

    async fn mark_read(&mut self, ids: &[u64]) {
        let Some(store) = self.kept_mail.store.clone() else { return };
        let Some(before) = self.within_bounds(store.mark_read(ids)).await else { return };
        if let Some(id) = before.first() {
            let said = format!("the mailbox store had message {id} as read, or did not have it, before it was read");
            self.kept_mail.problems.push(said);
        }
    }

    /// What a call of the store gives; one that fails, panics or takes too long is the last.
    async fn within_bounds<T>(&mut self, call: impl Future<Output = Result<T, Fault>>) -> Option<T> {
        let bound = Duration::from_millis(limits::MAILBOX_STORE_MS);
        let late = self.ports.clock.sleep(bound);
        let why = tokio::select! {
            biased;
            outcome = AssertUnwindSafe(call).catch_unwind() => match outcome {
                Ok(Ok(given)) => return Some(given),
                Ok(Err(fault)) => fault.to_string(),
                Err(_) => "it panicked".to_owned(),
            },
            () = late => format!("it did not answer within {bound:?}"),
        };
        self.kept_mail.store = None;
        self.kept_mail.problems.push(format!("the mailbox store failed, and the run went on without it: {why}"));
        None
    }
}

fn letter_of(event: &RunEvent, posted: &Posted) -> Letter {
    let Posted { id, to, message_kind, text, .. } = posted;
    Letter { id: *id, from: event.path.clone(), to: to.clone(), kind: *message_kind, text: Arc::clone(text) }
}
