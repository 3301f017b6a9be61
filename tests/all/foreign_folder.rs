//! A folder of somebody else: what it brings along is never taken for the user's own.

use crate::support::{Project, user_directory};
use cofferdam::core::port::{Answer, Approver, BoxFuture, Question};
use cofferdam::{Orchestrator, RunOptions, UserDirs, Workflow};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const SCAN: &str = "name: scan
plugins:
  scan: { source: 'builtin:secrets-scan', grants: { fs: { read: true } } }
steps: [{ id: a, tool: scan.scan, args: {} }]
";

/// Says yes for good, and counts how often it was asked.
#[derive(Default)]
struct Always(AtomicUsize);

impl Approver for Always {
    fn ask(&self, _: Question) -> BoxFuture<'_, Answer> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Answer::Always))
    }
}

/// How often one is asked about grants in this folder, by somebody with these directories.
fn questions(folder: &Path, state: Option<&Path>) -> usize {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let approver = Arc::new(Always::default());
    let mut builder = Orchestrator::builder()
        .project(folder.join(".cofferdam"))
        .approval(Arc::clone(&approver) as Arc<dyn Approver>, None);
    if let Some(state) = state {
        builder = builder.user_dirs(UserDirs { cache: user_directory().join("cache/cofferdam"), state: state.into() });
    }
    runtime.block_on(async {
        let orchestrator = builder.build().unwrap();
        let workflow = Workflow::load(folder.join("scan.yaml")).unwrap();
        orchestrator.check(&workflow, &RunOptions::default()).await.unwrap();
    });
    approver.0.load(Ordering::Relaxed)
}

#[test]
fn an_answer_is_remembered_for_its_user_its_document_and_its_requests() {
    let (folder, mine, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let document = folder.path().join("scan.yaml");
    fs::write(&document, SCAN).unwrap();
    assert_eq!(questions(folder.path(), Some(mine.path())), 1);
    assert_eq!(questions(folder.path(), Some(mine.path())), 0, "asked again");
    assert_eq!(questions(folder.path(), Some(theirs.path())), 1, "an answer of somebody else was taken");
    assert_eq!(questions(folder.path(), None), 1, "an answer was taken without a secret");
    fs::write(&document, SCAN.replace("read: true", "read: true, write: true")).unwrap();
    assert_eq!(questions(folder.path(), Some(mine.path())), 1, "an answer was taken for more than was asked");
}

#[test]
fn compiled_plugins_and_their_key_are_kept_with_the_user() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new().variable("XDG_CACHE_HOME", "").variable("XDG_STATE_HOME", "relative");
    project.run(&["plugin", "inspect", "builtin:text"]).expect(0);
    for name in ["cache", "plugin-cache.key"] {
        assert!(!project.path(".cofferdam").join(name).exists(), "{name} is in the project");
    }
    assert!(fs::read_dir(project.path("home/.cache/cofferdam/components")).unwrap().count() > 0);
    let key = project.path("home/.local/state/cofferdam/plugin-cache.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    project.run(&["doctor"]).expect(1);
    let unset = project.run(&["plugin", "inspect", "builtin:text"]).expect(0);
    assert!(unset.stderr.contains("open to other users"), "{}", unset.stderr);
}

fn pipe(project: &Project, name: &str) {
    let status = std::process::Command::new("mkfifo").arg(project.path(name)).status().unwrap();
    assert!(status.success());
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let project = Project::new();
    project.file(
        "w.yaml",
        "name: w\ninputs: { a: { type: string } }\nsteps: [{ id: a, instructions: go, model: builtin/extract }]\n",
    );
    pipe(&project, "pipe");
    for args in [["--input", "a=@pipe"], ["--inputs", "pipe"]] {
        project.run(&["run", "w.yaml", args[0], args[1]]).expect(3).says(&["is not a regular file"]);
    }
    project.run(&["plugin", "inspect", "./pipe"]).says(&["is not a regular file"]);
    pipe(&project, ".env");
    project.file("e.yaml", "name: e\nsteps: [{ id: a, instructions: go }]\n");
    project.run(&["run", "e.yaml"]).expect(0).says(&["not a regular file"]);
    pipe(&project, "cofferdam.toml");
    project.run(&["run", "e.yaml"]).expect(3).says(&["is not a regular file"]);
}

#[test]
fn settings_that_are_a_link_to_nothing_are_an_error() {
    let project = Project::new();
    project.file("w.yaml", "name: w\nsteps: [{ id: a, instructions: go }]\n");
    std::os::unix::fs::symlink("nowhere.toml", project.path("cofferdam.toml")).unwrap();
    project.run(&["run", "w.yaml"]).expect(3).says(&["cofferdam.toml", "link to nothing"]);
}

#[test]
fn a_rule_that_names_no_tool_is_told() {
    let project = Project::new();
    project.file("w.yaml", "name: w\nsteps: [{ id: a, instructions: go }]\n");
    let outcome = project.run(&["run", "w.yaml", "--deny", "wirte", "--allow", "re*"]).expect(0);
    assert!(outcome.stderr.contains("deny rule `wirte` names no tool"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("`re*`"), "{}", outcome.stderr);
}

#[test]
fn a_folder_cannot_lead_a_key_of_the_user_elsewhere() {
    let project = Project::new().variable("OPENAI_API_KEY", "sk-mine");
    project.file("w.yaml", "name: w\nsteps: [{ id: a, instructions: go, model: openai/gpt-5 }]\n");
    project.file(".env", "OPENAI_BASE_URL=http://127.0.0.1:9/v1\n");
    let kept = project.run(&["run", "w.yaml", "--dry-run"]);
    assert!(kept.stderr.contains("OPENAI_BASE_URL of `.env` is ignored"), "{}", kept.stderr);
    assert!(!kept.stderr.contains("127.0.0.1:9/v1"), "{}", kept.stderr);
    let moved = Project::new().variable("OPENAI_BASE_URL", "http://127.0.0.1:9/v1").variable("OPENAI_API_KEY", "sk");
    moved.file("w.yaml", "name: w\nsteps: [{ id: a, instructions: go, model: openai/gpt-5 }]\n");
    moved.run(&["run", "w.yaml", "--dry-run"]).says(&["model: using openai/gpt-5, at http://127.0.0.1:9/v1"]);
}

#[test]
fn events_that_cannot_be_written_and_a_missing_document_are_told_to_machines() {
    let project = Project::new();
    assert!(
        project.run(&["run", "--json"]).expect(3).json_lines()[0]["message"].as_str().unwrap().contains("no workflow")
    );
    project.file("w.yaml", "name: w\nsteps: [{ id: a, instructions: go }]\n");
    assert_eq!(project.run(&["run", "--json"]).expect(3).json_lines()[0]["name"], "w");
    let mut command = project.command(&["run", "w.yaml", "--json"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(command.stdout(full).output().unwrap().status.code(), Some(1));
}

#[test]
fn settings_that_lead_nowhere_are_not_passed_over_for_those_above() {
    let project = Project::new();
    project.file("cofferdam.toml", "").file("inner/.keep", "");
    std::os::unix::fs::symlink("gone", project.path("inner/cofferdam.toml")).unwrap();
    let output = project.command(&["config", "show"]).current_dir(project.path("inner")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("a link to nothing"), "{said}");
}
