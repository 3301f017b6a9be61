//! A small durable store of this plugin alone, in the scope that is granted:
//! the step, the run or the project. Needs the grant `kv: { scope: run }`.

use std::time::Duration;

use serde::de::DeserializeOwned;

#[cfg(target_family = "wasm")]
use crate::component::Host;
use crate::error::{Error, Result};
#[cfg(not(target_family = "wasm"))]
use crate::fake::Host;

/// One stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Its bytes.
    pub value: Vec<u8>,
    /// Changes with every write; see [`Write::if_version`].
    pub version: u64,
}

impl Entry {
    /// The value as text.
    ///
    /// # Errors
    ///
    /// Bytes that are not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.value)
            .map_err(|_| Error::internal(format!("the value of `{}` is not text", self.key)))
    }

    /// The value, read as JSON.
    ///
    /// # Errors
    ///
    /// A value of another type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.value)?)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) when: When,
}

/// What has to hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    Absent,
    Version(u64),
}

impl Write {
    /// Writes a value.
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: Some(value.into()), ttl: None, when: When::Always }
    }

    /// Deletes a value.
    pub fn delete(key: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, ttl: None, when: When::Always }
    }

    /// Only if the key does not exist.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.when = When::Absent;
        self
    }

    /// Only if the entry has this version: nobody wrote it in between.
    #[must_use]
    pub fn if_version(mut self, version: u64) -> Self {
        self.when = When::Version(version);
        self
    }

    /// Forgets the value after this time.
    #[must_use]
    pub fn forget_after(mut self, time: Duration) -> Self {
        self.ttl = Some(time);
        self
    }
}

/// Part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// Pass it to the next [`Kv::scan`] for the rest; none at the end.
    pub next: Option<String>,
}

/// The store of a call; see [`Context::kv`](crate::Context::kv).
///
/// ```
/// use cofferdam_sdk::{Fake, Write};
///
/// let ctx = Fake::new().kv().context();
/// ctx.kv().put("seen", "1")?;
/// let entry = ctx.kv().get("seen")?.unwrap();
/// ctx.kv().commit(vec![Write::put("seen", "2").if_version(entry.version)])?;
/// assert_eq!(ctx.kv().get("seen")?.unwrap().text()?, "2");
/// # Ok::<(), cofferdam_sdk::Error>(())
/// ```
#[derive(Debug)]
pub struct Kv<'c>(pub(crate) &'c Host);

impl Kv<'_> {
    /// The entry of a key.
    ///
    /// # Errors
    ///
    /// A store that is not granted or cannot be reached.
    pub fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.get_many(&[key])?.pop().flatten())
    }

    /// The entries of several keys, in their order.
    ///
    /// # Errors
    ///
    /// As [`Kv::get`]; values that are too large together.
    pub fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        self.0.kv_get_many(keys)
    }

    /// Writes one value, whatever is there; answers its version.
    ///
    /// # Errors
    ///
    /// As [`Kv::commit`].
    pub fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<u64> {
        Ok(self.commit(vec![Write::put(key, value)])?.pop().unwrap_or_default())
    }

    /// Makes all changes or none; answers the new versions in order, 0 for
    /// what was deleted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when a condition
    /// does not hold; a store that is not granted, full, or cannot be reached.
    pub fn commit(&self, writes: Vec<Write>) -> Result<Vec<u64>> {
        self.0.kv_commit(writes)
    }

    /// Entries whose key starts with `prefix`, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// As [`Kv::get`].
    pub fn scan(&self, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<Page> {
        self.0.kv_scan(prefix, cursor, limit)
    }
}
