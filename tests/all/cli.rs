//! The command line as users meet it: help, exit codes, typos, signals, pipes, empty folders.

use crate::support::{Golden, Project, check_golden, repository};
use rustix::process::Signal;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["run"],
    &["agent"],
    &["goal"],
    &["resume"],
    &["answer"],
    &["approve"],
    &["fork"],
    &["replay"],
    &["validate"],
    &["test"],
    &["plan"],
    &["plugin"],
    &["plugin", "add"],
    &["plugin", "build"],
    &["plugin", "call"],
    &["plugin", "check"],
    &["plugin", "dev"],
    &["plugin", "doctor"],
    &["plugin", "inspect"],
    &["plugin", "lock"],
    &["plugin", "list"],
    &["plugin", "new"],
    &["plugin", "push"],
    &["plugin", "test"],
    &["tools"],
    &["tools", "list"],
    &["runs"],
    &["runs", "list"],
    &["runs", "show"],
    &["runs", "diff"],
    &["runs", "export"],
    &["runs", "import"],
    &["runs", "rm"],
    &["runs", "gc"],
    &["init"],
    &["schema"],
    &["config"],
    &["config", "show"],
    &["doctor"],
    &["completions"],
    &["limits"],
    &["memory"],
    &["memory", "show"],
    &["memory", "clear"],
    &["permissions"],
    &["permissions", "list"],
    &["permissions", "forget"],
    &["sinks"],
    &["sinks", "list"],
    &["sinks", "deliver"],
    &["sinks", "dead-letters"],
    &["sinks", "resend"],
    &["sinks", "drop"],
    &["models"],
    &["models", "list"],
    &["dev"],
    &["dev", "model-server"],
    &["explain"],
];

const HELLO: &str = "name: hello\nsteps: [{ id: hi, instructions: Say hello. }]\n";
const ANSWER: &str = "default: { text: Hello there., usage: { input: 3, output: 2 } }\n";
const SLOW: &str = "default: { delay: 1h, text: too late }\n";
const RUN: [&str; 4] = ["run", "hello.yaml", "--model", "scripted/model.yaml"];

fn hello() -> Project {
    let project = Project::new();
    project.file("hello.yaml", HELLO).file("model.yaml", ANSWER);
    project
}

#[test]
fn every_help_text_is_as_written() {
    let project = Project::new().variable("COLUMNS", "100");
    let mut faults = Vec::new();
    for command in COMMANDS {
        let outcome = project.run(&[command, &["--help"][..]].concat()).expect(0);
        assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
        let name = if command.is_empty() { "cofferdam".to_owned() } else { command.join("-") };
        let path = repository().join("tests/all/help").join(name + ".txt");
        faults.extend(check_golden(&Golden { path, actual: outcome.stdout }).err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_permissions_stand_under_their_heading() {
    let help = Project::new().run(&["run", "--help"]).expect(0).stdout;
    let (_, permissions) = help.split_once("Permissions:\n").unwrap();
    let (permissions, _) = permissions.split_once("\n\nEverywhere:").unwrap();
    let flags: Vec<&str> =
        permissions.lines().filter_map(|line| line.trim().strip_prefix("--")?.split(' ').next()).collect();
    assert_eq!(
        flags,
        ["grant", "allow-mcp", "grant-requested", "locked", "strict", "sandbox", "yolo", "allow", "ask", "deny"]
    );
}

#[test]
fn every_command_has_a_help_text_that_is_checked() {
    let help = Project::new().run(&["--help"]).expect(0).stdout;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let listed = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    for name in listed.filter(|name| *name != "help") {
        assert!(COMMANDS.iter().any(|command| command.first() == Some(&name)), "`{name}` is in no snapshot");
    }
}

#[test]
fn a_run_prints_its_output_and_nothing_else_on_stdout() {
    let outcome = hello().run(&RUN).expect(0).says(&["completed", "runs show"]);
    assert_eq!(outcome.stdout, "Hello there.\n");
    assert!(!outcome.stderr.contains('\u{1b}'), "colours without a terminal: {}", outcome.stderr);
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.starts_with("run") && last.contains("cofferdam runs show"), "{last}");
}

#[test]
fn a_quiet_run_says_nothing_but_its_output() {
    let outcome = hello().run(&[&RUN[..], &["--quiet"]].concat()).expect(0);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("Hello there.\n", ""));
}

#[test]
fn the_old_name_of_run_works() {
    let outcome = hello().run(&["flow", "hello.yaml", "--model", "scripted/model.yaml"]).expect(0);
    assert_eq!(outcome.stdout, "Hello there.\n");
}

#[test]
fn a_text_may_come_from_standard_input() {
    let project = Project::new();
    project.file("one.yaml", "name: one\nsteps: [{ id: a }]").file("model.yaml", "default: { text: '<{{prompt}}>' }");
    let outcome =
        project.run_reading(&["run", "one.yaml", "-", "--model", "scripted/model.yaml"], "piped in").expect(0);
    assert_eq!(outcome.stdout, "<piped in>\n");
}

#[test]
fn usage_errors_have_a_code_of_their_own() {
    for args in [
        &["run", "--no-such-flag"][..],
        &["rnu"],
        &["plan"],
        &["run", "hello.yaml", "--timeout", "5"],
        &["explain", "X9"],
    ] {
        hello().run(args).expect(3).says(&["error"]);
    }
    hello().run(&["rnu"]).expect(3).says(&["run"]);
}

#[test]
fn a_missing_document_is_named() {
    for command in ["run", "validate", "plan"] {
        let outcome = hello().run(&[command, "helo.yaml"]).says(&["helo.yaml"]);
        assert!(matches!(outcome.code, Some(2 | 3)), "{command}: {:?}\n{}", outcome.code, outcome.stderr);
    }
}

#[test]
fn without_a_file_run_lists_the_documents_of_the_folder() {
    let outcome = hello().run(&["run"]);
    let said = outcome.stdout + &outcome.stderr;
    assert!(said.contains("hello.yaml") && !said.contains("model.yaml"), "{said}");
}

#[test]
fn in_an_empty_folder_run_says_how_to_begin() {
    let outcome = Project::bare().run(&["run"]);
    let said = outcome.stdout + &outcome.stderr;
    assert!(said.contains("cofferdam init"), "{said}");
}

#[test]
fn what_init_writes_runs() {
    let project = Project::bare();
    project.run(&["init"]).expect(0);
    let documents: Vec<String> = std::fs::read_dir(project.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml") && !name.contains("model"))
        .collect();
    assert!(!documents.is_empty());
    for document in documents {
        project.run(&["validate", "--strict", &document]).expect(0);
        project.run(&["run", &document, "--model", "builtin/extract"]).expect(0);
    }
    let before = project.read("cofferdam.toml");
    project.run(&["init"]);
    assert_eq!(project.read("cofferdam.toml"), before, "nothing is overwritten");
}

#[test]
fn a_dry_run_records_nothing() {
    let project = hello();
    let outcome = project.run(&[&RUN[..], &["--dry-run"]].concat()).expect(0);
    assert!((outcome.stdout + &outcome.stderr).contains("hi"));
    assert!(!project.path(".cofferdam/runs.db").exists());
}

#[test]
fn runs_can_be_listed_and_shown() {
    let project = hello();
    let printed = project.run(&[&RUN[..], &["--json"]].concat()).expect(0).json_lines();
    let id = printed[0]["run_id"].as_str().unwrap().to_owned();
    let listed = project.run(&["runs", "list", "--json"]).expect(0).json_lines();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].to_string().contains(&id) && listed[0].to_string().contains("completed"), "{}", listed[0]);
    project.run(&["runs", "show", "last"]).expect(0);
    project.run(&["runs", "show", &id[..30]]).expect(0);
    let durable: Vec<_> = printed.into_iter().filter(|event| event.get("sub").is_none()).collect();
    assert_eq!(
        project.run(&["runs", "show", &id, "--json"]).expect(0).json_lines(),
        durable,
        "journal and output agree"
    );
    let outcome = project.run(&["runs", "show", "nothing"]).says(&["nothing"]);
    assert_ne!(outcome.code, Some(0));
}

#[test]
fn one_record_may_be_kept_of_all_runs_of_a_project() {
    let project = Project::bare();
    project.file("cofferdam.toml", "").file("a/b/hello.yaml", HELLO).file("a/b/model.yaml", ANSWER);
    project.run(&["run", "a/b/hello.yaml", "--model", "scripted/model.yaml"]).expect(0);
    let mut command = project.command(&["run", "hello.yaml", "--model", "scripted/model.yaml"]);
    assert!(command.current_dir(project.path("a/b")).status().unwrap().success());
    assert_eq!(project.run(&["runs", "list", "--json"]).expect(0).json_lines().len(), 2);
    assert!(!project.path("a/b/.cofferdam").exists());
}

#[test]
fn the_records_are_closed_to_others_and_to_git() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::bare();
    project.file("hello.yaml", HELLO).file("model.yaml", ANSWER);
    project.run(&RUN).expect(0);
    let mode = std::fs::metadata(project.path(".cofferdam")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(project.read(".cofferdam/.gitignore").trim(), "*");
}

fn interrupted(signal: Signal, code: i32) {
    let project = hello();
    project.file("model.yaml", SLOW);
    let running = project.start(&RUN);
    running.until("started");
    running.signal(signal);
    let outcome = running.wait().expect(code).says(&["cancelled", "runs show"]);
    assert_eq!(outcome.stdout, "");
    let events = project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines();
    let last = events.last().unwrap();
    assert_eq!((&last["kind"], &last["status"]), (&"run_finished".into(), &"cancelled".into()));
}

#[test]
fn an_interrupted_run_is_cancelled_and_recorded() {
    interrupted(Signal::INT, 130);
}

#[test]
fn a_terminated_run_is_cancelled_and_recorded() {
    interrupted(Signal::TERM, 143);
}

#[test]
fn a_killed_run_leaves_a_record_that_can_be_read() {
    let project = hello();
    project.file("model.yaml", SLOW);
    let running = project.start(&RUN);
    running.until("started");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    let events = project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines();
    assert_eq!(events[0]["kind"], "run_started");
    project.run(&["runs", "list"]).expect(0);
    project.file("model.yaml", ANSWER);
    project.run(&RUN).expect(0);
}

#[test]
fn many_processes_may_run_in_one_project() {
    let project = hello();
    let running: Vec<_> = (0..8).map(|_| project.start(&RUN)).collect();
    for process in running {
        assert_eq!(process.wait().expect(0).stdout, "Hello there.\n");
    }
    let listed = project.run(&["runs", "list", "--json", "--status", "completed"]).expect(0).json_lines();
    assert_eq!(listed.len(), 8);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for args in [&["limits"][..], &["schema"], &["--help"], &["completions", "bash"]] {
        hello().run_unread(args).expect(0);
    }
    hello().run_unread(&RUN).expect(0);
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let outcome = hello().run(&[&RUN[..], &["--color", "always"]].concat()).expect(0);
    assert!(outcome.stderr.contains('\u{1b}'));
    let outcome = hello().variable("NO_COLOR", "1").run(&RUN).expect(0);
    assert!(!outcome.stderr.contains('\u{1b}'));
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = hello().run(&["completions", shell]).expect(0).stdout;
        assert!(script.contains("validate"), "{shell}");
    }
}

#[test]
fn settings_name_their_origin() {
    let project = hello().variable("COFFERDAM_MODEL", "scripted/model.yaml");
    let outcome = project.run(&["config", "show", "--origin"]).expect(0);
    assert!(
        outcome.stdout.contains("scripted/model.yaml") && outcome.stdout.contains("COFFERDAM_MODEL"),
        "{}",
        outcome.stdout
    );
    assert_eq!(project.run(&["run", "hello.yaml"]).expect(0).stdout, "Hello there.\n");
}

#[test]
fn a_flag_beats_a_variable_beats_the_project() {
    let project = hello().variable("COFFERDAM_MODEL", "scripted/second.yaml");
    project.file("cofferdam.toml", "[models]\ndefault = \"scripted/third.yaml\"\n");
    project.file("second.yaml", "default: { text: second }").file("third.yaml", "default: { text: third }");
    assert_eq!(project.run(&RUN).expect(0).stdout, "Hello there.\n");
    assert_eq!(project.run(&["run", "hello.yaml"]).expect(0).stdout, "second\n");
}

#[test]
fn without_a_model_the_run_says_what_was_chosen_and_that_it_is_none() {
    let project = hello().variable("OPENAI_API_KEY", "not-used");
    project.run(&["run", "hello.yaml"]).expect(0).says(&["builtin/extract", "not a language model", "--model openai/"]);
}

#[test]
fn the_schema_is_json_and_knows_the_language() {
    let schema: serde_json::Value = serde_json::from_str(&hello().run(&["schema"]).expect(0).stdout).unwrap();
    let text = schema.to_string();
    for key in ["dependsOn", "forEach", "onItemFailure", "resultSchema", "$schema"] {
        assert!(text.contains(key), "{key}");
    }
}

#[test]
fn a_plan_can_be_drawn() {
    let project = Project::new();
    project.file(
        "d.yaml",
        "name: d\nsteps:\n  - { id: top, instructions: x }\n  - { id: low, dependsOn: [top], instructions: y }\n",
    );
    for (format, sign) in [("tree", "top"), ("mermaid", "-->"), ("dot", "digraph"), ("json", "\"top\"")] {
        let drawn = project.run(&["plan", "d.yaml", "--format", format]).expect(0).stdout;
        assert!(drawn.contains(sign) && drawn.contains("low"), "{format}: {drawn}");
    }
}

#[test]
fn findings_can_be_explained() {
    let said = hello().run(&["explain", "W021"]).expect(0).stdout;
    assert!(said.contains("dependsOn"), "{said}");
}

#[test]
fn a_plugin_is_shown_with_what_it_wants() {
    let project = Project::with_plugins();
    let said = project.run(&["plugin", "inspect", "builtin:secrets-scan"]).expect(0).stdout;
    assert!(said.contains("scan") && said.contains("sha256:"), "{said}");
    let json = project.run(&["plugin", "inspect", "builtin:text", "--json"]).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json.to_string().contains("cofferdam/text"));
    let fetch = project.run(&["plugin", "inspect", "builtin:fetch"]).expect(0).stdout;
    assert!(fetch.contains("to name") && fetch.contains("fetch:http=HOST"), "{fetch}");
    assert!(!fetch.contains("needs no grant"), "{fetch}");
    let listed = project.run(&["plugin", "list"]).expect(0).stdout;
    assert!(cofferdam_guests::FIRST_PARTY.iter().all(|name| listed.contains(name)), "{listed}");
}

#[test]
fn the_doctor_looks_at_this_machine() {
    let outcome = hello().run(&["doctor"]);
    assert!(matches!(outcome.code, Some(0 | 1)), "{}", outcome.stderr);
    assert!(!outcome.stdout.is_empty());
}
