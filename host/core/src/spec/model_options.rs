//! Options of models in a document: of its options, or of an agent.

use super::code;
use super::decode::Decoder;
use super::keys::MODEL_OPTIONS;
use super::kind::{Fields, open};
use super::tree::{Content, Entry, Node};
use crate::model_options::{ModelOptionFault, ModelOptions};
use std::sync::Arc;

impl Decoder<'_> {
    /// `modelOptions` of the options or an agent.
    pub(super) fn model_options(&mut self, fields: &Fields<'_>) -> Arc<ModelOptions> {
        self.read_model_options(fields).map(Arc::new).unwrap_or_default()
    }

    fn read_model_options(&mut self, fields: &Fields<'_>) -> Option<ModelOptions> {
        let entry = fields.entry("modelOptions").filter(|_| fields.get("modelOptions").is_some())?;
        let table = open(&mut self.report, &entry.value, &MODEL_OPTIONS)?;
        if table.is_empty() {
            self.report.at(code::EMPTY, entry.spot, &entry.value.path, "`modelOptions` says nothing".to_owned());
        }
        let bodies = table.all_members("provider");
        let options = ModelOptions {
            seed: table.get("seed").and_then(|node| node.to_json().as_u64()),
            stop: table.get("stop").map(texts),
            top_k: table.count("topK"),
            frequency_penalty: table.number("frequencyPenalty"),
            presence_penalty: table.number("presencePenalty"),
            reasoning: table.get("reasoning").map(Node::to_json).filter(|value| !value.is_null()),
            prompt_cache: table.flag("promptCache"),
            headers: table.texts("headers"),
            provider: bodies.iter().map(|entry| (entry.key.clone(), entry.value.to_map())).collect(),
        };
        options.faults().iter().for_each(|fault| self.option_fault(entry, fault));
        Some(options)
    }

    /// Reports a fault at the member that it is about.
    fn option_fault(&mut self, table: &Entry, fault: &ModelOptionFault) {
        let mut at = table;
        for part in &fault.path {
            let Some(inner) = at.value.entries().iter().find(|entry| entry.key == *part) else { break };
            at = inner;
        }
        let code = if fault.is_credential { code::CREDENTIAL } else { code::MODEL_OPTION };
        self.report.at(code, at.spot, &at.value.path, fault.message.clone()).hint(fault.hint);
    }

    /// Reports agents whose options are too many together with those of the document that runs: each request carries both.
    pub(super) fn options_together(&mut self, fields: &Fields<'_>) {
        let below = Arc::clone(&self.documents.model_options);
        if below.is_empty() || below.excess().is_some() {
            return;
        }
        for entry in fields.members("agents") {
            let own = self.agents.get(entry.key.as_str()).map(|agent| &agent.settings.options);
            let Some(own) = own.filter(|own| !own.is_empty() && own.excess().is_none()) else { continue };
            let written = entry.value.entries().iter().find(|entry| entry.key == "modelOptions");
            if let Some((written, fault)) = written.zip(own.over(&below).excess()) {
                let message = format!("with those of the document's `options`, {}", fault.message);
                let found = self.report.at(code::MODEL_OPTION, written.spot, &written.value.path, message);
                found.hint(fault.hint);
            }
        }
    }
}

/// One text, or several.
fn texts(node: &Node) -> Vec<String> {
    let all = match node.content {
        Content::List(_) => node.items(),
        _ => std::slice::from_ref(node),
    };
    all.iter().filter_map(Node::text).map(str::to_owned).collect()
}
