//! The one conversation that the coordinators of several runs hold: what was said, in a journal of its own.
//!
//! Whoever speaks has the floor: all that was said stands before it, and nobody else speaks until it is done. It must not know what
//! is said, or why.

use crate::agent::size_of;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::message::Message;
use cofferdam_core::port::{
    Append, Clock, Durability, Journal, JournalError, Page, Record, RecordBody, Redactor, redact_message,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The kind of its records.
const SAID: &str = "said";

/// How often another process may be faster.
const TRIES: u32 = 64;

/// How many records of the end are read at first, and at a time.
const PAGE: usize = 1_000;

/// Stands where something older is left out.
const LEFT_OUT: &str = "[what was said before is left out]\n\n";

/// A conversation that coordinators of several runs hold together. It survives the process where the journal does.
pub struct SharedConversation {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    redactor: Arc<dyn Redactor>,
    id: RunId,
    known: Arc<Mutex<Known>>,
}

/// One message of a shared conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SharedMessage {
    /// The run in which it was said.
    pub run_id: RunId,
    /// The last turn of that run's coordinator before it had nothing more to do: the same for all that belongs together.
    pub turn: u32,
    /// What was said, and by whom.
    pub message: Message,
}

/// What is known of it: the end, within a bound.
#[derive(Default)]
struct Known {
    head: u64,
    said: VecDeque<SharedMessage>,
    bytes: usize,
    /// Something older is left out.
    is_cut: bool,
}

impl SharedConversation {
    /// The conversation that is kept in this journal; reads and writes nothing before somebody speaks. What the redactor knows is not
    /// kept.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, redactor: Arc<dyn Redactor>) -> Self {
        // No listing of runs shows it, since it has no row there.
        let id = RunId::parse(RunId::SHARED_COORDINATOR).expect("`shared-coordinator` follows the grammar");
        Self { journal, clock, redactor, id, known: Arc::default() }
    }

    /// Waits for its turn, and reads what others have said meanwhile.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn floor(self: &Arc<Self>) -> Result<Floor, Fault> {
        let mut known = Arc::clone(&self.known).lock_owned().await;
        self.catch_up(&mut known).await.map_err(|error| unreadable(&error))?;
        Ok(Floor { shared: Arc::clone(self), known })
    }

    /// The end of what was said, as the next speaker finds it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read(&self) -> Result<Vec<SharedMessage>, JournalError> {
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        Ok(known.said.iter().cloned().collect())
    }

    /// Deletes all that was said, once nobody speaks.
    ///
    /// # Errors
    /// When the journal fails. That there is nothing is no error.
    pub async fn forget(&self) -> Result<(), JournalError> {
        let mut known = self.known.lock().await;
        *known = Known::default();
        match self.journal.delete(&self.id).await {
            Err(JournalError::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// Reads what is new, of a conversation that is not known yet the end.
    async fn catch_up(&self, known: &mut Known) -> Result<(), JournalError> {
        loop {
            let Some(page) = self.page(known.head).await? else {
                *known = Known::default();
                return Ok(());
            };
            let skips = page.head.saturating_sub(PAGE as u64);
            if page.head < known.head {
                // It was forgotten, and another one has begun.
                *known = Known::default();
            } else if known.head == 0 && skips > 0 && known.said.is_empty() {
                *known = Known { head: skips, is_cut: true, ..Known::default() };
            } else {
                known.head += page.records.len() as u64;
                let (is_last, head) = (page.records.is_empty() || known.head >= page.head, page.head);
                for said in self.said(page)? {
                    known.take(said);
                }
                known.trim();
                if is_last {
                    known.head = head;
                    return Ok(());
                }
            }
        }
    }

    /// Whether all that belongs to a turn of a run was said here, however long ago.
    async fn has(&self, run: &RunId, turn: u32) -> Result<bool, JournalError> {
        let mut after = 0;
        while let Some(page) = self.page(after).await? {
            after += page.records.len() as u64;
            let is_last = page.records.is_empty() || after >= page.head;
            if self.said(page)?.iter().any(|said| said.run_id == *run && said.turn == turn) {
                return Ok(true);
            }
            if is_last {
                break;
            }
        }
        Ok(false)
    }

    async fn page(&self, after: u64) -> Result<Option<Page>, JournalError> {
        match self.journal.read(&self.id, after, PAGE).await {
            Ok(page) => Ok(Some(page)),
            Err(JournalError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the records of a page say. Those of kinds that a newer version may write are passed over.
    fn said(&self, page: Page) -> Result<Vec<SharedMessage>, JournalError> {
        let mut all = Vec::with_capacity(page.records.len());
        for (position, record) in (page.first..).zip(page.records) {
            let damaged = |reason: String| JournalError::Damaged { run: self.id.clone(), position, reason };
            match record.body {
                RecordBody::Note { kind, data } if kind == SAID => {
                    let said = serde_json::from_value(Value::Object(data));
                    all.push(said.map_err(|error| damaged(error.to_string()))?);
                }
                RecordBody::Note { .. } => {}
                RecordBody::Event(_) | RecordBody::Spilled(_) => {
                    return Err(damaged("it is the record of a run of that name".to_owned()));
                }
            }
        }
        Ok(all)
    }
}

/// The right to speak, until it is dropped.
pub(crate) struct Floor {
    shared: Arc<SharedConversation>,
    known: OwnedMutexGuard<Known>,
}

impl Floor {
    /// What was said before, as it stands in front of a model.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let mut messages: Vec<Message> = self.known.said.iter().map(|said| said.message.clone()).collect();
        if let (true, Some(Message::User { text, .. })) = (self.known.is_cut, messages.first_mut()) {
            *text = format!("{LEFT_OUT}{text}").into();
        }
        messages
    }

    /// Whether what a run said up to a turn is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn has(&self, run: &RunId, turn: u32) -> Result<bool, Fault> {
        if self.known.said.iter().any(|said| said.run_id == *run && said.turn == turn) {
            return Ok(true);
        }
        if !self.known.is_cut {
            return Ok(false);
        }
        self.shared.has(run, turn).await.map_err(|error| unreadable(&error))
    }

    /// Keeps what was said in a run up to a turn, all of it or nothing.
    ///
    /// # Errors
    /// When the journal does not take it.
    pub(crate) async fn say(&mut self, run: &RunId, turn: u32, messages: Vec<Message>) -> Result<(), Fault> {
        let records: Result<Vec<Record>, Fault> =
            messages.into_iter().map(|message| self.record(run, turn, message)).collect();
        let records = records?;
        if records.is_empty() {
            return Ok(());
        }
        let Self { shared, known } = self;
        for _ in 0..TRIES {
            let append = Append {
                run: shared.id.clone(),
                expected_head: known.head,
                records: records.clone(),
                index: None,
                durability: Durability::Durable,
            };
            match shared.journal.append(append).await {
                // What was appended is read back: it is known as it is kept.
                Ok(_) => return shared.catch_up(known).await.map_err(|error| unreadable(&error)),
                // Another process has spoken meanwhile.
                Err(JournalError::Conflict { .. }) => {
                    shared.catch_up(known).await.map_err(|error| unreadable(&error))?;
                }
                Err(error) => return Err(failed("written", &error)),
            }
        }
        Err(Fault::step("shared_conversation", "other processes write to the shared conversation without a pause"))
    }

    fn record(&self, run: &RunId, turn: u32, message: Message) -> Result<Record, Fault> {
        let mut message = match message {
            // Only who said it can read that, and only at once.
            Message::Assistant { text, tool_calls, .. } => Message::Assistant { text, tool_calls, opaque: Vec::new() },
            other => other,
        };
        redact_message(&*self.shared.redactor, &mut message);
        let said = SharedMessage { run_id: run.clone(), turn, message };
        match serde_json::to_value(&said) {
            Ok(Value::Object(data)) => {
                Ok(Record { at: self.shared.clock.now(), body: RecordBody::Note { kind: SAID.to_owned(), data } })
            }
            _ => Err(Fault::bug("a message that cannot be written as JSON")),
        }
    }
}

impl Known {
    fn take(&mut self, said: SharedMessage) {
        self.bytes += size_of(&said.message);
        self.said.push_back(said);
    }

    /// Lets the oldest go once it is too much, until half of the room is free: what remains begins with a message to the model, and
    /// stays the same for a while, as caches of providers like it.
    fn trim(&mut self) {
        let most = limits::SHARED_CONVERSATION_BYTES;
        let most = if self.bytes > most { most / 2 } else { most };
        while self.bytes > most || self.is_cut && self.said.front().is_some_and(|first| !is_to_model(first)) {
            let Some(oldest) = self.said.pop_front() else { return };
            self.bytes -= size_of(&oldest.message);
            self.is_cut = true;
        }
    }
}

fn is_to_model(said: &SharedMessage) -> bool {
    matches!(said.message, Message::User { .. })
}

fn unreadable(error: &JournalError) -> Fault {
    failed("read", error)
}

fn failed(what: &str, error: &JournalError) -> Fault {
    Fault::step("shared_conversation", format!("the shared conversation cannot be {what}: {error}"))
}
