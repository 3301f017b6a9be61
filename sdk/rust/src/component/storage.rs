//! A storage's exports.

use super::bindings::cofferdam::types::common::PluginError;
use super::bindings::storage::exports::cofferdam::storage::storage as wit;
use super::{error_out, not_open, outside};
use crate::error::Result;
use crate::storage::{
    Commit, LeaseRequest, LeaseState, OpenInfo, Record, RecordPage, RunFilter, RunIndex, RunPage, RunRow, Storage,
    StoragePlugin,
};

/// Works with the open connection.
fn with<P: StoragePlugin, T>(work: impl FnOnce(&mut P::Storage) -> Result<T>) -> Result<T, PluginError> {
    let answer = P::with(|open| match open {
        Some(storage) => work(storage),
        None => Err(not_open()),
    });
    answer.map_err(|error| error_out(&error))
}

impl<P: StoragePlugin> wit::Guest for P {
    fn open(config: String) -> Result<wit::OpenInfo, PluginError> {
        let (storage, info) = P::Storage::open(&outside(), &config).map_err(|error| error_out(&error))?;
        P::with(|open| *open = Some(storage));
        let OpenInfo { schema_version, max_concurrency, max_commit_bytes } = info;
        Ok(wit::OpenInfo { schema_version, max_concurrency, max_commit_bytes })
    }

    fn commit(batch: Vec<wit::CommitRequest>) -> Vec<Result<wit::Receipt, PluginError>> {
        let count = batch.len();
        let batch = batch.into_iter().map(commit_in).collect();
        let answers = P::with(|open| match open {
            Some(storage) => storage.commit(&outside(), batch),
            None => (0..count).map(|_| Err(not_open())).collect(),
        });
        let receipt = |answer: Result<crate::storage::Receipt>| {
            answer
                .map(|receipt| wit::Receipt { head: receipt.head, replayed: receipt.replayed })
                .map_err(|error| error_out(&error))
        };
        answers.into_iter().map(receipt).collect()
    }

    fn read(run_id: String, after: u64, limit: u32) -> Result<wit::RecordPage, PluginError> {
        let page = with::<P, RecordPage>(|storage| storage.read(&outside(), &run_id, after, limit))?;
        Ok(wit::RecordPage { records: page.records.into_iter().map(record_out).collect(), head: page.head })
    }

    fn list_runs(filter: wit::RunFilter, cursor: Option<String>, limit: u32) -> Result<wit::RunPage, PluginError> {
        let filter = RunFilter { workflow: filter.workflow, statuses: filter.statuses };
        let page = with::<P, RunPage>(|storage| storage.list(&outside(), &filter, cursor.as_deref(), limit))?;
        Ok(wit::RunPage { rows: page.rows.into_iter().map(row_out).collect(), next: page.next })
    }

    fn put_blob(id: String, bytes: Vec<u8>) -> Result<(), PluginError> {
        with::<P, ()>(|storage| storage.put_blob(&outside(), &id, &bytes))
    }

    fn get_blob(id: String, offset: u64, len: u32) -> Result<Vec<u8>, PluginError> {
        with::<P, Vec<u8>>(|storage| storage.get_blob(&outside(), &id, offset, len))
    }

    fn lease(request: wit::LeaseRequest) -> Result<wit::LeaseState, PluginError> {
        let request = LeaseRequest {
            run: request.run_id,
            owner: request.owner,
            epoch: request.epoch,
            now_ms: request.now,
            until_ms: request.until,
            owner_is_gone: request.owner_is_gone,
        };
        let state = with::<P, LeaseState>(|storage| storage.lease(&outside(), &request))?;
        Ok(wit::LeaseState { owner: state.owner, epoch: state.epoch, until: state.until_ms })
    }

    fn delete_run(run_id: String) -> Result<(), PluginError> {
        with::<P, ()>(|storage| storage.delete(&outside(), &run_id))
    }

    fn close() {
        if let Some(mut storage) = P::with(Option::take) {
            storage.close(&outside());
        }
    }
}

fn commit_in(commit: wit::CommitRequest) -> Commit {
    let record = |record: wit::JournalRecord| Record {
        position: record.position,
        at_ms: record.at,
        kind: record.kind,
        body: record.body,
    };
    Commit {
        id: commit.commit_id,
        run: commit.run_id,
        expected_head: commit.expected_head,
        records: commit.records.into_iter().map(record).collect(),
        index: commit.index.map(|index| RunIndex {
            workflow: index.workflow,
            status: index.status,
            started_at_ms: index.started_at,
        }),
    }
}

fn record_out(record: Record) -> wit::JournalRecord {
    wit::JournalRecord { position: record.position, at: record.at_ms, kind: record.kind, body: record.body }
}

fn row_out(row: RunRow) -> wit::RunRow {
    wit::RunRow {
        run_id: row.run,
        head: row.head,
        updated_at: row.updated_at_ms,
        index: wit::RunIndex {
            workflow: row.index.workflow,
            status: row.index.status,
            started_at: row.index.started_at_ms,
        },
    }
}
