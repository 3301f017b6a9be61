//! Damaged stores, through the surface: a run of which a bit was flipped, a page zeroed or an end cut off is refused, with
//! the place, or goes on to what would have come out.
//!
//! A file of lines that was cut off looks as after an interrupted write, and goes on from there; the calls behind the cut
//! are made again.

use super::stage::{Ended, Stage, Whole};
use super::worker::{self, Failpoint, Report, Store, Unknown};
use super::{chances, plot, tell};
use std::path::PathBuf;

/// How many places are damaged, on each store, of a run that is done and of one that is not.
const PLACES: usize = 250;
const PAGE: usize = 4_096;

/// A run in a store, and what it would come to.
struct Sound {
    store: Store,
    bytes: Vec<u8>,
    witness: String,
    whole: Whole,
}

fn stage(store: Store) -> Stage {
    let stage = Stage::new(store, 0);
    std::fs::write(stage.path("crash.yaml"), plot::SHORT).unwrap();
    stage
}

fn resume(stage: &Stage) -> Report {
    worker::carry_out(&stage.order("report.json", Failpoint::Never, Unknown::Look))
}

/// The one file of a run.
fn file(stage: &Stage) -> PathBuf {
    match stage.store {
        Store::Sqlite => stage.path(worker::SQLITE),
        Store::File | Store::Plugin => stage.path(worker::FILES).join(format!("{}.jsonl", worker::RUN)),
    }
}

impl Sound {
    /// A run that was killed after so many appends, or never.
    fn new(store: Store, killed: Option<usize>) -> Self {
        let done = stage(store);
        let report = done.finish(Unknown::Look);
        assert_eq!(report.status, "completed");
        let whole = Whole { effects: done.effects(), report };
        let stage = killed.map_or(done, |append| {
            let stage = stage(store);
            assert!(matches!(stage.work(Failpoint::AfterAppend(append)), Ended::Killed));
            stage
        });
        if store == Store::Sqlite {
            // All in one file.
            let connection = rusqlite::Connection::open(file(&stage)).unwrap();
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        }
        let (bytes, witness) = (std::fs::read(file(&stage)).unwrap(), stage.path("witness"));
        Self { store, bytes, witness: std::fs::read_to_string(witness).unwrap(), whole }
    }

    /// A stage with these bytes in place of the file.
    fn with(&self, bytes: &[u8]) -> Stage {
        let stage = stage(self.store);
        std::fs::create_dir_all(file(&stage).parent().unwrap()).unwrap();
        std::fs::write(file(&stage), bytes).unwrap();
        std::fs::write(stage.path("witness"), &self.witness).unwrap();
        stage
    }

    /// Damages the file at one place and takes the run up; says whether that was refused.
    fn is_refused(&self, what: &str, bytes: &[u8], is_cut: bool) -> bool {
        let stage = self.with(bytes);
        let report = resume(&stage);
        let what = format!("{:?}, {what}: {report:?}", self.store);
        let doubled = stage.effects().iter().any(|((tool, _), times)| tool == "once" && *times > 1);
        assert!(!doubled || (is_cut && self.store == Store::File), "{what}: {:?}", stage.effects());
        let error = report.error.as_deref().unwrap_or_default();
        if report.status.is_empty() {
            let is_named = error.contains(".cofferdam") || error.contains(worker::RUN);
            assert!(is_named, "{what}");
            return true;
        }
        if error == "effect_unknown" {
            return false;
        }
        assert_eq!((report.status.as_str(), error), ("completed", ""), "{what}");
        assert_eq!((&report.output, &report.steps), (&self.whole.report.output, &self.whole.report.steps), "{what}");
        assert!(stage.effects().keys().eq(self.whole.effects.keys()), "{what}: {:?}", stage.effects());
        false
    }
}

/// Whether nothing but zeros follow a place: then it is as if the file ended there.
fn is_cut(bytes: &[u8], sound: &[u8]) -> bool {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |place| place + 1);
    end < sound.len()
}

fn damaged(store: Store, killed: Option<usize>) {
    let (sound, mut chance, mut refused) = (Sound::new(store, killed), chances(), 0);
    for number in 0..PLACES {
        let place = usize::try_from(chance(sound.bytes.len() as u64)).unwrap();
        let mut bytes = sound.bytes.clone();
        match number % 3 {
            0 => bytes[place] ^= 1 << chance(8),
            1 => {
                let begin = place / PAGE * PAGE;
                let end = (begin + PAGE).min(bytes.len());
                bytes[begin..end].fill(0);
            }
            _ => bytes.truncate(place),
        }
        let what = format!("{killed:?}, damage {number} at byte {place} of {}", sound.bytes.len());
        refused += usize::from(sound.is_refused(&what, &bytes, is_cut(&bytes, &sound.bytes)));
    }
    tell(&format!("damaged, {store:?}, killed after {killed:?}: {refused} of {PLACES} refused"));
    assert!(refused > PLACES / 10, "only {refused} were refused");
}

#[test]
fn a_damaged_store_of_a_run_that_is_done_gives_its_result_or_an_error() {
    damaged(Store::Sqlite, None);
    damaged(Store::File, None);
}

#[test]
fn a_damaged_store_of_a_run_that_is_not_done_goes_on_or_is_refused() {
    damaged(Store::Sqlite, Some(5));
    damaged(Store::File, Some(5));
}
