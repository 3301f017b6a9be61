//! The values of a plugin in a case: seeded before, looked at after, whatever scope they are kept in.
//!
//! A case is one call of one plugin, so all its scopes are one place, and it outlives the run. It must not be used for
//! more than one case.

use crate::compose;
use crate::testing::shape::Want;
use cofferdam_core::port::{BoxFuture, JournalError, Put, PutOne, Puts, State, StateEntry};
use cofferdam_core::time::Timestamp;
use cofferdam_plugin::KeptValue;
use serde_json::Value;
use std::sync::Arc;

/// The place of all scopes.
const PLACE: &str = "kv";
/// What the names of all scopes begin with.
const SCOPES: &str = "kv/";
/// How many values are read at once.
const PAGE: usize = 256;

/// Keeps the values of the plugin of one case.
pub(super) struct Values {
    inner: Arc<dyn State>,
}

impl Values {
    /// A store that holds these.
    pub(super) async fn seeded(seed: &[(String, Vec<u8>)]) -> Result<Self, JournalError> {
        let inner = compose::state(None);
        let write = |(key, bytes): &(String, Vec<u8>)| PutOne {
            key: key.clone(),
            value: Some(KeptValue { bytes: bytes.clone(), until_ms: 0 }.to_stored()),
            expected: None,
        };
        let writes = seed.iter().map(write).collect();
        inner.put_all(Puts { namespace: PLACE.to_owned(), writes, quota: None }).await?;
        Ok(Self { inner })
    }

    /// What is there at this moment, by key.
    pub(super) async fn at(&self, now: Timestamp) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(0);
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.inner.scan(PLACE, "", after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some(last.key.clone());
            for entry in page {
                let kept = KeptValue::from_stored(&entry.value).filter(|kept| kept.is_alive(now_ms));
                found.extend(kept.map(|kept| (entry.key, kept.bytes)));
            }
        }
    }
}

/// The values as an expectation reads them: as text where it fits as text, else as the data that the text is.
pub(super) fn shown(values: &[(String, Vec<u8>)], want: Option<&Want>) -> Value {
    let one = |(key, bytes): &(String, Vec<u8>)| {
        let text = Value::from(String::from_utf8_lossy(bytes));
        let fits = want.and_then(|want| want.member(key)).is_some_and(|want| want.misses("", &text).is_empty());
        let data = || serde_json::from_slice(bytes).ok();
        (key.clone(), if fits { text } else { data().unwrap_or(text) })
    };
    Value::Object(values.iter().map(one).collect())
}

fn place(namespace: &str) -> &str {
    if namespace.starts_with(SCOPES) { PLACE } else { namespace }
}

impl State for Values {
    fn get<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<StateEntry>, JournalError>> {
        self.inner.get(place(namespace), key)
    }

    fn put_if(&self, put: Put) -> BoxFuture<'_, Result<u64, JournalError>> {
        let namespace = place(&put.namespace).to_owned();
        self.inner.put_if(Put { namespace, ..put })
    }

    fn put_all(&self, puts: Puts) -> BoxFuture<'_, Result<Vec<u64>, JournalError>> {
        let namespace = place(&puts.namespace).to_owned();
        self.inner.put_all(Puts { namespace, ..puts })
    }

    fn clear<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, JournalError>> {
        if prefix.starts_with(SCOPES) {
            // What a run leaves behind is looked at after it.
            return Box::pin(std::future::ready(Ok(0)));
        }
        self.inner.clear(prefix)
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StateEntry>, JournalError>> {
        self.inner.scan(place(namespace), prefix, after, limit)
    }
}
