//! Laws of leases.
//!
//! It must not know a clock: a request brings its time.

use super::sample::{at, run};
use super::{Law, Verdict, done, refused, same};
use cofferdam_core::port::{Journal, JournalError, Lease, LeaseRequest, Owner};
use std::time::Duration;

pub(super) const LAWS: &[Law<dyn Journal>] = &[
    Law { sentence: "a lease is given once and renewed by its epoch", holds: |journal| Box::pin(renewal(journal)) },
    Law { sentence: "a lease that ended may be taken, with a new epoch", holds: |journal| Box::pin(expiry(journal)) },
    Law { sentence: "an owner that is gone is replaced at once", holds: |journal| Box::pin(gone(journal)) },
    Law { sentence: "the same owner asking anew fences off its older self", holds: |journal| Box::pin(anew(journal)) },
    Law { sentence: "an epoch that was never given cannot be renewed", holds: |journal| Box::pin(unknown(journal)) },
    Law {
        sentence: "who holds a run can be looked up, which changes nothing",
        holds: |journal| Box::pin(looked_up(journal)),
    },
];

const HOLD: Duration = Duration::from_secs(30);

fn owner(pid: u32) -> Owner {
    Owner { host: "host".to_owned(), boot_id: "boot".to_owned(), pid, process_started: 7 }
}

fn ask(pid: u32, epoch: u64, second: i64) -> LeaseRequest {
    LeaseRequest { run: run("leased"), owner: owner(pid), epoch, now: at(second), hold: HOLD, owner_is_gone: false }
}

fn lease(pid: u32, epoch: u64, second: i64) -> Lease {
    Lease { owner: owner(pid), epoch, until: at(second + 30) }
}

async fn given(journal: &dyn Journal, what: &str, request: LeaseRequest, wanted: Lease) -> Verdict {
    same(what, &done(what, journal.lease(request).await)?, &wanted)
}

async fn held(journal: &dyn Journal, what: &str, request: LeaseRequest, by: Lease) -> Verdict {
    refused(what, journal.lease(request).await, |error| *error == JournalError::Held(Box::new(by)))
}

async fn lost(journal: &dyn Journal, what: &str, request: LeaseRequest, found: u64) -> Verdict {
    let expected = request.epoch;
    refused(what, journal.lease(request).await, |error| *error == JournalError::Conflict { expected, found })
}

async fn renewal(journal: &dyn Journal) -> Verdict {
    given(journal, "the first", ask(1, 0, 0), lease(1, 1, 0)).await?;
    held(journal, "another owner", ask(2, 0, 10), lease(1, 1, 0)).await?;
    given(journal, "the renewal", ask(1, 1, 20), lease(1, 1, 20)).await?;
    held(journal, "another owner after the first end", ask(2, 0, 40), lease(1, 1, 20)).await?;
    given(journal, "a late renewal that nobody forestalled", ask(1, 1, 90), lease(1, 1, 90)).await
}

async fn expiry(journal: &dyn Journal) -> Verdict {
    given(journal, "the first", ask(1, 0, 0), lease(1, 1, 0)).await?;
    held(journal, "one second before the end", ask(2, 0, 29), lease(1, 1, 0)).await?;
    given(journal, "at the end", ask(2, 0, 30), lease(2, 2, 30)).await?;
    held(journal, "the renewal of the first", ask(1, 1, 31), lease(2, 2, 30)).await?;
    lost(journal, "the renewal of the first after the end of the second", ask(1, 1, 70), 2).await
}

async fn gone(journal: &dyn Journal) -> Verdict {
    let replace = |epoch| LeaseRequest { owner_is_gone: true, ..ask(2, epoch, 1) };
    given(journal, "the first", ask(1, 0, 0), lease(1, 1, 0)).await?;
    held(journal, "replacing an epoch that is not there", replace(9), lease(1, 1, 0)).await?;
    given(journal, "replacing the epoch that is there", replace(1), lease(2, 2, 1)).await?;
    given(journal, "replacing whoever is there", LeaseRequest { owner: owner(3), ..replace(0) }, lease(3, 3, 1)).await
}

async fn anew(journal: &dyn Journal) -> Verdict {
    given(journal, "the first", ask(1, 0, 0), lease(1, 1, 0)).await?;
    given(journal, "the second", ask(1, 0, 1), lease(1, 2, 1)).await?;
    lost(journal, "the renewal of the first", ask(1, 1, 2), 2).await?;
    given(journal, "the renewal of the second", ask(1, 2, 3), lease(1, 2, 3)).await
}

async fn unknown(journal: &dyn Journal) -> Verdict {
    lost(journal, "of no lease", ask(1, 4, 0), 0).await?;
    given(journal, "the first", ask(1, 0, 0), lease(1, 1, 0)).await?;
    lost(journal, "of another", ask(1, 4, 0), 1).await
}

async fn looked_up(journal: &dyn Journal) -> Verdict {
    let leased = run("leased");
    same("the holder of a run that nobody holds", &done("the look", journal.holder(&leased).await)?, &None)?;
    given(journal, "the first", ask(1, 0, 10), lease(1, 1, 10)).await?;
    for look in ["a look", "another look"] {
        same(look, &done(look, journal.holder(&leased).await)?, &Some(lease(1, 1, 10)))?;
    }
    given(journal, "the renewal", ask(1, 1, 20), lease(1, 1, 20)).await?;
    same("the renewed one", &done("the look", journal.holder(&leased).await)?, &Some(lease(1, 1, 20)))?;
    given(journal, "another owner, after its end", ask(2, 0, 50), lease(2, 2, 50)).await?;
    same("the other one", &done("the look", journal.holder(&leased).await)?, &Some(lease(2, 2, 50)))
}
