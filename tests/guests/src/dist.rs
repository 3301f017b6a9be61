//! `plugins/dist`: the first-party components as shipped, and their digests, so
//! that using them needs no wasm toolchain.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{FIRST_PARTY, build, repository};

/// The path of a shipped component.
pub fn dist_path(name: &str) -> PathBuf {
    directory().join(format!("{name}.wasm"))
}

/// A shipped component.
///
/// # Errors
///
/// A file that cannot be read.
pub fn dist_bytes(name: &str) -> Result<Vec<u8>> {
    let path = dist_path(name);
    fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// The digest of a component as it is written everywhere: `sha256:` and hex.
pub fn digest(component: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(component) {
        write!(text, "{byte:02x}").expect("a string takes any text");
    }
    text
}

/// What `plugins/dist/digests.toml` says, by name.
///
/// # Errors
///
/// A file that cannot be read or is not such a table.
pub fn recorded_digests() -> Result<BTreeMap<String, String>> {
    let path = digests_path();
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    toml::from_str(&text).with_context(|| format!("`{}` is not as written", path.display()))
}

/// Builds all first-party plugins and writes them with their digests. Answers
/// name, digest and size of each.
///
/// # Errors
///
/// A plugin that does not build, a file that cannot be written.
pub fn refresh() -> Result<Vec<(&'static str, String, usize)>> {
    fs::create_dir_all(directory())?;
    let mut table = String::from("# The shipped components. Rewritten by `cargo run -p cofferdam-guests -- dist`.\n\n");
    let mut written = Vec::new();
    for name in FIRST_PARTY {
        let component = build::built_bytes(name)?;
        let digest = digest(&component);
        fs::write(dist_path(name), &component)?;
        writeln!(table, "{name} = \"{digest}\"")?;
        written.push((name, digest, component.len()));
    }
    fs::write(digests_path(), table)?;
    Ok(written)
}

fn directory() -> PathBuf {
    repository().join("plugins/dist")
}

fn digests_path() -> PathBuf {
    directory().join("digests.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_component_has_its_recorded_digest() {
        let recorded = recorded_digests().unwrap();
        let names: Vec<_> = recorded.keys().map(String::as_str).collect();
        assert_eq!(names, FIRST_PARTY);
        for name in FIRST_PARTY {
            assert_eq!(recorded[name], digest(&dist_bytes(name).unwrap()), "{name}");
        }
    }

    #[test]
    fn no_shipped_component_names_a_folder_of_the_machine_that_built_it() {
        let root = repository();
        let root = root.to_str().unwrap().as_bytes();
        for name in FIRST_PARTY {
            let component = dist_bytes(name).unwrap();
            for needle in [root, b"/.cargo/", b"/registry/src/"] {
                let found = component.windows(needle.len()).any(|window| window == needle);
                assert!(!found, "{name}: {}", String::from_utf8_lossy(needle));
            }
        }
    }
}
