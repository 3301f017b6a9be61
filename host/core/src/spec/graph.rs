//! The graph of one scope: circles, and who comes before whom. It must not know steps, only indices.

/// Edges from each node to those that it depends on.
pub(super) struct Graph {
    dependencies: Vec<Vec<usize>>,
}

/// Who comes before each node, directly or not.
pub(super) struct Ancestors {
    rows: Vec<Vec<u64>>,
}

impl Ancestors {
    /// Whether `other` comes before `node`.
    pub(super) fn contains(&self, node: usize, other: usize) -> bool {
        let word = self.rows.get(node).and_then(|row| row.get(other / 64)).copied().unwrap_or_default();
        word >> (other % 64) & 1 == 1
    }
}

impl Graph {
    pub(super) fn new(dependencies: Vec<Vec<usize>>) -> Self {
        Self { dependencies }
    }

    fn of(&self, node: usize) -> &[usize] {
        self.dependencies.get(node).map_or(&[], Vec::as_slice)
    }

    /// An order in which every node comes after those it depends on; nodes of circles and behind them are missing.
    fn order(&self, left_out: &[bool]) -> Vec<usize> {
        let count = self.dependencies.len();
        let skip = |node: usize| left_out.get(node).copied().unwrap_or_default();
        let mut waits: Vec<usize> =
            (0..count).map(|node| self.of(node).iter().filter(|other| !skip(**other)).count()).collect();
        let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); count];
        for node in (0..count).filter(|node| !skip(*node)) {
            for other in self.of(node) {
                if let Some(list) = dependents.get_mut(*other) {
                    list.push(node);
                }
            }
        }
        let mut order: Vec<usize> = (0..count).filter(|node| !skip(*node) && waits.get(*node) == Some(&0)).collect();
        let mut next = 0;
        while let Some(node) = order.get(next).copied() {
            next += 1;
            for dependent in dependents.get(node).into_iter().flatten() {
                if let Some(wait) = waits.get_mut(*dependent) {
                    *wait -= 1;
                    if *wait == 0 {
                        order.push(*dependent);
                    }
                }
            }
        }
        order
    }

    /// Circles, each as its nodes in the order of the waiting, starting at the node that was declared first. Nodes
    /// that share a circle with a reported one are reported once.
    pub(super) fn circles(&self) -> Vec<Vec<usize>> {
        let count = self.dependencies.len();
        let mut left_out = vec![false; count];
        let mut circles = Vec::new();
        loop {
            let mut done = left_out.clone();
            for node in self.order(&left_out) {
                set(&mut done, node);
            }
            let Some(start) = (0..count).find(|node| !is_set(&done, *node)) else { return circles };
            let circle = self.circle_from(start, &done);
            for node in &circle {
                set(&mut left_out, *node);
            }
            circles.push(circle);
        }
    }

    /// Every node that is not done depends on another such node: following them must come back.
    fn circle_from(&self, start: usize, done: &[bool]) -> Vec<usize> {
        let mut walk = vec![start];
        let mut place = vec![None; self.dependencies.len()];
        let mut node = start;
        loop {
            if let Some(slot) = place.get_mut(node) {
                *slot = Some(walk.len() - 1);
            }
            let Some(next) = self.of(node).iter().copied().find(|next| !is_set(done, *next)) else { return walk };
            if let Some(Some(first)) = place.get(next) {
                let mut circle = walk.split_off(*first);
                let least = circle.iter().enumerate().min_by_key(|(_, node)| **node).map_or(0, |(at, _)| at);
                circle.rotate_left(least);
                return circle;
            }
            walk.push(next);
            node = next;
        }
    }

    /// Who comes before whom; none when there are circles.
    pub(super) fn ancestors(&self) -> Option<Ancestors> {
        let count = self.dependencies.len();
        let order = self.order(&[]);
        if order.len() < count {
            return None;
        }
        let mut rows: Vec<Vec<u64>> = vec![Vec::new(); count];
        for node in order {
            let mut row = vec![0_u64; count.div_ceil(64)];
            for other in self.of(node) {
                for (word, before) in row.iter_mut().zip(rows.get(*other).into_iter().flatten()) {
                    *word |= before;
                }
                if let Some(word) = row.get_mut(other / 64) {
                    *word |= 1 << (other % 64);
                }
            }
            if let Some(slot) = rows.get_mut(node) {
                *slot = row;
            }
        }
        Some(Ancestors { rows })
    }
}

fn set(flags: &mut [bool], node: usize) {
    if let Some(flag) = flags.get_mut(node) {
        *flag = true;
    }
}

fn is_set(flags: &[bool], node: usize) -> bool {
    flags.get(node).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Graph;

    #[test]
    fn circles_are_found_with_exactly_their_nodes() {
        // 0 -> 1 -> 2 -> 0, 3 behind them, 4 on itself, 5 and 6 free.
        let graph = Graph::new(vec![vec![1], vec![2], vec![0], vec![0], vec![4], vec![], vec![5]]);
        assert_eq!(graph.circles(), [vec![0, 1, 2], vec![4]]);
        assert!(graph.ancestors().is_none());
    }

    #[test]
    fn ancestors_are_transitive() {
        let mut edges = vec![vec![]];
        edges.extend((1..200).map(|node| vec![node - 1]));
        let ancestors = Graph::new(edges).ancestors().unwrap();
        assert!(
            ancestors.contains(199, 0)
                && ancestors.contains(70, 65)
                && !ancestors.contains(65, 70)
                && !ancestors.contains(5, 5)
        );
    }

    proptest::proptest! {
        #[test]
        fn a_graph_has_circles_or_ancestors(edges in proptest::collection::vec(proptest::collection::vec(0_usize..12, 0..3), 12)) {
            let graph = Graph::new(edges.clone());
            let circles = graph.circles();
            proptest::prop_assert_eq!(circles.is_empty(), graph.ancestors().is_some());
            for circle in circles {
                for (at, node) in circle.iter().enumerate() {
                    let next = circle[(at + 1) % circle.len()];
                    proptest::prop_assert!(edges[*node].contains(&next));
                }
            }
        }
    }
}
