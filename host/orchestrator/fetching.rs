//! Plugins of registries: fetched into the user's store when somebody asks for exactly that, and never by a run.
//!
//! What was locked stays what it is: it is taken from the store, else fetched by its manifest's digest, wherever the tag
//! points by now. It must not decide what is approved.

use super::Orchestrator;
use crate::error::Error;
use cofferdam_core::id::Alias;
use cofferdam_core::oci::Reference;
use cofferdam_plugin::{ComponentStore, Digest, Inspection, StoreError};
use cofferdam_registry::{Access, Client, Described, Progress, Pushed};
use std::sync::Arc;

/// Gives the access to the registry of a reference.
pub type RegistryAccess = Arc<dyn Fn(&Reference) -> Access + Send + Sync>;
/// Is told how far a transfer is.
pub type TransferReport = Arc<dyn Fn(&Reference, Progress) + Send + Sync>;

/// How registries are spoken to, and who is told how far a transfer is.
#[derive(Clone)]
pub struct Registries {
    /// The access to the registry of a reference.
    pub access: RegistryAccess,
    /// Told of each piece that came or went.
    pub report: TransferReport,
}

impl Default for Registries {
    fn default() -> Self {
        Self { access: Arc::new(|_| Access::default()), report: Arc::new(|_, _| ()) }
    }
}

/// What becomes of a plugin that is locked already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// It stays.
    #[default]
    Keep,
    /// What its tag points to now takes its place.
    Take,
}

/// What is to be fetched, beside the reference.
#[derive(Clone, Debug, Default)]
pub struct Wish<'a> {
    /// The name that it is locked under; none takes what is locked under any.
    pub alias: Option<&'a Alias>,
    /// The digest that its component must have, `sha256:...`.
    pub digest: Option<String>,
    /// Whether it may be another one than was locked.
    pub update: Update,
}

/// A component that is in the store.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The digest of the component.
    pub digest: String,
    /// The digest of its manifest, when it is known.
    pub manifest: Option<String>,
    /// Whether it came over the network just now.
    pub is_fresh: bool,
}

/// Why a plugin could not be fetched or pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The registry or the network.
    #[error("`{reference}`: {cause}")]
    Registry {
        /// What was asked for.
        reference: Box<Reference>,
        /// Why not.
        #[source]
        cause: Box<cofferdam_registry::Error>,
    },
    /// Another component than the one that was locked or pinned.
    #[error("`{reference}` is {found} now, and {expected} is locked")]
    Moved {
        /// What was asked for.
        reference: Box<Reference>,
        /// The digest that it must have.
        expected: String,
        /// The digest of what is there.
        found: String,
    },
    /// The store.
    #[error("a fetched plugin cannot be kept: {0}")]
    Store(String),
}

impl FetchError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry { cause, .. } => cause.hint(),
            Self::Moved { .. } => {
                Some("the tag was moved; `--update` takes what it points to now, after you looked at it".to_owned())
            }
            Self::Store(_) => None,
        }
    }
}

impl Orchestrator {
    /// Makes sure that the component of a reference is in the user's store, and says which it is.
    ///
    /// # Errors
    /// See [`FetchError`]; then the store is as it was.
    pub async fn fetch(&self, reference: &Reference, wish: Wish<'_>) -> Result<Fetched, Error> {
        let store = self.store()?;
        let locked = match wish.update {
            Update::Keep => self.approved_plugin(wish.alias, &reference.to_string())?,
            Update::Take => None,
        };
        let expected = wish.digest.or_else(|| locked.as_ref().map(|entry| entry.digest.clone()));
        // Of the manifest of another component nothing is wanted.
        let manifest = locked.filter(|entry| expected.as_ref() == Some(&entry.digest)).and_then(|entry| entry.manifest);
        if let Some(expected) = &expected
            && self.is_kept(&store, expected)
        {
            return Ok(Fetched { digest: expected.clone(), manifest, is_fresh: false });
        }
        let failed = |cause| registry_error(reference, cause);
        let mut client = Client::new(reference, (self.registries().access)(reference)).map_err(failed)?;
        let report = |progress| (self.registries().report)(reference, progress);
        let pulled = client.pull(manifest.as_deref(), report).await.map_err(failed)?;
        if let Some(expected) = expected.filter(|expected| *expected != pulled.digest) {
            let (reference, found) = (Box::new(reference.clone()), pulled.digest);
            return Err(FetchError::Moved { reference, expected, found }.into());
        }
        let kept = store.put(&pulled.component);
        let digest = kept.map_err(|error| FetchError::Store(format!("{}: {error}", store.directory().display())))?;
        Ok(Fetched { digest: digest.to_string(), manifest: Some(pulled.manifest), is_fresh: true })
    }

    /// Puts a component into a registry, under the tag of the reference. What it is was found out before.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn push(&self, reference: &Reference, component: Vec<u8>, plugin: &Inspection) -> Result<Pushed, Error> {
        let failed = |cause| registry_error(reference, cause);
        let mut client = Client::new(reference, (self.registries().access)(reference)).map_err(failed)?;
        let report = |progress| (self.registries().report)(reference, progress);
        let pushed = client.push(component.into(), &described(plugin), report).await;
        pushed.map_err(failed)
    }

    /// Where fetched components are, unless there is no place of the user's own.
    pub fn store(&self) -> Result<ComponentStore, Error> {
        let dirs = self.shared.settings.user_dirs.as_ref();
        let none = || FetchError::Store("there is no directory for it; HOME is not set".to_owned());
        Ok(crate::compose::component_store(dirs.ok_or_else(none)?))
    }

    /// Whether a component can be taken from the store. A damaged one is fetched again.
    fn is_kept(&self, store: &ComponentStore, digest: &str) -> bool {
        let Ok(digest) = Digest::parse(digest) else { return false };
        match store.has(digest) {
            Ok(has) => has,
            Err(error @ (StoreError::Changed { .. } | StoreError::Unreadable { .. } | StoreError::Absent(_))) => {
                tracing::warn!(%error, "it is fetched again");
                false
            }
        }
    }

    fn registries(&self) -> &Registries {
        &self.shared.settings.registries
    }
}

fn registry_error(reference: &Reference, cause: cofferdam_registry::Error) -> Error {
    FetchError::Registry { reference: Box::new(reference.clone()), cause: Box::new(cause) }.into()
}

fn described(plugin: &Inspection) -> Described {
    let imports = plugin.imports.iter().map(|import| import.interface.clone());
    Described {
        id: plugin.about.id.clone(),
        version: plugin.about.version.clone(),
        description: plugin.about.summary.clone(),
        imports: imports.chain(plugin.baseline.iter().cloned()).collect(),
        exports: plugin.exports.clone(),
    }
}
