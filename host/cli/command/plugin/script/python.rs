//! Python: componentize-py, in a virtual environment of the folder or on the path. It must not know JavaScript.

use super::manifest::{COMPONENTIZE_PY, Manifest};
use super::{Install, visibly, world};
use crate::failure::Failure;
use crate::terminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version that templates ask for, and that is tested.
pub(super) const VERSION: &str = "0.25.1";

/// componentize-py in the wanted version.
pub(super) fn tool(dir: &Path, manifest: &Manifest, install: Install) -> Result<PathBuf, Failure> {
    let main = dir.join(&manifest.main);
    if !main.is_file() {
        return Err(Failure::usage(format!("there is no `{}`", terminal::name(&main)))
            .with_hint("the plugin is the module `src/plugin.py`"));
    }
    // Absolute: the command is run in the folder.
    let root = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let places = [root.join(".venv/bin").join(COMPONENTIZE_PY), PathBuf::from(COMPONENTIZE_PY)];
    let found =
        |places: &[PathBuf]| places.iter().find(|place| version(place).as_deref() == Some(&manifest.pin)).cloned();
    if let Some(place) = found(&places) {
        return Ok(place);
    }
    if install == Install::Missing {
        if !root.join(".venv").is_dir() {
            visibly(&root, &python()?, &["-m", "venv", ".venv"])?;
        }
        let pip = root.join(".venv/bin/pip");
        visibly(&root, &pip, &["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"])
            .map_err(|failure| {
                failure.with_hint("pip fetches from its registry; without `pip` in `.venv`, take that folder away")
            })?;
        if let Some(place) = found(&places) {
            return Ok(place);
        }
    }
    let message = match places.iter().find_map(|place| version(place)) {
        Some(other) => format!("componentize-py {other} is installed, and `requirements.txt` wants {}", manifest.pin),
        None => format!("componentize-py {} is not installed", manifest.pin),
    };
    let dir = terminal::name(dir);
    let hint = format!(
        "in `{dir}`: `python3 -m venv .venv` and `.venv/bin/pip install -r requirements.txt`; or `cofferdam plugin build {dir} \
         --install`, which runs both"
    );
    Err(Failure::usage(message).with_hint(hint))
}

fn python() -> Result<PathBuf, Failure> {
    let python = PathBuf::from("python3");
    let asked = Command::new(&python).arg("--version").stdin(Stdio::null()).output();
    if asked.is_ok_and(|output| output.status.success()) {
        return Ok(python);
    }
    let message = "python3 cannot be run, and componentize-py needs it";
    Err(Failure::usage(message).with_hint("install Python 3.10 or newer, with its modules `venv` and `pip`"))
}

/// The version that a command says it has; none if it does not run.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.trim().strip_prefix(COMPONENTIZE_PY)?.trim().to_owned())
}

/// The command that makes the component.
pub(super) fn componentize(program: &Path, built: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--wit-path", world::FOLDER, "--world", world::NAME, "componentize", "plugin"]);
    command.args(["--python-path", "src", "--python-path", super::sdk::FOLDER, "--output"]).arg(built);
    command
}
