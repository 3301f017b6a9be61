//! Keeps the journals of runs in a directory.
//!
//! A commit is one file, named by the position of its first record, and comes into being by a hard link: either it is there
//! as a whole or not at all, and of two writers at one head one fails. So nothing has to be repaired after a crash. What
//! was answered was synced before, the file and the directory that names it.
//!
//! ```text
//! FORMAT                          the version
//! runs/RUN/00000000000000000001   a commit: its checksum, a line end, JSON
//! leases/RUN/00000000000000000001 a lease, one file a change of it
//! blobs/ab/ab12...                bytes under their SHA-256
//! wanted/ab12....0                that a record is about to name them
//! ```

mod commit;
#[cfg(test)]
mod crashes;
mod disk;
mod leases;
mod runs;
mod wanted;

use cofferdam_sdk::storage::{
    Commit, LeaseRequest, LeaseState, OpenInfo, Receipt, RecordPage, RunFilter, RunPage, conflict, too_new,
};
use cofferdam_sdk::{Context, Error, ErrorKind, Result, Storage};
use disk::Disk;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the granted directory is mounted.
const ROOT: &str = "/journal";
const FORMAT: u32 = 1;
/// A commit is held in memory, more than once.
const COMMIT_BYTES: u64 = 16 * 1024 * 1024;

/// How many runs' last commits are remembered; more would only save the reading of folders.
const TAILS: usize = 1_024;

/// The storage.
pub struct DirJournal {
    disk: Disk,
    /// The last commits that this instance wrote, by run, so that the next needs no reading of what is there.
    tails: BTreeMap<String, Tail>,
}

/// The last commit of a run.
struct Tail {
    head: u64,
    path: PathBuf,
    size: u64,
}

impl Storage for DirJournal {
    fn open(_ctx: &Context, _config: &str) -> Result<(Self, OpenInfo)> {
        Self::at(Path::new(ROOT))
    }

    fn commit(&mut self, _ctx: &Context, batch: Vec<Commit>) -> Vec<Result<Receipt>> {
        #[cfg(all(feature = "crashes", not(test)))]
        let _now = disk::Committing::begin();
        batch.into_iter().map(|commit| self.commit_one(&commit)).collect()
    }

    fn read(&mut self, _ctx: &Context, run: &str, after: u64, limit: u32) -> Result<RecordPage> {
        runs::read(&self.disk, run, after, limit)
    }

    fn list(&mut self, _ctx: &Context, filter: &RunFilter, cursor: Option<&str>, limit: u32) -> Result<RunPage> {
        runs::list(&self.disk, filter, cursor, limit)
    }

    fn put_blob(&mut self, _ctx: &Context, id: &str, bytes: &[u8]) -> Result<()> {
        let path = blob_path(id)?;
        if sha256_hex(bytes) != id {
            return Err(Error::invalid_input("the id is not the hash of the bytes"));
        }
        wanted::announce(&self.disk, id)?;
        self.disk.put(&path, bytes)
    }

    fn get_blob(&mut self, _ctx: &Context, id: &str, offset: u64, len: u32) -> Result<Vec<u8>> {
        let missing = || Error::not_found(format!("there is no blob `{id}`"));
        let bytes = self.disk.read(&blob_path(id)?)?.ok_or_else(missing)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(len as usize).min(bytes.len());
        Ok(bytes.get(from..to).unwrap_or_default().to_vec())
    }

    fn lease(&mut self, _ctx: &Context, request: &LeaseRequest) -> Result<LeaseState> {
        leases::decide(&self.disk, request)
    }

    fn delete(&mut self, _ctx: &Context, run: &str) -> Result<()> {
        self.tails.remove(run);
        runs::delete(&self.disk, run)
    }
}

impl DirJournal {
    fn at(root: &Path) -> Result<(Self, OpenInfo)> {
        let disk = Disk::new(root);
        match disk.read(Path::new("FORMAT"))? {
            None => {
                for folder in ["runs", "leases", "blobs", "tmp", "trash"] {
                    disk.make(Path::new(folder))?;
                }
                disk.put(Path::new("FORMAT"), FORMAT.to_string().as_bytes())?;
            }
            Some(text) => match String::from_utf8_lossy(&text).trim().parse::<u32>() {
                Ok(found) if found > FORMAT => return Err(too_new(found, FORMAT)),
                Ok(_) => {}
                Err(_) if disk.names(Path::new("runs"))?.is_empty() => {
                    disk.put(Path::new("FORMAT"), FORMAT.to_string().as_bytes())?;
                }
                Err(_) => return Err(unreadable_format()),
            },
        }
        for folder in ["tmp", "trash"] {
            disk.clean(Path::new(folder));
        }
        let info = OpenInfo { schema_version: FORMAT, max_concurrency: 4, max_commit_bytes: COMMIT_BYTES };
        Ok((Self { disk, tails: BTreeMap::new() }, info))
    }

    fn commit_one(&mut self, commit: &Commit) -> Result<Receipt> {
        if commit.records.is_empty() {
            return Err(Error::invalid_input("a commit has at least one record"));
        }
        let folder = run_folder(&commit.run)?;
        if !self.is_next(commit) {
            let head = runs::head(&self.disk, &folder)?;
            if head != commit.expected_head {
                return self.refuse(commit, &folder);
            }
            if head == 0 {
                self.disk.make(&folder)?;
            }
        }
        let path = folder.join(disk::number(commit.expected_head.saturating_add(1)));
        let bytes = commit::encode(commit)?;
        if !self.disk.create(&path, &bytes)? {
            // Somebody else was faster.
            return self.refuse(commit, &folder);
        }
        wanted::settle(&self.disk, commit);
        let head = last(commit);
        self.remember(&commit.run, Tail { head, path, size: bytes.len() as u64 });
        Ok(Receipt { head, replayed: false })
    }

    /// Whether it follows what this instance wrote last and what is still there. That nothing came after that, shows
    /// when the file is created. What is remembered is forgotten here, and comes back when the commit succeeds.
    fn is_next(&mut self, commit: &Commit) -> bool {
        let tail = self.tails.remove(&commit.run).filter(|tail| tail.head == commit.expected_head);
        tail.is_some_and(|tail| self.disk.size(&tail.path) == Some(tail.size))
    }

    fn remember(&mut self, run: &str, tail: Tail) {
        if self.tails.len() >= TAILS {
            self.tails.clear();
        }
        self.tails.insert(run.to_owned(), tail);
    }

    /// The head is another. What came before a crash may have been this very commit.
    fn refuse(&self, commit: &Commit, folder: &Path) -> Result<Receipt> {
        match runs::at(&self.disk, folder, commit.expected_head.saturating_add(1))? {
            Some(kept) if kept.id == commit.id => {
                // Whoever wrote it may have died before its name was on the disk.
                self.disk.settle(folder)?;
                Ok(Receipt { head: last(commit), replayed: true })
            }
            _ => Err(conflict(commit.expected_head, runs::head(&self.disk, folder)?)),
        }
    }
}

/// The head after a commit.
fn last(commit: &Commit) -> u64 {
    commit.expected_head.saturating_add(commit.records.len() as u64)
}

/// The folder of a run, below the root. Names that differ stay different where letters of both cases are one.
fn run_folder(run: &str) -> Result<PathBuf> {
    Ok(Path::new("runs").join(folder_name(run)?))
}

fn folder_name(run: &str) -> Result<String> {
    if run.is_empty() || run.len() > 80 {
        return Err(Error::invalid_input(format!("`{run}` is no name of a run")));
    }
    let mut name = String::new();
    for byte in run.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    Ok(name)
}

/// The run of a folder.
fn run_of(folder: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = folder.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let pair = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn blob_path(id: &str) -> Result<PathBuf> {
    let hex = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match id.get(..2).filter(|_| hex) {
        Some(begin) => Ok(Path::new("blobs").join(begin).join(id)),
        None => Err(Error::invalid_input("an id is a SHA-256 in lower hex")),
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The version cannot be read, and there are runs: nobody should guess how they are kept.
fn unreadable_format() -> Error {
    let what = "the file `FORMAT` of the journal names no version";
    let then = format!("a journal of this version has `{FORMAT}` in it; if this is one, write that");
    Error::new(ErrorKind::Internal, format!("{what}; {then}")).with_code("damaged").permanent()
}

/// Something of the disk that may be over later.
fn unavailable(what: &str, error: &std::io::Error) -> Error {
    let hint = "grant a directory: `fs: { also: [{ from: DIR, at: /journal, read: true, write: true }] }`";
    Error::new(ErrorKind::Unavailable, format!("{what}: {error}; {hint}"))
}

cofferdam_sdk::plugin!(id = "cofferdam/dir-journal", storage = DirJournal);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cofferdam_sdk::storage::{Record, RunIndex};

    pub(crate) fn commit(run: &str, head: u64, count: u64) -> Commit {
        let record = |position| Record { position, at_ms: 1_000 + position, kind: "x".into(), body: b"body".to_vec() };
        Commit {
            id: format!("{run}-{head}"),
            run: run.into(),
            expected_head: head,
            records: (head + 1..=head + count).map(record).collect(),
            index: (head == 0).then(|| RunIndex { workflow: "w".into(), status: "running".into(), started_at_ms: 1 }),
        }
    }

    pub(crate) fn positions(journal: &mut DirJournal, run: &str) -> Vec<u64> {
        let page = journal.read(&Context::fake(), run, 0, 1_000);
        page.map(|page| page.records.iter().map(|record| record.position).collect()).unwrap_or_default()
    }

    #[test]
    fn a_page_holds_no_more_than_can_be_handed_over() {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = DirJournal::at(root.path()).unwrap();
        for head in 0..3 {
            let mut large = commit("a", head, 1);
            large.records[0].body = vec![b'x'; 5 * 1024 * 1024];
            journal.commit_one(&large).unwrap();
        }
        let ctx = Context::fake();
        let mut page =
            |after| journal.read(&ctx, "a", after, 1_000).map(|page| (page.records.len(), page.head)).unwrap();
        assert_eq!((page(0), page(2)), ((2, 3), (1, 3)));
    }

    #[test]
    fn of_two_writers_at_one_head_one_fails() {
        let root = tempfile::tempdir().unwrap();
        let (mut one, _) = DirJournal::at(root.path()).unwrap();
        let (mut other, _) = DirJournal::at(root.path()).unwrap();
        one.commit_one(&commit("a", 0, 2)).unwrap();
        let mut late = commit("a", 0, 3);
        late.id = "other".into();
        let error = other.commit_one(&late).unwrap_err();
        assert_eq!(error.detail().unwrap()["found"], 2);
        let mut late = commit("a", 2, 1);
        late.id = "third".into();
        one.commit_one(&commit("a", 2, 1)).unwrap();
        assert!(other.commit_one(&late).is_err());
    }

    #[test]
    fn what_another_instance_did_is_seen_behind_what_is_remembered() {
        let root = tempfile::tempdir().unwrap();
        let (mut one, _) = DirJournal::at(root.path()).unwrap();
        let (mut other, _) = DirJournal::at(root.path()).unwrap();
        one.commit_one(&commit("a", 0, 2)).unwrap();
        other.commit_one(&commit("a", 2, 1)).unwrap();
        assert_eq!(one.commit_one(&commit("a", 2, 1)).unwrap(), Receipt { head: 3, replayed: true });
        other.commit_one(&commit("a", 3, 1)).unwrap();
        let mut late = commit("a", 3, 2);
        late.id = "late".into();
        assert_eq!(one.commit_one(&late).unwrap_err().detail().unwrap()["found"], 4);
        other.delete(&Context::fake(), "a").unwrap();
        assert_eq!(one.commit_one(&commit("a", 4, 1)).unwrap_err().detail().unwrap()["found"], 0);
        one.commit_one(&commit("a", 0, 1)).unwrap();
        other.delete(&Context::fake(), "a").unwrap();
        assert_eq!(one.commit_one(&commit("a", 1, 1)).unwrap_err().detail().unwrap()["found"], 0);
    }

    #[test]
    fn a_stray_file_and_a_damaged_run_do_not_hide_the_others() {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = DirJournal::at(root.path()).unwrap();
        journal.commit_one(&commit("a", 0, 2)).unwrap();
        journal.commit_one(&commit("b", 0, 1)).unwrap();
        std::fs::write(root.path().join("runs/stray"), "x").unwrap();
        std::fs::write(root.path().join("runs/a/00000000000000000001"), "x").unwrap();
        let page = journal.list(&Context::fake(), &RunFilter::default(), None, 10).unwrap();
        let rows = page.rows.iter().map(|row| (row.run.as_str(), row.index.status.as_str()));
        assert_eq!(rows.collect::<Vec<_>>(), [("b", "running"), ("a", "damaged")]);
        assert!(journal.delete(&Context::fake(), "a").is_ok());
    }

    #[test]
    fn a_flipped_bit_is_damage_and_not_absence() {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = DirJournal::at(root.path()).unwrap();
        journal.commit_one(&commit("a", 0, 2)).unwrap();
        journal.commit_one(&commit("a", 2, 1)).unwrap();
        let path = root.path().join("runs/a/00000000000000000001");
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = journal.read(&Context::fake(), "a", 0, 10).unwrap_err();
        assert_eq!((error.code(), &error.detail().unwrap()["position"]), (Some("damaged"), &1.into()));
        std::fs::remove_file(&path).unwrap();
        let error = journal.read(&Context::fake(), "a", 0, 10).unwrap_err();
        assert_eq!(error.code(), Some("damaged"));
    }

    #[test]
    fn a_newer_store_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(DirJournal::at(root.path()).unwrap());
        std::fs::write(root.path().join("FORMAT"), "7").unwrap();
        let error = DirJournal::at(root.path()).err().unwrap();
        assert_eq!((error.code(), error.detail().unwrap()["found"].as_u64()), (Some("too-new"), Some(7)));
    }

    #[test]
    fn a_store_that_names_no_version_is_damaged_unless_it_is_empty() {
        for text in ["", "x", "1.0"] {
            let root = tempfile::tempdir().unwrap();
            let (mut journal, _) = DirJournal::at(root.path()).unwrap();
            std::fs::write(root.path().join("FORMAT"), text).unwrap();
            assert!(DirJournal::at(root.path()).is_ok());
            assert_eq!(std::fs::read_to_string(root.path().join("FORMAT")).unwrap(), "1");
            journal.commit_one(&commit("a", 0, 1)).unwrap();
            std::fs::write(root.path().join("FORMAT"), text).unwrap();
            let error = DirJournal::at(root.path()).err().unwrap();
            assert!(error.to_string().contains("names no version"), "{error}");
        }
    }

    #[test]
    fn what_crashes_left_is_removed_and_what_is_under_way_is_not() {
        let root = tempfile::tempdir().unwrap();
        drop(DirJournal::at(root.path()).unwrap());
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        for (name, is_old) in [("tmp/old", true), ("tmp/new", false)] {
            let file = std::fs::File::create(root.path().join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        drop(DirJournal::at(root.path()).unwrap());
        assert!(!root.path().join("tmp/old").exists() && root.path().join("tmp/new").exists());
    }

    #[test]
    fn names_of_runs_and_their_folders_say_the_same() {
        for run in ["a", "A", "0198c0de-Run_7", "../x", "ä"] {
            let folder = folder_name(run).unwrap();
            assert!(!folder.contains(['/', '.']) && folder == folder.to_lowercase(), "{folder}");
            assert_eq!(run_of(&folder).as_deref(), Some(run));
        }
        assert!(folder_name("").is_err());
    }
}
