//! Steps with directories of their own: what they see, what becomes of what they change, and how it gets out.

use crate::support::{Project, Running};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where programs are; tests have no variables of whoever runs them.
const SEARCH: &str = "/usr/local/bin:/usr/bin:/bin";
const MODEL: [&str; 2] = ["--model", "scripted/model.yaml"];

fn project() -> Project {
    Project::new().variable("PATH", SEARCH)
}

/// A project in a repository with one commit.
fn repository() -> Project {
    let project = project();
    project.file("src/a.txt", "one\ntwo\nthree\n").file("keep.bin", [0, 1, 2]).file(".gitignore", ".cofferdam\nhome\n");
    git(&project, &["init", "--quiet"]);
    commit(&project);
    project
}

fn commit(project: &Project) {
    git(project, &["add", "-A"]);
    git(project, &["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "all"]);
}

#[track_caller]
fn git(project: &Project, args: &[&str]) -> String {
    let said = Command::new("git")
        .args(args)
        .current_dir(project.path(""))
        .env_clear()
        .env("PATH", SEARCH)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(said.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

fn exec(id: &str, command: &str) -> Value {
    json!({ "id": id, "tool": "exec", "args": { "command": command } })
}

fn write(id: &str, path: &str, content: &str) -> Value {
    json!({ "id": id, "tool": "write", "args": { "path": path, "content": content } })
}

fn document(project: &Project, isolation: &str, steps: Value) {
    let document = json!({ "name": "w", "mode": "parallel", "options": { "isolation": isolation }, "steps": steps });
    project.file("w.yaml", document.to_string());
}

#[track_caller]
fn run(project: &Project) -> String {
    project.run(&["run", "w.yaml", "--allow", "exec", "--allow", "write"]).expect(0).stderr
}

/// The directory of the last run.
fn directory(project: &Project) -> PathBuf {
    let run = events(project).remove(0)["run_id"].as_str().unwrap().to_owned();
    project.path(".cofferdam/runs").join(run)
}

fn events(project: &Project) -> Vec<Value> {
    project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines()
}

/// What the step at a path changed, as the result of the run tells, read from its record.
fn changes(project: &Project, step: &str) -> Value {
    let result = project.run(&["resume", "last", "--json"]).json_lines().pop().unwrap();
    let steps = result["steps"].as_array().unwrap();
    steps.iter().find(|found| found["path"] == step).unwrap_or_else(|| panic!("{result}"))["changes"].clone()
}

fn files(changes: &Value) -> Vec<(&str, &str)> {
    let files = changes["files"].as_array().unwrap_or_else(|| panic!("{changes}")).iter();
    files.map(|file| (file["path"].as_str().unwrap(), file["change"].as_str().unwrap())).collect()
}

fn patch(project: &Project, changes: &Value) -> String {
    fs::read_to_string(directory(project).join(changes["patch"].as_str().unwrap())).unwrap()
}

#[test]
fn an_empty_directory_is_the_steps_own() {
    let project = project();
    project.file("given.txt", "given");
    document(&project, "workdir-per-step", json!([exec("a", "ls -A; echo one > made.txt; echo two > $OUT/kept.txt")]));
    let said = run(&project);
    assert!(said.contains("changed    1 file: +made.txt"), "{said}");
    assert!(said.contains("a: 1 file; git apply "), "{said}");
    assert!(!project.path("made.txt").exists());
    let directory = directory(&project);
    assert_eq!(fs::read_to_string(directory.join("work/a.1/tree/made.txt")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(directory.join("out/kept.txt")).unwrap(), "two\n");
    let listed = events(&project).into_iter().find(|event| event["kind"] == "tool_call_finished").unwrap();
    assert_eq!(listed["result"]["stdout"], "", "it began empty");
    let changes = changes(&project, "a");
    assert_eq!(files(&changes), [("made.txt", "added")]);
    assert_eq!((&changes["isolation"], &changes["directory"]), (&json!("workdir-per-step"), &json!("work/a.1/tree")));
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.contains("changed  1 file: +made.txt") && shown.contains("/changes/a.1.patch"), "{shown}");
}

#[test]
fn a_copy_is_changed_and_its_patch_brings_the_change_back() {
    let project = repository();
    project.file("old.txt", "old\n").file("odd name\"é.txt", "x").file("run.sh", "echo 1\n").file("empty", "");
    let long: String = (0..12_000).map(|line| format!("{line}\n")).collect();
    project.file("long.txt", &long);
    symlink("src/a.txt", project.path("link")).unwrap();
    let change = "sed -i s/two/2/ src/a.txt; rm old.txt empty; printf 'y\\n' > 'odd name\"é.txt'; chmod +x run.sh; \
        ln -sf src/b.txt link; mkdir deep; printf 'no end' > deep/new.txt; printf '\\0\\1' > keep.bin; : > void; \
        sed -i '1d;$d;s/^5/five/' long.txt";
    document(&project, "copy-per-step", json!([exec("a", change)]));
    commit(&project);
    run(&project);
    assert_eq!(project.read("src/a.txt"), "one\ntwo\nthree\n", "the working directory is as it was");
    let changes = changes(&project, "a");
    let expected = [
        ("deep/new.txt", "added"),
        ("empty", "deleted"),
        ("keep.bin", "modified"),
        ("link", "modified"),
        ("long.txt", "modified"),
        ("odd name\"é.txt", "modified"),
        ("old.txt", "deleted"),
        ("run.sh", "modified"),
        ("src/a.txt", "modified"),
        ("void", "added"),
    ];
    assert_eq!(files(&changes), expected);
    let binary: Vec<&Value> =
        changes["files"].as_array().unwrap().iter().filter(|file| file["binary"] == true).collect();
    assert_eq!(binary, [&json!({ "path": "keep.bin", "change": "modified", "binary": true })]);
    let whole = directory(&project).join(changes["whole"].as_str().unwrap()).join("keep.bin");
    assert_eq!(fs::read(whole).unwrap(), [0, 1]);
    let path = directory(&project).join(changes["patch"].as_str().unwrap());
    git(&project, &["apply", path.to_str().unwrap()]);
    let tree = directory(&project).join("work/a.1/tree");
    for name in ["src/a.txt", "odd name\"é.txt", "run.sh", "deep/new.txt", "void", "long.txt"] {
        assert_eq!(project.read(name), fs::read_to_string(tree.join(name)).unwrap(), "{name}");
    }
    assert_eq!(fs::read_link(project.path("link")).unwrap(), Path::new("src/b.txt"));
    assert!(!project.path("old.txt").exists() && !project.path("empty").exists());
    assert!(git(&project, &["diff", "--summary"]).contains("mode change 100644 => 100755 run.sh"));
}

#[test]
fn a_copy_leaves_out_what_nobody_wrote() {
    let project = repository();
    project.file(".gitignore", ".cofferdam\nhome\nsecret.env\n").file("secret.env", "hunter2").file(".hidden", "h");
    project.file("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55").file("cache/x", "x");
    document(
        &project,
        "copy-per-step",
        json!([exec("a", "find . -type f | sort; echo x > secret.env; rm .hidden; echo .hidden >> .gitignore")]),
    );
    run(&project);
    let listed = events(&project).into_iter().find(|event| event["kind"] == "tool_call_finished").unwrap();
    assert_eq!(listed["result"]["stdout"], "./.gitignore\n./.hidden\n./keep.bin\n./src/a.txt\n./w.yaml\n");
    assert_eq!(files(&changes(&project, "a")), [(".gitignore", "modified"), (".hidden", "deleted")]);
}

#[test]
fn a_directory_that_is_too_large_is_refused_before_anything_runs() {
    let project = project();
    document(&project, "copy-per-step", json!([write("a", "x", "y")]));
    fs::File::create(project.path("huge")).unwrap().set_len(3 << 30).unwrap();
    let hints = ["its files have more than 1073741824 bytes", "let a `.gitignore` leave out"];
    project.run(&["run", "w.yaml", "--allow", "write"]).expect(2).says(&hints);
    project.run(&["runs", "show", "last"]).expect(3);
    project.file(".gitignore", "huge\n");
    run(&project);
}

#[test]
fn a_worktree_begins_with_the_last_commit() {
    let project = repository();
    fs::write(project.path(".git/hooks/post-checkout"), "#!/bin/sh\ntouch hooked\n").unwrap();
    fs::set_permissions(project.path(".git/hooks/post-checkout"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let change = "cat src/a.txt; sed -i s/two/2/ src/a.txt; printf '\\0\\1' > keep.bin; echo n > new.txt; rm .git";
    document(&project, "worktree-per-step", json!([exec("a", change)]));
    project.file("src/a.txt", "dirty\n");
    let said = run(&project);
    assert!(said.contains("has changes that are not committed"), "{said}");
    let listed = events(&project).into_iter().find(|event| event["kind"] == "tool_call_finished").unwrap();
    assert_eq!(listed["result"]["stdout"], "one\ntwo\nthree\n");
    assert_eq!(project.read("src/a.txt"), "dirty\n");
    let changes = changes(&project, "a");
    assert_eq!(files(&changes), [("keep.bin", "modified"), ("new.txt", "added"), ("src/a.txt", "modified")]);
    assert_eq!(changes["base"], git(&project, &["rev-parse", "HEAD"]).trim());
    assert!(!directory(&project).join("work/a.1/tree/hooked").exists());
    git(&project, &["checkout", "--quiet", "src/a.txt"]);
    let path = directory(&project).join(changes["patch"].as_str().unwrap());
    git(&project, &["apply", path.to_str().unwrap()]);
    assert_eq!(project.read("src/a.txt"), "one\n2\nthree\n");
    assert_eq!(fs::read(project.path("keep.bin")).unwrap(), [0, 1]);
}

#[test]
fn a_folder_of_a_repository_is_what_its_steps_see() {
    let project = repository();
    project.file("part/inner.txt", "inner\n");
    commit(&project);
    document(&project, "worktree-per-step", json!([exec("a", "ls; echo more >> inner.txt; ls .. || true")]));
    project.run(&["run", "w.yaml", "--workdir", "part", "--allow", "exec"]).expect(0);
    let changes = changes(&project, "a");
    assert_eq!(files(&changes), [("part/inner.txt", "modified")]);
    let said = events(&project).into_iter().find(|event| event["kind"] == "tool_call_finished").unwrap();
    let confined = said["result"]["confined"] == true;
    let seen = if confined { "inner.txt\n" } else { "inner.txt\npart\n" };
    assert!(said["result"]["stdout"].as_str().unwrap().starts_with(seen), "{said}");
    project.file("new/x", "x");
    project.run(&["run", "w.yaml", "--workdir", "new", "--allow", "exec"]).expect(2).says(&["not in the last commit"]);
}

#[test]
fn a_worktree_that_cannot_be_had_is_refused_before_anything_runs() {
    let refused = |project: &Project, says: &[&str]| {
        document(project, "worktree-per-step", json!([write("a", "x", "y")]));
        project.run(&["run", "w.yaml", "--allow", "write"]).expect(2).says(says);
        project.run(&["runs", "show", "last"]).expect(3);
    };
    refused(&project(), &["needs a git repository", "copy-per-step"]);
    refused(&Project::new(), &["needs the program `git`", "install git"]);
    let empty = project();
    git(&empty, &["init", "--quiet"]);
    refused(&empty, &["has no commit to begin with"]);
}

#[test]
fn what_two_steps_changed_is_a_conflict() {
    let project = repository();
    let steps = json!([write("a", "src/a.txt", "a"), write("b", "src/a.txt", "b"), write("c", "c.txt", "c")]);
    document(&project, "copy-per-step", steps);
    let said = run(&project);
    assert!(said.contains("a file was changed by step"), "{said}");
    let changed: Vec<Value> = events(&project).into_iter().filter(|event| event["kind"] == "files_changed").collect();
    assert_eq!(changed.len(), 3);
    let conflicts: Vec<&Value> = changed.iter().filter(|event| event["conflicts"].is_array()).collect();
    let [second] = conflicts.as_slice() else { panic!("{changed:?}") };
    let first = if second["path"] == "a" { "b" } else { "a" };
    assert_eq!(second["conflicts"], json!([{ "path": "src/a.txt", "with": first }]));
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.contains(&format!("conflict  `{first}` changed src/a.txt as well")), "{shown}");
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn steps_choose_for_themselves_and_for_what_is_inside() {
    let project = project();
    let one = |id: &str, more: Value| {
        let mut step = write(id, "x.txt", "x");
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let group = json!({ "id": "group", "isolation": "copy-per-step", "steps": [one("inner", json!({})), one("none", json!({ "isolation": "none" }))] });
    let each = json!({ "id": "each", "tool": "write", "args": { "path": "{{ item }}.txt", "content": "x" }, "loop": { "forEach": ["p", "q"] } });
    document(&project, "workdir-per-step", json!([group, each]));
    run(&project);
    assert_eq!(changes(&project, "group.inner")["isolation"], "copy-per-step");
    assert_eq!(changes(&project, "group.none"), Value::Null);
    assert_eq!(project.read("x.txt"), "x");
    assert_eq!(files(&changes(&project, "each[1]")), [("q.txt", "added")]);
    assert!(directory(&project).join("work/each~0.1/tree/p.txt").exists());
}

#[test]
fn links_lead_nowhere() {
    let outside = tempfile::TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "hunter2").unwrap();
    let project = project();
    symlink(outside.path(), project.path("way")).unwrap();
    let secret = outside.path().display();
    let trick =
        format!("cat way/secret; echo x > way/new; ln -s {secret}/secret stolen; ln -s {secret} all; mkfifo pipe");
    document(&project, "copy-per-step", json!([exec("a", &trick)]));
    run(&project);
    let changes = changes(&project, "a");
    assert_eq!(files(&changes), [("all", "added"), ("stolen", "added")]);
    assert!(!patch(&project, &changes).contains("hunter2"));
    let said = events(&project).into_iter().find(|event| event["kind"] == "tool_call_finished").unwrap();
    if said["result"]["confined"] == true {
        assert!(
            !outside.path().join("new").exists() && !said["result"]["stdout"].as_str().unwrap().contains("hunter2")
        );
    }
    document(&project, "copy-per-step", json!([{ "id": "a", "tool": "read", "args": { "path": "way/secret" } }]));
    project.run(&["run", "w.yaml"]).expect(1).says(&["leads outside the step's directory"]);
    // What a link leads to is not what is deleted either.
    project.run(&["runs", "rm", "last"]).expect(0);
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "hunter2");
}

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
    // Also in a branch, which has no directories of its own.
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
        json!([write("a", "new.txt", "x"), exec("b", "mkdir c; touch c/d; chmod 0 c")]),
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
        json!([exec(
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
}
