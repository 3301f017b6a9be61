//! What a sink missed of a run: read from the journal a page at a time, in its public form and only what it wants, as it
//! would have come live.
//!
//! It must not deliver anything.

use cofferdam_core::event::{RunEvent, Sensitive};
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{Journal, JournalError, Record, RecordBody, Want};
use std::sync::Arc;

/// Reads on where a sink is.
pub(super) struct Missed<'a> {
    journal: &'a dyn Journal,
    run: &'a RunId,
    want: Want,
    /// The last event that the sink has taken.
    taken: u64,
    position: u64,
    begun: bool,
    sensitive: Option<Sensitive>,
}

impl<'a> Missed<'a> {
    pub(super) fn new(journal: &'a dyn Journal, run: &'a RunId, want: Want, taken: u64) -> Self {
        Self { journal, run, want, taken, position: 0, begun: false, sensitive: None }
    }

    /// The next events; none at the end of what is recorded by now, or where no such run is.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Arc<RunEvent>>>, JournalError> {
        match self.read_on().await {
            Err(JournalError::NotFound(_)) => Ok(None),
            read => read,
        }
    }

    /// How many events are left, at most `most`.
    pub(super) async fn count(mut self, most: usize) -> Result<usize, JournalError> {
        let mut count = 0;
        while let Some(events) = self.next().await? {
            count += events.len();
            if count >= most {
                break;
            }
        }
        Ok(count.min(most))
    }

    async fn read_on(&mut self) -> Result<Option<Vec<Arc<RunEvent>>>, JournalError> {
        if !self.begun {
            self.skip_what_is_taken().await?;
            self.begun = true;
        }
        loop {
            let page = self.journal.read(self.run, self.position, limits::SINK_RECORDS).await?;
            if page.records.is_empty() {
                return Ok(None);
            }
            self.position += page.records.len() as u64;
            let events: Vec<_> = page.records.iter().filter_map(|record| self.shown(record)).collect();
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
    }

    /// An event stands at its `seq` or behind. What hides something depends on all that came before.
    async fn skip_what_is_taken(&mut self) -> Result<(), JournalError> {
        if self.taken == 0 {
            return Ok(());
        }
        let first = self.journal.read(self.run, 0, 1).await?;
        let hides = first.records.iter().any(|record| match &record.body {
            RecordBody::Event(event) => Sensitive::recorded(event).is_some(),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => true,
        });
        self.position = if hides { 0 } else { self.taken.min(first.head) };
        Ok(())
    }

    fn shown(&mut self, record: &Record) -> Option<Arc<RunEvent>> {
        let RecordBody::Event(event) = &record.body else { return None };
        if self.sensitive.is_none() {
            self.sensitive = Sensitive::recorded(event);
        }
        let shown = match &mut self.sensitive {
            None => Arc::clone(event),
            Some(sensitive) => Arc::new(sensitive.publish(event)?),
        };
        (event.seq > self.taken && self.want.takes(&event.body)).then_some(shown)
    }
}

/// The last event of a run, by its `seq`; 0 when there is none.
pub(super) async fn last_seq(journal: &dyn Journal, run: &RunId) -> Result<u64, JournalError> {
    let mut before = match journal.read(run, u64::MAX, 0).await {
        Ok(page) => page.head,
        Err(JournalError::NotFound(_)) => return Ok(0),
        Err(error) => return Err(error),
    };
    while before > 0 {
        let from = before.saturating_sub(limits::SINK_RECORDS as u64);
        let page = journal.read(run, from, limits::SINK_RECORDS).await?;
        let seq = page.records.iter().rev().find_map(|record| match &record.body {
            RecordBody::Event(event) => Some(event.seq),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        });
        if let Some(seq) = seq {
            return Ok(seq);
        }
        before = from;
    }
    Ok(0)
}
