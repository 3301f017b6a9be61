//! An append as the commits that a storage plugin takes: each within its bound, in order.
//!
//! It must not call the plugin.

use super::millis;
use crate::bindings::storage::exports::cofferdam::storage::storage::{
    CommitRequest, JournalRecord, RunIndex as GuestIndex,
};
use cofferdam_core::id::RunId;
use cofferdam_core::port::{Append, JournalError, Record, RecordBody, RunIndex};
use cofferdam_core::record;

/// The commits of an append, at least one. The id of each is new for each append and the same for each try of it.
///
/// # Errors
/// When a record alone is more than `most` bytes, or cannot be written.
pub(super) fn commits_of(append: Append, most: u64) -> Result<Vec<CommitRequest>, JournalError> {
    let Append { run, expected_head, records, index, .. } = append;
    let positions = expected_head.saturating_add(1)..;
    let records = positions.zip(&records).map(|(position, record)| record_of(&run, position, record));
    let parts = parts(records.collect::<Result<Vec<_>, _>>()?, most)?;
    let (count, mut head) = (parts.len(), expected_head);
    let index = index.map(|RunIndex { workflow, status, started_at }| GuestIndex {
        workflow,
        status,
        started_at: millis(started_at),
    });
    let commit = |(number, records): (usize, Vec<JournalRecord>)| {
        let commit_id = uuid::Uuid::now_v7().to_string();
        // A run begins with its row; the row at the end says how it stands when all is recorded.
        let index = index.clone().filter(|_| head == 0 || number + 1 == count);
        let commit = CommitRequest { commit_id, run_id: run.to_string(), expected_head: head, records, index };
        head += commit.records.len() as u64;
        commit
    };
    Ok(parts.into_iter().enumerate().map(commit).collect())
}

/// Records in runs of at most so many bytes.
fn parts(records: Vec<JournalRecord>, most: u64) -> Result<Vec<Vec<JournalRecord>>, JournalError> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
    for record in records {
        let own = record.body.len() as u64;
        if own > most {
            let kind = &record.kind;
            let message =
                format!("the record of `{kind}` has {own} bytes, and the storage plugin takes {most} at once");
            return Err(JournalError::TooLarge(message));
        }
        if bytes + own > most {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += own;
        part.push(record);
    }
    parts.push(part);
    Ok(parts)
}

fn record_of(run: &RunId, position: u64, record: &Record) -> Result<JournalRecord, JournalError> {
    let kind = match (record.kept_event(), &record.body) {
        (Some(event), _) if event.run_id != *run => {
            return Err(JournalError::Invalid(format!("an event of run `{}` in run `{run}`", event.run_id)));
        }
        (Some(event), _) if event.body.is_transient() => {
            return Err(JournalError::Invalid(format!("`{}` is transient and not recorded", event.body.kind())));
        }
        (Some(event), _) => event.body.kind().to_owned(),
        (None, RecordBody::Note { kind, .. }) => format!("note:{kind}"),
        (None, _) => String::new(),
    };
    let text = record::encode(record)?;
    let sum = record::sum_of(run, position, &text);
    let body = format!("{sum} {text}").into_bytes();
    Ok(JournalRecord { position, at: millis(record.at), kind, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::port::Durability;
    use cofferdam_core::time::Timestamp;
    use cofferdam_core::value::Map;

    fn append(head: u64, sizes: &[usize]) -> Append {
        let record = |size: &usize| {
            let mut data = Map::new();
            data.insert("x".to_owned(), "y".repeat(*size).into());
            Record { at: Timestamp::from_millis(1), body: RecordBody::Note { kind: "n".into(), data } }
        };
        let index = RunIndex { workflow: "w".into(), status: "running".into(), started_at: Timestamp::from_millis(1) };
        Append {
            run: RunId::parse("r").unwrap(),
            expected_head: head,
            records: sizes.iter().map(record).collect(),
            index: Some(index),
            durability: Durability::Durable,
        }
    }

    #[test]
    fn an_append_goes_in_commits_that_fit() {
        let shape = |head, sizes: &[usize]| -> Vec<(u64, usize, bool)> {
            let commits = commits_of(append(head, sizes), 1_000).unwrap();
            commits.iter().map(|commit| (commit.expected_head, commit.records.len(), commit.index.is_some())).collect()
        };
        assert_eq!(shape(0, &[10, 10]), [(0, 2, true)]);
        assert_eq!(shape(0, &[600, 600, 10, 800]), [(0, 1, true), (1, 2, false), (3, 1, true)]);
        assert_eq!(shape(7, &[800, 800]), [(7, 1, false), (8, 1, true)]);
        assert_eq!(shape(7, &[]), [(7, 0, true)]);
        let error = commits_of(append(0, &[10, 1_000]), 1_000).unwrap_err();
        assert!(matches!(&error, JournalError::TooLarge(why) if why.contains("`note:n`")), "{error}");
    }
}
