//! The plugins of a project or document: whether each loads with its configuration, is locked, and has what it asks for.

use super::{Check, State};
use crate::command::document::{self, Warnings};
use crate::failure::Failure;
use crate::session::Session;
use cofferdam::core::id::Alias;
use cofferdam::core::policy::{Grants, PluginLimits};
use cofferdam::core::value::Map;
use cofferdam::plugin::{Digest, LoadError, NameOf, PluginReference, Source};
use cofferdam::sink::clean;
use cofferdam::{GrantPolicy, LockEntry, Orchestrator};
use std::path::{Path, PathBuf};

/// A plugin that is looked at.
pub(super) struct Subject {
    alias: Alias,
    source: String,
    base: PathBuf,
    digest: Option<String>,
    config: Map,
    requested: Grants,
    limits: PluginLimits,
    /// Whether somebody named it in a document or in `cofferdam.toml`, so that it should be locked.
    is_declared: bool,
    /// Whether it is described in `cofferdam.toml`, whose grants it has then.
    is_of_project: bool,
}

/// What was typed, or what `cofferdam.toml` has.
pub(super) fn subjects(session: &Session, typed: &[String]) -> anyhow::Result<Vec<Subject>> {
    let mut found = Vec::new();
    for text in typed {
        match Path::new(text).extension().and_then(|ending| ending.to_str()) {
            Some("yaml" | "yml" | "json") => found.extend(of_document(Path::new(text))?),
            _ => {
                super::super::source(text)?;
                found.push(Subject { is_declared: false, ..Subject::new(super::super::alias_of(text), text, "") });
            }
        }
    }
    if typed.is_empty() {
        for (alias, listed) in session.settings.files.iter().flat_map(|file| &file.plugins) {
            found.push(Subject {
                digest: listed.digest.clone(),
                config: listed.config.clone(),
                limits: listed.limits,
                is_of_project: true,
                ..Subject::new(alias.clone(), &listed.source, session.project.root())
            });
        }
    }
    Ok(found)
}

fn of_document(file: &Path) -> Result<Vec<Subject>, Failure> {
    let workflow = document::load(file, Warnings::Hide)?;
    let plugins = workflow.document().plugins.iter();
    Ok(plugins
        .map(|(alias, declared)| Subject {
            digest: declared.digest.clone(),
            config: declared.config.clone(),
            requested: declared.requested.clone(),
            limits: declared.limits,
            ..Subject::new(alias.clone(), &declared.source, document::directory(file))
        })
        .collect())
}

pub(super) async fn checks(session: &Session, subjects: Vec<Subject>) -> anyhow::Result<Vec<Check>> {
    let orchestrator = session.orchestrator().build().map_err(Failure::from)?;
    let policy = session.grants(&[])?;
    let mut checks = Vec::with_capacity(subjects.len());
    for subject in subjects {
        checks.push(subject.check(session, &orchestrator, &policy).await?);
    }
    Ok(checks)
}

impl Subject {
    fn new(alias: Alias, source: &str, base: impl Into<PathBuf>) -> Self {
        Self {
            alias,
            source: source.to_owned(),
            base: base.into(),
            digest: None,
            config: Map::new(),
            requested: Grants::default(),
            limits: PluginLimits::default(),
            is_declared: true,
            is_of_project: false,
        }
    }

    async fn check(&self, session: &Session, host: &Orchestrator, policy: &GrantPolicy) -> anyhow::Result<Check> {
        let written = host.source_of(&self.base, &self.source);
        let locked = host.approved_plugin(Some(&self.alias).filter(|_| self.is_declared), &written);
        let locked = locked.map_err(Failure::from)?;
        let name = self.alias.to_string();
        let source = match Source::parse(&self.source, &self.base) {
            Ok(source) => source,
            Err(error) => return Ok(Check::bad(name, error.to_string(), error.hint().unwrap_or_default())),
        };
        // As a run would have it: what is in a registry is what was locked.
        let pinned = match source {
            Source::Registry(_) => self.digest.clone().or_else(|| locked.as_ref().map(|entry| entry.digest.clone())),
            _ => self.digest.clone(),
        };
        let digest = match pinned.as_deref().map(Digest::parse).transpose() {
            Ok(digest) => digest,
            Err(error) => return Ok(Check::bad(name, error.to_string(), "`cofferdam plugin inspect` prints it")),
        };
        let granted = session.settings.files.iter().filter(|_| self.is_of_project);
        let granted = granted.filter_map(|file| file.grants.get(&self.alias));
        let granted = granted.fold(Grants::default(), |sum, grants| sum.union(grants));
        let policy = session.grants_for(host, policy, &self.alias, &written);
        let effective = policy.effective(&self.alias, &self.requested, &Grants::default()).union(&granted);
        let config = if self.config.is_empty() { serde_json::Value::Null } else { self.config.clone().into() };
        let reference = PluginReference {
            alias: self.alias.clone(),
            source,
            digest,
            config,
            granted: Grants::default(),
            requested: self.requested.clone(),
            limits: self.limits,
            base: self.base.clone(),
            name_of: NameOf::Itself,
            trust: cofferdam::Trust::default(),
        };
        let plugin = match host.plugins().inspect(reference.clone()).await {
            Ok(plugin) => plugin,
            Err(error) => return Ok(unloadable(name, &error)),
        };
        let mut check =
            Check::good(name, format!("{} {}", clean(&plugin.about.id, 100), clean(&plugin.about.version, 64)));
        // What is only typed has no configuration that could be wrong.
        if self.is_declared
            && let Err(error) = host.plugins().load(reference).await
        {
            check.note(State::Bad, &error.reason().to_string(), &error.hint().unwrap_or_default());
        }
        let now = LockEntry::of_inspection(&self.alias, &plugin, written);
        self.note_lock(&mut check, locked.as_ref(), &now);
        let missing = self.requested.missing_from(&effective);
        // What imports suggest is no request: a document may do without.
        let possible = plugin.smallest_grant.missing_from(&effective);
        match (missing.is_empty(), possible.is_empty()) {
            (true, true) => check.note(State::Good, "has all that it asks for", ""),
            (true, false) => {
                check.note(State::Good, &format!("could also {}", possible.explain().join(", ")), "");
            }
            (false, _) => {
                let what = format!("may not {}", missing.explain().join(", "));
                check.note(State::Warn, &what, &format!("to grant it: {}", missing.to_command_line(&self.alias)));
            }
        }
        Ok(check)
    }

    fn note_lock(&self, check: &mut Check, locked: Option<&LockEntry>, now: &LockEntry) {
        match locked {
            Some(locked) if locked.digest == now.digest => check.note(State::Good, "locked", ""),
            Some(_) => {
                let hint =
                    "look at it with `cofferdam plugin inspect`; `cofferdam plugin lock` or `add --update` approves it";
                check.note(State::Bad, "another component than the locked one", hint);
            }
            None if self.is_declared => {
                let hint = format!(
                    "`cofferdam plugin lock DOCUMENT`, or `cofferdam plugin add {} --as {}`",
                    self.source, self.alias
                );
                check.note(State::Warn, "not locked", &hint);
            }
            None => {}
        }
    }
}

impl Check {
    /// Adds something that was found; the worst of all is the state.
    fn note(&mut self, state: State, found: &str, hint: &str) {
        self.state = self.state.max(state);
        self.found = format!("{}, {found}", self.found);
        if !hint.is_empty() {
            self.hint = if self.hint.is_empty() { hint.to_owned() } else { format!("{}\nhint: {hint}", self.hint) };
        }
    }
}

fn unloadable(name: String, error: &LoadError) -> Check {
    Check::bad(name, error.reason().to_string(), error.hint().unwrap_or_default())
}
