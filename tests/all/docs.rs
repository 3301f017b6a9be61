//! Documents that lie: every YAML file of the repository is read as what it is, every command of the README is run, and
//! the tool that the README teaches is built and called.

use crate::support::{Project, repository, tracked_files};
use cofferdam::Workflow;
use cofferdam::llm::Scripted;
use cofferdam::testing::{PluginTests, TestFile};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shown(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().display().to_string()
}

fn with_ending(ending: &str) -> Vec<PathBuf> {
    tracked_files().into_iter().filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

/// Documents with faults on purpose, of which a golden text says which, and those of the core, which come with files that
/// only its own test has.
fn is_left_out(name: &str) -> bool {
    let case: PathBuf = name.split('/').take(4).collect();
    let case = fs::read_to_string(repository().join(case).join("case.toml")).unwrap_or_default();
    name.starts_with("host/core/tests/") || case.lines().any(|line| line == "exit = 2")
}

#[test]
fn every_yaml_file_is_a_workflow_or_a_script() {
    let mut faults = Vec::new();
    let (mut workflows, mut scripts) = (0, 0);
    for path in with_ending("yaml") {
        let name = shown(&path);
        if is_left_out(&name) {
            continue;
        }
        if name.ends_with(".test.yaml") {
            faults.extend(TestFile::load(&path).err().map(|error| format!("{name}: {error}")));
            continue;
        }
        if name.ends_with(".plugin-test.yaml") {
            faults.extend(PluginTests::load(&path).err().map(|error| format!("{name}: {error}")));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let is_script = text.contains("\nanswers:")
            || text.starts_with("answers:")
            || text.contains("\ndefault:")
            || text.starts_with("default:");
        let files = path.parent().unwrap().join("files");
        let base = if files.is_dir() { files } else { path.parent().unwrap().to_owned() };
        let fault = if is_script {
            scripts += 1;
            Scripted::parse(&text).err().map(|fault| fault.to_string())
        } else {
            workflows += 1;
            Workflow::parse(&text, base).err().map(|error| error.to_string())
        };
        faults.extend(fault.map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(workflows > 50 && scripts > 30, "{workflows} workflows, {scripts} scripts");
}

/// The fenced blocks of a page: language and text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, text))) => text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    found
}

#[test]
fn every_workflow_in_a_page_is_valid() {
    let mut checked = 0;
    for path in with_ending("md") {
        for (language, text) in blocks(&fs::read_to_string(&path).unwrap()) {
            if language == "yaml" && text.contains("steps:") && text.contains("name:") {
                checked += 1;
                let outcome = Workflow::parse(&text, repository());
                assert!(outcome.is_ok(), "{}: {}\n{text}", shown(&path), outcome.err().unwrap());
            }
        }
    }
    assert!(checked >= 1);
}

fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).unwrap()
}

/// The lines of shell blocks that run the program: its arguments.
fn commands(text: &str) -> Vec<Vec<String>> {
    let lines = blocks(text)
        .into_iter()
        .filter(|(language, _)| language == "sh")
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines
        .filter_map(|line| {
            let line = line.split("  #").next().unwrap_or_default().trim().to_owned();
            let rest = line.strip_prefix("cargo run --release -- ").or_else(|| line.strip_prefix("cofferdam "))?;
            Some(words(rest))
        })
        .collect()
}

/// Splits a line as a shell does, as far as the README needs it: double quotes only.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for found in line.chars() {
        match found {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("there is always a word").push(found),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_readme_works() {
    let project = Project::with_plugins();
    project.copy_from_repository("host/examples");
    project.file("README.md", readme());
    // What the chapter about tools builds.
    project.file("greet.wasm", cofferdam_guests::built_bytes("greet").unwrap());
    project.file("greet.yaml", block_after("`greet.yaml`"));
    let commands = commands(&readme());
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let args: Vec<&str> = command.iter().map(String::as_str).collect();
        let expected = i32::from(args.iter().any(|word| word.ends_with("denied.yaml")) && !args.contains(&"validate"));
        project.run(&args).expect(expected);
    }
}

/// The block that follows a mention in the README.
fn block_after(mention: &str) -> String {
    let text = readme();
    let (_, rest) = text.split_once(mention).unwrap_or_else(|| panic!("the README does not mention {mention}"));
    blocks(rest).into_iter().next().unwrap().1
}

#[test]
fn the_readme_has_exactly_two_commands_to_set_up() {
    let text = readme();
    let (_, chapter) = text.split_once("## Start").unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    let lines: Vec<String> = blocks(chapter)
        .into_iter()
        .filter(|(language, _)| language == "sh")
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("cargo run --release -- run host/examples/audit.yaml"));
    assert!(lines[1].starts_with("tests/run"));
}

#[test]
fn the_exit_codes_of_the_readme_are_those_of_the_program() {
    let help = Project::new().run(&["--help"]).expect(0).stdout;
    let (_, table) = help.split_once("Exit codes:\n").unwrap();
    for line in table.lines().filter(|line| !line.trim().is_empty()) {
        let (number, meaning) = line.trim().split_once(' ').unwrap();
        let row = format!("| {number} | {} |", meaning.trim());
        assert!(readme().contains(&row), "`{row}` is not in the README");
    }
}

#[test]
fn the_tool_of_the_readme_builds_as_it_stands_and_works() {
    let folder = repository().join("target/readme/greet");
    fs::create_dir_all(folder.join("src")).unwrap();
    let sdk = repository().join("sdk/rust");
    let manifest = block_after("`Cargo.toml`").replace("../cofferdam/sdk/rust", sdk.to_str().unwrap());
    // It lies below this workspace only here.
    fs::write(folder.join("Cargo.toml"), manifest + "\n[workspace]\n").unwrap();
    fs::write(folder.join("src/lib.rs"), block_after("`src/lib.rs`")).unwrap();
    // The versions that this repository has tested; what is not used is left out.
    fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .current_dir(&folder)
        .args(["build", "--release", "--target", "wasm32-wasip2", "--target-dir", "../target"])
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let component = folder.join("../target/wasm32-wasip2/release/greet.wasm");
    let project = Project::new();
    project.file("greet.wasm", fs::read(component).unwrap()).file("greet.yaml", block_after("`greet.yaml`"));
    let said = project.run(&["run", "greet.yaml"]).expect(0).stdout;
    assert!(said.contains("Hello, Ada!"), "{said}");
}
