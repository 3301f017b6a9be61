//! The archived storage: every import that storages may have. It keeps everything in one file of its directory, written
//! anew with each change: for a few records, and easy to follow.

use cofferdam_sdk::storage::{
    Commit, LeaseRequest, LeaseState, OpenInfo, Receipt, Record, RecordPage, RunFilter, RunIndex, RunPage, RunRow,
    conflict, decide_lease,
};
use cofferdam_sdk::{Context, Error, ErrorKind, Result, Storage};
use guest_kept::{Config, http, secrets, tell};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "/kept/all.json";

/// The storage.
pub struct Kept(Everything);

#[derive(Default, Deserialize, Serialize)]
struct Everything {
    runs: BTreeMap<String, Run>,
    commits: BTreeMap<String, u64>,
    blobs: BTreeMap<String, Vec<u8>>,
    leases: BTreeMap<String, (String, u64, u64)>,
    /// Grows with every commit; the last one written comes first.
    clock: u64,
}

#[derive(Default, Deserialize, Serialize)]
struct Run {
    records: Vec<(u64, String, Vec<u8>)>,
    row: Option<(String, String, u64)>,
    written: u64,
}

impl Run {
    fn head(&self) -> u64 {
        self.records.len() as u64
    }
}

impl Kept {
    fn save(&self) -> Result<()> {
        std::fs::write(FILE, serde_json::to_vec(&self.0)?).map_err(|error| unwritable(&error))
    }

    fn run(&self, run: &str) -> Result<&Run> {
        self.0.runs.get(run).ok_or_else(|| Error::not_found(format!("no run `{run}`")))
    }

    fn append(&mut self, commit: Commit) -> Result<Receipt> {
        if let Some(head) = self.0.commits.get(&commit.id) {
            return Ok(Receipt { head: *head, replayed: true });
        }
        let found = self.0.runs.get(&commit.run).map_or(0, Run::head);
        if found != commit.expected_head {
            return Err(conflict(commit.expected_head, found));
        }
        self.0.clock += 1;
        let run = self.0.runs.entry(commit.run).or_default();
        run.records.extend(commit.records.into_iter().map(|record| (record.at_ms, record.kind, record.body)));
        run.written = self.0.clock;
        if let Some(row) = commit.index {
            run.row = Some((row.workflow, row.status, row.started_at_ms));
        }
        let head = run.head();
        self.0.commits.insert(commit.id, head);
        self.save()?;
        Ok(Receipt { head, replayed: false })
    }
}

impl Storage for Kept {
    fn open(ctx: &Context, config: &str) -> Result<(Self, OpenInfo)> {
        // Storages have no import for it: what is configured comes with `open`.
        let Config { word, url } = serde_json::from_str(config)?;
        ctx.log(cofferdam_sdk::Level::Info, "a kept guest is asked");
        let report = json!({ "config": word, "secrets": secrets(ctx, &url), "http": http(ctx, &url) });
        tell(ctx, &url, &report)?;
        let everything = match std::fs::read(Path::new(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Everything::default(),
            Err(error) => return Err(unwritable(&error)),
        };
        let info = OpenInfo { schema_version: 1, max_concurrency: 1, max_commit_bytes: 1 << 20 };
        Ok((Self(everything), info))
    }

    fn commit(&mut self, _ctx: &Context, batch: Vec<Commit>) -> Vec<Result<Receipt>> {
        batch.into_iter().map(|commit| self.append(commit)).collect()
    }

    fn read(&mut self, _ctx: &Context, run: &str, after: u64, limit: u32) -> Result<RecordPage> {
        let run = self.run(run)?;
        let records = run.records.iter().zip(1..).skip_while(|(_, position)| *position <= after).take(limit as usize);
        let record = |((at_ms, kind, body), position): (&(u64, String, Vec<u8>), u64)| Record {
            position,
            at_ms: *at_ms,
            kind: kind.clone(),
            body: body.clone(),
        };
        Ok(RecordPage { records: records.map(record).collect(), head: run.head() })
    }

    fn list(&mut self, _ctx: &Context, filter: &RunFilter, _cursor: Option<&str>, limit: u32) -> Result<RunPage> {
        let mut runs: Vec<(&String, &Run)> = self.0.runs.iter().collect();
        runs.sort_by_key(|(_, run)| std::cmp::Reverse(run.written));
        let row = |(id, run): (&String, &Run)| {
            let (workflow, status, started_at_ms) = run.row.clone()?;
            let updated_at_ms = run.records.last().map_or(0, |(at, ..)| *at);
            let index = RunIndex { workflow, status, started_at_ms };
            filter.admits(&index).then(|| RunRow { run: id.clone(), head: run.head(), updated_at_ms, index })
        };
        Ok(RunPage { rows: runs.into_iter().filter_map(row).take(limit as usize).collect(), next: None })
    }

    fn put_blob(&mut self, _ctx: &Context, id: &str, bytes: &[u8]) -> Result<()> {
        self.0.blobs.insert(id.to_owned(), bytes.to_vec());
        self.save()
    }

    fn get_blob(&mut self, _ctx: &Context, id: &str, offset: u64, len: u32) -> Result<Vec<u8>> {
        let bytes = self.0.blobs.get(id).ok_or_else(|| Error::not_found(format!("no blob `{id}`")))?;
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(bytes.iter().copied().skip(skip).take(len as usize).collect())
    }

    fn lease(&mut self, _ctx: &Context, request: &LeaseRequest) -> Result<LeaseState> {
        let present = self.0.leases.get(&request.run).cloned();
        let present = present.map(|(owner, epoch, until_ms)| LeaseState { owner, epoch, until_ms });
        let state = decide_lease(present, request)?;
        self.0.leases.insert(request.run.clone(), (state.owner.clone(), state.epoch, state.until_ms));
        self.save()?;
        Ok(state)
    }

    fn delete(&mut self, _ctx: &Context, run: &str) -> Result<()> {
        self.run(run)?;
        self.0.runs.remove(run);
        self.0.leases.remove(run);
        self.save()
    }
}

fn unwritable(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Denied, format!("`{FILE}` cannot be used: {error}"))
}

cofferdam_sdk::plugin!(id = "tests/kept-storage", config = Config, storage = Kept);
