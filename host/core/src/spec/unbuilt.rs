//! What is checked and cannot run in this version: memory, isolation, options of models. Each is warned about at
//! its place, and a run is refused.

use super::code;
use super::decode::Decoder;
use super::keys::{AGENT_MEMORY, MEMORY, MODEL_OPTIONS, RECALL};
use super::kind::{Fields, Table, open};
use super::tree::{Entry, Node};
use super::workflow::Unbuilt;
use crate::server::CREDENTIALS;

impl Decoder<'_> {
    /// Warns of a key that is checked and cannot run.
    pub(super) fn unbuilt(&mut self, entry: &Entry, what: &str) {
        let found = self.report.at(code::NOT_BUILT, entry.spot, &entry.value.path, unbuilt_message(what));
        found.warning().hint("remove it, or use a version that has it");
        self.unbuilt.push(Unbuilt { path: entry.value.path.clone(), what: what.to_owned() });
    }

    /// Warns of a part of a text that is checked and cannot run.
    pub(super) fn unbuilt_inside(&mut self, node: &Node, offset: usize, what: &str) {
        let found = self.report.inside(code::NOT_BUILT, node, offset, unbuilt_message(what));
        found.warning().hint("remove it, or use a version that has it");
        self.unbuilt.push(Unbuilt { path: node.path.clone(), what: what.to_owned() });
    }

    /// `isolation` of a step or of the options.
    pub(super) fn isolation(&mut self, fields: &Fields<'_>) {
        if let Some(entry) = fields.entry("isolation")
            && fields.text("isolation").is_some_and(|value| value != "none")
        {
            self.unbuilt(entry, "`isolation` other than `none`");
        }
    }

    /// `memory` of the options.
    pub(super) fn memory(&mut self, fields: &Fields<'_>) {
        let Some(memory) = self.checked_table(fields, "memory", &MEMORY, "`memory`") else { return };
        let Some(recall) = memory.get("recall").and_then(|node| open(&mut self.report, node, &RECALL)) else { return };
        if let Some(node) = recall.get("provider")
            && let Some(name) = node.text().filter(|name| *name != "builtin")
        {
            self.known_plugin(node, name);
        }
    }

    /// `memory` of an agent.
    pub(super) fn agent_memory(&mut self, fields: &Fields<'_>) {
        let Some(memory) = self.checked_table(fields, "memory", &AGENT_MEMORY, "the `memory` of an agent") else {
            return;
        };
        for node in memory.items("read") {
            self.agent_name(node);
        }
    }

    /// `modelOptions` of the options or an agent.
    pub(super) fn model_options(&mut self, fields: &Fields<'_>) {
        let Some(options) = self.checked_table(fields, "modelOptions", &MODEL_OPTIONS, "`modelOptions`") else {
            return;
        };
        for entry in options.members("headers") {
            if CREDENTIALS.contains(&entry.key.to_ascii_lowercase().as_str()) {
                let message = format!("the header `{}` carries a credential", entry.key);
                self.report
                    .at(code::CREDENTIAL, entry.spot, &entry.value.path, message)
                    .hint("name the key in the settings of the model");
            }
        }
    }

    /// Opens a table that is checked and cannot run; one that says nothing is a mistake.
    fn checked_table<'n>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        table: &'static Table,
        what: &str,
    ) -> Option<Fields<'n>> {
        let entry = fields.entry(key).filter(|_| fields.get(key).is_some())?;
        let opened = open(&mut self.report, &entry.value, table)?;
        if opened.is_empty() {
            self.report.at(code::EMPTY, entry.spot, &entry.value.path, format!("`{key}` says nothing"));
        } else {
            self.unbuilt(entry, what);
        }
        Some(opened)
    }
}

fn unbuilt_message(what: &str) -> String {
    format!("{what} is not built in this version; a run of the document is refused")
}
