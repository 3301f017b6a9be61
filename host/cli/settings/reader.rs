//! Reads a parsed file of settings, table by table. All findings are collected, each with its place.
//!
//! It must not know which file wins, nor read any.

use super::code::{GRANTS, PLACE, SYNTAX, TYPE, UNKNOWN, VALUE};
use super::file::{File, Kind};
use super::position::place;
use super::toml_table::{offset_of, to_json};
use super::{TABLE, check};
use crate::services::ProjectPlugin;
use cofferdam::SecretSource;
use cofferdam::core::diagnostic::{Diagnostic, Diagnostics, Severity};
use cofferdam::core::id::Alias;
use cofferdam::core::permission::Rule;
use cofferdam::core::policy::{Grants, PluginLimits, Trust};
use cofferdam::core::spec::code::Code;
use cofferdam::core::spec::suggest::did_you_mean;
use cofferdam::core::value::Map;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) type Entry<'a, 'i> = (&'a str, usize, &'a Spanned<DeValue<'i>>);

/// Fills a file from its text, and gives what was found on the way.
pub(super) fn fill(file: &mut File, text: &str, kind: Kind) -> Diagnostics {
    let path = file.path.clone();
    let mut reader = Reader { path: &path, text, found: Diagnostics::default() };
    match DeTable::parse(text) {
        Ok(table) => reader.root(table.get_ref(), kind, file),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            reader.find(SYNTAX, (start, ""), error.message().to_owned(), None);
        }
    }
    reader.found.sorted()
}

pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    text: &'a str,
    found: Diagnostics,
}

impl Reader<'_> {
    pub(super) fn find(&mut self, code: Code, (offset, path): (usize, &str), message: String, hint: Option<String>) {
        let place = Some(place(self.path, self.text, offset));
        let path = path.to_owned();
        self.found.push(Diagnostic { code: code.id, severity: Severity::Error, place, path, message, hint });
    }

    pub(super) fn unknown(&mut self, (key, at, _): Entry<'_, '_>, table: &str, known: &[&str]) {
        let near = did_you_mean(key, known.iter().copied());
        let hint = near.unwrap_or_else(|| {
            format!("it takes {}", known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))
        });
        let whole = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
        self.find(UNKNOWN, (at, &whole), format!("unknown setting `{key}`"), Some(hint));
    }

    /// The entries of a table; a finding when it is none.
    pub(super) fn entries<'t, 'i>(&mut self, (key, _, value): Entry<'t, 'i>) -> Vec<Entry<'t, 'i>> {
        match value.get_ref() {
            DeValue::Table(table) => entries(table),
            other => {
                self.find(
                    TYPE,
                    (value.span().start, key),
                    format!("`{key}` takes a table, not {}", other.type_str()),
                    None,
                );
                Vec::new()
            }
        }
    }

    pub(super) fn text<'t>(&mut self, (key, _, value): Entry<'t, '_>, path: &str) -> Option<&'t str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let message = format!("`{key}` takes a text, not {}", value.get_ref().type_str());
            self.find(TYPE, (value.span().start, path), message, None);
        }
        text
    }

    fn root(&mut self, table: &DeTable<'_>, kind: Kind, file: &mut File) {
        for entry in entries(table) {
            match entry.0 {
                "run" => self.run(entry, file),
                "permissions" => self.permissions(entry, file),
                "exec" => self.exec(entry, file),
                "memory" => self.memory(entry, file),
                "models" => file.models = Some(self.models(entry)),
                "prices" => self.prices(entry, file),
                "secrets" => self.secrets(entry, file),
                "strict" => file.strict = self.switch(entry),
                "plugins" if kind == Kind::User => {
                    let hint = format!("write it into `{}` of the project", crate::project::SETTINGS_FILE);
                    self.find(PLACE, (entry.1, "plugins"), "grants hold for one project only".to_owned(), Some(hint));
                }
                "plugins" => self.plugins(entry, file),
                "mcp_servers" if kind == Kind::User => {
                    let hint = format!("write it into `{}` of the project", crate::project::SETTINGS_FILE);
                    let message = "servers are allowed for one project only".to_owned();
                    self.find(PLACE, (entry.1, "mcp_servers"), message, Some(hint));
                }
                "mcp_servers" => self.servers(entry, file),
                "registries" => self.registries(entry, file),
                _ => self.unknown(
                    entry,
                    "",
                    &[
                        "run",
                        "permissions",
                        "exec",
                        "memory",
                        "models",
                        "plugins",
                        "mcp_servers",
                        "registries",
                        "prices",
                        "secrets",
                        "strict",
                    ],
                ),
            }
        }
    }

    fn run(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for entry in self.entries(table) {
            let path = format!("run.{}", entry.0);
            if entry.0 == "sinks" {
                file.sinks = self.list_of(entry, "run.sinks", "plugin:NAME");
                continue;
            }
            let Some(setting) = TABLE.iter().find(|setting| setting.key == path) else {
                let table = TABLE.iter().filter_map(|setting| setting.key.strip_prefix("run."));
                let known: Vec<&str> = table.chain(["sinks"]).collect();
                self.unknown(entry, "run", &known);
                continue;
            };
            let (_, _, value) = entry;
            let text = match (setting.kind, value.get_ref()) {
                (super::Kind::Count, DeValue::Integer(number)) => number.as_str().replace('_', ""),
                (super::Kind::Count, other) => {
                    self.find(
                        TYPE,
                        (value.span().start, &path),
                        format!("`{path}` takes a number, not {}", other.type_str()),
                        None,
                    );
                    continue;
                }
                _ => match self.text(entry, &path) {
                    Some(text) => text.to_owned(),
                    None => continue,
                },
            };
            if let Err(what) = check(setting.kind, &text) {
                self.find(
                    VALUE,
                    (value.span().start, &path),
                    format!("`{path}` is `{text}`, which is not {what}"),
                    None,
                );
                continue;
            }
            let text = match setting.kind {
                super::Kind::Directory => self.path.parent().unwrap_or(Path::new("")).join(&text).display().to_string(),
                _ => text,
            };
            file.values.insert(setting.key, (text, place(self.path, self.text, entry.1).line));
        }
    }

    /// A list of texts; `example` is one of them.
    pub(super) fn list_of(&mut self, (key, _, value): Entry<'_, '_>, path: &str, example: &str) -> Vec<String> {
        let items = value.get_ref().as_array();
        let texts = items.map(|items| items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)));
        texts.and_then(Iterator::collect).unwrap_or_else(|| {
            let message = format!("`{key}` takes a list of texts");
            self.find(TYPE, (value.span().start, path), message, Some(format!("write `{key} = [\"{example}\"]`")));
            Vec::new()
        })
    }

    fn permissions(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for entry in self.entries(table) {
            match entry.0 {
                "allow" => file.allow = self.rules(entry),
                "deny" => file.deny = self.rules(entry),
                "ask" => file.ask = self.rules(entry),
                _ => self.unknown(entry, "permissions", &["allow", "deny", "ask"]),
            }
        }
    }

    fn rules(&mut self, (key, _, value): Entry<'_, '_>) -> Vec<Rule> {
        let path = format!("permissions.{key}");
        let Some(items) = value.get_ref().as_array() else {
            self.find(
                TYPE,
                (value.span().start, &path),
                format!("`{key}` takes a list of rules"),
                Some(format!("write `{key} = [\"read\"]`")),
            );
            return Vec::new();
        };
        let mut rules = Vec::new();
        for item in items {
            match item.get_ref().as_str().map(Rule::parse) {
                Some(Ok(rule)) => rules.push(rule),
                Some(Err(error)) => self.find(VALUE, (item.span().start, &path), error.to_string(), None),
                None => self.find(TYPE, (item.span().start, &path), "a rule is a text".to_owned(), None),
            }
        }
        rules
    }

    fn plugins(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for plugin in self.entries(table) {
            let alias = match Alias::parse(plugin.0) {
                Ok(alias) => alias,
                Err(error) => {
                    self.find(VALUE, (plugin.1, "plugins"), error.to_string(), None);
                    continue;
                }
            };
            let (mut listed, mut has_source, mut trust) = (ProjectPlugin::default(), false, Trust::default());
            let whole = format!("plugins.{alias}");
            for entry in self.entries(plugin) {
                match entry.0 {
                    "source" => {
                        has_source = true;
                        listed.source = self.text(entry, &whole).unwrap_or_default().to_owned();
                    }
                    "digest" => listed.digest = self.text(entry, &whole).map(str::to_owned),
                    "config" => listed.config = self.map(entry, &whole),
                    "limits" => listed.limits = self.limits(entry, &whole),
                    "grants" => {
                        if let Some(grants) = self.grants(&alias, entry) {
                            file.grants.insert(alias.clone(), grants);
                        }
                    }
                    "trust" => trust = self.trust(entry, &whole),
                    _ => self.unknown(entry, &whole, &["source", "digest", "config", "grants", "trust", "limits"]),
                }
            }
            if has_source {
                file.plugins.insert(alias, ProjectPlugin { trust, ..listed });
            } else if trust != Trust::default() {
                file.trust.insert(alias, trust);
            }
        }
    }

    pub(super) fn map(&mut self, (key, _, value): Entry<'_, '_>, path: &str) -> Map {
        match to_json(value.get_ref()) {
            Some(Value::Object(map)) => map,
            _ => {
                let message = format!("`{key}` takes a table without dates");
                self.find(TYPE, (value.span().start, path), message, None);
                Map::new()
            }
        }
    }

    fn limits(&mut self, entry: Entry<'_, '_>, path: &str) -> PluginLimits {
        let value = entry.2;
        match PluginLimits::parse(&Value::Object(self.map(entry, path))) {
            Ok(limits) => limits,
            Err(faults) => {
                for fault in faults {
                    let whole = format!("{path}.limits.{}", fault.path);
                    self.find(VALUE, (offset_of(value, &fault.path), &whole), fault.message, fault.hint);
                }
                PluginLimits::default()
            }
        }
    }

    fn grants(&mut self, alias: &Alias, (_, _, value): Entry<'_, '_>) -> Option<Grants> {
        let path = format!("plugins.{alias}.grants");
        let Some(json) = to_json(value.get_ref()) else {
            self.find(TYPE, (value.span().start, &path), "grants have no dates".to_owned(), None);
            return None;
        };
        match Grants::parse(&json) {
            Ok(grants) => Some(grants),
            Err(faults) => {
                for fault in faults {
                    let whole = if fault.path.is_empty() { path.clone() } else { format!("{path}.{}", fault.path) };
                    self.find(GRANTS, (offset_of(value, &fault.path), &whole), fault.message, fault.hint);
                }
                None
            }
        }
    }

    pub(super) fn switch(&mut self, (key, _, value): Entry<'_, '_>) -> bool {
        if let DeValue::Boolean(on) = value.get_ref() {
            return *on;
        }
        let message = format!("`{key}` takes `true` or `false`, not {}", value.get_ref().type_str());
        self.find(TYPE, (value.span().start, key), message, None);
        // What was meant to protect does.
        true
    }

    /// A finding without a place: whoever shows the place shows the line, which may hold a secret.
    pub(super) fn unseen(&mut self, code: Code, (offset, path): (usize, &str), message: &str, hint: String) {
        let line = place(self.path, self.text, offset).line;
        self.found.push(Diagnostic {
            code: code.id,
            severity: Severity::Error,
            place: None,
            path: path.to_owned(),
            message: format!("{message}; line {line} of `{}` is not shown", self.path.display()),
            hint: Some(hint),
        });
    }

    /// Where secrets come from. What stands here by mistake may be a secret: it is never quoted.
    fn secrets(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for secret in self.entries(table) {
            let (name, at, _) = secret;
            let path = format!("secrets.{name}");
            let is_name =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
            if !is_name {
                let hint = "use letters, digits, `_`, `-` and `.`".to_owned();
                self.find(VALUE, (at, "secrets"), format!("`{name}` is not the name of a secret"), Some(hint));
                continue;
            }
            if secret.2.get_ref().as_table().is_none() {
                let hint =
                    "write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`; a secret does not belong here".to_owned();
                self.unseen(TYPE, (at, &path), &format!("`{path}` takes a table"), hint);
                continue;
            }
            let mut sources = Vec::new();
            for entry in self.entries(secret) {
                match entry.0 {
                    "env" => {
                        sources.extend(self.text(entry, &path).map(|name| SecretSource::Variable(name.to_owned())));
                    }
                    "file" => sources.extend(
                        self.text(entry, &path)
                            .map(|file| SecretSource::File(self.path.parent().unwrap_or(Path::new("")).join(file))),
                    ),
                    "keychain" => {
                        let hint = "write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`".to_owned();
                        let message = "this version reads no keychain of the system".to_owned();
                        self.find(VALUE, (entry.1, &path), message, Some(hint));
                        return;
                    }
                    _ => self.unknown(entry, &path, &["env", "file"]),
                }
            }
            match (sources.pop(), sources.is_empty()) {
                (Some(source), true) => drop(file.secrets.insert(name.to_owned(), source)),
                (Some(_), false) => {
                    self.find(VALUE, (at, &path), "a secret takes one of `env` and `file`".to_owned(), None);
                }
                (None, _) if self.found.has_errors() => {}
                (None, _) => {
                    self.find(VALUE, (at, &path), "a secret takes one of `env` and `file`".to_owned(), None);
                }
            }
        }
    }

    pub(super) fn texts(&mut self, table: Entry<'_, '_>, path: &str) -> BTreeMap<String, String> {
        let entries = self.entries(table);
        entries.into_iter().filter_map(|entry| Some((entry.0.to_owned(), self.text(entry, path)?.to_owned()))).collect()
    }
}

fn entries<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span().start, value)).collect()
}
