//! Writes a run as a file.
//!
//! It must not hold more than some records, the names of blobs, and one blob.

use super::{Error, Header, VERSION, lines};
use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;
use cofferdam_core::event::Body;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{BlobId, Journal, JournalError, Record, RecordBody, RunFilter, RunRow};
use cofferdam_core::{limits, record};
use cofferdam_store::named_blobs;
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::io::{self, BufWriter, Write};

/// Writes what is recorded of a run by now. Of a run that is under way, that is its beginning.
///
/// # Errors
/// When there is no such run, it cannot be read or written, or it holds what this version of Cofferdam would lose.
pub async fn export<W: Write + Send>(journal: &dyn Journal, run: &RunId, writer: W) -> Result<Header, Error> {
    let row = row(journal, run).await?;
    let blobs = blobs_of(journal, &row).await?;
    let header = Header {
        cofferdam_export: VERSION,
        run_id: run.clone(),
        workflow: row.index.workflow.clone(),
        status: row.index.status.clone(),
        started_at: row.index.started_at,
        records: row.head,
        blobs: blobs.len() as u64,
    };
    let mut out = Summed { writer: BufWriter::new(writer), sum: Sha256::new() };
    let first = serde_json::to_string(&header).map_err(|error| Error::Write(error.into()))?;
    writeln!(out, "{first}").map_err(Error::Write)?;
    let mut after = 0;
    while after < row.head {
        for (position, record) in page(journal, &row, after).await? {
            after = position;
            let text = text_of(position, &record)?;
            writeln!(out, "{}", lines::of_record(run, position, &text)).map_err(Error::Write)?;
        }
    }
    for id in &blobs {
        let bytes = journal.get_blob(id).await?;
        write_blob(&mut out, id, &bytes).map_err(Error::Write)?;
    }
    out.close().map_err(Error::Write)?;
    Ok(header)
}

/// The row of a run in the listing: its head with the status that it had then.
async fn row(journal: &dyn Journal, run: &RunId) -> Result<RunRow, Error> {
    let mut filter = RunFilter::default();
    loop {
        let page = journal.list(filter.clone()).await?;
        if let Some(row) = page.rows.into_iter().find(|row| row.run_id == *run) {
            return Ok(row);
        }
        let Some(next) = page.next else { return Err(JournalError::NotFound(run.to_string()).into()) };
        filter.cursor = Some(next);
    }
}

/// Some records after a position, none behind the head of the row.
async fn page(journal: &dyn Journal, row: &RunRow, after: u64) -> Result<Vec<(u64, Record)>, Error> {
    let page = journal.read(&row.run_id, after, limits::ARCHIVE_RECORDS).await?;
    let records: Vec<_> = (page.first..=row.head).zip(page.records).collect();
    match records.is_empty() {
        false => Ok(records),
        true => Err(record::damaged(&row.run_id, after.saturating_add(1), "it is missing").into()),
    }
}

/// The text of a record, unless writing it would lose what a newer version of Cofferdam put there.
fn text_of(position: u64, record: &Record) -> Result<String, Error> {
    if matches!(&record.body, RecordBody::Event(event) if event.body == Body::Unknown) {
        return Err(Error::Unknown { position });
    }
    Ok(record::encode(record)?)
}

/// The blobs that the records of a run name, in the order in which they are named. Most digests are of no blob.
async fn blobs_of(journal: &dyn Journal, row: &RunRow) -> Result<Vec<BlobId>, Error> {
    let mut seen: HashSet<BlobId> = HashSet::new();
    let mut blobs = Vec::new();
    let mut after = 0;
    while after < row.head {
        for (position, record) in page(journal, row, after).await? {
            after = position;
            for id in named_blobs(&text_of(position, &record)?) {
                if !seen.insert(id.clone()) {
                    continue;
                }
                if seen.len() > limits::ARCHIVE_NAMES {
                    return Err(Error::TooManyBlobs { most: limits::ARCHIVE_NAMES });
                }
                match journal.get_blob(&id).await {
                    Ok(_) => blobs.push(id),
                    Err(JournalError::NotFound(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(blobs)
}

fn write_blob<W: Write>(out: &mut W, id: &BlobId, bytes: &[u8]) -> io::Result<()> {
    out.write_all(lines::blob_head(id).as_bytes())?;
    let mut encoder = EncoderWriter::new(&mut *out, &STANDARD);
    encoder.write_all(bytes)?;
    encoder.finish()?;
    drop(encoder);
    out.write_all(lines::BLOB_TAIL.as_bytes())?;
    out.write_all(b"\n")
}

/// A writer that sums what it writes.
struct Summed<W> {
    writer: W,
    sum: Sha256,
}

impl<W: Write> Summed<W> {
    fn close(mut self) -> io::Result<()> {
        let sum = lines::hex(&self.sum.finalize());
        writeln!(self.writer, "{}", lines::closing(&sum))?;
        self.writer.flush()
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.sum.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
