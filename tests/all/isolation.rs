//! Steps with directories of their own: what they see, what becomes of what they change, and how it gets out.

mod life;
mod modes;

use crate::support::Project;
use cofferdam::core::event::Changes;
use cofferdam::core::fault::Fault;
use cofferdam::core::port::{BoxFuture, DirHandle, Isolation, StepDirs, StepEntry, TryEnd};
use cofferdam::core::spec::workflow::IsolationMode;
use cofferdam::{Error, Orchestrator, RunOptions, Workflow};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

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

fn document(project: &Project, isolation: &str, steps: &Value) {
    let document = json!({ "name": "w", "mode": "parallel", "options": { "isolation": isolation }, "steps": steps });
    project.file("w.yaml", document.to_string());
}

#[track_caller]
fn run(project: &Project) -> String {
    project.run(&["run", "w.yaml", "--allow", "exec", "--allow", "write"]).expect(0).stderr
}

#[test]
fn a_patch_says_what_a_link_in_the_place_of_a_folder_hides() {
    let project = project();
    project.file("a/f.txt", "one\n");
    document(&project, "copy-per-step", &json!([exec("s", "mv a c && ln -s c a")]));
    run(&project);
    let changes = changes(&project, "s");
    assert_eq!(files(&changes), [("a", "added"), ("a/f.txt", "deleted"), ("c/f.txt", "added")]);
    fs::write(project.path("s.patch"), patch(&project, &changes)).unwrap();
    git(&project, &["apply", "s.patch"]);
    assert_eq!(project.read("a/f.txt"), "one\n");
}

#[test]
fn what_lies_in_the_place_of_a_submodule_is_not_thrown_away() {
    let project = repository();
    let head = git(&project, &["rev-parse", "HEAD"]);
    git(&project, &["update-index", "--add", "--cacheinfo", &format!("160000,{},sub", head.trim())]);
    git(&project, &["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "sub"]);
    document(&project, "worktree-per-step", &json!([exec("s", "mkdir -p sub && echo kept > sub/kept.txt")]));
    run(&project);
    let changes = changes(&project, "s");
    assert!(changes["incomplete"].as_str().unwrap().contains("the place of a submodule"), "{changes}");
    project.run(&["runs", "rm", "last"]).expect(1);
}

#[test]
fn settings_of_a_repository_change_no_patch() {
    let project = repository();
    for (key, value) in [("core.fileMode", "false"), ("diff.context", "0"), ("core.safecrlf", "true")] {
        git(&project, &["config", key, value]);
    }
    let command = "chmod +x src/a.txt && printf 'x\\r\\n' > crlf.txt && sed -i s/two/2/ src/a.txt";
    document(&project, "worktree-per-step", &json!([exec("s", command)]));
    run(&project);
    let changes = changes(&project, "s");
    let patch = patch(&project, &changes);
    assert!(patch.contains("new mode 100755") && patch.contains("crlf.txt") && patch.contains(" three"), "{patch}");
}

#[test]
fn the_line_that_applies_a_patch_works_from_where_it_is_typed() {
    let project = project();
    project.file("other place/a.txt", "one\n");
    document(&project, "copy-per-step", &json!([exec("s", "echo two > a.txt")]));
    let args = ["run", "w.yaml", "--allow", "exec", "--workdir", "other place"];
    let said = project.run(&args).expect(0).stderr;
    assert!(said.contains("git -C 'other place' apply /"), "{said}");
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
    document(&project, "workdir-per-step", &json!([exec("a", "ls -A; echo one > made.txt; echo two > $OUT/kept.txt")]));
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
    document(&project, "copy-per-step", &json!([exec("a", change)]));
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
        &json!([exec("a", "find . -type f | sort; echo x > secret.env; rm .hidden; echo .hidden >> .gitignore")]),
    );
    run(&project);
    let listed = events(&project).into_iter().find(|event| event["kind"] == "tool_call_finished").unwrap();
    assert_eq!(listed["result"]["stdout"], "./.gitignore\n./.hidden\n./keep.bin\n./src/a.txt\n./w.yaml\n");
    assert_eq!(files(&changes(&project, "a")), [(".gitignore", "modified"), (".hidden", "deleted")]);
}

#[test]
fn a_directory_that_is_too_large_is_refused_before_anything_runs() {
    let project = project();
    document(&project, "copy-per-step", &json!([write("a", "x", "y")]));
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
    document(&project, "worktree-per-step", &json!([exec("a", change)]));
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
    document(&project, "worktree-per-step", &json!([exec("a", "ls; echo more >> inner.txt; ls .. || true")]));
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
        document(project, "worktree-per-step", &json!([write("a", "x", "y")]));
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
    document(&project, "copy-per-step", &steps);
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
fn a_directory_in_which_nothing_changed_goes() {
    let project = repository();
    for isolation in ["copy-per-step", "worktree-per-step"] {
        document(&project, isolation, &json!([{ "id": "a", "tool": "read", "args": { "path": "src/a.txt" } }]));
        run(&project);
        assert_eq!(changes(&project, "a"), Value::Null);
        assert_eq!(fs::read_dir(directory(&project).join("work")).unwrap().count(), 0, "{isolation}");
    }
    assert_eq!(git(&project, &["worktree", "list"]).lines().count(), 1);
}

#[test]
fn steps_choose_for_themselves_and_for_what_is_inside() {
    let project = project();
    let one = |id: &str, more: Value| {
        let mut step = write(id, "x.txt", "x");
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let group = json!({ "id": "group", "isolation": "copy-per-step", "steps": [one("inner", json!({})), one("none", json!({ "isolation": "none", "dependsOn": ["inner"] }))] });
    let each = json!({ "id": "each", "tool": "write", "args": { "path": "{{ item }}.txt", "content": "x" }, "loop": { "forEach": ["p", "q"] } });
    document(&project, "workdir-per-step", &json!([group, each]));
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
    document(&project, "copy-per-step", &json!([exec("a", &trick)]));
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
    document(&project, "copy-per-step", &json!([{ "id": "a", "tool": "read", "args": { "path": "way/secret" } }]));
    project.run(&["run", "w.yaml"]).expect(1).says(&["leads outside the step's directory"]);
    // What a link leads to is not what is deleted either.
    project.run(&["runs", "rm", "last"]).expect(0);
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "hunter2");
}

#[test]
fn a_patch_of_a_copy_fits_the_repository_around_the_working_directory() {
    let project = repository();
    project.file("part/inner.txt", "inner\n");
    document(&project, "copy-per-step", &json!([write("a", "inner.txt", "changed\n")]));
    commit(&project);
    project.run(&["run", "w.yaml", "--workdir", "part", "--allow", "write"]).expect(0);
    let changes = changes(&project, "a");
    assert_eq!(files(&changes), [("part/inner.txt", "modified")]);
    let path = directory(&project).join(changes["patch"].as_str().unwrap());
    git(&project, &["-C", "part", "apply", path.to_str().unwrap()]);
    assert_eq!(project.read("part/inner.txt"), "changed\n");
}

#[test]
fn a_plugin_sees_the_directory_of_its_step() {
    let project = Project::with_plugins().variable("PATH", SEARCH);
    project.file("given.txt", "one two three");
    let stats = |isolation: &str| {
        let args = json!({ "paths": ["given.txt"], "list": false });
        let step = json!({ "id": "a", "tool": "text.survey", "args": args, "isolation": isolation });
        let plugins = json!({ "text": { "source": "builtin:text", "grants": { "fs": { "read": true } } } });
        project.file("w.yaml", json!({ "name": "w", "plugins": plugins, "steps": [step] }).to_string());
        project.run(&["run", "w.yaml", "--grant-requested"])
    };
    let seen = stats("none").expect(0).stdout;
    assert_eq!(stats("copy-per-step").expect(0).stdout, seen);
    assert_ne!(stats("workdir-per-step").stdout, seen);
}

#[test]
fn the_example_mends_its_project() {
    let project = project();
    project.copy_to(&crate::support::repository().join("host/examples/fix_tests"), "example");
    project.copy_to(&crate::support::repository().join("host/examples/fix_tests/project"), "mine");
    let in_mine = |args: &[&str]| git(&project, &[&["-C", "mine"], args].concat());
    in_mine(&["init", "--quiet"]);
    in_mine(&["add", "-A"]);
    in_mine(&["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "all"]);
    let args = ["run", "example/fix.yaml", "--workdir", "mine", "--allow", "exec", "--allow", "edit"];
    let said = project.run(&[&args[..], &["--model", "scripted/fix.model.yaml"]].concat()).expect(0);
    assert!(said.stdout.contains("the tests pass"), "{}", said.stdout);
    let results =
        events(&project).into_iter().filter(|event| event["kind"] == "tool_call_finished" && event["tool"] == "exec");
    let codes: Vec<Value> = results.map(|event| event["result"]["exit_code"].clone()).collect();
    assert_eq!(codes, [1, 0]);
    assert!(project.read("mine/depth.sh").contains("- 1"), "it stays as it was");
    let changes = changes(&project, "fix");
    assert_eq!(files(&changes), [("depth.sh", "modified")]);
    let path = directory(&project).join(changes["patch"].as_str().unwrap()).canonicalize().unwrap();
    in_mine(&["apply", path.to_str().unwrap()]);
    assert!(project.read("mine/depth.sh").contains("+ 1"));
}

/// An embedder's own directories: one for all steps, with a change in each.
struct Plain {
    folder: PathBuf,
    knows_modes: bool,
}

impl Isolation for Plain {
    fn check<'a>(&'a self, modes: &'a BTreeSet<IsolationMode>) -> BoxFuture<'a, Result<Vec<String>, Fault>> {
        let refused = modes.iter().any(|mode| *mode != IsolationMode::None) && !self.knows_modes;
        let said = if refused { Err(Fault::user("isolation", "none here")) } else { Ok(vec!["beware".to_owned()]) };
        Box::pin(std::future::ready(said))
    }

    fn enter<'a>(&'a self, entry: &'a StepEntry) -> BoxFuture<'a, Result<Arc<StepDirs>, Fault>> {
        assert_eq!((entry.step.as_str(), entry.attempt, entry.continues), ("a", 1, false));
        let dir = DirHandle::new(fs::File::open(&self.folder).unwrap());
        Box::pin(std::future::ready(Ok(Arc::new(StepDirs { step: dir.clone(), out: dir }))))
    }

    fn leave<'a>(&'a self, entry: &'a StepEntry, _: TryEnd) -> BoxFuture<'a, Option<Changes>> {
        let changes =
            Changes { isolation: entry.mode.clone(), directory: "here".to_owned(), more: 3, ..Changes::default() };
        Box::pin(std::future::ready(Some(changes)))
    }
}

#[test]
fn an_embedder_gives_directories_of_its_own() {
    let folder = tempfile::TempDir::new().unwrap();
    let text = "name: w\noptions: { isolation: copy-per-step }\nsteps: [{ id: a, tool: write, args: { path: x, content: y } }]\n";
    let workflow = Workflow::parse(text, folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |knows_modes| {
        let own = Plain { folder: folder.path().to_owned(), knows_modes };
        let orchestrator = Orchestrator::builder().isolation(Arc::new(own)).build().unwrap();
        runtime.block_on(orchestrator.run_flow(&workflow, RunOptions::default()))
    };
    let Err(Error::Refused(faults)) = run(false) else { panic!("it is not refused") };
    assert_eq!(faults[0].message, "none here");
    let result = run(true).unwrap();
    let changes = result.step("a").unwrap().changes.clone().unwrap();
    assert_eq!((changes.isolation.clone(), changes.count(), &*changes.directory), (IsolationMode::Copy, 3, "here"));
    assert_eq!(result.warnings, ["beware"]);
    assert_eq!(fs::read_to_string(folder.path().join("x")).unwrap(), "y");
}
