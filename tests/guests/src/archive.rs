//! `tests/guests/archive`: one guest for each kind of plugin and released contract, kept as it was built, so that a host
//! which no longer runs what runs today is found out.
//!
//! Nothing in it is ever built again. What does not run any more is a fault of the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};

use crate::{build, digest, repository};

/// Most bytes of an archived guest: each stays in the repository for good.
pub const MOST_BYTES: usize = 300 * 1024;

/// The kinds of plugins, by the names of their examples in `tests/guests/kept`.
const KINDS: [&str; 7] = ["tool", "transform", "condition", "sink", "storage", "model", "recall"];

const HEAD: &str = "\
# The guests that the host must always run. Added to by `cargo run -p cofferdam-guests -- archive`, which changes
# nothing that is here. `sdk` is the version that a guest was built with, `interfaces` are those that it asks for and
# offers, without WASI.

";

/// A guest of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Archived {
    /// The kind and the version of the SDK, e.g. `tool-0.1.0`; also the name of its file.
    pub name: String,
    /// What it is, e.g. `tool`.
    pub kind: String,
    /// The version of the SDK that it was built with.
    pub sdk: String,
    /// The compiler and the settings.
    pub built: String,
    /// Its digest, `sha256:` and hex.
    pub digest: String,
    /// Its size.
    pub bytes: usize,
    /// The interfaces of ours that it imports and exports, with their versions.
    pub interfaces: BTreeSet<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    guest: Vec<Archived>,
}

/// All that the archive lists.
///
/// # Errors
///
/// A list that cannot be read or is not as written.
pub fn archived() -> Result<Vec<Archived>> {
    let path = list_path();
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let list: List = toml::from_str(&text).with_context(|| format!("`{}` is not as written", path.display()))?;
    Ok(list.guest)
}

/// The component of an archived guest.
///
/// # Errors
///
/// A file that cannot be read.
pub fn archived_bytes(name: &str) -> Result<Vec<u8>> {
    let path = path_of(name);
    fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Builds a guest of every kind and keeps those that the archive does not have for this version of the SDK. Answers all
/// kinds, and whether they were added.
///
/// # Errors
///
/// A guest that does not build or is too large, a file that cannot be written, and a contract that differs from that of
/// the guests which are kept for this version of the SDK.
pub fn add_missing() -> Result<Vec<(Archived, bool)>> {
    let (folder, mut kept) = (build::built_to_keep()?, archived()?);
    let mut answer = Vec::new();
    for kind in KINDS {
        let built = folder.join(format!("kept_{kind}.wasm"));
        let component = fs::read(&built).with_context(|| format!("cannot read `{}`", built.display()))?;
        let fresh = describe(kind, &component)?;
        match kept.iter().find(|guest| guest.name == fresh.name) {
            Some(known) if known.interfaces != fresh.interfaces => bail!(
                "the contract is another than when `{}` was kept, and that guest stays: raise the version of the workspace",
                known.name
            ),
            Some(known) => answer.push((known.clone(), false)),
            None => {
                ensure!(
                    fresh.bytes <= MOST_BYTES,
                    "`{}` has {} bytes, more than {MOST_BYTES}",
                    fresh.name,
                    fresh.bytes
                );
                write_new(&path_of(&fresh.name), &component)?;
                kept.push(fresh.clone());
                answer.push((fresh, true));
            }
        }
    }
    if answer.iter().any(|(_, added)| *added) {
        let list = toml::to_string(&List { guest: kept })?;
        fs::write(list_path(), format!("{HEAD}{list}"))?;
    }
    Ok(answer)
}

/// Writes a file that is not there yet.
fn write_new(path: &PathBuf, component: &[u8]) -> Result<()> {
    use std::io::Write as _;
    fs::create_dir_all(directory())?;
    let file = fs::File::options().write(true).create_new(true).open(path);
    let mut file = file.with_context(|| format!("`{}` is there and not in the list", path.display()))?;
    Ok(file.write_all(component)?)
}

fn describe(kind: &str, component: &[u8]) -> Result<Archived> {
    // One version for the whole workspace, the SDK included.
    let sdk = env!("CARGO_PKG_VERSION");
    Ok(Archived {
        name: format!("{kind}-{sdk}"),
        kind: kind.to_owned(),
        sdk: sdk.to_owned(),
        built: format!("{}, wasm32-wasip2, profile `guest`", compiler()?),
        digest: digest(component),
        bytes: component.len(),
        interfaces: interfaces(component)?,
    })
}

fn compiler() -> Result<String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    let text = String::from_utf8(output.context("cannot run rustc")?.stdout)?;
    Ok(text.split(" (").next().unwrap_or_default().to_owned())
}

/// What a component asks for and offers of ours, by the names in its outermost sections.
fn interfaces(component: &[u8]) -> Result<BTreeSet<String>> {
    let (mut names, mut depth) = (BTreeSet::new(), 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names.insert(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names.insert(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    names.retain(|name| name.starts_with("cofferdam:"));
    Ok(names)
}

fn path_of(name: &str) -> PathBuf {
    directory().join(format!("{name}.wasm"))
}

fn directory() -> PathBuf {
    repository().join("tests/guests/archive")
}

fn list_path() -> PathBuf {
    directory().join("digests.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_archived_guest_is_as_it_was_kept() {
        let guests = archived().unwrap();
        assert!(!guests.is_empty(), "the archive is empty");
        for guest in &guests {
            let component = archived_bytes(&guest.name).unwrap();
            assert_eq!(digest(&component), guest.digest, "{} was changed; it must never be", guest.name);
            assert_eq!(component.len(), guest.bytes, "{}", guest.name);
            assert!(guest.bytes <= MOST_BYTES, "{} has {} bytes", guest.name, guest.bytes);
            assert_eq!(interfaces(&component).unwrap(), guest.interfaces, "{}", guest.name);
            assert_eq!(guest.name, format!("{}-{}", guest.kind, guest.sdk));
        }
        let mut listed: Vec<String> = guests.iter().map(|guest| format!("{}.wasm", guest.name)).collect();
        listed.sort();
        let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut there: Vec<String> = files.filter(|name| name.ends_with(".wasm")).collect();
        there.sort();
        assert_eq!(there, listed, "what lies in the archive is in its list, and the other way round");
    }

    /// `package name@version;` and the interfaces of each file of the contract.
    fn contract() -> Vec<(String, String)> {
        let mut found = Vec::new();
        for folder in fs::read_dir(repository().join("wit")).unwrap().map(|entry| entry.unwrap().path()) {
            let Ok(files) = fs::read_dir(&folder) else { continue };
            for file in files.map(|entry| entry.unwrap().path()) {
                let text = fs::read_to_string(&file).unwrap();
                let package = text.lines().find_map(|line| line.strip_prefix("package ")?.strip_suffix(';')).unwrap();
                let (name, version) = package.split_once('@').unwrap();
                let names = text.lines().filter_map(|line| line.strip_prefix("interface ")?.strip_suffix(" {"));
                found.extend(names.map(|interface| (format!("{name}/{interface}"), version.to_owned())));
            }
        }
        found
    }

    #[test]
    fn every_interface_of_the_contract_has_an_archived_guest_of_its_version() {
        let contract = contract();
        assert!(contract.len() >= 18, "{contract:?}");
        let kept: BTreeSet<String> = archived().unwrap().into_iter().flat_map(|guest| guest.interfaces).collect();
        let missing = contract.iter().map(|(name, version)| format!("{name}@{version}"));
        let missing: Vec<String> = missing.filter(|name| !kept.contains(name)).collect();
        assert!(missing.is_empty(), "no guest is kept for {missing:?}; run `cargo run -p cofferdam-guests -- archive`");
    }

    #[test]
    fn an_archived_guest_names_no_folder_of_the_machine_that_built_it() {
        let root = repository();
        let root = root.to_str().unwrap().as_bytes();
        for guest in archived().unwrap() {
            let component = archived_bytes(&guest.name).unwrap();
            for needle in [root, b"/.cargo/", b"/registry/src/"] {
                let found = component.windows(needle.len()).any(|window| window == needle);
                assert!(!found, "{}: {}", guest.name, String::from_utf8_lossy(needle));
            }
        }
    }
}
