//! Crashes at every change of the disk: what was answered is there, what was not is there as a whole or not at all, and the
//! same requests again say what happened.

use super::tests::{commit, positions};
use super::{DirJournal, disk, sha256_hex};
use cofferdam_sdk::storage::{LeaseRequest, RunFilter};
use cofferdam_sdk::{Context, Storage as _};
use std::path::Path;

/// Everything that a run does, on a disk that dies after so many operations; what was answered by then.
fn until_death(root: &Path, operations: usize) -> Vec<(String, u64)> {
    disk::die_after(operations);
    let mut answered = Vec::new();
    let ctx = Context::fake();
    if let Ok((mut journal, _)) = DirJournal::at(root) {
        for (run, head, count) in [("a", 0, 2), ("b", 0, 1), ("a", 2, 3), ("a", 5, 1), ("b", 1, 4)] {
            for receipt in journal.commit(&ctx, vec![commit(run, head, count)]).into_iter().flatten() {
                answered.push((run.to_owned(), receipt.head));
            }
        }
    }
    disk::die_never();
    answered
}

#[test]
fn whatever_was_answered_is_there_after_a_crash_at_any_operation() {
    let mut operations = 0;
    loop {
        let root = tempfile::tempdir().unwrap();
        let answered = until_death(root.path(), operations);
        let (mut journal, _) = DirJournal::at(root.path()).unwrap();
        for (run, head) in &answered {
            let found = positions(&mut journal, run);
            assert!(found.len() as u64 >= *head, "{run} has {found:?} and {head} was answered ({operations})");
            assert!(found.iter().copied().eq(1..=found.len() as u64), "{found:?}");
        }
        // The same commits again say what happened, and go on where it ended.
        for (run, head, count) in [("a", 0, 2), ("b", 0, 1), ("a", 2, 3), ("a", 5, 1), ("b", 1, 4)] {
            let answers = journal.commit(&Context::fake(), vec![commit(run, head, count)]);
            assert_eq!(answers[0].as_ref().unwrap().head, head + count, "{run} {head} ({operations})");
        }
        assert_eq!((positions(&mut journal, "a").len(), positions(&mut journal, "b").len()), (6, 5));
        if answered.len() == 5 {
            break;
        }
        operations += 1;
    }
    assert!(operations > 20, "{operations} places to die at");
}

const BLOB: &[u8] = b"a blob that is longer than nothing";

fn ask(owner: &str) -> LeaseRequest {
    LeaseRequest { run: "a".into(), owner: owner.into(), epoch: 0, now_ms: 0, until_ms: 10, owner_is_gone: false }
}

/// What else a run does: how far it came until the disk died.
fn other_work(root: &Path, operations: usize) -> usize {
    let ctx = Context::fake();
    let (mut journal, _) = DirJournal::at(root).unwrap();
    journal.commit(&ctx, vec![commit("a", 0, 2)]);
    disk::die_after(operations);
    let mut done = 0;
    let id = sha256_hex(BLOB);
    let mut named = commit("b", 0, 1);
    named.records[0].body = format!("\"{id}\"").into_bytes();
    let mut work = || -> cofferdam_sdk::Result<()> {
        journal.lease(&ctx, &ask("\"one\""))?;
        done = 1;
        journal.put_blob(&ctx, &id, BLOB)?;
        done = 2;
        journal.commit(&ctx, vec![named.clone()]).remove(0)?;
        done = 3;
        journal.delete(&ctx, "a")?;
        done = 4;
        Ok(())
    };
    let _ = work();
    disk::die_never();
    done
}

#[test]
fn leases_blobs_and_deletions_are_whole_after_a_crash_at_any_operation() {
    let (ctx, id) = (Context::fake(), sha256_hex(BLOB));
    let mut operations = 0;
    loop {
        let root = tempfile::tempdir().unwrap();
        let done = other_work(root.path(), operations);
        let (mut journal, _) = DirJournal::at(root.path()).unwrap();
        let other = journal.lease(&ctx, &ask("\"other\""));
        assert!(!(1..3).contains(&done) || other.is_err(), "the lease was given ({operations})");
        match journal.get_blob(&ctx, &id, 0, 1_000) {
            Ok(bytes) => assert_eq!(bytes, BLOB, "({operations})"),
            Err(error) => assert!(done < 2, "{error} ({operations})"),
        }
        let listed = journal.list(&ctx, &RunFilter::default(), None, 10).unwrap();
        assert!(listed.rows.iter().all(|row| row.index.status == "running"), "({operations})");
        let left = positions(&mut journal, "a").len();
        assert!(left == 2 || (left == 0 && done >= 3), "{left} records are left ({operations})");
        assert!(done < 4 || left == 0, "({operations})");
        // What was not done can be done again.
        assert_eq!(journal.put_blob(&ctx, &id, BLOB), Ok(()), "({operations})");
        if left == 2 {
            journal.delete(&ctx, "a").unwrap();
        }
        assert_eq!(positions(&mut journal, "a").len(), 0);
        if done == 4 {
            break;
        }
        operations += 1;
    }
    assert!(operations > 15, "{operations} places to die at");
}
