//! One file of settings: `cofferdam.toml` of a project, or `config.toml` of a user.
//!
//! All findings are reported, each with its place. It must not know which file wins.

use super::position::place;
use super::toml_table::{offset_of, to_json};
use super::{TABLE, check};
use crate::environment;
use crate::failure::Failure;
use crate::project::Project;
use cofferdam::core::diagnostic::{Diagnostic, Diagnostics, Severity};
use cofferdam::core::id::Alias;
use cofferdam::core::permission::Rule;
use cofferdam::core::policy::Grants;
use cofferdam::core::spec::code::Code;
use cofferdam::core::spec::suggest::did_you_mean;
use cofferdam::llm::select::{ProviderSettings, Settings as Models};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A larger file of settings is none.
const FILE_BYTES: u64 = 1024 * 1024;

const SYNTAX: Code = Code {
    id: "C001",
    title: "not TOML",
    about: "The file of settings is not TOML; the place is where reading it stopped.",
};
const UNKNOWN: Code = Code {
    id: "C002",
    title: "unknown setting",
    about: "There is no setting of this name; a name that is ignored could hide a rule that was meant to protect.",
};
const TYPE: Code =
    Code { id: "C003", title: "setting of the wrong type", about: "The setting takes another type of value." };
const VALUE: Code =
    Code { id: "C004", title: "setting with a wrong value", about: "The setting does not take this value." };
const GRANTS: Code = Code {
    id: "C005",
    title: "malformed grants",
    about: "The table of what a plugin may do has a fault; nothing is granted until it is right.",
};
const PLACE: Code = Code {
    id: "C006",
    title: "setting in the wrong file",
    about: "Grants belong to a project: in a user's file they would hold for every document that uses the same alias.",
};

/// The codes of findings in files of settings.
pub(crate) const CODES: [Code; 6] = [SYNTAX, UNKNOWN, TYPE, VALUE, GRANTS, PLACE];

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Project,
    User,
}

/// A file of settings.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    values: BTreeMap<&'static str, (String, u32)>,
    pub(crate) allow: Vec<Rule>,
    pub(crate) deny: Vec<Rule>,
    pub(crate) grants: BTreeMap<Alias, Grants>,
    pub(crate) models: Option<Models>,
}

impl File {
    /// The project's file, if there is one.
    pub(crate) fn of_project(project: &Project) -> anyhow::Result<Option<Self>> {
        Self::read(&project.settings_file(), Kind::Project)
    }

    /// The user's file, if there is one.
    pub(crate) fn of_user() -> anyhow::Result<Option<Self>> {
        Self::user_path().map_or(Ok(None), |path| Self::read(&path, Kind::User))
    }

    /// Where the user's file is, whether or not it exists.
    pub(crate) fn user_path() -> Option<PathBuf> {
        let home = || environment::path("HOME").map(|home| home.join(".config"));
        let base = environment::path("XDG_CONFIG_HOME").filter(|path| path.is_absolute()).or_else(home)?;
        Some(base.join("cofferdam").join("config.toml"))
    }

    fn read(path: &Path, kind: Kind) -> anyhow::Result<Option<Self>> {
        let refuse =
            |reason: String| Failure::usage(format!("the settings in `{}` cannot be read: {reason}", path.display()));
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(refuse(error.to_string()).into()),
        };
        if metadata.len() > FILE_BYTES {
            return Err(refuse(format!("it has {} bytes", metadata.len())).into());
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Ok(Some(Self::parse(path, &text, kind).map_err(|found| Failure::findings(crate::exit::Exit::Usage, found))?))
    }

    /// Reads the text of a file.
    pub(crate) fn parse(path: &Path, text: &str, kind: Kind) -> Result<Self, Diagnostics> {
        let mut reader = Reader { path, text, found: Diagnostics::default() };
        let mut file = Self {
            path: path.to_owned(),
            values: BTreeMap::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            grants: BTreeMap::new(),
            models: None,
        };
        match DeTable::parse(text) {
            Ok(table) => reader.root(table.get_ref(), kind, &mut file),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                reader.find(SYNTAX, (start, ""), error.message().to_owned(), None);
            }
        }
        let found = reader.found.sorted();
        if found.has_errors() { Err(found) } else { Ok(file) }
    }

    /// A value of the table, with its line.
    pub(crate) fn value(&self, key: &str) -> Option<(&str, u32)> {
        self.values.get(key).map(|(value, line)| (value.as_str(), *line))
    }

    /// The directory that paths in it are relative to.
    fn directory(path: &Path) -> &Path {
        path.parent().unwrap_or(Path::new(""))
    }
}

type Entry<'a, 'i> = (&'a str, usize, &'a Spanned<DeValue<'i>>);

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    found: Diagnostics,
}

impl Reader<'_> {
    fn find(&mut self, code: Code, (offset, path): (usize, &str), message: String, hint: Option<String>) {
        let place = Some(place(self.path, self.text, offset));
        let path = path.to_owned();
        self.found.push(Diagnostic { code: code.id, severity: Severity::Error, place, path, message, hint });
    }

    fn unknown(&mut self, (key, at, _): Entry<'_, '_>, table: &str, known: &[&str]) {
        let near = did_you_mean(key, known.iter().copied());
        let hint = near.unwrap_or_else(|| {
            format!("it takes {}", known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))
        });
        let whole = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
        self.find(UNKNOWN, (at, &whole), format!("unknown setting `{key}`"), Some(hint));
    }

    /// The entries of a table; a finding when it is none.
    fn entries<'t, 'i>(&mut self, (key, _, value): Entry<'t, 'i>) -> Vec<Entry<'t, 'i>> {
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

    fn text<'t>(&mut self, (key, _, value): Entry<'t, '_>, path: &str) -> Option<&'t str> {
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
                "models" => file.models = Some(self.models(entry)),
                "plugins" if kind == Kind::User => {
                    let hint = format!("write it into `{}` of the project", crate::project::SETTINGS_FILE);
                    self.find(PLACE, (entry.1, "plugins"), "grants hold for one project only".to_owned(), Some(hint));
                }
                "plugins" => self.plugins(entry, file),
                _ => self.unknown(entry, "", &["run", "permissions", "models", "plugins"]),
            }
        }
    }

    fn run(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for entry in self.entries(table) {
            let path = format!("run.{}", entry.0);
            let Some(setting) = TABLE.iter().find(|setting| setting.key == path) else {
                let known: Vec<&str> = TABLE.iter().filter_map(|setting| setting.key.strip_prefix("run.")).collect();
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
                super::Kind::Directory => File::directory(self.path).join(&text).display().to_string(),
                _ => text,
            };
            file.values.insert(setting.key, (text, place(self.path, self.text, entry.1).line));
        }
    }

    fn permissions(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for entry in self.entries(table) {
            match entry.0 {
                "allow" => file.allow = self.rules(entry),
                "deny" => file.deny = self.rules(entry),
                _ => self.unknown(entry, "permissions", &["allow", "deny"]),
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
            for entry in self.entries(plugin) {
                match entry.0 {
                    "grants" => {
                        if let Some(grants) = self.grants(&alias, entry) {
                            file.grants.insert(alias.clone(), grants);
                        }
                    }
                    _ => self.unknown(entry, &format!("plugins.{alias}"), &["grants"]),
                }
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

    fn models(&mut self, table: Entry<'_, '_>) -> Models {
        let mut models = Models::default();
        for entry in self.entries(table) {
            match entry.0 {
                "default" => models.default = self.text(entry, "models.default").map(str::to_owned),
                "script" => models.script = self.text(entry, "models.script").map(str::to_owned),
                "aliases" => models.aliases = self.texts(entry, "models.aliases"),
                "providers" => {
                    for provider in self.entries(entry) {
                        let settings = self.provider(provider);
                        models.providers.insert(provider.0.to_owned(), settings);
                    }
                }
                _ => self.unknown(entry, "models", &["default", "script", "aliases", "providers"]),
            }
        }
        models
    }

    fn provider(&mut self, table: Entry<'_, '_>) -> ProviderSettings {
        let path = format!("models.providers.{}", table.0);
        let mut provider = ProviderSettings::default();
        for entry in self.entries(table) {
            match entry.0 {
                "base_url" => provider.base_url = self.text(entry, &path).map(str::to_owned),
                "key_variable" => provider.key_variable = self.text(entry, &path).map(str::to_owned),
                "headers" => provider.headers = self.texts(entry, &path),
                _ => self.unknown(entry, &path, &["base_url", "key_variable", "headers"]),
            }
        }
        provider
    }

    fn texts(&mut self, table: Entry<'_, '_>, path: &str) -> BTreeMap<String, String> {
        let entries = self.entries(table);
        entries.into_iter().filter_map(|entry| Some((entry.0.to_owned(), self.text(entry, path)?.to_owned()))).collect()
    }
}

fn entries<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span().start, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, Diagnostics> {
        File::parse(Path::new("cofferdam.toml"), text, Kind::Project)
    }

    fn findings(text: &str, kind: Kind) -> Vec<String> {
        File::parse(Path::new("c.toml"), text, kind).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_project_says_what_its_plugins_may_do() {
        let file = parse("[run]\nmax_concurrency = 8\n[permissions]\nallow = [\"write\"]\n[plugins.scan.grants]\nfs = { read = true }\n").unwrap();
        assert_eq!(file.value("run.max_concurrency"), Some(("8", 2)));
        assert_eq!(file.allow.len(), 1);
        assert!(file.grants.values().next().unwrap().fs.read);
    }

    #[test]
    fn all_findings_are_reported_with_their_places() {
        let text = "[run]\nmodle = \"x\"\ndurability = \"maybe\"\n[plugins.scan.grants]\nfs = { raed = true }\n";
        assert_eq!(
            findings(text, Kind::Project)[..2],
            [
                "c.toml:2:1: error[C002]: unknown setting `modle` (at run.modle)",
                "c.toml:3:14: error[C004]: `run.durability` is `maybe`, which is not `strict` or `relaxed` (at run.durability)",
            ]
        );
        assert!(findings(text, Kind::Project)[2].starts_with("c.toml:5:"));
        assert!(findings("a = ", Kind::Project)[0].contains("error[C001]"));
    }

    #[test]
    fn a_user_grants_nothing_for_all_projects_at_once() {
        assert!(findings("[plugins.scan.grants]\nfs = { read = true }\n", Kind::User)[0].contains("C006"));
    }

    #[test]
    fn providers_of_models_are_described() {
        let file = parse("[models]\naliases = { fast = \"corp/small\" }\n[models.providers.corp]\nbase_url = \"http://x/v1\"\nkey_variable = \"CORP\"\n").unwrap();
        let models = file.models.unwrap();
        assert_eq!(models.providers["corp"].key_variable.as_deref(), Some("CORP"));
        assert_eq!(models.aliases["fast"], "corp/small");
    }
}
