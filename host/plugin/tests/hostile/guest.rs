//! Builds components from the text of their code.

use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

const PARTS: &str = include_str!("parts.wat");

/// A guest whose code is that of the file of this name, and for the rest that of an honest echo.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let path = here().join(format!("{name}.wat"));
    let code = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assemble(&code)
}

/// The honest guest: it gives back its arguments.
pub(crate) fn echo() -> Vec<u8> {
    assemble("")
}

/// A guest with this code, and the parts that it does not replace.
pub(crate) fn assemble(code: &str) -> Vec<u8> {
    let mut text = format!("(module\n{code}\n");
    for part in PARTS.split("\n;;;; ").skip(1) {
        let (name, rest) = part.split_once('\n').unwrap();
        if !code.contains(&format!("(export \"{name}\")")) {
            text.push_str(rest);
        }
    }
    text.push_str(")\n");
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{code}"));
    let (resolve, world) = contract();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

fn contract() -> (Resolve, wit_parser::WorldId) {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    for folder in ["types", "host", "plugin", "tool"] {
        resolve.push_path(root().join("wit").join(folder)).unwrap();
    }
    let package = resolve.push_str("guest.wit", include_str!("guest.wit")).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    (resolve, world)
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A directory of its own, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("cofferdam-hostile-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
