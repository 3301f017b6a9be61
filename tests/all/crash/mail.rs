//! Crashes while agents write to each other: each message is delivered once or dropped, in order, whatever process it was.
//!
//! It must not know when messages arrive: that differs from run to run.

use super::stage::{Ended, Stage};
use super::tell;
use super::worker::{Failpoint, Store, Unknown};
use cofferdam::core::event::Body;
use cofferdam::core::mail::tally;

#[test]
fn a_kill_among_messages_loses_none_and_delivers_none_twice() {
    for store in [Store::Sqlite, Store::File] {
        let whole = Stage::of_talk(store);
        let appends = whole.finish(Unknown::Look).appends;
        let all = tally(&whole.events()).unwrap();
        assert!(all.posted >= 12 && all.dropped >= 1 && appends > 20, "{all:?}, {appends} appends");
        let (mut kills, mut messages) = (0, 0);
        for number in 1..=appends {
            let stage = Stage::of_talk(store);
            if matches!(stage.work(Failpoint::AfterAppend(number)), Ended::Itself(_)) {
                continue;
            }
            kills += 1;
            let mut report = stage.finish(Unknown::Look);
            let effects = stage.effects();
            assert!(effects.iter().all(|((tool, _), &times)| tool != "once" || times == 1), "doubled: {effects:?}");
            if report.error.as_deref() == Some("effect_unknown") {
                report = stage.finish(Unknown::Retry);
            }
            assert_eq!((report.status.as_str(), &report.error), ("completed", &None), "after {number}: {report:?}");
            let events = stage.events();
            messages += tally(&events).unwrap_or_else(|why| panic!("after {number}: {why}")).posted;
            assert_eq!(stage.done_again(), Vec::<String>::new(), "after {number}");
            let summaries = events.iter().filter(|event| matches!(event.body, Body::Summarized { .. })).count();
            assert_eq!(summaries, 1, "after {number}");
            let written = events.iter().filter(|event| matches!(event.body, Body::MemoryWritten { .. })).count();
            assert_eq!(written, 1, "after {number}");
        }
        tell(&format!("{store:?}, among messages: {kills} kills, {messages} messages"));
        assert!(kills * 10 >= appends * 7, "{kills} of {appends}");
    }
}
