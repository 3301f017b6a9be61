//! `mcpServers`: programs that are started and addresses that are spoken to. Their names share the space of the
//! plugins' aliases.

use super::code;
use super::decode::Decoder;
use super::keys::MCP_SERVER;
use super::kind::{Fields, open};
use super::tree::{Entry, Node};
use crate::id::Alias;
use crate::server::ServerReference;

impl Decoder<'_> {
    /// One server; none when it is wrong.
    pub(super) fn server(&mut self, entry: &Entry) -> Option<ServerReference> {
        if let Err(error) = Alias::parse(&entry.key) {
            self.report.at(code::BAD_NAME, entry.spot, &entry.value.path, error.to_string());
        }
        let fields = open(&mut self.report, &entry.value, &MCP_SERVER)?;
        let reference = self.reference(&fields)?;
        let faults = reference.faults();
        for fault in &faults {
            let code = if fault.path.starts_with("headers") { code::CREDENTIAL } else { code::BAD_SOURCE };
            let at = entry.value.nearest(&fault.path);
            self.report.error(code, at, fault.message.clone()).maybe(fault.hint.clone());
        }
        faults.is_empty().then_some(reference)
    }

    fn reference(&mut self, server: &Fields<'_>) -> Option<ServerReference> {
        let (own, other, used) = match (server.mentions("command"), server.mentions("url")) {
            (true, true) => {
                let message = "`command` and `url` exclude each other";
                self.report.error(code::CONFLICT, server.node, message).hint("a server is started, or runs already");
                return None;
            }
            (false, false) if server.is_empty() => return Some(ServerReference::Project),
            (false, false) => {
                let message = "an MCP server lacks `command` or `url`";
                let hint = "name a program, or an address; `{}` is the one of that name in `cofferdam.toml`";
                self.report.error(code::MISSING_KEY, server.node, message).hint(hint);
                return None;
            }
            (true, false) => ("command", &["headers"][..], "url"),
            (false, true) => ("url", &["args", "env"][..], "command"),
        };
        for entry in other.iter().filter_map(|key| server.entry(key)) {
            let message = format!("`{}` belongs to a server with `{used}`; this one has `{own}`", entry.key);
            self.report.at(code::CONFLICT, entry.spot, &entry.value.path, message);
        }
        if own == "url" {
            let url = server.owned("url")?;
            return Some(ServerReference::Address { url, headers: server.texts("headers") });
        }
        let command = server.owned("command")?;
        // A bare name is looked for in `PATH`; a path is relative to the document that has it.
        let is_path = command.contains('/') && !command.starts_with('/');
        let command = if is_path { self.files.plugin_source(&command) } else { command };
        let args = server.items("args").iter().filter_map(Node::text).map(str::to_owned).collect();
        Some(ServerReference::Command { command, args, env: server.texts("env") })
    }
}
