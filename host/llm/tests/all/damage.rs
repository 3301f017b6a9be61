//! Folders and files that are not what they should be.

use crate::asking::{fault, names, record, recording, replay, replaying, request, said, server};
use crate::folder::{self, Folder};
use cofferdam_llm::Api;
use cofferdam_llm::tape::{Shelf as _, TapeError};
use std::error::Error as _;
use std::fs;

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
    let cut = refused(&whole[..whole.len() / 2]).to_string();
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
