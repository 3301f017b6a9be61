//! A retrieval memory in memory: what tests and short runs use, and the twin of the durable one and of plugins.
//!
//! It must not know what texts are for.

pub(crate) mod rank;

use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::port::{BoxFuture, Hit, KeptMemo, Memo, Recall, Search};
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps texts as long as it lives.
#[derive(Default)]
pub struct MemoryRecall {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    spaces: BTreeMap<String, Space>,
    /// How many texts there are.
    count: usize,
    /// The number of the last text that was kept.
    last: u64,
}

/// Texts by when they were kept, the earliest first, and which of them has an id.
#[derive(Default)]
struct Space {
    memos: BTreeMap<u64, Memo>,
    ids: BTreeMap<String, u64>,
}

impl MemoryRecall {
    /// One without texts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, space: &str, search: &Search) -> Vec<Hit> {
        let kept = self.kept();
        let Some(space) = kept.spaces.get(space) else { return Vec::new() };
        let admitted = space.memos.values().rev().filter(|memo| rank::admits(search, memo)).cloned().collect();
        rank::rank(admitted, &rank::asked(&search.query), space.memos.len(), search.limit)
    }
}

impl Space {
    fn remove(&mut self, number: u64) -> bool {
        let gone = self.memos.remove(&number);
        gone.is_some_and(|memo| self.ids.remove(&memo.id).is_some())
    }
}

impl Kept {
    fn keep(&mut self, space: &str, memo: Memo) {
        self.last += 1;
        let of_space = self.spaces.entry(space.to_owned()).or_default();
        self.count += 1;
        if let Some(before) = of_space.ids.insert(memo.id.clone(), self.last) {
            of_space.memos.remove(&before);
            self.count -= 1;
        }
        of_space.memos.insert(self.last, memo);
        if of_space.memos.len() > limits::RECALL_SPACE_ENTRIES
            && let Some((_, oldest)) = of_space.memos.pop_first()
        {
            of_space.ids.remove(&oldest.id);
            self.count -= 1;
        }
        if self.count > limits::RECALL_ENTRIES {
            let oldest = |space: &Space| space.memos.keys().next().copied().unwrap_or(u64::MAX);
            let of_all = self.spaces.values_mut().min_by_key(|space| oldest(space));
            let gone = of_all.is_some_and(|space| space.remove(oldest(space)));
            self.count -= usize::from(gone);
        }
    }

    fn forget(&mut self, space: &str, ids: &[String]) -> usize {
        let Some(of_space) = self.spaces.get_mut(space) else { return 0 };
        let gone = if ids.is_empty() {
            std::mem::take(of_space).memos.len()
        } else {
            let numbers: Vec<u64> = ids.iter().filter_map(|id| of_space.ids.get(id).copied()).collect();
            numbers.into_iter().filter(|number| of_space.remove(*number)).count()
        };
        if of_space.memos.is_empty() {
            self.spaces.remove(space);
        }
        self.count -= gone;
        gone
    }

    fn list(&self, space: Option<&str>, limit: usize) -> Vec<KeptMemo> {
        let wanted = self.spaces.iter().filter(|(name, _)| space.is_none_or(|space| space == *name));
        let each = wanted.flat_map(|(name, space)| space.memos.iter().map(move |(number, memo)| (*number, name, memo)));
        let mut each: Vec<_> = each.collect();
        each.sort_by_key(|(number, ..)| std::cmp::Reverse(*number));
        each.into_iter()
            .take(limit)
            .map(|(_, name, memo)| KeptMemo { space: name.clone(), memo: memo.clone() })
            .collect()
    }
}

impl Recall for MemoryRecall {
    fn upsert<'a>(&'a self, space: &'a str, memos: Vec<Memo>) -> BoxFuture<'a, Result<(), Fault>> {
        let mut kept = self.kept();
        memos.into_iter().for_each(|memo| kept.keep(space, memo));
        Box::pin(ready(Ok(())))
    }

    fn search<'a>(&'a self, space: &'a str, search: Search) -> BoxFuture<'a, Result<Vec<Hit>, Fault>> {
        Box::pin(ready(Ok(self.find(space, &search))))
    }

    fn forget<'a>(&'a self, space: &'a str, ids: Vec<String>) -> BoxFuture<'a, Result<usize, Fault>> {
        let count = self.kept().forget(space, &ids);
        Box::pin(ready(Ok(count)))
    }

    fn list(&self, space: Option<String>, limit: usize) -> BoxFuture<'_, Result<Vec<KeptMemo>, Fault>> {
        let listed = self.kept().list(space.as_deref(), limit);
        Box::pin(ready(Ok(listed)))
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
