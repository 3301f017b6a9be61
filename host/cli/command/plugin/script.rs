//! Plugins in languages that are not compiled: their folder, what its manifest says, and how a component is made of it.
//!
//! It must not fetch anything unless it was told to, and it must not know what is in a component.

mod fresh;
mod javascript;
mod manifest;
mod new;
mod python;
mod sdk;
mod world;

pub(super) use new::run as new;

use crate::failure::Failure;
use crate::terminal;
use manifest::Manifest;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use world::World;

/// Whether the tools that build a plugin may be installed into its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Install {
    /// Never: the folder has what is needed, or the command says what to do.
    Never,
    /// Where they are missing.
    Missing,
}

/// The languages besides Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    JavaScript,
    Python,
}

impl Language {
    /// The file by which a folder of this language is known.
    fn manifest(self) -> &'static str {
        match self {
            Self::JavaScript => "package.json",
            Self::Python => "pyproject.toml",
        }
    }

    /// The language of a folder; none if it is neither.
    pub(super) fn of(dir: &Path) -> Option<Self> {
        [Self::JavaScript, Self::Python].into_iter().find(|language| dir.join(language.manifest()).is_file())
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
        }
    }
}

/// Makes the component of a folder unless nothing has changed since, and gives its path.
pub(super) fn build(language: Language, dir: &Path, install: Install) -> Result<PathBuf, Failure> {
    let manifest = Manifest::read(language, dir)?;
    let tool = match language {
        Language::JavaScript => javascript::tool(dir, &manifest, install)?,
        Language::Python => python::tool(dir, &manifest, install)?,
    };
    sdk::unpack_missing(language, dir)?;
    let built = PathBuf::from("dist").join(format!("{}.wasm", manifest.name));
    let path = dir.join(&built);
    let world = world::write(dir, &manifest.imports)?;
    if world == World::AsItWas && fresh::is_newer(&path, dir) {
        return Ok(path);
    }
    let mut command = match language {
        Language::JavaScript => javascript::componentize(&tool, &manifest, &built),
        Language::Python => python::componentize(&tool, &built),
    };
    let output = command
        .current_dir(dir)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::failed(format!("{} cannot be run: {error}", tool.display())))?;
    if output.status.success() && path.is_file() {
        return Ok(path);
    }
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    terminal::tell(complaint(&said).trim_end());
    let message = format!("the plugin in `{}` does not build", terminal::name(dir));
    Err(Failure::failed(message).with_hint(hint(&said, language)))
}

/// What a build tool says to an author: without where in the tool itself it happened.
fn complaint(said: &str) -> String {
    let mine = |line: &&str| {
        let start = line.trim_start();
        let noise = ["at ", "throw new ", "^", "Node.js v", "file://", "sys.exit(", "Some WASI"];
        !start.is_empty() && !noise.iter().any(|noise| start.starts_with(noise))
    };
    let ends = |line: &&str| !line.starts_with("Caused by:") && !line.starts_with("Stack backtrace:");
    let lines: Vec<&str> = said.lines().take_while(ends).filter(mine).collect();
    lines.join("\n")
}

fn hint(said: &str, language: Language) -> String {
    let missing = said.contains("cofferdam:host/") && said.contains("Error loading module");
    match language {
        Language::JavaScript if missing => {
            "what a plugin asks of the host stands in its `package.json`: `\"cofferdam\": { \"imports\": [\"http\"] }`"
                .to_owned()
        }
        Language::JavaScript => "`plugin.js` is evaluated once while it is built, and exports `lifecycle` and `tool`: \
             `export const { lifecycle, tool } = plugin({ ... })`"
            .to_owned(),
        Language::Python => "`src/plugin.py` is run once while it is built, and defines `Lifecycle` and `Tool`: \
             `Lifecycle, Tool = plugin(...)`"
            .to_owned(),
    }
}

/// Runs something that people see at work: what it says goes to standard error.
fn visibly(dir: &Path, program: &Path, args: &[&str]) -> Result<(), Failure> {
    let line = format!("{} {}", program.display(), args.join(" "));
    terminal::tell(&format!("in {}: {line}", terminal::name(dir)));
    let output = Command::new(program)
        .current_dir(dir)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::usage(format!("{} cannot be run: {error}", program.display())))?;
    terminal::tell(String::from_utf8_lossy(&output.stdout).trim_end());
    if output.status.success() { Ok(()) } else { Err(Failure::failed(format!("`{line}` failed"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_reads_of_the_plugin_and_not_of_the_tool() {
        let said = "file:///x/componentize.js:365\n    throw new Error(err);\n          ^\n\nError: Failed to initialize\n\
                    plugin.js:1:7 TypeError: x\n    at componentize (file:///x)\n\nNode.js v20\n";
        assert_eq!(complaint(said), "Error: Failed to initialize\nplugin.js:1:7 TypeError: x");
        let said = "ImportError: write it\n\nCaused by:\n    ImportError\n\nStack backtrace:\n   0: x\n";
        assert_eq!(complaint(said), "ImportError: write it");
    }
}
