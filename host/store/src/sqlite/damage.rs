//! Store files that were cut, or whose bytes became others: what is read is what was written, or an error.
//!
//! It must not know SQLite's format: any byte may be hit.

use super::tests::request;
use super::*;
use cofferdam_core::port::{Record, RecordBody, RunRow};
use std::fs;
use std::path::Path;

const RUNS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const PLACES: usize = 300;
const PAGE: usize = 4_096;

/// A file and its log, and what is in them.
struct Sound {
    main: Vec<u8>,
    log: Vec<u8>,
    rows: Vec<RunRow>,
    records: Vec<Vec<Record>>,
}

/// What was read after damage; none where there was no such run.
struct Found {
    rows: Result<Vec<RunRow>, JournalError>,
    records: Vec<Result<Option<Vec<Record>>, JournalError>>,
}

fn append(name: &str, head: u64, texts: &[&str]) -> Append {
    let run = RunId::parse(name).unwrap();
    let mut append = request(head, texts);
    for record in &mut append.records {
        let RecordBody::Event(event) = &mut record.body else { continue };
        Arc::make_mut(event).run_id = run.clone();
    }
    Append { run, durability: Durability::Written, ..append }
}

impl Sound {
    /// The first appends of each run are in the file, the last ones in the log.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let journal = Sqlite::new(&path);
        let long = "text ".repeat(3_000);
        for head in [0, 3, 6] {
            if head == 6 {
                let connection = Connection::open(&path).unwrap();
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            }
            for name in RUNS {
                journal.append(append(name, head, &["one", &long, "three"])).await.unwrap();
            }
        }
        let (main, log) = (fs::read(&path).unwrap(), fs::read(folder.path().join("runs.db-wal")).unwrap());
        let found = Found::at(&path).await;
        let records: Vec<_> = found.records.into_iter().map(|records| records.unwrap().unwrap()).collect();
        assert!(main.len() > 20 * PAGE && log.len() > 10 * PAGE && records.iter().all(|records| records.len() == 9));
        Self { main, log, rows: found.rows.unwrap(), records }
    }

    /// The same, all in the file.
    fn without_log(self) -> Self {
        let folder = write(&self.main, &self.log);
        let path = folder.path().join("runs.db");
        let connection = Connection::open(&path).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(connection);
        Self { main: fs::read(&path).unwrap(), log: Vec::new(), ..self }
    }

    async fn read(main: &[u8], log: &[u8]) -> Found {
        let folder = write(main, log);
        Found::at(&folder.path().join("runs.db")).await
    }
}

fn write(main: &[u8], log: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("runs.db"), main).unwrap();
    fs::write(folder.path().join("runs.db-wal"), log).unwrap();
    folder
}

impl Found {
    async fn at(path: &Path) -> Self {
        let journal = Sqlite::new(path);
        let rows = journal.list(RunFilter::default()).await.map(|page| page.rows);
        let mut records = Vec::new();
        for name in RUNS {
            records.push(match journal.read(&RunId::parse(name).unwrap(), 0, 10_000).await {
                Ok(page) => Ok(Some(page.records)),
                Err(JournalError::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            });
        }
        Self { rows, records }
    }

    fn refused(&self) -> usize {
        self.records.iter().filter(|records| records.is_err()).count()
    }
}

/// Flips a bit, makes a page zeros, or cuts.
fn hit(bytes: &[u8], place: usize, step: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match step % 3 {
        0 => bytes[place] ^= 1 << (step / 3 % 8),
        1 => {
            let begin = place / PAGE * PAGE;
            let end = (begin + PAGE).min(bytes.len());
            bytes[begin..end].fill(0);
        }
        _ => bytes.truncate(place),
    }
    bytes
}

/// Places all over, the same each time.
fn places(length: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..PLACES).map(move |step| (step, (step * 7_919 + 13) * 104_729 % length))
}

/// Each run has all its records, or is refused.
fn check(found: &Found, sound: &Sound, what: &str) {
    for ((found, wanted), name) in found.records.iter().zip(&sound.records).zip(RUNS) {
        let Ok(found) = found else { continue };
        assert!(found.as_ref() == Some(wanted), "{name}, {what}: {:?} records", found.as_ref().map(Vec::len));
    }
}

#[tokio::test]
async fn a_damaged_file_is_never_read_as_something_else() {
    let sound = Sound::new().await;
    let mut refused = 0;
    for (step, place) in places(sound.main.len()) {
        let found = Sound::read(&hit(&sound.main, place, step), &sound.log).await;
        let what = format!("step {step}, byte {place}");
        refused += usize::from(found.refused() > 0);
        check(&found, &sound, &what);
        // The pages of the rows are in the log.
        assert!(found.rows.is_err() || found.rows.as_ref() == Ok(&sound.rows), "{what}: {:?}", found.rows);
    }
    assert!(refused > PLACES / 2, "only {refused} were noticed");
}

/// FIXME: the rows of listings have no sum, so that a listing may show another status or time, or lack a run, when
/// their page is damaged.
#[tokio::test]
async fn a_damaged_file_without_a_log_is_never_read_as_something_else() {
    let sound = Sound::new().await.without_log();
    let mut refused = 0;
    for (step, place) in places(sound.main.len()) {
        let found = Sound::read(&hit(&sound.main, place, step), &sound.log).await;
        refused += usize::from(found.refused() > 0);
        check(&found, &sound, &format!("step {step}, byte {place}"));
    }
    assert!(refused > PLACES / 2, "only {refused} were noticed");
}

#[tokio::test]
async fn a_run_is_found_although_its_id_is_damaged_in_the_table_or_in_the_index() {
    let sound = Sound::new().await.without_log();
    let mut tried = 0;
    for name in RUNS {
        // Records say the run's id in quotes.
        let is_name =
            |place: &usize| sound.main[*place..].starts_with(name.as_bytes()) && sound.main[place - 1] != b'"';
        for place in (1..sound.main.len()).filter(is_name) {
            for step in [0, 9, 18] {
                let folder = write(&hit(&sound.main, place, step), &sound.log);
                let path = folder.path().join("runs.db");
                let found = Found::at(&path).await;
                check(&found, &sound, &format!("byte {place} of {name}"));
                assert_eq!(found.refused(), 0, "byte {place} of {name}");
                // Nor does an append go to another run.
                for other in RUNS {
                    assert_eq!(Sqlite::new(&path).append(append(other, 9, &["ten"])).await, Ok(10));
                }
                let longer = Found::at(&path).await.records.into_iter().map(|records| records.unwrap().unwrap().len());
                assert_eq!(longer.collect::<Vec<_>>(), [10; 4], "byte {place} of {name}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, RUNS.len() * 2 * 3);
}

/// FIXME: a log that was damaged in its middle ends there for SQLite, as one that a power cut tore. What was
/// appended behind that place since the log was last copied to the file is lost without a word.
#[tokio::test]
async fn a_damaged_log_loses_whole_appends_at_its_end_only() {
    let sound = Sound::new().await;
    let mut lost = 0;
    for (step, place) in places(sound.log.len()) {
        let found = Sound::read(&sound.main, &hit(&sound.log, place, step)).await;
        let what = format!("step {step}, byte {place}");
        let mut heads = Vec::new();
        for ((found, wanted), name) in found.records.iter().zip(&sound.records).zip(RUNS) {
            let found = found.as_ref().unwrap().as_ref().unwrap();
            assert_eq!(found[..], wanted[..found.len()], "{name}, {what}");
            heads.push(found.len());
        }
        // The runs were appended to in this order, three records each.
        assert!(
            heads.iter().all(|head| matches!(head, 6 | 9)) && heads.is_sorted_by(|one, next| one >= next),
            "{what}"
        );
        lost += usize::from(heads.contains(&6));
    }
    assert_eq!(lost, PLACES);
}
