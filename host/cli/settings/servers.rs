//! `[mcp_servers.NAME]`: servers that the user allows, and what is believed of them.
//!
//! It must not know what a document requests.

use super::code::{TYPE, VALUE};
use super::file::File;
use super::reader::{Entry, Reader};
use super::toml_table::offset_of;
use cofferdam::core::id::Alias;
use cofferdam::core::server::ServerReference;
use cofferdam::{ProjectServer, Trust};
use std::collections::BTreeMap;
use std::path::Path;

/// The keys of a server.
const KEYS: [&str; 6] = ["command", "args", "env", "url", "headers", "trust"];

impl Reader<'_> {
    pub(super) fn servers(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for entry in self.entries(table) {
            match Alias::parse(entry.0) {
                Ok(alias) => {
                    if let Some(server) = self.server(&alias, entry) {
                        file.servers.insert(alias, server);
                    }
                }
                Err(error) => self.find(VALUE, (entry.1, "mcp_servers"), error.to_string(), None),
            }
        }
    }

    fn server(&mut self, alias: &Alias, table: Entry<'_, '_>) -> Option<ProjectServer> {
        let path = format!("mcp_servers.{alias}");
        let (mut command, mut url, mut args) = (None, None, Vec::new());
        let (mut env, mut headers, mut trust) = (BTreeMap::new(), BTreeMap::new(), Trust::default());
        let mut given = Vec::new();
        for entry in self.entries(table) {
            given.push(entry.0);
            match entry.0 {
                "command" => command = self.text(entry, &path).map(str::to_owned),
                "url" => url = self.text(entry, &path).map(str::to_owned),
                "args" => args = self.list(entry, &path),
                "env" => env = self.texts(entry, &path),
                "headers" => headers = self.texts(entry, &path),
                "trust" => trust = self.trust(entry, &path),
                _ => self.unknown(entry, &path, &KEYS),
            }
        }
        let mixed = |others: &[&str]| given.iter().any(|key| others.contains(key));
        let reference = match (command, url) {
            (Some(command), None) if !mixed(&["headers", "url"]) => ServerReference::Command { command, args, env },
            (None, Some(url)) if !mixed(&["args", "env", "command"]) => ServerReference::Address { url, headers },
            _ => {
                let hint = Some("write `command`, `args` and `env`, or `url` and `headers`".to_owned());
                self.find(VALUE, (table.1, &path), "a server is a command or an address".to_owned(), hint);
                return None;
            }
        };
        let faults = reference.faults();
        let is_good = faults.is_empty();
        for fault in faults {
            let whole = format!("{path}.{}", fault.path);
            self.find(VALUE, (offset_of(table.2, &fault.path), &whole), fault.message, fault.hint);
        }
        let directory = self.path.parent().unwrap_or(Path::new("")).to_owned();
        is_good.then_some(ProjectServer { reference, trust, directory })
    }

    fn list(&mut self, (key, _, value): Entry<'_, '_>, path: &str) -> Vec<String> {
        let items = value.get_ref().as_array();
        let texts: Option<Vec<String>> =
            items.and_then(|items| items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect());
        if texts.is_none() {
            self.find(TYPE, (value.span().start, path), format!("`{key}` takes a list of texts"), None);
        }
        texts.unwrap_or_default()
    }

    pub(super) fn trust(&mut self, entry: Entry<'_, '_>, path: &str) -> Trust {
        let mut trust = Trust::default();
        for word in self.list(entry, path) {
            match trust.and(&word) {
                Some(more) => trust = more,
                None => {
                    let words = Trust::WORDS.map(|word| format!("`{word}`")).join(" and ");
                    let place = (entry.2.span().start, path);
                    let hint = Some(format!("`trust` takes {words}"));
                    self.find(VALUE, place, format!("`{word}` is nothing to trust"), hint);
                }
            }
        }
        trust
    }
}
