//! Plugins in JavaScript and Python, as far as it goes without their toolchains: those are tried by `tests/run --online`.
//! Small programs stand for them here.

use crate::support::{Project, repository};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A program that does what a script says.
fn program(project: &Project, name: &str, script: &str) {
    project.file(name, format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(project.path(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder whose `bin` stands before the shell's own programs.
fn with_programs(project: Project) -> Project {
    let bin = project.path("bin").display().to_string();
    project.variable("PATH", &format!("{bin}:/usr/bin:/bin"))
}

/// Where `componentize-js` would be installed.
const JS: &str = "words/node_modules/@bytecodealliance/componentize-js/package.json";

#[test]
fn new_writes_a_folder_for_each_language_and_says_how_to_go_on() {
    for (lang, files) in [
        ("js", ["package.json", "plugin.js", ".cofferdam-sdk/cofferdam.js", "tool.plugin-test.yaml"]),
        ("python", ["pyproject.toml", "src/plugin.py", ".cofferdam-sdk/cofferdam/__init__.py", "workflow.yaml"]),
    ] {
        let project = Project::new();
        let told = project.run(&["plugin", "new", "words", "--lang", lang]).expect(0);
        told.says(&["next:", "plugin build --install", "plugin call dist/words.wasm count"]);
        for file in files {
            let text = project.read(&format!("words/{file}"));
            assert!(!text.contains("__") || file.contains("cofferdam-sdk"), "{file}: {text}");
        }
        project.run(&["validate", "words/workflow.yaml"]).expect(2).says(&["words.wasm"]);
        project.run(&["plugin", "new", "words", "--lang", lang]).expect(3).says(&["nothing is overwritten"]);
    }
}

#[test]
fn kinds_without_a_template_say_which_there_is() {
    for (lang, name) in [("js", "JavaScript"), ("python", "Python")] {
        for kind in ["transform", "condition", "sink", "storage", "model", "recall"] {
            let outcome = Project::new().run(&["plugin", "new", "words", "--lang", lang, "--kind", kind]).expect(3);
            outcome.says(&[
                &format!("no template for a {kind} in {name}"),
                "the kind there is: tool",
                "leave `--lang` out",
            ]);
        }
    }
}

#[test]
fn nothing_is_installed_unless_one_says_so() {
    let project = with_programs(Project::new());
    program(&project, "bin/node", "echo v20.0.0");
    program(&project, "bin/npm", "echo npm $* >> ../npm.log");
    project.run(&["plugin", "new", "words", "--lang", "js"]).expect(0);
    project.run(&["plugin", "build", "words"]).expect(3).says(&[
        "are not installed",
        "`npm install` in `words`",
        "--install",
    ]);
    assert!(!project.path("npm.log").exists());
    project.run(&["plugin", "test", "words"]).expect(3).says(&["are not installed"]);
    project.run(&["plugin", "build", "words", "--install"]).expect(3).says(&["in words: npm install"]);
    assert_eq!(project.read("npm.log").lines().count(), 1);
    project.file("words/package-lock.json", "{}");
    project.run(&["plugin", "build", "words", "--install"]).expect(3).says(&["in words: npm ci"]);
    project.file(JS, r#"{"version":"0.1.0"}"#);
    project.run(&["plugin", "build", "words"]).expect(3).says(&["componentize-js 0.1.0 is installed", "wants 0.23.0"]);
}

#[test]
fn missing_programs_are_named_with_what_installs_them() {
    let project = Project::new().variable("PATH", "/nonexistent");
    // Nothing but what is put there; the small programs need no others.
    let bin = project.path("bin").display().to_string();
    project.run(&["plugin", "new", "words", "--lang", "js"]).expect(0);
    project.run(&["plugin", "build", "words"]).expect(3).says(&["node cannot be run", "install Node.js"]);
    program(&project, "bin/node", "echo v20.0.0");
    let project = project.variable("PATH", &bin);
    project
        .run(&["plugin", "build", "words", "--install"])
        .expect(3)
        .says(&["npm cannot be run", "npm comes with Node.js"]);
    project.run(&["plugin", "new", "figures", "--lang", "python"]).expect(0);
    let outcome = project.run(&["plugin", "build", "figures"]).expect(3);
    outcome.says(&[
        "componentize-py 0.25.1 is not installed",
        "python3 -m venv .venv",
        "pip install -r requirements.txt",
    ]);
    project.run(&["plugin", "build", "figures", "--install"]).expect(3).says(&["python3 cannot be run", "venv"]);
    project
        .run(&["plugin", "build", "."])
        .expect(3)
        .says(&["no plugin in", "Cargo.toml, package.json or pyproject.toml"]);
}

#[test]
fn a_manifest_that_is_wrong_is_said_before_anything_runs() {
    let project = Project::new().variable("PATH", "/nonexistent");
    let package = |version: &str, rest: &str| {
        format!(r#"{{"name":"words","devDependencies":{{"@bytecodealliance/componentize-js":"{version}"}}{rest}}}"#)
    };
    for (text, says) in [
        (package("^0.23.0", ""), "one exact version is needed"),
        (package("0.23.0", r#","cofferdam":{"imports":["shell"]}"#), "the host has nothing called \"shell\""),
        (r#"{"name":"words"}"#.to_owned(), "npm install --save-dev --save-exact"),
        ("{".to_owned(), "`package.json`:"),
    ] {
        project.file("words/package.json", text);
        project.run(&["plugin", "build", "words"]).expect(3).says(&["package.json", says]);
    }
    project.file("figures/pyproject.toml", "[project]\nname = \"figures\"\n[tool.cofferdam]\nimport = []\n");
    project.run(&["plugin", "build", "figures"]).expect(3).says(&["pyproject.toml", "unknown key `import`"]);
    project.file("figures/pyproject.toml", "[project]\nname = \"figures\"\n");
    project.run(&["plugin", "build", "figures"]).expect(3).says(&["requirements.txt", "componentize-py==0.25.1"]);
}

#[test]
fn a_package_is_built_checked_and_tested_and_not_built_again_without_a_reason() {
    let project = with_programs(Project::new());
    project.file("echo.wasm", cofferdam_guests::built_bytes("echo").unwrap());
    // It notes how it was called, and gives the component.
    let node = r#"[ "$1" = --version ] && exit 0
echo "$*" >> ../node.log
grep host/ dist/wit/plugin.wit >> ../node.log
for last; do :; done
cp ../echo.wasm "$last""#;
    program(&project, "bin/node", node);
    project.run(&["plugin", "new", "words", "--lang", "js"]).expect(0);
    project.file(JS, r#"{"version":"0.23.0"}"#);
    let outcome = project.run(&["plugin", "build", "words"]).expect(0).says(&["digest"]);
    assert_eq!(outcome.stdout, "words/dist/words.wasm\n");
    let log = project.read("node.log");
    assert!(log.contains("plugin.js --wit dist/wit --world-name cofferdam-plugin --disable http"), "{log}");
    assert!(log.contains("host/log@") && !log.contains("host/http@"), "{log}");
    let calls = || project.read("node.log").matches("--world-name").count();
    let tests = "plugin: { build: . }\ncases:\n  - name: echoes\n    call: { tool: echo, args: { value: 1 } }\n    \
                 expect: { result: { value: 1 } }\n";
    // Older than the component, as what an author wrote before is.
    let written = |path: &str| fs::File::open(project.path(path)).unwrap().metadata().unwrap().modified().unwrap();
    let made = written("words/dist/words.wasm");
    project.file("words/tool.plugin-test.yaml", tests);
    let old = made - std::time::Duration::from_secs(10);
    fs::File::options()
        .write(true)
        .open(project.path("words/tool.plugin-test.yaml"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    let outcome = project.run(&["plugin", "test", "words"]).expect(0);
    assert!(outcome.stdout.contains("1 passed, 0 failed"), "{}", outcome.stdout);
    assert_eq!(calls(), 1);
    // What it asks of the host is part of it.
    let package = project.read("words/package.json").replace("\"imports\": []", "\"imports\": [\"http\"]");
    project.file("words/package.json", package);
    fs::File::options().write(true).open(project.path("words/package.json")).unwrap().set_modified(old).unwrap();
    project.run(&["plugin", "build", "words"]).expect(0);
    assert_eq!(calls(), 2);
    assert!(project.read("node.log").contains("host/http@"));
    let newer = fs::File::options().write(true).open(project.path("words/plugin.js")).unwrap();
    newer.set_modified(made + std::time::Duration::from_secs(3600)).unwrap();
    project.run(&["plugin", "build", "words"]).expect(0);
    assert_eq!(calls(), 3);
}

#[test]
fn what_does_not_build_shows_what_the_tool_says_of_it() {
    let project = with_programs(Project::new());
    program(
        &project,
        "bin/node",
        "[ \"$1\" = --version ] && exit 0\necho 'Error: plugin.js:3 TypeError: no' >&2\necho '    at x (file:///y)' >&2\nexit 1",
    );
    project.run(&["plugin", "new", "words", "--lang", "js"]).expect(0);
    project.file(JS, r#"{"version":"0.23.0"}"#);
    let outcome = project.run(&["plugin", "build", "words"]).expect(1);
    assert!(!outcome.stderr.contains("file:///"), "{}", outcome.stderr);
    outcome.says(&[
        "plugin.js:3 TypeError: no",
        "the plugin in `words` does not build",
        "export const { lifecycle, tool }",
    ]);
}

#[test]
fn a_project_is_built_by_the_tool_of_its_own_environment() {
    let project = with_programs(Project::new());
    project.file("echo.wasm", cofferdam_guests::built_bytes("echo").unwrap());
    let tool = r#"[ "$1" = --version ] && echo "componentize-py 0.25.1" && exit 0
echo "$*" >> ../python.log
for last; do :; done
cp ../echo.wasm "$last""#;
    project.run(&["plugin", "new", "figures", "--lang", "python"]).expect(0);
    program(&project, "bin/componentize-py", "echo componentize-py 0.1.0");
    project
        .run(&["plugin", "build", "figures"])
        .expect(3)
        .says(&["componentize-py 0.1.0 is installed", "wants 0.25.1"]);
    program(&project, "figures/.venv/bin/componentize-py", tool);
    fs::remove_dir_all(project.path("figures/.cofferdam-sdk")).unwrap();
    let outcome = project.run(&["plugin", "build", "figures"]).expect(0).says(&["wrote figures/.cofferdam-sdk"]);
    assert_eq!(outcome.stdout, "figures/dist/figures.wasm\n");
    let log = project.read("python.log");
    assert!(log.contains("--world cofferdam-plugin componentize plugin --python-path src"), "{log}");
}

/// The component of a guest, with the mark of componentize-js.
fn marked(name: &str) -> Vec<u8> {
    let mut bytes = cofferdam_guests::built_bytes(name).unwrap();
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let (field, tool, version) = (text("processed-by"), text("ComponentizeJS"), text("0.0.0"));
    let section = [text("producers"), vec![1], field, vec![1], tool, version].concat();
    bytes.extend([0, u8::try_from(section.len()).unwrap()]);
    bytes.extend(section);
    bytes
}

#[test]
fn within_a_step_calls_share_an_instance_and_the_next_step_begins_anew() {
    let project = Project::new();
    project.file("marked.wasm", marked("echo"));
    let seen = project.run(&["plugin", "inspect", "marked.wasm"]).expect(0);
    assert!(seen.stdout.contains("JavaScript; one instance for the calls of a step"), "{}", seen.stdout);
    let document = "name: w
plugins: { guest: ./marked.wasm }
agents: { one: { description: counts, tools: [guest.count_calls] } }
steps:
  - { id: first, agent: one, instructions: Count. }
  - { id: second, agent: one, instructions: Count., dependsOn: [first] }
  - { id: third, tool: guest.count_calls, dependsOn: [second] }
";
    let script = "answers:
  - { turn: 1, toolCalls: [{ tool: guest.count_calls }] }
  - { turn: 2, toolCalls: [{ tool: guest.count_calls }] }
  - { turn: 3, toolCalls: [{ tool: guest.count_calls }] }
  - { turn: 4, text: done }
";
    project.file("w.yaml", document);
    project.file("script.yaml", script);
    let events = project.run(&["run", "w.yaml", "--model", "scripted/script.yaml", "--json"]).expect(0).json_lines();
    let finished = events.iter().filter(|event| event["kind"] == "tool_call_finished");
    let counts: Vec<_> = finished.map(|event| event["result"].clone()).collect();
    assert_eq!(json!(counts), json!([1, 2, 3, 1, 2, 3, 1]));
}

#[test]
fn the_examples_pin_what_the_templates_pin() {
    let project = Project::new();
    project.run(&["plugin", "new", "words", "--lang", "js"]).expect(0);
    project.run(&["plugin", "new", "figures", "--lang", "python"]).expect(0);
    let pin =
        |text: &str, before: &str| text.split(before).nth(1).unwrap().split(['"', '\n']).next().unwrap().to_owned();
    let (js, python) = ("componentize-js\": \"", "componentize-py==");
    let read = |path: &str| fs::read_to_string(repository().join(path)).unwrap();
    let example = read("sdk/js/examples/outline/package.json");
    assert_eq!(pin(&project.read("words/package.json"), js), pin(&example, js));
    let example = read("sdk/python/examples/figures/requirements.txt");
    assert_eq!(pin(&project.read("figures/requirements.txt"), python), pin(&example, python));
}

/// The one block of a language in `sdk/README.md`.
fn taught(language: &str) -> String {
    let page = fs::read_to_string(repository().join("sdk/README.md")).unwrap();
    let fence = format!("```{language}\n");
    let mut blocks = page.split(&fence).skip(1).map(|rest| rest.split("```\n").next().unwrap());
    let block = blocks.next().unwrap().to_owned();
    assert_eq!(blocks.next(), None, "{language}");
    block
}

#[test]
fn what_the_page_teaches_is_what_new_writes() {
    let project = Project::new();
    for (lang, language, file) in [("js", "js", "plugin.js"), ("python", "python", "src/plugin.py")] {
        project.run(&["plugin", "new", "words", "--lang", lang]).expect(0);
        let written = project.read(&format!("words/{file}"));
        let block = taught(language);
        assert!(block.len() > 300 && written.ends_with(&block), "{block}\n--- but\n{written}");
        fs::remove_dir_all(project.path("words")).unwrap();
    }
}

#[test]
fn the_page_names_every_helper() {
    let page = fs::read_to_string(repository().join("sdk/README.md")).unwrap();
    for folder in ["sdk/js", "sdk/python/cofferdam"] {
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some((stem, "js" | "py")) = name.rsplit_once('.') else { continue };
            if stem.starts_with('_') {
                continue;
            }
            assert!(
                page.contains(&format!("`{stem}.js`")) || page.contains(&format!(".{stem}`")) || stem == "cofferdam",
                "{name}"
            );
        }
    }
}
