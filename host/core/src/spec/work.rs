//! The work of agent steps and tool steps.

use super::code;
use super::decode::Decoder;
use super::expression::Reading;
use super::kind::Fields;
use super::tree::Node;
use super::workflow::{AgentWork, ToolWork};
use crate::expr::Names;
use crate::id::{AgentName, ToolName};
use crate::limits;
use crate::template::Template;
use crate::value::Map;
use serde_json::Value;
use std::sync::Arc;

impl Decoder<'_> {
    pub(super) fn agent_work<'n>(
        &mut self,
        fields: &Fields<'n>,
        names: &Names<'_>,
        readings: &mut Vec<Reading<'n>>,
    ) -> Option<AgentWork> {
        let agent = match fields.filled("agent") {
            Some(node) => Some(self.agent_name(node)?),
            None => None,
        };
        let instructions = fields.filled("instructions").and_then(|node| self.instructions(node)).unwrap_or_default();
        let input = fields.get("input").map(|node| {
            let (template, read) = self.template(node, names);
            readings.extend(read);
            template
        });
        let context_files = fields.items("contextFiles").iter().filter_map(|node| self.context_file(node)).collect();
        let result_schema = self.json_schema(fields, "resultSchema");
        let model = fields.filled("model").and_then(|node| self.model_name(node));
        Some(AgentWork { agent, instructions, input, context_files, model, result_schema })
    }

    /// The name of an agent of the document.
    pub(super) fn agent_name(&mut self, node: &Node) -> Option<AgentName> {
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

    /// A path below the directory of the document that runs; whether the file is there is seen when the step runs.
    fn context_file(&mut self, node: &Node) -> Option<String> {
        let path = node.text()?;
        let resolved = self.files.resolve(path);
        if resolved.is_none() {
            let message = format!("path `{path}` leads out of the document's directory");
            self.report.error(code::FILE, node, message).hint("paths are relative to the document and stay below it");
        }
        resolved
    }

    pub(super) fn tool_work<'n>(
        &mut self,
        fields: &Fields<'n>,
        names: &Names<'_>,
        readings: &mut Vec<Reading<'n>>,
    ) -> Option<ToolWork> {
        let (args, read) = match (fields.get("args"), fields.get("toolInput")) {
            (Some(node), _) => self.template(node, names),
            (None, Some(node)) => self.dollar_template(node, names),
            (None, None) => (Template::constant(Value::Object(Map::new())), Vec::new()),
        };
        readings.extend(read);
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
        match tool.alias() {
            Some(alias) => self.known_plugin(node, alias.as_str()),
            None if text == "agent" => {
                let message = "`agent` is a tool for models: a step has no sub-agents";
                self.report.error(code::BAD_TOOL, node, message).hint("write a step of an agent: `agent: NAME`");
                return None;
            }
            None => {}
        }
        Some(ToolWork { tool, args })
    }
}
