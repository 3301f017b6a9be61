//! One scope: ids, dependencies, circles, and what its steps may read.

use super::code;
use super::decode::Decoder;
use super::expression::{Reading, Shape};
use super::graph::{Ancestors, Graph};
use super::keys::STEP;
use super::kind::{Fields, open, wrong_type};
use super::tree::{Content, Node};
use super::workflow::{Scope, Step};
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
pub(super) struct Outside<'a> {
    pub(super) layers: Vec<Layer<'a>>,
    pub(super) in_loop: bool,
}

impl Outside<'_> {
    pub(super) const NOTHING: Self = Self { layers: Vec::new(), in_loop: false };
}

/// One scope, seen from a step in it or from a step of a loop's body.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) ids: &'a BTreeSet<Arc<str>>,
    index: &'a BTreeMap<Arc<str>, usize>,
    shapes: &'a BTreeMap<Arc<str>, Shape>,
    ancestors: Option<&'a Ancestors>,
    /// The step that looks, or that holds the loop.
    step: usize,
}

impl Decoder<'_> {
    /// Decodes the steps of a scope, and says what is known of their results.
    pub(super) fn scope(&mut self, list: &Node, outside: &Outside<'_>) -> (Scope, BTreeMap<Arc<str>, Shape>) {
        let nodes = list.items();
        if nodes.is_empty() {
            self.report.error(code::EMPTY, list, "there are no steps");
        }
        if nodes.len() > limits::SCOPE_STEPS {
            let message = format!("{} steps, more than the limit of {}", nodes.len(), limits::SCOPE_STEPS);
            self.report.error(code::TOO_LONG, list, message).hint("loop over a list, or split the document");
            return (Scope::default(), BTreeMap::new());
        }
        let drafts: Vec<Draft<'_>> = nodes.iter().filter_map(|node| self.draft(node)).collect();
        let index = self.index(&drafts);
        let edges: Vec<Vec<usize>> = drafts.iter().map(|draft| self.dependencies(draft, &index)).collect();
        let graph = Graph::new(edges.clone());
        self.report_circles(&graph, &drafts);
        let ancestors = graph.ancestors();
        let shapes: BTreeMap<Arc<str>, Shape> = drafts
            .iter()
            .filter_map(|draft| Some((Arc::from(draft.id.as_ref()?.as_str()), self.shape(draft))))
            .collect();
        let ids: BTreeSet<Arc<str>> = index.keys().cloned().collect();
        let mut steps = Vec::with_capacity(drafts.len());
        for (step, (draft, depends_on)) in drafts.iter().zip(edges).enumerate() {
            let own = Layer { ids: &ids, index: &index, shapes: &shapes, ancestors: ancestors.as_ref(), step };
            let layers = std::iter::once(own).chain(outside.layers.iter().copied()).collect();
            let view = Outside { layers, in_loop: outside.in_loop };
            let (decoded, readings) = self.step(draft, &view);
            self.check_readings(&readings, &view);
            steps.extend(decoded.map(|decoded| Step { depends_on, ..decoded }));
        }
        (Scope { steps, defaults: self.defaults.clone(), ..Scope::default() }, shapes)
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

    fn shape(&self, draft: &Draft<'_>) -> Shape {
        let agent = match &draft.fields {
            Some(fields) => fields.text("agent"),
            None => draft.node.text(),
        };
        let own =
            draft.fields.as_ref().and_then(|fields| fields.get("resultSchema")).map(|node| Arc::new(node.to_json()));
        let schema = own.or_else(|| self.agents.get(agent?).and_then(|agent| agent.result_schema.clone()));
        Shape { schema, is_loop: draft.fields.as_ref().is_some_and(|fields| fields.mentions("loop")) }
    }

    /// Reports steps that are read and need not have run, and parts that their results do not have.
    fn check_readings(&mut self, readings: &[Reading<'_>], view: &Outside<'_>) {
        for Reading { node, path } in readings.iter().filter(|reading| &*reading.path.root == "steps") {
            let Some((id, segment)) = path.name(0).zip(path.segments.first()) else { continue };
            let Some(layer) = view.layers.iter().find(|layer| layer.ids.contains(id)) else { continue };
            let Some(other) = layer.index.get(id) else { continue };
            if layer.ancestors.is_some_and(|ancestors| !ancestors.contains(layer.step, *other)) {
                let message = format!("step `{id}` need not have run before this one");
                let hint = if *other == layer.step {
                    "a step cannot read itself".to_owned()
                } else {
                    format!("add `{id}` to `dependsOn`")
                };
                self.report.inside(code::NOT_AN_ANCESTOR, node, segment.offset, message).hint(hint);
            }
            if let Some(shape) = layer.shapes.get(id) {
                self.check_shape(node, path, shape);
            }
        }
    }
}
