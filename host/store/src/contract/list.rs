//! Laws of listings.
//!
//! It must not know what the words in a row mean.

use super::sample::{append, at, event, index, request, run};
use super::{Law, Verdict, done, refused, same};
use cofferdam_core::port::{Append, Journal, JournalError, RunFilter, RunPage, RunRow};

pub(super) const LAWS: &[Law<dyn Journal>] = &[
    Law { sentence: "an empty store lists nothing", holds: |journal| Box::pin(nothing(journal)) },
    Law { sentence: "the run that was written to last comes first", holds: |journal| Box::pin(order(journal)) },
    Law { sentence: "a listing shows what was appended last", holds: |journal| Box::pin(rows(journal)) },
    Law { sentence: "filters choose runs", holds: |journal| Box::pin(filters(journal)) },
    Law { sentence: "pages of a listing show every run once", holds: |journal| Box::pin(pages(journal)) },
];

/// Makes a run with a row, written to at `second`.
async fn make(journal: &dyn Journal, name: &str, second: i64, workflow: &str, status: &str) -> Verdict {
    let run = run(name);
    let mut record = event(&run, 1, "begin");
    record.at = at(second);
    let request = Append { index: Some(index(workflow, status)), ..request(&run, 0, vec![record]) };
    done("making a run", journal.append(request).await).map(drop)
}

async fn list(journal: &dyn Journal, filter: RunFilter) -> Result<RunPage, String> {
    done("listing", journal.list(filter).await)
}

fn names(rows: &[RunRow]) -> Vec<&str> {
    rows.iter().map(|row| row.run_id.as_str()).collect()
}

async fn nothing(journal: &dyn Journal) -> Verdict {
    same("the page", &list(journal, RunFilter::default()).await?, &RunPage::default())
}

/// Runs that were written to at the same time stand in an order that each store chooses, as long as pages keep to it.
async fn order(journal: &dyn Journal) -> Verdict {
    for (second, name) in [(10, "first"), (30, "third"), (20, "second"), (31, "fourth")] {
        make(journal, name, second, "w", "running").await?;
    }
    append(journal, &run("unlisted"), 0, 1).await?;
    let page = list(journal, RunFilter::default()).await?;
    same("the order", &names(&page.rows), &vec!["fourth", "third", "second", "first"])?;
    let mut again = event(&run("first"), 2, "again");
    again.at = at(40);
    done("writing again", journal.append(request(&run("first"), 1, vec![again])).await)?;
    let page = list(journal, RunFilter::default()).await?;
    same("the order after writing again", &names(&page.rows), &vec!["first", "fourth", "third", "second"])?;
    same("the end of the listing", &page.next, &None)
}

async fn rows(journal: &dyn Journal) -> Verdict {
    make(journal, "shown", 5, "audit", "running").await?;
    append(journal, &run("shown"), 1, 2).await?;
    let mut last = event(&run("shown"), 4, "end");
    last.at = at(50);
    let request = Append { index: Some(index("audit", "completed")), ..request(&run("shown"), 3, vec![last]) };
    done("ending", journal.append(request).await)?;
    let wanted = RunRow { run_id: run("shown"), head: 4, updated_at: at(50), index: index("audit", "completed") };
    same("the rows", &list(journal, RunFilter::default()).await?.rows, &vec![wanted])
}

async fn filters(journal: &dyn Journal) -> Verdict {
    let runs =
        [(1, "a", "x", "running"), (2, "b", "x", "failed"), (3, "c", "y", "completed"), (4, "d", "y'%\"", "failed")];
    for (second, name, workflow, status) in runs {
        make(journal, name, second, workflow, status).await?;
    }
    let cases: [(Option<&str>, &[&str], &[&str]); 6] = [
        (Some("x"), &[], &["b", "a"]),
        (None, &["failed"], &["d", "b"]),
        (None, &["running", "completed"], &["c", "a"]),
        (Some("x"), &["failed"], &["b"]),
        (Some("y'%\""), &[], &["d"]),
        (Some("z"), &[], &[]),
    ];
    for (workflow, statuses, wanted) in cases {
        let filter = RunFilter {
            workflow: workflow.map(str::to_owned),
            statuses: statuses.iter().map(|&status| status.to_owned()).collect(),
            ..RunFilter::default()
        };
        same("the runs", &names(&list(journal, filter).await?.rows), &wanted.to_vec())?;
    }
    Ok(())
}

async fn pages(journal: &dyn Journal) -> Verdict {
    for number in 0..12 {
        make(journal, &format!("run-{number}"), number / 3, "w", "running").await?;
    }
    let all = list(journal, RunFilter::default()).await?;
    same("the count", &all.rows.len(), &12)?;
    for limit in [1, 4, 5, 12, 13] {
        let (mut rows, mut cursor) = (Vec::new(), None);
        loop {
            let page = list(journal, RunFilter { cursor, limit, ..RunFilter::default() }).await?;
            if page.rows.len() > limit || (page.rows.is_empty() && page.next.is_some()) {
                return Err(format!("a page of at most {limit} has {} rows", page.rows.len()));
            }
            rows.extend(page.rows);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        same("the rows of all pages", &names(&rows), &names(&all.rows))?;
    }
    let bad = RunFilter { cursor: Some("elsewhere".to_owned()), ..RunFilter::default() };
    refused("a cursor of another store", journal.list(bad).await, |error| matches!(error, JournalError::Invalid(_)))
}
