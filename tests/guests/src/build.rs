//! Builds all guests from source with one run of cargo, which caches them. Two
//! test processes at once take turns.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{FIRST_PARTY, FOR_TESTS, repository};

const TARGET: &str = "wasm32-wasip2";

/// The path of a guest built from its source as it is now.
///
/// # Errors
///
/// An unknown name, a source that does not build, a missing target (the message
/// says how to add it).
pub fn built(name: &str) -> Result<PathBuf> {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = DIRECTORY
        .get_or_init(|| build_all().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))?;
    let package = package(name).with_context(|| format!("no guest is called `{name}`"))?;
    Ok(directory.join(format!("{}.wasm", package.replace('-', "_"))))
}

/// The component of a guest built from its source as it is now.
///
/// # Errors
///
/// Those of [`built`], and a file that cannot be read.
pub fn built_bytes(name: &str) -> Result<Vec<u8>> {
    let path = built(name)?;
    fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn package(name: &str) -> Option<String> {
    if FIRST_PARTY.contains(&name) {
        Some(format!("plugin-{name}"))
    } else if FOR_TESTS.contains(&name) {
        Some(format!("guest-{name}"))
    } else {
        None
    }
}

/// Builds the guests that get archived, and answers the folder with their components.
///
/// # Errors
///
/// Those of [`built`].
pub(crate) fn built_to_keep() -> Result<PathBuf> {
    Ok(build(&["--package", "guest-kept", "--examples"])?.join("examples"))
}

fn build_all() -> Result<PathBuf> {
    let packages: Vec<String> = FIRST_PARTY.iter().chain(&FOR_TESTS).filter_map(|name| package(name)).collect();
    let selection: Vec<&str> = packages.iter().flat_map(|package| ["--package", package]).collect();
    build(&selection)
}

/// Runs cargo, and answers the folder that it writes to.
fn build(selection: &[&str]) -> Result<PathBuf> {
    let root = repository();
    let target_directory = root.join("target/guests");
    fs::create_dir_all(&target_directory)?;
    let lock = File::create(target_directory.join("guests.lock"))?;
    lock.lock().context("cannot lock the folder of the guests")?;

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&root).args(["build", "--locked", "--target", TARGET, "--profile", "guest"]);
    cargo.arg("--target-dir").arg(&target_directory).args(selection);
    // The test run's own settings would end in the component, or build it anew.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(variable);
    }
    cargo.env("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", remapped_paths(&root)?.join(" "));
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        if text.contains("can't find crate for `core`") || text.contains("may not be installed") {
            bail!("the wasm target is missing; add it with `rustup target add {TARGET}`");
        }
        bail!("the guests do not build:\n{text}");
    }
    Ok(target_directory.join(TARGET).join("guest"))
}

/// Messages of panics name source files: make them the same on every machine.
fn remapped_paths(root: &Path) -> Result<Vec<String>> {
    let mut flags = vec![remap(root, "/cofferdam")?];
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor a home directory is known")?;
    let registries = cargo_home.join("registry/src");
    if let Ok(entries) = fs::read_dir(&registries) {
        for entry in entries {
            flags.push(remap(&entry?.path(), "/crates")?);
        }
    }
    flags.sort();
    Ok(flags)
}

fn remap(from: &Path, to: &str) -> Result<String> {
    let from = from.to_str().context("the path of the repository is not UTF-8")?;
    ensure!(!from.contains(char::is_whitespace), "`{from}` contains a space, which cargo's flags cannot express");
    Ok(format!("--remap-path-prefix={from}={to}"))
}
