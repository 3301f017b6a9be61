//! Files that were cut, or whose bytes became others: what is read is what was written, or an error.
//!
//! It must not know the format beyond its lines.

use super::line::{self, Frame, Row};
use super::tests::{all, request, run};
use super::*;
use cofferdam_core::port::Record;
use cofferdam_core::record;
use std::fs;
use std::path::{Path, PathBuf};

/// A store with one run of three appends, and what is in it.
struct Sound {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    /// Where each append ends, from the first.
    ends: Vec<usize>,
    records: Vec<Record>,
}

const HEADS: [usize; 4] = [0, 1, 3, 6];

impl Sound {
    async fn new(filler: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let journal = File::new(folder.path());
        let mut ends = vec![0];
        for (head, texts) in [(0, vec!["one"]), (1, vec!["two", filler]), (3, vec!["four", "\"}\n", filler])] {
            journal.append(request(&run(), head, &texts)).await.unwrap();
            ends.push(usize::try_from(fs::metadata(&path).unwrap().len()).unwrap());
        }
        let records = all(folder.path()).await.unwrap().records;
        assert_eq!(records.len(), 6);
        Self { bytes: fs::read(&path).unwrap(), folder, ends, records }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("r.jsonl")
    }

    async fn read(&self, bytes: &[u8]) -> Result<Page, JournalError> {
        // Some systems flush a file that is written over.
        fs::remove_file(self.path()).unwrap();
        fs::write(self.path(), bytes).unwrap();
        all(self.folder.path()).await
    }

    /// The records of the appends that end before a byte.
    fn before(&self, byte: usize) -> &[Record] {
        let appends = self.ends.iter().filter(|end| **end <= byte).count() - 1;
        &self.records[..HEADS[appends]]
    }

    /// After damage: what is there is there, and can be added to, or is refused.
    async fn is_what_was_written(&self, bytes: &[u8], what: &str) -> bool {
        let read = self.read(bytes).await;
        let journal = File::new(self.folder.path());
        let rows = journal.list(RunFilter::default()).await.unwrap().rows;
        let appended = journal.append(request(&run(), 6, &["more"])).await;
        let Ok(page) = read else {
            assert!(!matches!(read, Err(JournalError::NotFound(_))), "{what}");
            return false;
        };
        assert_eq!(page.records, self.records, "{what}");
        assert_eq!((rows[0].head, rows[0].index.status.as_str()), (6, "running"), "{what}");
        assert_eq!(appended, Ok(7), "{what}");
        assert_eq!(all(self.folder.path()).await.unwrap().records[..6], self.records, "{what}");
        true
    }
}

async fn head_and_row(folder: &Path) -> (u64, u64) {
    let head = all(folder).await.map_or(0, |page| page.head);
    let page = File::new(folder).list(RunFilter::default()).await.unwrap();
    (head, page.rows.first().map_or(0, |row| row.head))
}

#[tokio::test]
async fn a_file_that_is_cut_anywhere_has_the_appends_before_and_goes_on_there() {
    let sound = Sound::new("six").await;
    for cut in 0..sound.bytes.len() {
        // A power cut may leave zeros where the rest was to be.
        for zeros in if cut % 7 == 0 { vec![0, 1, sound.bytes.len() - cut, 5_000] } else { vec![cut % 3] } {
            let torn = [&sound.bytes[..cut], &vec![0; zeros]].concat();
            let before = sound.before(cut);
            match sound.read(&torn).await {
                Ok(page) => assert_eq!(page.records, before, "cut at {cut}, {zeros} zeros"),
                Err(error) => assert!(before.is_empty(), "cut at {cut}, {zeros} zeros: {error}"),
            }
            let head = before.len() as u64;
            assert_eq!(head_and_row(sound.folder.path()).await, (head, head), "cut at {cut}, {zeros} zeros");
            let journal = File::new(sound.folder.path());
            assert_eq!(journal.append(request(&run(), head, &["more"])).await, Ok(head + 1));
            let records = all(sound.folder.path()).await.unwrap().records;
            assert_eq!(records[..before.len()], *before);
            assert_eq!(records[before.len()..], request(&run(), head, &["more"]).records);
        }
    }
}

#[tokio::test]
async fn a_writer_that_has_the_file_open_goes_on_where_another_was_interrupted() {
    let sound = Sound::new("six").await;
    let journal = File::new(sound.folder.path());
    assert_eq!(journal.append(request(&run(), 6, &["seven"])).await, Ok(7));
    let whole = fs::read(sound.path()).unwrap();
    let torn = [&whole[..], &whole[sound.ends[2]..sound.ends[3] - 9]].concat();
    fs::write(sound.path(), torn.as_slice()).unwrap();
    let damaged = journal.append(request(&run(), 7, &["eight"])).await;
    assert!(matches!(damaged, Err(JournalError::Damaged { position: 8, .. })), "{damaged:?}");
    fs::write(sound.path(), [&whole[..], b"{\"record\":{\"v\""].concat()).unwrap();
    assert_eq!(journal.append(request(&run(), 7, &["eight"])).await, Ok(8));
    assert_eq!(all(sound.folder.path()).await.unwrap().records.len(), 8);
}

#[tokio::test]
async fn a_flipped_bit_is_never_read_as_something_else() {
    let sound = Sound::new("six").await;
    let mut noticed = 0;
    for byte in 0..sound.bytes.len() {
        let mut bytes = sound.bytes.clone();
        bytes[byte] ^= 1 << (byte * 5 % 8);
        noticed += usize::from(!sound.is_what_was_written(&bytes, &format!("byte {byte}")).await);
    }
    // Digits of a sum have two cases.
    assert!(noticed * 100 > sound.bytes.len() * 98, "only {noticed} flips were noticed");
}

#[tokio::test]
async fn blocks_that_became_zeros_are_noticed() {
    let sound = Sound::new(&"text ".repeat(4_000)).await;
    for block in (0..sound.bytes.len()).step_by(512) {
        let end = (block + 512).min(sound.bytes.len());
        let mut bytes = sound.bytes.clone();
        bytes[block..end].fill(0);
        let what = format!("bytes {block} to {end}");
        if end == bytes.len() {
            assert_eq!(sound.read(&bytes).await.unwrap().records, sound.records[..3], "{what}");
        } else {
            assert!(!sound.is_what_was_written(&bytes, &what).await, "{what}");
        }
    }
}

#[tokio::test]
async fn lines_that_are_missing_or_change_places_are_noticed() {
    let sound = Sound::new("six").await;
    let lines: Vec<_> = sound.bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for one in 0..lines.len() {
        let mut missing = lines.clone();
        missing.remove(one);
        let found = sound.read(&missing.concat()).await;
        match found {
            // What is left looks as if its append had been interrupted.
            Ok(page) if one == 5 => assert_eq!(page.records, sound.records[..3]),
            Err(JournalError::Damaged { position, .. }) => assert_eq!(position, one as u64 + 1),
            other => panic!("without line {one}: {other:?}"),
        }
        for other in 0..one {
            let mut swapped = lines.clone();
            swapped.swap(one, other);
            match sound.read(&swapped.concat()).await {
                Err(JournalError::Damaged { position, .. }) => assert_eq!(position, other as u64 + 1),
                found => panic!("lines {one} and {other}: {found:?}"),
            }
        }
        let mut twice = lines.clone();
        twice.insert(one, lines[one]);
        assert!(!sound.is_what_was_written(&twice.concat(), &format!("line {one} twice")).await);
    }
}

#[tokio::test]
async fn a_line_of_another_run_is_damage() {
    let sound = Sound::new("six").await;
    fs::copy(sound.path(), sound.folder.path().join("other.jsonl")).unwrap();
    let read = File::new(sound.folder.path()).read(&RunId::parse("other").unwrap(), 0, 10).await;
    assert!(matches!(read, Err(JournalError::Damaged { position: 1, .. })), "{read:?}");
}

#[tokio::test]
async fn a_damaged_run_does_not_hide_the_others_and_can_be_deleted() {
    let sound = Sound::new("six").await;
    let journal = File::new(sound.folder.path());
    journal.append(request(&RunId::parse("b").unwrap(), 0, &["sound"])).await.unwrap();
    fs::write(sound.path(), "garbage\n").unwrap();
    fs::create_dir(sound.folder.path().join("stray.jsonl")).unwrap();
    let page = journal.list(RunFilter::default()).await.unwrap();
    let rows = page.rows.iter().map(|row| (row.run_id.as_str(), row.index.status.as_str()));
    assert_eq!(rows.collect::<Vec<_>>(), [("b", "running"), ("stray", "damaged"), ("r", "damaged")]);
    assert_eq!(journal.delete(&run()).await, Ok(()));
    assert_eq!(journal.append(request(&run(), 0, &["one"])).await, Ok(1));
}

#[tokio::test]
async fn a_record_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"v":4,"event":{"entirely":"other"}}"#;
    let frame = Frame::new(1, Some(record::sum_of(&run(), 1, text)), 0, Some(Row::default()));
    let mut line = String::new();
    line::write(&run(), &frame, Some(text), &mut line).unwrap();
    fs::write(folder.path().join("r.jsonl"), line).unwrap();
    assert_eq!(all(folder.path()).await, Err(JournalError::TooNew { found: 4, supported: 3 }));
}
