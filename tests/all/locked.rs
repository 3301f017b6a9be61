//! The lock file: written by approval, kept by a rebuilt component, refused when a component says or wants something
//! else.

use crate::support::{Project, with_echo};

const DOCUMENT: &str = "
name: locked
plugins: { it: { source: ./echo.wasm, grants: { kv: { scope: run } } } }
steps: [{ id: keep, tool: it.keep, args: { key: k, value: v } }]
";

fn project() -> Project {
    let project = with_echo();
    project.file("locked.yaml", DOCUMENT);
    project
}

/// The same component with other bytes: a custom section says nothing.
fn rebuilt(component: &[u8]) -> Vec<u8> {
    [component, &[0, 3, 1, b'x', 0]].concat()
}

#[test]
fn an_approval_locks_and_a_changed_plugin_needs_another() {
    let project = project();
    let run = |args: &[&str]| project.run(&[&["run", "locked.yaml", "-q"], args].concat());
    run(&["--grant", "it:kv=run"]).expect(0);
    assert!(!project.path("cofferdam.lock").exists());
    run(&["--grant-requested", "--dry-run"]).expect(0);
    assert!(!project.path("cofferdam.lock").exists(), "nothing ran");
    run(&["--grant-requested"]).expect(0);
    let lock = project.read("cofferdam.lock");
    for part in ["alias = \"it\"", "source = \"echo.wasm\"", "cofferdam:host/kv@0.1.0", "tools = \"sha256:"] {
        assert!(lock.contains(part), "`{part}` is not in\n{lock}");
    }
    run(&["--grant", "it:kv=run", "--locked"]).expect(0);
    let component = std::fs::read(project.path("echo.wasm")).unwrap();
    project.file("echo.wasm", rebuilt(&component));
    run(&["--grant", "it:kv=run"]).expect(0);
    run(&["--grant", "it:kv=run", "--locked"]).expect(2).says(&["another component than the locked one"]);
    project.file("echo.wasm", cofferdam_guests::built_bytes("greet").unwrap());
    let outcome = run(&["--grant", "it:kv=run"]).expect(2);
    outcome.says(&["not the one that was approved", "cofferdam plugin lock"]);
    project.run(&["plugin", "lock", "locked.yaml"]).expect(0).says(&["was written"]);
    assert_ne!(project.read("cofferdam.lock"), lock);
    project.run(&["plugin", "lock", "locked.yaml"]).expect(0).says(&["is as it was"]);
}

#[test]
fn locked_takes_nothing_that_is_not_in_the_file() {
    let project = project();
    let run = || project.run(&["run", "locked.yaml", "-q", "--locked", "--grant", "it:kv=run"]);
    run().expect(2).says(&["is not in the lock file", "cofferdam plugin lock"]);
    project.run(&["plugin", "lock", "locked.yaml"]).expect(0);
    run().expect(0);
}

#[test]
fn a_lock_file_that_cannot_be_read_lets_nothing_run() {
    let project = project();
    for text in ["version = 1\nplugins = 3\n", "version = 7\n", "{"] {
        project.file("cofferdam.lock", text);
        project
            .run(&["run", "locked.yaml", "--grant", "it:kv=run"])
            .expect(2)
            .says(&["cofferdam.lock", "cannot be read"]);
    }
}

const LOUD: &str = "
name: loud
plugins: { kept: { source: ./kept.wasm, config: { word: again } } }
steps:
  - { id: say, instructions: go on, transform: { output: [{ plugin: kept, options: { outcome: keep } }] } }
";

#[test]
fn a_transform_whose_options_say_something_else_needs_another_approval() {
    let project = Project::new();
    let component = cofferdam_guests::archived_bytes("transform-0.1.0").unwrap();
    project.file("kept.wasm", &component).file("script.yaml", "default: { text: said }\n").file("loud.yaml", LOUD);
    let run = || project.run(&["run", "loud.yaml", "-q", "--model", "scripted/script.yaml"]);
    project.run(&["plugin", "lock", "loud.yaml"]).expect(0);
    run().expect(0);
    let (said, says) = (b"What becomes of each item.", b"What became of every item.");
    let at = component.windows(said.len()).position(|part| part == said).unwrap();
    let mut changed = component.clone();
    changed[at..at + says.len()].copy_from_slice(says);
    project.file("kept.wasm", changed);
    run().expect(2).says(&["not the one that was approved", "its options is different"]);
}
