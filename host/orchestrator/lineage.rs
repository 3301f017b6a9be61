//! Which run a run is part of: the chain of workflows from the outermost one, for runs that are under way.
//!
//! A workflow that works as an agent starts a run of its own; here its depth is counted and recursion is found, however
//! agents and orchestrators are arranged within this one.

use super::RunOptions;
use super::launch::Again;
use crate::stream::Relay;
use cofferdam_core::event::Sensitive;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{Approver, Sink};
use cofferdam_core::spec::workflow::{UnknownEffect, Workflow};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The workflows around a run, the outermost first; the run's own is the last.
#[derive(Clone, Default)]
pub(crate) struct Lineage {
    links: Vec<Link>,
    /// The stream of the outermost run, which shows what happens inside.
    pub(crate) relay: Option<Relay>,
    /// The session of the run.
    pub(crate) session: Option<String>,
    /// Who is asked in the run, where that is not whom the orchestrator has.
    pub(crate) approver: Option<Arc<dyn Approver>>,
    /// The run's own sinks.
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    /// What was said of calls whose effect is not known, when the run was taken up.
    pub(crate) on_unknown_effect: Option<UnknownEffect>,
    /// Whether a run around it has sensitive steps.
    covered: bool,
}

#[derive(Clone)]
struct Link {
    name: String,
    workflow: Arc<Workflow>,
}

impl Link {
    fn new(name: &str, workflow: &Arc<Workflow>) -> Self {
        Self { name: name.to_owned(), workflow: Arc::clone(workflow) }
    }
}

impl Lineage {
    /// That of a run which nobody's step has started.
    pub(crate) fn outermost(name: &str, workflow: &Arc<Workflow>, relay: Option<Relay>) -> Self {
        Self { links: vec![Link::new(name, workflow)], relay, ..Self::default() }
    }

    /// With what the run itself was given.
    pub(super) fn of_run(self, options: &RunOptions, again: Option<&Again>) -> Self {
        let on_unknown_effect = again.and_then(|again| again.on_unknown_effect);
        let (session, approver, sinks) = (options.session.clone(), options.approver.clone(), options.sinks.clone());
        Self { session, approver, sinks, on_unknown_effect, ..self }
    }

    /// The chain with one more workflow at its end. What a run must not show its sinks may stand in every event of the
    /// runs inside it, which know nothing of it: they show nothing there.
    pub(crate) fn inner(&self, name: &str, workflow: &Arc<Workflow>) -> Self {
        let mut inner = self.clone();
        if self.links.last().is_some_and(|link| Sensitive::of(&link.workflow).is_some()) {
            inner.covered = true;
        }
        if inner.covered {
            inner.relay = None;
            inner.sinks.clear();
        }
        inner.links.push(Link::new(name, workflow));
        inner
    }

    /// Whether no sink may see the run, since one around it has sensitive steps.
    pub(crate) fn is_covered(&self) -> bool {
        self.covered
    }

    /// Whether a run of the workflow is among those around it.
    pub(crate) fn contains(&self, workflow: &Arc<Workflow>) -> bool {
        self.links.iter().any(|link| Arc::ptr_eq(&link.workflow, workflow))
    }

    /// How many workflows are inside one another; 0 for a run that nobody's step started.
    pub(crate) fn depth(&self) -> usize {
        self.links.len().saturating_sub(1)
    }

    /// The names, outermost first: `main/analyze/parallel`.
    pub(crate) fn path(&self) -> String {
        let names: Vec<&str> = self.links.iter().map(|link| link.name.as_str()).collect();
        names.join("/")
    }
}

/// The lineages of the runs under way.
#[derive(Default)]
pub(crate) struct Lineages(Mutex<BTreeMap<RunId, Lineage>>);

impl Lineages {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, Lineage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, run: &RunId) -> Lineage {
        self.lock().get(run).cloned().unwrap_or_default()
    }

    pub(crate) fn insert(&self, run: RunId, lineage: Lineage) {
        self.lock().insert(run, lineage);
    }

    pub(crate) fn remove(&self, run: &RunId) {
        self.lock().remove(run);
    }
}
