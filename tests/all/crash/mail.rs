//! Crashes while agents write to each other: each message is delivered once or dropped, in order, whatever process it was.
//!
//! It must not know when messages arrive: that differs from run to run.

use super::stage::{Ended, Stage};
use super::tell;
use super::worker::{Failpoint, Store, Unknown};
use cofferdam::core::event::{Body, RunEvent};
use cofferdam::core::id::StepPath;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[test]
fn a_kill_among_messages_loses_none_and_delivers_none_twice() {
    for store in [Store::Sqlite, Store::File] {
        let whole = Stage::of_talk(store);
        let appends = whole.finish(Unknown::Look).appends;
        let (posted, dropped) = account(&whole.events());
        assert!(posted >= 12 && dropped >= 1 && appends > 20, "{posted} posted, {dropped} dropped, {appends} appends");
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
            messages += account(&events).0;
            assert_eq!(stage.done_again(), Vec::<String>::new(), "after {number}");
            let summaries = events.iter().filter(|event| matches!(event.body, Body::Summarized { .. })).count();
            assert_eq!(summaries, 1, "after {number}");
        }
        tell(&format!("{store:?}, among messages: {kills} kills, {messages} messages"));
        assert!(kills * 10 >= appends * 7, "{kills} of {appends}");
    }
}

/// Posted = delivered + dropped, each once, in the order in which they were written; how many were posted and dropped.
fn account(events: &[Arc<RunEvent>]) -> (usize, usize) {
    let (mut posted, mut keys) = (BTreeMap::new(), BTreeSet::new());
    let (mut ended, mut dropped) = (BTreeSet::new(), 0);
    let mut last: BTreeMap<(StepPath, StepPath), u64> = BTreeMap::new();
    for event in events {
        match &event.body {
            Body::MessagePosted(message) => {
                assert!(keys.insert(Arc::clone(&message.key)), "written twice: {message:?}");
                assert_eq!(message.id, posted.len() as u64 + 1);
                posted.insert(message.id, (event.path.clone(), message.to.clone(), Arc::clone(&message.text)));
            }
            Body::MessageDelivered(read) => {
                assert!(ended.insert(read.id), "read twice, or read and dropped: {read:?}");
                let wanted = (read.from.clone(), event.path.clone(), Arc::clone(&read.text));
                assert_eq!(posted.get(&read.id), Some(&wanted));
                let before = last.insert((read.from.clone(), event.path.clone()), read.id);
                assert!(before.is_none_or(|before| before < read.id), "overtaken: {read:?} by {before:?}");
            }
            Body::MessageDropped(message) => {
                assert!(ended.insert(message.id), "dropped twice, or after it was read: {message:?}");
                assert!(posted.contains_key(&message.id));
                dropped += 1;
            }
            _ => {}
        }
    }
    assert!(posted.keys().eq(ended.iter()), "posted {posted:?}, ended {ended:?}");
    (posted.len(), dropped)
}
