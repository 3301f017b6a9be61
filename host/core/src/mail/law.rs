//! The law of mail, held against a record: each message that was written was read once or dropped once, in its order.
//!
//! It must not know how messages travel: other routers can be held against it too.

use crate::event::{Body, RunEvent, RunStatus};
use crate::id::StepPath;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many messages a record has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Written.
    pub posted: usize,
    /// Read, or given to a step that they stopped.
    pub delivered: usize,
    /// Reached nobody.
    pub dropped: usize,
}

/// Counts the messages of a run that has ended. Those of a run that waits may still be read.
///
/// # Errors
/// What is against the law, in words: a message that was written twice, read twice, lost, invented, changed or overtaken.
pub fn tally<'e>(events: impl IntoIterator<Item = &'e Arc<RunEvent>>) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut posted: BTreeMap<u64, (&StepPath, &StepPath, &str)> = BTreeMap::new();
    // What a branch took over was written in another run; a run that waits keeps what nobody has read.
    let (mut branch, mut waits) = (false, false);
    let (mut keys, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let mut last: BTreeMap<(&StepPath, &StepPath), u64> = BTreeMap::new();
    for event in events {
        match &event.body {
            Body::RunStarted { branched_from, .. } => branch = branched_from.is_some(),
            Body::RunResumed { .. } => branch = false,
            Body::RunFinished { status, .. } => waits = *status == RunStatus::Waiting,
            Body::MessageDelivered(_) if branch => {}
            Body::MessagePosted(message) => {
                tally.posted += 1;
                if posted.contains_key(&message.id) || !keys.insert(&message.key) {
                    return Err(format!("message {} is written twice", message.id));
                }
                posted.insert(message.id, (&event.path, &message.to, &message.text));
            }
            Body::MessageDelivered(read) => {
                tally.delivered += 1;
                if posted.get(&read.id) != Some(&(&read.from, &event.path, &read.text)) {
                    return Err(format!("message {} is read as another one, or was never written", read.id));
                }
                if !ended.insert(read.id) {
                    return Err(format!("message {} is read twice, or after it was dropped", read.id));
                }
                // What stops a step is not read, and waits for nothing.
                let before = if read.turn == 0 { None } else { last.insert((&read.from, &event.path), read.id) };
                if before.is_some_and(|before| before > read.id) {
                    return Err(format!("message {} was overtaken", read.id));
                }
            }
            Body::MessageDropped(message) => {
                tally.dropped += 1;
                if !posted.contains_key(&message.id) || !ended.insert(message.id) {
                    return Err(format!("message {} is dropped twice, or after it was read", message.id));
                }
            }
            _ => {}
        }
    }
    match posted.keys().find(|id| !ended.contains(*id)) {
        Some(id) if !waits => Err(format!("message {id} is lost")),
        _ => Ok(tally),
    }
}
