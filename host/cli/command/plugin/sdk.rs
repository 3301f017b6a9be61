//! The Rust SDK inside this program, so that a plugin can be written where nothing but Rust is installed.
//!
//! One table names its files; a test holds it against the folder. It must not know where they go.

/// Reads the files of the table, relative to `sdk/rust`.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../sdk/rust/", $path)))),*]
    };
}

/// Path and text of each file, but for the manifests.
pub(super) const FILES: &[(&str, &str)] = files![
    "macros/src/lib.rs",
    "macros/src/plugin.rs",
    "macros/src/pure.rs",
    "macros/src/tool.rs",
    "src/component.rs",
    "src/component/model.rs",
    "src/component/pure.rs",
    "src/component/recall.rs",
    "src/component/sink.rs",
    "src/component/storage.rs",
    "src/context.rs",
    "src/definition.rs",
    "src/directory.rs",
    "src/error.rs",
    "src/fake.rs",
    "src/http.rs",
    "src/kv.rs",
    "src/lib.rs",
    "src/model.rs",
    "src/output.rs",
    "src/plugin.rs",
    "src/pure.rs",
    "src/recall.rs",
    "src/sink.rs",
    "src/storage.rs",
    "wit/host/host.wit",
    "wit/model/model.wit",
    "wit/plugin/plugin.wit",
    "wit/recall/recall.wit",
    "wit/sink/sink.wit",
    "wit/storage/storage.wit",
    "wit/tool/tool.wit",
    "wit/transform/transform.wit",
    "wit/types/types.wit",
];

/// Path and text of the manifests: those of the repository take versions from its workspace.
pub(super) const MANIFESTS: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("new/sdk-Cargo.toml.txt")),
    ("macros/Cargo.toml", include_str!("new/sdk-macros-Cargo.toml.txt")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    fn sdk() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/rust")
    }

    fn collect(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else {
                found.insert(path.strip_prefix(sdk()).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn the_table_names_every_file_of_the_sdk() {
        let mut there = BTreeSet::new();
        for folder in ["src", "macros", "wit"] {
            collect(&sdk().join(folder), &mut there);
        }
        there.remove("macros/Cargo.toml");
        let named: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(named, there);
    }

    #[test]
    fn the_manifests_ask_for_what_the_workspace_asks_for() {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap();
        let workspace = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        let wanted = &workspace["workspace"]["dependencies"];
        for (path, text) in MANIFESTS {
            let (ours, theirs) = (read(&sdk().join(path)), text.parse::<toml::Table>().unwrap());
            let tables = |table: &toml::Table| {
                let wasm =
                    table.get("target").map(|target| target["cfg(target_family = \"wasm\")"]["dependencies"].clone());
                let all = [Some(table["dependencies"].clone()), wasm];
                all.into_iter().flatten().flat_map(|table| table.as_table().unwrap().clone()).collect::<toml::Table>()
            };
            let (ours, theirs) = (tables(&ours), tables(&theirs));
            assert_eq!(ours.keys().collect::<BTreeSet<_>>(), theirs.keys().collect::<BTreeSet<_>>(), "{path}");
            for (name, dependency) in theirs.iter().filter(|(name, _)| *name != "cofferdam-sdk-macros") {
                assert_eq!(dependency, &wanted[name], "{path}: {name}");
            }
        }
    }
}
