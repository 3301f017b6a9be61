//! The house rules as tests: floors, budgets, comments, stray output, paths of machines.

use crate::support::{Source, repository, rust_sources, tracked_files};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

/// Which crates of the workspace a crate may use. A floor looks down only, and the adapters of floor 2 do not know
/// each other, except that models, plugins and servers of tools go through the one door to the network.
const FLOORS: &[(&str, &[&str])] = &[
    ("cofferdam-child", &[]),
    ("cofferdam-core", &[]),
    ("cofferdam-egress", &["cofferdam-core"]),
    ("cofferdam-tools", &["cofferdam-child", "cofferdam-core"]),
    ("cofferdam-engine", &["cofferdam-core"]),
    ("cofferdam-store", &["cofferdam-core"]),
    ("cofferdam-llm", &["cofferdam-core", "cofferdam-egress"]),
    ("cofferdam-mcp", &["cofferdam-child", "cofferdam-core", "cofferdam-egress"]),
    ("cofferdam-model-server", &[]),
    ("cofferdam-plugin", &["cofferdam-core", "cofferdam-egress"]),
    ("cofferdam-registry", &["cofferdam-core", "cofferdam-egress"]),
    (
        "cofferdam",
        &[
            "cofferdam-child",
            "cofferdam-core",
            "cofferdam-egress",
            "cofferdam-engine",
            "cofferdam-llm",
            "cofferdam-mcp",
            "cofferdam-model-server",
            "cofferdam-plugin",
            "cofferdam-registry",
            "cofferdam-store",
            "cofferdam-tools",
        ],
    ),
    ("cofferdam-sdk-macros", &[]),
    ("cofferdam-sdk", &["cofferdam-sdk-macros"]),
    ("plugin-csv", &["cofferdam-sdk"]),
    ("plugin-dir-journal", &["cofferdam-sdk"]),
    ("plugin-fetch", &["cofferdam-sdk"]),
    ("plugin-gate", &["cofferdam-sdk"]),
    ("plugin-keyword-recall", &["cofferdam-sdk"]),
    ("plugin-markdown-table", &["cofferdam-sdk"]),
    ("plugin-ndjson-file", &["cofferdam-sdk"]),
    ("plugin-openai-shaped", &["cofferdam-sdk"]),
    ("plugin-redact", &["cofferdam-sdk"]),
    ("plugin-secrets-scan", &["cofferdam-sdk"]),
    ("plugin-slack", &["cofferdam-sdk"]),
    ("plugin-text", &["cofferdam-sdk"]),
    ("plugin-truncate-tokens", &["cofferdam-sdk"]),
    ("plugin-webhook", &["cofferdam-sdk"]),
    ("guest-echo", &["cofferdam-sdk"]),
    ("guest-fickle", &["cofferdam-sdk"]),
    ("guest-frail-journal", &["cofferdam-sdk"]),
    ("guest-greet", &["cofferdam-sdk"]),
    ("guest-kept", &["cofferdam-sdk"]),
    ("guest-mirror", &["cofferdam-sdk"]),
    ("cofferdam-guests", &[]),
    ("counted-connects", &[]),
    ("faulty-disk", &[]),
];

/// Crates that see everything, because they measure everything.
const ABOVE_ALL: &[&str] = &["cofferdam-bench"];

/// What tests of a crate may use beside its floor.
const FOR_TESTS: &[&str] = &[
    "cofferdam-guests",
    "cofferdam-model-server",
    "cofferdam-sdk",
    "cofferdam-store",
    "counted-connects",
    "faulty-disk",
];

/// Heavy or powerful libraries and the only crates that may use them.
const KEPT_IN: &[(&str, &[&str])] = &[
    ("anyhow", &["cofferdam", "cofferdam-guests"]),
    ("cap-std", &["cofferdam", "cofferdam-tools", "cofferdam-plugin"]),
    ("cel", &["cofferdam-core"]),
    ("clap", &["cofferdam"]),
    ("landlock", &["cofferdam-tools"]),
    ("minijinja", &["cofferdam-core"]),
    ("reqwest", &["cofferdam-egress", "cofferdam-llm"]),
    ("rmcp", &["cofferdam-mcp"]),
    ("rusqlite", &["cofferdam-store"]),
    ("rustls", &["cofferdam-egress"]),
    ("toml_edit", &["cofferdam"]),
    ("wasmtime", &["cofferdam-plugin"]),
    ("wasmtime-wasi", &["cofferdam-plugin"]),
];

/// What the pure floor may never use.
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "tokio-util",
    "reqwest",
    "rusqlite",
    "wasmtime",
    "cap-std",
    "rustix",
    "tempfile",
    "uuid",
    "tracing-subscriber",
];

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Files over the budget, with the lines they may have. The list may only shrink.
const LONG_FILES: &[(&str, usize)] = &[];

/// Functions over the budget, as `path::name`. The list may only shrink.
const LONG_FUNCTIONS: &[&str] = &[];

/// Where printing is the job.
const PRINTS: &[&str] =
    &["host/cli/", "tests/guests/src/main.rs", "tests/bench/", "host/plugin/tests/hostile/table.rs"];

/// Where `unsafe` is let through, each with its reason there. `tests/faulty-disk` and `tests/counted-connects` stand in for
/// the C library.
const UNSAFE: &[&str] = &[
    "host/core/tests/fuzz/meter.rs",
    "host/plugin/src/host.rs",
    "host/plugin/src/lane.rs",
    "tests/bench/src/bare.rs",
    "tests/counted-connects/src/lib.rs",
    "tests/faulty-disk/src/lib.rs",
];

/// Where a tool is called: by the gateway, and by what stands in for a tool and hands on what the gateway gave it.
const CALLS_TOOLS: &[&str] = &["host/engine/src/gateway.rs", "host/testing/tools.rs"];

struct Manifest {
    path: String,
    name: String,
    uses: BTreeSet<String>,
    uses_in_tests: BTreeSet<String>,
}

fn manifests() -> Vec<Manifest> {
    let root = repository();
    let is_manifest = |path: &std::path::PathBuf| path.file_name().is_some_and(|name| name == "Cargo.toml");
    let mut found = Vec::new();
    for path in tracked_files().into_iter().filter(is_manifest) {
        let table: toml::Table = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let names = |table: Option<&toml::Value>, key: &str| -> BTreeSet<String> {
            let entries = table.and_then(|table| table.get(key)).and_then(toml::Value::as_table);
            entries.into_iter().flat_map(|entries| entries.keys().cloned()).collect()
        };
        let whole = toml::Value::Table(table.clone());
        let mut uses = names(Some(&whole), "dependencies");
        uses.extend(names(Some(&whole), "build-dependencies"));
        for target in table.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values) {
            uses.extend(names(Some(target), "dependencies"));
        }
        found.push(Manifest {
            path: path.strip_prefix(&root).unwrap().display().to_string(),
            name: table["package"]["name"].as_str().unwrap().to_owned(),
            uses,
            uses_in_tests: names(Some(&whole), "dev-dependencies"),
        });
    }
    found
}

fn fail_if_any(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}\n  {}", faults.join("\n  "));
}

#[test]
fn every_crate_looks_down_only() {
    let manifests = manifests();
    let ours: BTreeSet<&str> = manifests.iter().map(|manifest| manifest.name.as_str()).collect();
    let floors: BTreeMap<&str, &[&str]> = FLOORS.iter().copied().collect();
    let mut faults = Vec::new();
    for manifest in manifests.iter().filter(|manifest| !ABOVE_ALL.contains(&manifest.name.as_str())) {
        let Some(allowed) = floors.get(manifest.name.as_str()) else {
            faults.push(format!("{}: the crate `{}` has no floor yet", manifest.path, manifest.name));
            continue;
        };
        let edge = |used: &String, allowed: &[&str]| ours.contains(used.as_str()) && !allowed.contains(&used.as_str());
        let here = manifest.uses.iter().filter(|used| edge(used, allowed));
        let widened: Vec<&str> = allowed.iter().chain(FOR_TESTS).copied().collect();
        let tests = manifest.uses_in_tests.iter().filter(|used| edge(used, &widened));
        faults.extend(here.chain(tests).map(|used| format!("{}: `{}` uses `{used}`", manifest.path, manifest.name)));
    }
    let mut rule = String::from("a crate may use these crates of the workspace and no others:\n");
    for (name, allowed) in FLOORS {
        writeln!(rule, "  {name:<22} {}", allowed.join(", ")).unwrap();
    }
    fail_if_any(&faults, &rule);
}

#[test]
fn every_heavy_library_stays_in_its_crate() {
    let mut faults = Vec::new();
    for manifest in manifests().into_iter().filter(|manifest| !ABOVE_ALL.contains(&manifest.name.as_str())) {
        for (library, crates) in KEPT_IN {
            if manifest.uses.contains(*library) && !crates.contains(&manifest.name.as_str()) {
                faults.push(format!("{}: `{library}` belongs to {}", manifest.path, crates.join(", ")));
            }
        }
        if manifest.name == "cofferdam-core" {
            let forbidden = NOT_IN_CORE.iter().filter(|library| manifest.uses.contains(**library));
            faults.extend(forbidden.map(|library| format!("{}: the core is pure, `{library}` is not", manifest.path)));
        }
    }
    fail_if_any(&faults, "a library is used outside its crate");
}

#[test]
fn the_core_touches_no_file_clock_or_variable() {
    let forbidden = [
        "fs::read",
        "fs::write",
        "fs::File::",
        "File::open",
        "OpenOptions",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "std::env",
        "std::process",
        "std::thread",
        "Instant::now",
        "SystemTime::now",
        "tokio::",
    ];
    let mut faults = Vec::new();
    for source in rust_sources().iter().filter(|source| source.path.starts_with("host/core/src/")) {
        for needle in forbidden.iter().filter(|needle| source.code_without_tests().contains(**needle)) {
            faults.push(format!("{}: {needle}", source.path));
        }
    }
    fail_if_any(&faults, "the core does no IO");
}

#[test]
fn no_file_is_longer_than_its_budget() {
    let allowed: BTreeMap<&str, usize> = LONG_FILES.iter().copied().collect();
    let mut faults = Vec::new();
    for source in rust_sources() {
        let lines = source.text.lines().count();
        let budget = allowed.get(source.path.as_str()).copied().unwrap_or(FILE_LINES);
        if lines > budget {
            faults.push(format!("{}: {lines} lines, {budget} allowed", source.path));
        } else if budget > FILE_LINES && lines < budget {
            faults.push(format!("{}: {lines} lines now; lower its entry in LONG_FILES", source.path));
        }
    }
    fail_if_any(&faults, "one concept per file: split what has grown");
}

#[test]
fn no_function_is_longer_than_its_budget() {
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for source in rust_sources() {
        for function in source.functions().into_iter().filter(|function| function.length > FUNCTION_LINES) {
            let name = format!("{}::{}", source.path, function.name);
            match LONG_FUNCTIONS.iter().find(|allowed| **allowed == name) {
                Some(allowed) => _ = used.insert(*allowed),
                None => faults.push(format!(
                    "{}:{}: `{}` has {} lines",
                    source.path, function.line, function.name, function.length
                )),
            }
        }
    }
    let unused = LONG_FUNCTIONS.iter().filter(|name| !used.contains(*name));
    faults.extend(unused.map(|name| format!("{name} is short now; take it out of LONG_FUNCTIONS")));
    fail_if_any(&faults, "a function does one thing: split what has grown");
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |source: &&Source| !source.text.starts_with("//! ");
    let faults: Vec<String> = rust_sources().iter().filter(silent).map(|source| source.path.clone()).collect();
    fail_if_any(&faults, "a file opens with `//!`: what it is, and what it must not know");
}

#[test]
fn modules_lie_beside_their_folders() {
    let faults: Vec<String> =
        rust_sources().into_iter().map(|source| source.path).filter(|path| path.ends_with("/mod.rs")).collect();
    fail_if_any(&faults, "`foo.rs` beside `foo/`, no `mod.rs`");
}

#[test]
fn nothing_prints_but_the_cli() {
    let mut faults = Vec::new();
    for source in rust_sources() {
        if PRINTS.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for word in ["println!", "print!", "eprintln!", "eprint!", "dbg!"] {
            for (at, _) in source.code.match_indices(word) {
                let before = source.code.get(..at).unwrap_or_default();
                if !before.ends_with(|found: char| found.is_alphanumeric() || found == '_') {
                    faults.push(format!("{}:{}: {word}", source.path, before.matches('\n').count() + 1));
                }
            }
        }
    }
    fail_if_any(&faults, "stdout and stderr belong to the CLI");
}

#[test]
fn unsafe_code_is_where_it_is_listed() {
    let lets = |source: &Source| source.code.contains("(unsafe_code") || source.code.contains("(unsafe_op");
    let found: BTreeSet<String> = rust_sources().into_iter().filter(lets).map(|source| source.path).collect();
    let listed: BTreeSet<String> = UNSAFE.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(found, listed, "`unsafe` needs a reason and an entry in UNSAFE");
}

/// Whether a tool is called here: nothing else that can be called takes the context of a call first.
fn calls_a_tool(source: &Source) -> bool {
    let arguments = source.code_without_tests().split(".call(").skip(1);
    let mut first = arguments.filter_map(|rest| rest.trim_start().split([',', ')', '(', '{']).next());
    first.any(|argument| argument.ends_with("ctx") || argument.ends_with("context"))
}

#[test]
fn a_tool_is_called_at_the_gate_alone() {
    let ours = |source: &Source| source.path.starts_with("host/") && !source.path.contains("/tests/");
    let calls = |source: &Source| ours(source) && calls_a_tool(source);
    let found: BTreeSet<String> = rust_sources().into_iter().filter(calls).map(|source| source.path).collect();
    let listed: BTreeSet<String> = CALLS_TOOLS.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(found, listed, "every call of a tool passes the gateway, where it is permitted and recorded");
}

#[test]
fn no_tracked_file_names_a_machine() {
    // Put together here, so that this file does not name one.
    let home = |name: &str| format!("/{name}/");
    let needles = [format!("{}work", "/").as_str(), "/root"].map(|path| format!("{path}/"));
    let registries = ["sparse+http", "registry-index", "replace-with"];
    let mut faults = Vec::new();
    for path in tracked_files() {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let shown = path.strip_prefix(repository()).unwrap().display().to_string();
        if shown == "tests/all/tidy.rs" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let names_machine = needles.iter().any(|needle| is_absolute(line, needle));
            let names_user = is_absolute(line, &home("Users"));
            if names_machine || names_user || registries.iter().any(|needle| line.contains(needle)) {
                faults.push(format!("{shown}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    fail_if_any(&faults, "a path or a registry of one machine");
}

/// Whether a line has the path, and not merely a longer one that ends like it.
fn is_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|found| found.is_alphanumeric() || matches!(found, '.' | '_' | '-' | '/' | '}' | '*'))
    })
}

#[test]
fn every_dependency_comes_from_the_public_registry() {
    let lock = fs::read_to_string(repository().join("Cargo.lock")).unwrap();
    let other = |line: &&str| {
        line.starts_with("source = ") && !line.contains("registry+https://github.com/rust-lang/crates.io-index")
    };
    let faults: Vec<String> = lock.lines().filter(other).map(str::to_owned).collect();
    fail_if_any(&faults, "Cargo.lock names another source");
}
