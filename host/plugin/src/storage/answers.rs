//! What a storage plugin answers, checked and turned into the port's form.
//!
//! What it cannot have meant honestly is a lie, a failure of the plugin; what may have happened to its disk is damage, an
//! answer like any other.

use crate::bindings::cofferdam::types::common::{ErrorKind, PluginError};
use crate::bindings::storage::exports::cofferdam::storage::storage::{
    CommitRequest, JournalRecord, LeaseState, Receipt, RecordPage, RunPage as GuestRuns, RunRow as GuestRow,
};
use crate::failure::{Failure, kind_name};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{BlobId, JournalError, Lease, Owner, Page, Record, RunIndex, RunPage, RunRow};
use cofferdam_core::record;
use cofferdam_core::text::clean;
use cofferdam_core::time::Timestamp;
use cofferdam_core::value;
use serde_json::Value;

/// What was asked, to say what an error is about.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    pub(super) function: &'static str,
    /// The run or the blob.
    pub(super) subject: &'a str,
    /// The head or the epoch that should be there.
    pub(super) expected: u64,
}

/// An answer that was judged.
pub(super) type Judged<T> = Result<Result<T, JournalError>, Failure>;

fn lie(what: impl Into<String>) -> Failure {
    Failure::Lie(what.into())
}

/// The plugin broke the contract.
pub(super) fn broken(what: &str) -> JournalError {
    JournalError::Unavailable(format!("the storage plugin broke the plugin contract: {what}"))
}

/// The error of a call, as the warm instance tells it.
pub(super) fn refused(asked: &Asked<'_>, fault: &Fault) -> JournalError {
    let detail = fault.detail.as_deref();
    let member = |name: &str| detail.and_then(|detail| detail.get(name));
    let text = |name: &str| member(name).and_then(Value::as_str);
    match text("kind") {
        Some(kind) => {
            told(asked, &Told { kind, code: text("code"), detail: member("detail"), message: &fault.message })
        }
        None => JournalError::Unavailable(fault.message.clone()),
    }
}

/// The error of one commit.
pub(super) fn own(asked: &Asked<'_>, error: &PluginError) -> JournalError {
    let detail = error.detail.as_deref().and_then(|text| value::parse(text).ok());
    let message = clean(&error.message);
    let code = error.code.as_deref();
    told(asked, &Told { kind: kind_name(error.kind), code, detail: detail.as_ref(), message: &message })
}

struct Told<'a> {
    kind: &'a str,
    code: Option<&'a str>,
    detail: Option<&'a Value>,
    message: &'a str,
}

fn told(asked: &Asked<'_>, told: &Told<'_>) -> JournalError {
    let &Told { kind, code, detail, message } = told;
    let number = |name: &str| detail.and_then(|detail| detail.get(name)?.as_u64());
    let is = |known: ErrorKind| kind == kind_name(known);
    if is(ErrorKind::NotFound) {
        return JournalError::NotFound(asked.subject.to_owned());
    }
    if is(ErrorKind::Conflict) {
        let holder = detail.and_then(|detail| detail.get("holder")).and_then(holder);
        return match (holder, number("found")) {
            (Some(lease), _) => JournalError::Held(Box::new(lease)),
            (None, Some(found)) => JournalError::Conflict { expected: asked.expected, found },
            (None, None) => broken("a conflict without the head that was found"),
        };
    }
    if is(ErrorKind::TooLarge) {
        return JournalError::TooLarge(message.to_owned());
    }
    if is(ErrorKind::InvalidInput) {
        return JournalError::Invalid(message.to_owned());
    }
    match (code, number("position"), number("found"), RunId::parse(asked.subject)) {
        (Some("damaged"), Some(position), _, Ok(run)) => {
            JournalError::Damaged { run, position, reason: message.to_owned() }
        }
        (Some("too-new"), _, Some(found), _) => JournalError::TooNew {
            found: u32::try_from(found).unwrap_or(u32::MAX),
            supported: number("supported").and_then(|known| u32::try_from(known).ok()).unwrap_or_default(),
        },
        _ => JournalError::Unavailable(message.to_owned()),
    }
}

fn holder(state: &Value) -> Option<Lease> {
    let owner = state.get("owner")?;
    let owner: Owner = match owner.as_str() {
        Some(text) => serde_json::from_str(text).ok()?,
        None => serde_json::from_value(owner.clone()).ok()?,
    };
    let until = timestamp(state.get("until")?.as_u64()?);
    Some(Lease { owner, epoch: state.get("epoch")?.as_u64()?, until })
}

fn timestamp(millis: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// The head that each commit left, which can be one only.
pub(super) fn heads(
    requests: &[CommitRequest],
    answers: Vec<Result<Receipt, PluginError>>,
) -> Result<Vec<Result<u64, JournalError>>, Failure> {
    if answers.len() != requests.len() {
        return Err(lie(format!("it gave {} answers to {} commits", answers.len(), requests.len())));
    }
    let head = |(request, answer): (&CommitRequest, Result<Receipt, PluginError>)| match answer {
        Err(error) => {
            let asked = Asked { function: "commit", subject: &request.run_id, expected: request.expected_head };
            Ok(Err(own(&asked, &error)))
        }
        Ok(receipt) => {
            let head = request.expected_head.saturating_add(request.records.len() as u64);
            if receipt.head == head {
                return Ok(Ok(head));
            }
            Err(lie(format!("the head after a commit is {head}, and it said {}", receipt.head)))
        }
    };
    requests.iter().zip(answers).map(head).collect()
}

/// A page of records: dense, within what was asked, each with the sum that it was written with.
pub(super) fn page(run: &RunId, (after, most): (u64, u32), page: RecordPage) -> Judged<Page> {
    let RecordPage { records, head } = page;
    if records.len() > most as usize {
        return Err(lie(format!("it gave {} records where at most {most} were asked", records.len())));
    }
    let first = after.saturating_add(1);
    let missing = records.is_empty() && most > 0 && after < head;
    let records = (first..=u64::MAX).zip(records).map(|(position, record)| read(run, position, &record));
    Ok(records.collect::<Result<Vec<Record>, _>>().and_then(|records| match missing {
        true => Err(record::damaged(run, first, "it is missing")),
        false => Ok(Page { first, records, head }),
    }))
}

fn read(run: &RunId, position: u64, found: &JournalRecord) -> Result<Record, JournalError> {
    if found.position != position {
        return Err(record::damaged(run, position, "another record stands in its place"));
    }
    let text = std::str::from_utf8(&found.body).ok().and_then(|text| text.split_once(' '));
    match text.and_then(|(sum, text)| Some((sum.parse().ok()?, text))) {
        Some((sum, text)) => record::decode_whole((run, position), (sum, text)),
        None => Err(record::damaged(run, position, "its text is not what was written")),
    }
}

/// A page of a listing.
pub(super) fn runs(most: usize, page: GuestRuns) -> Judged<RunPage> {
    if page.rows.len() > most {
        return Err(lie(format!("it listed {} runs where at most {most} were asked", page.rows.len())));
    }
    let row = |row: GuestRow| {
        Ok(RunRow {
            run_id: RunId::parse(&row.run_id).map_err(|error| lie(error.to_string()))?,
            head: row.head,
            updated_at: timestamp(row.updated_at),
            index: RunIndex {
                workflow: clean(&row.index.workflow),
                status: clean(&row.index.status),
                started_at: timestamp(row.index.started_at),
            },
        })
    };
    Ok(Ok(RunPage { rows: page.rows.into_iter().map(row).collect::<Result<_, Failure>>()?, next: page.next }))
}

/// A lease.
pub(super) fn lease(state: &LeaseState) -> Judged<Lease> {
    let owner = serde_json::from_str(&state.owner).map_err(|_| lie("the owner of a lease cannot be read"))?;
    Ok(Ok(Lease { owner, epoch: state.epoch, until: timestamp(state.until) }))
}

/// The bytes of a blob with one more piece, and whether it was the last.
pub(super) fn piece(mut bytes: Vec<u8>, piece: Vec<u8>, id: &BlobId) -> Judged<(Vec<u8>, bool)> {
    let asked_for = limits::STORAGE_BLOB_PIECE_BYTES as usize;
    if piece.len() > asked_for || bytes.len() > limits::BLOB_BYTES {
        return Err(lie("it gave more of a blob than there can be"));
    }
    let is_last = piece.len() < asked_for;
    bytes.extend(piece);
    if is_last && BlobId::of(&bytes) != *id {
        return Err(lie("the bytes of a blob are not those of its id"));
    }
    Ok(Ok((bytes, is_last)))
}
