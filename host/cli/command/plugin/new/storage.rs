//! A storage: keeps the journals of runs. It is the one kind on which everything rests, so its contract is strict: what
//! was answered is durable, a commit with a known id is not done twice, of two writers at one head one fails, and what
//! cannot be read is `damaged`, never absent. The comments of `Storage` say it method by method.

use cofferdam_sdk::storage::{
    Commit, LeaseRequest, LeaseState, OpenInfo, Receipt, RecordPage, RunFilter, RunPage,
};
use cofferdam_sdk::{Context, Error, ErrorKind, Result, Storage};

/// The storage: what a connection holds.
pub struct Journal;

/// Every method says so until it is written: a storage that pretends loses runs.
fn unwritten(method: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("`{method}` is not written yet"))
}

impl Storage for Journal {
    fn open(_ctx: &Context, _config: &str) -> Result<(Self, OpenInfo)> {
        Ok((Self, OpenInfo { schema_version: 1, max_concurrency: 1, max_commit_bytes: 16 << 20 }))
    }

    fn commit(&mut self, _ctx: &Context, batch: Vec<Commit>) -> Vec<Result<Receipt>> {
        batch.iter().map(|_| Err(unwritten("commit"))).collect()
    }

    fn read(&mut self, _ctx: &Context, _run: &str, _after: u64, _limit: u32) -> Result<RecordPage> {
        Err(unwritten("read"))
    }

    fn list(&mut self, _ctx: &Context, _filter: &RunFilter, _cursor: Option<&str>, _limit: u32) -> Result<RunPage> {
        Err(unwritten("list"))
    }

    fn put_blob(&mut self, _ctx: &Context, _id: &str, _bytes: &[u8]) -> Result<()> {
        Err(unwritten("put_blob"))
    }

    fn get_blob(&mut self, _ctx: &Context, _id: &str, _offset: u64, _len: u32) -> Result<Vec<u8>> {
        Err(unwritten("get_blob"))
    }

    fn lease(&mut self, _ctx: &Context, _request: &LeaseRequest) -> Result<LeaseState> {
        Err(unwritten("lease"))
    }

    fn delete(&mut self, _ctx: &Context, _run: &str) -> Result<()> {
        Err(unwritten("delete"))
    }
}

cofferdam_sdk::plugin!(id = "acme/__NAME__", summary = "Keeps journals", storage = Journal);
