//! The world of a plugin: what its component imports and exports, as text beside the copies of the interfaces.
//!
//! Neither toolchain leaves out what a world imports and nobody uses, so the world is made of what the author lists.

use super::sdk;
use crate::failure::Failure;
use crate::terminal;
use std::fmt::Write as _;
use std::path::Path;

/// The world's name. No module of an author is called so.
pub(super) const NAME: &str = "cofferdam-plugin";
/// Where it stands in the folder of the plugin.
pub(super) const FOLDER: &str = "dist/wit";

/// What all may call, without a grant.
const BASE: [&str; 3] = ["config", "log", "run-control"];
/// What an author lists to use it. `inspect` shows it, and most of it needs a grant.
pub(super) const EXTRA: [&str; 6] = ["blobs", "http", "kv", "secrets", "secrets-reveal", "tools"];

/// Whether what a component is made of stood there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    AsItWas,
    Written,
}

/// Writes world and interfaces for the build, unless exactly they are there.
pub(super) fn write(dir: &Path, imports: &[String]) -> Result<World, Failure> {
    let folder = dir.join(FOLDER);
    let deps = sdk::WIT.iter().map(|(path, text)| (folder.join("deps").join(path), (*text).to_owned()));
    let files: Vec<_> = deps.chain([(folder.join("plugin.wit"), text(imports))]).collect();
    if files.iter().all(|(path, text)| std::fs::read_to_string(path).is_ok_and(|there| there == *text)) {
        return Ok(World::AsItWas);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    }
    files.iter().try_for_each(|(path, text)| put(path, text))?;
    Ok(World::Written)
}

fn text(imports: &[String]) -> String {
    let mut text = format!("package local:plugin;\n\nworld {NAME} {{\n");
    for interface in BASE.into_iter().chain(imports.iter().map(String::as_str)) {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "    import cofferdam:host/{interface}@0.1.0;");
    }
    text.push_str("    export cofferdam:plugin/lifecycle@0.1.0;\n    export cofferdam:tool/tool@0.1.0;\n}\n");
    text
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, text)).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("`{}` cannot be written: {error}", terminal::name(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_of_the_host_can_be_named() {
        let (_, host) = sdk::WIT.iter().find(|(path, _)| *path == "host/host.wit").unwrap();
        assert!(host.contains("package cofferdam:host@0.1.0;"));
        let declared = host.lines().filter_map(|line| line.strip_prefix("interface ")?.strip_suffix(" {"));
        let mut declared: Vec<&str> = declared.collect();
        declared.sort_unstable();
        let mut ours: Vec<&str> = BASE.into_iter().chain(EXTRA).collect();
        ours.sort_unstable();
        assert_eq!(declared, ours);
    }

    #[test]
    fn a_world_imports_what_is_listed_and_no_more() {
        let text = text(&["http".to_owned()]);
        assert!(text.contains("import cofferdam:host/http@0.1.0;") && text.contains("host/log@"), "{text}");
        assert!(!text.contains("host/kv@"), "{text}");
    }
}
