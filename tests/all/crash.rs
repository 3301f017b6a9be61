//! Crashes: a process that is killed after any append, before and after any effect, or at any moment, is followed by one
//! that goes on; what comes out is what would have come out, no effect is lost and none is silently doubled. The same
//! after a power cut (`crash/power.rs`), where the disk fails (`crash/faults.rs`), and never a wrong answer from a damaged store
//! (`crash/damage.rs`).
//!
//! `KILLS=200` kills so often at random moments, on each store, and as many pairs of processes race for one run.

mod damage;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod layer;
mod mail;
mod plot;
#[cfg(target_os = "linux")]
mod power;
mod stage;
#[cfg(target_os = "linux")]
mod trace;
mod worker;

use cofferdam::Journal;
use cofferdam::core::port::{RecordBody, RunFilter};
use cofferdam::store::Sqlite;
use rustix::process::{Pid, Signal, kill_process};
use stage::{Count, Ended, ORDER, Stage, Whole};
use std::io::Write as _;
use std::time::{Duration, Instant};
use worker::{Failpoint, Order, Report, Store, Unknown};

/// Not a check of its own: the tests below start this process as their worker.
#[test]
fn a_worker_carries_out_its_order() {
    if let Some(order) = std::env::var_os(ORDER) {
        worker::work(&serde_json::from_str(order.to_str().unwrap()).unwrap());
    }
}

/// Kills at each of these places, and goes on each time.
fn kill_at_each(store: Store, what: &str, most: impl Fn(&Report) -> usize, at: impl Fn(usize) -> Failpoint) -> Count {
    let whole = Whole::of(store);
    let (most, mut count) = (most(&whole.report), Count::default());
    for number in 1..=most {
        let stage = Stage::new(store, 0);
        match stage.work(at(number)) {
            // Group commits differ from run to run: this one had fewer.
            Ended::Itself(report) => assert_eq!(report.status, "completed"),
            Ended::Killed => {
                count.kills += 1;
                count.recover(&stage, &whole);
            }
        }
    }
    tell(&format!("{store:?}, {what}: {most} places, {count:?}"));
    assert!(count.kills * 10 >= most * 8, "{what}: {count:?}");
    count
}

#[test]
fn a_kill_after_any_append_changes_nothing() {
    for store in [Store::Sqlite, Store::File] {
        kill_at_each(store, "after each append", |report| report.appends, Failpoint::AfterAppend);
    }
}

#[test]
fn a_kill_before_any_effect_changes_nothing() {
    let count = kill_at_each(Store::Sqlite, "before each effect", |report| report.effects, Failpoint::BeforeEffect);
    assert!(count.resumes >= count.kills);
}

#[test]
fn a_kill_right_after_any_effect_doubles_none_silently() {
    let count = kill_at_each(Store::Sqlite, "after each effect", |report| report.effects, Failpoint::AfterEffect);
    // Effects that cannot be repeated were left alone, and somebody was asked.
    assert!(count.unknown > 0 && count.repeated > 0, "{count:?}");
}

#[test]
fn a_store_that_refuses_an_append_stops_the_run_and_loses_nothing() {
    let whole = Whole::of(Store::Sqlite);
    type Fault = fn(usize) -> Failpoint;
    let faults: [(&str, Fault, &str); 3] = [
        ("refused", Failpoint::Refused, "the test refuses it"),
        ("full", Failpoint::Full, "the test's disk is full"),
        ("denied", Failpoint::Denied, "the test denies it"),
    ];
    for (what, fault, said) in faults {
        let mut count = Count::default();
        // Every third is enough: they differ little.
        for number in (1..=whole.report.appends).step_by(3) {
            let stage = Stage::new(Store::Sqlite, 0);
            let Ended::Itself(report) = stage.work(fault(number)) else { panic!("nobody dies of it") };
            if report.appends < number {
                assert_eq!(report.status, "completed");
                continue;
            }
            let error = report.error.unwrap_or_default();
            assert!(
                report.status.is_empty() && error.contains("the journal failed") && error.contains(said),
                "{error}"
            );
            count.kills += 1;
            count.recover(&stage, &whole);
        }
        tell(&format!("{what}: {count:?}"));
        assert!(count.kills > 5, "{what}: {count:?}");
    }
}

#[test]
fn two_processes_keep_their_runs_in_one_database() {
    let stage = Stage::new(Store::Sqlite, 0);
    let order = |prefix: &str| Order {
        many: Some((prefix.to_owned(), 20)),
        ..stage.order(&format!("{prefix}.json"), Failpoint::Never, Unknown::Look)
    };
    let children = ["a", "b"].map(|prefix| (prefix, stage.spawn_with(&order(prefix))));
    for (prefix, child) in children {
        let Ended::Itself(report) = stage.end_with(&format!("{prefix}.json"), child) else { panic!("nobody dies") };
        assert_eq!((report.status.as_str(), report.error), ("completed", None));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let journal = Sqlite::new(stage.path(worker::SQLITE));
    let rows = runtime.block_on(journal.list(RunFilter::default())).unwrap().rows;
    assert!(rows.len() == 40 && rows.iter().all(|row| row.index.status == "completed"), "{rows:?}");
    for row in rows {
        let page = runtime.block_on(journal.read(&row.run_id, 0, 1_000)).unwrap();
        let seqs = page.records.iter().filter_map(|record| match &record.body {
            RecordBody::Event(event) => Some(event.seq),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        });
        assert!(seqs.eq(1..=page.records.len() as u64 - 1), "{}", row.run_id);
    }
    assert_eq!(stage.effects().len(), 120);
}

/// Shown by `--nocapture`, and where a test fails.
fn tell(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// How often processes are killed at random on each of the three stores, or race: 200 kills in all.
pub(crate) fn kills() -> usize {
    kills_or(67)
}

/// The same, where so many are few enough.
pub(crate) fn kills_or(few: usize) -> usize {
    let given = std::env::var_os("KILLS").and_then(|text| text.to_str()?.parse().ok());
    given.unwrap_or(few).max(1)
}

/// Numbers that look random, the same in every test.
pub(crate) fn chances() -> impl FnMut(u64) -> u64 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// Lets a worker run for a random time, then kills it; says whether it was still there.
fn kill_at_random(stage: &Stage, whole: Duration, chance: &mut impl FnMut(u64) -> u64) -> bool {
    let child = stage.spawn(Failpoint::Never, Unknown::Look);
    std::thread::sleep(Duration::from_micros(chance(u64::try_from(whole.as_micros()).unwrap())));
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    matches!(stage.end(child), Ended::Killed)
}

fn killed_at_random(store: Store) {
    let whole = Whole::of(store);
    let started = Instant::now();
    Stage::new(store, 2).finish(Unknown::Look);
    let takes = started.elapsed();
    let (mut chance, mut count) = (chances(), Count::default());
    for _ in 0..kills() {
        let stage = Stage::new(store, 2);
        let killed = kill_at_random(&stage, takes, &mut chance);
        // Every other one is killed again while it goes on.
        if killed && chance(2) == 0 {
            kill_at_random(&stage, takes, &mut chance);
        }
        count.kills += usize::from(killed);
        count.recover(&stage, &whole);
    }
    tell(&format!("killed at random, {store:?}: {count:?}"));
    assert!(count.kills > 0);
}

#[test]
fn a_kill_at_any_moment_changes_nothing_in_sqlite() {
    killed_at_random(Store::Sqlite);
}

#[test]
fn a_kill_at_any_moment_changes_nothing_in_files() {
    killed_at_random(Store::File);
}

#[test]
fn a_kill_at_any_moment_changes_nothing_in_a_plugin() {
    killed_at_random(Store::Plugin);
}

#[test]
fn of_two_processes_that_take_up_a_run_one_works() {
    let whole = Whole::of(Store::Sqlite);
    let (mut refused, mut chance) = (0, chances());
    for _ in 0..kills() {
        let stage = Stage::new(Store::Sqlite, 1);
        let number = 1 + usize::try_from(chance(whole.report.appends as u64 / 2)).unwrap();
        assert!(matches!(stage.work(Failpoint::AfterAppend(number)), Ended::Killed));
        let names = ["one.json", "other.json"];
        let rivals = names.map(|name| stage.spawn_to(name, Failpoint::Never, Unknown::Look));
        let (mut at_work, mut settled) = (0, 1);
        for (name, rival) in names.into_iter().zip(rivals) {
            let Ended::Itself(report) = stage.end_with(name, rival) else { panic!("nobody kills these") };
            at_work += usize::from(report.appends > 0);
            // A run that ended with an effect that nobody knows of has ended: who comes later takes it up again.
            settled += usize::from(report.error.as_deref() == Some("effect_unknown"));
            if report.appends == 0 && report.status.is_empty() {
                refused += 1;
                let error = report.error.unwrap();
                assert!(error.contains("held by process"), "{error}");
            }
        }
        let worked = (1..=settled).contains(&at_work);
        assert!(worked, "one of them works, the other names it or finds the run done: {at_work} worked");
        Count::default().recover(&stage, &whole);
    }
    tell(&format!("races: {refused} of {} found the run held", kills()));
}
