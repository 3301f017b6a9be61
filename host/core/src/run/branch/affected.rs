//! What runs again when some steps do: what depends on them, in their scope and around every step that holds them.
//!
//! It must not know why the first of them run again, nor touch what is recorded.

use crate::event::SkippedBecause;
use crate::id::StepPath;
use crate::run::loops::kind;
use crate::run::machine::Machine;
use crate::run::node::{Kind, NodeId, NodeState};
use crate::spec::workflow::{Condition, LoopKind, Step};
use std::collections::BTreeSet;

/// What runs again of a recorded run, and the steps around it that are open again.
pub(super) struct Affected<'m> {
    machine: &'m Machine,
    again: BTreeSet<NodeId>,
    reopened: BTreeSet<NodeId>,
    /// Whose consequences were not looked at.
    open: Vec<NodeId>,
}

impl<'m> Affected<'m> {
    pub(super) fn new(machine: &'m Machine) -> Self {
        Self { machine, again: BTreeSet::new(), reopened: BTreeSet::new(), open: Vec::new() }
    }

    /// The state of the recorded run.
    pub(super) fn machine(&self) -> &'m Machine {
        self.machine
    }

    /// The step at the path runs again; says whether there is one.
    pub(super) fn mark_path(&mut self, path: &StepPath) -> bool {
        let found = self.machine.find(path);
        found.into_iter().for_each(|id| self.mark(id));
        found.is_some()
    }

    /// How many steps run again or are open again.
    pub(super) fn count(&self) -> usize {
        self.again.len() + self.reopened.len()
    }

    /// The steps at these places run again, in every iteration that is meant.
    pub(super) fn mark_places(&mut self, places: &BTreeSet<String>, is_meant: impl Fn(&StepPath) -> bool) {
        for id in self.live().filter(|&id| self.machine.node(id).is_member()).collect::<Vec<_>>() {
            let path = &self.machine.node(id).path;
            if places.contains(&path.place()) && is_meant(path) {
                self.mark(id);
            }
        }
    }

    /// The steps at these places hold others than they did.
    pub(super) fn reopen_places(&mut self, places: &BTreeSet<String>) {
        for id in self.live().collect::<Vec<_>>() {
            let node = self.machine.node(id);
            let holds = matches!(node.kind, Kind::Group(Some(_)) | Kind::Body { .. });
            if holds && places.contains(&node.path.place()) {
                self.reopen(id);
            }
        }
    }

    /// Looks at the consequences until there are no more.
    pub(super) fn close(&mut self) {
        while let Some(id) = self.open.pop() {
            self.follow(id);
        }
    }

    /// What runs again, without what is inside of something else that does.
    pub(super) fn again(&self) -> BTreeSet<StepPath> {
        let mut paths: BTreeSet<StepPath> = BTreeSet::new();
        for path in self.again.iter().map(|&id| &self.machine.node(id).path) {
            if !around(path).any(|outer| self.marked(&outer)) {
                paths.insert(path.clone());
            }
        }
        paths
    }

    /// The steps around it.
    pub(super) fn reopened(&self) -> BTreeSet<StepPath> {
        self.reopened.iter().map(|&id| self.machine.node(id).path.clone()).collect()
    }

    /// Iterations that run again and have begun all the same: those over items, which have their place by their number.
    pub(super) fn begun(&self) -> BTreeSet<StepPath> {
        let begun = self.again.iter().map(|&id| self.machine.node(id)).filter(|node| match node.kind {
            Kind::Repeat { of, .. } | Kind::Body { of, .. } => !self.repeats(of),
            _ => false,
        });
        begun.map(|node| node.path.clone()).collect()
    }

    /// Whether something that runs again holds the path.
    pub(super) fn covers(&self, path: &StepPath) -> bool {
        let path = path.step();
        self.marked(&path) || around(&path).any(|outer| self.marked(&outer))
    }

    fn marked(&self, path: &StepPath) -> bool {
        self.machine.find(path).is_some_and(|id| self.again.contains(&id))
    }

    /// The last opening of everything.
    fn live(&self) -> impl Iterator<Item = NodeId> + use<'m> {
        let machine = self.machine;
        machine.ids().filter(move |&id| machine.find(&machine.node(id).path) == Some(id))
    }

    fn mark(&mut self, id: NodeId) {
        if self.again.insert(id) {
            self.open.push(id);
        }
    }

    /// What is about to begin anew does so as a whole.
    fn reopen(&mut self, id: NodeId) {
        let state = self.machine.node(id).state;
        if !matches!(state, NodeState::Open | NodeState::Gathering | NodeState::Closing | NodeState::Done(_)) {
            self.mark(id);
        } else if self.reopened.insert(id) {
            self.open.push(id);
        }
    }

    fn follow(&mut self, id: NodeId) {
        match self.machine.node(id).kind {
            Kind::Repeat { of, index } | Kind::Body { of, index, .. } => {
                if self.repeats(of) {
                    self.mark_rounds(of, index.saturating_add(1), index);
                }
                self.reopen(of);
            }
            Kind::Judge { of, index } => {
                self.mark_rounds(of, index.saturating_add(1), index.saturating_add(1));
                self.reopen(of);
            }
            Kind::Plain | Kind::Ask | Kind::Group(_) | Kind::Loop(_) => {
                for later in self.followers(id) {
                    self.mark(later);
                }
                let around = self.machine.scope(self.machine.node(id).scope).parent;
                around.into_iter().for_each(|around| self.reopen(around));
            }
        }
    }

    fn repeats(&self, of: NodeId) -> bool {
        self.machine.node(of).is_member()
            && self.machine.step(of).repeat.is_some()
            && matches!(kind(self.machine.step(of)), LoopKind::Repeat(_))
    }

    /// In a loop that repeats, an iteration goes on from the one before and from what its judge said.
    fn mark_rounds(&mut self, of: NodeId, iterations: u32, judges: u32) {
        let Kind::Loop(run) = &self.machine.node(of).kind else { return };
        let index = |id: NodeId| match self.machine.node(id).kind {
            Kind::Repeat { index, .. } | Kind::Body { index, .. } | Kind::Judge { index, .. } => index,
            _ => 0,
        };
        let later = run.iterations.iter().copied().filter(|&id| index(id) >= iterations);
        let judged = run.judges.iter().copied().filter(|&id| index(id) >= judges);
        for id in later.chain(judged).collect::<Vec<_>>() {
            self.mark(id);
        }
    }

    /// Who runs again in the scope of a step, because it does or is open again.
    fn followers(&self, id: NodeId) -> Vec<NodeId> {
        let node = self.machine.node(id);
        let run = self.machine.scope(node.scope);
        let mut found: Vec<NodeId> =
            run.plan.dependents(node.step).iter().map(|&step| self.machine.member(node.scope, step)).collect();
        if self.again.contains(&id) {
            let step = self.machine.step(id);
            let members = || self.machine.members(node.scope);
            found.extend(members().filter(|&other| are_chosen_from(step, self.machine.step(other))));
            // The end of the scope came at a time of its own, and is decided about anew.
            let stopped = |&other: &NodeId| matches!(self.machine.node(other).skipped, Some((SkippedBecause::Stop, _)));
            found.extend(members().filter(stopped));
        }
        found
    }
}

/// Whether one condition chooses between both steps.
fn are_chosen_from(one: &Step, other: &Step) -> bool {
    match (&one.condition, &other.condition) {
        (Some(Condition::Plugin(one)), Some(Condition::Plugin(other))) => {
            let labelled = one.label.is_some() && other.label.is_some();
            labelled && one.plugin == other.plugin && one.options == other.options
        }
        _ => false,
    }
}

/// The paths around a path, the innermost first: of `a[2].x` those are `a[2]` and `a`.
pub(super) fn around(path: &StepPath) -> impl Iterator<Item = StepPath> {
    let text = path.as_str();
    let ends = text.rmatch_indices(['.', '[']).map(|(end, _)| end);
    ends.filter_map(|end| text.get(..end)).map(StepPath::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_around_a_path_are_found() {
        let found: Vec<String> = around(&"a[2].x.judge[1]".into()).map(|path| path.as_str().to_owned()).collect();
        assert_eq!(found, ["a[2].x.judge", "a[2].x", "a[2]", "a"]);
        assert_eq!(around(&"a".into()).count(), 0);
    }
}
