//! What a sink is owed: the runs that it has not finished, and how far it is in each. A run without an entry owes it
//! nothing.
//!
//! It must not deliver anything.

use cofferdam_core::id::{Alias, RunId};
use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, Put, State, StateEntry};
use cofferdam_core::value;
use serde_json::{Value, json};
use std::sync::Arc;

/// How far a sink is in a run that it has not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) run: RunId,
    /// The last event that it has taken, or need not take; 0 = none.
    pub(super) seq: u64,
    /// Which orchestrator sees to it.
    pub(super) owner: Option<String>,
    version: u64,
}

/// An entry that was taken on, as it was written last: whoever takes it on after that writes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held(u64);

/// What was written; none when the entry was another.
fn if_it_is<T>(written: Result<T, JournalError>) -> Result<Option<T>, JournalError> {
    match written {
        Ok(done) => Ok(Some(done)),
        Err(JournalError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The entries of one sink, kept under its alias.
pub(super) struct Ledger {
    state: Arc<dyn State>,
    namespace: String,
    /// The mark of this orchestrator.
    owner: String,
}

impl Ledger {
    pub(super) fn new(state: &Arc<dyn State>, alias: &Alias, owner: &str) -> Self {
        Self { state: Arc::clone(state), namespace: format!("sink/{alias}"), owner: owner.to_owned() }
    }

    /// Enters a run of which everything after `seq` is owed, unless it is there already; gives the entry that holds.
    pub(super) async fn enter(&self, run: &RunId, seq: u64) -> Result<Owed, JournalError> {
        if let Some(known) = self.get(run).await? {
            self.write(run, known.seq, None).await?;
            return Ok(known);
        }
        let version = self.write(run, seq, Some(0)).await?;
        Ok(Owed { run: run.clone(), seq, owner: Some(self.owner.clone()), version })
    }

    /// Takes an entry on whose owner is gone; none when somebody else was faster.
    pub(super) async fn take_on(&self, owed: &Owed) -> Result<Option<Held>, JournalError> {
        let version = if_it_is(self.write(&owed.run, owed.seq, Some(owed.version)).await)?;
        Ok(version.map(Held))
    }

    /// Moves the place in a run that goes on here.
    pub(super) async fn move_to(&self, run: &RunId, seq: u64) -> Result<(), JournalError> {
        self.write(run, seq, None).await.map(drop)
    }

    /// Moves the place in a run that was taken on; none when it is somebody else's by now.
    pub(super) async fn move_held(&self, run: &RunId, seq: u64, held: Held) -> Result<Option<Held>, JournalError> {
        Ok(if_it_is(self.write(run, seq, Some(held.0)).await)?.map(Held))
    }

    /// Strikes a run out.
    pub(super) async fn strike_out(&self, run: &RunId) -> Result<(), JournalError> {
        self.remove(run, None).await
    }

    /// Strikes out a run that was taken on, unless it is somebody else's by now.
    pub(super) async fn strike_out_held(&self, run: &RunId, held: Held) -> Result<(), JournalError> {
        if_it_is(self.remove(run, Some(held.0)).await).map(drop)
    }

    async fn remove(&self, run: &RunId, expected: Option<u64>) -> Result<(), JournalError> {
        let put = Put { namespace: self.namespace.clone(), key: run.to_string(), value: None, expected };
        self.state.put_if(put).await.map(drop)
    }

    /// Every entry, the oldest run first.
    pub(super) async fn all(&self) -> Result<Vec<Owed>, JournalError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.state.scan(&self.namespace, "", after.as_deref(), limits::SINK_RUNS).await?;
            after = page.last().map(|entry| entry.key.clone());
            let last = page.len() < limits::SINK_RUNS;
            all.extend(page.iter().filter_map(read));
            if last {
                return Ok(all);
            }
        }
    }

    async fn get(&self, run: &RunId) -> Result<Option<Owed>, JournalError> {
        Ok(self.state.get(&self.namespace, run.as_str()).await?.as_ref().and_then(read))
    }

    async fn write(&self, run: &RunId, seq: u64, expected: Option<u64>) -> Result<u64, JournalError> {
        let value = json!({ "seq": seq, "owner": self.owner }).to_string();
        let value = Some(Arc::from(value.into_bytes()));
        self.state.put_if(Put { namespace: self.namespace.clone(), key: run.to_string(), value, expected }).await
    }
}

/// An entry; an older version wrote the number alone. What cannot be read counts as a sink that has taken nothing.
fn read(entry: &StateEntry) -> Option<Owed> {
    let run = RunId::parse(&entry.key).ok()?;
    let text = std::str::from_utf8(&entry.value).unwrap_or_default();
    let found = value::parse(text).unwrap_or_default();
    let seq = found.as_u64().or_else(|| found.get("seq")?.as_u64()).unwrap_or(0);
    let owner = found.get("owner").and_then(Value::as_str).map(str::to_owned);
    Some(Owed { run, seq, owner, version: entry.version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_store::MemoryState;

    fn ledger(state: &Arc<dyn State>, owner: &str) -> Ledger {
        Ledger::new(state, &Alias::parse("hook").unwrap(), owner)
    }

    #[tokio::test]
    async fn of_two_who_take_a_run_on_one_gets_it() {
        let state: Arc<dyn State> = Arc::new(MemoryState::new());
        let (one, other) = (ledger(&state, "one"), ledger(&state, "other"));
        let run = RunId::parse("r").unwrap();
        assert_eq!(one.enter(&run, 0).await.unwrap().seq, 0);
        one.move_to(&run, 7).await.unwrap();
        let seen = other.all().await.unwrap();
        assert_eq!((seen.len(), seen[0].seq, seen[0].owner.as_deref()), (1, 7, Some("one")));
        let held = other.take_on(&seen[0]).await.unwrap().unwrap();
        assert_eq!(one.take_on(&seen[0]).await.unwrap(), None);
        let held = other.move_held(&run, 7, held).await.unwrap().unwrap();
        // A run that goes on is owed from where it was.
        assert_eq!(one.enter(&run, 20).await.unwrap().seq, 7);
        // Whoever was catching up on it writes nothing over that any more.
        assert_eq!(other.move_held(&run, 9, held).await.unwrap(), None);
        other.strike_out_held(&run, held).await.unwrap();
        assert_eq!(one.all().await.unwrap().len(), 1);
        one.strike_out(&run).await.unwrap();
        assert_eq!(one.all().await.unwrap(), []);
    }

    #[tokio::test]
    async fn the_number_of_an_older_version_is_read() {
        let state: Arc<dyn State> = Arc::new(MemoryState::new());
        let value = Some(Arc::from(&b"17"[..]));
        let put = Put { namespace: "sink/hook".into(), key: "r".into(), value, expected: None };
        state.put_if(put).await.unwrap();
        let all = ledger(&state, "one").all().await.unwrap();
        assert_eq!((all[0].seq, all[0].owner.as_deref()), (17, None));
    }
}
