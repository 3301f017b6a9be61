//! Several stores on one directory, each as another process would have it: own files, own locks, own memory of where
//! files end.
//!
//! It must not need processes: locks keep open files apart, whoever opened them.

use super::tests::{all, durable, request, run};
use super::*;
use futures_util::future::join_all;

#[tokio::test]
async fn of_two_processes_exactly_one_wins_each_head() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").join("runs");
    let stores: Vec<_> = (0..4).map(|_| File::new(&path)).collect();
    for head in 0..25 {
        let won = join_all(stores.iter().map(|store| store.append(durable(request(&run(), head, &["mine"]))))).await;
        assert_eq!(won.iter().filter(|result| result.is_ok()).count(), 1, "{won:?}");
        let lost = JournalError::Conflict { expected: head, found: head + 1 };
        assert!(won.iter().all(|won| *won == Ok(head + 1) || *won == Err(lost.clone())), "{won:?}");
    }
    assert_eq!(all(&path).await.unwrap().records.len(), 25);
}

/// Each store keeps the file open and remembers where it ended.
#[tokio::test]
async fn what_another_process_did_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (File::new(folder.path()), File::new(folder.path()));
    for head in (0..10).step_by(2) {
        assert_eq!(one.append(request(&run(), head, &["one"])).await, Ok(head + 1));
        assert_eq!(other.append(request(&run(), head + 1, &["two"])).await, Ok(head + 2));
        assert_eq!(one.read(&run(), head, 10).await.unwrap().records.len(), 2);
    }
    other.delete(&run()).await.unwrap();
    let late = one.append(request(&run(), 10, &["late"])).await;
    assert_eq!(late, Err(JournalError::Conflict { expected: 10, found: 0 }));
    assert_eq!(one.read(&run(), 0, 10).await, Err(JournalError::NotFound("r".into())));
    // A run of the same name that is as long is another run.
    for (store, texts) in [(&other, ["1234", "5"]), (&one, ["1", "2345"])] {
        store.append(request(&run(), 0, &texts)).await.unwrap();
        for reader in [&one, &other] {
            let records = reader.read(&run(), 0, 10).await.unwrap().records;
            assert_eq!(records, request(&run(), 0, &texts).records);
        }
        store.delete(&run()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_whole_appends_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, reader) = (File::new(folder.path()), File::new(folder.path()));
    let long = "text ".repeat(5_000);
    writer.append(request(&run(), 0, &["a", &long, "c"])).await.unwrap();
    let writes = tokio::spawn(async move {
        for head in (3..300).step_by(3) {
            writer.append(request(&run(), head, &["a", &"text ".repeat(5_000), "c"])).await.unwrap();
        }
    });
    while !writes.is_finished() {
        let page = reader.read(&run(), 0, 10_000).await.unwrap();
        assert_eq!((page.head % 3, page.records.len() as u64), (0, page.head));
        assert_eq!(reader.list(RunFilter::default()).await.unwrap().rows[0].head % 3, 0);
    }
    writes.await.unwrap();
    assert_eq!(reader.read(&run(), 0, 10_000).await.unwrap().head, 300);
}
