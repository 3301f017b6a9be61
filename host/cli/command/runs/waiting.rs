//! What the runs of a listing wait with: questions, and calls that nobody was there to allow.
//!
//! It must not look through more runs than a person reads about.

use super::each_event;
use super::show::Shown;
use crate::terminal;
use crate::ui::paint;
use cofferdam::core::port::RunRow;
use cofferdam::core::run::Waits;
use cofferdam::sink::{awaited, clean};
use cofferdam::{Journal, OpenApproval, OpenQuestion};
use serde::Serialize;

/// Most runs of a listing whose records are looked through.
const RUNS: usize = 20;

/// Most characters of a question.
const QUESTION_CHARS: usize = 400;

/// What a run waits with.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    questions: Vec<OpenQuestion>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approvals: Vec<OpenApproval>,
}

/// What each of the runs waits with, where it waits; of the latest of them.
pub(super) async fn of(journal: &dyn Journal, rows: &[RunRow]) -> Vec<Option<Waiting>> {
    let (mut found, mut looked) = (Vec::with_capacity(rows.len()), 0);
    for row in rows {
        let looks = row.index.status == "waiting" && looked < RUNS;
        looked += usize::from(looks);
        found.push(if looks { read(journal, row).await } else { None });
    }
    found
}

/// A run that cannot be read is shown as that elsewhere.
async fn read(journal: &dyn Journal, row: &RunRow) -> Option<Waiting> {
    let (mut waits, mut shown) = (Waits::default(), Shown::new(false));
    let all = each_event(journal, &row.run_id, |_, event| {
        waits.note(shown.public(event).as_ref().unwrap_or(event));
        Ok(())
    });
    all.await.ok()?;
    let (questions, approvals) = (waits.open_questions().cloned(), waits.open_approvals().cloned());
    Some(Waiting { questions: questions.collect(), approvals: approvals.collect() })
}

/// Tells below a listing what its runs wait with.
pub(super) fn tell(rows: &[RunRow], waiting: &[Option<Waiting>]) {
    for (row, waiting) in rows.iter().zip(waiting) {
        for line in waiting.iter().flat_map(Waiting::lines) {
            terminal::tell(&format!("{} waits: {line}", paint::quiet(row.run_id.as_str())));
        }
    }
}

impl Waiting {
    fn lines(&self) -> impl Iterator<Item = String> {
        let question = |open: &OpenQuestion| clean(&format!("{}: {}", open.step, open.question), QUESTION_CHARS);
        self.questions.iter().map(question).chain(self.approvals.iter().map(awaited))
    }
}
