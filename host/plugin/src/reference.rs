//! Which plugin is wanted, and with what: the resolved form of an entry of `plugins:`.
//!
//! It must not know how documents or settings spell it.

use crate::artifact::Digest;
use crate::error::LoadFault;
use crate::manifest::Manifest;
use cofferdam_core::id::Alias;
use cofferdam_core::oci;
use cofferdam_core::policy::{Grants, KindLimits, PluginKind, PluginLimits, Trust};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A file, and how the user spelled it.
    File {
        /// Where it is.
        path: PathBuf,
        /// What messages call it.
        shown: String,
    },
    /// A component that is part of this program: `builtin:NAME`.
    Builtin(String),
    /// An artifact in a registry: `oci://HOST/REPOSITORY:TAG`. Its component must have been fetched, and its digest be
    /// known; nothing is fetched to load it.
    Registry(Box<oci::Reference>),
    /// Bytes that an embedder has at hand.
    Bytes(Arc<[u8]>),
}

/// Text that names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It is no source at all.
    #[error("`{given}` is not a source of plugins{reason}")]
    Unknown {
        /// The text.
        given: String,
        /// Why not.
        reason: &'static str,
    },
    /// It names nothing in a registry.
    #[error(transparent)]
    Registry(#[from] oci::ReferenceError),
}

impl SourceError {
    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unknown { .. } => None,
            Self::Registry(error) => Some(&error.hint),
        }
    }
}

impl Source {
    /// Reads `builtin:NAME`, `oci://...`, or a path relative to `base`.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(text: &str, base: &Path) -> Result<Self, SourceError> {
        let given = || cofferdam_core::text::clean_to(text, 200);
        let refuse = |reason| Err(SourceError::Unknown { given: given(), reason });
        if oci::Reference::is_meant(text) {
            return Ok(Self::Registry(Box::new(oci::Reference::parse(text)?)));
        }
        match text.split_once(':') {
            Some(("builtin", name)) if !name.is_empty() => Ok(Self::Builtin(name.to_owned())),
            Some(("builtin", _)) => refuse(": write `builtin:NAME`"),
            Some((_, rest)) if rest.starts_with("//") => {
                refuse(": plugins are files, `builtin:NAME` or `oci://HOST/REPOSITORY:TAG`")
            }
            _ if text.is_empty() => refuse(": it is empty"),
            _ => Ok(Self::File { path: base.join(text), shown: text.to_owned() }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { shown, .. } => f.write_str(shown),
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::Registry(reference) => write!(f, "{reference}"),
            Self::Bytes(bytes) => write!(f, "{} bytes in memory", bytes.len()),
        }
    }
}

/// Whose table of the project's file has a plugin's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameOf {
    /// Its own: what is granted there holds for it.
    #[default]
    Itself,
    /// That of a plugin which serves the host: nothing granted under this name reaches this one.
    Service,
}

impl NameOf {
    /// What to do about a missing grant, where none under this name would help.
    #[must_use]
    pub fn advice(self, alias: &Alias) -> Option<String> {
        (self == Self::Service).then(|| {
            format!(
                "`{alias}` is the name of another plugin in `cofferdam.toml`, and grants under it are for that one: give \
                 this plugin another name in the document, and grant it under that"
            )
        })
    }
}

/// A plugin and everything that was decided about it.
#[derive(Clone, Debug)]
pub struct PluginReference {
    /// What documents call it.
    pub alias: Alias,
    /// Where its component is.
    pub source: Source,
    /// The digest that the component must have, when one is pinned.
    pub digest: Option<Digest>,
    /// Its configuration; null means none.
    pub config: Value,
    /// What it may do.
    pub granted: Grants,
    /// What the document asks for; explains denials, allows nothing.
    pub requested: Grants,
    /// Bounds below the host's own.
    pub limits: PluginLimits,
    /// The directory that further directories in the grants are relative to.
    pub base: PathBuf,
    /// Whose its name is, where grants are written; explains denials.
    pub name_of: NameOf,
    /// What the user believes of what it says about its tools.
    pub trust: Trust,
}

impl PluginReference {
    /// A plugin without configuration, grants or limits of its own.
    #[must_use]
    pub fn new(alias: Alias, source: Source) -> Self {
        Self {
            alias,
            source,
            digest: None,
            config: Value::Null,
            granted: Grants::default(),
            requested: Grants::default(),
            limits: PluginLimits::default(),
            base: PathBuf::new(),
            name_of: NameOf::Itself,
            trust: Trust::default(),
        }
    }
}

impl PluginReference {
    /// The bounds of a plugin as a tool, as a transform or condition, and as what stays up. A bound that is above the host's
    /// for one of its kinds is lowered there; it is refused when it is above it for all.
    pub(crate) fn bounds(&self, manifest: &Manifest) -> Result<[KindLimits; 3], LoadFault> {
        const GROUPS: [PluginKind; 3] = [PluginKind::Tool, PluginKind::Transform, PluginKind::Storage];
        let served = |kind: PluginKind| manifest.kinds.iter().copied().any(|known| known.limits() == kind.limits());
        let mut refused = GROUPS.into_iter().filter(|kind| served(*kind)).map(|kind| self.limits.apply(kind).err());
        let mut first = None;
        if refused.all(|errors| errors.map(|errors| first.get_or_insert(errors)).is_some())
            && let Some(errors) = first
        {
            return Err(LoadFault::Limits(errors));
        }
        Ok(GROUPS.map(|kind| self.limits.apply(kind).unwrap_or_else(|_| self.at_most(kind))))
    }

    fn at_most(&self, kind: PluginKind) -> KindLimits {
        let (host, asked) = (kind.limits(), &self.limits);
        KindLimits {
            memory_bytes: asked.memory_bytes.map_or(host.memory_bytes, |bytes| bytes.min(host.memory_bytes)),
            wall: asked.wall.map_or(host.wall, |wall| wall.min(host.wall)),
            fuel: host.fuel.map(|fuel| asked.fuel.map_or(fuel, |asked| asked.min(fuel))),
            ..host
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_path_or_a_builtin() {
        let base = Path::new("/base");
        let file = Source::parse("./a.wasm", base).unwrap();
        assert_eq!(file, Source::File { path: PathBuf::from("/base/./a.wasm"), shown: "./a.wasm".to_owned() });
        assert_eq!(Source::parse("builtin:text", base).unwrap().to_string(), "builtin:text");
        let registry = Source::parse("oci://ghcr.io/a/b:1", base).unwrap();
        assert_eq!(registry.to_string(), "oci://ghcr.io/a/b:1");
        for bad in ["", "builtin:", "oci://ghcr.io/a/b", "https://example.com/a.wasm"] {
            assert!(Source::parse(bad, base).is_err(), "{bad}");
        }
    }
}
