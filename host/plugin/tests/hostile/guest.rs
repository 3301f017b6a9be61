//! Builds components from the text of their code.
//!
//! The component around the code comes from `wit/` and from the WASI of the very library that is linked, so that guests
//! follow the contract without being written again, and nothing that can be imported is left out.

use cofferdam_core::policy::PluginKind;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{PackageId, Resolve};

const COMMON: &str = include_str!("parts/common.wat");
/// What the text of code says for the version of WASI.
const WASI: &str = "@WASI";
/// What it says for the export that is called.
const ENTRY: &str = "{ENTRY}";

/// The text of a kind: the parts of its world, the world, and what is called to attack.
fn kind_of(kind: PluginKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        PluginKind::Recall => {
            (include_str!("parts/recall.wat"), "cofferdam:recall/recall", "cofferdam:recall/recall@0.1.0#upsert")
        }
        PluginKind::Sink => {
            (include_str!("parts/sink.wat"), "cofferdam:sink/sink", "cofferdam:sink/sink@0.1.0#deliver")
        }
        PluginKind::Storage => (
            include_str!("parts/storage.wat"),
            "cofferdam:storage/storage",
            "cofferdam:storage/storage@0.1.0#delete-run",
        ),
        PluginKind::Model => {
            (include_str!("parts/model.wat"), "cofferdam:model/model", "cofferdam:model/model@0.1.0#list-models")
        }
        _ => (include_str!("parts/tool.wat"), "cofferdam:tool/tool", "cofferdam:tool/tool@0.1.0#call"),
    }
}

/// The honest tool: it gives back its arguments.
pub(crate) fn echo() -> Vec<u8> {
    assemble(PluginKind::Tool, "")
}

/// A tool whose code is that of the file of this name.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/hostile/code/{name}.wat"));
    tool(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Computes and never ends.
pub(crate) const LOOP: &str = "(func $attack (param i32 i32) (result i32) (loop $again (br $again)) unreachable)";

/// A tool with this code, and the parts that it does not replace.
pub(crate) fn tool(code: &str) -> Vec<u8> {
    assemble(PluginKind::Tool, code)
}

/// A guest of this kind with this code, and the parts that it does not replace.
pub(crate) fn assemble(kind: PluginKind, code: &str) -> Vec<u8> {
    let (parts, _, entry) = kind_of(kind);
    let code = code.replace(WASI, &format!("@{}", wasi_version())).replace(ENTRY, entry);
    let (mut imports, mut rest) = (String::new(), String::new());
    let chosen = COMMON.split("\n;;;; ").skip(1).chain(parts.split("\n;;;; ").skip(1)).filter_map(|part| {
        let (name, text) = part.split_once('\n').unwrap();
        let replaced = code.contains(&format!("(export \"{name}\")")) || code.contains(&format!("(func {name} "));
        (!replaced).then_some(text)
    });
    // Text has its imports first; the code comes last, so that its data is written over that of the parts.
    for line in chosen.flat_map(str::lines).chain(code.lines()) {
        let to = if line.trim_start().starts_with("(import ") { &mut imports } else { &mut rest };
        to.push_str(line);
        to.push('\n');
    }
    let text = format!("(module\n{imports}{rest})\n");
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    encode(kind, &mut module).unwrap_or_else(|error| panic!("{error:#}\n{text}"))
}

/// The component around a module.
fn encode(kind: PluginKind, module: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    let (resolve, package) = contract();
    let (_, interface, _) = kind_of(kind);
    let world = interface.rsplit('/').next().unwrap();
    let world = resolve.select_world(&[*package], Some(world)).unwrap();
    wit_component::embed_component_metadata(module, resolve, world, StringEncoding::UTF8)
        .map_err(|error| format!("{error:#}"))?;
    let mut encoder =
        ComponentEncoder::default().validate(true).module(module).map_err(|error| format!("{error:#}"))?;
    encoder.encode().map_err(|error| format!("{error:#}"))
}

/// Everything that is part of the contract, with a world for each kind that may import all that there is.
pub(crate) fn contract() -> &'static (Resolve, PackageId) {
    static CONTRACT: OnceLock<(Resolve, PackageId)> = OnceLock::new();
    CONTRACT.get_or_init(|| {
        let mut resolve = Resolve { all_features: true, ..Resolve::default() };
        for folder in ["types", "host", "plugin", "tool", "recall", "sink", "storage", "model"] {
            resolve.push_path(root().join("wit").join(folder)).unwrap();
        }
        resolve.push_dir(wasi_folder()).unwrap();
        let all: String = importable(&resolve).iter().map(|name| format!("    import {name};\n")).collect();
        let worlds = ["tool", "recall", "sink", "storage", "model"]
            .map(|kind| format!("world {kind} {{\n    include cofferdam:{kind}/{kind}-plugin@0.1.0;\n{all}}}\n"));
        let text = format!("package test:guest;\n{}", worlds.concat());
        let package = resolve.push_str("guest.wit", &text).unwrap();
        (resolve, package)
    })
}

/// The names of all interfaces that a guest of these tests may import.
fn importable(resolve: &Resolve) -> Vec<String> {
    let of_package = |name: &wit_parser::PackageName| {
        name.namespace == "wasi" || (name.namespace == "cofferdam" && name.name == "host")
    };
    let packages = resolve.packages.iter().filter(|(_, package)| of_package(&package.name));
    packages.flat_map(|(_, package)| package.interfaces.values()).filter_map(|id| resolve.id_of(*id)).collect()
}

/// The version of WASI that is linked.
fn wasi_version() -> String {
    static VERSION: OnceLock<String> = OnceLock::new();
    let read = || {
        let (resolve, _) = contract();
        let cli = resolve.packages.iter().find(|(_, package)| package.name.namespace == "wasi").unwrap().1;
        cli.name.version.as_ref().unwrap().to_string()
    };
    VERSION.get_or_init(read).clone()
}

/// Where the text of WASI stands: in the source of the library that serves it.
fn wasi_folder() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata.get("packages").and_then(Value::as_array).unwrap();
    let wasi = packages.iter().find(|package| package["name"] == "wasmtime-wasi").unwrap();
    Path::new(wasi["manifest_path"].as_str().unwrap()).parent().unwrap().join("src/p2/wit")
}

pub(crate) fn root() -> PathBuf {
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
