//! The plugin's own values: in the scope that is granted, under the plugin's own name, within a quota.
//!
//! It must not know which store keeps them. What plugins keep never meets: the namespace is made of the scope, the
//! alias and the plugin's id, and a guest can name keys only.

use super::{guarded, refuse};
use crate::bindings::cofferdam::host::kv::{self, Entry, Page, Precondition, Write};
use crate::bindings::cofferdam::types::common::{ErrorKind, PluginError};
use crate::grant::Denial;
use crate::instance::{Call, Guest};
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::policy::{Grants, KvGrant, KvScope};
use cofferdam_core::port::{BoxFuture, JournalError, PutOne, Puts, Quota, State, StateEntry, ToolContext};
use std::collections::BTreeSet;
use std::sync::Arc;

type Answer<T> = wasmtime::Result<Result<T, PluginError>>;

/// Bytes in front of each value: when it is forgotten, in milliseconds since 1970, 0 for never.
const EXPIRY_BYTES: usize = 8;
/// How many values are read at once while a listing is gathered.
const SCANNED_AT_ONCE: usize = 16;

/// What the namespaces of a run's values begin with: those of its steps, and its own.
#[must_use]
pub fn namespaces_of(run: &RunId) -> [String; 2] {
    [format!("kv/step/{run}/"), format!("kv/run/{run}/")]
}

impl kv::Host for Guest {
    async fn get_many(&mut self, keys: Vec<String>) -> Answer<Vec<Option<Entry>>> {
        let begun = self.call.begin(|| keys.join(", "));
        let answer = guarded("kv.get-many", self.call.deadline, async {
            let store = Store::of(&mut self.call)?;
            store.get_many(keys).await
        })
        .await;
        self.call.end(begun, ("kv", "get-many"), &answer, |found| format!("{} found", found.iter().flatten().count()));
        answer
    }

    async fn commit(&mut self, writes: Vec<Write>) -> Answer<Vec<u64>> {
        let begun = self.call.begin(|| writes.iter().map(written).collect::<Vec<_>>().join(", "));
        let answer = guarded("kv.commit", self.call.deadline, async {
            let store = Store::of(&mut self.call)?;
            store.commit(writes).await
        })
        .await;
        self.call.end(begun, ("kv", "commit"), &answer, |_| String::new());
        answer
    }

    async fn scan(&mut self, prefix: String, cursor: Option<String>, limit: u32) -> Answer<Page> {
        let begun = self.call.begin(|| format!("{prefix}*"));
        let answer = guarded("kv.scan", self.call.deadline, async {
            let store = Store::of(&mut self.call)?;
            store.scan(&prefix, cursor, limit).await
        })
        .await;
        self.call.end(begun, ("kv", "scan"), &answer, |page| format!("{} keys", page.entries.len()));
        answer
    }
}

/// A write for whoever watches: the key, and how much is written.
fn written(write: &Write) -> String {
    match &write.value {
        Some(value) => format!("{} ({} bytes)", write.key, value.len()),
        None => format!("{} (deleted)", write.key),
    }
}

/// A value of a plugin as a store keeps it: behind the moment at which it is forgotten. For those who put values there
/// for a plugin, or look at what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptValue {
    /// The bytes that the plugin sees.
    pub bytes: Vec<u8>,
    /// When it is forgotten, in milliseconds since 1970; 0 for never.
    pub until_ms: u64,
}

impl KeptValue {
    /// What the store holds.
    #[must_use]
    pub fn to_stored(&self) -> Arc<[u8]> {
        self.until_ms.to_be_bytes().into_iter().chain(self.bytes.iter().copied()).collect()
    }

    /// Reads what a store holds; none when no plugin wrote it.
    #[must_use]
    pub fn from_stored(stored: &[u8]) -> Option<Self> {
        let (until, bytes) = stored.split_first_chunk::<EXPIRY_BYTES>()?;
        Some(Self { bytes: bytes.to_vec(), until_ms: u64::from_be_bytes(*until) })
    }

    /// Whether it is there at this moment.
    #[must_use]
    pub fn is_alive(&self, now_ms: u64) -> bool {
        self.until_ms == 0 || now_ms < self.until_ms
    }
}

/// The part of the store that a call may use.
struct Store {
    state: Arc<dyn State>,
    namespace: String,
    now_ms: u64,
}

impl Store {
    fn of(call: &mut Call) -> Result<Self, PluginError> {
        let Some(KvGrant { scope }) = call.rights.granted.kv else {
            let wanted = call.rights.requested.kv.unwrap_or(KvGrant { scope: KvScope::default() });
            let wanted = Grants { kv: Some(wanted), ..Grants::default() };
            let denial = Denial::new(&call.plugin.alias, &call.rights, "kv".to_owned(), &wanted);
            call.deny(denial);
            return Err(refuse(ErrorKind::Denied, "no grant allows the key-value store (`kv: { scope: run }`)"));
        };
        let services = &call.plugin.services;
        let Some(state) = &services.state else {
            return Err(refuse(ErrorKind::Unsupported, "no values are kept here"));
        };
        let whole = format!("{}/{}", call.plugin.alias, call.plugin.id);
        let namespace = match (&call.ctx, scope) {
            (Some(ctx), _) => namespace(scope, ctx, &whole),
            (None, KvScope::Project) => project(&whole),
            (None, _) => {
                let message = "what serves no step of a run keeps values in the scope `project` only";
                return Err(refuse(ErrorKind::Unsupported, message));
            }
        };
        if scope != KvScope::Project {
            services.note_kept();
        }
        let now_ms = u64::try_from(services.clock.now().as_millis()).unwrap_or(0);
        Ok(Self { state: Arc::clone(state), namespace, now_ms })
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Entry>>, PluginError> {
        check_count(keys.len())?;
        let mut found = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        for key in keys {
            check_key(&key)?;
            let entry = self.get(&key).await?.and_then(|entry| self.alive(entry));
            bytes += entry.as_ref().map_or(0, |entry| entry.value.len());
            if bytes > limits::PLUGIN_KV_BATCH_BYTES {
                let message = format!("the values have more than {} bytes together", limits::PLUGIN_KV_BATCH_BYTES);
                return Err(refuse(ErrorKind::TooLarge, message));
            }
            found.push(entry);
        }
        Ok(found)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<u64>, PluginError> {
        check_count(writes.len())?;
        let mut keys = BTreeSet::new();
        let mut puts = Vec::with_capacity(writes.len());
        for Write { key, value, ttl_ms, when } in writes {
            check_key(&key)?;
            if value.as_ref().is_some_and(|value| value.len() > limits::PLUGIN_KV_VALUE_BYTES) {
                let message = format!("a value has more than {} bytes", limits::PLUGIN_KV_VALUE_BYTES);
                return Err(refuse(ErrorKind::TooLarge, message));
            }
            if !keys.insert(key.clone()) {
                return Err(refuse(ErrorKind::InvalidInput, "a key is written twice at once"));
            }
            let expected = self.expected(&key, when).await?;
            let value = value.map(|value| self.stored(&value, ttl_ms));
            puts.push(PutOne { key, value, expected });
        }
        let quota = Quota { prefix: "", entries: limits::PLUGIN_KV_ENTRIES, bytes: limits::PLUGIN_KV_BYTES };
        let puts = Puts { namespace: self.namespace.clone(), writes: puts, quota: Some(quota) };
        self.state.put_all(puts).await.map_err(failed)
    }

    async fn scan(&self, prefix: &str, cursor: Option<String>, limit: u32) -> Result<Page, PluginError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, limits::PLUGIN_KV_BATCH);
        let (mut entries, mut bytes, mut after) = (Vec::new(), 0, cursor);
        loop {
            let page =
                self.state.scan(&self.namespace, prefix, after.as_deref(), SCANNED_AT_ONCE).await.map_err(failed)?;
            let is_last = page.len() < SCANNED_AT_ONCE;
            for entry in page {
                bytes += entry.value.len();
                if entries.len() == limit || (bytes > limits::PLUGIN_KV_BATCH_BYTES && !entries.is_empty()) {
                    return Ok(Page { entries, next: after });
                }
                after = Some(entry.key.clone());
                entries.extend(self.alive(entry));
            }
            if is_last {
                return Ok(Page { entries, next: None });
            }
        }
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<StateEntry>, PluginError>> {
        Box::pin(async move { self.state.get(&self.namespace, key).await.map_err(failed) })
    }

    /// The version that the store must find. An entry that is forgotten counts as absent, though it is still there.
    async fn expected(&self, key: &str, when: Precondition) -> Result<Option<u64>, PluginError> {
        let wanted = match when {
            Precondition::None => return Ok(None),
            Precondition::Absent => 0,
            Precondition::Version(version) => version,
        };
        let found = self.get(key).await?;
        let stored = found.as_ref().map_or(0, |entry| entry.version);
        let seen = found.and_then(|entry| self.alive(entry)).map_or(0, |entry| entry.version);
        // What is written must be what was looked at: the store compares again.
        if seen == wanted { Ok(Some(stored)) } else { Err(conflict(wanted, seen)) }
    }

    fn stored(&self, value: &[u8], ttl_ms: Option<u64>) -> Arc<[u8]> {
        let until_ms = ttl_ms.map_or(0, |ttl| self.now_ms.saturating_add(ttl).max(1));
        KeptValue { bytes: value.to_vec(), until_ms }.to_stored()
    }

    /// The entry as the guest sees it, unless it is forgotten.
    fn alive(&self, entry: StateEntry) -> Option<Entry> {
        let kept = KeptValue::from_stored(&entry.value)?;
        kept.is_alive(self.now_ms).then_some(Entry { key: entry.key, value: kept.bytes, version: entry.version })
    }
}

/// A step's path may be long; its digest is as unique.
fn namespace(scope: KvScope, ctx: &ToolContext, plugin: &str) -> String {
    let [of_steps, of_run] = namespaces_of(&ctx.run_id);
    match scope {
        KvScope::Step => format!("{of_steps}{}/{plugin}", sha256_hex(ctx.path.as_str().as_bytes())),
        KvScope::Run => format!("{of_run}{plugin}"),
        KvScope::Project => project(plugin),
    }
}

fn project(plugin: &str) -> String {
    format!("kv/project/{plugin}")
}

fn check_count(count: usize) -> Result<(), PluginError> {
    if count <= limits::PLUGIN_KV_BATCH {
        return Ok(());
    }
    Err(refuse(ErrorKind::TooLarge, format!("at most {} keys are taken at once", limits::PLUGIN_KV_BATCH)))
}

fn check_key(key: &str) -> Result<(), PluginError> {
    if key.is_empty() || key.len() > limits::PLUGIN_KV_KEY_BYTES {
        let message = format!("a key has 1 to {} bytes", limits::PLUGIN_KV_KEY_BYTES);
        return Err(refuse(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

fn conflict(wanted: u64, found: u64) -> PluginError {
    refuse(ErrorKind::Conflict, format!("version {wanted} was expected, and {found} is there (0 = absent)"))
}

/// What a store says may name paths of the host.
fn failed(error: JournalError) -> PluginError {
    match error {
        JournalError::Conflict { expected, found } => conflict(expected, found),
        JournalError::Full(what) => refuse(ErrorKind::TooLarge, format!("there is no room: {what}")),
        JournalError::Invalid(what) => refuse(ErrorKind::InvalidInput, what),
        error => {
            tracing::warn!(%error, "values of plugins cannot be reached");
            refuse(ErrorKind::Unavailable, "the store of values cannot be reached")
        }
    }
}
