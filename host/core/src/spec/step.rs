//! One step: what it does, and the keys that belong to that.

use super::code;
use super::decode::Decoder;
use super::expression::{ITEM_ROOTS, Reading, STEP_ROOTS};
use super::keys::LOOP;
use super::kind::{Fields, open};
use super::options::failure;
use super::scope::{Draft, Outside};
use super::tree::{Content, Node};
use super::workflow::{AgentWork, Condition, ForEach, ItemFailure, Items, Loop, LoopKind, Step, ToolWork, Work};
use crate::expr::{Expr, Names};
use crate::id::{AgentName, ToolName};
use crate::limits;
use crate::template::Template;
use crate::value::Map;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Keys that only an agent step takes.
const AGENT_KEYS: &[&str] = &["agent", "instructions", "contextFiles", "model", "maxRetries", "input", "resultSchema"];
/// Keys that only a tool step takes.
const TOOL_KEYS: &[&str] = &["args"];

/// The names that the texts of one step may read.
struct Sight<'v> {
    steps: Vec<&'v BTreeSet<Arc<str>>>,
    in_loop: bool,
}

impl Sight<'_> {
    fn names(&self, with_item: bool) -> Names<'_> {
        Names { steps: &self.steps, roots: if with_item { ITEM_ROOTS } else { STEP_ROOTS } }
    }
}

impl Decoder<'_> {
    /// Decodes a step, and says which steps its texts read. `depends_on` is the scope's to fill in.
    pub(super) fn step<'n>(&mut self, draft: &Draft<'n>, view: &Outside<'_>) -> (Option<Step>, Vec<Reading<'n>>) {
        let mut readings = Vec::new();
        let Some(fields) = &draft.fields else { return (self.bare(draft), readings) };
        let sight = Sight { steps: view.layers.iter().map(|layer| layer.ids).collect(), in_loop: view.in_loop };
        let body = fields.get("loop").is_some_and(|node| node.member("steps").is_some());
        self.conflicts(fields, body);
        let repeats = fields.get("loop").is_some();
        let work = match (body, fields.mentions("tool")) {
            (true, _) => Some(Work::Body),
            (false, true) => {
                self.tool_work(fields, &sight.names(repeats || sight.in_loop), &mut readings).map(Work::Tool)
            }
            (false, false) => {
                self.agent_work(fields, &sight.names(repeats || sight.in_loop), &mut readings).map(Work::Agent)
            }
        };
        let condition =
            fields.get("condition").and_then(|node| self.condition(node, &sight.names(sight.in_loop), &mut readings));
        let repeat = fields.get("loop").and_then(|node| self.for_each(node, &sight, (view, &mut readings)));
        let step = draft.id.clone().zip(work).map(|(id, work)| Step {
            label: fields.owned("label"),
            metadata: fields.get("metadata").map(Node::to_map).unwrap_or_default(),
            condition: condition.map(Condition::Expr),
            timeout: fields.duration("timeout"),
            retries: fields.count("retries").unwrap_or_default(),
            max_retries: fields.count("maxRetries"),
            repeat,
            on_failure: failure(fields, "onFailure"),
            ..Step::new(id, work)
        });
        (step, readings)
    }

    /// A step that is only the name of an agent.
    fn bare(&mut self, draft: &Draft<'_>) -> Option<Step> {
        let agent = self.agent_name(draft.node)?;
        let work = AgentWork { agent: Some(agent), ..AgentWork::new("") };
        Some(Step::new(draft.id.clone()?, Work::Agent(work)))
    }

    fn conflicts(&mut self, fields: &Fields<'_>, body: bool) {
        let tool = fields.mentions("tool");
        let (excluded, reason): (Vec<&str>, &str) = match (body, tool) {
            (true, _) => (
                [&["tool", "retries", "maxRetries"], AGENT_KEYS, TOOL_KEYS].concat(),
                "belongs to the steps of the loop, not to the step that loops",
            ),
            (false, true) => (AGENT_KEYS.to_vec(), "belongs to an agent step; this step calls a tool"),
            (false, false) => (TOOL_KEYS.to_vec(), "belongs to a tool step; this step has no `tool`"),
        };
        for entry in fields.node.entries().iter().filter(|entry| excluded.contains(&entry.key.as_str())) {
            let message = format!("`{}` {reason}", entry.key);
            self.report.at(code::CONFLICT, entry.spot, &entry.value.path, message).hint("a step does one kind of work");
        }
    }

    fn agent_work<'n>(
        &mut self,
        fields: &Fields<'n>,
        names: &Names<'_>,
        readings: &mut Vec<Reading<'n>>,
    ) -> Option<AgentWork> {
        let agent = match fields.get("agent") {
            Some(node) => Some(self.agent_name(node)?),
            None => None,
        };
        let instructions = fields.get("instructions").and_then(|node| self.instructions(node)).unwrap_or_default();
        let input = fields.get("input").map(|node| {
            let (template, read) = self.template(node, names);
            readings.extend(read);
            template
        });
        let context_files = fields.items("contextFiles").iter().filter_map(|node| self.context_file(node)).collect();
        let result_schema = self.result_schema(fields);
        Some(AgentWork { agent, instructions, input, context_files, model: fields.owned("model"), result_schema })
    }

    fn agent_name(&mut self, node: &Node) -> Option<AgentName> {
        let name = node.text()?;
        if !self.agent_names.contains(name) {
            let hint = self.report.did_you_mean(name, self.agent_names.iter().map(AsRef::as_ref));
            let hint = hint.unwrap_or_else(|| format!("declare it: `agents: {{{name}: {{description: ...}}}}`"));
            self.report.error(code::UNKNOWN_AGENT, node, format!("unknown agent `{name}`")).hint(hint);
            return None;
        }
        AgentName::parse(name).ok()
    }

    fn instructions(&mut self, node: &Node) -> Option<Arc<str>> {
        let written = node.text()?;
        if written.len() > limits::INSTRUCTIONS_BYTES {
            let message = format!(
                "the instructions have {} bytes, more than the limit of {}",
                written.len(),
                limits::INSTRUCTIONS_BYTES
            );
            self.report.error(code::TOO_LONG, node, message).hint("put them into a file, and write `@` and its path");
            return None;
        }
        self.files.text(&mut self.report, node)
    }

    /// A path below the document's directory; whether the file is there is seen when the step runs.
    fn context_file(&mut self, node: &Node) -> Option<String> {
        let path = node.text()?;
        let mut depth = 0_i32;
        for part in path.split(['/', '\\']) {
            depth += match part {
                "" | "." => 0,
                ".." => -1,
                _ => 1,
            };
            if depth < 0 {
                break;
            }
        }
        if depth < 0 || path.starts_with(['/', '\\']) {
            let message = format!("path `{path}` leads out of the document's directory");
            self.report.error(code::FILE, node, message).hint("paths are relative to the document and stay below it");
            return None;
        }
        Some(path.to_owned())
    }

    fn tool_work<'n>(
        &mut self,
        fields: &Fields<'n>,
        names: &Names<'_>,
        readings: &mut Vec<Reading<'n>>,
    ) -> Option<ToolWork> {
        let args = match fields.get("args") {
            Some(node) => {
                let (template, read) = self.template(node, names);
                readings.extend(read);
                template
            }
            None => Template::constant(Value::Object(Map::new())),
        };
        let node = fields.get("tool")?;
        let text = node.text()?;
        let tool = match ToolName::parse(if text == "bash" { "exec" } else { text }) {
            Ok(tool) => tool,
            Err(error) => {
                self.report
                    .error(code::BAD_TOOL, node, error.to_string())
                    .hint("write `name`, or `alias.name` for a plugin's tool");
                return None;
            }
        };
        if let Some(alias) = tool.alias() {
            self.known_plugin(node, alias.as_str());
        }
        Some(ToolWork { tool, args })
    }

    fn condition<'n>(&mut self, node: &'n Node, names: &Names<'_>, readings: &mut Vec<Reading<'n>>) -> Option<Expr> {
        let expr = self.expression(node, names)?;
        if expr.constant().is_some_and(|value| !value.is_boolean()) {
            self.report.error(code::NEVER_FITS, node, "a condition is true or false, and this is neither");
        }
        read(node, &expr, readings);
        Some(expr)
    }

    fn for_each<'n>(
        &mut self,
        node: &'n Node,
        sight: &Sight<'_>,
        (view, readings): (&Outside<'_>, &mut Vec<Reading<'n>>),
    ) -> Option<Loop> {
        let fields = open(&mut self.report, node, &LOOP)?;
        let other = ["maxIterations", "while", "until", "untilAgent"].iter().any(|key| fields.mentions(key));
        if !fields.mentions("forEach") && !other {
            self.report
                .error(code::MISSING_KEY, node, "a loop lacks `forEach`")
                .hint("an expression that gives a list, or a list");
        }
        let body = fields.get("steps").map(|list| {
            let inside = Outside { layers: view.layers.clone(), in_loop: true };
            Arc::new(self.scope(list, &inside).0)
        });
        let items = fields.get("forEach").and_then(|node| self.items(node, &sight.names(sight.in_loop), readings))?;
        let most = fields.count("maxConcurrency").filter(|count| *count > 0);
        let each = ForEach {
            items,
            max_concurrency: most.and_then(|count| usize::try_from(count).ok()),
            on_item_failure: match fields.text("onItemFailure") {
                Some("continue") => ItemFailure::Continue,
                Some("ignore") => ItemFailure::Ignore,
                _ => ItemFailure::Stop,
            },
        };
        Some(Loop { kind: LoopKind::ForEach(each), body })
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
        read(node, &expr, readings);
        Some(Items::Expr(expr))
    }
}

fn read<'n>(node: &'n Node, expr: &Expr, readings: &mut Vec<Reading<'n>>) {
    readings.extend(expr.paths().iter().map(|path| Reading { node, path: path.clone() }));
}
