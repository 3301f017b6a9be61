//! One file of settings: `cofferdam.toml` of a project, or `config.toml` of a user.
//!
//! All findings are reported, each with its place. It must not know which file wins.

use super::exec::Exec;
use super::reader;
use crate::environment;
use crate::failure::Failure;
use crate::project::Project;
use crate::services::ProjectPlugin;
use cofferdam::core::budget::Price;
use cofferdam::core::diagnostic::Diagnostics;
use cofferdam::core::id::Alias;
use cofferdam::core::limits;
use cofferdam::core::permission::Rule;
use cofferdam::core::policy::{Grants, Trust};
use cofferdam::llm::select::Settings as Models;
use cofferdam::{ProjectServer, RecallSettings, SecretSource};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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
    pub(super) values: BTreeMap<&'static str, (String, u32)>,
    pub(crate) allow: Vec<Rule>,
    pub(crate) deny: Vec<Rule>,
    pub(crate) ask: Vec<Rule>,
    /// What commands of models may reach.
    pub(crate) exec: Exec,
    /// Grants of every table, those of plugins with a source included.
    pub(crate) grants: BTreeMap<Alias, Grants>,
    /// What is believed of plugins, of those without a source here.
    pub(super) trust: BTreeMap<Alias, Trust>,
    /// Plugins that have a source here.
    pub(crate) plugins: BTreeMap<Alias, ProjectPlugin>,
    /// Retrieval memory.
    pub(crate) recall: Option<RecallSettings>,
    /// Plugins that take the events of every run.
    pub(crate) sinks: Vec<String>,
    pub(crate) servers: BTreeMap<Alias, ProjectServer>,
    pub(crate) models: Option<Models>,
    /// What models cost.
    pub(crate) prices: Vec<(String, Price)>,
    pub(crate) secrets: BTreeMap<String, SecretSource>,
    pub(crate) strict: bool,
    /// Registries that are spoken to with TLS or without, whatever their host is.
    pub(crate) registries: BTreeMap<String, bool>,
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
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                // A link to nothing is not "no settings": the rules that somebody meant to set would silently not hold.
                if std::fs::symlink_metadata(path).is_ok() {
                    return Err(refuse("it is a link to nothing".to_owned()).into());
                }
                return Ok(None);
            }
            Err(error) => return Err(refuse(error.to_string()).into()),
        };
        if !metadata.is_file() {
            return Err(refuse("it is not a regular file".to_owned()).into());
        }
        if metadata.len() > limits::SETTINGS_BYTES as u64 {
            return Err(refuse(format!("it has {} bytes", metadata.len())).into());
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Ok(Some(Self::parse(path, &text, kind).map_err(|found| Failure::findings(crate::exit::Exit::Usage, found))?))
    }

    /// Reads the text of a file.
    pub(crate) fn parse(path: &Path, text: &str, kind: Kind) -> Result<Self, Diagnostics> {
        let mut file = Self {
            path: path.to_owned(),
            values: BTreeMap::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            ask: Vec::new(),
            exec: Exec::default(),
            grants: BTreeMap::new(),
            trust: BTreeMap::new(),
            plugins: BTreeMap::new(),
            recall: None,
            sinks: Vec::new(),
            servers: BTreeMap::new(),
            models: None,
            prices: Vec::new(),
            secrets: BTreeMap::new(),
            strict: false,
            registries: BTreeMap::new(),
        };
        let found = reader::fill(&mut file, text, kind);
        if found.has_errors() { Err(found) } else { Ok(file) }
    }

    /// Whether a text can be the file of a project.
    pub(crate) fn check(path: &Path, text: &str) -> Result<(), Diagnostics> {
        Self::parse(path, text, Kind::Project).map(|_| ())
    }

    /// What plugins of documents may do. A table with a source is about that very plugin: a document must not get its grants
    /// by taking its name.
    pub(crate) fn grants_of_documents(&self) -> impl Iterator<Item = (&Alias, &Grants)> {
        self.grants.iter().filter(move |(alias, _)| !self.plugins.contains_key(*alias))
    }

    /// What is believed of plugins of documents, by the tables that give them grants.
    pub(crate) fn trust_in_plugins_of_documents(&self) -> impl Iterator<Item = (&Alias, Trust)> {
        self.trust.iter().map(|(alias, trust)| (alias, *trust))
    }

    /// Plugins with a source, and their grants: a document that names the same source under the same name gets them.
    pub(crate) fn named_plugins(&self) -> impl Iterator<Item = (&Alias, &ProjectPlugin, Grants)> {
        let granted = |alias| self.grants.get(alias).cloned().unwrap_or_default();
        self.plugins.iter().map(move |(alias, plugin)| (alias, plugin, granted(alias)))
    }

    /// A value of the table, with its line.
    pub(crate) fn value(&self, key: &str) -> Option<(&str, u32)> {
        self.values.get(key).map(|(value, line)| (value.as_str(), *line))
    }
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
    fn secrets_come_from_variables_and_files() {
        let file = parse("strict = true\n[secrets]\nA = { env = \"TOKEN\" }\nB = { file = \"keys/b\" }\n").unwrap();
        assert!(file.strict);
        assert!(matches!(&file.secrets["A"], SecretSource::Variable(name) if name == "TOKEN"));
        assert!(matches!(&file.secrets["B"], SecretSource::File(path) if path.ends_with("keys/b")));
        for (text, found) in [
            ("[secrets]\nA = { keychain = \"x\" }\n", "no keychain"),
            ("[secrets]\nA = \"hunter2-canary\"\n", "takes a table"),
            ("[secrets]\nA = { env = \"X\", file = \"y\" }\n", "one of"),
            ("[secrets]\n\"a b\" = { env = \"X\" }\n", "not the name"),
            ("strict = \"yes\"\n", "`strict` takes"),
        ] {
            let found_there = findings(text, Kind::Project);
            assert!(found_there[0].contains(found), "{found_there:?}");
            assert!(!found_there[0].contains("canary"), "{found_there:?}");
        }
    }
}
