//! What is checked and cannot run in this version: a memory that runs share, options of models. Each is warned about at
//! its place, and a run is refused.

use super::code;
use super::decode::Decoder;
use super::keys::{MEMORY, MODEL_OPTIONS};
use super::kind::{Fields, Table, open};
use super::tree::Entry;
use super::workflow::{RecallSettings, Unbuilt};
use crate::server::CREDENTIALS;

impl Decoder<'_> {
    /// Warns of a key that is checked and cannot run.
    pub(super) fn unbuilt(&mut self, entry: &Entry, what: &str) {
        let found = self.report.at(code::NOT_BUILT, entry.spot, &entry.value.path, unbuilt_message(what));
        found.warning().hint("remove it, or use a version that has it");
        self.unbuilt.push(Unbuilt { path: entry.value.path.clone(), what: what.to_owned() });
    }

    /// `memory` of the options; gives the retrieval memory.
    pub(super) fn memory(&mut self, fields: &Fields<'_>) -> Option<RecallSettings> {
        let entry = fields.entry("memory").filter(|_| fields.get("memory").is_some())?;
        let memory = open(&mut self.report, &entry.value, &MEMORY)?;
        if memory.is_empty() {
            self.report.at(code::EMPTY, entry.spot, &entry.value.path, "`memory` says nothing".to_owned());
        }
        if let Some(scope) = memory.entry("scope").filter(|_| memory.text("scope") == Some("shared")) {
            self.unbuilt(scope, "the `scope` `shared` of `memory`");
        }
        memory.get("recall").and_then(|node| self.recall(node))
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
