//! What a workflow looks like from outside: its steps by name, so that a chunk can say where it belongs.

use cofferdam_core::id::StepPath;
use cofferdam_core::spec::workflow::{Scope, Step, Wiring, Work, Workflow};
use std::sync::Arc;

use crate::workflow::Mode;

/// The steps that a reader of a stream counts: the document's own, or those of the body when the document is a loop.
#[derive(Clone)]
pub(super) struct Outline {
    workflow: Arc<Workflow>,
    pub(super) mode: Mode,
    pub(super) names: Vec<String>,
}

/// Where a path is in the outline.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) step_name: Option<String>,
    pub(super) step_index: Option<usize>,
    /// Of the innermost loop.
    pub(super) iteration: Option<u32>,
}

impl Outline {
    pub(super) fn new(workflow: &Arc<Workflow>) -> Self {
        let (mode, scope) = match root_loop(workflow) {
            Some(body) => (Mode::Loop, body),
            None => (mode_of(workflow.scope.wiring), &workflow.scope),
        };
        let names = scope.steps.iter().map(|step| step.id.to_string()).collect();
        Self { workflow: Arc::clone(workflow), mode, names }
    }

    pub(super) fn spot(&self, path: &StepPath) -> Spot {
        let path = &path.step();
        let path = path.as_str();
        let mut parts = path.split('.');
        let mut first = parts.next().unwrap_or_default();
        if self.mode == Mode::Loop {
            first = parts.next().unwrap_or(first);
        }
        let name = first.split('[').next().unwrap_or_default();
        Spot {
            step_name: (!name.is_empty()).then(|| name.to_owned()),
            step_index: self.names.iter().position(|known| known == name),
            iteration: path.rsplit_once('[').and_then(|(_, rest)| rest.split(']').next()?.parse().ok()),
        }
    }

    /// Whether the step has work of its own, so that its content is not that of steps inside it.
    pub(super) fn is_leaf(&self, path: &StepPath) -> bool {
        let mut scope = Some(&self.workflow.scope);
        let mut leaf = false;
        for part in path.as_str().split('.') {
            let (name, iteration) = part.split_once('[').map_or((part, false), |(name, _)| (name, true));
            // A judge is no step of its loop's body.
            let Some(step) = scope.and_then(|scope| scope.steps.iter().find(|step| step.id.as_str() == name)) else {
                return true;
            };
            leaf = works(step, iteration);
            scope = step.inner();
        }
        leaf
    }
}

fn works(step: &Step, iteration: bool) -> bool {
    let own = matches!(step.work, Work::Agent(_) | Work::Tool(_) | Work::Ask(_));
    match &step.repeat {
        None => own,
        Some(repeat) => own && iteration && repeat.body.is_none(),
    }
}

/// The body of a document that is one loop.
fn root_loop(workflow: &Workflow) -> Option<&Arc<Scope>> {
    match workflow.scope.steps.as_slice() {
        [Step { work: Work::Body, repeat: Some(repeat), id, .. }] if id.as_str() == "loop" => repeat.body.as_ref(),
        _ => None,
    }
}

fn mode_of(wiring: Wiring) -> Mode {
    match wiring {
        Wiring::Dag => Mode::Dag,
        Wiring::Sequential => Mode::Sequential,
        Wiring::Parallel => Mode::Parallel,
    }
}
