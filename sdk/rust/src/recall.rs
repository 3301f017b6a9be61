//! Retrieval memories: texts are kept and found again.

use serde_json::Value;

use crate::context::Context;
use crate::error::Result;
use crate::plugin::Plugin;

/// A retrieval memory. Spaces are apart from each other. The instance stays up between calls, but what must not be lost
/// belongs into a store: the host makes a new instance after a crash.
///
/// ```
/// use cofferdam_sdk::recall::{Hit, Memo, Recall, Search};
/// use cofferdam_sdk::{Context, Fake, Result, Write};
/// use serde_json::json;
///
/// /// Finds a text by its very words.
/// pub struct Exact;
///
/// impl Recall for Exact {
///     fn upsert(ctx: &Context, space: &str, memos: Vec<Memo>) -> Result<()> {
///         let write = |memo: &Memo| Write::put(format!("{space}/{}", memo.text), memo.id.clone());
///         ctx.kv().commit(memos.iter().map(write).collect()).map(drop)
///     }
///
///     fn search(ctx: &Context, space: &str, search: &Search) -> Result<Vec<Hit>> {
///         let found = ctx.kv().get(&format!("{space}/{}", search.query))?;
///         let hit = |id: &str| Hit {
///             memo: Memo { id: id.into(), text: search.query.clone(), meta: json!({}) },
///             score: 1.0,
///         };
///         found.iter().map(|entry| Ok(hit(entry.text()?))).collect()
///     }
///
///     fn forget(_ctx: &Context, _space: &str, _ids: Vec<String>) -> Result<u32> {
///         Ok(0)
///     }
/// }
///
/// cofferdam_sdk::plugin!(id = "acme/exact", summary = "Finds exact texts", recall = Exact);
///
/// let ctx = Fake::new().kv().context();
/// Exact::upsert(&ctx, "notes", vec![Memo { id: "1".into(), text: "buy tea".into(), meta: json!({}) }])?;
/// let search = Search { query: "buy tea".into(), limit: 5, filter: json!({}) };
/// assert_eq!(Exact::search(&ctx, "notes", &search)?[0].memo.id, "1");
/// assert_eq!(Exact::search(&ctx, "other", &search)?, []);
/// # Ok::<(), cofferdam_sdk::Error>(())
/// ```
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
