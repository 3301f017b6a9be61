//! Plugins that serve the host: which one keeps the runs, which ones take their events, which ones are models.
//!
//! `plugin:NAME` names a table `[plugins.NAME]` of `cofferdam.toml` that has a source, or is itself a source. It must not
//! load anything.

use crate::failure::Failure;
use crate::session::Session;
use crate::settings::{File, Origin};
use cofferdam::core::id::Alias;
use cofferdam::core::oci::Reference;
use cofferdam::core::policy::{Grants, PluginLimits, Trust, parse_flag};
use cofferdam::core::spec::suggest::did_you_mean;
use cofferdam::core::value::Map;
use cofferdam::plugin::builtin;
use cofferdam::store::File as FileStore;
use cofferdam::{Builder, GrantPolicy, Orchestrator, ServicePlugin};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a project's file says of a plugin besides its grants.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProjectPlugin {
    pub(crate) source: String,
    pub(crate) digest: Option<String>,
    pub(crate) config: Map,
    pub(crate) limits: PluginLimits,
    /// What is believed of what it says about its tools.
    pub(crate) trust: Trust,
}

/// What a plugin is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Storage,
    Sink,
}

/// The words for journals that need no plugin: one database for all runs, one file for each.
const SQLITE: &str = "sqlite";
const FILE: &str = "file";

/// Where the files are, below the directory of records.
pub(crate) const FILES: &str = "journal";
const PREFIX: &str = "plugin:";
const BUILTIN: &str = "builtin:";

impl Session {
    /// Adds what keeps the runs, if it is not the default.
    pub(crate) fn with_storage(&self, builder: Builder, grants: &[String]) -> Result<Builder, Failure> {
        let (_, setting) = self
            .settings
            .values()
            .iter()
            .find(|(key, _)| *key == "run.storage")
            .ok_or_else(|| Failure::usage("the setting `run.storage` is gone".to_owned()))?;
        match setting.value.as_str() {
            SQLITE => return Ok(builder),
            FILE => return Ok(builder.storage(Arc::new(FileStore::new(self.project.state().join(FILES))))),
            _ => {}
        }
        let base = match setting.origin {
            Origin::File(..) => self.project.root().to_owned(),
            _ => PathBuf::from("."),
        };
        let plugin = self.service((&setting.value, Wants::Storage), &base, grants)?;
        Ok(builder.storage_plugin(plugin))
    }

    /// Adds the plugins that take events: those of the project's file, and those of these flags.
    pub(crate) fn with_sinks(
        &self,
        mut builder: Builder,
        flags: &[String],
        grants: &[String],
    ) -> Result<Builder, Failure> {
        let of_files = self.settings.files.iter().flat_map(|file| &file.sinks).map(|sink| (sink, self.project.root()));
        let all = of_files.chain(flags.iter().map(|sink| (sink, Path::new("."))));
        let mut names: Vec<Alias> = Vec::new();
        for (sink, base) in all {
            let plugin = self.service((sink, Wants::Sink), base, grants)?;
            if names.contains(&plugin.alias) {
                return Err(Failure::usage(format!("two sinks are called `{}`", plugin.alias)));
            }
            names.push(plugin.alias.clone());
            builder = builder.sink_plugin(plugin);
        }
        Ok(builder)
    }

    /// Adds the plugins of the project that documents may name as models; none is loaded before one does.
    pub(crate) fn with_models(&self, mut builder: Builder, grants: &[String]) -> Result<Builder, Failure> {
        for (alias, listed) in self.listed() {
            let mut plugin = self.of_listed(alias, listed);
            plugin.grants = self.granted(&plugin, grants)?;
            builder = builder.model_plugin(plugin);
        }
        Ok(builder)
    }

    fn of_listed(&self, alias: &Alias, listed: &ProjectPlugin) -> ServicePlugin {
        ServicePlugin {
            digest: listed.digest.clone(),
            config: listed.config.clone(),
            limits: listed.limits,
            ..ServicePlugin::new(alias.clone(), listed.source.clone(), self.project.root())
        }
    }

    /// Those of these flags that grant to plugins of documents. A flag that names a plugin which serves this run grants to
    /// that one alone.
    pub(crate) fn grants_beside_services(&self, grants: &[String], sinks: &[String]) -> Vec<String> {
        let name = |text: &str| Alias::parse(text).ok().or_else(|| alias_of(text).ok());
        let serving: Vec<Alias> = self.serving(sinks).into_iter().filter_map(name).collect();
        let beside = |flag: &&String| !parse_flag(flag).is_ok_and(|(alias, _)| serving.contains(&alias));
        grants.iter().filter(beside).cloned().collect()
    }

    /// What stands behind `plugin:` in the storage and the sinks of a run.
    pub(crate) fn serving<'a>(&'a self, sinks: &'a [String]) -> Vec<&'a str> {
        let storage = self.settings.values().iter().filter(|(key, _)| *key == "run.storage");
        let storage = storage.map(|(_, setting)| setting.value.as_str());
        let of_files = self.settings.files.iter().flat_map(|file| &file.sinks).map(String::as_str);
        let all = storage.chain(of_files).chain(sinks.iter().map(String::as_str));
        all.filter_map(|text| text.strip_prefix(PREFIX)).collect()
    }

    /// The plugins that have a source in the project's file.
    pub(crate) fn listed(&self) -> BTreeMap<&Alias, &ProjectPlugin> {
        self.settings.files.iter().flat_map(|file| &file.plugins).collect()
    }

    /// What a run grants to a plugin of this alias and source, the latter as the project writes it.
    pub(crate) fn grants_for(
        &self,
        host: &Orchestrator,
        policy: &GrantPolicy,
        alias: &Alias,
        source: &str,
    ) -> GrantPolicy {
        policy.for_plugin(alias, |listed| host.source_of(self.project.root(), listed) == source)
    }

    fn service(&self, (text, wants): (&str, Wants), base: &Path, grants: &[String]) -> Result<ServicePlugin, Failure> {
        let Some(name) = text.strip_prefix(PREFIX) else {
            let near = self.near(text, wants);
            let otherwise = || format!("write `{PREFIX}NAME` for a table `[plugins.NAME]`, or `{PREFIX}builtin:NAME`");
            return Err(Failure::usage(format!("`{text}` names no plugin")).with_hint(near.unwrap_or_else(otherwise)));
        };
        let known = self.listed();
        let listed = Alias::parse(name).ok().and_then(|alias| Some((alias.clone(), *known.get(&alias)?)));
        let mut plugin = match listed {
            Some((alias, listed)) => self.of_listed(&alias, listed),
            None if name.strip_prefix(BUILTIN).is_some_and(|name| builtin::find(name).is_none()) => {
                let name = name.strip_prefix(BUILTIN).unwrap_or(name);
                let names: Vec<&str> = builtin::ALL.iter().map(|builtin| builtin.name).collect();
                let near = did_you_mean(name, names.iter().copied());
                let hint = near.unwrap_or_else(|| format!("there are {}", names.join(", ")));
                return Err(Failure::usage(format!("there is no builtin plugin `{name}`")).with_hint(hint));
            }
            None if name.contains([':', '/', '.']) => ServicePlugin::new(alias_of(name)?, name, base),
            None => {
                let near = did_you_mean(name, known.keys().map(|alias| alias.as_str()));
                let hint = near.unwrap_or_else(|| {
                    format!("write a table `[plugins.{name}]` with a `source`, or `{PREFIX}builtin:NAME`")
                });
                let message = format!("`cofferdam.toml` has no plugin `{name}` with a source");
                return Err(Failure::usage(message).with_hint(hint));
            }
        };
        plugin.grants = self.granted(&plugin, grants)?;
        Ok(plugin)
    }

    /// What may have been meant by a text that names no plugin.
    fn near(&self, text: &str, wants: Wants) -> Option<String> {
        let known = self.listed();
        let tables = known.keys().map(|alias| format!("{PREFIX}{alias}"));
        let builtins = builtin::ALL.iter().map(|builtin| format!("{PREFIX}{BUILTIN}{}", builtin.name));
        let all: Vec<String> = tables.chain(builtins).collect();
        let native: &[&str] = if wants == Wants::Storage { &[SQLITE, FILE] } else { &[] };
        // Who leaves out what stands before the name means that one.
        let whole = all.iter().find(|name| name.rsplit(':').next() == Some(text));
        let whole = whole.map(|name| format!("did you mean `{name}`?"));
        whole.or_else(|| did_you_mean(text, native.iter().copied().chain(all.iter().map(String::as_str))))
    }

    /// What the project's file and these flags grant to a plugin that only the user names. A table with another source is
    /// about another plugin.
    fn granted(&self, plugin: &ServicePlugin, flags: &[String]) -> Result<Grants, Failure> {
        let alias = &plugin.alias;
        let about_it = |file: &&File| file.plugins.get(alias).is_none_or(|listed| listed.source == plugin.source);
        let of_files = self.settings.files.iter().filter(about_it).filter_map(|file| file.grants.get(alias));
        let mut granted = of_files.fold(Grants::default(), |sum, grants| sum.union(grants));
        for flag in flags {
            match parse_flag(flag) {
                Ok((named, grants)) if named == *alias => granted = granted.union(&grants),
                Ok(_) => {}
                Err(error) => return Err(Failure::usage(format!("--grant {flag}: {error}"))),
            }
        }
        Ok(granted)
    }
}

/// The name of a plugin that is given by its source: the last part of it.
fn alias_of(source: &str) -> Result<Alias, Failure> {
    let registry = Reference::parse(source).ok();
    let last = source.rsplit([':', '/']).next().unwrap_or(source);
    let last = registry.as_ref().map_or(last, Reference::name);
    let name = last.strip_suffix(".wasm").unwrap_or(last).to_ascii_lowercase().replace('.', "-");
    Alias::parse(&name).map_err(|error| Failure::usage(format!("`{source}` gives no name for a plugin: {error}")))
}
