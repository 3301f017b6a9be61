//! Expressions and templates where they stand in a document: places of faults, declared inputs, known results.

use super::code;
use super::decode::Decoder;
use super::suggest::did_you_mean;
use super::tree::Node;
use crate::expr::{Expr, ExprError, Fault, Key, Names, Path};
use crate::template::{Place, Template};
use serde_json::Value;
use std::sync::Arc;

/// What steps may read, besides the items of loops around them.
pub(super) const STEP_ROOTS: &[&str] = &["steps", "inputs", "input"];
/// What steps in a loop may read.
pub(super) const ITEM_ROOTS: &[&str] = &["steps", "inputs", "input", "item", "index"];
/// What the directories of a plugin may read.
pub(super) const INPUTS_ONLY: &[&str] = &["inputs"];

/// What is known of a step's result.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) schema: Option<Arc<Value>>,
    /// A loop's result is the list of its iterations.
    pub(super) is_loop: bool,
}

/// A step that some text reads.
pub(super) struct Reading<'n> {
    pub(super) node: &'n Node,
    pub(super) path: Path,
}

impl Decoder<'_> {
    pub(super) fn expression(&mut self, node: &Node, names: &Names<'_>) -> Option<Expr> {
        match Expr::parse(node.text()?, names) {
            Ok(expr) => {
                self.check_inputs(node, expr.paths());
                Some(expr)
            }
            Err(error) => {
                self.expression_fault(node, error);
                None
            }
        }
    }

    /// Compiles a tree of templates, and says which steps its strings read. Strings with faults are reported.
    pub(super) fn template<'n>(&mut self, node: &'n Node, names: &Names<'_>) -> (Template, Vec<Reading<'n>>) {
        let (template, errors) = Template::compile(&node.to_json(), names);
        let mut readings = Vec::new();
        for (place, paths) in template.paths() {
            let node = follow(node, place);
            self.check_inputs(node, paths);
            readings.extend(paths.iter().map(|path| Reading { node, path: path.clone() }));
        }
        for error in errors {
            self.expression_fault(follow(node, &error.place), error.error);
        }
        (template, readings)
    }

    pub(super) fn expression_fault(&mut self, node: &Node, error: ExprError) {
        let code = match error.fault {
            Fault::Syntax => code::EXPRESSION,
            Fault::Limit => code::EXPRESSION_LIMIT,
            Fault::UnknownStep => code::UNKNOWN_STEP,
            Fault::UnknownName => code::UNKNOWN_NAME,
        };
        self.report.inside(code, node, error.offset, error.message).maybe(error.hint);
    }

    /// Reports inputs that are not declared.
    pub(super) fn check_inputs(&mut self, node: &Node, paths: &[Path]) {
        for path in paths.iter().filter(|path| &*path.root == "inputs") {
            let Some((name, segment)) = path.name(0).zip(path.segments.first()) else { continue };
            if !self.input_names.contains(&**name) {
                let hint = self.report.did_you_mean(name, self.input_names.iter().map(AsRef::as_ref));
                let hint = hint.unwrap_or_else(|| format!("declare it: `inputs: {{{name}: {{type: string}}}}`"));
                self.report
                    .inside(code::UNKNOWN_INPUT, node, segment.offset, format!("unknown input `{name}`"))
                    .hint(hint);
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
            return;
        }
        if &**member != "result" {
            return;
        }
        if shape.is_loop {
            if let Some((name, segment)) =
                path.name(2).zip(path.segments.get(2)).filter(|(name, _)| &***name != "iterations")
            {
                let message = format!("the result of a loop has no `{name}`");
                self.report
                    .inside(code::UNKNOWN_MEMBER, node, segment.offset, message)
                    .hint("it has `iterations`, a list");
            }
            return;
        }
        if let Some(schema) = &shape.schema {
            self.check_members(node, path, schema);
        }
    }

    /// Follows `properties` and `items` for as long as the schema says what there is.
    fn check_members(&mut self, node: &Node, path: &Path, schema: &Value) {
        let mut schema = schema;
        for segment in path.segments.iter().skip(2) {
            let next = match &segment.key {
                Key::Index(_) => schema.get("items"),
                Key::Name(name) => {
                    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
                    let found = properties.get(&**name);
                    if found.is_none() && is_closed(schema) {
                        let known = properties.keys().map(String::as_str);
                        let hint = did_you_mean(name, known.clone())
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

/// Whether `properties` names all that there can be, as far as one reads it.
fn is_closed(schema: &Value) -> bool {
    let open = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas"];
    let more = schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
    !more && !open.iter().any(|key| schema.get(key).is_some())
}

fn quoted<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn follow<'n>(node: &'n Node, place: &[Place]) -> &'n Node {
    let step = |node: &'n Node, part: &Place| match part {
        Place::Key(key) => node.member(key).unwrap_or(node),
        Place::Index(index) => node.item(*index).unwrap_or(node),
    };
    place.iter().fold(node, step)
}
