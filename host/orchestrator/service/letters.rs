//! Dead letters: events that a sink will never take, kept until somebody sends or drops them.
//!
//! It must not deliver anything.

use cofferdam_core::event::RunEvent;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::Alias;
use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, PutOne, Puts, Quota, Rejection, State, StateEntry};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An event that a sink refused for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// `RUN/SEQ`, or `RUN/SEQ.SUB` for an event that no journal keeps: names the letter.
    #[serde(default)]
    pub key: String,
    /// What the sink said.
    pub reason: String,
    /// The event in its public form; none when it was too large to be kept here.
    pub event: Option<Arc<RunEvent>>,
}

/// The dead letters of one sink.
pub(super) struct Letters {
    state: Arc<dyn State>,
    namespace: String,
}

impl Letters {
    pub(super) fn new(state: &Arc<dyn State>, alias: &Alias) -> Self {
        Self { state: Arc::clone(state), namespace: format!("dead-letters/{alias}") }
    }

    /// Keeps what can never be delivered.
    ///
    /// # Errors
    /// When there are too many already, or the state cannot be written.
    pub(super) async fn keep(&self, events: &[Arc<RunEvent>], rejected: &[Rejection]) -> Result<(), Fault> {
        let refused = rejected.iter().filter_map(|rejection| Some((events.get(rejection.index)?, rejection)));
        let writes: Vec<PutOne> = refused.map(|(event, rejection)| write_of(event, &rejection.reason)).collect();
        if writes.is_empty() {
            return Ok(());
        }
        let quota = Quota { prefix: "", entries: limits::SINK_DEAD_LETTERS, bytes: limits::SINK_DEAD_LETTER_BYTES };
        let puts = Puts { namespace: self.namespace.clone(), writes, quota: Some(quota) };
        match self.state.put_all(puts).await {
            Ok(_) => Ok(()),
            Err(JournalError::Full(why)) => {
                let message = format!("it has no room for more dead letters: {why}");
                Err(Fault::user("sink_dead_letters", message).with_hint("`cofferdam sinks drop` makes room"))
            }
            Err(error) => Err(super::lost(&error)),
        }
    }

    /// All of them, by run and in order.
    pub(super) async fn all(&self) -> Result<Vec<DeadLetter>, JournalError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.state.scan(&self.namespace, "", after.as_deref(), limits::SINK_RECORDS).await?;
            after = page.last().map(|entry| entry.key.clone());
            let last = page.len() < limits::SINK_RECORDS;
            all.extend(page.iter().map(read));
            if last {
                return Ok(all);
            }
        }
    }

    /// Drops one; says whether it was there.
    pub(super) async fn drop_one(&self, key: &str) -> Result<bool, JournalError> {
        let Some(key) = kept_key(key) else { return Ok(false) };
        if self.state.get(&self.namespace, &key).await?.is_none() {
            return Ok(false);
        }
        let writes = vec![PutOne { key, value: None, expected: None }];
        self.state.put_all(Puts { namespace: self.namespace.clone(), writes, quota: None }).await?;
        Ok(true)
    }
}

fn write_of(event: &Arc<RunEvent>, reason: &str) -> PutOne {
    let letter = |event| DeadLetter { key: String::new(), reason: reason.to_owned(), event };
    let whole = serde_json::to_vec(&letter(Some(Arc::clone(event)))).unwrap_or_default();
    let fits = whole.len() <= limits::STATE_VALUE_BYTES;
    let bytes = if fits { whole } else { serde_json::to_vec(&letter(None)).unwrap_or_default() };
    let key = format!("{}/{:020}/{:020}", event.run_id, event.seq, event.sub.unwrap_or(0));
    PutOne { key, value: Some(Arc::from(bytes)), expected: None }
}

fn read(entry: &StateEntry) -> DeadLetter {
    let unreadable = || DeadLetter { key: String::new(), reason: "it cannot be read".to_owned(), event: None };
    let letter = serde_json::from_slice(&entry.value).unwrap_or_else(|_| unreadable());
    DeadLetter { key: shown_key(&entry.key), ..letter }
}

/// `r/00000000000000000007/00000000000000000000` as `r/7`.
fn shown_key(kept: &str) -> String {
    let mut parts = kept.split('/');
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
    let run = parts.next().unwrap_or_default();
    match (number(parts.next()), number(parts.next())) {
        (seq, 0) => format!("{run}/{seq}"),
        (seq, sub) => format!("{run}/{seq}.{sub}"),
    }
}

/// The other way round; none when it names no event.
fn kept_key(shown: &str) -> Option<String> {
    let (run, place) = shown.split_once('/')?;
    let (seq, sub) = place.split_once('.').unwrap_or((place, "0"));
    let (seq, sub): (u64, u64) = (seq.parse().ok()?, sub.parse().ok()?);
    Some(format!("{run}/{seq:020}/{sub:020}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_by_its_run_and_place() {
        for shown in ["r/7", "0198-a/12.3"] {
            assert_eq!(shown_key(&kept_key(shown).unwrap()), shown);
        }
        for wrong in ["r", "r/x", "r/1.y", "r/-1"] {
            assert_eq!(kept_key(wrong), None);
        }
    }
}
