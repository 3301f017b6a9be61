//! What a process that died in the middle leaves behind: it is in nobody's way.
//!
//! It must not need a process that dies: each case is the files that one would leave.

use super::tests::{all, lease, request, run};
use super::*;
use cofferdam_core::port::RunFilter;
use std::fs;

fn id(bytes: &[u8]) -> BlobId {
    BlobId::of(bytes)
}

async fn put(journal: &File, bytes: &[u8]) {
    journal.put_blob(id(bytes), Arc::from(bytes)).await.unwrap();
}

#[tokio::test]
async fn a_run_that_never_began_is_no_run() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in [&b""[..], b"{\"rec", &[0; 300]] {
        fs::write(folder.path().join("r.jsonl"), bytes).unwrap();
        let journal = File::new(folder.path());
        assert_eq!(all(folder.path()).await, Err(JournalError::NotFound("r".into())));
        assert_eq!(journal.delete(&run()).await, Err(JournalError::NotFound("r".into())));
        assert_eq!(journal.list(RunFilter::default()).await, Ok(RunPage::default()));
        let late = journal.append(request(&run(), 1, &["two"])).await;
        assert_eq!(late, Err(JournalError::Conflict { expected: 1, found: 0 }));
        assert_eq!(journal.append(request(&run(), 0, &["one"])).await, Ok(1));
    }
}

#[tokio::test]
async fn leases_that_were_not_finished_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let journal = File::new(folder.path());
    journal.lease(lease(1)).await.unwrap();
    let path = folder.path().join("leases").join("r.json");
    fs::write(path.with_extension("new"), "{\"owner\"").unwrap();
    assert!(matches!(journal.lease(lease(2)).await, Err(JournalError::Held(_))));
    assert_eq!(journal.lease(lease(1)).await.unwrap().epoch, 2);
    for bytes in [&b""[..], &[0; 200]] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(journal.lease(lease(2)).await.unwrap().epoch, 1);
    }
    fs::write(&path, "{}").unwrap();
    for told in [journal.lease(lease(3)).await.unwrap_err(), journal.holder(&run()).await.unwrap_err()] {
        assert!(told.to_string().contains(path.to_str().unwrap()), "{told}");
    }
}

#[tokio::test]
async fn blobs_that_nobody_came_to_name_stay_and_those_of_removed_files_go() {
    let folder = tempfile::tempdir().unwrap();
    let journal = File::new(folder.path());
    let (one, other, own) = (RunId::parse("One").unwrap(), RunId::parse("other").unwrap(), run());
    put(&journal, b"shared").await;
    for run in [&one, &other, &own] {
        journal.append(request(run, 0, &[id(b"shared").as_str()])).await.unwrap();
    }
    // It was to be named by a run whose process died.
    put(&journal, b"waiting").await;
    journal.delete(&own).await.unwrap();
    assert!(journal.get_blob(&id(b"waiting")).await.is_ok());
    assert!(journal.get_blob(&id(b"shared")).await.is_ok());
    fs::remove_file(folder.path().join("+one.jsonl")).unwrap();
    journal.delete(&other).await.unwrap();
    assert_eq!(journal.get_blob(&id(b"shared")).await, Err(JournalError::NotFound(id(b"shared").as_str().into())));
    let left = fs::read_dir(folder.path().join("blobs")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.map(|name| name.into_string().unwrap()).filter(|name| name.len() > 60).collect();
    assert!(left.iter().all(|name| name.starts_with(id(b"waiting").as_str())), "{left:?}");
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = File::new(folder.path());
    for bytes in [b"one", b"two"] {
        put(&journal, bytes).await;
    }
    let texts = [id(b"one").as_str().to_owned(), id(b"two").as_str().to_owned()];
    journal.append(request(&run(), 0, &[&texts[0], &texts[1]])).await.unwrap();
    // It came to the bytes of the first.
    fs::remove_file(folder.path().join("blobs").join(&texts[0])).unwrap();
    assert_eq!(all(folder.path()).await.unwrap().head, 1 + 1);
    journal.delete(&run()).await.unwrap();
    for bytes in [b"one", b"two"] {
        assert!(matches!(journal.get_blob(&id(bytes)).await, Err(JournalError::NotFound(_))));
    }
    put(&journal, b"one").await;
    assert_eq!(&*journal.get_blob(&id(b"one")).await.unwrap(), b"one");
}

#[tokio::test]
async fn a_blob_that_is_not_what_it_was_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let journal = File::new(folder.path());
    put(&journal, b"bytes").await;
    fs::write(folder.path().join("blobs").join(id(b"bytes").as_str()), "other").unwrap();
    assert!(matches!(journal.get_blob(&id(b"bytes")).await, Err(JournalError::Unavailable(_))));
}
