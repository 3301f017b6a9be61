//! A shared memory that outlives the runs which use it, where a store keeps it.
//!
//! An entry stands under its namespace and key; its revision is the version that the store gave it, which never comes back. With
//! each change a run leaves a mark beside it, in one write: so that a change which was made and not recorded is known again when
//! the run is taken up. It must not know what a run makes of it.

use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::memory::{MemoryChange, check_entry, conflict, no_room, unknown_key};
use cofferdam_core::port::{JournalError, Put, PutOne, Puts, Quota, State, StateEntry};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// Where the entries are in the store.
const NAMESPACE: &str = "memory";

/// What the keys of entries begin with.
const ENTRIES: &str = "e/";

/// What the keys of marks begin with.
const MARKS: &str = "r/";

/// A shared memory that outlives runs.
#[derive(Clone)]
pub struct LastingMemory {
    state: Arc<dyn State>,
}

/// An entry of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LastingEntry {
    /// Whose it is.
    pub namespace: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// Its value.
    pub value: Arc<Value>,
    /// Which change put it there.
    pub revision: u64,
    /// The run that wrote it.
    pub run: String,
}

/// An entry as the store has it.
#[derive(Serialize, Deserialize)]
struct Stored {
    value: Value,
    run: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<Arc<str>>,
}

/// The calls of a run that may have made a change which is not recorded: the last one, and those of which an earlier process left
/// it open.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) calls: Vec<Arc<str>>,
}

impl LastingMemory {
    /// The memory in a store. Nothing is opened.
    #[must_use]
    pub fn new(state: Arc<dyn State>) -> Self {
        Self { state }
    }

    /// An entry; none where there is none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, namespace: &str, key: &str) -> Result<Option<LastingEntry>, Fault> {
        let found = self.state.get(NAMESPACE, &place(namespace, key)).await.map_err(|error| failed(&error))?;
        found.map(read).transpose()
    }

    /// All entries in the order of namespaces and keys, or those of one namespace.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, namespace: Option<&str>) -> Result<Vec<LastingEntry>, Fault> {
        let prefix = namespace.map_or_else(|| ENTRIES.to_owned(), |namespace| place(namespace, ""));
        let mut entries = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.state.scan(NAMESPACE, &prefix, after.as_deref(), limits::STATE_SCAN_ENTRIES).await;
            let page = page.map_err(|error| failed(&error))?;
            let Some(last) = page.last() else { return Ok(entries) };
            after = Some(last.key.clone());
            for entry in page {
                entries.push(read(entry)?);
            }
        }
    }

    /// Forgets all entries, or those of one namespace; gives how many there were.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn clear(&self, namespace: Option<&str>) -> Result<usize, Fault> {
        let entries = self.list(namespace).await?;
        for entry in &entries {
            let key = place(&entry.namespace, &entry.key);
            self.state.put_if(deletion(key)).await.map_err(|error| failed(&error))?;
        }
        Ok(entries.len())
    }

    /// Makes a change for a run; gives its revision.
    ///
    /// # Errors
    /// As of [`Memory::check`](cofferdam_core::memory::Memory::check); `memory_unavailable` when the store fails.
    pub(crate) async fn change(
        &self,
        (run, mark): (&RunId, &Mark),
        own: &str,
        change: &MemoryChange,
    ) -> Result<u64, Fault> {
        let MemoryChange { key, value, expected, call } = change;
        check_entry(key, value.as_ref())?;
        if value.is_none() && expected.is_none() && self.get(own, key).await?.is_none() {
            return Err(unknown_key(own, key));
        }
        if value.is_none() && *expected == Some(0) {
            return Err(self.refuse(own, key, 0).await);
        }
        let stored = value
            .as_ref()
            .map(|value| encoded(&Stored { value: value.clone(), run: run.to_string(), call: call.clone() }));
        let entry = PutOne { key: place(own, key), value: stored, expected: *expected };
        let mark = PutOne { key: mark_of(run), value: Some(encoded(mark)), expected: None };
        // Marks of runs that never complete stay, and take no room from entries.
        let (entries, bytes) = (limits::SHARED_MEMORY_KEYS, limits::SHARED_MEMORY_BYTES);
        let quota = Quota { prefix: ENTRIES, entries, bytes };
        let puts = Puts { namespace: NAMESPACE.to_owned(), writes: vec![entry, mark], quota: Some(quota) };
        match self.state.put_all(puts).await {
            Ok(versions) => {
                // What was removed has the revision of the mark beside it.
                let revision = versions.iter().copied().find(|version| *version > 0);
                revision.ok_or_else(|| Fault::bug("the store gave a write no version"))
            }
            Err(JournalError::Conflict { expected, .. }) => Err(self.refuse(own, key, expected).await),
            Err(JournalError::Full(why)) => Err(no_room(key, &format!("of a shared memory {why}"))),
            Err(error) => Err(failed(&error)),
        }
    }

    /// What an earlier process of the run left open, and the revision that it had then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn mark(&self, run: &RunId) -> Result<(Mark, u64), Fault> {
        let found = self.state.get(NAMESPACE, &mark_of(run)).await.map_err(|error| failed(&error))?;
        found.map_or_else(|| Ok((Mark::default(), 0)), |mark| Ok((decoded(&mark)?, mark.version)))
    }

    /// What a call of the run has put there, with its revision; none where the entry is another one now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn made(
        &self,
        run: &RunId,
        (own, key): (&str, &str),
        call: &str,
    ) -> Result<Option<(u64, Arc<Value>)>, Fault> {
        let found = self.state.get(NAMESPACE, &place(own, key)).await.map_err(|error| failed(&error))?;
        let Some(entry) = found else { return Ok(None) };
        let stored: Stored = decoded(&entry)?;
        let is_own = stored.call.as_deref() == Some(call) && stored.run == run.as_str();
        Ok(is_own.then(|| (entry.version, Arc::new(stored.value))))
    }

    /// Forgets which change of a run was its last one: all of them are recorded.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn settle(&self, run: &RunId) -> Result<(), Fault> {
        let key = mark_of(run);
        if self.state.get(NAMESPACE, &key).await.map_err(|error| failed(&error))?.is_some() {
            self.state.put_if(deletion(key)).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Why a change of an entry is refused that has another revision.
    async fn refuse(&self, own: &str, key: &str, expected: u64) -> Fault {
        match self.get(own, key).await {
            Ok(found) => {
                let revision = found.map_or(0, |entry| entry.revision);
                if revision == 0 && expected == 0 {
                    unknown_key(own, key)
                } else {
                    conflict((own, key), expected, revision)
                }
            }
            Err(fault) => fault,
        }
    }
}

fn place(namespace: &str, key: &str) -> String {
    format!("{ENTRIES}{namespace}/{key}")
}

fn mark_of(run: &RunId) -> String {
    format!("{MARKS}{run}")
}

fn deletion(key: String) -> Put {
    Put { namespace: NAMESPACE.to_owned(), key, value: None, expected: None }
}

fn encoded(value: &impl Serialize) -> Arc<[u8]> {
    serde_json::to_vec(value).expect("it has a JSON form").into()
}

fn decoded<T: serde::de::DeserializeOwned>(entry: &StateEntry) -> Result<T, Fault> {
    serde_json::from_slice(&entry.value).map_err(|error| {
        let message = format!("the shared memory has an entry that cannot be read: {error}");
        Fault::step("memory_unavailable", message).with_hint("a newer version of cofferdam may read it")
    })
}

#[expect(clippy::needless_pass_by_value, reason = "listings and single readings hand it over")]
fn read(entry: StateEntry) -> Result<LastingEntry, Fault> {
    let stored: Stored = decoded(&entry)?;
    let name = entry.key.strip_prefix(ENTRIES).and_then(|name| name.split_once('/'));
    let (namespace, key) = name.ok_or_else(|| Fault::bug("an entry of the shared memory has no namespace"))?;
    let (value, revision) = (Arc::new(stored.value), entry.version);
    Ok(LastingEntry { namespace: namespace.into(), key: key.into(), value, revision, run: stored.run })
}

fn failed(error: &JournalError) -> Fault {
    let message = format!("the shared memory that outlives runs does not answer: {error}");
    Fault::retry("memory_unavailable", message)
}
