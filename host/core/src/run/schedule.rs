//! Slots: which ready step gets the next free one.

use super::node::NodeId;
use crate::id::AgentName;
use crate::spec::workflow::Scheduler;
use std::collections::{BTreeMap, BTreeSet};

/// Ready nodes and the slots that are taken.
///
/// Slots bound attempts; waiting loops hold none. Picking costs O(log n) for declaration order and O(agents) for
/// the strategies that look at agents.
#[derive(Debug)]
pub(super) struct Slots {
    strategy: Scheduler,
    limit: usize,
    taken: usize,
    lanes: BTreeMap<Option<AgentName>, Lane>,
    clock: u64,
}

#[derive(Debug, Default)]
struct Lane {
    ready: BTreeSet<NodeId>,
    taken: usize,
    served: u64,
}

impl Slots {
    pub(super) fn new(strategy: Scheduler, limit: usize) -> Self {
        Self { strategy, limit, taken: 0, lanes: BTreeMap::new(), clock: 0 }
    }

    /// As many slots, with nobody in them and nobody waiting.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.strategy, self.limit)
    }

    /// None of them, whoever waits: somebody else says who begins.
    pub(super) fn closed(&self) -> Self {
        Self::new(self.strategy, 0)
    }

    /// The lane of an agent; with declaration order there is one lane for all.
    fn lane(&mut self, agent: Option<&AgentName>) -> &mut Lane {
        let key = match self.strategy {
            Scheduler::DependencyFirst => None,
            Scheduler::RoundRobin | Scheduler::LeastBusy => agent.cloned(),
        };
        self.lanes.entry(key).or_default()
    }

    /// Whether more than the declaration decides.
    pub(super) fn compares_agents(&self) -> bool {
        self.strategy != Scheduler::DependencyFirst
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn push(&mut self, node: NodeId, agent: Option<&AgentName>) {
        self.lane(agent).ready.insert(node);
    }

    pub(super) fn remove(&mut self, node: NodeId, agent: Option<&AgentName>) {
        self.lane(agent).ready.remove(&node);
    }

    /// A try has begun.
    pub(super) fn take(&mut self, agent: Option<&AgentName>) {
        self.taken += 1;
        self.lane(agent).taken += 1;
    }

    /// A try has ended.
    pub(super) fn release(&mut self, agent: Option<&AgentName>) {
        self.taken = self.taken.saturating_sub(1);
        let lane = self.lane(agent);
        lane.taken = lane.taken.saturating_sub(1);
    }

    /// Takes the next node that may start, if a slot is free.
    pub(super) fn pick(&mut self) -> Option<NodeId> {
        if self.taken >= self.limit {
            return None;
        }
        self.clock += 1;
        let clock = self.clock;
        let strategy = self.strategy;
        let rank = |lane: &Lane| match strategy {
            Scheduler::DependencyFirst => 0,
            Scheduler::RoundRobin => lane.served,
            Scheduler::LeastBusy => lane.taken as u64,
        };
        let lane = self
            .lanes
            .values_mut()
            .filter(|lane| !lane.ready.is_empty())
            .min_by_key(|lane| (rank(lane), lane.ready.first().copied()))?;
        let node = lane.ready.pop_first()?;
        lane.served = clock;
        lane.taken += 1;
        self.taken += 1;
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(strategy: Scheduler, ready: &[(u32, &str)]) -> Vec<u32> {
        let mut slots = Slots::new(strategy, 100);
        for (node, agent) in ready {
            slots.push(NodeId(*node), Some(&AgentName::parse(agent).unwrap()));
        }
        std::iter::from_fn(|| slots.pick()).map(|node| node.0).collect()
    }

    #[test]
    fn declaration_order_looks_at_nothing_else() {
        assert_eq!(picks(Scheduler::DependencyFirst, &[(2, "b"), (0, "a"), (1, "a")]), [0, 1, 2]);
    }

    #[test]
    fn round_robin_alternates_agents() {
        assert_eq!(picks(Scheduler::RoundRobin, &[(0, "a"), (1, "a"), (2, "a"), (3, "b")]), [0, 3, 1, 2]);
    }

    #[test]
    fn the_least_busy_agent_goes_first() {
        let (a, b) = (AgentName::parse("a").unwrap(), AgentName::parse("b").unwrap());
        let mut slots = Slots::new(Scheduler::LeastBusy, 100);
        slots.take(Some(&a));
        slots.push(NodeId(0), Some(&a));
        slots.push(NodeId(1), Some(&b));
        assert_eq!(slots.pick(), Some(NodeId(1)));
    }

    #[test]
    fn no_more_nodes_start_than_there_are_slots() {
        let mut slots = Slots::new(Scheduler::DependencyFirst, 2);
        for node in 0..5 {
            slots.push(NodeId(node), None);
        }
        assert_eq!((slots.pick(), slots.pick(), slots.pick()), (Some(NodeId(0)), Some(NodeId(1)), None));
        slots.release(None);
        assert_eq!(slots.pick(), Some(NodeId(2)));
    }
}
