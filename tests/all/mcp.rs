//! Servers of the Model Context Protocol as people meet them: requested by a document, allowed by the user, called as any
//! tool is. Without a network: the server is a program of this repository, or it listens on loopback.

use crate::support::{Project, repository, user_directory};
use cofferdam::core::port::{Answer, Approver, BoxFuture, Question};
use cofferdam::{Orchestrator, RunOptions, UserDirs, Workflow};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The example that cargo builds beside this test; built here when this test alone was.
fn server() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let test = std::env::current_exe().unwrap();
            let path = test.parent().and_then(Path::parent).unwrap().join("examples").join("mcp_server");
            if !path.exists() {
                let mut cargo = Command::new(env!("CARGO"));
                cargo.args(["build", "--offline", "--example", "mcp_server"]).current_dir(repository());
                assert!(cargo.status().unwrap().success(), "the example cannot be built");
            }
            path
        })
        .clone()
}

fn document(mode: &str) -> String {
    let (command, args) = (json!(server()), json!([mode]));
    format!(
        "name: asks\nmcpServers:\n  tools: {{ command: {command}, args: {args}, env: {{ MODE: quiet }} }}\nsteps:\n  - \
         {{ id: a, tool: tools.echo, args: {{ text: hello }} }}\n"
    )
}

fn project(mode: &str) -> Project {
    let project = Project::new();
    project.file("asks.yaml", document(mode));
    project
}

const AGENT: &str = "
agents:
  worker: { description: works, tools: ['tools.*'] }
steps: [{ id: a, agent: worker, instructions: Say it. }]
";

const MODEL: &str = "
answers:
  - { step: a, turn: 1, toolCalls: [{ tool: tools.echo, args: { text: from a model } }] }
default: { text: done }
";

/// A document whose agent may use the server's tools.
fn with_agent(project: &Project) {
    let head = document("").lines().take(3).collect::<Vec<_>>().join("\n");
    project.file("agent.yaml", format!("{head}{AGENT}")).file("model.yaml", MODEL);
}

fn kinds<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["kind"] == kind).collect()
}

#[test]
fn a_server_that_nobody_allowed_is_not_started_and_the_lines_that_would_are_printed() {
    let project = project("");
    let path = server().display().to_string();
    let outcome = project.run(&["run", "asks.yaml"]).expect(2).says(&[
        "the MCP server `tools` is requested by the document and not allowed; it starts",
        "--allow-mcp tools",
        "[mcp_servers.tools]",
        &format!("command = \"{path}\""),
        "args = [\"\"]",
        "env = { \"MODE\" = \"quiet\" }",
    ]);
    assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
    // What was printed is what allows it.
    let lines: Vec<&str> = outcome.stderr.lines().map(str::trim).collect();
    let from = lines.iter().position(|line| line.starts_with("[mcp_servers")).unwrap();
    project.file("cofferdam.toml", lines[from..from + 4].join("\n"));
    let outcome = project.run(&["run", "asks.yaml"]).expect(0);
    assert!(outcome.stdout.contains("hello"), "{}", outcome.stdout);
}

#[test]
fn an_allowed_server_is_called_and_everything_is_in_the_journal() {
    let project = project("");
    let events = project.run(&["run", "asks.yaml", "--allow-mcp", "tools", "--json"]).expect(0).json_lines();
    let started = kinds(&events, "tool_call_started");
    assert_eq!((started[0]["tool"].as_str(), &started[0]["args"]["text"]), (Some("tools.echo"), &json!("hello")));
    assert_eq!(kinds(&events, "tool_call_finished")[0]["result"]["echo"], "hello");
    let plugins = &kinds(&events, "run_started")[0]["plugins"];
    assert!(plugins[0]["source"].as_str().unwrap().starts_with("mcp:"), "{plugins}");
    assert!(plugins.to_string().contains("gives it the variables `MODE`") && !plugins.to_string().contains("quiet"));
    project.run(&["run", "asks.yaml", "--grant-requested"]).expect(0).says(&["allowed: MCP server `tools` starts"]);
}

#[test]
fn what_a_server_claims_allows_a_model_nothing_unless_the_user_believes_it() {
    let project = project("");
    with_agent(&project);
    let run = |flags: &[&str]| {
        let args = [&["run", "agent.yaml", "--model", "scripted/model.yaml", "--json"][..], flags].concat();
        project.run(&args).expect(0).json_lines()
    };
    let denied = run(&["--allow-mcp", "tools"]);
    assert_eq!(kinds(&denied, "permission_decided")[0]["decision"], "deny");
    assert!(kinds(&denied, "tool_call_started").is_empty());
    let allowed = run(&["--allow-mcp", "tools", "--allow", "tools.echo"]);
    assert_eq!(kinds(&allowed, "tool_call_finished")[0]["result"]["echo"], "from a model");
    let entry = format!("[mcp_servers.tools]\ncommand = {}\nargs = [\"\"]\n", json!(server()));
    let env = "env = { MODE = \"quiet\" }\ntrust = [\"read_only\"]\n";
    project.file("cofferdam.toml", format!("{entry}{env}"));
    let trusted = run(&[]);
    assert_eq!(kinds(&trusted, "permission_decided")[0]["decision"], "allow");
}

#[test]
fn a_document_may_use_a_server_of_the_project_without_repeating_it() {
    let project = Project::new();
    let steps = "steps: [{ id: a, tool: tools.echo, args: { text: hi } }]\n";
    project.file("short.yaml", format!("name: short\nmcpServers: {{ tools: {{}} }}\n{steps}"));
    project.run(&["run", "short.yaml"]).expect(2).says(&["add `[mcp_servers.tools]`"]);
    project.file("cofferdam.toml", format!("[mcp_servers.tools]\ncommand = {}\n", json!(server())));
    assert!(project.run(&["run", "short.yaml"]).expect(0).stdout.contains("hi"));
}

#[test]
fn the_doctor_looks_for_the_programs_of_servers() {
    let project = Project::new();
    project.run(&["doctor"]).expect(0);
    project.file("cofferdam.toml", "[mcp_servers.tools]\ncommand = \"nobody-has-this\"\n");
    let outcome = project.run(&["doctor"]).expect(1);
    assert!(outcome.stdout.contains("no program for the MCP servers tools"), "{}", outcome.stdout);
}

#[test]
fn nothing_is_started_to_validate_or_plan() {
    let project = Project::new();
    let marker = project.path("started");
    let script = format!("#!/bin/sh\ntouch {}\n", marker.display());
    project.file("serve.sh", script);
    let mut steps = "steps: [{ id: a, tool: tools.anything, args: {} }]\n".to_owned();
    steps.insert_str(0, "name: quiet\nmcpServers: { tools: { command: ./serve.sh } }\n");
    project.file("quiet.yaml", steps);
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(project.path("serve.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    project.run(&["validate", "--strict", "quiet.yaml"]).expect(0);
    let plan = project.run(&["plan", "quiet.yaml"]).expect(0).stdout;
    assert!(plan.contains("server  tools") && plan.contains("requests: starts `./serve.sh`"), "{plan}");
    let dry = project.run(&["run", "--dry-run", "quiet.yaml"]).expect(0).stdout;
    assert!(dry.contains("mcp server tools") && dry.contains("--allow-mcp tools"), "{dry}");
    assert!(!marker.exists(), "it was started");
    // The path is relative to the document, and the program is no server.
    project.run(&["run", "quiet.yaml", "--allow-mcp", "tools"]).expect(2).says(&["MCP server `tools`: it"]);
    assert!(marker.exists());
}

#[test]
fn a_name_that_the_server_does_not_have_is_found_at_the_start() {
    let project = project("");
    project.file("asks.yaml", document("").replace("tools.echo", "tools.ecko"));
    let outcome = project.run(&["run", "asks.yaml", "--allow-mcp", "tools"]).expect(2);
    outcome.says(&["uses the tool `tools.ecko`", "did you mean `tools.echo`?"]);
}

#[test]
fn servers_with_mistakes_are_refused_where_they_stand() {
    let project = project("");
    project.file("cofferdam.toml", "[mcp_servers.a]\ncommand = \"x\"\nurl = \"https://x/\"\n");
    project.run(&["run", "asks.yaml"]).expect(3).says(&["a server is a command or an address", "cofferdam.toml:1"]);
    project.file("cofferdam.toml", "[mcp_servers.a]\nurl = \"https://x/\"\nheaders = { Authorization = \"abc\" }\n");
    project.run(&["run", "asks.yaml"]).expect(3).says(&["carries a credential", "${TOKEN}"]);
    project.file("cofferdam.toml", "[mcp_servers.a]\ncommand = \"x\"\ntrust = [\"all\"]\n");
    project.run(&["run", "asks.yaml"]).expect(3).says(&["`all` is nothing to trust"]);
}

/// Says yes for good, and keeps what was asked.
#[derive(Default)]
struct Always(AtomicUsize, Mutex<String>);

impl Approver for Always {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer> {
        self.0.fetch_add(1, Ordering::Relaxed);
        *self.1.lock().unwrap() = format!("{}\n{}", question.title, question.detail);
        Box::pin(std::future::ready(Answer::Always))
    }
}

/// How often a person is asked about the document of a project.
fn questions(project: &Project, state: &Path) -> (usize, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let approver = Arc::new(Always::default());
    let builder = Orchestrator::builder()
        .project(project.path(".cofferdam"))
        .workdir(project.path(""))
        .approval(Arc::clone(&approver) as Arc<dyn Approver>, None)
        .user_dirs(UserDirs { cache: user_directory().join("cache/cofferdam"), state: state.into() });
    runtime.block_on(async {
        let orchestrator = builder.build().unwrap();
        let workflow = Workflow::load(project.path("asks.yaml")).unwrap();
        let result = orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap();
        assert!(result.success(), "{}", result.final_output());
    });
    (approver.0.load(Ordering::Relaxed), approver.1.lock().unwrap().clone())
}

#[test]
fn an_answer_is_remembered_for_exactly_this_server_of_this_document() {
    let (project, mine, theirs) = (project(""), tempfile::TempDir::new().unwrap(), tempfile::TempDir::new().unwrap());
    let (asked, what) = questions(&project, mine.path());
    assert_eq!(asked, 1);
    assert!(what.contains("MCP server `tools`") && what.contains("gives it the variables `MODE`"), "{what}");
    assert_eq!(questions(&project, mine.path()).0, 0, "asked again");
    assert_eq!(questions(&project, theirs.path()).0, 1, "an answer of somebody else was taken");
    project.file("asks.yaml", document("chatty"));
    assert_eq!(questions(&project, mine.path()).0, 1, "an answer was taken for another command");
}

#[test]
fn no_server_is_left_behind_by_a_run_that_ends_or_is_interrupted() {
    let project = project("stays");
    let steps = "  - { id: a, tool: tools.do, args: { what: child } }\n";
    let hang = "  - { id: b, dependsOn: [a], tool: tools.do, args: { what: hang } }\n";
    let head = document("stays").lines().take(4).collect::<Vec<_>>().join("\n");
    project.file("asks.yaml", format!("{head}\n{steps}"));
    gone(&project.run(&["run", "asks.yaml", "--allow-mcp", "tools", "--json"]).expect(0).json_lines());
    project.file("asks.yaml", format!("{head}\n{steps}{hang}"));
    let timed = ["run", "asks.yaml", "--allow-mcp", "tools", "--json", "--timeout", "2s"];
    gone(&project.run(&timed).expect(124).json_lines());
    // However it is stopped.
    for (first, second, code) in [
        (Signal::INT, None, 130),
        (Signal::TERM, None, 143),
        (Signal::INT, Some(Signal::INT), 130),
        (Signal::TERM, Some(Signal::TERM), 143),
    ] {
        let running = project.start(&["run", "asks.yaml", "--allow-mcp", "tools"]);
        running.until(&format!("{:<18}completed", "a"));
        running.signal(first);
        if let Some(second) = second {
            running.until("once more stops at once");
            running.signal(second);
        }
        let sent = Instant::now();
        running.wait().expect(code);
        assert!(sent.elapsed() < Duration::from_secs(if second.is_some() { 1 } else { 5 }), "{:?}", sent.elapsed());
        gone(&project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines());
    }
}

/// A server told of its process and its child: neither runs any more.
fn gone(events: &[Value]) {
    let is_running = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let finished = kinds(events, "tool_call_finished");
    let pids = finished[0]["content"].as_str().unwrap().to_owned();
    for pid in pids.split(' ') {
        let waits = (0..500).take_while(|_| is_running(pid));
        waits.for_each(|_| std::thread::sleep(Duration::from_millis(10)));
        assert!(!is_running(pid), "{pid} is left");
    }
}
