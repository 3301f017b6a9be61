//! `plugin build`: cargo, or what another language needs, and then the check of what it made. It must not know what is in a component.

use super::check;
use super::script::{self, Install, Language};
use crate::args::BuildArgs;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::terminal;
use cofferdam::sink::bytes;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "wasm32-wasip2";

pub(super) async fn run(session: &Session, args: &BuildArgs) -> anyhow::Result<Exit> {
    let install = if args.install { Install::Missing } else { Install::Never };
    let component = build_with(&args.dir, install)?;
    let shown = component.display().to_string();
    let checked = check::check(session, &shown).await?;
    if args.json {
        terminal::print(&format!("{}\n", serde_json::to_string_pretty(&checked.json(&shown))?))?;
        return Ok(checked.exit());
    }
    terminal::print(&format!("{shown}\n"))?;
    if let Some(plugin) = &checked.plugin {
        terminal::tell(&format!("size      {}", bytes(plugin.history.size_bytes as u64)));
        terminal::tell(&format!("digest    {}", plugin.digest));
    }
    terminal::tell(checked.sheet(&shown).trim_end());
    checked.tell();
    Ok(checked.exit())
}

/// Builds the plugin of a folder with what is there, and gives the path of its component.
pub(super) fn build(dir: &Path) -> Result<PathBuf, Failure> {
    build_with(dir, Install::Never)
}

/// As [`build`]; what a script needs for it may be installed into its folder.
fn build_with(dir: &Path, install: Install) -> Result<PathBuf, Failure> {
    let manifest = dir.join("Cargo.toml");
    if !manifest.is_file() {
        if let Some(language) = Language::of(dir) {
            return script::build(language, dir, install)
                .map(|path| path.canonicalize().map_or(path, |path| shortened(&path)));
        }
        let message =
            format!("there is no plugin in `{}`: no Cargo.toml, package.json or pyproject.toml", terminal::name(dir));
        return Err(Failure::usage(message).with_hint("`cofferdam plugin new NAME` writes one"));
    }
    cargo(dir, &manifest)
}

/// Builds a crate.
fn cargo(dir: &Path, manifest: &Path) -> Result<PathBuf, Failure> {
    let output = Command::new(environment::variable("CARGO").unwrap_or_else(|| "cargo".to_owned()))
        .current_dir(dir)
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        // What cargo says to people they see as it says it.
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            Failure::usage(format!("cargo cannot be run: {error}")).with_hint("install Rust: https://rustup.rs")
        })?;
    if !output.status.success() {
        let failure = Failure::failed(format!("the plugin in `{}` does not build", terminal::name(dir)));
        return Err(match has_target(dir) {
            Some(false) => failure.with_hint(format!("the target is missing: `rustup target add {TARGET}`")),
            _ => failure,
        });
    }
    let manifest = manifest.canonicalize().unwrap_or_else(|_| manifest.to_owned());
    component(&String::from_utf8_lossy(&output.stdout), &manifest).map(|path| shortened(&path)).ok_or_else(|| {
        let message = format!("the crate in `{}` gave no component", terminal::name(dir));
        Failure::failed(message).with_hint("its `Cargo.toml` needs `[lib]` with `crate-type = [\"cdylib\"]`")
    })
}

/// Whether the standard library of the target is there; none when nobody can tell.
fn has_target(dir: &Path) -> Option<bool> {
    let rustc = environment::variable("RUSTC").unwrap_or_else(|| "rustc".to_owned());
    let asked = Command::new(rustc).current_dir(dir).args(["--print", "target-libdir", "--target", TARGET]).output();
    let output = asked.ok().filter(|output| output.status.success())?;
    Some(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// The component among what cargo says it made: that of this manifest.
fn component(said: &str, manifest: &Path) -> Option<PathBuf> {
    let text = |artifact: &Value, key: &str| artifact.get(key).and_then(Value::as_str).map(str::to_owned);
    let wasm = |artifact: &Value| {
        let files = artifact.get("filenames")?.as_array()?.iter().filter_map(|file| file.as_str());
        files.map(PathBuf::from).find(|file| file.extension().is_some_and(|ending| ending == "wasm"))
    };
    let artifacts = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = artifacts
        .filter(|artifact| text(artifact, "reason").is_some_and(|reason| reason == "compiler-artifact"))
        .filter(|artifact| text(artifact, "manifest_path").is_some_and(|path| Path::new(&path) == manifest));
    ours.filter_map(|artifact| wasm(&artifact)).next_back()
}

/// Relative to this folder, if it lies below.
fn shortened(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    let below = here.ok().and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_that_of_the_crate_and_not_of_another() {
        let line = |manifest: &str, file: &str| {
            format!(r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","filenames":["{file}"]}}"#)
        };
        let said =
            [line("/a/Cargo.toml", "/t/a.wasm"), line("/b/Cargo.toml", "/t/b.wasm"), "noise".to_owned()].join("\n");
        assert_eq!(component(&said, Path::new("/a/Cargo.toml")), Some(PathBuf::from("/t/a.wasm")));
        assert_eq!(component(&said, Path::new("/c/Cargo.toml")), None);
    }
}
