//! Agents of a document.

use super::code;
use super::decode::Decoder;
use super::keys::AGENT;
use super::kind::{Fields, open};
use super::tree::{Entry, Node};
use super::workflow::{AgentSpec, ToolFilter};
use crate::id::{AgentName, Alias, LocalName, PluginModelName};
use crate::port::ModelSettings;

impl Decoder<'_> {
    pub(super) fn agent(&mut self, entry: &Entry) -> Option<AgentSpec> {
        let name = match AgentName::parse(&entry.key) {
            Ok(name) => Some(name),
            Err(error) => {
                self.report.at(code::BAD_NAME, entry.spot, &entry.value.path, error.to_string());
                None
            }
        };
        let fields = open(&mut self.report, &entry.value, &AGENT)?;
        if let Some(node) =
            fields.get("description").filter(|node| node.text().is_some_and(|text| text.trim().is_empty()))
        {
            self.report.error(code::EMPTY, node, "the text is empty");
        }
        let prompt = fields.filled("prompt").and_then(|node| self.files.text(&mut self.report, node));
        let tools = ToolFilter { memory: self.agent_memory(&fields), ..self.tool_filter(&fields) };
        let result_schema = self.json_schema(&fields, "resultSchema");
        let transform = fields.get("transform").map(|node| self.transforms(node)).unwrap_or_default();
        let grants = self.narrowed(&fields);
        let budget = self.allowance(&fields);
        let options = self.model_options(&fields);
        Some(AgentSpec {
            name: name?,
            description: fields.owned("description").unwrap_or_default(),
            prompt,
            model: fields.filled("model").and_then(|node| self.model_name(node)),
            tools,
            max_turns: fields.count("maxTurns").filter(|turns| *turns > 0),
            settings: ModelSettings {
                temperature: fields.number("temperature"),
                top_p: fields.number("topP"),
                max_tokens: fields.count("maxTokens"),
                options,
            },
            result_schema,
            transform,
            grants,
            budget,
            resume_on_message: fields.flag("resumeOnMessage") == Some(true),
        })
    }

    fn tool_filter(&mut self, fields: &Fields<'_>) -> ToolFilter {
        let mut patterns = |name: &str| -> Vec<String> {
            fields.items(name).iter().filter_map(|node| self.tool_pattern(node)).collect()
        };
        let (allow, deny) = (patterns("tools"), patterns("disallowedTools"));
        ToolFilter { allow: fields.get("tools").map(|_| allow), deny, memory: None }
    }

    /// `read`, `alias.name`, `alias.*`, `*`.
    fn tool_pattern(&mut self, node: &Node) -> Option<String> {
        let text = node.text().filter(|text| !text.trim().is_empty())?;
        if text == "*" {
            if !std::mem::replace(&mut self.warned_of_star, true) {
                self.report
                    .error(code::ALL_TOOLS, node, "`*` means every tool; in zenflow it matched none")
                    .warning()
                    .hint("leave `tools` out for every tool");
            }
            return Some(text.to_owned());
        }
        let (start, is_prefix) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        let (alias, local) = match start.split_once('.') {
            Some((alias, local)) => (Some(alias), local),
            None => (None, start),
        };
        // What stands before a star is the beginning of a name.
        let local_ok = if is_prefix && local.is_empty() {
            alias.is_some()
        } else {
            LocalName::parse(local.trim_end_matches('_')).is_ok()
        };
        let alias_ok = alias.is_none_or(|alias| Alias::parse(alias).is_ok());
        if !local_ok || !alias_ok {
            let hint = "write `read`, `alias.name` or `alias.*`";
            self.report.error(code::BAD_TOOL, node, format!("`{text}` is not the name of a tool")).hint(hint);
            return None;
        }
        if let Some(alias) = alias {
            self.known_plugin(node, alias);
        }
        Some(text.to_owned())
    }

    /// The name of a model. Whether there is such a model is seen where the document runs.
    pub(super) fn model_name(&mut self, node: &Node) -> Option<String> {
        let name = node.text()?;
        if let Some(Err(why)) = PluginModelName::parse(name) {
            let hint = "write `plugin:ALIAS/MODEL`; `cofferdam plugin inspect` shows the models of a plugin";
            self.report.error(code::BAD_NAME, node, why).hint(hint);
            return None;
        }
        Some(name.to_owned())
    }

    /// Reports a plugin that the document does not have.
    pub(super) fn known_plugin(&mut self, node: &Node, alias: &str) {
        if self.plugin_names.contains(alias) {
            return;
        }
        let hint = self.report.did_you_mean(alias, self.plugin_names.iter().map(AsRef::as_ref));
        let hint = hint.unwrap_or_else(|| format!("add it: `plugins: {{{alias}: builtin:{alias}}}`"));
        self.report.error(code::UNKNOWN_PLUGIN, node, format!("unknown plugin `{alias}`")).hint(hint);
    }
}
