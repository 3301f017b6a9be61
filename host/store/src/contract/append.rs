//! Laws of appending and reading.
//!
//! It must not know of listings, blobs or leases.

use super::sample::{answer, append, event, note, read_all, record, request, run, shapes};
use super::{Law, Verdict, done, refused, same};
use cofferdam_core::event::Body;
use cofferdam_core::port::{Durability, Journal, JournalError};

pub(super) const LAWS: &[Law<dyn Journal>] = &[
    Law { sentence: "positions are dense from 1", holds: |journal| Box::pin(positions(journal)) },
    Law { sentence: "records come back as they were", holds: |journal| Box::pin(shapes_survive(journal)) },
    Law {
        sentence: "an append at another head is a conflict and writes nothing",
        holds: |journal| Box::pin(conflicts(journal)),
    },
    Law { sentence: "an append is all or nothing", holds: |journal| Box::pin(atomic(journal)) },
    Law { sentence: "pages of any size give the same records", holds: |journal| Box::pin(pages(journal)) },
    Law {
        sentence: "an answer that two records have comes back in both, wherever a page begins",
        holds: |journal| Box::pin(answers(journal)),
    },
    Law { sentence: "runs do not see each other", holds: |journal| Box::pin(apart(journal)) },
    Law { sentence: "both durabilities are read back", holds: |journal| Box::pin(durabilities(journal)) },
];

async fn positions(journal: &dyn Journal) -> Verdict {
    let run = run("dense");
    same("the head after 3", &append(journal, &run, 0, 3).await?, &3)?;
    same("the head after 1 more", &append(journal, &run, 3, 1).await?, &4)?;
    same("the head after none", &append(journal, &run, 4, 0).await?, &4)?;
    let page = done("reading", read_all(journal, &run).await)?;
    same("the first position", &page.first, &1)?;
    same("the head of the page", &page.head, &4)?;
    same("the count", &page.records.len(), &4)
}

async fn shapes_survive(journal: &dyn Journal) -> Verdict {
    let run = run("0198c0de-Run_7");
    let wanted = shapes(&run);
    done("appending", journal.append(request(&run, 0, wanted.clone())).await)?;
    let page = done("reading", read_all(journal, &run).await)?;
    page.records.iter().zip(&wanted).try_for_each(|(found, wanted)| same("a record", found, wanted))?;
    same("the count", &page.records.len(), &wanted.len())
}

async fn conflicts(journal: &dyn Journal) -> Verdict {
    let run = run("fenced");
    let conflict = |expected, found| move |error: &JournalError| *error == JournalError::Conflict { expected, found };
    let late = || vec![event(&run, 9, "late")];
    refused("behind the head of no run", journal.append(request(&run, 2, late())).await, conflict(2, 0))?;
    append(journal, &run, 0, 2).await?;
    refused("at the beginning again", journal.append(request(&run, 0, late())).await, conflict(0, 2))?;
    refused("before the head", journal.append(request(&run, 1, late())).await, conflict(1, 2))?;
    refused("behind the head", journal.append(request(&run, 3, late())).await, conflict(3, 2))?;
    refused("an empty one before the head", journal.append(request(&run, 1, Vec::new())).await, conflict(1, 2))?;
    let page = done("reading", read_all(journal, &run).await)?;
    same("the count", &page.records.len(), &2)
}

async fn atomic(journal: &dyn Journal) -> Verdict {
    let (one, other) = (run("one"), run("other"));
    let is_invalid = |error: &JournalError| matches!(error, JournalError::Invalid(_));
    let foreign = vec![event(&one, 1, "mine"), event(&other, 2, "not mine"), event(&one, 3, "mine")];
    refused("an event of another run", journal.append(request(&one, 0, foreign)).await, is_invalid)?;
    let transient = record(&one, 2, Body::OutputDelta { turn: 1, text: "a".to_owned() });
    let transient = vec![event(&one, 1, "stays"), transient];
    refused("a transient event", journal.append(request(&one, 0, transient)).await, is_invalid)?;
    refused("a run without a record", journal.append(request(&one, 0, Vec::new())).await, is_invalid)?;
    refused("the run", read_all(journal, &one).await, |error| matches!(error, JournalError::NotFound(_)))
}

async fn pages(journal: &dyn Journal) -> Verdict {
    let run = run("paged");
    append(journal, &run, 0, 25).await?;
    let all = done("reading", read_all(journal, &run).await)?;
    for limit in [1, 7, 25, 26, usize::MAX] {
        let (mut after, mut records) = (0, Vec::new());
        while after < 25 {
            let page = done("a page", journal.read(&run, after, limit).await)?;
            same("where a page begins", &page.first, &(after + 1))?;
            same("the head of a page", &page.head, &25)?;
            if page.records.is_empty() || page.records.len() > limit {
                return Err(format!("a page of at most {limit} has {} records", page.records.len()));
            }
            after += page.records.len() as u64;
            records.extend(page.records);
        }
        same("the records of all pages", &records, &all.records)?;
    }
    for (after, limit) in [(25, 5), (1_000, 5), (u64::MAX, 5), (0, 0)] {
        let page = done("an empty page", journal.read(&run, after, limit).await)?;
        same("an empty page", &page.records.len(), &0)?;
        same("the head of an empty page", &page.head, &25)?;
    }
    Ok(())
}

async fn answers(journal: &dyn Journal) -> Verdict {
    let run = run("said");
    let wanted: Vec<_> = (1..=9).step_by(2).flat_map(|seq| answer(&run, seq, "what the agent said. ")).collect();
    done("appending", journal.append(request(&run, 0, wanted.clone())).await)?;
    for after in 0..wanted.len() {
        for limit in [1, 2, 100] {
            let page = done("a page", journal.read(&run, after as u64, limit).await)?;
            let there = wanted.iter().skip(after).take(limit).cloned().collect();
            same("the records of a page", &page.records, &there)?;
        }
    }
    Ok(())
}

async fn apart(journal: &dyn Journal) -> Verdict {
    let runs = [run("a"), run("A"), run("a-1")];
    for (count, run) in (1..).zip(&runs) {
        append(journal, run, 0, count).await?;
    }
    for (count, run) in (1..).zip(&runs) {
        same("the head", &done("reading", read_all(journal, run).await)?.head, &count)?;
    }
    let missing = run("b");
    refused("a run that is not there", read_all(journal, &missing).await, |error| {
        *error == JournalError::NotFound("b".to_owned())
    })
}

async fn durabilities(journal: &dyn Journal) -> Verdict {
    let run = run("durable");
    let order = [Durability::Written, Durability::Durable, Durability::Written];
    for (head, durability) in (0..).zip(order) {
        let mut append = request(&run, head, vec![note(1, "mark")]);
        append.durability = durability;
        done("appending", journal.append(append).await)?;
    }
    same("the head", &done("reading", read_all(journal, &run).await)?.head, &3)
}
