//! The helper modules and the interfaces inside this program. Tables name the files; a test holds them against the folders.

use super::Language;
use crate::failure::Failure;
use crate::terminal;
use std::path::Path;

/// Where a helper module is unpacked.
pub(super) const FOLDER: &str = ".cofferdam-sdk";

macro_rules! files {
    ($folder:literal: $($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../../", $folder, "/", $path)))),*]
    };
}

const JAVASCRIPT: &[(&str, &str)] = files![
    "sdk/js":
    "cofferdam.d.ts",
    "cofferdam.js",
    "http.d.ts",
    "http.js",
    "kv.d.ts",
    "kv.js",
    "secrets.d.ts",
    "secrets.js",
    "tools.d.ts",
    "tools.js",
];

const PYTHON: &[(&str, &str)] = files![
    "sdk/python":
    "cofferdam/__init__.py",
    "cofferdam/_host.py",
    "cofferdam/_schema.py",
    "cofferdam/http.py",
    "cofferdam/kv.py",
    "cofferdam/secrets.py",
    "cofferdam/tools.py",
];

/// The interfaces of a tool, from the contract itself.
pub(super) const WIT: &[(&str, &str)] =
    files!["wit": "host/host.wit", "plugin/plugin.wit", "tool/tool.wit", "types/types.wit"];

/// The helper module of a language.
pub(super) fn files(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::JavaScript => JAVASCRIPT,
        Language::Python => PYTHON,
    }
}

/// Unpacks the helper module where it is not there. One that is there stays as it is: it belongs to the author.
pub(super) fn unpack_missing(language: Language, dir: &Path) -> Result<(), Failure> {
    let folder = dir.join(FOLDER);
    if folder.is_dir() {
        return Ok(());
    }
    for (path, text) in files(language) {
        super::super::new::write(&folder.join(path), text)?;
    }
    terminal::tell(&format!("wrote {} ({} files)", terminal::name(&folder), files(language).len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn collect(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "examples" | "__pycache__") {
                collect(root, &path, found);
            } else if path.is_file() {
                found.insert(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn the_tables_name_every_file_of_the_helper_modules() {
        for (folder, files) in [("sdk/js", JAVASCRIPT), ("sdk/python", PYTHON)] {
            let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let mut there = BTreeSet::new();
            collect(&root, &root, &mut there);
            let named: BTreeSet<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(named, there, "{folder}");
        }
    }
}
