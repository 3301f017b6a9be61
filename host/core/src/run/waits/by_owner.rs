//! Things in the order in which they came, found by the step that they belong to without a look at the others.
//!
//! It must not know what they are.

use crate::id::StepPath;
use std::collections::{BTreeMap, HashMap};

#[derive(Debug)]
pub(super) struct ByOwner<T> {
    /// By numbers that grow.
    things: BTreeMap<u64, T>,
    /// The numbers of each step's.
    owned: HashMap<StepPath, Vec<u64>>,
    last: u64,
}

impl<T> Default for ByOwner<T> {
    fn default() -> Self {
        Self { things: BTreeMap::new(), owned: HashMap::new(), last: 0 }
    }
}

impl<T> ByOwner<T> {
    pub(super) fn push(&mut self, owner: &StepPath, thing: T) {
        self.last += 1;
        self.things.insert(self.last, thing);
        self.owned.entry(owner.clone()).or_default().push(self.last);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    /// All of them in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.things.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.things.values_mut()
    }

    /// Keeps of a step's what is chosen.
    pub(super) fn retain_of(&mut self, owner: &StepPath, keep: impl Fn(&T) -> bool) {
        let Some(numbers) = self.owned.get_mut(owner) else { return };
        numbers.retain(|number| {
            let is_kept = self.things.get(number).is_some_and(&keep);
            if !is_kept {
                self.things.remove(number);
            }
            is_kept
        });
        if numbers.is_empty() {
            self.owned.remove(owner);
        }
    }

    /// Keeps of all what is chosen.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.things.retain(|_, thing| keep(thing));
        self.owned.retain(|_, numbers| {
            numbers.retain(|number| self.things.contains_key(number));
            !numbers.is_empty()
        });
    }

    pub(super) fn remove(&mut self, owner: &StepPath) {
        self.retain_of(owner, |_| false);
    }

    pub(super) fn clear(&mut self) {
        self.things.clear();
        self.owned.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::ByOwner;

    #[test]
    fn what_stays_is_in_order_and_belongs_to_whom_it_did() {
        let mut things = ByOwner::default();
        let all = |things: &ByOwner<u32>| things.iter().copied().collect::<Vec<_>>();
        for (owner, thing) in [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)] {
            things.push(&owner.into(), thing);
        }
        things.retain_of(&"b".into(), |thing| *thing > 2);
        assert_eq!(all(&things), [1, 3, 4, 5]);
        things.retain(|thing| *thing != 1 && *thing != 4);
        things.push(&"c".into(), 6);
        things.remove(&"a".into());
        things.remove(&"nobody".into());
        assert_eq!(all(&things), [5, 6]);
        things.iter_mut().for_each(|thing| *thing += 1);
        things.remove(&"b".into());
        assert_eq!(all(&things), [7]);
        things.clear();
        assert!(things.is_empty() && things.owned.is_empty());
    }
}
