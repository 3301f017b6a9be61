//! Plugins that a document refers to: source, digest, configuration, requests, limits; and what steps take away.

use super::code::{self, Code};
use super::decode::Decoder;
use super::expression::INPUTS_ONLY;
use super::keys::PLUGIN;
use super::kind::{Fields, open, wrong_type};
use super::tree::{Content, Entry, Node};
use super::workflow::PluginReference;
use crate::expr::Names;
use crate::id::Alias;
use crate::oci::Reference;
use crate::policy::{Grants, Narrowing, PluginLimits, PolicyError};
use crate::template::Template;
use crate::value::Map;
use serde_json::Value;
use std::sync::Arc;

impl Decoder<'_> {
    pub(super) fn plugin(&mut self, entry: &Entry) -> Option<(Alias, PluginReference)> {
        let alias = match Alias::parse(&entry.key) {
            Ok(alias) => Some(alias),
            Err(error) => {
                self.report.at(code::BAD_NAME, entry.spot, &entry.value.path, error.to_string());
                None
            }
        };
        let reference = match &entry.value.content {
            Content::Text(_) => {
                let source = self.source(&entry.value);
                let (requested, limits) = (Grants::default(), PluginLimits::default());
                PluginReference { source: source?, digest: None, config: Map::new(), requested, limits }
            }
            Content::Map(_) => {
                let fields = open(&mut self.report, &entry.value, &PLUGIN)?;
                self.plugin_table(&fields)?
            }
            _ => {
                wrong_type(&mut self.report, &entry.value, "text or a table");
                return None;
            }
        };
        Some((alias?, reference))
    }

    fn plugin_table(&mut self, fields: &Fields<'_>) -> Option<PluginReference> {
        let source = fields.get("source").and_then(|node| self.source(node));
        let digest = fields.get("digest").and_then(|node| self.digest(node));
        let requested = fields.get("grants").and_then(|node| {
            self.mounts(node);
            self.policy(code::BAD_GRANTS, node, Grants::parse)
        });
        let limits = fields.get("limits").and_then(|node| self.policy(code::BAD_LIMITS, node, PluginLimits::parse));
        if let Some(entry) = fields.entry("permissions").filter(|_| fields.get("permissions").is_some()) {
            self.unbuilt(entry, "the `permissions` of a plugin");
        }
        let config = fields.get("config").map(Node::to_map).unwrap_or_default();
        Some(PluginReference {
            source: source?,
            digest,
            config,
            requested: requested.unwrap_or_default(),
            limits: limits.unwrap_or_default(),
        })
    }

    /// `grants` of a step or an agent, which narrow.
    pub(super) fn narrowed(&mut self, fields: &Fields<'_>) -> Option<Arc<Narrowing>> {
        let node = fields.get("grants")?;
        self.policy(code::BAD_GRANTS, node, Narrowing::parse).map(Arc::new)
    }

    fn source(&mut self, node: &Node) -> Option<String> {
        let text = node.text()?;
        let (scheme, name) = text.split_once(':').map_or((None, text), |(scheme, name)| (Some(scheme), name));
        let built_in = scheme == Some("builtin") && Alias::parse(name).is_ok();
        let file = scheme.is_none() && text.ends_with(".wasm") && !text.starts_with('/');
        if built_in || file {
            return Some(self.files.plugin_source(text));
        }
        if Reference::is_meant(text) {
            return match Reference::parse(text) {
                Ok(_) => Some(text.to_owned()),
                Err(error) => {
                    self.report.error(code::BAD_SOURCE, node, error.to_string()).hint(error.hint);
                    None
                }
            };
        }
        let hint = "write `builtin:NAME`, `oci://HOST/REPOSITORY:TAG`, or a path to a component such as \
                    `./plugins/x.wasm`, relative to the document";
        self.report.error(code::BAD_SOURCE, node, format!("`{text}` is not the source of a plugin")).hint(hint);
        None
    }

    fn digest(&mut self, node: &Node) -> Option<String> {
        let text = node.text()?;
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(text.to_ascii_lowercase());
        }
        let hint = "`cofferdam plugin inspect FILE` prints it";
        self.report.error(code::BAD_DIGEST, node, format!("`{text}` is not a digest")).hint(hint);
        None
    }

    pub(super) fn policy<T>(
        &mut self,
        code: Code,
        node: &Node,
        parse: impl Fn(&Value) -> Result<T, Vec<PolicyError>>,
    ) -> Option<T> {
        match parse(&node.to_json()) {
            Ok(table) => Some(table),
            Err(errors) => {
                for error in errors {
                    let at = node.nearest(&error.path);
                    self.report.error(code, at, error.message).maybe(error.hint);
                }
                None
            }
        }
    }

    /// The directories of `fs.also` are templates that may read inputs only.
    pub(super) fn mounts(&mut self, grants: &Node) {
        let mounts = grants.member("fs").and_then(|fs| fs.member("also")).map(Node::items).unwrap_or_default();
        for node in mounts.iter().filter_map(|mount| mount.member("from")) {
            let Some(text) = node.text() else { continue };
            match Template::text(text, &Names { steps: &[], roots: INPUTS_ONLY }) {
                Ok(template) => {
                    let paths: Vec<_> = template.paths().flat_map(|(_, paths)| paths.to_vec()).collect();
                    self.check_inputs(node, &paths);
                }
                Err(error) => self.expression_fault(node, error),
            }
        }
    }
}
