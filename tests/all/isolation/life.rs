//! Directories of steps over time: kills, other tries, branches, and the end of a run's record.

use super::{MODEL, changes, commit, directory, document, exec, files, git, patch, repository, run, write};
use crate::support::{Project, Running};
use rustix::process::Signal;
use serde_json::json;
use std::fs;

/// An agent that writes a file in each of its first turns; the second never comes.
fn talker(project: &Project, isolation: &str) {
    let document = format!(
        "name: talks\noptions: {{ isolation: {isolation} }}\nagents: {{ helper: {{ description: Helps., tools: [write, read] }} }}\n\
         steps: [{{ id: talk, agent: helper, instructions: Work. }}]\n"
    );
    project.file("talks.yaml", document).file(
        "model.yaml",
        "answers:\n  - { turn: 1, toolCalls: [{ tool: write, args: { path: first.txt, content: '1' } }] }\n  - { turn: 2, delay: 1h, text: late }\n",
    );
}

fn start(project: &Project) -> Running {
    let running = project.start(&[&["run", "talks.yaml", "--json", "--allow", "write"], &MODEL[..]].concat());
    let called = || {
        let shown = project.run(&["runs", "show", "last", "--json"]);
        shown.code == Some(0) && shown.stdout.contains("\"tool_call_finished\"")
    };
    while !project.path(".cofferdam/runs.db").exists() || !called() {
        std::thread::yield_now();
    }
    running
}

const QUICK: &str = "answers:
  - { turn: 2, toolCalls: [{ tool: read, args: { path: first.txt } }, { tool: write, args: { path: second.txt, content: '2' } }] }
  - { turn: 3, text: done }
default: { error: { code: asked_again, class: step, message: 'this was answered before' } }
";

#[test]
fn a_step_goes_on_in_its_directory_after_a_kill() {
    for isolation in ["workdir-per-step", "copy-per-step", "worktree-per-step"] {
        let project = repository();
        talker(&project, isolation);
        commit(&project);
        let running = start(&project);
        running.signal(Signal::KILL);
        running.wait();
        project.file("model.yaml", QUICK);
        project.run(&["resume", "last", "--allow", "write"]).expect(0);
        let changes = changes(&project, "talk");
        assert_eq!(files(&changes), [("first.txt", "added"), ("second.txt", "added")], "{isolation}");
        assert!(patch(&project, &changes).contains("+++ b/first.txt"), "{isolation}");
        assert!(!project.path("first.txt").exists());
    }
}

#[test]
fn a_step_that_was_interrupted_leaves_a_patch_and_goes_on() {
    let project = repository();
    talker(&project, "worktree-per-step");
    commit(&project);
    let running = start(&project);
    running.signal(Signal::INT);
    running.wait().expect(130).says(&["talk: what it had changed when it was stopped is in `changes/talk.1.patch`"]);
    assert!(directory(&project).join("changes/talk.1.patch").exists());
    project.file("model.yaml", QUICK);
    project.run(&["resume", "last", "--allow", "write"]).expect(0);
    assert_eq!(files(&changes(&project, "talk")), [("first.txt", "added"), ("second.txt", "added")]);
}

#[test]
fn another_try_begins_anew_and_loses_nothing() {
    let project = repository();
    let document = "name: talks\noptions: { isolation: copy-per-step }\nagents: { helper: { description: Helps., tools: [write, read] } }\n\
         steps: [{ id: talk, agent: helper, instructions: Work., retries: 1 }]\n";
    project.file("talks.yaml", document).file(
        "model.yaml",
        "answers:\n  - { attempt: 1, turn: 1, toolCalls: [{ tool: write, args: { path: first.txt, content: '1' } }] }\n\
         \x20 - { attempt: 1, turn: 2, error: { class: retry, code: busy, message: busy } }\n\
         \x20 - { attempt: 2, turn: 1, toolCalls: [{ tool: read, args: { path: first.txt } }, { tool: write, args: { path: second.txt, content: '2' } }] }\n\
         \x20 - { attempt: 2, turn: 2, text: done }\n",
    );
    project.run(&[&["run", "talks.yaml", "--allow", "write"], &MODEL[..]].concat()).expect(0);
    let changes = changes(&project, "talk");
    assert_eq!(files(&changes), [("second.txt", "added")]);
    assert_eq!(changes["directory"], "work/talk.2/tree");
    let first = fs::read_to_string(directory(&project).join("changes/talk.1.patch")).unwrap();
    assert!(first.contains("+++ b/first.txt"), "{first}");
    assert!(!directory(&project).join("work/talk.1").exists(), "it is in its patch");
}

#[test]
fn a_run_that_is_deleted_leaves_its_patches() {
    let project = repository();
    document(
        &project,
        "worktree-per-step",
        &json!([write("a", "new.txt", "x"), exec("b", "mkdir c; touch c/d; chmod 555 c")]),
    );
    commit(&project);
    run(&project);
    let run_directory = directory(&project);
    assert_eq!(git(&project, &["worktree", "list"]).lines().count(), 3);
    let id = run_directory.file_name().unwrap().to_str().unwrap().to_owned();
    project.run(&["runs", "rm", "last"]).expect(0).says(&["kept the patches of"]);
    assert!(!run_directory.exists());
    assert_eq!(git(&project, &["worktree", "list"]).lines().count(), 1);
    git(&project, &["apply", &format!(".cofferdam/patches/{id}/a.1.patch")]);
    assert_eq!(project.read("new.txt"), "x");
}

#[test]
fn nothing_is_deleted_that_is_in_no_patch() {
    let project = repository();
    document(
        &project,
        "worktree-per-step",
        &json!([exec(
            "a",
            "mkdir own; cd own; git init -q .; echo x > y; git -c user.name=a -c user.email=a@b add y; git -c user.name=a -c user.email=a@b commit -qm m"
        )]),
    );
    let said = project.run(&["run", "w.yaml", "--allow", "exec"]).expect(0).stderr;
    assert!(said.contains("its patch does not hold all that it changed: `own` is a repository of its own"), "{said}");
    let refused = project.run(&["runs", "rm", "last"]).expect(1);
    assert!(refused.stderr.contains("has changes that cannot be saved as a patch"), "{}", refused.stderr);
    assert!(directory(&project).join("work/a.1/tree/own/y").exists());
    project.run(&["runs", "rm", "--force", "last"]).expect(0);
}

#[test]
fn a_fork_takes_changes_along() {
    let project = repository();
    let steps = json!([write("a", "a.txt", "a"), { "id": "b", "dependsOn": ["a"], "tool": "write", "args": { "path": "b.txt", "content": "b" } }]);
    let document = json!({ "name": "w", "options": { "isolation": "copy-per-step" }, "steps": steps });
    project.file("w.yaml", document.to_string());
    run(&project);
    let first = directory(&project);
    project.run(&["fork", "last", "--from", "b", "--allow", "write"]).expect(0);
    assert_ne!(directory(&project), first);
    let changes = changes(&project, "a");
    assert_eq!(files(&changes), [("a.txt", "added")]);
    assert!(patch(&project, &changes).contains("+++ b/a.txt"));
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn a_branch_goes_on_in_the_directory_that_it_has_from_its_run() {
    for isolation in ["copy-per-step", "worktree-per-step"] {
        let project = repository();
        talker(&project, isolation);
        commit(&project);
        let running = start(&project);
        running.signal(Signal::KILL);
        running.wait();
        let document = project.read("talks.yaml");
        project.file("model.yaml", QUICK).file("talks.yaml", format!("{document}description: The same.\n"));
        project.run(&["resume", "last", "--allow", "write", "--accept-changes"]).expect(0);
        assert_eq!(files(&changes(&project, "talk")), [("first.txt", "added"), ("second.txt", "added")], "{isolation}");
    }
}

#[test]
fn a_link_does_not_choose_what_is_deleted() {
    let project = repository();
    let outside = tempfile::TempDir::new().unwrap();
    fs::create_dir(outside.path().join("mine")).unwrap();
    document(&project, "none", &json!([write("a", "a.txt", "a")]));
    run(&project);
    std::os::unix::fs::symlink(outside.path(), directory(&project).join("work")).unwrap();
    project.run(&["runs", "rm", "last"]).expect(0);
    assert!(outside.path().join("mine").is_dir());
}
