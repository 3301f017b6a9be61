//! What a plugin may do: the grants table, parsed, compared, narrowed and explained. Deny by default.
//!
//! One table serves everywhere: the `grants` of a document (requests), of `cofferdam.toml`, of a
//! `--grant` flag and of a remembered answer. It must not know YAML, TOML or files, and it enforces
//! nothing: the plugin host and the egress ask it.

mod explain;
mod flag;
mod host;
mod http;
mod limits;
mod narrow;
mod parse;
mod path;
mod reader;
mod set;
mod trust;

pub use flag::parse_flag;
pub use host::HostPattern;
pub use http::{HttpGrant, Injection, Method, RequestPart, Scheme, Swap};
pub use limits::{HttpLimits, KindLimits, PluginKind, PluginLimits};
pub use narrow::{Narrowing, Narrowings};
pub use path::{PathFault, PathPattern, normal_path};
pub use trust::Trust;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::id::ToolName;

/// Everything a plugin may do beyond computing, logging and reading its own configuration.
///
/// The default is nothing. `Serialize` writes the shape that [`Grants::parse`] reads, so that a
/// remembered answer is read back through the same checks as a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Requests that may leave the machine, each entry an independent permission.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpGrant>,
    /// Directories that are visible to the plugin.
    #[serde(skip_serializing_if = "FsGrant::is_empty")]
    pub fs: FsGrant,
    /// The key-value store, always private to the plugin's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv: Option<KvGrant>,
    /// Secrets that may be named; their values stay hidden unless `reveal` says otherwise.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretGrant>,
    /// Tools of the workflow that the plugin may call in turn.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tools: BTreeSet<ToolName>,
}

/// Directories that a plugin sees. No path outside them can be named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FsGrant {
    /// The step's directory, mounted at `/step`, may be read.
    #[serde(skip_serializing_if = "is_false")]
    pub read: bool,
    /// The step's directory may be written.
    #[serde(skip_serializing_if = "is_false")]
    pub write: bool,
    /// The run's output directory, mounted at `/out`, may be read and written.
    #[serde(skip_serializing_if = "is_false")]
    pub out: bool,
    /// Further directories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Mount>,
}

/// One further directory of the host, shown to a plugin at a path of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// The host's directory as it was written: absolute, or relative to the project, or a template
    /// that the caller renders before it compares or opens anything.
    pub from: String,
    /// The guest's path: absolute, without `.` and `..`, and neither `/step` nor `/out`.
    pub at: String,
    /// May be read.
    #[serde(skip_serializing_if = "is_false")]
    pub read: bool,
    /// May be written.
    #[serde(skip_serializing_if = "is_false")]
    pub write: bool,
}

/// Use of the key-value store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KvGrant {
    /// How long the data lives and who shares it.
    pub scope: KvScope,
}

/// The life of key-value data, from the shortest to the longest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KvScope {
    /// For the tries of one step; gone with its run.
    Step,
    /// For all steps of a run; gone when the run has completed, or is deleted.
    #[default]
    Run,
    /// Kept for the project.
    Project,
}

impl KvScope {
    /// The word used in documents and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Run => "run",
            Self::Project => "project",
        }
    }
}

/// Permission to refer to one secret by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SecretGrant {
    /// The secret's name.
    pub name: String,
    /// Whether the guest may read the value itself. Off unless it was asked for by name.
    #[serde(skip_serializing_if = "is_false")]
    pub reveal: bool,
}

/// A fault in a grants or limits table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}{message}", PathPrefix(path))]
pub struct PolicyError {
    /// Where, from the table's root: `http[0].methods[1]`; empty for the table itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

struct PathPrefix<'a>(&'a str);

impl std::fmt::Display for PathPrefix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

impl PolicyError {
    pub(crate) fn new(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Grants {
    /// Whether nothing at all is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names of all secrets that it speaks of.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let requests = self.http.iter();
        let of_requests = requests.flat_map(|grant| {
            let injected = grant.inject.iter().map(|rule| rule.secret.as_str());
            injected.chain(grant.swap.iter().map(|rule| rule.secret.as_str()))
        });
        self.secrets.iter().map(|secret| secret.name.as_str()).chain(of_requests)
    }
}

impl FsGrant {
    /// Whether no directory is visible.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Grants of every shape, built through the parser so that only valid ones appear.
    pub(crate) fn any_grants() -> impl Strategy<Value = Grants> {
        let http = prop::collection::vec(any_http(), 0..4);
        let fs = (any::<bool>(), any::<bool>(), any::<bool>(), prop::collection::vec(any_mount(), 0..2));
        let kv = prop::option::of(prop::sample::select(vec!["step", "run", "project"]));
        let names = prop::collection::vec("[a-z]{1,4}", 0..3);
        let secrets = prop::collection::btree_map("[A-Z]{1,4}", any::<bool>(), 0..3);
        (http, fs, kv, names, secrets).prop_map(|(http, (read, write, out, also), kv, tools, secrets)| {
            let mut mounts: Vec<Value> = Vec::new();
            for (index, (from, read)) in also.into_iter().enumerate() {
                mounts.push(json!({ "from": from, "at": format!("/in{index}"), "read": read, "write": !read }));
            }
            let secrets: Vec<Value> =
                secrets.into_iter().map(|(name, reveal)| json!({ "name": name, "reveal": reveal })).collect();
            let mut table = json!({
                "http": http, "tools": tools, "secrets": secrets,
                "fs": { "read": read, "write": write, "out": out, "also": mounts },
            });
            if let Some(scope) = kv {
                table["kv"] = json!({ "scope": scope });
            }
            Grants::parse(&table).expect("the strategy writes valid tables")
        })
    }

    fn any_mount() -> impl Strategy<Value = (String, bool)> {
        ("[ -~]{1,12}".prop_filter("has a name", |text| !text.trim().is_empty()), any::<bool>())
    }

    fn any_http() -> impl Strategy<Value = Value> {
        let host = prop::sample::select(vec![
            "a.example.com",
            "b.example.com",
            "*.example.com",
            "*.a.example.com",
            "127.0.0.1",
            "[::1]",
            "localhost",
        ]);
        let methods = prop::collection::vec(prop::sample::select(vec!["GET", "HEAD", "POST", "DELETE"]), 1..4);
        let paths = prop::collection::vec(
            prop::sample::select(vec!["/**", "/repos/**", "/repos/*/x", "/re*", "/a,b%2Cc", "/", "/a%2A/é"]),
            0..3,
        );
        let inject = prop::option::of(
            "[ -~]{0,6}\\{\\}[ -~]{0,3}".prop_filter("one hole", |text| text.matches("{}").count() == 1),
        );
        let cidrs = prop::collection::vec(prop::sample::select(vec!["10.0.0.0/8", "::1/128", "10.1.0.0/16"]), 0..2);
        (host, prop::option::of(1_u16..), any::<bool>(), (methods, paths), (inject, cidrs)).prop_map(
            |(host, port, plain, (methods, paths), (inject, cidrs))| {
                let scheme = if plain { "http" } else { "https" };
                let inject: Vec<Value> = inject
                    .map(|format| json!({ "secret": "KEY", "header": "X-Key", "format": format }))
                    .into_iter()
                    .collect();
                let swap: Vec<Value> = inject.iter().map(|_| json!({ "secret": "KEY", "in": "body" })).collect();
                let mut entry = json!({
                    "swap": swap, "host": host, "scheme": scheme, "methods": methods, "paths": paths,
                    "inject": inject, "cidrs": cidrs,
                });
                if let Some(port) = port {
                    entry["port"] = json!(port);
                }
                entry
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_serialised_is_parsed_back(grants in any_grants()) {
            let value = serde_json::to_value(&grants).expect("grants are plain data");
            prop_assert_eq!(Grants::parse(&value), Ok(grants));
        }
    }

    #[test]
    fn the_default_grants_nothing() {
        assert!(Grants::default().is_empty());
        assert_eq!(Grants::parse(&Value::Null), Ok(Grants::default()));
        assert_eq!(serde_json::to_value(Grants::default()).unwrap(), json!({}));
    }

    #[test]
    fn an_error_says_where_and_what() {
        let error = PolicyError::new("http[0].host", "`x y` is not a host");
        assert_eq!(error.to_string(), "http[0].host: `x y` is not a host");
        assert_eq!(PolicyError::new("", "expected a table").to_string(), "expected a table");
    }
}
