//! What can be done with recorded runs: moved as a file, compared, told as a conversation, deleted.

use crate::support::{Outcome, Project};
use cofferdam::Journal as _;
use cofferdam::core::port::{Append, Durability, RunIndex};
use rustix::process::Signal;
use serde_json::Value;

const HELLO: &str = "
name: hello
inputs: { word: { type: string, default: tulip } }
steps:
  - { id: say, input: 'Say {{ inputs.word }}.' }
  - { id: keep, dependsOn: [say], tool: write, args: { path: 'out:word.txt', content: kept } }
";
const ECHO: &str = "default: { text: '<{{prompt}}>', usage: { input: 3, output: 2 } }\n";
const SLOW: &str = "default: { delay: 1h, text: too late }\n";
const DIR_JOURNAL: &str = "
[plugins.journal]
source = \"builtin:dir-journal\"
grants = { fs = { also = [{ from = \"kept\", at = \"/journal\", read = true, write = true }] } }
";
const RUN: [&str; 4] = ["run", "hello.yaml", "--model", "scripted/model.yaml"];

fn hello() -> Project {
    let project = Project::new();
    project.file("hello.yaml", HELLO).file("model.yaml", ECHO);
    project
}

/// Runs the document, and gives the id of the run.
fn ran(project: &Project, more: &[&str]) -> String {
    let outcome = project.run(&[&RUN[..], &["--json"], more].concat()).expect(0);
    outcome.json_lines()[0]["run_id"].as_str().unwrap().to_owned()
}

/// A run that was killed in its first step.
fn killed(project: &Project) -> String {
    project.file("model.yaml", SLOW);
    let running = project.start(&RUN);
    running.until("started");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    project.file("model.yaml", ECHO);
    project.run(&["runs", "list", "--json"]).expect(0).json_lines()[0]["run_id"].as_str().unwrap().to_owned()
}

fn listed(project: &Project) -> Vec<String> {
    let id = |row: &Value| row["run_id"].as_str().unwrap().to_owned();
    project.run(&["runs", "list", "--json"]).expect(0).json_lines().iter().map(id).collect()
}

fn events(project: &Project, run: &str) -> Vec<Value> {
    project.run(&["runs", "show", run, "--json"]).expect(0).json_lines()
}

fn import(project: &Project, text: &[u8]) -> Outcome {
    project.file("import.jsonl", text);
    project.run(&["runs", "import", "import.jsonl"])
}

#[test]
fn an_exported_run_comes_back_as_it_was() {
    let project = hello();
    let run = ran(&project, &[]);
    let before = events(&project, &run);
    let rows = project.run(&["runs", "list", "--json"]).expect(0).stdout;
    project.run(&["runs", "export", "last", "-o", "run.jsonl"]).expect(0).says(&["exported", "records"]);
    let printed = project.run(&["runs", "export", &run]).expect(0).stdout;
    assert_eq!(project.read("run.jsonl"), printed, "a file is what would be printed");
    project.run(&["runs", "rm", &run]).expect(0).says(&["deleted", &run]);
    assert!(listed(&project).is_empty());
    let imported = project.run(&["runs", "import", "run.jsonl", "--json"]).expect(0).says(&["imported"]);
    assert_eq!(imported.json_lines()[0]["imported"], run.as_str());
    assert_eq!(events(&project, &run), before);
    assert_eq!(project.run(&["runs", "list", "--json"]).expect(0).stdout, rows);
    project.run(&["runs", "import", "run.jsonl"]).expect(0).says(&["is there already, and is the same"]);
    // Elsewhere, and from a pipe.
    let other = Project::new();
    other.run_reading(&["runs", "import", "-"], &printed).expect(0).says(&["imported"]);
    assert_eq!(events(&other, "last"), before);
    assert_eq!(other.run(&["runs", "export", "last"]).expect(0).stdout, printed);
}

#[test]
fn a_file_that_was_cut_or_changed_is_refused_with_the_line() {
    let project = hello();
    ran(&project, &[]);
    let text = project.run(&["runs", "export", "last"]).expect(0).stdout;
    let other = Project::new();
    let length = text.len();
    for end in [0, 1, length / 3, length / 2, text.rfind("{\"sha256\"").unwrap(), length - 1] {
        import(&other, &text.as_bytes()[..end]).expect(2).says(&["was not imported: line ", "it was cut"]);
    }
    let place = text.find("tulip").unwrap();
    let mut changed = text.clone().into_bytes();
    changed[place] = b'T';
    import(&other, &changed).expect(2).says(&["line 2: record 1 is damaged"]);
    let renamed = text.replacen("\"workflow\":\"hello\"", "\"workflow\":\"hallo\"", 1);
    import(&other, renamed.as_bytes()).expect(2).says(&["the file was changed"]);
    let newer = text.replacen("\"cofferdam_export\":1", "\"cofferdam_export\":7", 1);
    import(&other, newer.as_bytes())
        .expect(2)
        .says(&["the export has version 7; this version of Cofferdam reads up to 1"]);
    import(&other, HELLO.as_bytes()).expect(2).says(&["this is no export of a run"]);
    other.run(&["runs", "import", "nowhere.jsonl"]).expect(3).says(&["`nowhere.jsonl` cannot be read"]);
    assert!(listed(&other).is_empty(), "nothing was imported");
}

#[test]
fn another_run_of_the_same_id_is_kept() {
    let project = hello();
    let run = killed(&project);
    let text = project.run(&["runs", "export", &run]).expect(0).says(&["was killed"]).stdout;
    let (first, rest) = text.split_once('\n').unwrap();
    let shorter = rest.lines().next().unwrap();
    let header = of_one_record(first);
    // A file of one record more or less is that of another run, whatever its closing sum.
    import(&project, format!("{header}\n{shorter}\n").as_bytes()).expect(3).says(&["is there already", "runs rm"]);
    assert_eq!(listed(&project), [run]);
}

/// The header of a run of one record.
fn of_one_record(header: &str) -> String {
    let mut header: Value = serde_json::from_str(header).unwrap();
    header["records"] = 1.into();
    header["blobs"] = 0.into();
    header.to_string()
}

#[test]
fn a_run_is_deleted_with_its_output_directory() {
    let project = hello();
    let (first, second) = (ran(&project, &[]), ran(&project, &[]));
    let directory = format!(".cofferdam/runs/{first}");
    assert!(project.path(&directory).join("out/word.txt").exists());
    project.run(&["runs", "rm", &first, "nothing"]).expect(3).says(&["no run is called `nothing`"]);
    assert_eq!(listed(&project).len(), 2, "all are looked up before anything is deleted");
    let outcome = project.run(&["runs", "rm", &first, &first, "--json"]).expect(0);
    assert_eq!(outcome.json_lines().len(), 1);
    assert_eq!(outcome.json_lines()[0]["deleted"], first.as_str());
    assert!(!project.path(&directory).exists());
    assert_eq!(listed(&project), [second]);
}

/// The status of the latest run in the listing, and what stands beside the listing.
fn status(project: &Project) -> (String, String) {
    let outcome = project.run(&["runs", "list", "--json"]).expect(0);
    (outcome.json_lines()[0]["status"].as_str().unwrap().to_owned(), outcome.stderr)
}

#[test]
fn a_run_whose_process_was_killed_is_shown_as_interrupted() {
    for storage in ["sqlite", "file", "plugin:journal"] {
        let project = Project::with_plugins();
        let toml = format!("[run]\nstorage = \"{storage}\"\n{DIR_JOURNAL}");
        project.file("hello.yaml", HELLO).file("cofferdam.toml", toml).file("model.yaml", SLOW).file("kept/x", "");
        let running = project.start(&RUN);
        running.until("started");
        assert_eq!(status(&project).0, "running", "{storage}");
        assert!(project.run(&["runs", "list"]).expect(0).stdout.contains("running"));
        let list =
            |status: &str| project.run(&["runs", "list", "--json", "--status", status]).expect(0).json_lines().len();
        assert_eq!((list("running"), list("interrupted")), (1, 0));
        running.signal(Signal::KILL);
        running.wait();
        let (now, said) = status(&project);
        assert_eq!(now, "interrupted", "{storage}");
        let run = &listed(&project)[0];
        assert!(said.contains(&format!("1 run was interrupted; `cofferdam resume {run}` goes on with it")), "{said}");
        assert_eq!((list("running"), list("interrupted")), (0, 1));
        project.run(&["runs", "list"]).expect(0).says(&["cofferdam resume"]);
        let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
        assert!(shown.contains(&format!("interrupted; `cofferdam resume {run}` goes on with it")), "{shown}");
        let json = project.run(&["runs", "show", "last", "--json"]).expect(0).says(&["was interrupted"]);
        assert!(json.json_lines().iter().all(|event| event["kind"].is_string()));
        project.file("model.yaml", ECHO);
        project.run(&["resume", "last"]).expect(0);
        assert_eq!(status(&project), ("completed".to_owned(), String::new()), "{storage}");
    }
}

#[test]
fn a_run_that_somebody_works_on_is_not_deleted() {
    let project = hello();
    ran(&project, &[]);
    project.file("model.yaml", SLOW);
    let running = project.start(&RUN);
    running.until("started");
    let [live, ended] = listed(&project).try_into().unwrap();
    let told = ["process ", "works on it"];
    for force in [&[][..], &["--force"]] {
        project.run(&[&["runs", "rm", "last"], force].concat()).expect(3).says(&told);
        project.run(&[&["runs", "rm", &ended, &live], force].concat()).expect(3).says(&told);
    }
    assert_eq!(listed(&project).len(), 2, "all are looked at before anything is deleted");
    let gc = ["runs", "gc", "--older-than", "0s", "--yes", "--json", "--status", "running", "--status", "completed"];
    let dry = project.run(&[&gc[..], &["--dry-run"]].concat()).expect(0).says(&told);
    assert_eq!(dry.json_lines()[0]["would_delete"], ended.as_str());
    let outcome = project.run(&gc).expect(0).says(&[&format!("kept {live}: process "), "1 run deleted, 1 kept"]);
    assert_eq!(outcome.json_lines()[1]["kept"], live.as_str());
    assert_eq!(listed(&project), [live.as_str()]);
    // The run goes on as if nothing had been.
    running.signal(Signal::INT);
    running.wait().expect(130);
    project.run(&["runs", "rm", "last"]).expect(0).says(&["deleted", "cancelled"]);
}

#[test]
fn a_run_that_was_interrupted_is_deleted_without_force() {
    let project = hello();
    killed(&project);
    project.run(&["runs", "rm", "last"]).expect(0).says(&["deleted", "interrupted"]);
    assert!(listed(&project).is_empty());
}

#[test]
fn a_run_is_deleted_by_force_when_nobody_can_tell_who_works_on_it() {
    let project = hello();
    let stored = |args: &[&str]| project.run(&[args, &["--storage", "file"]].concat());
    stored(&RUN).expect(0);
    let leases = project.path(".cofferdam/journal/leases");
    let lease = std::fs::read_dir(&leases).unwrap().map(|entry| entry.unwrap().path());
    let lease = lease.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "json")).unwrap();
    std::fs::write(&lease, "garbage").unwrap();
    stored(&["runs", "rm", "last"]).expect(3).says(&["nobody can tell", ".cofferdam/journal/leases/", "--force"]);
    let gc = ["runs", "gc", "--older-than", "0s", "--yes"];
    stored(&gc).expect(0).says(&["kept ", "nobody can tell", "0 runs deleted, 1 kept"]);
    stored(&["runs", "rm", "last", "--force"]).expect(0).says(&["deleted"]);
}

#[test]
fn old_runs_are_cleared_away() {
    let project = hello();
    let under_way = killed(&project);
    let runs: Vec<String> = (0..3).map(|_| ran(&project, &[])).collect();
    let gone = project.path(".cofferdam/runs/0198-gone/out");
    std::fs::create_dir_all(&gone).unwrap();
    project.file(".cofferdam/runs/not a run/x", "");
    project.run(&["runs", "gc"]).expect(0).says(&["0 runs deleted, 4 kept"]);
    let dry = project.run(&["runs", "gc", "--older-than", "0s", "--keep", "1", "--dry-run"]).expect(0);
    dry.says(&[
        &runs[0],
        &runs[1],
        "0198-gone",
        "2 runs and 1 directory of a run that is gone would be deleted, 2 kept",
    ]);
    assert_eq!(listed(&project).len(), 4);
    assert!(gone.exists());
    let outcome = project.run(&["runs", "gc", "--older-than", "0s", "--keep", "1", "--json"]).expect(0);
    let lines = outcome.json_lines();
    assert_eq!((&lines[3]["runs"], &lines[3]["directories"], &lines[3]["kept"]), (&2.into(), &1.into(), &2.into()));
    assert_eq!(listed(&project), [runs[2].as_str(), under_way.as_str()]);
    assert!(!gone.exists() && project.path(".cofferdam/runs/not a run/x").exists());
    assert!(project.path(&format!(".cofferdam/runs/{}/out/word.txt", runs[2])).exists());
    project.run(&["runs", "gc", "--status", "runing"]).expect(3).says(&["did you mean `running`?"]);
    project.run(&["runs", "gc", "--older-than", "0s", "--status", "running"]).expect(0).says(&["0 runs deleted"]);
    project.run(&["runs", "gc", "--older-than", "0s", "--status", "interrupted"]).expect(0).says(&["1 run deleted"]);
    assert_eq!(listed(&project), [runs[2].as_str()]);
}

#[test]
fn runs_are_compared_step_by_step() {
    let project = hello();
    let (first, same) = (ran(&project, &[]), ran(&project, &[]));
    let outcome = project.run(&["runs", "diff", &first, &same]).expect(0).says(&["status and outputs are the same"]);
    assert_eq!(outcome.stdout, "", "times and ids are no differences");
    let other = ran(&project, &["--input", "word=rose"]);
    let outcome = project.run(&["runs", "diff", &first, &other]).expect(1);
    for part in ["input word  \"tulip\" / \"rose\"", "step say", "output, text", "tulip", "rose"] {
        assert!(outcome.stdout.contains(part), "`{part}` is not in\n{}", outcome.stdout);
    }
    let lines = project.run(&["runs", "diff", &first, &other, "--json"]).expect(1).json_lines();
    let find = |what: &str, step: Option<&str>| {
        lines
            .iter()
            .find(|line| line["what"] == what && line["step"].as_str() == step)
            .unwrap_or_else(|| panic!("{what}: {lines:?}"))
    };
    assert_eq!((&find("input", None)["name"], &find("input", None)["b"]), (&"word".into(), &"rose".into()));
    assert!(find("output", Some("say"))["b"]["content"].as_str().unwrap().contains("rose"));
    assert!(lines.iter().all(|line| line["step"] != "keep"), "what is the same is not told: {lines:?}");
}

#[test]
fn runs_of_a_changed_document_show_what_was_changed() {
    let project = hello();
    let first = ran(&project, &[]);
    project.file("hello.yaml", HELLO.replace("Say {{", "Sing {{") + "  - { id: more, instructions: Go on. }\n");
    let second = ran(&project, &[]);
    let shown = project.run(&["runs", "diff", &first, &second]).expect(1).stdout;
    for part in ["document hello.yaml", "- ", "+   - { id: more, instructions: Go on. }", "the step is only in b"] {
        assert!(shown.contains(part), "`{part}` is not in\n{shown}");
    }
}

#[test]
fn a_fork_has_the_document_of_its_run_wherever_that_was_named_from() {
    let project = hello();
    let with_files = HELLO.replace(
        "steps:\n",
        "steps:\n  - { id: one, instructions: '@lib/one.md' }\n  - { id: two, instructions: '@lib/two.md' }\n",
    );
    project.file("flows/hello.yaml", &with_files).file("flows/model.yaml", ECHO);
    project.file("flows/lib/one.md", "One.").file("flows/lib/two.md", "Two.");
    project.run(&["run", "flows/hello.yaml", "--model", "scripted/model.yaml"]).expect(0);
    let first = listed(&project)[0].clone();
    project.run(&["fork", "last", "--from", "say"]).expect(0);
    let same = project.run(&["runs", "diff", &first, "last", "--json"]).expect(0).says(&["are the same"]);
    assert!(same.json_lines().iter().all(|line| line["what"] != "document"), "{}", same.stdout);
    // Only what differs is listed, here and where a changed document is refused.
    project.file("flows/lib/one.md", "Another.");
    project.run(&["run", "flows/hello.yaml", "--model", "scripted/model.yaml"]).expect(0);
    let lines = project.run(&["runs", "diff", &first, "last", "--json"]).expect(1).json_lines();
    let documents: Vec<_> = lines.iter().filter(|line| line["what"] == "document").collect();
    assert_eq!((documents.len(), &documents[0]["name"]), (1, &"lib/one.md".into()), "{documents:?}");
    std::fs::remove_file(project.path("flows/lib/one.md")).unwrap();
    let refused = project.run(&["fork", &first, "--from", "say"]).expect(2).says(&["lib/one.md", "- One."]);
    assert!(!refused.stderr.contains("two.md") && !refused.stderr.contains("hello.yaml"), "{}", refused.stderr);
}

const TALK: &str = "
answers:
  - turn: 1
    text: I look at both.
    toolCalls:
      - { tool: read, args: { path: notes.txt } }
      - { tool: read, args: { path: nowhere.txt } }
  - { turn: 2, text: One is there. }
";

fn talk() -> Project {
    let project = Project::new();
    let notes: String = (0..40).map(|line| format!("note {line}\n")).collect();
    project
        .file("talk.yaml", "name: talk\nsteps:\n  - { id: review, instructions: Review. }\n  - { id: list, tool: glob, args: { pattern: '*' } }\n")
        .file("model.yaml", TALK)
        .file("notes.txt", notes);
    project.run(&["run", "talk.yaml", "--model", "scripted/model.yaml"]).expect(0);
    project
}

#[test]
fn a_conversation_is_told_with_its_tool_calls() {
    let project = talk();
    let shown = project.run(&["runs", "show", "last", "--transcript"]).expect(0).stdout;
    let parts = [
        "review",
        "turn 1",
        "I look at both.",
        "-> read",
        "notes.txt",
        "-> read",
        "nowhere.txt",
        "<- read",
        "<- read",
        "turn 2",
        "One is there.",
    ];
    let mut rest = shown.as_str();
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { panic!("`{part}` is not where it should be in\n{shown}") };
        rest = after;
    }
    assert!(
        shown.contains("error: ") && shown.contains("`--full` shows them") && !shown.contains("note 39"),
        "{shown}"
    );
    assert!(!shown.contains("glob"), "a step without an agent has no conversation: {shown}");
    let full = project.run(&["runs", "show", "last", "--transcript", "review", "--full"]).expect(0).stdout;
    assert!(full.contains("note 39"), "{full}");
    let tool = project.run(&["runs", "show", "last", "--transcript", "list"]).expect(0).stdout;
    assert!(tool.contains("-> glob"), "{tool}");
}

#[test]
fn the_events_of_one_step_can_be_had_alone() {
    let project = talk();
    let lines = project.run(&["runs", "show", "last", "--transcript", "review", "--json"]).expect(0).json_lines();
    assert!(lines.iter().all(|event| event["path"] == "review"), "{lines:?}");
    assert_eq!(lines.iter().filter(|event| event["kind"] == "tool_call_finished").count(), 2);
    project
        .run(&["runs", "show", "last", "--transcript", "reveiw"])
        .expect(3)
        .says(&["no step `reveiw`", "did you mean `review`?"]);
    project.run(&["runs", "show", "last", "--full"]).expect(3);
}

#[test]
fn what_is_sensitive_stays_hidden_in_conversations_and_differences() {
    let project = talk();
    let first = listed(&project)[0].clone();
    let document = "name: talk\nsteps:\n  - { id: review, sensitive: true, instructions: Review. }\n";
    project.file("talk.yaml", document).file("model.yaml", TALK.replace("One is there", "Hidden words"));
    project.run(&["run", "talk.yaml", "--model", "scripted/model.yaml"]).expect(0);
    for args in [&["show", "last", "--transcript"][..], &["diff", &first, "last"], &["diff", &first, "last", "--json"]]
    {
        let hidden = project.run(&[&["runs"], args].concat());
        assert!(!hidden.stdout.contains("Hidden words") && !hidden.stdout.is_empty(), "{}", hidden.stdout);
        let revealed = project.run(&[&["runs"], args, &["--reveal"]].concat());
        assert!(revealed.stdout.contains("Hidden words"), "{}", revealed.stdout);
    }
}

#[test]
fn half_of_a_run_is_no_run() {
    let project = hello();
    let run = ran(&project, &[]);
    project.run(&["runs", "export", &run, "-o", "run.jsonl"]).expect(0);
    let journal = cofferdam::store::Sqlite::new(project.path(".cofferdam/runs.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let id = cofferdam::core::id::RunId::parse(&run).unwrap();
    let page = runtime.block_on(journal.read(&id, 0, 5)).unwrap();
    project.run(&["runs", "rm", &run]).expect(0);
    // As an import leaves it that is killed.
    let index = RunIndex { workflow: "hello".into(), status: RunIndex::COPYING.into(), started_at: page.records[0].at };
    let (records, durability) = (page.records, Durability::Durable);
    let half = Append { run: id, expected_head: 0, records, index: Some(index), durability };
    runtime.block_on(journal.append(half)).unwrap();
    assert!(project.run(&["runs", "show", "last"]).expect(0).stdout.contains("copying; it is not whole"));
    for command in ["resume", "replay", "fork"] {
        let from: &[&str] = if command == "fork" { &["--from", "say"] } else { &[] };
        project.run(&[&[command, "last"], from].concat()).expect(2).says(&["is not whole", "import or fork it again"]);
    }
    project.run(&["runs", "import", "run.jsonl"]).expect(0).says(&["imported"]);
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn the_conversation_of_coordinators_is_no_run() {
    let project = hello();
    ran(&project, &[]);
    for args in [["runs", "rm"], ["runs", "show"], ["runs", "export"]] {
        let refused = project.run(&[&args[..], &["shared-coordinator"]].concat());
        refused.expect(3).says(&["no run is called `shared-coordinator`: the conversation that coordinators share"]);
    }
    project.run(&["resume", "shared-coordinator"]).expect(3).says(&["the conversation that coordinators share"]);
}
