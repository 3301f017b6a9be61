//! The settings: flag, else environment, else project file, else user file, else default; each with its origin.
//!
//! One table names them all. It must not use any of them.

mod code;
mod exec;
mod file;
mod memory;
mod models;
mod position;
mod prices;
mod reader;
mod registries;
mod servers;
mod toml_table;

pub(crate) use code::CODES;
pub(crate) use file::File;

use self::exec::Exec;
use crate::args::{DurabilityArg, GrantArgs, RunArgs};
use crate::environment;
use crate::failure::Failure;
use crate::project::Project;
use cofferdam::core::budget::Price;
use cofferdam::core::permission::{Rule, Rules, Stance};
use cofferdam::core::port::Durability;
use cofferdam::core::spec::duration;
use cofferdam::llm::select::Settings as Models;
use cofferdam::{RecallSettings, SecretSource};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One setting.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `table.key` in files.
    pub(crate) key: &'static str,
    /// The flag.
    pub(crate) flag: &'static str,
    /// The variable.
    pub(crate) variable: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// What holds when nobody says anything.
    pub(crate) default: &'static str,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Count,
    Time,
    Choice(&'static [&'static str]),
    /// In a file: relative to the file's directory.
    Directory,
}

/// All of them.
pub(crate) const TABLE: [Entry; 6] = [
    Entry { key: "run.model", flag: "--model", variable: "COFFERDAM_MODEL", kind: Kind::Text, default: "auto" },
    Entry { key: "run.workdir", flag: "--workdir", variable: "COFFERDAM_WORKDIR", kind: Kind::Directory, default: "." },
    Entry {
        key: "run.max_concurrency",
        flag: "--max-concurrency",
        variable: "COFFERDAM_MAX_CONCURRENCY",
        kind: Kind::Count,
        default: "the document's",
    },
    Entry {
        key: "run.timeout",
        flag: "--timeout",
        variable: "COFFERDAM_TIMEOUT",
        kind: Kind::Time,
        default: "the document's",
    },
    Entry {
        key: "run.durability",
        flag: "--durability",
        variable: "COFFERDAM_DURABILITY",
        kind: Kind::Choice(&["strict", "relaxed"]),
        default: "strict",
    },
    Entry { key: "run.storage", flag: "--storage", variable: "COFFERDAM_STORAGE", kind: Kind::Text, default: "sqlite" },
];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Variable(&'static str),
    File(PathBuf, u32),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => write!(f, "environment, {name}"),
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sourced {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Everything that is set.
#[derive(Debug)]
pub(crate) struct Settings {
    values: Vec<(&'static str, Sourced)>,
    /// The project's file, then the user's.
    pub(crate) files: Vec<File>,
}

impl Settings {
    /// Reads both files and the environment; `flags` are those that were typed.
    pub(crate) fn read(project: &Project, flags: &[(&'static str, String)]) -> anyhow::Result<Self> {
        let files: Vec<File> = [File::of_project(project)?, File::of_user()?].into_iter().flatten().collect();
        let values = TABLE
            .iter()
            .map(|entry| Ok((entry.key, resolve(entry, flags, &files)?)))
            .collect::<Result<_, Failure>>()?;
        Ok(Self { values, files })
    }

    /// All values, in the order of the table.
    pub(crate) fn values(&self) -> &[(&'static str, Sourced)] {
        &self.values
    }

    /// A value that somebody set.
    fn set(&self, key: &str) -> Option<&Sourced> {
        let found = self.values.iter().find(|(name, _)| *name == key).map(|(_, sourced)| sourced);
        found.filter(|sourced| sourced.origin != Origin::Default)
    }

    /// The model that was named, unless it is `auto`.
    pub(crate) fn model(&self) -> Option<&Sourced> {
        self.set("run.model").filter(|sourced| sourced.value != cofferdam::llm::select::AUTO)
    }

    pub(crate) fn workdir(&self) -> Option<PathBuf> {
        self.set("run.workdir").map(|sourced| PathBuf::from(&sourced.value))
    }

    pub(crate) fn max_concurrency(&self) -> Option<usize> {
        self.set("run.max_concurrency").and_then(|sourced| sourced.value.parse().ok())
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.set("run.timeout").and_then(|sourced| duration::parse(&sourced.value))
    }

    pub(crate) fn durability(&self) -> Durability {
        match self.set("run.durability") {
            Some(sourced) if sourced.value == DurabilityArg::Relaxed.as_str() => Durability::Written,
            _ => Durability::Durable,
        }
    }

    /// The rules of both files and of these flags; all denials hold, wherever they come from.
    pub(crate) fn rules(&self, flags: &GrantArgs) -> Result<Rules, Failure> {
        let mut rules = Rules {
            deny: parse_rules("--deny", &flags.deny)?,
            allow: parse_rules("--allow", &flags.allow)?,
            ask: parse_rules("--ask", &flags.ask)?,
            stance: match (flags.yolo, flags.sandbox) {
                (true, _) => Stance::Yolo,
                (false, true) => Stance::Sandbox,
                (false, false) => Stance::Ask,
            },
        };
        for file in &self.files {
            rules.deny.extend(file.deny.iter().cloned());
            rules.allow.extend(file.allow.iter().cloned());
            rules.ask.extend(file.ask.iter().cloned());
        }
        Ok(rules)
    }

    /// What commands may reach that models run: what either file allows.
    pub(crate) fn exec(&self) -> Exec {
        self.files.iter().map(|file| file.exec.clone()).fold(Exec::default(), Exec::union)
    }

    /// The retrieval memory of every run that says nothing else; where both files say something, the project's counts.
    pub(crate) fn recall(&self) -> Option<RecallSettings> {
        let both = self.files.iter().filter_map(|file| file.recall.clone());
        both.reduce(RecallSettings::over)
    }

    /// Where secrets come from; where both files name the same, the project's counts.
    pub(crate) fn secrets(&self) -> BTreeMap<String, SecretSource> {
        self.files.iter().rev().flat_map(|file| file.secrets.clone()).collect()
    }

    /// Whether either file asks for it.
    pub(crate) fn strict(&self) -> bool {
        self.files.iter().any(|file| file.strict)
    }

    /// What models cost; where both files name the same, the project's counts.
    pub(crate) fn prices(&self) -> impl Iterator<Item = (String, Price)> {
        self.files.iter().rev().flat_map(|file| file.prices.clone())
    }

    /// The tables `[models]` of both files; where both name the same, the project's counts.
    pub(crate) fn models(&self) -> Models {
        let mut merged = Models::default();
        for models in self.files.iter().rev().filter_map(|file| file.models.clone()) {
            merged.default = models.default.or(merged.default);
            merged.script = models.script.or(merged.script);
            merged.aliases.extend(models.aliases);
            merged.fallbacks.extend(models.fallbacks);
            merged.limits.extend(models.limits);
            merged.providers.extend(models.providers);
        }
        merged
    }
}

/// The flags of `run` that are settings, as the table names them.
pub(crate) fn flags(args: &RunArgs) -> Vec<(&'static str, String)> {
    let given = [
        ("run.model", args.model.clone()),
        ("run.workdir", args.work.workdir.as_ref().map(|path| path.display().to_string())),
        ("run.max_concurrency", args.work.max_concurrency.map(|count| count.to_string())),
        ("run.timeout", args.work.timeout.map(duration::format)),
        ("run.durability", args.work.durability.map(|durability| durability.as_str().to_owned())),
    ];
    given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn resolve(entry: &Entry, flags: &[(&'static str, String)], files: &[File]) -> Result<Sourced, Failure> {
    let flag = flags.iter().find(|(key, _)| *key == entry.key).map(|(_, value)| value.clone());
    if let Some(value) = flag {
        return Ok(Sourced { value, origin: Origin::Flag(entry.flag) });
    }
    if let Some(value) = environment::variable(entry.variable) {
        check(entry.kind, &value).map_err(|what| {
            Failure::usage(format!("the variable {} is `{value}`, which is not {what}", entry.variable))
        })?;
        return Ok(Sourced { value, origin: Origin::Variable(entry.variable) });
    }
    for file in files {
        if let Some((value, line)) = file.value(entry.key) {
            return Ok(Sourced { value: value.to_owned(), origin: Origin::File(file.path.clone(), line) });
        }
    }
    Ok(Sourced { value: entry.default.to_owned(), origin: Origin::Default })
}

/// Whether a text is what a setting takes; else what it should be.
pub(crate) fn check(kind: Kind, text: &str) -> Result<(), String> {
    let good = match kind {
        Kind::Text | Kind::Directory => !text.is_empty(),
        Kind::Count => text.parse::<usize>().is_ok_and(|count| count > 0),
        Kind::Time => duration::parse(text).is_some_and(|time| !time.is_zero()),
        Kind::Choice(words) => words.contains(&text),
    };
    let what = || match kind {
        Kind::Text => "a text".to_owned(),
        Kind::Directory => "a directory".to_owned(),
        Kind::Count => "a whole number above 0".to_owned(),
        Kind::Time => "a time with a unit, `90s` or `1h30m`".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
    };
    if good { Ok(()) } else { Err(what()) }
}

fn parse_rules(flag: &str, texts: &[String]) -> Result<Vec<Rule>, Failure> {
    let parse = |text: &String| Rule::parse(text).map_err(|error| Failure::usage(format!("{flag}: {error}")));
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::WorkArgs;
    use clap::CommandFactory as _;
    use std::path::Path;

    #[test]
    fn every_setting_has_its_flag_and_a_valid_default() {
        let command = crate::args::Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for entry in &TABLE {
            let long = entry.flag.trim_start_matches("--");
            let mut known = run.get_arguments().chain(command.get_arguments());
            assert!(known.any(|arg| arg.get_long() == Some(long)), "{}", entry.flag);
            assert!(entry.key.starts_with("run."));
        }
        let flags = flags(&RunArgs {
            model: Some("m".into()),
            work: WorkArgs {
                workdir: Some("w".into()),
                max_concurrency: Some(1),
                timeout: Some(Duration::from_secs(1)),
                durability: Some(DurabilityArg::Strict),
                ..WorkArgs::default()
            },
            ..RunArgs::default()
        });
        // Every command takes `--storage`, not `run` alone.
        let own = TABLE.iter().map(|entry| entry.key).filter(|key| *key != "run.storage");
        assert!(flags.iter().map(|(key, _)| *key).eq(own));
    }

    #[test]
    fn models_of_the_project_join_those_of_the_user() {
        let file = |text, kind| File::parse(Path::new("x.toml"), text, kind).unwrap();
        let project = file("[models]\naliases = { fast = \"a/b\" }\n", file::Kind::Project);
        let user =
            file("[models]\ndefault = \"u/m\"\naliases = { fast = \"x/y\", slow = \"c/d\" }\n", file::Kind::User);
        let models = Settings { values: vec![], files: vec![project, user] }.models();
        assert_eq!((models.aliases["fast"].as_str(), models.aliases["slow"].as_str()), ("a/b", "c/d"));
        assert_eq!(models.default.as_deref(), Some("u/m"));
    }

    #[test]
    fn a_flag_beats_a_file_and_a_file_beats_the_default() {
        let file = File::parse(
            Path::new("cofferdam.toml"),
            "[run]\nmodel = \"a/b\"\ndurability = \"relaxed\"\n",
            file::Kind::Project,
        )
        .unwrap();
        let values = TABLE.iter().map(|entry| {
            (entry.key, resolve(entry, &[("run.model", "c/d".to_owned())], std::slice::from_ref(&file)).unwrap())
        });
        let settings = Settings { values: values.collect(), files: vec![] };
        assert_eq!(settings.model().unwrap().origin, Origin::Flag("--model"));
        assert_eq!(settings.durability(), Durability::Written);
        assert_eq!(settings.set("run.durability").unwrap().origin.to_string(), "cofferdam.toml:3");
        assert_eq!(settings.timeout(), None);
    }
}
