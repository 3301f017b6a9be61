//! JavaScript: node and componentize-js. It must not know Python.

use super::manifest::{COMPONENTIZE_JS, Manifest};
use super::{Install, visibly, world};
use crate::failure::Failure;
use crate::terminal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version that templates ask for, and that is tested.
pub(super) const VERSION: &str = "0.23.0";
/// The command of the package, below the plugin's folder.
const BIN: &str = "node_modules/.bin/componentize-js";

/// Node, when it is there and the folder has the package in the wanted version.
pub(super) fn tool(dir: &Path, manifest: &Manifest, install: Install) -> Result<PathBuf, Failure> {
    let node = PathBuf::from("node");
    let version = Command::new(&node).arg("--version").stdin(Stdio::null()).output();
    if !version.is_ok_and(|output| output.status.success()) {
        let message = "node cannot be run, and componentize-js needs it";
        return Err(Failure::usage(message).with_hint("install Node.js 20 or newer, with npm: https://nodejs.org"));
    }
    let main = dir.join(&manifest.main);
    if !main.is_file() {
        let message = format!("there is no `{}`", terminal::name(&main));
        return Err(
            Failure::usage(message).with_hint("`main` in `package.json` names the module; `plugin.js` without it")
        );
    }
    let mut found = installed(dir);
    if found.as_deref() != Some(&manifest.pin) && install == Install::Missing {
        let act = if dir.join("package-lock.json").is_file() { "ci" } else { "install" };
        let fetched = visibly(dir, Path::new("npm"), &[act, "--no-audit", "--no-fund"]);
        fetched.map_err(|failure| failure.with_hint("npm comes with Node.js, and fetches from its registry"))?;
        found = installed(dir);
    }
    match found {
        Some(version) if version == manifest.pin => Ok(node),
        Some(version) => {
            let message = format!("componentize-js {version} is installed, and `package.json` wants {}", manifest.pin);
            Err(Failure::usage(message).with_hint(way(dir)))
        }
        None => {
            let message = format!("the packages of `{}` are not installed", terminal::name(dir));
            Err(Failure::usage(message).with_hint(way(dir)))
        }
    }
}

fn way(dir: &Path) -> String {
    let dir = terminal::name(dir);
    format!("`npm install` in `{dir}`, or `cofferdam plugin build {dir} --install`, which runs it")
}

/// The version in the folder.
fn installed(dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dir.join("node_modules").join(COMPONENTIZE_JS).join("package.json")).ok()?;
    let package: Value = serde_json::from_str(&text).ok()?;
    Some(package.get("version")?.as_str()?.to_owned())
}

/// The command that makes the component. Requests of its own it cannot make: the host's are the way.
pub(super) fn componentize(node: &Path, manifest: &Manifest, built: &Path) -> Command {
    let mut command = Command::new(node);
    command.arg(BIN).arg(&manifest.main).args(["--wit", world::FOLDER, "--world-name", world::NAME]);
    command.args(["--disable", "http", "fetch-event", "--out"]).arg(built);
    command
}
