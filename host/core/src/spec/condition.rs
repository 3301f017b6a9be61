//! What decides whether a step runs.

use super::code;
use super::decode::Decoder;
use super::expression::Reading;
use super::keys::CONDITION;
use super::kind::open;
use super::scope::Outside;
use super::tree::Node;
use super::workflow::{Condition, PluginCondition};
use crate::expr::{Expr, Names};
use crate::id::Alias;

impl Decoder<'_> {
    pub(super) fn condition<'n>(
        &mut self,
        node: &'n Node,
        view: &Outside<'_>,
        readings: &mut Vec<Reading<'n>>,
    ) -> Option<Condition> {
        if node.text().is_none() {
            return self.decider(node);
        }
        let (steps, roots) = (view.ids(), view.around.condition_roots());
        let expr = self.expression(node, &Names { steps: &steps, roots: &roots })?;
        if expr.constant().is_some_and(|value| !value.is_boolean()) {
            self.report.error(code::NEVER_FITS, node, "a condition is true or false, and this is neither");
        }
        self.always_empty(node, &expr);
        readings.extend(expr.paths().iter().map(|path| Reading { node, path: path.clone() }));
        Some(Condition::Expr(expr))
    }

    fn always_empty(&mut self, node: &Node, expr: &Expr) {
        if let Some(path) = expr.paths().iter().find(|path| &*path.root == "content") {
            let message = "`content` is always empty in a condition: the step has not run";
            let found = self.report.inside(code::ALWAYS_EMPTY, node, path.offset, message);
            found.warning().hint("read that of a step: `steps.ID.content`");
        }
    }

    /// A closure of the embedder's, or a plugin.
    fn decider(&mut self, node: &Node) -> Option<Condition> {
        let fields = open(&mut self.report, node, &CONDITION)?;
        let (native, plugin) = (fields.mentions("native"), fields.mentions("plugin"));
        if native == plugin {
            let message = if native { "`native` and `plugin` exclude each other" } else { "nobody decides" };
            self.report
                .error(code::CONFLICT, node, message)
                .hint("write `{native: NAME}` or `{plugin: ALIAS, options: {...}}`");
            return None;
        }
        if native {
            for entry in ["options", "label"].iter().filter_map(|key| fields.entry(key)) {
                let message = format!("`{}` belongs to a plugin that decides", entry.key);
                self.report.at(code::CONFLICT, entry.spot, &entry.value.path, message);
            }
            return Some(Condition::Native(fields.text("native")?.into()));
        }
        let entry = fields.entry("plugin")?;
        self.known_plugin(&entry.value, fields.text("plugin")?);
        self.unbuilt(entry, "a plugin as a condition");
        Some(Condition::Plugin(PluginCondition {
            plugin: Alias::parse(fields.text("plugin")?).ok()?,
            options: fields.get("options").map(Node::to_map).unwrap_or_default(),
            label: fields.owned("label"),
        }))
    }
}
