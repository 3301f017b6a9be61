//! What `plugin inspect` shows: everything about a plugin that matters before one lets it run.
//!
//! It must not print; it gives data.

use crate::about::About;
use crate::artifact::Digest;
use crate::error::LoadError;
use crate::host::{History, PluginHost, Purpose};
use crate::manifest::{Capability, Import};
use crate::reference::PluginReference;
use crate::scan::Interpreter;
use crate::tool::LoadedPlugin;
use cofferdam_core::id::Alias;
use cofferdam_core::policy::{Grants, KindLimits, KvGrant, KvScope, PluginKind};
use serde::Serialize;

/// A plugin, taken apart.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Where it came from.
    pub source: String,
    /// The digest of its component.
    pub digest: Digest,
    /// What it says about itself: id, version, summary, tools with schemas and effects.
    pub about: About,
    /// The language whose interpreter it brings along; none if it is compiled, or does not say.
    pub interpreter: Option<Interpreter>,
    /// How long an instance of it lives, as a tool.
    pub instance: Lifetime,
    /// What it can be used as.
    pub kinds: Vec<PluginKind>,
    /// Interfaces it wants, with the version that is served, apart from the baseline.
    pub imports: Vec<Import>,
    /// Interfaces it offers.
    pub exports: Vec<String>,
    /// What its language's standard library imports, linked as closed doors.
    pub baseline: Vec<String>,
    /// Imports that are linked and answer `unsupported`.
    pub unsupported: Vec<Capability>,
    /// What it may do, one line each.
    pub granted: Vec<String>,
    /// What it was asked for and is not granted, one line each.
    pub missing: Vec<String>,
    /// What its imports could use, is neither granted nor asked for, and only a person can name: hosts, secrets, tools. One
    /// argument of `--grant` each, with the name in capitals.
    pub to_name: Vec<String>,
    /// What is granted or asked for and its component cannot use.
    pub unneeded: Vec<String>,
    /// The smallest grant that satisfies it, as far as its imports and the document tell.
    pub smallest_grant: Grants,
    /// The same as arguments for the command line; empty when nothing is needed.
    pub smallest_grant_flags: Vec<String>,
    /// Its bounds.
    pub limits: KindLimits,
    /// Size, compile time, whether it was cached.
    #[serde(flatten)]
    pub history: History,
}

/// How long an instance of a tool lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lifetime {
    /// For one call.
    Call,
    /// For the calls of one try of a step, unless one of them fails hard.
    Step,
}

impl PluginHost {
    /// Takes a plugin apart. Its code runs only to describe itself, with everything denied; without a configuration, none is
    /// checked.
    ///
    /// # Errors
    /// As [`PluginHost::load`].
    pub async fn inspect(&self, reference: PluginReference) -> Result<Inspection, LoadError> {
        let (alias, source) = (reference.alias.clone(), reference.source.to_string());
        let requested = reference.requested.clone();
        let loaded = self.load_inner(reference, Purpose::Look).await;
        let (plugin, history) = loaded.map_err(|fault| LoadError::new(alias.clone(), source.clone(), fault))?;
        let manifest = &plugin.manifest;
        let granted = &plugin.identity.rights.granted;
        let capabilities = manifest.capabilities();
        let (used, unused) = split(&requested.union(granted), &capabilities);
        let interpreter = manifest.interpreter;
        let smallest = match interpreter {
            // An interpreter imports files whether or not the script opens any.
            Some(_) if requested.is_empty() => used,
            _ => smallest(&requested, &used, &capabilities),
        };
        let keeps = interpreter.is_some_and(Interpreter::keeps_instance);
        let (baseline, imports) =
            manifest.imports.iter().cloned().partition::<Vec<_>, _>(|import| import.capability == Capability::Baseline);
        Ok(Inspection {
            source,
            digest: plugin.digest(),
            about: plugin.about.clone(),
            interpreter,
            instance: if keeps { Lifetime::Step } else { Lifetime::Call },
            kinds: manifest.kinds.clone(),
            imports,
            exports: manifest.exports.clone(),
            baseline: baseline.into_iter().map(|import| import.interface).collect(),
            unsupported: capabilities.into_iter().filter(|capability| !capability.is_served()).collect(),
            granted: plugin.granted(),
            missing: smallest.missing_from(granted).explain(),
            to_name: to_name(&alias, &smallest.union(granted), &manifest.capabilities()),
            unneeded: unused.explain(),
            smallest_grant_flags: smallest.to_flags(&alias),
            smallest_grant: smallest,
            limits: plugin.bounds(),
            history,
        })
    }
}

impl LoadedPlugin {
    /// The bounds of what it is first of all.
    fn bounds(&self) -> KindLimits {
        let first = self.manifest.kinds.first().copied().unwrap_or(PluginKind::Tool);
        match first {
            PluginKind::Transform | PluginKind::Condition => self.pure.limits,
            PluginKind::Storage | PluginKind::Sink | PluginKind::Model | PluginKind::Recall => self.warm.limits,
            PluginKind::Tool => self.identity.limits,
        }
    }
}

/// The part of the grants that the component can use, and the rest.
fn split(grants: &Grants, capabilities: &[Capability]) -> (Grants, Grants) {
    let has = |capability| capabilities.contains(&capability);
    let (mut used, mut unused) = (Grants::default(), Grants::default());
    let side = |capability, used: &mut Grants, unused: &mut Grants, copy: fn(&Grants, &mut Grants)| {
        copy(grants, if has(capability) { used } else { unused });
    };
    side(Capability::Http, &mut used, &mut unused, |from, to| to.http.clone_from(&from.http));
    side(Capability::Fs, &mut used, &mut unused, |from, to| to.fs = from.fs.clone());
    side(Capability::Kv, &mut used, &mut unused, |from, to| to.kv = from.kv);
    side(Capability::Tools, &mut used, &mut unused, |from, to| to.tools.clone_from(&from.tools));
    for secret in &grants.secrets {
        let wanted = if secret.reveal { Capability::SecretsReveal } else { Capability::Secrets };
        let to = if has(wanted) { &mut used } else { &mut unused };
        to.secrets.insert(secret.clone());
    }
    (used, unused)
}

/// What the document asks for and the component can use; without a document, what its imports suggest. Hosts, secrets
/// and tools cannot be told from imports: they are in [`to_name`].
fn smallest(requested: &Grants, used: &Grants, capabilities: &[Capability]) -> Grants {
    if !requested.is_empty() {
        return split(requested, capabilities).0;
    }
    let mut smallest = used.clone();
    if capabilities.contains(&Capability::Fs) && smallest.fs.is_empty() {
        smallest.fs.read = true;
    }
    if capabilities.contains(&Capability::Kv) && smallest.kv.is_none() {
        smallest.kv = Some(KvGrant { scope: KvScope::Run });
    }
    smallest
}

/// The grants that its imports could use and that nothing names yet.
fn to_name(alias: &Alias, named: &Grants, capabilities: &[Capability]) -> Vec<String> {
    let reveals = named.secrets.iter().any(|secret| secret.reveal);
    let injected = named.http.iter().any(|grant| !grant.inject.is_empty() || !grant.swap.is_empty());
    [
        (Capability::Http, named.http.is_empty(), "http=HOST"),
        (Capability::Secrets, named.secrets.is_empty() && !injected, "secrets=NAME"),
        (Capability::SecretsReveal, !reveals, "secrets=NAME:reveal"),
        (Capability::Tools, named.tools.is_empty(), "tools=TOOL"),
    ]
    .into_iter()
    .filter(|(capability, open, _)| *open && capabilities.contains(capability))
    .map(|(_, _, what)| format!("{alias}:{what}"))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_no_import_can_use_is_unneeded() {
        let grants = Grants::parse(&json!({ "fs": { "read": true }, "http": [{ "host": "example.com" }] })).unwrap();
        let (used, unused) = split(&grants, &[Capability::Fs, Capability::Baseline]);
        assert!(used.fs.read && used.http.is_empty());
        assert!(!unused.fs.read && unused.http.len() == 1);
    }

    #[test]
    fn an_import_of_files_suggests_reading() {
        let smallest = smallest(&Grants::default(), &Grants::default(), &[Capability::Fs]);
        assert_eq!(smallest.explain(), ["read the step's directory (`/step`)"]);
    }

    #[test]
    fn what_only_a_person_can_name_is_said_until_it_is_named() {
        let alias = Alias::parse("web").unwrap();
        let capabilities = [Capability::Http, Capability::Secrets, Capability::Tools];
        let open = to_name(&alias, &Grants::default(), &capabilities);
        assert_eq!(open, ["web:http=HOST", "web:secrets=NAME", "web:tools=TOOL"]);
        let named = json!({ "http": [{ "host": "example.com" }], "secrets": ["KEY"], "tools": ["read"] });
        assert_eq!(to_name(&alias, &Grants::parse(&named).unwrap(), &capabilities), [""; 0]);
    }
}
