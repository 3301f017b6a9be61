//! The graph of a scope: order, layers, dependents.
//!
//! It must not know what the steps do.

use crate::spec::workflow::Scope;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The graph of one scope, by the steps' indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    order: Vec<usize>,
    dependents: Vec<Vec<usize>>,
    layer: Vec<usize>,
}

impl Plan {
    /// Plans a scope. O(V log V + E).
    #[must_use]
    pub fn new(scope: &Scope) -> Self {
        let dependencies: Vec<&[usize]> = scope.steps.iter().map(|step| step.depends_on.as_slice()).collect();
        let order = order(&dependencies).expect("a workflow's scopes have no cycles");
        let mut dependents = vec![Vec::new(); dependencies.len()];
        let mut layer = vec![0; dependencies.len()];
        for &step in &order {
            for &dependency in dependencies.get(step).copied().unwrap_or_default() {
                let below = layer.get(dependency).copied().unwrap_or_default();
                if let Some(own) = layer.get_mut(step) {
                    *own = (*own).max(below + 1);
                }
                if let Some(list) = dependents.get_mut(dependency) {
                    list.push(step);
                }
            }
        }
        Self { order, dependents, layer }
    }

    /// All steps, each after what it depends on; among equals by declaration.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The steps that depend directly on `step`.
    #[must_use]
    pub fn dependents(&self, step: usize) -> &[usize] {
        self.dependents.get(step).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many steps must be done one after the other before `step`.
    #[must_use]
    pub fn layer(&self, step: usize) -> usize {
        self.layer.get(step).copied().unwrap_or_default()
    }
}

/// Orders steps by their dependencies: Kahn's algorithm, the lowest free index first.
///
/// # Errors
/// The steps of one cycle, in its order.
pub fn order(dependencies: &[&[usize]]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waits: Vec<usize> = dependencies.iter().map(|list| list.len()).collect();
    let mut dependents = vec![Vec::new(); dependencies.len()];
    for (step, list) in dependencies.iter().enumerate() {
        for &dependency in *list {
            if let Some(entry) = dependents.get_mut(dependency) {
                entry.push(step);
            }
        }
    }
    let mut free: BinaryHeap<_> =
        waits.iter().enumerate().filter(|&(_, &count)| count == 0).map(|(step, _)| Reverse(step)).collect();
    let mut order = Vec::with_capacity(dependencies.len());
    while let Some(Reverse(step)) = free.pop() {
        order.push(step);
        for &dependent in dependents.get(step).map(Vec::as_slice).unwrap_or_default() {
            if let Some(count) = waits.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    free.push(Reverse(dependent));
                }
            }
        }
    }
    if order.len() == dependencies.len() { Ok(order) } else { Err(cycle(dependencies, &waits)) }
}

/// Walks from a step that still waits to one that it waits for, until a step comes again.
fn cycle(dependencies: &[&[usize]], waits: &[usize]) -> Vec<usize> {
    let waiting = |step: &usize| waits.get(*step).is_some_and(|&count| count > 0);
    let mut walk: Vec<usize> = Vec::new();
    let mut at = (0..waits.len()).find(|step| waiting(step));
    while let Some(step) = at {
        if let Some(start) = walk.iter().position(|&seen| seen == step) {
            return walk.split_off(start);
        }
        walk.push(step);
        at = dependencies.get(step).and_then(|list| list.iter().copied().find(|dependency| waiting(dependency)));
    }
    walk
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn a_diamond_is_ordered_by_declaration() {
        assert_eq!(order(&[&[], &[0], &[0], &[2, 1]]), Ok(vec![0, 1, 2, 3]));
    }

    #[test]
    fn a_cycle_is_named_and_nothing_else() {
        let found = order(&[&[], &[3, 0], &[1], &[2], &[3]]).unwrap_err();
        assert_eq!(found, [1, 3, 2]);
        assert_eq!(order(&[&[0]]).unwrap_err(), [0]);
    }
}
