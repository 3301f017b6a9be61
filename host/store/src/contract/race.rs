//! Laws of writers that race.
//!
//! It must not need threads: a store that does its work elsewhere gets all requests at once.

use super::sample::{append, at, event, read_all, request, run};
use super::{Law, Verdict, done, same};
use cofferdam_core::port::{Journal, JournalError, LeaseRequest, Owner};
use futures_util::future::join_all;
use std::time::Duration;

pub(super) const LAWS: &[Law<dyn Journal>] = &[
    Law { sentence: "of racing writers exactly one wins a head", holds: |journal| Box::pin(one_wins(journal)) },
    Law {
        sentence: "racing writers that try again all get through, each once",
        holds: |journal| Box::pin(all_pass(journal)),
    },
    Law {
        sentence: "of owners that ask for a lease at once exactly one gets it",
        holds: |journal| Box::pin(one_holds(journal)),
    },
    Law { sentence: "runs that are written at once keep apart", holds: |journal| Box::pin(many_runs(journal)) },
];

const WRITERS: u64 = 100;

async fn one_wins(journal: &dyn Journal) -> Verdict {
    let run = run("raced");
    for head in 0..3 {
        let writers = (0..WRITERS)
            .map(|writer| journal.append(request(&run, head, vec![event(&run, head + 1, &writer.to_string())])));
        let (mut won, mut lost) = (0, 0);
        for result in join_all(writers).await {
            match result {
                Ok(new) if new == head + 1 => won += 1,
                Err(JournalError::Conflict { expected, .. }) if expected == head => lost += 1,
                other => return Err(format!("a writer at head {head} found {other:?}")),
            }
        }
        same("winners and losers", &(won, lost), &(1, WRITERS - 1))?;
    }
    same("the head", &done("reading", read_all(journal, &run).await)?.head, &3)
}

async fn all_pass(journal: &dyn Journal) -> Verdict {
    let run = &run("queued");
    append(journal, run, 0, 1).await?;
    let writers = (0..WRITERS).map(|writer| async move {
        let (mut head, text) = (1, writer.to_string());
        // Each conflict means that another writer got through.
        for _ in 0..=WRITERS {
            match journal.append(request(run, head, vec![event(run, head + 1, &text)])).await {
                Err(JournalError::Conflict { found, .. }) => head = found,
                other => return done("a writer", other),
            }
        }
        Err(format!("writer {writer} never got through"))
    });
    let mut heads = join_all(writers).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    heads.sort_unstable();
    same("the heads that were won", &heads, &(2..=WRITERS + 1).collect())?;
    let page = done("reading", read_all(journal, run).await)?;
    same("the count", &(page.records.len() as u64), &(WRITERS + 1))
}

async fn one_holds(journal: &dyn Journal) -> Verdict {
    let ask = |pid| LeaseRequest {
        run: run("wanted"),
        owner: Owner { host: "host".to_owned(), boot_id: "boot".to_owned(), pid, process_started: 7 },
        epoch: 0,
        now: at(0),
        hold: Duration::from_secs(30),
        owner_is_gone: false,
    };
    let answers = join_all((1..=20).map(|pid| journal.lease(ask(pid)))).await;
    let holder = answers.iter().find_map(|answer| answer.as_ref().ok());
    let Some(holder) = holder else { return Err(format!("nobody got it: {answers:?}")) };
    for answer in &answers {
        match answer {
            Ok(lease) => same("the holder", lease, holder)?,
            Err(JournalError::Held(lease)) => same("who holds it", &**lease, holder)?,
            Err(other) => return Err(format!("an owner found {other:?}")),
        }
    }
    same("the epoch", &holder.epoch, &1)
}

async fn many_runs(journal: &dyn Journal) -> Verdict {
    let runs: Vec<_> = (0..WRITERS).map(|number| run(&format!("run-{number}"))).collect();
    let writers = (0_u64..).zip(&runs).map(|(number, run)| async move {
        let head = append(journal, run, 0, number % 5 + 1).await?;
        append(journal, run, head, 2).await
    });
    let heads = join_all(writers).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    for ((number, run), head) in (0_u64..).zip(&runs).zip(heads) {
        same("the head", &head, &(number % 5 + 3))?;
        same("the head when read", &done("reading", read_all(journal, run).await)?.head, &head)?;
    }
    Ok(())
}
