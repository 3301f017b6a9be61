//! Which runs share a memory, and what agents may do with it.

use super::code;
use super::decode::Decoder;
use super::keys::{AGENT_MEMORY, MEMORY};
use super::kind::{Fields, open};
use super::workflow::RecallSettings;
use crate::memory::{self, MemoryAccess, MemoryReading, MemoryScope};
use std::sync::Arc;

/// Namespaces that belong to no agent of a document.
const OWNERS: [&str; 3] = [memory::OF_WORKFLOW, memory::OF_DEFAULT, memory::OF_COORDINATOR];

impl Decoder<'_> {
    /// `memory` of the options: which runs share it, and the retrieval memory.
    pub(super) fn memory(&mut self, fields: &Fields<'_>) -> (MemoryScope, Option<RecallSettings>) {
        let entry = fields.entry("memory").filter(|_| fields.get("memory").is_some());
        let opened = entry.and_then(|entry| Some((entry, open(&mut self.report, &entry.value, &MEMORY)?)));
        let Some((entry, memory)) = opened else { return (MemoryScope::default(), None) };
        if memory.is_empty() {
            self.report.at(code::EMPTY, entry.spot, &entry.value.path, "`memory` says nothing".to_owned());
        }
        let scope = match memory.text("scope") {
            Some("shared") => MemoryScope::Shared,
            _ => MemoryScope::Run,
        };
        (scope, memory.get("recall").and_then(|node| self.recall(node)))
    }

    /// `memory` of an agent: what is not said is not allowed.
    pub(super) fn agent_memory(&mut self, fields: &Fields<'_>) -> Option<MemoryAccess> {
        let entry = fields.entry("memory").filter(|_| fields.get("memory").is_some())?;
        let opened = open(&mut self.report, &entry.value, &AGENT_MEMORY)?;
        if opened.is_empty() {
            let message = "`memory` says nothing";
            self.report
                .at(code::EMPTY, entry.spot, &entry.value.path, message)
                .hint("write `memory: { read: true, write: true }`");
            return None;
        }
        let mut named: Vec<Arc<str>> = Vec::new();
        for node in opened.items("read") {
            let Some(name) = node.text() else { continue };
            if let Some((message, hint)) = self.no_owner(name) {
                self.report.error(code::UNKNOWN_AGENT, node, message).hint(hint);
            }
            named.push(name.into());
        }
        let read = match opened.flag("read") {
            Some(true) => MemoryReading::All,
            None if !named.is_empty() => MemoryReading::Of(named),
            _ => MemoryReading::Nothing,
        };
        Some(MemoryAccess { read, write: opened.flag("write") == Some(true) })
    }

    /// What is wrong with a namespace that belongs to nobody, and what may have been meant.
    pub(super) fn no_owner(&mut self, name: &str) -> Option<(String, String)> {
        if self.agent_names.contains(name) || OWNERS.contains(&name) {
            return None;
        }
        let known = self.agent_names.iter().map(AsRef::as_ref).chain(OWNERS);
        let hint = self.report.did_you_mean(name, known);
        let hint =
            hint.unwrap_or_else(|| "the shared memory has a namespace for each agent, and `workflow`".to_owned());
        Some((format!("unknown agent `{name}`"), hint))
    }
}
