//! Who allowed what: grants of the project, of flags, and whether requests of a document are allowed as they are.

use cofferdam_core::id::Alias;
use cofferdam_core::policy::{Grants, Trust};
use cofferdam_plugin::NameOf;
use std::collections::{BTreeMap, BTreeSet};

/// What the user allows plugins. A document only ever requests.
#[derive(Clone, Debug, Default)]
pub struct GrantPolicy {
    project: BTreeMap<Alias, Grants>,
    flags: BTreeMap<Alias, Grants>,
    requested: bool,
    services: BTreeSet<Alias>,
    named: BTreeMap<Alias, ProjectPlugin>,
    trust: BTreeMap<Alias, Trust>,
}

/// A plugin that the project's file names by its source: its grants are that plugin's and no other's of the same alias.
#[derive(Clone, Debug)]
pub struct ProjectPlugin {
    /// Where it comes from; a path is relative to the project.
    pub source: String,
    /// The digest that it must have, `sha256:...`.
    pub digest: Option<String>,
    /// What it may do.
    pub grants: Grants,
    /// What is believed of what it says about its tools.
    pub trust: Trust,
}

impl GrantPolicy {
    /// Nothing.
    #[must_use]
    pub fn deny_all() -> Self {
        Self::default()
    }

    /// Adds a grant of the project file: the document's requests narrow it.
    #[must_use]
    pub fn with_project(mut self, alias: Alias, grants: &Grants) -> Self {
        merge(&mut self.project, alias, grants);
        self
    }

    /// Believes of a plugin what it says about its tools, also where its grants could belie it. Only the project file says so:
    /// neither a document nor whoever allows what documents request.
    #[must_use]
    pub fn with_trust(mut self, alias: Alias, trust: Trust) -> Self {
        let known = self.trust.entry(alias).or_default();
        *known = known.union(trust);
        self
    }

    /// What is believed of a plugin of this alias.
    #[must_use]
    pub fn trust(&self, alias: &Alias) -> Trust {
        // What stands under the name of another plugin of the project is about that one.
        self.trust.get(alias).filter(|_| !self.services.contains(alias)).copied().unwrap_or_default()
    }

    /// Adds a plugin of the project file: its grants hold for a document's plugin of this alias and source alone, which must
    /// have its digest.
    #[must_use]
    pub fn with_project_plugin(mut self, alias: Alias, plugin: ProjectPlugin) -> Self {
        self.named.insert(alias, plugin);
        self
    }

    /// The plugin of the project file with this alias and source, both as the project writes them.
    pub(crate) fn named(&self, alias: &Alias, is_source: impl Fn(&str) -> bool) -> Option<&ProjectPlugin> {
        self.named.get(alias).filter(|plugin| is_source(&plugin.source))
    }

    /// The policy for a plugin of this alias, with what the project file grants it where `is_source` knows the source of the
    /// table as the plugin's own. Where it does not, the table is another plugin's, and nothing under the name reaches this one.
    #[must_use]
    pub fn for_plugin(&self, alias: &Alias, is_source: impl Fn(&str) -> bool) -> Self {
        match self.named(alias, is_source) {
            Some(plugin) => {
                self.clone().with_project(alias.clone(), &plugin.grants).with_trust(alias.clone(), plugin.trust)
            }
            None if self.named.contains_key(alias) => self.clone().with_service(alias.clone()),
            None => self.clone(),
        }
    }

    /// Adds a grant of a person for this plugin: it holds as it is, unless the name is that of another plugin of the project.
    #[must_use]
    pub fn with_flag(mut self, alias: Alias, grants: &Grants) -> Self {
        merge(&mut self.flags, alias, grants);
        self
    }

    /// Notes that the project's file gives this name to a plugin that serves the host. A document's plugin of the same name
    /// gets nothing from its table or from flags under it, and is told so.
    #[must_use]
    pub fn with_service(mut self, alias: Alias) -> Self {
        self.services.insert(alias);
        self
    }

    /// Whose the name is under which a document's plugin would be granted something.
    #[must_use]
    pub fn whose(&self, alias: &Alias) -> NameOf {
        if self.services.contains(alias) { NameOf::Service } else { NameOf::Itself }
    }

    /// Allows whatever documents request.
    #[must_use]
    pub fn with_requested(mut self) -> Self {
        self.requested = true;
        self
    }

    /// The same policy with every table changed: directories rendered, for instance.
    ///
    /// # Errors
    /// The first that `change` gives.
    pub(crate) fn changed<E>(&self, change: impl Fn(&Grants) -> Result<Grants, E>) -> Result<Self, E> {
        let table = |table: &BTreeMap<Alias, Grants>| {
            table.iter().map(|(alias, grants)| Ok((alias.clone(), change(grants)?))).collect::<Result<_, E>>()
        };
        let named = self.named.iter().map(|(alias, plugin)| {
            Ok((alias.clone(), ProjectPlugin { grants: change(&plugin.grants)?, ..plugin.clone() }))
        });
        let named = named.collect::<Result<_, E>>()?;
        Ok(Self { project: table(&self.project)?, flags: table(&self.flags)?, named, ..self.clone() })
    }

    /// Whether whatever documents request is allowed.
    #[must_use]
    pub fn allows_requests(&self) -> bool {
        self.requested
    }

    /// Aliases that a flag names.
    pub fn flagged(&self) -> impl Iterator<Item = &Alias> {
        self.flags.keys()
    }

    /// What a plugin may do in the end. `remembered` is an earlier answer of a person.
    #[must_use]
    pub fn effective(&self, alias: &Alias, requested: &Grants, remembered: &Grants) -> Grants {
        let none = Grants::default();
        // Those under the name of another plugin of the project are for that one.
        let flags = self.flags.get(alias).filter(|_| !self.services.contains(alias)).unwrap_or(&none);
        // A document that requests nothing is granted what the project says, with this flag as without.
        if self.requested && !requested.is_empty() {
            return requested.union(flags);
        }
        let project = self.project.get(alias).unwrap_or(&none).union(remembered);
        let asked = (!requested.is_empty()).then_some(requested);
        Grants::effective(asked, &project, flags)
    }
}

fn merge(table: &mut BTreeMap<Alias, Grants>, alias: Alias, grants: &Grants) {
    let entry = table.entry(alias).or_default();
    *entry = entry.union(grants);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn grants(value: &serde_json::Value) -> Grants {
        Grants::parse(value).unwrap()
    }

    #[test]
    fn a_document_alone_grants_nothing() {
        let alias = Alias::parse("scan").unwrap();
        let requested = grants(&json!({ "fs": { "read": true } }));
        let none = Grants::default();
        assert!(GrantPolicy::deny_all().effective(&alias, &requested, &none).is_empty());
        let allowed = GrantPolicy::deny_all().with_requested();
        assert_eq!(allowed.effective(&alias, &requested, &none), requested);
        let project = GrantPolicy::deny_all()
            .with_project(alias.clone(), &grants(&json!({ "fs": { "read": true, "write": true } })));
        assert_eq!(project.effective(&alias, &requested, &none), requested);
    }

    #[test]
    fn a_flag_under_the_name_of_a_service_is_for_the_service() {
        let (lines, none) = (Alias::parse("lines").unwrap(), Grants::default());
        let reads = grants(&json!({ "fs": { "read": true } }));
        let flagged = GrantPolicy::deny_all().with_flag(lines.clone(), &reads);
        assert_eq!(flagged.effective(&lines, &none, &none), reads);
        let service = flagged.with_service(lines.clone());
        assert!(service.effective(&lines, &none, &none).is_empty());
        assert!(service.effective(&lines, &reads, &none).is_empty());
        assert_eq!(service.with_requested().effective(&lines, &reads, &none), reads, "what it requests was allowed");
    }

    #[test]
    fn a_plugin_is_believed_what_the_project_says_of_that_very_one() {
        let (alias, trust) = (Alias::parse("scan").unwrap(), Trust { idempotent: true, ..Trust::default() });
        assert_eq!(GrantPolicy::deny_all().with_requested().trust(&alias), Trust::default());
        assert_eq!(GrantPolicy::deny_all().with_trust(alias.clone(), trust).trust(&alias), trust);
        let named = ProjectPlugin { source: "a.wasm".into(), digest: None, grants: Grants::default(), trust };
        let policy = GrantPolicy::deny_all().with_project_plugin(alias.clone(), named);
        assert_eq!(policy.for_plugin(&alias, |source| source == "a.wasm").trust(&alias), trust);
        assert_eq!(policy.for_plugin(&alias, |source| source == "b.wasm").trust(&alias), Trust::default());
        assert_eq!(policy.trust(&alias), Trust::default());
    }

    #[test]
    fn allowing_requests_takes_nothing_away() {
        let alias = Alias::parse("scan").unwrap();
        let (none, reads) = (Grants::default(), grants(&json!({ "fs": { "read": true } })));
        let project = GrantPolicy::deny_all().with_project(alias.clone(), &reads);
        assert_eq!(project.effective(&alias, &none, &none), reads);
        assert_eq!(project.with_requested().effective(&alias, &none, &none), reads);
    }
}
