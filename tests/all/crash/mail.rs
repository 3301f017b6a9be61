//! Crashes while agents write to each other: each message is delivered once or dropped, in order, whatever process it was, and
//! wherever runs are kept.
//!
//! It must not know when messages arrive: that differs from run to run.

use super::stage::{Ended, Stage};
use super::worker::{Failpoint, Report, Store, Unknown};
use super::{chances, kill_at_random, kills_or, tell};
use cofferdam::core::event::Body;
use cofferdam::core::mail::tally;
use std::time::Instant;

/// What was seen, to be printed.
#[derive(Debug, Default)]
struct Seen {
    kills: usize,
    messages: usize,
    /// Runs with an effect that had happened before anybody knew of it.
    unknown: usize,
}

impl Seen {
    /// Goes on with a killed run until it is done, and looks at what became of its messages.
    fn recover(&mut self, stage: &Stage, what: &str) {
        self.kills += 1;
        let mut report = stage.finish(Unknown::Look);
        let effects = stage.effects();
        assert!(effects.iter().all(|((tool, _), &times)| tool != "once" || times == 1), "doubled: {effects:?}");
        if report.error.as_deref() == Some("effect_unknown") {
            self.unknown += 1;
            report = stage.finish(Unknown::Retry);
        }
        assert_eq!((report.status.as_str(), &report.error), ("completed", &None), "{what}: {report:?}");
        let events = stage.events();
        self.messages += tally(&events).unwrap_or_else(|why| panic!("{what}: {why}")).posted;
        assert_eq!(stage.done_again(), Vec::<String>::new(), "{what}");
        let summaries = events.iter().filter(|event| matches!(event.body, Body::Summarized { .. })).count();
        assert_eq!(summaries, 1, "{what}");
        let written = events.iter().filter(|event| matches!(event.body, Body::MemoryWritten { .. })).count();
        assert_eq!(written, 1, "{what}");
    }
}

/// What a run that nobody kills comes to.
fn whole(store: Store) -> Report {
    let whole = Stage::of_talk(store);
    let report = whole.finish(Unknown::Look);
    let all = tally(&whole.events()).unwrap();
    assert!(all.posted >= 12 && all.dropped >= 1 && report.effects >= 10, "{all:?}, {report:?}");
    report
}

/// Kills at each of these places, and goes on each time.
fn kill_at_each(store: Store, most: usize, at: impl Fn(usize) -> Failpoint) -> Seen {
    let mut seen = Seen::default();
    for number in 1..=most {
        let stage = Stage::of_talk(store);
        // Group commits differ from run to run: this one may have fewer.
        if matches!(stage.work(at(number)), Ended::Killed) {
            seen.recover(&stage, &format!("{store:?}, {:?}", at(number)));
        }
    }
    tell(&format!("{store:?}, {:?}, among messages: {seen:?}", at(most)));
    assert!(seen.kills * 10 >= most * 7 && seen.messages > 0, "{seen:?} of {most}");
    seen
}

#[test]
fn a_kill_among_messages_loses_none_and_delivers_none_twice() {
    for store in [Store::Sqlite, Store::File] {
        let appends = whole(store).appends;
        assert!(appends > 20, "{appends} appends");
        kill_at_each(store, appends, Failpoint::AfterAppend);
    }
}

#[test]
fn nor_does_one_before_or_after_an_effect_wherever_runs_are_kept() {
    for store in [Store::Sqlite, Store::File, Store::Plugin] {
        let effects = whole(store).effects;
        kill_at_each(store, effects, Failpoint::BeforeEffect);
        let after = kill_at_each(store, effects, Failpoint::AfterEffect);
        assert!(after.unknown > 0, "{store:?}: {after:?}");
    }
}

#[test]
fn nor_does_one_at_any_moment_where_a_plugin_keeps_them() {
    whole(Store::Plugin);
    let slow = || Stage { tool_ms: 2, ..Stage::of_talk(Store::Plugin) };
    let started = Instant::now();
    slow().finish(Unknown::Look);
    let (takes, mut chance, mut seen) = (started.elapsed(), chances(), Seen::default());
    for number in 0..kills_or(20) {
        let stage = slow();
        if kill_at_random(&stage, takes, &mut chance) {
            seen.recover(&stage, &format!("killed at random, number {number}"));
        }
    }
    tell(&format!("killed at random among messages: {seen:?}"));
    assert!(seen.kills > 0 && seen.messages > 0, "{seen:?}");
}
