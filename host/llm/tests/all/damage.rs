//! Folders and files that are not what they should be.

use crate::asking::{fault, names, record, recording, replay, replaying, request, said, server};
use crate::folder::{self, Folder};
use cofferdam_llm::tape::{Draft, Shelf, ShelfError, TapeError};
use cofferdam_llm::{Api, Tape};
use std::error::Error as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_folder_that_cannot_be_replayed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none");
    let error = folder::replay(&missing).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read `{}`", missing.display()));
    assert!(error.source().is_some());
    let empty = folder::replay(folder.path()).unwrap_err();
    assert_eq!(empty.to_string(), format!("there are no recordings in `{}`", folder.path().display()));
    assert!(empty.hint().unwrap().contains("--record"));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(folder::replay(&file).is_err());
    assert!(folder::record(file.join("below")).is_err());
}

#[tokio::test]
async fn a_file_that_is_no_whole_recording_of_a_known_version_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    said(&recording(&server, Api::Chat, "text", &record(folder.path())), request("hello")).await;
    let path = folder.path().join(&names(folder.path())[0]);
    let whole = fs::read_to_string(&path).unwrap();
    assert!(whole.starts_with("{\n  \"version\": 1,\n"), "{whole}");
    let refused = |text: &str| {
        fs::write(&path, text).unwrap();
        let error = folder::replay(folder.path()).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert!(error.hint().is_some());
        error
    };
    let half = whole.split_at(whole.len() / 2).0;
    let cut = refused(half).to_string();
    assert!(cut.contains("it ends in the middle"), "{cut}");
    assert!(matches!(refused("{}"), TapeError::Unreadable { .. }));
    assert!(matches!(refused(""), TapeError::Unreadable { .. }));
    let newer = refused(&whole.replacen("\"version\": 1", "\"version\": 7", 1));
    assert!(matches!(newer, TapeError::Version { version: 7, known: 1, .. }), "{newer}");
    fs::write(&path, &whole).unwrap();
    assert!(folder::replay(folder.path()).is_ok());
}

#[tokio::test]
async fn a_file_that_changed_after_the_start_fails_the_request_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    said(&recording(&server, Api::Chat, "text", &record(folder.path())), request("hello")).await;
    let tape = replay(folder.path());
    fs::remove_file(folder.path().join(&names(folder.path())[0])).unwrap();
    let told = fault(&said(&replaying(Api::Chat, "text", &tape), request("hello")).await);
    assert_eq!(told.code, "model_recording_failed");
}

#[tokio::test]
async fn what_a_process_that_died_left_is_not_read_and_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    said(&recording(&server, Api::Chat, "text", &record(folder.path())), request("hello")).await;
    let name = names(folder.path()).remove(0);
    let left = folder.path().join(format!("{}.part", name.replacen("000001", "000002", 1)));
    fs::write(&left, "{ \"version\": 1, \"ke").unwrap();
    fs::write(folder.path().join("README.md"), "how these came to be").unwrap();
    assert_eq!(replay(folder.path()).unused().len(), 1);
    said(&recording(&server, Api::Chat, "text", &record(folder.path())), request("hello")).await;
    assert_eq!(fs::read_to_string(&left).unwrap(), "{ \"version\": 1, \"ke");
    assert!(names(folder.path()).contains(&name.replacen("000001", "000003", 1)), "{:?}", names(folder.path()));
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Folder::new(folder.path());
    let mut draft = shelf.begin("1.json").unwrap().unwrap();
    draft.write(b"half").unwrap();
    assert!(shelf.begin("1.json").unwrap().is_none(), "nobody else gets its name meanwhile");
    assert!(shelf.list().unwrap().is_empty());
    drop(draft);
    assert!(names(folder.path()).is_empty());
    let mut draft = shelf.begin("1.json").unwrap().unwrap();
    draft.write(b"whole").unwrap();
    draft.finish().unwrap();
    assert_eq!(shelf.read("1.json", 5).unwrap(), b"whole");
    assert!(shelf.read("1.json", 4).unwrap_err().source().unwrap().to_string().contains("more than 4 bytes"));
}

#[tokio::test]
async fn where_nothing_can_be_written_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let below = folder.path().join("below");
    let tape = record(&below);
    fs::remove_dir(&below).unwrap();
    let told = fault(&said(&recording(&server, Api::Chat, "text", &tape), request("hello")).await);
    assert_eq!(told.code, "model_recording_failed");
    assert!(told.message.contains(&below.display().to_string()), "{told}");
    assert!(server.requests().is_empty());
}

/// A folder on a disk that has room for so many bytes, and knows the largest write.
struct Metered {
    folder: Folder,
    room: usize,
    largest: Arc<AtomicUsize>,
}

struct MeteredDraft {
    draft: Box<dyn Draft>,
    room: usize,
    largest: Arc<AtomicUsize>,
}

impl Shelf for Metered {
    fn place(&self) -> String {
        self.folder.place()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path(name)
    }

    fn list(&self) -> Result<Vec<String>, ShelfError> {
        self.folder.list()
    }

    fn read(&self, name: &str, max_bytes: usize) -> Result<Vec<u8>, ShelfError> {
        self.folder.read(name, max_bytes)
    }

    fn begin(&self, name: &str) -> Result<Option<Box<dyn Draft>>, ShelfError> {
        let largest = Arc::clone(&self.largest);
        let metered = |draft| Box::new(MeteredDraft { draft, room: self.room, largest }) as Box<dyn Draft>;
        Ok(self.folder.begin(name)?.map(metered))
    }
}

impl Draft for MeteredDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ShelfError> {
        self.largest.fetch_max(bytes.len(), Ordering::Relaxed);
        let full =
            || ShelfError { act: "write", path: "x".to_owned(), source: std::io::Error::other("the disk is full") };
        self.room = self.room.checked_sub(bytes.len()).ok_or_else(full)?;
        self.draft.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<(), ShelfError> {
        self.draft.finish()
    }
}

#[tokio::test]
async fn a_recording_that_finds_no_room_is_given_up_and_the_answer_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let shelf = Metered { folder: Folder::new(folder.path()), room: 5_000, largest: Arc::default() };
    let tape = Arc::new(Tape::record(Arc::new(shelf)).unwrap());
    let heard = said(&recording(&server, Api::Chat, "tokens-500", &tape), request("hello")).await;
    assert!(heard.len() > 500 && heard.iter().all(Result::is_ok));
    assert!(names(folder.path()).is_empty(), "half a recording is none");
    assert_eq!(tape.take_trouble().unwrap().source().unwrap().to_string(), "the disk is full");
    assert!(tape.take_trouble().is_none());
}

#[tokio::test]
async fn a_long_answer_is_written_while_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let largest = Arc::new(AtomicUsize::new(0));
    let shelf = Metered { folder: Folder::new(folder.path()), room: usize::MAX, largest: Arc::clone(&largest) };
    let tape = Arc::new(Tape::record(Arc::new(shelf)).unwrap());
    said(&recording(&server, Api::Chat, "tokens-20000", &tape), request("hello")).await;
    let size = fs::metadata(folder.path().join(&names(folder.path())[0])).unwrap().len();
    let largest = largest.load(Ordering::Relaxed);
    assert!(size > 2_000_000 && largest < 200_000, "{size} bytes, {largest} at once");
}
