//! Chains of transforms.

use super::code;
use super::decode::Decoder;
use super::keys::{LINK, TRANSFORMS};
use super::kind::{Fields, open, wrong_type};
use super::suggest::did_you_mean;
use super::tree::{Content, Node};
use crate::id::Alias;
use crate::transform::{Transform, Transforms};

/// Transforms that are only a name.
const NAMES: [&str; 5] = ["trim", "upper", "lower", "json", "first-line"];

impl Decoder<'_> {
    /// `transform` of a step or an agent.
    pub(super) fn transforms(&mut self, node: &Node) -> Transforms {
        let Some(fields) = open(&mut self.report, node, &TRANSFORMS) else { return Transforms::default() };
        if fields.is_empty() {
            let found = self.report.error(code::EMPTY, node, "the transform changes nothing");
            found.hint("write `input` or `output`, a list of transforms");
        }
        Transforms { input: self.chain(&fields, "input"), output: self.chain(&fields, "output") }
    }

    /// A chain, in the order in which it is applied.
    pub(super) fn chain(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Transform> {
        fields.items(key).iter().filter_map(|node| self.link(node)).collect()
    }

    fn link(&mut self, node: &Node) -> Option<Transform> {
        match &node.content {
            Content::Text(name) => self.named_link(node, name),
            Content::Map(_) => self.link_table(node),
            _ => {
                wrong_type(&mut self.report, node, "text or a table");
                None
            }
        }
    }

    fn named_link(&mut self, node: &Node, name: &str) -> Option<Transform> {
        Some(match name {
            "trim" => Transform::Trim,
            "upper" => Transform::Upper,
            "lower" => Transform::Lower,
            "json" => Transform::Json,
            "first-line" => Transform::FirstLine,
            _ => {
                let hint = match name {
                    "truncate" => "say to how many characters: `{truncate: 200}`".to_owned(),
                    _ => did_you_mean(name, NAMES).unwrap_or_else(|| {
                        "it is `trim`, `upper`, `lower`, `json`, `first-line`, `{truncate: N}`, `{native: NAME}` or `{plugin: ALIAS}`"
                            .to_owned()
                    }),
                };
                self.report.error(code::UNKNOWN_CHOICE, node, format!("unknown transform `{name}`")).hint(hint);
                return None;
            }
        })
    }

    fn link_table(&mut self, node: &Node) -> Option<Transform> {
        let fields = open(&mut self.report, node, &LINK)?;
        let kinds = ["truncate", "native", "plugin"];
        let written: Vec<&str> = kinds.into_iter().filter(|key| fields.mentions(key)).collect();
        let [kind] = written[..] else {
            let message = "a transform is one of `truncate`, `native` and `plugin`";
            self.report.error(code::CONFLICT, node, message).hint("a chain is a list, with one transform an entry");
            return None;
        };
        if let Some(entry) = fields.entry("options").filter(|_| kind != "plugin") {
            self.report.at(code::CONFLICT, entry.spot, &entry.value.path, "`options` belong to a plugin");
        }
        match kind {
            "truncate" => fields.count("truncate").and_then(|most| usize::try_from(most).ok()).map(Transform::Truncate),
            "native" => fields.text("native").map(|name| Transform::Native(name.into())),
            _ => {
                let entry = fields.entry("plugin")?;
                self.known_plugin(&entry.value, fields.text("plugin")?);
                let options = fields.get("options").map(Node::to_map).unwrap_or_default();
                Some(Transform::Plugin { plugin: Alias::parse(fields.text("plugin")?).ok()?, options })
            }
        }
    }
}
