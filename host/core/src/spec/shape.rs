//! What is known of a step's result before it runs, and the parts that it cannot have.

use super::code;
use super::decode::Decoder;
use super::suggest::did_you_mean;
use super::tree::{Content, Node};
use super::workflow::Wiring;
use crate::expr::{Key, Path};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of a result.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Nothing.
    Unknown,
    /// It fits this schema.
    Schema(Arc<Value>),
    /// The list of a loop's iterations.
    Iterations,
    /// The results of several output steps, by id; any step of the scope may stand in for one that was skipped.
    Outputs(Arc<BTreeMap<Arc<str>, Shape>>),
}

impl Decoder<'_> {
    /// What is known of the result of a step that is not decoded yet.
    pub(super) fn shape(&self, step: &Node) -> Shape {
        if step.member("transform").is_some() {
            return Shape::Unknown;
        }
        let repeat = step.member("loop");
        if repeat.is_some_and(|repeat| repeat.member("forEach").is_some()) {
            return Shape::Iterations;
        }
        let cumulative = repeat.and_then(|repeat| repeat.member("outputMode")?.text()) == Some("cumulative");
        if cumulative || step.member("include").is_some() || step.member("tool").is_some() {
            return Shape::Unknown;
        }
        for scope in [repeat, Some(step)].into_iter().flatten() {
            if let Some(steps) = scope.member("steps") {
                return self.scope_shape(steps, wiring(scope.member("mode")));
            }
        }
        if let Some(ask) = step.member("ask") {
            return ask.member("schema").map_or(Shape::Unknown, |schema| Shape::Schema(Arc::new(schema.to_json())));
        }
        if let Some(own) = step.member("resultSchema") {
            return Shape::Schema(Arc::new(own.to_json()));
        }
        let agent = step.text().or_else(|| step.member("agent")?.text());
        let schema = agent.and_then(|agent| self.agents.get(agent)?.result_schema.clone());
        schema.map_or(Shape::Unknown, Shape::Schema)
    }

    /// What is known of the result of a scope: that of its one output step, or of all of them by id.
    fn scope_shape(&self, steps: &Node, wiring: Wiring) -> Shape {
        let outputs: Vec<&Node> = match wiring {
            Wiring::Sequential => steps.items().last().into_iter().collect(),
            Wiring::Parallel => steps.items().iter().collect(),
            Wiring::Dag => {
                let needed: BTreeSet<&str> = steps
                    .items()
                    .iter()
                    .flat_map(|step| step.member("dependsOn").map(Node::items).unwrap_or_default())
                    .filter_map(Node::text)
                    .collect();
                steps.items().iter().filter(|step| id(step).is_none_or(|id| !needed.contains(id))).collect()
            }
        };
        match outputs[..] {
            // What stands in for a step that is skipped is not known.
            [only] if only.member("condition").is_some() => Shape::Unknown,
            [only] => self.shape(only),
            _ => {
                let known = |step| Some((Arc::from(id(step)?), self.shape(step)));
                Shape::Outputs(Arc::new(steps.items().iter().filter_map(known).collect()))
            }
        }
    }

    /// Reports what a step's result cannot have: `steps.ID.MEMBER...`.
    pub(super) fn check_shape(&mut self, node: &Node, path: &Path, shape: &Shape) {
        let Some((member, segment)) = path.name(1).zip(path.segments.get(1)) else { return };
        let members = ["content", "result", "status", "error"];
        if !members.contains(&&**member) {
            let hint = did_you_mean(member, members)
                .unwrap_or_else(|| "a step has `content`, `result`, `status` and `error`".into());
            let message = format!("a step has no `{member}`");
            self.report.inside(code::UNKNOWN_MEMBER, node, segment.offset, message).hint(hint);
        } else if &**member == "result" {
            self.check_result(node, path, 2, shape);
        }
    }

    /// As [`Self::check_shape`], for what stands after the first `from` parts of the path.
    pub(super) fn check_result(&mut self, node: &Node, path: &Path, from: usize, shape: &Shape) {
        let next = || path.name(from).zip(path.segments.get(from));
        match shape {
            Shape::Unknown => {}
            Shape::Schema(schema) => self.check_members(node, path, from, schema),
            Shape::Iterations => {
                if let Some((name, segment)) = next().filter(|(name, _)| &***name != "iterations") {
                    let message = format!("the result of a loop has no `{name}`");
                    self.report
                        .inside(code::UNKNOWN_MEMBER, node, segment.offset, message)
                        .hint("it has `iterations`, a list");
                }
            }
            Shape::Outputs(outputs) => {
                let Some((name, segment)) = next() else { return };
                if let Some(inner) = outputs.get(name) {
                    return self.check_result(node, path, from + 1, inner);
                }
                let hint = self.report.did_you_mean(name, outputs.keys().map(AsRef::as_ref));
                let hint = hint.unwrap_or_else(|| "it has the results of the inner steps by their ids".to_owned());
                let message = format!("the result has no `{name}`");
                self.report.inside(code::UNKNOWN_MEMBER, node, segment.offset, message).hint(hint);
            }
        }
    }

    /// Follows `properties` and `items` for as long as the schema says what there is.
    fn check_members(&mut self, node: &Node, path: &Path, from: usize, schema: &Value) {
        let mut schema = schema;
        for segment in path.segments.iter().skip(from) {
            let next = match &segment.key {
                Key::Index(_) => schema.get("items"),
                Key::Name(name) => {
                    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
                    let found = properties.get(&**name);
                    if found.is_none() && is_closed(schema) {
                        let known = properties.keys().map(String::as_str);
                        let hint = self
                            .report
                            .did_you_mean(name, known.clone())
                            .unwrap_or_else(|| format!("its schema has {}", quoted(known)));
                        let message = format!("the result has no `{name}`");
                        self.report.inside(code::UNKNOWN_MEMBER, node, segment.offset, message).hint(hint);
                    }
                    found
                }
            };
            let Some(next) = next else { return };
            schema = next;
        }
    }
}

/// How a scope says that it is wired; what does not fit is reported elsewhere.
pub(super) fn wiring(mode: Option<&Node>) -> Wiring {
    match mode.and_then(Node::text) {
        Some("sequential") => Wiring::Sequential,
        Some("parallel") => Wiring::Parallel,
        _ => Wiring::Dag,
    }
}

fn id(step: &Node) -> Option<&str> {
    match &step.content {
        Content::Text(name) => Some(name),
        _ => step.member("id")?.text(),
    }
}

/// Whether `properties` names all that there can be, as far as one reads it.
fn is_closed(schema: &Value) -> bool {
    let open = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas"];
    let more = schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
    !more && !open.iter().any(|key| schema.get(key).is_some())
}

fn quoted<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
