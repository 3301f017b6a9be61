//! Loops: over the items of a list, or until something says that it is enough.

use super::code;
use super::decode::Decoder;
use super::expression::Reading;
use super::keys::{LOOP, LOOP_CHECK};
use super::kind::{Fields, open};
use super::scope::{Known, Layer, Outside};
use super::shape::wiring;
use super::tree::{Content, Node};
use super::workflow::{
    AgentWork, ForEach, ItemFailure, Items, Loop, LoopCheck, LoopKind, OnLimit, OutputMode, Repeat, Scope, Step,
    Wiring, Work,
};
use crate::expr::{Expr, Names};
use crate::id::StepId;
use crate::limits;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The id of the step that judges an iteration.
const JUDGE: &str = "judge";
/// Keys that only a loop takes that repeats until something says that it is enough.
const REPEAT_KEYS: &[&str] = &["maxIterations", "while", "until", "untilAgent", "onLimit", "delay", "outputMode"];

/// The steps that a loop repeats.
pub(super) struct Body<'n> {
    steps: Option<&'n Node>,
    wiring: Wiring,
    max_retries: Option<u32>,
}

impl<'n> Body<'n> {
    /// The body that stands in the loop's own table.
    pub(super) fn of(node: &'n Node, max_retries: Option<u32>) -> Self {
        Self { steps: node.member("steps"), wiring: wiring(node.member("mode")), max_retries }
    }

    /// A body that stands elsewhere.
    pub(super) fn new(steps: &'n Node, wiring: Wiring) -> Self {
        Self { steps: Some(steps), wiring, max_retries: None }
    }
}

impl Decoder<'_> {
    /// Decodes a loop. Its checks are looked at here, since they see the steps of the body; what else it reads is added
    /// to the readings of its step.
    pub(super) fn looping<'n>(
        &mut self,
        node: &'n Node,
        body: &Body<'n>,
        (view, readings): (&Outside<'_>, &mut Vec<Reading<'n>>),
    ) -> Option<Loop> {
        let fields = open(&mut self.report, node, &LOOP)?;
        if fields.is_empty() {
            let found = self.report.error(code::BAD_LOOP, node, "the loop says nothing");
            found.hint("write `maxIterations`, or `forEach`");
        }
        if let Some(entry) = fields.entry("mode").filter(|_| body.steps.is_none()) {
            let message = "`mode` wires the `steps` of a loop, and there are none";
            self.report.at(code::CONFLICT, entry.spot, &entry.value.path, message);
        }
        let for_each = fields.mentions("forEach");
        self.misplaced(&fields, for_each);
        let (scope, known) = self.body(body, view, for_each).unzip();
        let kind = if for_each {
            LoopKind::ForEach(self.for_each(&fields, (view, readings))?)
        } else {
            LoopKind::Repeat(Box::new(self.repeat(&fields, known.as_ref(), view)?))
        };
        Some(Loop { kind, body: scope.map(Arc::new) })
    }

    fn body(&mut self, body: &Body<'_>, view: &Outside<'_>, for_each: bool) -> Option<(Scope, Known)> {
        let list = body.steps.filter(|node| matches!(node.content, Content::List(_)))?;
        let mut inside = view.clone();
        inside.around.for_each |= for_each;
        inside.around.repeat |= !for_each;
        Some(self.inner_scope(list, (body.wiring, body.max_retries), &inside))
    }

    /// Reports keys of the other kind of loop.
    fn misplaced(&mut self, fields: &Fields<'_>, for_each: bool) {
        for entry in fields.node.entries() {
            let key = entry.key.as_str();
            if for_each && REPEAT_KEYS.contains(&key) {
                let message = format!("`{key}` does not go with `forEach`, which takes each item once");
                self.report
                    .at(code::CONFLICT, entry.spot, &entry.value.path, message)
                    .hint("a list has its own end; remove one of the two");
            } else if !for_each && key == "onItemFailure" {
                let message = "`onItemFailure` is for `forEach`; this loop has no items";
                self.report
                    .at(code::CONFLICT, entry.spot, &entry.value.path, message)
                    .hint("use `retries` or `onFailure`");
            } else if !for_each && key == "maxConcurrency" {
                let message = "`maxConcurrency` is not read: iterations of this loop run one after the other";
                let found = self.report.at(code::NO_EFFECT, entry.spot, &entry.value.path, message);
                found.warning().hint("remove it");
            }
        }
    }

    fn for_each<'n>(
        &mut self,
        fields: &Fields<'n>,
        (view, readings): (&Outside<'_>, &mut Vec<Reading<'n>>),
    ) -> Option<ForEach> {
        let (steps, roots) = (view.ids(), view.around.roots());
        let names = Names { steps: &steps, roots: &roots };
        let items = fields.get("forEach").and_then(|node| self.items(node, &names, readings))?;
        let most = fields.count("maxConcurrency").filter(|count| *count > 0);
        Some(ForEach {
            items,
            max_concurrency: most.and_then(|count| usize::try_from(count).ok()),
            on_item_failure: match fields.text("onItemFailure") {
                Some("continue") => ItemFailure::Continue,
                Some("ignore") => ItemFailure::Ignore,
                _ => ItemFailure::Stop,
            },
        })
    }

    fn items<'n>(&mut self, node: &'n Node, names: &Names<'_>, readings: &mut Vec<Reading<'n>>) -> Option<Items> {
        if let Content::List(list) = &node.content {
            if list.is_empty() {
                self.report
                    .error(code::EMPTY, node, "the list has no items")
                    .hint("a list that a step makes may be empty");
            }
            if list.len() > limits::FOR_EACH_ITEMS {
                let message = format!("{} items, more than the limit of {}", list.len(), limits::FOR_EACH_ITEMS);
                self.report.error(code::TOO_LONG, node, message);
            }
            return Some(Items::List(Arc::new(list.iter().map(Node::to_json).collect())));
        }
        let expr = self.expression(node, names)?;
        if expr.constant().is_some_and(|value| !value.is_array()) {
            self.report.error(code::NEVER_FITS, node, "`forEach` needs a list, and this is none");
        }
        readings.extend(expr.paths().iter().map(|path| Reading { node, path: path.clone() }));
        Some(Items::Expr(expr))
    }

    fn repeat(&mut self, fields: &Fields<'_>, body: Option<&Known>, view: &Outside<'_>) -> Option<Repeat> {
        if !fields.mentions("maxIterations") && !fields.is_empty() {
            let found =
                self.report.error(code::BAD_LOOP, fields.node, "a loop without `forEach` lacks `maxIterations`");
            found.hint("say how often it repeats at most, so that it ends");
        }
        let mut layers = view.layers.clone();
        if let Some(known) = body {
            layers.insert(0, Layer::of_ended(known));
        }
        let inside = Outside { layers, around: view.around };
        let go_on = fields.get("while").and_then(|node| self.go_on(node, &inside));
        let until = fields.get("until").and_then(|node| self.check(node, &inside));
        let judge = fields.get("untilAgent").and_then(|node| self.judge(node));
        let may_end = ["while", "until", "untilAgent"].iter().any(|key| fields.mentions(key));
        Some(Repeat {
            max_iterations: fields.count("maxIterations")?,
            go_on,
            until,
            judge,
            on_limit: match fields.text("onLimit") {
                Some("fail") => OnLimit::Fail,
                Some(_) => OnLimit::Complete,
                None if may_end => OnLimit::Fail,
                None => OnLimit::Complete,
            },
            delay: fields.duration("delay").unwrap_or(Duration::ZERO),
            output_mode: match fields.text("outputMode") {
                Some("cumulative") => OutputMode::Cumulative,
                _ => OutputMode::Last,
            },
        })
    }

    fn go_on(&mut self, node: &Node, inside: &Outside<'_>) -> Option<LoopCheck> {
        if node.text().is_some() {
            return self.check(node, inside).map(LoopCheck::Expr);
        }
        let fields = open(&mut self.report, node, &LOOP_CHECK)?;
        Some(LoopCheck::Native(fields.text("native")?.into()))
    }

    /// `while` or `until`: true or false, over the iteration that has ended.
    fn check(&mut self, node: &Node, inside: &Outside<'_>) -> Option<Expr> {
        let (steps, roots) = (inside.ids(), inside.around.check_roots());
        let expr = self.expression(node, &Names { steps: &steps, roots: &roots })?;
        if expr.constant().is_some_and(|value| !value.is_boolean()) {
            self.report.error(code::NEVER_FITS, node, "the check of a loop is true or false, and this is neither");
        }
        let readings: Vec<Reading<'_>> = expr.paths().iter().map(|path| Reading { node, path: path.clone() }).collect();
        self.check_readings(&readings, inside);
        Some(expr)
    }

    /// The step that asks the judge; the agent's result must say whether the loop is done.
    fn judge(&mut self, node: &Node) -> Option<Arc<Step>> {
        let name = self.agent_name(node)?;
        if let Some(agent) = self.agents.get(&name)
            && !agent.result_schema.as_deref().is_some_and(says_done)
        {
            let message = format!("agent `{name}` cannot judge: its result need not say whether it is `done`");
            self.report
                .error(code::BAD_JUDGE, node, message)
                .hint("give it a `resultSchema` with `properties: {done: {type: boolean}}` and `required: [done]`");
        }
        let work = AgentWork { agent: Some(name), ..AgentWork::new("") };
        Some(Arc::new(Step::new(StepId::parse(JUDGE).ok()?, Work::Agent(work))))
    }
}

/// Whether a result of this schema always has `done`, true or false.
fn says_done(schema: &Value) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    schema.pointer("/properties/done/type").and_then(Value::as_str) == Some("boolean")
        && required.is_some_and(|required| required.iter().any(|name| name == "done"))
}
