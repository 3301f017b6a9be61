//! One scope: ids, dependencies, circles, and what its steps may read.

use super::code;
use super::decode::Decoder;
use super::expression::{Around, Reading};
use super::graph::{Ancestors, Graph};
use super::keys::STEP;
use super::kind::{Fields, open, wrong_type};
use super::shape::Shape;
use super::tree::{Content, Node};
use super::workflow::{Scope, Step, Wiring};
use crate::id::StepId;
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A step before it is decoded: its id is known.
pub(super) struct Draft<'n> {
    pub(super) node: &'n Node,
    /// None for a bare agent name.
    pub(super) fields: Option<Fields<'n>>,
    pub(super) id: Option<StepId>,
}

/// What a scope sees of the scopes around it, the nearest first.
#[derive(Clone)]
pub(super) struct Outside<'a> {
    pub(super) layers: Vec<Layer<'a>>,
    pub(super) around: Around,
}

impl Outside<'_> {
    pub(super) const NOTHING: Self = Self { layers: Vec::new(), around: Around { for_each: false, repeat: false } };

    /// The ids of all steps that can be seen.
    pub(super) fn ids(&self) -> Vec<&BTreeSet<Arc<str>>> {
        self.layers.iter().map(|layer| &layer.known.ids).collect()
    }
}

/// What is known of the steps of a scope before they run.
#[derive(Default)]
pub(super) struct Known {
    pub(super) ids: BTreeSet<Arc<str>>,
    index: BTreeMap<Arc<str>, usize>,
    pub(super) shapes: BTreeMap<Arc<str>, Shape>,
}

/// One scope, seen from a step in it or from what a step holds.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    known: &'a Known,
    /// None when every step of the scope may be read.
    ancestors: Option<&'a Ancestors>,
    /// The step that looks, or that holds what looks.
    step: usize,
}

impl Known {
    /// A scope of one step.
    pub(super) fn of_one(id: Arc<str>, shape: Shape) -> Self {
        Self {
            ids: BTreeSet::from([Arc::clone(&id)]),
            index: BTreeMap::from([(Arc::clone(&id), 0)]),
            shapes: BTreeMap::from([(id, shape)]),
        }
    }
}

impl<'a> Layer<'a> {
    /// A scope whose steps have all ended: the body of a loop, seen from the loop's checks.
    pub(super) fn of_ended(known: &'a Known) -> Self {
        Self { known, ancestors: None, step: 0 }
    }
}

impl Decoder<'_> {
    /// Decodes the steps of a scope, and says what is known of their results.
    pub(super) fn scope(&mut self, list: &Node, wiring: Wiring, outside: &Outside<'_>) -> (Scope, Known) {
        let nodes = list.items();
        if nodes.is_empty() {
            self.report.error(code::EMPTY, list, "there are no steps");
        }
        if nodes.len() > limits::SCOPE_STEPS {
            let message = format!("{} steps, more than the limit of {}", nodes.len(), limits::SCOPE_STEPS);
            self.report.error(code::TOO_LONG, list, message).hint("loop over a list, or split the document");
            return (Scope::default(), Known::default());
        }
        let drafts: Vec<Draft<'_>> = nodes.iter().filter_map(|node| self.draft(node)).collect();
        let index = self.index(&drafts);
        let edges = self.edges(&drafts, &index, wiring);
        let graph = Graph::new(edges.clone());
        self.report_circles(&graph, &drafts);
        let ancestors = graph.ancestors();
        let shapes = drafts
            .iter()
            .filter_map(|draft| Some((Arc::from(draft.id.as_ref()?.as_str()), self.shape(draft.node))))
            .collect();
        let known = Known { ids: index.keys().cloned().collect(), index, shapes };
        let mut steps = Vec::with_capacity(drafts.len());
        for (step, (draft, depends_on)) in drafts.iter().zip(edges).enumerate() {
            let own = Layer { known: &known, ancestors: ancestors.as_ref(), step };
            let layers = std::iter::once(own).chain(outside.layers.iter().copied()).collect();
            let view = Outside { layers, around: outside.around };
            let (decoded, readings) = self.step(draft, &view);
            self.check_readings(&readings, &view);
            steps.extend(decoded.map(|decoded| Step { depends_on, ..decoded }));
        }
        self.check_labels(&drafts, &steps);
        (Scope { steps, wiring, defaults: self.defaults.clone() }, known)
    }

    /// What each step waits for.
    fn edges(&mut self, drafts: &[Draft<'_>], index: &BTreeMap<Arc<str>, usize>, wiring: Wiring) -> Vec<Vec<usize>> {
        if wiring != Wiring::Dag {
            drafts.iter().for_each(|draft| self.wired_by_mode(draft, wiring));
        }
        match wiring {
            Wiring::Dag => drafts.iter().map(|draft| self.dependencies(draft, index)).collect(),
            Wiring::Sequential => (0..drafts.len()).map(|step| step.checked_sub(1).into_iter().collect()).collect(),
            Wiring::Parallel => vec![Vec::new(); drafts.len()],
        }
    }

    /// Reports `dependsOn` where the mode says what waits for what.
    fn wired_by_mode(&mut self, draft: &Draft<'_>, wiring: Wiring) {
        let Some(entry) = draft.fields.as_ref().and_then(|fields| fields.entry("dependsOn")) else { return };
        let (mode, why) = match wiring {
            Wiring::Sequential => ("sequential", "each step waits for the one before it"),
            _ => ("parallel", "no step waits for another"),
        };
        let message = format!("`dependsOn` in the mode `{mode}`, in which {why}");
        self.report
            .at(code::WIRED_BY_MODE, entry.spot, &entry.value.path, message)
            .hint("remove it, or wire the scope with `mode: dag`");
    }

    fn draft<'n>(&mut self, node: &'n Node) -> Option<Draft<'n>> {
        let (fields, id) = match &node.content {
            Content::Text(_) => (None, Some(node)),
            Content::Map(_) => {
                let fields = open(&mut self.report, node, &STEP)?;
                let id = fields.get("id");
                (Some(fields), id)
            }
            _ => {
                wrong_type(&mut self.report, node, "text (the name of an agent) or a table");
                return None;
            }
        };
        let parsed = id.and_then(Node::text).map(StepId::parse);
        let id = match (parsed, id) {
            (Some(Err(error)), Some(node)) => {
                self.report.error(code::BAD_NAME, node, error.to_string());
                None
            }
            (Some(Ok(id)), _) => Some(id),
            _ => None,
        };
        Some(Draft { node, fields, id })
    }

    /// The place of each id; the first of two equal ones counts.
    fn index(&mut self, drafts: &[Draft<'_>]) -> BTreeMap<Arc<str>, usize> {
        let mut index: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (at, draft) in drafts.iter().enumerate() {
            let Some(id) = &draft.id else { continue };
            match index.get(id.as_str()) {
                Some(first) => {
                    let first = drafts.get(*first).map_or(0, |draft| draft.node.spot.line);
                    let node = draft.fields.as_ref().and_then(|fields| fields.get("id")).unwrap_or(draft.node);
                    let message = format!("step id `{id}` is used twice");
                    self.report
                        .error(code::DUPLICATE_STEP, node, message)
                        .hint(format!("the first is in line {first}"));
                }
                None => drop(index.insert(Arc::from(id.as_str()), at)),
            }
        }
        index
    }

    fn dependencies(&mut self, draft: &Draft<'_>, index: &BTreeMap<Arc<str>, usize>) -> Vec<usize> {
        let mut found = Vec::new();
        for node in draft.fields.as_ref().map(|fields| fields.items("dependsOn")).unwrap_or_default() {
            let Some(name) = node.text() else { continue };
            match index.get(name) {
                Some(other) if found.contains(other) => {
                    self.report.error(code::REPEATED_DEPENDENCY, node, format!("`{name}` is named twice")).warning();
                }
                Some(other) => found.push(*other),
                None if name.trim().is_empty() => {}
                None => {
                    let id = draft.id.as_ref().map_or("this step", StepId::as_str);
                    let hint =
                        self.report.did_you_mean(name, index.keys().map(AsRef::as_ref).filter(|known| *known != id));
                    let message = format!("step `{id}` depends on unknown step `{name}`");
                    self.report.error(code::UNKNOWN_DEPENDENCY, node, message).maybe(hint);
                }
            }
        }
        found
    }

    fn report_circles(&mut self, graph: &Graph, drafts: &[Draft<'_>]) {
        let name = |node: &usize| drafts.get(*node).and_then(|draft| draft.id.as_ref()).map_or("?", StepId::as_str);
        for circle in graph.circles() {
            let Some(first) = circle.first() else { continue };
            let Some(draft) = drafts.get(*first) else { continue };
            let next = name(circle.get(1).unwrap_or(first));
            let entries = draft.fields.as_ref().map(|fields| fields.items("dependsOn")).unwrap_or_default();
            let place = entries.iter().find(|node| node.text() == Some(next)).unwrap_or(draft.node);
            let names: Vec<&str> = circle.iter().chain([first]).map(name).collect();
            let message = match circle.len() {
                1 => format!("step `{}` depends on itself", name(first)),
                _ => format!("steps wait for each other: {}", names.join(" -> ")),
            };
            self.report.error(code::CYCLE, place, message).hint("remove one of these dependencies");
        }
    }

    /// Reports steps that are read and need not have run, and parts that their results do not have.
    pub(super) fn check_readings(&mut self, readings: &[Reading<'_>], view: &Outside<'_>) {
        for Reading { node, path } in readings.iter().filter(|reading| &*reading.path.root == "steps") {
            let Some((id, segment)) = path.name(0).zip(path.segments.first()) else { continue };
            let Some(layer) = view.layers.iter().find(|layer| layer.known.ids.contains(id)) else { continue };
            let Some(other) = layer.known.index.get(id) else { continue };
            if layer.ancestors.is_some_and(|ancestors| !ancestors.contains(layer.step, *other)) {
                let message = format!("step `{id}` need not have run before this one");
                let hint = if *other == layer.step {
                    "a step cannot read itself".to_owned()
                } else {
                    format!("add `{id}` to `dependsOn`, or put the step behind it")
                };
                self.report.inside(code::NOT_AN_ANCESTOR, node, segment.offset, message).hint(hint);
            }
            if let Some(shape) = layer.known.shapes.get(id) {
                self.check_shape(node, path, shape);
            }
        }
    }
}
