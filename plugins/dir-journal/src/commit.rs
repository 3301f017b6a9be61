//! A commit as a file: its checksum, a line end, JSON.

use crate::sha256_hex;
use cofferdam_sdk::storage::{Commit, Record, RunIndex};
use cofferdam_sdk::{Error, Result};
use serde::{Deserialize, Serialize};

/// A commit that was read back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) records: Vec<KeptRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<KeptIndex>,
}

/// A record in a file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptRecord {
    pub(crate) position: u64,
    pub(crate) at: u64,
    kind: String,
    body: String,
}

/// The row of a listing in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptIndex {
    workflow: String,
    status: String,
    started_at: u64,
}

impl KeptRecord {
    pub(crate) fn into_record(self) -> Record {
        Record { position: self.position, at_ms: self.at, kind: self.kind, body: self.body.into_bytes() }
    }
}

impl KeptIndex {
    pub(crate) fn into_index(self) -> RunIndex {
        RunIndex { workflow: self.workflow, status: self.status, started_at_ms: self.started_at }
    }
}

/// The bytes of a commit's file.
pub(crate) fn encode(commit: &Commit) -> Result<Vec<u8>> {
    let record = |record: &Record| {
        let body = String::from_utf8(record.body.clone());
        Ok(KeptRecord {
            position: record.position,
            at: record.at_ms,
            kind: record.kind.clone(),
            body: body.map_err(|_| Error::invalid_input("a record is no text"))?,
        })
    };
    let kept = Kept {
        id: commit.id.clone(),
        records: commit.records.iter().map(record).collect::<Result<_>>()?,
        index: commit.index.clone().map(|index| KeptIndex {
            workflow: index.workflow,
            status: index.status,
            started_at: index.started_at_ms,
        }),
    };
    let text = serde_json::to_string(&kept)?;
    Ok(format!("{}\n{text}\n", sha256_hex(text.as_bytes())).into_bytes())
}

/// The commit of a file's bytes; none when they are not what was written.
pub(crate) fn decode(bytes: &[u8]) -> Option<Kept> {
    let (sum, text) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let text = text.strip_suffix('\n')?;
    if sha256_hex(text.as_bytes()) != sum {
        return None;
    }
    serde_json::from_str(text).ok()
}
