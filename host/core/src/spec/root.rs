//! The steps of a document, wired as its mode says.

use super::code;
use super::decode::Decoder;
use super::kind::Fields;
use super::looping::Body;
use super::scope::{Known, Outside};
use super::shape::{Shape, wiring};
use super::tree::Node;
use super::workflow::{Scope, Step, Wiring, Work};
use crate::id::StepId;
use std::sync::Arc;

/// The id of the one step of a document with `mode: loop`.
const LOOP: &str = "loop";

impl Decoder<'_> {
    /// Decodes the steps of a document, and says what is known of their results.
    pub(super) fn root_scope(&mut self, fields: &Fields<'_>) -> (Scope, Known) {
        let Some(steps) = fields.get("steps") else { return (Scope::default(), Known::default()) };
        if fields.text("mode") == Some("loop") {
            return self.looping_document(fields, steps);
        }
        for entry in ["loop", "bodyMode"].iter().filter_map(|key| fields.entry(key)) {
            let message = format!("`{}` of a document goes with `mode: loop` only", entry.key);
            let hint = "write `mode: loop`, or give a step a `loop`";
            self.report.at(code::CONFLICT, entry.spot, &entry.value.path, message).hint(hint);
        }
        self.scope(steps, wiring(fields.get("mode")), &Outside::NOTHING)
    }

    /// A document whose steps are the body of one loop.
    fn looping_document(&mut self, fields: &Fields<'_>, steps: &Node) -> (Scope, Known) {
        let Some(node) = fields.get("loop") else {
            if !fields.mentions("loop") {
                let found = self.report.error(code::MISSING_KEY, fields.node, "`mode: loop` lacks `loop`");
                found.hint("say how often: `loop: {maxIterations: 10}`");
            }
            return (Scope::default(), Known::default());
        };
        for entry in node.entries().iter().filter(|entry| ["steps", "mode"].contains(&entry.key.as_str())) {
            let message = format!("`{}` of the loop of a document stands at the document's root", entry.key);
            let hint = if entry.key == "mode" { "write `bodyMode`" } else { "the body is the document's `steps`" };
            self.report.at(code::CONFLICT, entry.spot, &entry.value.path, message).hint(hint);
        }
        let body = Body::new(steps, fields.get("bodyMode").map_or(Wiring::Sequential, |mode| wiring(Some(mode))));
        let mut readings = Vec::new();
        let repeat = self.looping(node, &body, (&Outside::NOTHING, &mut readings));
        let id = StepId::parse(LOOP).ok();
        let steps = id.zip(repeat).map(|(id, repeat)| Step { repeat: Some(repeat), ..Step::new(id, Work::Body) });
        let shape = if node.member("forEach").is_some() { Shape::Iterations } else { Shape::Unknown };
        let known = Known::of_one(Arc::from(LOOP), shape);
        (Scope { steps: steps.into_iter().collect(), defaults: self.defaults.clone(), ..Scope::default() }, known)
    }
}
