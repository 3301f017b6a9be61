//! `memory.recall` of the options.

use super::decode::Decoder;
use super::keys::RECALL;
use super::kind::open;
use super::tree::Node;
use super::workflow::{RecallKind, RecallSettings};

impl Decoder<'_> {
    /// Retrieval memory. An empty table asks for it as it is without settings.
    pub(super) fn recall(&mut self, node: &Node) -> Option<RecallSettings> {
        let fields = open(&mut self.report, node, &RECALL)?;
        if let Some((node, name)) = fields.get("provider").zip(fields.text("provider"))
            && name != RecallSettings::BUILTIN
        {
            self.known_plugin(node, name);
        }
        let kinds = |kinds: &[Node]| {
            let kind = |node: &Node| match node.text() {
                Some("inputs") => RecallKind::Inputs,
                _ => RecallKind::Outputs,
            };
            kinds.iter().map(kind).collect()
        };
        let count = |name: &str| fields.count(name).and_then(|count| usize::try_from(count).ok());
        Some(RecallSettings {
            provider: fields.owned("provider"),
            store: fields.get("store").map(|_| kinds(fields.items("store"))),
            limit: count("limit"),
            min_score: fields.number("minScore"),
            tokens: count("tokens"),
            session: fields.owned("session"),
        })
    }
}
