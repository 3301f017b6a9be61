//! Expressions and templates where they stand in a document: what they may read, places of faults, declared inputs.

use super::code;
use super::decode::Decoder;
use super::tree::Node;
use crate::expr::{Expr, ExprError, Fault, Names, Path};
use crate::template::{self, Place, Template};

/// What can be read everywhere in steps.
const ROOTS: [&str; 5] = ["steps", "inputs", "vars", "input", "memory"];
/// What checks of a loop can read of the iteration that has ended.
const LAST: [&str; 3] = ["content", "result", "status"];
/// What the directories of a plugin may read.
pub(super) const INPUTS_ONLY: &[&str] = &["inputs"];

/// Which loops stand around a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around {
    pub(super) for_each: bool,
    pub(super) repeat: bool,
}

impl Around {
    /// The variables that a text of a step may read.
    pub(super) fn roots(self) -> Vec<&'static str> {
        let item: &[&str] = if self.for_each { &["item", "index"] } else { &[] };
        let iteration: &[&str] = if self.repeat { &["iteration"] } else { &[] };
        [&ROOTS, item, iteration].concat()
    }

    /// The variables that the `condition` of a step may read: in zenflow `content` is known there, and always empty.
    pub(super) fn condition_roots(self) -> Vec<&'static str> {
        [&self.roots()[..], &["content"]].concat()
    }

    /// The variables that `while` and `until` of a loop may read, which is not counted among those around it.
    pub(super) fn check_roots(self) -> Vec<&'static str> {
        [&Self { repeat: true, ..self }.roots()[..], &LAST].concat()
    }
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
                self.check_memory(node, expr.paths());
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
        let compiled = Template::compile(&node.to_json(), names);
        self.compiled(node, compiled)
    }

    /// As [`Self::template`], where texts that begin with `$` are expressions.
    pub(super) fn dollar_template<'n>(&mut self, node: &'n Node, names: &Names<'_>) -> (Template, Vec<Reading<'n>>) {
        let compiled = Template::compile_dollar(&node.to_json(), names);
        self.compiled(node, compiled)
    }

    fn compiled<'n>(
        &mut self,
        node: &'n Node,
        (template, errors): (Template, Vec<template::Error>),
    ) -> (Template, Vec<Reading<'n>>) {
        let mut readings = Vec::new();
        for (place, paths) in template.paths() {
            let node = follow(node, place);
            self.check_inputs(node, paths);
            self.check_memory(node, paths);
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

    /// Reports namespaces of the shared memory that belong to nobody.
    fn check_memory(&mut self, node: &Node, paths: &[Path]) {
        for path in paths.iter().filter(|path| &*path.root == "memory") {
            let Some((name, segment)) = path.name(0).zip(path.segments.first()) else { continue };
            if let Some((message, hint)) = self.no_owner(name) {
                self.report.inside(code::UNKNOWN_AGENT, node, segment.offset, message).hint(hint);
            }
        }
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
}

fn follow<'n>(node: &'n Node, place: &[Place]) -> &'n Node {
    let step = |node: &'n Node, part: &Place| match part {
        Place::Key(key) => node.member(key).unwrap_or(node),
        Place::Index(index) => node.item(*index).unwrap_or(node),
    };
    place.iter().fold(node, step)
}
