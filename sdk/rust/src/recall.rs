//! Retrieval memories: texts are kept and found again.

use serde_json::Value;

use crate::context::Context;
use crate::error::Result;
use crate::plugin::Plugin;

/// A retrieval memory. Spaces are apart from each other. The instance stays up between calls, but what must not be lost
/// belongs into a store: the host makes a new instance after a crash.
pub trait Recall: 'static {
    /// Keeps texts, all or none; one whose id is there replaces it.
    ///
    /// # Errors
    ///
    /// When they cannot be kept.
    fn upsert(ctx: &Context, space: &str, memos: Vec<Memo>) -> Result<()>;

    /// The texts that fit best, the best first, at most `search.limit`.
    ///
    /// # Errors
    ///
    /// When the store cannot be searched.
    fn search(ctx: &Context, space: &str, search: &Search) -> Result<Vec<Hit>>;

    /// Forgets texts and says how many there were; no ids means the whole space.
    ///
    /// # Errors
    ///
    /// When they cannot be forgotten.
    fn forget(ctx: &Context, space: &str, ids: Vec<String>) -> Result<u32>;
}

/// A plugin that is a retrieval memory. Implemented by [`plugin!`](crate::plugin!).
pub trait RecallPlugin: Plugin {
    /// The memory.
    type Recall: Recall;
}

/// A text that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Memo {
    /// Its name in the space.
    pub id: String,
    /// What is searched.
    pub text: String,
    /// A JSON object that goes with it.
    pub meta: Value,
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// In words.
    pub query: String,
    /// Most texts.
    pub limit: u32,
    /// A JSON object: `meta` must have each of its members with an equal value.
    pub filter: Value,
}

impl Search {
    /// Whether a text passes the filter.
    pub fn admits(&self, meta: &Value) -> bool {
        let wanted = self.filter.as_object().into_iter().flatten();
        wanted.into_iter().all(|(name, value)| meta.get(name) == Some(value))
    }
}

/// A text that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The text.
    pub memo: Memo,
    /// How well it fits, from 0 to 1.
    pub score: f32,
}
