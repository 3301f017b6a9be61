//! Reads a run from a file into a store: all of it is checked before the first record is appended.
//!
//! It must not hold more than some records, the names of blobs, and one blob.

use super::lines::{Lines, Mark};
use super::{Error, Header};
use cofferdam_core::event::Body;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{Append, BlobId, Durability, Journal, JournalError, Record, RunFilter, RunIndex};
use cofferdam_core::{limits, record};
use cofferdam_store::named_blobs;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{BufRead, Seek};

/// How an import ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// The run is there now.
    New(Header),
    /// The very same run was there before.
    AlreadyThere(Header),
}

/// Reads a run back under the id that it had. A run that is there already is no error when it is the same.
///
/// # Errors
/// When the file was cut, changed or written by a newer version, another run of this id is there, or the store fails.
/// Nothing is imported then.
pub async fn import<R: BufRead + Seek + Send>(journal: &dyn Journal, reader: R) -> Result<Imported, Error> {
    let mut lines = Lines::new(reader)?;
    let header = lines.header()?;
    if header.run_id.is_reserved() {
        let taken = "the conversation that coordinators share has that name";
        return Err(lines.refuse(&format!("no run is called `{}`: {taken}", header.run_id)));
    }
    let records = lines.mark();
    remove_half(journal, &header).await?;
    let (found, blobs) = check(journal, &header, &mut lines).await?;
    if found == Found::Same {
        return Ok(Imported::AlreadyThere(header));
    }
    lines.go_to(records)?;
    let mut restoring = Restoring { journal, header: &header, blobs, head: 0, is_begun: false };
    match restoring.restore(&mut lines).await {
        Ok(()) => Ok(Imported::New(header)),
        Err(error) => Err(restoring.undo(error).await),
    }
}

/// What an import left behind that was killed is no run.
async fn remove_half(journal: &dyn Journal, header: &Header) -> Result<(), Error> {
    if half_copied(journal, &header.run_id).await? {
        journal.delete(&header.run_id).await?;
    }
    Ok(())
}

/// Whether somebody copies the run, or was killed while it did.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn half_copied(journal: &dyn Journal, run: &RunId) -> Result<bool, JournalError> {
    let mut filter = RunFilter { statuses: vec![RunIndex::COPYING.to_owned()], ..RunFilter::default() };
    loop {
        let page = journal.list(filter.clone()).await?;
        if page.rows.iter().any(|row| row.run_id == *run) {
            return Ok(true);
        }
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => return Ok(false),
        }
    }
}

/// What the store has of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Same,
}

/// Checks every line, and gives where the blobs stand.
async fn check<R: BufRead + Seek + Send>(
    journal: &dyn Journal,
    header: &Header,
    lines: &mut Lines<R>,
) -> Result<(Found, HashMap<BlobId, Mark>), Error> {
    let mut there = There::find(journal, header).await?;
    let mut named: HashSet<BlobId> = HashSet::new();
    for position in 1..=header.records {
        let (record, text) = lines.record(header, position)?;
        let begins = matches!(record.kept_event().map(|event| &event.body), Some(Body::RunStarted { .. }));
        let text =
            if position > 1 || begins { text } else { return Err(lines.refuse("no run begins with this record")) };
        named.extend(named_blobs(text));
        if named.len() > limits::ARCHIVE_NAMES {
            return Err(Error::TooManyBlobs { most: limits::ARCHIVE_NAMES });
        }
        if let Some(there) = &mut there
            && there.next(journal, header).await?.as_deref() != Some(text)
        {
            return Err(Error::Exists(header.run_id.clone()));
        }
    }
    let mut blobs = HashMap::new();
    for _ in 0..header.blobs {
        let mark = lines.mark();
        let (id, _) = lines.blob()?;
        // A blob that no record names would stay in the store for ever.
        if !named.contains(&id) {
            return Err(lines.refuse("no record names this blob"));
        }
        if blobs.insert(id, mark).is_some() {
            return Err(lines.refuse("this blob stood before already"));
        }
    }
    lines.close()?;
    Ok((if there.is_some() { Found::Same } else { Found::Nothing }, blobs))
}

/// A run of the same id that is there, read along with the file.
struct There {
    after: u64,
    page: VecDeque<Record>,
}

impl There {
    async fn find(journal: &dyn Journal, header: &Header) -> Result<Option<Self>, Error> {
        match journal.read(&header.run_id, 0, 1).await {
            Ok(page) if page.head == header.records => Ok(Some(Self { after: 0, page: VecDeque::new() })),
            Ok(_) => Err(Error::Exists(header.run_id.clone())),
            Err(JournalError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The text of the next record.
    async fn next(&mut self, journal: &dyn Journal, header: &Header) -> Result<Option<String>, Error> {
        if self.page.is_empty() {
            let page = journal.read(&header.run_id, self.after, limits::ARCHIVE_RECORDS).await?;
            self.after += page.records.len() as u64;
            self.page = page.records.into();
        }
        Ok(self.page.pop_front().map(|record| record::encode(&record)).transpose()?)
    }
}

/// A run on its way into the store.
struct Restoring<'a> {
    journal: &'a dyn Journal,
    header: &'a Header,
    /// Blobs that are still to be stored.
    blobs: HashMap<BlobId, Mark>,
    head: u64,
    /// Whether the store may have something of the run.
    is_begun: bool,
}

impl Restoring<'_> {
    async fn restore<R: BufRead + Seek + Send>(&mut self, lines: &mut Lines<R>) -> Result<(), Error> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for position in 1..=self.header.records {
            let (record, text) = lines.record(self.header, position)?;
            bytes += text.len();
            let named = named_blobs(text);
            batch.push(record);
            // Just before the record that names it, so that no blob is left behind when a later append fails.
            for mark in named.iter().filter_map(|id| self.blobs.remove(id)).collect::<Vec<_>>() {
                self.put_blob(lines, mark).await?;
            }
            let is_last = position == self.header.records;
            if is_last || batch.len() >= limits::ARCHIVE_RECORDS || bytes >= limits::ARCHIVE_APPEND_BYTES {
                self.append(std::mem::take(&mut batch), is_last).await?;
                bytes = 0;
            }
        }
        Ok(())
    }

    async fn put_blob<R: BufRead + Seek + Send>(&self, lines: &mut Lines<R>, mark: Mark) -> Result<(), Error> {
        let next = lines.mark();
        lines.go_to(mark)?;
        let (id, bytes) = lines.blob()?;
        lines.go_to(next)?;
        Ok(self.journal.put_blob(id, bytes.into()).await?)
    }

    /// Appends records. A listing shows the run as ended with its last one only: an import that is killed must not leave
    /// the beginning of a run that looks like the whole.
    async fn append(&mut self, records: Vec<Record>, is_last: bool) -> Result<(), Error> {
        let status = if is_last { &self.header.status } else { RunIndex::COPYING };
        let index = (is_last || self.head == 0).then(|| RunIndex {
            workflow: self.header.workflow.clone(),
            status: status.to_owned(),
            started_at: self.header.started_at,
        });
        let (run, expected_head) = (self.header.run_id.clone(), self.head);
        let request = Append { run, expected_head, records, index, durability: Durability::Durable };
        match self.journal.append(request).await {
            Ok(head) => {
                self.head = head;
                self.is_begun = true;
                Ok(())
            }
            // Somebody else made the run meanwhile: it is theirs.
            Err(JournalError::Conflict { .. }) if self.head == 0 => Err(Error::Exists(self.header.run_id.clone())),
            Err(error) => {
                // It may have happened.
                self.is_begun |= matches!(error, JournalError::Unavailable(_));
                Err(error.into())
            }
        }
    }

    /// Takes the run away again.
    async fn undo(self, cause: Error) -> Error {
        if !self.is_begun {
            return cause;
        }
        let run: RunId = self.header.run_id.clone();
        match self.journal.delete(&run).await {
            Ok(()) | Err(JournalError::NotFound(_)) => cause,
            Err(source) => Error::Left { run, cause: Box::new(cause), source },
        }
    }
}
