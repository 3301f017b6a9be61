//! Grants as sets: what a request lacks, what two tables share, and what a plugin ends up with.
//!
//! Where two globs are too unlike to compare, the answer is the safe one: not covered, not shared.

use std::collections::BTreeSet;

use super::{FsGrant, Grants, HostPattern, HttpGrant, KvGrant, Method, Mount, PathPattern, SecretGrant};

impl Grants {
    /// What a plugin may do in the end.
    ///
    /// `requested` is the document's table, `None` when it has none; `project` comes from
    /// `cofferdam.toml` and remembered answers; `flags` from `--grant`. The document only narrows what the
    /// project allows. A flag is a person naming this plugin for this run, so it holds
    /// whatever the document asks for: the line that a denial prints always works.
    #[must_use]
    pub fn effective(requested: Option<&Self>, project: &Self, flags: &Self) -> Self {
        let narrowed = requested.map_or_else(|| project.clone(), |requested| requested.intersect(project));
        narrowed.union(flags)
    }

    /// The part of this request that `granted` does not cover; empty when all of it is covered.
    #[must_use]
    pub fn missing_from(&self, granted: &Self) -> Self {
        Self {
            http: self.http.iter().flat_map(|wanted| missing_http(wanted, &granted.http)).collect(),
            fs: FsGrant {
                read: self.fs.read && !granted.fs.read,
                write: self.fs.write && !granted.fs.write,
                out: self.fs.out && !granted.fs.out,
                also: self.fs.also.iter().filter_map(|mount| missing_mount(mount, &granted.fs.also)).collect(),
            },
            kv: self.kv.filter(|wanted| granted.kv.is_none_or(|given| given.scope < wanted.scope)),
            secrets: self
                .secrets
                .iter()
                .filter(|wanted| !granted.secrets.iter().any(|given| given.covers(wanted)))
                .cloned()
                .collect(),
            tools: self.tools.difference(&granted.tools).cloned().collect(),
        }
    }

    /// What both tables allow.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut http = Vec::new();
        for wanted in &self.http {
            for given in &other.http {
                http.extend(wanted.intersect(given).filter(|shared| !http.contains(shared)));
            }
        }
        Self {
            http,
            fs: self.fs.intersect(&other.fs),
            // A shorter life than was asked for would lose data silently: all or nothing.
            kv: self.kv.filter(|wanted| other.kv.is_some_and(|given| given.scope >= wanted.scope)),
            secrets: self.secrets.iter().filter_map(|secret| secret.intersect(&other.secrets)).collect(),
            tools: self.tools.intersection(&other.tools).cloned().collect(),
        }
    }

    /// What either table allows.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for grant in &other.http {
            if !both.http.contains(grant) {
                both.http.push(grant.clone());
            }
        }
        both.fs = self.fs.union(&other.fs);
        both.kv = match (self.kv, other.kv) {
            (Some(a), Some(b)) => Some(KvGrant { scope: a.scope.max(b.scope) }),
            (a, b) => a.or(b),
        };
        for secret in &other.secrets {
            if !both.secrets.iter().any(|given| given.covers(secret)) {
                both.secrets.retain(|given| given.name != secret.name);
                both.secrets.insert(secret.clone());
            }
        }
        both.tools.extend(other.tools.iter().cloned());
        both
    }
}

impl SecretGrant {
    fn covers(&self, wanted: &Self) -> bool {
        self.name == wanted.name && (self.reveal || !wanted.reveal)
    }

    fn intersect(&self, others: &BTreeSet<Self>) -> Option<Self> {
        let other = others.iter().find(|other| other.name == self.name)?;
        Some(Self { name: self.name.clone(), reveal: self.reveal && other.reveal })
    }
}

impl FsGrant {
    fn intersect(&self, other: &Self) -> Self {
        let shared = |mount: &Mount| {
            let given = other.also.iter().find(|given| mount.same_place(given))?;
            let both = Mount { read: mount.read && given.read, write: mount.write && given.write, ..mount.clone() };
            (both.read || both.write).then_some(both)
        };
        Self {
            read: self.read && other.read,
            write: self.write && other.write,
            out: self.out && other.out,
            also: self.also.iter().filter_map(shared).collect(),
        }
    }

    fn union(&self, other: &Self) -> Self {
        let mut also = self.also.clone();
        for mount in &other.also {
            match also.iter_mut().find(|mine| mine.at == mount.at) {
                Some(mine) if mine.same_place(mount) => {
                    mine.read |= mount.read;
                    mine.write |= mount.write;
                }
                // The other table names another directory for the same place: the later word counts.
                Some(mine) => *mine = mount.clone(),
                None => also.push(mount.clone()),
            }
        }
        Self { read: self.read || other.read, write: self.write || other.write, out: self.out || other.out, also }
    }
}

impl Mount {
    fn same_place(&self, other: &Self) -> bool {
        self.from == other.from && self.at == other.at
    }
}

fn missing_mount(wanted: &Mount, granted: &[Mount]) -> Option<Mount> {
    let given = granted.iter().find(|given| wanted.same_place(given));
    let read = wanted.read && !given.is_some_and(|given| given.read);
    let write = wanted.write && !given.is_some_and(|given| given.write);
    (read || write).then(|| Mount { read, write, ..wanted.clone() })
}

/// The methods and paths of one entry that no granted entry covers, as few entries as express it.
fn missing_http(wanted: &HttpGrant, granted: &[HttpGrant]) -> Vec<HttpGrant> {
    let paths = if wanted.paths.is_empty() { vec![None] } else { wanted.paths.iter().map(Some).collect() };
    let mut missing: Vec<HttpGrant> = Vec::new();
    for path in paths {
        let uncovered = |method: &&Method| !granted.iter().any(|given| given.covers(wanted, **method, path));
        let methods: BTreeSet<Method> = wanted.methods.iter().filter(uncovered).copied().collect();
        if methods.is_empty() {
            continue;
        }
        match missing.iter_mut().find(|entry| entry.methods == methods) {
            Some(entry) => entry.paths.extend(path.cloned()),
            None => missing.push(HttpGrant { methods, paths: path.cloned().into_iter().collect(), ..wanted.clone() }),
        }
    }
    missing
}

impl HttpGrant {
    /// Whether one method on one path (`None`: on all) of `wanted` is covered, with all that it asks for.
    fn covers(&self, wanted: &Self, method: Method, path: Option<&PathPattern>) -> bool {
        self.host.covers(&wanted.host)
            && self.scheme == wanted.scheme
            && self.effective_port() == wanted.effective_port()
            && self.methods.contains(&method)
            && self.covers_glob(path)
            && wanted.inject.iter().all(|rule| self.inject.contains(rule))
            && wanted.swap.iter().all(|rule| self.swap.contains(rule))
            && wanted.cidrs.iter().all(|block| self.cidrs.iter().any(|given| given.contains(block)))
    }

    fn covers_glob(&self, path: Option<&PathPattern>) -> bool {
        match path {
            _ if self.paths.is_empty() => true,
            Some(path) => self.paths.iter().any(|glob| glob.covers(path)),
            None => false,
        }
    }

    pub(super) fn intersect(&self, other: &Self) -> Option<Self> {
        if self.scheme != other.scheme || self.effective_port() != other.effective_port() {
            return None;
        }
        let host = narrower(&self.host, &other.host, HostPattern::covers)?.clone();
        let methods: BTreeSet<Method> = self.methods.intersection(&other.methods).copied().collect();
        let paths = match (self.paths.is_empty(), other.paths.is_empty()) {
            (true, _) => other.paths.clone(),
            (_, true) => self.paths.clone(),
            _ => pairs(&self.paths, &other.paths, PathPattern::covers),
        };
        let free = self.paths.is_empty() && other.paths.is_empty();
        if methods.is_empty() || (paths.is_empty() && !free) {
            return None;
        }
        let inject = self.inject.iter().filter(|rule| other.inject.contains(rule)).cloned().collect();
        let swap = self.swap.iter().filter(|rule| other.swap.contains(rule)).cloned().collect();
        let cidrs = pairs(&self.cidrs, &other.cidrs, |a, b| a.contains(b));
        Some(Self { host, scheme: self.scheme, port: self.port, methods, paths, inject, swap, cidrs })
    }
}

/// The one of two that the other covers.
fn narrower<'a, T>(a: &'a T, b: &'a T, covers: impl Fn(&T, &T) -> bool) -> Option<&'a T> {
    if covers(a, b) {
        Some(b)
    } else if covers(b, a) {
        Some(a)
    } else {
        None
    }
}

fn pairs<T: Clone + PartialEq>(left: &[T], right: &[T], covers: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut shared: Vec<T> = Vec::new();
    for a in left {
        for b in right {
            if let Some(both) = narrower(a, b, &covers)
                && !shared.contains(both)
            {
                shared.push(both.clone());
            }
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::tests::any_grants;
    use super::*;

    fn grants(table: &serde_json::Value) -> Grants {
        Grants::parse(table).unwrap()
    }

    #[test]
    fn a_request_without_grants_lacks_everything_and_gets_nothing() {
        let asked = grants(&json!({ "http": [{ "host": "a.com" }], "fs": { "read": true }, "kv": {} }));
        let nothing = Grants::default();
        assert_eq!(asked.missing_from(&nothing), asked);
        assert!(Grants::effective(Some(&asked), &nothing, &nothing).is_empty());
    }

    #[test]
    fn a_document_narrows_the_project_and_a_flag_adds() {
        let project = grants(
            &json!({ "http": [{ "host": "*.example.com", "methods": ["GET", "POST"] }], "fs": { "read": true } }),
        );
        let asked =
            grants(&json!({ "http": [{ "host": "a.example.com", "methods": ["GET", "DELETE"], "paths": ["/x/**"] }] }));
        let flags = grants(&json!({ "fs": { "out": true } }));
        let expected = grants(&json!({
            "http": [{ "host": "a.example.com", "methods": ["GET"], "paths": ["/x/**"] }], "fs": { "out": true },
        }));
        assert_eq!(Grants::effective(Some(&asked), &project, &flags), expected);
        assert_eq!(Grants::effective(None, &project, &Grants::default()), project);
        let lacking =
            grants(&json!({ "http": [{ "host": "a.example.com", "methods": ["DELETE"], "paths": ["/x/**"] }] }));
        assert_eq!(asked.missing_from(&project), lacking);
    }

    #[test]
    fn a_grant_for_less_does_not_cover_a_request_for_more() {
        for (asked, given) in [
            (json!({ "http": [{ "host": "*.a.com" }] }), json!({ "http": [{ "host": "x.a.com" }] })),
            (json!({ "http": [{ "host": "a.com" }] }), json!({ "http": [{ "host": "a.com", "paths": ["/x"] }] })),
            (json!({ "http": [{ "host": "a.com", "scheme": "http" }] }), json!({ "http": [{ "host": "a.com" }] })),
            (json!({ "http": [{ "host": "a.com", "port": 8443 }] }), json!({ "http": [{ "host": "a.com" }] })),
            (
                json!({ "http": [{ "host": "a.com", "cidrs": ["10.0.0.0/8"] }] }),
                json!({ "http": [{ "host": "a.com", "cidrs": ["10.0.0.0/16"] }] }),
            ),
            (json!({ "kv": { "scope": "project" } }), json!({ "kv": { "scope": "run" } })),
            (json!({ "secrets": [{ "name": "K", "reveal": true }] }), json!({ "secrets": ["K"] })),
            (
                json!({ "fs": { "also": [{ "from": "x", "at": "/in", "write": true }] } }),
                json!({ "fs": { "also": [{ "from": "x", "at": "/in", "read": true }] } }),
            ),
        ] {
            let (asked, given) = (grants(&asked), grants(&given));
            assert!(!asked.missing_from(&given).is_empty(), "{asked:?}");
            assert!(given.missing_from(&asked.union(&given)).is_empty());
        }
    }

    proptest! {
        #[test]
        fn the_laws_of_sets_hold(a in any_grants(), b in any_grants()) {
            prop_assert!(a.missing_from(&a).is_empty());
            prop_assert!(a.missing_from(&Grants::default()) == a);
            let shared = a.intersect(&b);
            prop_assert!(shared.missing_from(&a).is_empty(), "{shared:?}");
            prop_assert!(shared.missing_from(&b).is_empty(), "{shared:?}");
            prop_assert_eq!(a.intersect(&a).missing_from(&a), Grants::default());
            prop_assert!(a.missing_from(&a.union(&b)).fs.also.len() <= b.fs.also.len());
            prop_assert!(a.missing_from(&a.union(&b)).http.is_empty());
            prop_assert!(b.missing_from(&a.union(&b)).is_empty());
        }
    }
}
