//! Digests in the journal: notes among the events, each of which stands for the stretch since the one before it, so that a
//! resume reads few records.
//!
//! A stretch whose digest would be large has a note without words: its events are read. Positions are those of records.

use super::run::Run;
use cofferdam_core::event::RunEvent;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{Journal, JournalError, Page, Record, RecordBody};
use cofferdam_core::run::digest;
use cofferdam_core::value::Map;
use serde_json::json;
use std::sync::Arc;

/// The kind of the notes.
const KIND: &str = "digest";

/// What was recorded since the last digest.
#[derive(Default)]
pub(super) struct Stretch {
    events: Vec<Arc<RunEvent>>,
    /// The position of the last digest; 0 = none.
    before: u64,
}

/// A digest that was read.
struct Digest {
    at: u64,
    /// The position of the one before it; 0 = none.
    before: u64,
    /// The last event that it stands for.
    seq: u64,
    /// None: the events must be read.
    words: Option<String>,
}

impl Digest {
    fn read(record: &Record, at: u64) -> Option<Self> {
        let RecordBody::Note { kind, data } = &record.body else { return None };
        let number = |key: &str| data.get(key).and_then(serde_json::Value::as_u64);
        let words = data.get("words").and_then(|words| words.as_str()).map(str::to_owned);
        (kind == KIND).then_some(Self { at, before: number("before")?, seq: number("seq")?, words })
    }
}

impl Run {
    /// The digest of the stretch, once that is long; it stands before the records that follow.
    pub(super) fn digest(&mut self) -> Option<Record> {
        if self.stretch.events.len() < limits::DIGEST_EVENTS || self.needs_every_event() {
            return None;
        }
        let events = std::mem::take(&mut self.stretch.events);
        let mut data = Map::new();
        data.insert("before".to_owned(), json!(self.stretch.before));
        data.insert("seq".to_owned(), json!(events.last().map_or(0, |event| event.seq)));
        if let Some(words) = digest(&events, limits::DIGEST_BYTES) {
            data.insert("words".to_owned(), words.into());
        }
        self.stretch.before = self.head + 1;
        Some(Record { at: self.ports.clock.now(), body: RecordBody::Note { kind: KIND.to_owned(), data } })
    }

    /// What must not be shown is learnt from every event, a coordinator hears of each, retrieval memory gets what it lacks, and
    /// messages are a fold of all that tells of them.
    fn needs_every_event(&self) -> bool {
        self.mail.is_used() || self.sensitive.is_some() || self.prepared.coordinator.is_some() || self.remembers()
    }

    /// Counts what was recorded to the stretch. The first event of the run, which has its whole document, is in none.
    pub(super) fn stretch(&mut self, events: &[Arc<RunEvent>]) {
        if self.needs_every_event() {
            return;
        }
        let counted = events.iter().filter(|event| !event.body.is_transient() && event.seq > 1);
        self.stretch.events.extend(counted.cloned());
    }

    /// Folds what is recorded: the first event, digests, and the events since the last of these.
    pub(super) async fn recall(&mut self) -> Result<(), JournalError> {
        let (journal, run) = (Arc::clone(&self.ports.journal), self.request.run_id.clone());
        let first = journal.read(&run, 0, 1).await?;
        self.take_in_records(&first.records);
        self.head = first.head;
        let tail = self.tail(&*journal, &run).await?;
        match tail {
            Some((page, last)) => {
                let behind = last.at;
                self.take_in_digests(&*journal, &run, last).await?;
                let place = usize::try_from(behind + 1 - page.first).unwrap_or(usize::MAX);
                self.take_in_records(page.records.get(place..).unwrap_or_default());
            }
            None => self.take_in_events(&*journal, &run, (1, first.head)).await?,
        }
        self.request.settings.budget = self.request.settings.budget.or(self.machine.given_budget());
        self.machine.limit(self.request.settings.budget_of(&self.request.workflow));
        self.recorded = self.seq;
        self.started_at = self.machine.began_at();
        for (key, value) in self.machine.vars().iter() {
            self.context.variables.set(key, Some(value));
        }
        Ok(())
    }

    /// The end of a long journal, and the last digest in it.
    async fn tail(&self, journal: &dyn Journal, run: &RunId) -> Result<Option<(Page, Digest)>, JournalError> {
        let before = self.head.saturating_sub(limits::DIGEST_TAIL as u64);
        if before == 0 || self.needs_every_event() {
            return Ok(None);
        }
        let page = journal.read(run, before, limits::DIGEST_TAIL).await?;
        let digests = (page.first..).zip(&page.records).filter_map(|(at, record)| Digest::read(record, at));
        let last = digests.last();
        Ok(last.map(|last| (page, last)))
    }

    async fn take_in_digests(&mut self, journal: &dyn Journal, run: &RunId, last: Digest) -> Result<(), JournalError> {
        let mut digests = vec![last];
        while let Some(before) = digests.last().map(|digest| digest.before).filter(|before| *before > 0) {
            let page = journal.read(run, before - 1, 1).await?;
            let digest = page.records.first().and_then(|record| Digest::read(record, before));
            // They lead back, so that this ends.
            digests.push(digest.filter(|digest| digest.before < before).ok_or_else(|| damaged(run, before))?);
        }
        for digest in digests.iter().rev() {
            match &digest.words {
                Some(words) => {
                    let (past, mail) = (&mut self.past, &mut self.mail);
                    let folded = self.machine.fold_digest(run, words, |event| {
                        past.note(event);
                        mail.note(event);
                    });
                    folded.map_err(|_| damaged(run, digest.at))?;
                }
                None => self.take_in_events(journal, run, (digest.before.max(1), digest.at)).await?,
            }
            self.seq = digest.seq;
            self.stretch.before = digest.at;
            self.stretch.events.clear();
        }
        Ok(())
    }

    /// The events behind one position, up to another.
    async fn take_in_events(
        &mut self,
        journal: &dyn Journal,
        run: &RunId,
        (mut after, to): (u64, u64),
    ) -> Result<(), JournalError> {
        while after < to {
            let most = usize::try_from(to - after).unwrap_or(usize::MAX).min(limits::JOURNAL_PAGE_RECORDS);
            let page = journal.read(run, after, most).await?;
            if page.records.is_empty() {
                return Err(damaged(run, after + 1));
            }
            after += page.records.len() as u64;
            self.take_in_records(&page.records);
        }
        Ok(())
    }

    fn take_in_records(&mut self, records: &[Record]) {
        for record in records {
            let RecordBody::Event(event) = &record.body else { continue };
            self.machine.fold(event);
            self.past.note(event);
            self.mail.note(event);
            self.note_for_coordinator(event);
            self.note_for_sequels(event);
            if let Some(sensitive) = &mut self.sensitive {
                sensitive.note(event);
            }
            self.note_for_memory(std::slice::from_ref(event));
            self.seq = event.seq;
            self.stretch(std::slice::from_ref(event));
        }
    }
}

fn damaged(run: &RunId, position: u64) -> JournalError {
    JournalError::Damaged { run: run.clone(), position, reason: "it is not the digest that belongs here".to_owned() }
}
