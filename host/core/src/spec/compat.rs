//! `compat: zenflow`: what zenflow v1 does not have or forbids is an error.
//!
//! Most of it stands in the tables of [`super::keys`]; here is the walk, and what no table can say.

use super::code;
use super::keys::{LOOP, ROOT, STEP};
use super::kind::{Kind, Table};
use super::report::{Report, Spot};
use super::tree::{Content, Node};

/// Steps of a document.
const STEPS: usize = 100;
/// Characters of a step's instructions.
const INSTRUCTION_CHARS: usize = 2_000;

/// Reports everything in a document that zenflow v1 would not take.
pub(super) fn zenflow(report: &mut Report, root: &Node) {
    Walk { report, in_loop: false }.table(root, &ROOT);
}

/// Reports more steps than zenflow takes of the document that runs; it does not count those of included ones.
pub(super) fn most_steps(report: &mut Report, root: &Node) {
    if let Some(steps) = root.member("steps").filter(|steps| steps.items().len() > STEPS) {
        let message = format!("{} steps, more than the {STEPS} of zenflow", steps.items().len());
        Walk { report, in_loop: false }.forbid(steps.spot, &steps.path, &message);
    }
}

struct Walk<'r> {
    report: &'r mut Report,
    /// Whether a loop stands around.
    in_loop: bool,
}

impl Walk<'_> {
    fn forbid(&mut self, spot: Spot, path: &str, message: &str) {
        let found = self.report.at(code::NOT_ZENFLOW, spot, path, message);
        found.hint("leave out `compat`, or write it as zenflow does");
    }

    fn table(&mut self, node: &Node, table: &'static Table) {
        let in_loop = self.in_loop;
        if std::ptr::eq(table, &raw const STEP) {
            self.step(node);
        }
        for entry in node.entries() {
            let key = table.keys.iter().find(|key| key.name == entry.key);
            if entry.key.starts_with("x-") || key.is_some_and(|key| key.plus) {
                self.forbid(entry.spot, &entry.value.path, &format!("zenflow has no `{}` here", entry.key));
            } else if let Some(key) = key {
                self.in_loop = in_loop || std::ptr::eq(table, &raw const LOOP);
                self.value(&entry.value, &key.kind);
                self.in_loop = in_loop;
            }
        }
    }

    /// What no table says of a step.
    fn step(&mut self, node: &Node) {
        let beside_tool = ["loop"].into_iter().filter(|_| node.member("tool").is_some());
        for key in beside_tool {
            if let Some(entry) = node.entries().iter().find(|entry| entry.key == key) {
                self.forbid(entry.spot, &entry.value.path, "zenflow repeats no step that calls a tool");
            }
        }
        if self.in_loop
            && let Some(entry) = node.entries().iter().find(|entry| entry.key == "loop")
        {
            self.forbid(entry.spot, &entry.value.path, "zenflow has no loop in a loop");
        }
        if let Some(text) = node.member("instructions")
            && text.text().is_some_and(|text| text.chars().count() > INSTRUCTION_CHARS)
        {
            let message = format!("zenflow takes at most {INSTRUCTION_CHARS} characters of instructions");
            self.forbid(text.spot, &text.path, &message);
        }
    }

    fn value(&mut self, node: &Node, kind: &'static Kind) {
        match (kind, &node.content) {
            (Kind::Duration, Content::Text(text)) if text.ends_with("ms") => {
                self.forbid(node.spot, &node.path, "zenflow has no milliseconds");
            }
            (Kind::Choice { plus, .. }, Content::Text(text)) if plus.contains(&text.as_str()) => {
                self.forbid(node.spot, &node.path, &format!("zenflow has no `{text}` here"));
            }
            (Kind::ChoiceOrName { words, plus, .. }, Content::Text(text))
                if plus.contains(&text.as_str()) || !words.contains(&text.as_str()) =>
            {
                self.forbid(node.spot, &node.path, &format!("zenflow has no `{text}` here"));
            }
            (Kind::Table(table) | Kind::TextOr(Kind::Table(table)), Content::Map(_)) => {
                if std::ptr::eq(table(), &raw const super::keys::CONDITION) {
                    self.forbid(node.spot, &node.path, "a condition of zenflow is an expression");
                } else {
                    self.table(node, table());
                }
            }
            (Kind::List(Kind::TextOr(Kind::Table(_))), Content::List(items))
                if items.iter().any(|item| item.text().is_some()) =>
            {
                for item in items.iter().filter(|item| item.text().is_some()) {
                    self.forbid(item.spot, &item.path, "a step of zenflow is a table with an `id`");
                }
                items.iter().for_each(|item| self.value(item, of(kind)));
            }
            (Kind::List(_), Content::List(items)) => items.iter().for_each(|item| self.value(item, of(kind))),
            (Kind::Map(_), Content::Map(entries)) => {
                entries.iter().for_each(|entry| self.value(&entry.value, of(kind)));
            }
            _ => {}
        }
    }
}

/// What stands in a list or a map of this kind.
fn of(kind: &'static Kind) -> &'static Kind {
    match kind {
        Kind::List(of) | Kind::Map(of) => of,
        other => other,
    }
}
