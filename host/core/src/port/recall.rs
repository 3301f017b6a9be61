//! Retrieval memory: texts are kept, and found again by what they say.

use super::BoxFuture;
use crate::fault::Fault;
use crate::value::Map;

/// Keeps texts and finds them again.
///
/// Spaces are apart: nothing of one is found in another. What was kept is found by every later search. Dropping a future
/// leaves the operation done or not done, never half done.
pub trait Recall: Send + Sync {
    /// Keeps texts, all or none; one whose id is there replaces it.
    ///
    /// # Errors
    /// When they cannot be kept.
    fn upsert<'a>(&'a self, space: &'a str, memos: Vec<Memo>) -> BoxFuture<'a, Result<(), Fault>>;

    /// The texts that fit best, the best first.
    ///
    /// # Errors
    /// When the store cannot be searched.
    fn search<'a>(&'a self, space: &'a str, search: Search) -> BoxFuture<'a, Result<Vec<Hit>, Fault>>;

    /// Forgets texts and says how many there were. No ids means the whole space.
    ///
    /// # Errors
    /// When they cannot be forgotten.
    fn forget<'a>(&'a self, space: &'a str, ids: Vec<String>) -> BoxFuture<'a, Result<usize, Fault>>;

    /// The texts of a space, or of all spaces, the latest first: for people who look at what is kept. No run asks for it.
    ///
    /// # Errors
    /// When the store cannot list what it keeps, as plugins cannot.
    fn list(&self, _space: Option<String>, _limit: usize) -> BoxFuture<'_, Result<Vec<KeptMemo>, Fault>> {
        let fault = Fault::user("not_listed", "this memory cannot list what it keeps");
        Box::pin(std::future::ready(Err(fault.with_hint("search in it"))))
    }
}

/// A text with the space that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMemo {
    /// The space.
    pub space: String,
    /// The text.
    pub memo: Memo,
}

/// A text that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    /// Its name in the space.
    pub id: String,
    /// What is searched.
    pub text: String,
    /// What goes with it.
    pub meta: Map,
}

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// In words.
    pub query: String,
    /// Most texts.
    pub limit: usize,
    /// Only texts whose `meta` has each of these members with an equal value.
    pub filter: Map,
}

/// A text that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The text.
    pub memo: Memo,
    /// How well it fits, from 0 to 1.
    pub score: f32,
}
