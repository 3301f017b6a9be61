//! A retrieval memory in memory: what tests and short runs use, and the twin of plugins.
//!
//! A text fits by the share of the query's words that it has. It must not know what texts are for.

use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, Hit, Memo, Recall, Search};
use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps texts as long as it lives.
#[derive(Default)]
pub struct MemoryRecall {
    spaces: Mutex<BTreeMap<String, BTreeMap<String, Memo>>>,
}

impl MemoryRecall {
    /// One without texts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn spaces(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Memo>>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, space: &str, search: &Search) -> Vec<Hit> {
        let wanted = words(&search.query);
        let spaces = self.spaces();
        let memos = spaces.get(space).into_iter().flat_map(BTreeMap::values);
        let admitted =
            memos.filter(|memo| search.filter.iter().all(|(name, value)| memo.meta.get(name) == Some(value)));
        let mut hits: Vec<Hit> = admitted.filter_map(|memo| hit(memo, &wanted)).collect();
        hits.sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| one.memo.id.cmp(&other.memo.id)));
        hits.truncate(search.limit);
        hits
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The text with its score; none when it has no word of the query.
fn hit(memo: &Memo, wanted: &BTreeSet<String>) -> Option<Hit> {
    let common = words(&memo.text).intersection(wanted).count();
    let share = |part: usize, whole: usize| {
        f32::from(u16::try_from(part).unwrap_or(u16::MAX)) / f32::from(u16::try_from(whole).unwrap_or(u16::MAX))
    };
    (common > 0).then(|| Hit { memo: memo.clone(), score: share(common, wanted.len()) })
}

impl Recall for MemoryRecall {
    fn upsert<'a>(&'a self, space: &'a str, memos: Vec<Memo>) -> BoxFuture<'a, Result<(), Fault>> {
        let mut spaces = self.spaces();
        let kept = spaces.entry(space.to_owned()).or_default();
        kept.extend(memos.into_iter().map(|memo| (memo.id.clone(), memo)));
        Box::pin(ready(Ok(())))
    }

    fn search<'a>(&'a self, space: &'a str, search: Search) -> BoxFuture<'a, Result<Vec<Hit>, Fault>> {
        Box::pin(ready(Ok(self.find(space, &search))))
    }

    fn forget<'a>(&'a self, space: &'a str, ids: Vec<String>) -> BoxFuture<'a, Result<usize, Fault>> {
        let mut spaces = self.spaces();
        let count = match (spaces.get_mut(space), ids.is_empty()) {
            (None, _) => 0,
            (Some(kept), false) => ids.iter().filter(|id| kept.remove(*id).is_some()).count(),
            (Some(kept), true) => std::mem::take(kept).len(),
        };
        Box::pin(ready(Ok(count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use std::sync::Arc;

    #[tokio::test]
    async fn it_holds_every_law() {
        contract::recall(|| Arc::new(MemoryRecall::new())).await.unwrap();
    }
}
