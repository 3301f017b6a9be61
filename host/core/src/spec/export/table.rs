//! A table of a document as it is filled: keys in the order in which people read them, and no empty ones.

use crate::value::Map;
use serde_json::Value;

/// Keys and values.
#[derive(Debug, Default)]
pub(super) struct Table(Map);

impl Table {
    /// Adds a key.
    pub(super) fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Adds a key that may be absent.
    pub(super) fn maybe<V: Into<Value>>(&mut self, key: &str, value: Option<V>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// Adds a key unless its value is what holds without it.
    pub(super) fn unless(&mut self, key: &str, value: impl Into<Value>, is_default: bool) {
        self.maybe(key, (!is_default).then(|| value.into()));
    }

    /// Adds a list or table that has something in it.
    pub(super) fn some(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let empty = match &value {
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        self.unless(key, value, empty);
    }

    pub(super) fn into_map(self) -> Map {
        self.0
    }

    pub(super) fn finish(self) -> Value {
        Value::Object(self.0)
    }
}
