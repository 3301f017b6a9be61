//! Which interfaces a component wants and offers, against those that this host serves.
//!
//! It must not run or compile anything: it compares names.

use crate::scan::{Interpreter, Outline};
use crate::version::{self, Mismatch, Mismatches};
use cofferdam_core::policy::PluginKind;
use serde::Serialize;

const LIFECYCLE: &str = "cofferdam:plugin/lifecycle";
const TYPES: &str = "cofferdam:types/common";

const KINDS: [(&str, PluginKind); 7] = [
    ("cofferdam:tool/tool", PluginKind::Tool),
    ("cofferdam:transform/transform", PluginKind::Transform),
    ("cofferdam:transform/condition", PluginKind::Condition),
    ("cofferdam:sink/sink", PluginKind::Sink),
    ("cofferdam:storage/storage", PluginKind::Storage),
    ("cofferdam:model/model", PluginKind::Model),
    ("cofferdam:recall/recall", PluginKind::Recall),
];

/// The word for a kind.
pub(crate) fn kind_name(kind: PluginKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("plugin", |(name, _)| short(name))
}

fn short(interface: &str) -> &str {
    interface.rsplit_once('/').map_or(interface, |(_, name)| name)
}

/// A thing that a plugin may be allowed to do. Each has one import, or several of WASI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// Writing log lines. Never needs a grant.
    Log,
    /// Reading its own configuration. Never needs a grant.
    Config,
    /// Progress and cancellation. Never needs a grant.
    RunControl,
    /// Requests to granted hosts.
    Http,
    /// Files in granted directories.
    Fs,
    /// The key-value store.
    Kv,
    /// Using secrets without seeing them.
    Secrets,
    /// Seeing secrets.
    SecretsReveal,
    /// Large values.
    Blobs,
    /// Calling other tools.
    Tools,
    /// What the standard library of every language imports, linked as closed doors.
    Baseline,
}

impl Capability {
    /// Whether the policy decides about it.
    #[must_use]
    pub fn needs_grant(self) -> bool {
        matches!(self, Self::Http | Self::Fs | Self::Kv | Self::Secrets | Self::SecretsReveal | Self::Tools)
    }

    /// Whether this host does it yet, or answers `unsupported`.
    #[must_use]
    pub fn is_served(self) -> bool {
        match self {
            Self::Log | Self::Config | Self::RunControl | Self::Http | Self::Fs | Self::Kv | Self::Baseline => true,
            Self::Secrets | Self::SecretsReveal | Self::Blobs | Self::Tools => true,
        }
    }

    /// The word of the grants table and of `plugin inspect`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Config => "config",
            Self::RunControl => "run-control",
            Self::Http => "http",
            Self::Fs => "fs",
            Self::Kv => "kv",
            Self::Secrets => "secrets",
            Self::SecretsReveal => "secrets-reveal",
            Self::Blobs => "blobs",
            Self::Tools => "tools",
            Self::Baseline => "baseline",
        }
    }
}

const HOST: [(&str, Capability); 9] = [
    ("log", Capability::Log),
    ("config", Capability::Config),
    ("run-control", Capability::RunControl),
    ("http", Capability::Http),
    ("kv", Capability::Kv),
    ("secrets", Capability::Secrets),
    ("secrets-reveal", Capability::SecretsReveal),
    ("blobs", Capability::Blobs),
    ("tools", Capability::Tools),
];

/// The linked part of WASI. HTTP is left out on purpose: wanting it is a load error that says so. Sockets are there because
/// interpreters import them whether or not a script uses them; nobody gets one (`import/sockets.rs`).
const WASI: [(&str, Capability); 26] = [
    ("wasi:cli/environment", Capability::Baseline),
    ("wasi:cli/exit", Capability::Baseline),
    ("wasi:cli/stdin", Capability::Baseline),
    ("wasi:cli/stdout", Capability::Baseline),
    ("wasi:cli/stderr", Capability::Baseline),
    ("wasi:cli/terminal-input", Capability::Baseline),
    ("wasi:cli/terminal-output", Capability::Baseline),
    ("wasi:cli/terminal-stdin", Capability::Baseline),
    ("wasi:cli/terminal-stdout", Capability::Baseline),
    ("wasi:cli/terminal-stderr", Capability::Baseline),
    ("wasi:clocks/monotonic-clock", Capability::Baseline),
    ("wasi:clocks/wall-clock", Capability::Baseline),
    ("wasi:io/error", Capability::Baseline),
    ("wasi:io/poll", Capability::Baseline),
    ("wasi:io/streams", Capability::Baseline),
    ("wasi:random/random", Capability::Baseline),
    ("wasi:random/insecure-seed", Capability::Baseline),
    ("wasi:sockets/network", Capability::Baseline),
    ("wasi:sockets/instance-network", Capability::Baseline),
    ("wasi:sockets/ip-name-lookup", Capability::Baseline),
    ("wasi:sockets/tcp", Capability::Baseline),
    ("wasi:sockets/tcp-create-socket", Capability::Baseline),
    ("wasi:sockets/udp", Capability::Baseline),
    ("wasi:sockets/udp-create-socket", Capability::Baseline),
    ("wasi:filesystem/types", Capability::Fs),
    ("wasi:filesystem/preopens", Capability::Fs),
];

/// Why a component does not fit this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It wants other versions of interfaces.
    #[error("{0}")]
    Version(Mismatches),
    /// It wants an interface that does not exist here.
    #[error("it imports `{0}`, which this host does not have")]
    UnknownImport(String),
    /// It is a component, but no plugin.
    #[error("it is a component but no Cofferdam plugin: it exports none of the plugin interfaces")]
    NotAPlugin,
    /// It is pure and wants what only others may have.
    #[error("it imports `{import}`, and a plugin of kind {kind} may use `log` and `config` only")]
    NotPure {
        /// What it imports.
        import: String,
        /// What it is.
        kind: String,
    },
    /// It lacks the interface that all plugins have.
    #[error("it does not export `{LIFECYCLE}@{}`", version::served(LIFECYCLE).unwrap_or_default())]
    NoLifecycle,
}

impl ManifestError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Version(mismatches) => Some(mismatches.hint()),
            Self::UnknownImport(name) if name.starts_with("wasi:http") => {
                Some("plugins reach the network through `cofferdam:host/http` only".to_owned())
            }
            Self::NotAPlugin => {
                Some("export `cofferdam:tool/tool` or another kind, which `cofferdam_sdk::plugin!` does".to_owned())
            }
            Self::NotPure { .. } => Some("do what has effects in a tool".to_owned()),
            Self::UnknownImport(name) => version::later([name.as_str()]).map(|_| version::NEWER.to_owned()),
            Self::NoLifecycle => None,
        }
    }
}

/// What a component wants and offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) kinds: Vec<PluginKind>,
    pub(crate) imports: Vec<Import>,
    pub(crate) exports: Vec<String>,
    pub(crate) interpreter: Option<Interpreter>,
}

/// One import and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Import {
    /// The interface with its version, as the component names it.
    pub interface: String,
    /// The version that this host serves.
    pub served: &'static str,
    /// What it is for.
    pub capability: Capability,
}

impl Manifest {
    /// Reads what the outline says, and refuses what cannot be served.
    pub(crate) fn read(outline: &Outline) -> Result<Self, ManifestError> {
        // Before names that are not known: those of a later contract are not.
        let kinds = kinds(outline)?;
        let mut imports = Vec::new();
        for name in &outline.imports {
            imports.extend(import(name)?);
        }
        let exports = outline.exports.clone();
        let manifest = Self { kinds, imports, exports, interpreter: outline.interpreter };
        manifest.require_pure()?;
        Ok(manifest)
    }

    /// Every interface that it wants or offers, with its version.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.imports.iter().map(|import| import.interface.as_str()).chain(self.exports.iter().map(String::as_str))
    }

    /// Whether it is a plugin of this kind.
    pub(crate) fn is(&self, kind: PluginKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// What has effects cannot be called again after a crash. A component that is also a tool may import what that
    /// needs; as a transform it is denied all of it.
    fn require_pure(&self) -> Result<(), ManifestError> {
        let effectful = |import: &&Import| {
            !matches!(
                import.capability,
                // Files are the closed door of every standard library: there is no directory.
                Capability::Log | Capability::Config | Capability::Baseline | Capability::Fs
            )
        };
        match self.imports.iter().find(effectful) {
            Some(import) if self.is_only_pure() => {
                Err(ManifestError::NotPure { import: import.interface.clone(), kind: self.names() })
            }
            _ => Ok(()),
        }
    }

    fn is_only_pure(&self) -> bool {
        self.kinds.iter().all(|kind| matches!(kind, PluginKind::Transform | PluginKind::Condition))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind_name(*kind)).collect();
        names.join(", ")
    }

    /// The capabilities that it imports, each once.
    pub(crate) fn capabilities(&self) -> Vec<Capability> {
        let mut found: Vec<Capability> = self.imports.iter().map(|import| import.capability).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What an import stands for; none for types, which have nothing behind them. Its version is looked at elsewhere.
fn import(name: &str) -> Result<Option<Import>, ManifestError> {
    let interface = split(name).0;
    if interface == TYPES {
        return Ok(None);
    }
    let ours = interface.strip_prefix("cofferdam:host/").and_then(|short| find(&HOST, short));
    let capability = ours.or_else(|| find(&WASI, interface));
    let capability = capability.ok_or_else(|| ManifestError::UnknownImport(name.to_owned()))?;
    let served = version::served(interface).unwrap_or_default();
    Ok(Some(Import { interface: name.to_owned(), served, capability }))
}

/// The kinds that it has in a version that is served. Others than those beside it are for other hosts; imports have to
/// be there, each of them.
fn kinds(outline: &Outline) -> Result<Vec<PluginKind>, ManifestError> {
    let (mut kinds, mut mismatches) = (Vec::new(), Vec::new());
    for (interface, kind) in KINDS {
        match offered(&outline.exports, interface) {
            Offer::Served => kinds.push(kind),
            Offer::Others(others) => mismatches.extend(others),
            Offer::None => {}
        }
    }
    let lifecycle = match offered(&outline.exports, LIFECYCLE) {
        Offer::Served => true,
        Offer::Others(others) => {
            mismatches.extend(others);
            true
        }
        Offer::None => false,
    };
    mismatches.extend(outline.imports.iter().filter_map(|name| mismatch(name)));
    match (mismatches.is_empty(), kinds.is_empty(), lifecycle) {
        (false, ..) => Err(ManifestError::Version(Mismatches(mismatches))),
        (true, true, _) => Err(ManifestError::NotAPlugin),
        (true, false, false) => Err(ManifestError::NoLifecycle),
        (true, false, true) => Ok(kinds),
    }
}

/// In which versions an interface is exported.
enum Offer {
    /// In one that is served, perhaps beside others.
    Served,
    /// In these only, which are not served.
    Others(Vec<Mismatch>),
    /// In none.
    None,
}

fn offered(exports: &[String], interface: &str) -> Offer {
    let versions: Vec<Option<Mismatch>> =
        exports.iter().filter(|name| split(name).0 == interface).map(|name| mismatch(name)).collect();
    if versions.is_empty() {
        return Offer::None;
    }
    // One that fits is enough.
    versions.into_iter().collect::<Option<Vec<Mismatch>>>().map_or(Offer::Served, Offer::Others)
}

/// None as well for a name that is not known in any version.
fn mismatch(name: &str) -> Option<Mismatch> {
    let (interface, wanted) = split(name);
    if interface.starts_with("wasi:") && find(&WASI, interface).is_none() {
        return None;
    }
    let served = version::served(interface)?;
    (!version::fits(wanted, served)).then(|| Mismatch::new(name, served))
}

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(imports: &[&str], exports: &[&str]) -> Result<Manifest, ManifestError> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Manifest::read(&Outline { imports: own(imports), exports: own(exports), interpreter: None })
    }

    const TOOL: [&str; 2] = ["cofferdam:plugin/lifecycle@0.1.0", "cofferdam:tool/tool@0.1.0"];

    #[test]
    fn a_tool_is_recognised_with_what_it_wants() {
        let imports = ["cofferdam:host/http@0.1.0", "wasi:cli/environment@0.2.3", "wasi:filesystem/types@0.2.3"];
        let manifest = read(&imports, &TOOL).unwrap();
        assert_eq!(manifest.kinds, [PluginKind::Tool]);
        assert_eq!(manifest.capabilities(), [Capability::Http, Capability::Fs, Capability::Baseline]);
    }

    #[test]
    fn another_version_is_named_with_the_one_that_is_served() {
        let error = read(&[], &[TOOL[0], "cofferdam:tool/tool@0.2.0"]).unwrap_err();
        assert_eq!(error.to_string(), "it wants `cofferdam:tool/tool@0.2.0`, and this host serves 0.1.0");
        assert!(read(&["cofferdam:host/log@1.0.0"], &TOOL).is_err());
        assert!(read(&["cofferdam:types/common@0.2.0"], &TOOL).is_err());
        assert!(read(&["cofferdam:host/log@0.1.9", "cofferdam:types/common@0.1.1"], &TOOL).is_ok());
        assert!(read(&["wasi:cli/environment@0.3.0"], &TOOL).is_err());
    }

    #[test]
    fn an_export_may_stand_there_in_several_versions_and_an_import_may_not() {
        let both = [TOOL[0], "cofferdam:plugin/lifecycle@1.0.0", "cofferdam:tool/tool@1.0.0", TOOL[1]];
        assert_eq!(read(&[], &both).unwrap().kinds, [PluginKind::Tool]);
        let twice = [TOOL[0], TOOL[1], "cofferdam:tool/tool@0.1.1"];
        assert_eq!(read(&[], &twice).unwrap().kinds, [PluginKind::Tool]);
        assert!(read(&["cofferdam:host/log@0.1.0", "cofferdam:host/log@1.0.0"], &TOOL).is_err());
        // Not even as a kind beside one that could be used: it would be missed where it is asked for.
        assert!(read(&[], &[TOOL[0], TOOL[1], "cofferdam:sink/sink@0.2.0"]).is_err());
        let error = read(&["cofferdam:host/kv@0.2.0"], &[TOOL[0], "cofferdam:tool/tool@0.2.0"]).unwrap_err();
        let text = "it wants `cofferdam:tool/tool@0.2.0` and `cofferdam:host/kv@0.2.0`, and this host serves 0.1.0";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn an_unknown_import_is_named() {
        for name in [
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:sockets/raw@0.2.0",
            "cofferdam:host/shell@0.1.0",
            "evil:thing/x",
            "plain",
        ] {
            assert_eq!(read(&[name], &TOOL), Err(ManifestError::UnknownImport(name.to_owned())));
        }
    }

    #[test]
    fn what_is_no_tool_says_what_it_is() {
        assert_eq!(read(&[], &["wasi:cli/run@0.2.0"]), Err(ManifestError::NotAPlugin));
        assert_eq!(read(&[], &[TOOL[1]]), Err(ManifestError::NoLifecycle));
        let engine = read(&[], &[TOOL[0], "cofferdam:engine/engine@0.1.0"]);
        let later = read(&["cofferdam:host/clock@0.1.1"], &TOOL).unwrap_err();
        assert_eq!(later.hint().as_deref(), Some(version::NEWER));
        let next = read(&["cofferdam:host/clock@0.2.0"], &TOOL).unwrap_err().to_string();
        assert_eq!(next, "it wants `cofferdam:host/clock@0.2.0`, and this host serves 0.1.0");
        assert_eq!(engine, Err(ManifestError::NotAPlugin));
    }

    #[test]
    fn what_is_pure_may_import_nothing_with_effects() {
        let pure = [TOOL[0], "cofferdam:transform/transform@0.1.0", "cofferdam:transform/condition@0.1.0"];
        let closed = ["cofferdam:host/log@0.1.0", "cofferdam:host/config@0.1.0", "wasi:filesystem/types@0.2.3"];
        assert_eq!(read(&closed, &pure).unwrap().kinds, [PluginKind::Transform, PluginKind::Condition]);
        let error = read(&["cofferdam:host/http@0.1.0"], &pure).unwrap_err().to_string();
        assert_eq!(
            error,
            "it imports `cofferdam:host/http@0.1.0`, and a plugin of kind transform, condition may use `log` and `config` only"
        );
        assert!(read(&["cofferdam:host/http@0.1.0"], &[TOOL[0], TOOL[1], pure[1]]).is_ok());
    }
}
