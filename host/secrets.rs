//! Secrets: where their values come from, and that they come up nowhere.
//!
//! A value lives in a type that cannot print itself, is looked up when it is needed, and is known from then on to
//! whoever redacts what is recorded, shown and logged. It must not decide who may use one: grants do.

use crate::compose;
use cofferdam_core::limits;
use cofferdam_core::port::Redactor;
use cofferdam_egress::{Scrubber, Secrets};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// Where the value of a secret comes from.
#[derive(Clone)]
pub enum SecretSource {
    /// A variable of the environment.
    Variable(String),
    /// A file; a line end at its end is not part of the value.
    File(PathBuf),
    /// The embedder has it.
    Value(SecretString),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Value(_) => f.write_str("a value"),
        }
    }
}

/// Looks secrets up, and redacts every value that it has ever given.
///
/// A name without a source is that of a variable of the environment.
#[derive(Default)]
pub(crate) struct Vault {
    sources: BTreeMap<String, SecretSource>,
    known: RwLock<Scrubber>,
    knows: AtomicBool,
    /// Whether a name without a source has no value.
    closed: bool,
}

impl Vault {
    pub(crate) fn new(sources: BTreeMap<String, SecretSource>) -> Self {
        Self { sources, ..Self::default() }
    }

    /// One in which a name without a source has no value.
    pub(crate) fn only(sources: BTreeMap<String, SecretSource>) -> Self {
        Self { closed: true, ..Self::new(sources) }
    }

    /// Learns the values of all secrets that have a source, and of these names, so that they are redacted wherever they
    /// come from: a file with a secret may also be read as a file.
    pub(crate) fn learn<'n>(&self, names: impl IntoIterator<Item = &'n str>) {
        self.sources.keys().for_each(|name| drop(self.get(name)));
        names.into_iter().for_each(|name| drop(self.get(name)));
    }

    fn look_up(&self, name: &str) -> Option<SecretString> {
        match self.sources.get(name) {
            None if self.closed => None,
            None => compose::variable(name).map(SecretString::from),
            Some(SecretSource::Variable(variable)) => compose::variable(variable).map(SecretString::from),
            Some(SecretSource::Value(value)) => Some(value.clone()),
            Some(SecretSource::File(path)) => match read(path) {
                Ok(value) => Some(value),
                Err(error) => {
                    tracing::warn!(secret = name, path = %path.display(), %error, "a secret cannot be read");
                    None
                }
            },
        }
    }

    fn remember(&self, value: &SecretString) {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).knows(value) {
            return;
        }
        self.known.write().unwrap_or_else(PoisonError::into_inner).add(value);
        self.knows.store(true, Ordering::Release);
    }
}

impl Secrets for Vault {
    fn get(&self, name: &str) -> Option<SecretString> {
        let value = self.look_up(name).filter(|value| !value.expose_secret().is_empty())?;
        self.remember(&value);
        Some(value)
    }
}

impl Redactor for Vault {
    fn is_idle(&self) -> bool {
        !self.knows.load(Ordering::Acquire)
    }

    fn redact(&self, text: &str) -> Option<String> {
        if self.is_idle() {
            return None;
        }
        match self.known.read().unwrap_or_else(PoisonError::into_inner).scrub_text(text) {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(clean) => Some(clean),
        }
    }
}

fn read(path: &Path) -> std::io::Result<SecretString> {
    // Asked before it is opened: opening a pipe waits for somebody to write into it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let bound = limits::EGRESS_SECRET_BYTES as u64;
    let mut text = String::new();
    let read = File::open(path)?.take(bound + 1).read_to_string(&mut text)?;
    let secret = SecretString::from(text.trim_end_matches(['\n', '\r']));
    secrecy::zeroize::Zeroize::zeroize(&mut text);
    if read as u64 > bound {
        return Err(std::io::Error::other(format!("it has more than {bound} bytes")));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(source: SecretSource) -> Vault {
        Vault::new(BTreeMap::from([("K".to_owned(), source)]))
    }

    #[test]
    fn a_secret_of_a_file_comes_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        std::fs::write(&path, "canary-1\n").unwrap();
        let vault = vault(SecretSource::File(path.clone()));
        assert_eq!(vault.get("K").unwrap().expose_secret(), "canary-1");
        std::fs::write(&path, "canary-2").unwrap();
        assert_eq!(vault.get("K").unwrap().expose_secret(), "canary-2");
        // A value that was changed is not free to be shown.
        assert_eq!(vault.redact("canary-1 canary-2").as_deref(), Some("[redacted] [redacted]"));
        for bad in [folder.path().to_owned(), folder.path().join("missing")] {
            assert!(self::vault(SecretSource::File(bad)).get("K").is_none());
        }
    }

    #[test]
    fn nothing_is_redacted_before_a_value_is_known_and_nothing_prints_it() {
        let source = SecretSource::Value(SecretString::from("canary"));
        assert!(!format!("{source:?}").contains("canary"));
        let vault = vault(source);
        assert_eq!(vault.redact("canary"), None);
        vault.learn([]);
        assert_eq!(vault.redact("a canary").as_deref(), Some("a [redacted]"));
        assert_eq!(vault.redact("nothing"), None);
    }
}
