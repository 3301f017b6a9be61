//! What the manifest of a folder says: `package.json` for JavaScript, `pyproject.toml` and `requirements.txt` for Python.
//!
//! It must not run anything.

use super::Language;
use super::world;
use crate::failure::Failure;
use crate::terminal;
use serde_json::Value;
use std::path::Path;

/// The packages that make components.
pub(super) const COMPONENTIZE_JS: &str = "@bytecodealliance/componentize-js";
pub(super) const COMPONENTIZE_PY: &str = "componentize-py";

/// What is needed of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The component's file is called so.
    pub(super) name: String,
    /// The module that is the plugin.
    pub(super) main: String,
    /// The version of the package that makes the component.
    pub(super) pin: String,
    /// What it asks of the host beyond what all may.
    pub(super) imports: Vec<String>,
}

impl Manifest {
    pub(super) fn read(language: Language, dir: &Path) -> Result<Self, Failure> {
        match language {
            Language::JavaScript => {
                of_package(&read(&dir.join("package.json"))?).map_err(|fault| in_file("package.json", fault))
            }
            Language::Python => {
                let project = read(&dir.join("pyproject.toml"))?;
                let requirements = std::fs::read_to_string(dir.join("requirements.txt")).unwrap_or_default();
                let table = of_project(&project).map_err(|fault| in_file("pyproject.toml", fault))?;
                let pin = of_requirements(&requirements).map_err(|fault| in_file("requirements.txt", fault))?;
                Ok(Self { pin, ..table })
            }
        }
    }
}

/// What is wrong, and what to do.
type Fault = (String, String);

fn in_file(name: &str, (message, hint): Fault) -> Failure {
    Failure::usage(format!("`{name}`: {message}")).with_hint(hint)
}

fn fault(message: impl Into<String>, hint: impl Into<String>) -> Fault {
    (message.into(), hint.into())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("`{}` cannot be read: {error}", terminal::name(path))))
}

fn of_package(text: &str) -> Result<Manifest, Fault> {
    let package: Value = serde_json::from_str(text).map_err(|error| fault(error.to_string(), "mend its JSON"))?;
    let text = |key: &str| package.get(key).and_then(Value::as_str);
    let wanted = ["devDependencies", "dependencies"]
        .iter()
        .find_map(|table| package.get(table)?.get(COMPONENTIZE_JS)?.as_str())
        .ok_or_else(|| {
            let hint = format!("`npm install --save-dev --save-exact {COMPONENTIZE_JS}`");
            fault(format!("it has no dependency on `{COMPONENTIZE_JS}`, which makes the component"), hint)
        })?;
    Ok(Manifest {
        name: name(text("name"))?,
        main: text("main").unwrap_or("plugin.js").trim_start_matches("./").to_owned(),
        pin: pinned(COMPONENTIZE_JS, wanted)?,
        imports: imports(package.get("cofferdam").unwrap_or(&Value::Null))?,
    })
}

fn of_project(text: &str) -> Result<Manifest, Fault> {
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| fault(error.to_string(), "mend its TOML"))?;
    let project = serde_json::to_value(table).map_err(|error| fault(error.to_string(), "mend its TOML"))?;
    let own = project.pointer("/tool/cofferdam").unwrap_or(&Value::Null);
    Ok(Manifest {
        name: name(project.pointer("/project/name").and_then(Value::as_str))?,
        main: "src/plugin.py".to_owned(),
        pin: String::new(),
        imports: imports(own)?,
    })
}

fn of_requirements(text: &str) -> Result<String, Fault> {
    let line = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut wanted = line.filter_map(|line| line.strip_prefix(COMPONENTIZE_PY));
    match wanted.next() {
        Some(version) => pinned(COMPONENTIZE_PY, version.trim_start().strip_prefix("==").unwrap_or(version)),
        None => Err(fault(
            format!("it does not ask for `{COMPONENTIZE_PY}`, which makes the component"),
            format!("add the line `{COMPONENTIZE_PY}=={}`", super::python::VERSION),
        )),
    }
}

/// The name, if a file can be called so.
fn name(given: Option<&str>) -> Result<String, Fault> {
    let given = given.unwrap_or_default();
    // A scope says whose a package is; the file needs none.
    let name = given.rsplit('/').next().unwrap_or_default();
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if name.starts_with('.') || name.is_empty() || name.len() > 100 || !name.chars().all(fits) {
        let message = format!("`{given}` is no name for a component's file");
        return Err(fault(message, "give it a `name` of letters, digits, `-`, `_` and `.`"));
    }
    Ok(name.to_owned())
}

/// The same version each time: another one makes another component of the same source.
fn pinned(package: &str, wanted: &str) -> Result<String, Fault> {
    let wanted = wanted.trim();
    let parts: Vec<&str> = wanted.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() == 3 && parts.iter().all(number) {
        return Ok(wanted.to_owned());
    }
    let message = format!("it wants `{package}` in the version `{wanted}`, and one exact version is needed");
    Err(fault(message, "write three numbers, without a range: what is built must not change from day to day"))
}

fn imports(table: &Value) -> Result<Vec<String>, Fault> {
    let known = world::EXTRA.join("`, `");
    let wrong = |message: String| fault(message, format!("`imports` is a list of: `{known}`"));
    let table = match table {
        Value::Null => return Ok(Vec::new()),
        Value::Object(table) => table,
        _ => return Err(wrong("what is said for cofferdam is no table".to_owned())),
    };
    if let Some(stray) = table.keys().find(|key| *key != "imports") {
        return Err(wrong(format!("unknown key `{stray}` for cofferdam")));
    }
    let Some(list) = table.get("imports") else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or_else(|| wrong("`imports` is no list".to_owned()))?;
    let mut found: Vec<String> = Vec::new();
    for item in list {
        match item.as_str().filter(|item| world::EXTRA.contains(item)) {
            Some(item) => found.push(item.to_owned()),
            None => return Err(wrong(format!("the host has nothing called {item}"))),
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(version: &str, cofferdam: &str) -> Result<Manifest, Fault> {
        of_package(&format!(
            r#"{{"name":"@acme/a-b","devDependencies":{{"{COMPONENTIZE_JS}":"{version}"}},"cofferdam":{cofferdam}}}"#
        ))
    }

    #[test]
    fn a_package_says_what_is_needed() {
        let manifest = package("1.2.3", r#"{"imports":["kv","http","kv"]}"#).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.main.as_str()), ("a-b", "plugin.js"));
        assert_eq!((manifest.pin.as_str(), manifest.imports), ("1.2.3", vec!["http".to_owned(), "kv".to_owned()]));
    }

    #[test]
    fn a_project_says_what_is_needed() {
        let text = "[project]\nname = \"a\"\n[tool.cofferdam]\nimports = [\"tools\"]\n[tool.other]\nx = 1\n";
        assert_eq!(of_project(text).unwrap().imports, ["tools"]);
        let pin = of_requirements("# build\ncomponentize-py==0.25.1  # pinned\nother>=1\n").unwrap();
        assert_eq!(pin, "0.25.1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (found, says) in [
            (package("^1.2.3", "null").err(), "one exact version is needed"),
            (package("latest", "null").err(), "one exact version is needed"),
            (package("1.2.3", r#"{"import":[]}"#).err(), "unknown key `import`"),
            (package("1.2.3", r#"{"imports":"http"}"#).err(), "`imports` is no list"),
            (package("1.2.3", r#"{"imports":["shell"]}"#).err(), "the host has nothing called \"shell\""),
            (package("1.2.3", "[]").err(), "is no table"),
            (of_package("{").err(), "EOF"),
            (of_package("{}").err(), "no dependency on"),
            (of_project("[project]\nname = \"../x y\"\n").err(), "is no name"),
            (of_project("[project").err(), "TOML"),
            (of_requirements("").err(), "does not ask for"),
            (of_requirements("componentize-py>=0.25").err(), "one exact version is needed"),
        ] {
            let (message, hint) = found.unwrap();
            assert!(message.contains(says), "{message}");
            assert!(!hint.is_empty());
        }
    }
}
