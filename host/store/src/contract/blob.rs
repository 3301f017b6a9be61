//! Laws of blobs, and of deleting runs with the blobs that only they have.
//!
//! A run has a blob when one of its records contains the blob's id.

use super::sample::{append, at, event, index, large, long, read_all, request, run};
use super::{Law, Verdict, done, refused, same};
use cofferdam_core::port::{Append, BlobId, Journal, JournalError, LeaseRequest, Owner, Record, RecordBody, RunFilter};
use cofferdam_core::record::spill;
use std::sync::Arc;
use std::time::Duration;

pub(super) const LAWS: &[Law<dyn Journal>] = &[
    Law { sentence: "a blob is what was put under its hash", holds: |journal| Box::pin(put_and_get(journal)) },
    Law { sentence: "a deleted run is gone and may begin again", holds: |journal| Box::pin(delete(journal)) },
    Law {
        sentence: "deleting a run deletes the blobs that only it has",
        holds: |journal| Box::pin(delete_blobs(journal)),
    },
    Law {
        sentence: "deleting a run keeps blobs that a record is about to name",
        holds: |journal| Box::pin(keep_pending(journal)),
    },
    Law {
        sentence: "a blob that stands twice in a record was put once for it",
        holds: |journal| Box::pin(named_twice(journal)),
    },
    Law {
        sentence: "a record without its large values is kept as it is, and has their blobs",
        holds: |journal| Box::pin(keep_spilled(journal)),
    },
];

async fn put(journal: &dyn Journal, bytes: &[u8]) -> Result<BlobId, String> {
    let id = BlobId::of(bytes);
    done("putting a blob", journal.put_blob(id.clone(), Arc::from(bytes)).await)?;
    Ok(id)
}

async fn has(journal: &dyn Journal, what: &str, id: &BlobId, bytes: &[u8]) -> Verdict {
    same(what, &&*done(what, journal.get_blob(id).await)?, &bytes)
}

async fn has_not(journal: &dyn Journal, what: &str, id: &BlobId) -> Verdict {
    refused(what, journal.get_blob(id).await, |error| *error == JournalError::NotFound(id.as_str().to_owned()))
}

/// Appends a record that names blobs.
async fn name(journal: &dyn Journal, name: &str, head: u64, ids: &[&BlobId]) -> Verdict {
    let run = run(name);
    let text = ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
    let request =
        Append { index: Some(index("w", "running")), ..request(&run, head, vec![event(&run, head + 1, &text)]) };
    done("naming a blob", journal.append(request).await).map(drop)
}

async fn put_and_get(journal: &dyn Journal) -> Verdict {
    let large: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    for bytes in [&b""[..], b"small", b"\0\xff\xfe", &large] {
        let id = put(journal, bytes).await?;
        has(journal, "a blob", &id, bytes).await?;
        put(journal, bytes).await?;
        has(journal, "a blob put twice", &id, bytes).await?;
    }
    let wrong = journal.put_blob(BlobId::of(b"one"), Arc::from(&b"other"[..])).await;
    refused("a wrong hash", wrong, |error| matches!(error, JournalError::Invalid(_)))?;
    has_not(journal, "a blob that was refused", &BlobId::of(b"one")).await
}

async fn delete(journal: &dyn Journal) -> Verdict {
    let (gone, stays) = (run("gone"), run("stays"));
    let is_missing = |error: &JournalError| *error == JournalError::NotFound("gone".to_owned());
    refused("deleting no run", journal.delete(&gone).await, is_missing)?;
    name(journal, "gone", 0, &[]).await?;
    name(journal, "stays", 0, &[]).await?;
    append(journal, &gone, 1, 5).await?;
    let owner = Owner { host: "h".to_owned(), boot_id: "b".to_owned(), pid: 1, process_started: 1 };
    let hold = Duration::from_secs(30);
    let lease = LeaseRequest { run: gone.clone(), owner, epoch: 0, now: at(0), hold, owner_is_gone: false };
    done("a lease", journal.lease(lease.clone()).await)?;
    done("deleting", journal.delete(&gone).await)?;
    refused("reading", read_all(journal, &gone).await, is_missing)?;
    refused("deleting twice", journal.delete(&gone).await, is_missing)?;
    let page = done("listing", journal.list(RunFilter::default()).await)?;
    same("the listing", &page.rows.iter().map(|row| row.run_id.clone()).collect(), &vec![stays.clone()])?;
    same("the other run", &done("reading the other", read_all(journal, &stays).await)?.head, &1)?;
    same("the epoch of a new lease", &done("a new lease", journal.lease(lease).await)?.epoch, &1)?;
    append(journal, &gone, 0, 2).await?;
    same("the new run", &done("reading again", read_all(journal, &gone).await)?.records.len(), &2)
}

async fn delete_blobs(journal: &dyn Journal) -> Verdict {
    let (mine, shared) = (put(journal, b"mine").await?, put(journal, b"shared").await?);
    name(journal, "a", 0, &[&mine, &shared]).await?;
    name(journal, "b", 0, &[&shared]).await?;
    // Other ids in a record are no blobs, and do no harm.
    name(journal, "b", 1, &[&BlobId::of(b"never put")]).await?;
    done("deleting", journal.delete(&run("a")).await)?;
    has_not(journal, "the blob of the deleted run", &mine).await?;
    has(journal, "the blob that another run has", &shared, b"shared").await?;
    done("deleting the other", journal.delete(&run("b")).await)?;
    has_not(journal, "the blob of both deleted runs", &shared).await
}

async fn keep_pending(journal: &dyn Journal) -> Verdict {
    let id = put(journal, b"twice").await?;
    name(journal, "a", 0, &[&id]).await?;
    // Another run stores the same bytes, and its record is on the way.
    put(journal, b"twice").await?;
    done("deleting", journal.delete(&run("a")).await)?;
    has(journal, "the blob of the other run", &id, b"twice").await?;
    name(journal, "b", 0, &[&id]).await?;
    done("deleting the other", journal.delete(&run("b")).await)?;
    has_not(journal, "the blob in the end", &id).await
}

async fn named_twice(journal: &dyn Journal) -> Verdict {
    let id = put(journal, b"twice in one").await?;
    // The record of another run is on the way.
    put(journal, b"twice in one").await?;
    name(journal, "a", 0, &[&id, &id]).await?;
    done("deleting", journal.delete(&run("a")).await)?;
    has(journal, "the blob that another run is about to name", &id, b"twice in one").await?;
    name(journal, "b", 0, &[&id]).await?;
    done("deleting the other", journal.delete(&run("b")).await)?;
    has_not(journal, "the blob in the end", &id).await
}

async fn keep_spilled(journal: &dyn Journal) -> Verdict {
    for (name, text) in [("a", "shared"), ("a", "own"), ("b", "shared")] {
        let run = run(name);
        let head = journal.read(&run, 0, 1).await.map_or(0, |page| page.head);
        let whole = large(&run, head + 1, text);
        let (spilled, blobs) = whole.event().and_then(|event| spill(event)).ok_or("nothing is spilled")?;
        for (id, bytes) in blobs {
            done("putting a blob", journal.put_blob(id, bytes).await)?;
        }
        let record = Record { at: whole.at, body: RecordBody::Spilled(Arc::new(spilled)) };
        let index = Some(index("w", "running"));
        let request = Append { index, ..request(&run, head, vec![record.clone(), event(&run, head + 2, "next")]) };
        done("appending", journal.append(request).await)?;
        let page = done("reading", journal.read(&run, head, 1).await)?;
        // A journal that spills by itself gives it back whole.
        let found = page.records.first().filter(|found| **found != whole).unwrap_or(&record);
        same("a record that was spilled", found, &record)?;
    }
    done("deleting", journal.delete(&run("a")).await)?;
    let blob = |text: &str| BlobId::of(long(text).as_bytes());
    has(journal, "a blob of two runs", &blob("shared"), long("shared").as_bytes()).await?;
    has_not(journal, "a blob of the deleted run", &blob("own")).await?;
    done("deleting the other", journal.delete(&run("b")).await)?;
    has_not(journal, "a blob of both deleted runs", &blob("shared")).await
}
