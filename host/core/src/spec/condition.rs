//! What decides whether a step runs.

use super::code;
use super::decode::Decoder;
use super::expression::Reading;
use super::keys::CONDITION;
use super::kind::open;
use super::scope::{Draft, Outside};
use super::tree::Node;
use super::workflow::{Condition, PluginCondition, Step};
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

    /// Steps that one plugin chooses from have labels of their own.
    pub(super) fn check_labels(&mut self, drafts: &[Draft<'_>], steps: &[Step]) {
        let chosen_by = |step: &Step| match &step.condition {
            Some(Condition::Plugin(condition)) if condition.label.is_some() => Some(condition.clone()),
            _ => None,
        };
        let mut seen = Vec::new();
        for step in steps {
            let Some(condition) = chosen_by(step) else { continue };
            if !seen.contains(&condition) {
                seen.push(condition);
                continue;
            }
            let draft = drafts.iter().find(|draft| draft.id.as_ref() == Some(&step.id));
            let node = draft.and_then(|draft| draft.fields.as_ref()?.get("condition"));
            if let Some(node) = node.map(|node| node.member("label").unwrap_or(node)) {
                let label = condition.label.as_deref().unwrap_or_default();
                let message = format!("the label `{label}` is used twice by what one condition chooses from");
                self.report.error(code::LABEL_TWICE, node, message).hint("give each of these steps its own label");
            }
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
        Some(Condition::Plugin(PluginCondition {
            plugin: Alias::parse(fields.text("plugin")?).ok()?,
            options: fields.get("options").map(Node::to_map).unwrap_or_default(),
            label: fields.owned("label"),
        }))
    }
}
