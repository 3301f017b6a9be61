//! The bytes of a component: where they come from, how many, and their digest.
//!
//! It must not look inside them.

use crate::builtin::Builtin;
use bytes::Bytes;
use cofferdam_core::limits;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The SHA-256 of a component: what a plugin *is*, whatever it says its name is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    ///
    /// # Errors
    /// When it is not that.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let wrong = || DigestError { given: text.chars().take(80).collect() };
        let hex = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(wrong());
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }

    /// The first twelve hexadecimal digits, for messages.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }

    /// All 64 hexadecimal digits, without `sha256:`.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string does not fail");
            text
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Text that is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a digest: write `sha256:` and 64 hexadecimal digits")]
pub struct DigestError {
    given: String,
}

/// A component's bytes and what they hash to.
#[derive(Clone, Debug)]
pub(crate) struct Artifact {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
}

impl Artifact {
    /// Bytes that are part of this program.
    pub(crate) fn embedded(builtin: &Builtin) -> Self {
        Self { digest: builtin.digest(), bytes: Bytes::from_static(builtin.component) }
    }

    /// Bytes that somebody hands over; none of them are copied.
    pub(crate) fn new(bytes: Bytes) -> Result<Self, ReadError> {
        if bytes.len() > limits::PLUGIN_COMPONENT_BYTES {
            return Err(ReadError::TooLarge);
        }
        Ok(Self { digest: Digest::of(&bytes), bytes })
    }

    /// Reads a file, at most one byte more than allowed.
    pub(crate) fn read(path: &Path) -> Result<Self, ReadError> {
        // Asked before it is opened: opening a pipe waits for somebody to write into it.
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(ReadError::Directory);
        }
        if !metadata.is_file() {
            return Err(ReadError::NotAFile);
        }
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        let bound = u64::try_from(limits::PLUGIN_COMPONENT_BYTES).unwrap_or(u64::MAX);
        file.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
        Self::new(bytes.into())
    }
}

/// Why a component's bytes could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a directory.
    #[error("it is a directory, not a component")]
    Directory,
    /// It is a pipe, a device or a socket.
    #[error("it is not a regular file")]
    NotAFile,
    /// There is too much of it.
    #[error("it is larger than {} MiB", limits::PLUGIN_COMPONENT_BYTES >> 20)]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_survives_its_text() {
        let digest = Digest::of(b"cofferdam");
        assert_eq!(Digest::parse(&digest.to_string()).unwrap(), digest);
        assert_eq!(digest.short().len(), 12);
        for bad in ["", "sha256:", "sha256:zz", "md5:00", &format!("sha256:{}", "ä".repeat(32))] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_directory_is_not_a_component() {
        assert!(matches!(Artifact::read(Path::new("/")), Err(ReadError::Directory)));
        assert!(matches!(Artifact::read(Path::new("/dev/zero")), Err(ReadError::NotAFile)));
    }
}
