//! Why a plugin could not be loaded, and what to do about it.
//!
//! It must not know calls: what happens after loading is a `Fault` of its own.

use crate::about::AboutError;
use crate::artifact::{Digest, ReadError};
use crate::compile::CompileError;
use crate::manifest::ManifestError;
use crate::scan::ScanError;
use crate::store::StoreError;
use crate::version::{Mismatch, NEWER, REBUILD};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::Alias;
use cofferdam_core::policy::PolicyError;
use cofferdam_core::spec::suggest::did_you_mean;
use serde_json::json;

/// A plugin that could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{alias}` (`{origin}`) cannot be loaded: {fault}")]
pub struct LoadError {
    alias: Alias,
    origin: String,
    #[source]
    fault: Box<LoadFault>,
}

impl LoadError {
    pub(crate) fn new(alias: Alias, origin: String, fault: LoadFault) -> Self {
        Self { alias, origin, fault: Box::new(fault) }
    }

    /// What the document calls the plugin.
    #[must_use]
    pub fn alias(&self) -> &Alias {
        &self.alias
    }

    /// What is wrong.
    #[must_use]
    pub fn reason(&self) -> &LoadFault {
        &self.fault
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.fault.hint()
    }

    /// The error as a fault of a run.
    #[must_use]
    pub fn to_fault(&self) -> Fault {
        let class = match &*self.fault {
            LoadFault::Host(_) => Class::Bug,
            // It found no slot in time, say.
            LoadFault::Describe(fault) if fault.class == Class::Retry => Class::Retry,
            _ => Class::User,
        };
        let fault = Fault::new(class, self.fault.code(), self.to_string())
            .with_detail(json!({ "plugin": self.alias.as_str(), "source": self.origin }));
        match self.hint() {
            Some(hint) => fault.with_hint(hint),
            None => fault,
        }
    }
}

/// What is wrong with a plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadFault {
    /// Its bytes cannot be had.
    #[error("{0}")]
    Read(#[source] ReadError),
    /// There is no such component in this program.
    #[error("there is no builtin plugin `{0}`")]
    NoBuiltin(String),
    /// It comes from a registry, and nobody said which component that is.
    #[error("it was never fetched: neither a lock file nor `digest:` says which component that reference leads to")]
    Unpinned {
        /// What fetches it.
        command: String,
    },
    /// It was to be fetched before, and what is there cannot be used.
    #[error("{cause}")]
    Fetched {
        /// What is the matter with it.
        #[source]
        cause: StoreError,
        /// What fetches it.
        command: String,
    },
    /// It is not the component that was pinned.
    #[error("its digest is {found}, and {expected} is expected")]
    Digest {
        /// The pinned one.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// It is no component, or one that is refused unseen.
    #[error("{0}")]
    Scan(#[source] ScanError),
    /// It does not fit this host.
    #[error("{0}")]
    Manifest(#[source] ManifestError),
    /// It is larger than plugins of its kind may be.
    #[error("it is larger than the {} MiB of a transform or condition", .0 >> 20)]
    Size(u64),
    /// It has more or larger parts than instances get.
    #[error("it has more or larger parts than a plugin may: {0}")]
    Parts(String),
    /// It cannot be compiled.
    #[error("{0}")]
    Compile(#[source] CompileError),
    /// An interface has the right name and the wrong types.
    #[error("its interfaces do not have the types of this host's: {reason}")]
    Interface {
        /// What differs.
        reason: String,
        /// An interface that it wants in a later version than the one that is served, if there is one: what it lacks may
        /// be there.
        later: Option<Mismatch>,
    },
    /// It failed to say what it is.
    #[error("{0}")]
    Describe(#[source] Box<Fault>),
    /// What it says it is is not acceptable.
    #[error("{0}")]
    About(#[source] AboutError),
    /// Its configuration does not fit its schema.
    #[error("its configuration is not valid, {0}")]
    Config(String),
    /// It takes no configuration and got one.
    #[error("it takes no configuration")]
    NoConfig,
    /// A limit is above the host's own.
    #[error("its limits are not acceptable: {}", first(.0))]
    Limits(Vec<PolicyError>),
    /// A grant that no plugin can be given.
    #[error("its grants cannot be kept: {0}")]
    Unserved(&'static str),
    /// A further directory cannot be given.
    #[error("the directory `{from}` of its `fs.also` cannot be given: {reason}")]
    Mount {
        /// The directory as it was granted.
        from: String,
        /// Why not.
        reason: String,
    },
    /// The host failed.
    #[error("the plugin host failed: {0}")]
    Host(String),
}

fn first(errors: &[PolicyError]) -> String {
    errors.first().map(ToString::to_string).unwrap_or_default()
}

impl LoadFault {
    /// Stable, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "plugin_unreadable",
            Self::NoBuiltin(_) => "plugin_unknown_builtin",
            Self::Unpinned { .. } | Self::Fetched { cause: StoreError::Absent(_), .. } => "plugin_not_fetched",
            Self::Fetched { cause: StoreError::Changed { .. }, .. } => "plugin_digest",
            Self::Fetched { .. } => "plugin_unreadable",
            Self::Digest { .. } => "plugin_digest",
            Self::Scan(_) | Self::Size(_) | Self::Parts(_) => "plugin_malformed",
            Self::Manifest(ManifestError::UnknownImport(_)) => "plugin_unknown_import",
            Self::Manifest(ManifestError::Version(_)) => "plugin_version",
            Self::Manifest(_) => "plugin_kind",
            Self::Compile(CompileError::Invalid(_)) => "plugin_malformed",
            Self::Compile(_) => "plugin_compile",
            Self::Interface { .. } => "plugin_interface",
            Self::Describe(_) | Self::About(_) => "plugin_describe",
            Self::Config(_) | Self::NoConfig => "plugin_config",
            Self::Limits(_) => "plugin_limits",
            Self::Unserved(_) | Self::Mount { .. } => "plugin_grants",
            Self::Host(_) => "internal",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Scan(error) => error.hint().map(str::to_owned),
            Self::Manifest(error) => error.hint(),
            Self::Describe(fault) => fault.hint.clone(),
            Self::Interface { later: Some(later), .. } => {
                let (wanted, served) = (later.interface(), later.served());
                Some(format!("it wants `{wanted}`, and this host serves {served}: {NEWER}"))
            }
            Self::Interface { later: None, .. } => Some(REBUILD.to_owned()),
            Self::Limits(errors) => errors.first().and_then(|error| error.hint.clone()),
            Self::Digest { .. } => {
                Some("the file was changed since it was pinned; check it, then pin its new digest".to_owned())
            }
            Self::Unpinned { command } | Self::Fetched { command, .. } => Some(format!(
                "nothing is fetched by a run; `{command}` fetches it, or `cofferdam plugin lock` of the document"
            )),
            Self::NoBuiltin(name) => {
                let names: Vec<&str> = crate::builtin::ALL.iter().map(|builtin| builtin.name).collect();
                Some(
                    did_you_mean(name, names.iter().copied())
                        .unwrap_or_else(|| format!("there are {}", names.join(", "))),
                )
            }
            Self::Host(_) => Some("this is a bug in Cofferdam; please report it".to_owned()),
            _ => None,
        }
    }
}
