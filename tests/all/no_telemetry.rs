//! Nothing calls home: what is not a model of a provider, a plugin's grant or a server reaches no network at all.

use crate::support::{Outcome, Project};
use cofferdam_model_server::ModelServer;
use std::path::PathBuf;
use std::process::Command;

const DOCUMENT: &str = "name: hello\nsteps:\n  - { id: greet, instructions: Greet the reader. }\n";

/// What people do all day, none of which needs a network.
const COMMANDS: &[&[&str]] = &[
    &["--version"],
    &["init", "fresh"],
    &["run", "hello.yaml", "--model", "builtin/extract"],
    &["agent", "Greet.", "--model", "builtin/extract"],
    &["validate", "hello.yaml", "--provider", "all"],
    &["plan", "hello.yaml"],
    &["runs", "show", "last"],
    &["replay", "last"],
    &["models", "list"],
    &["tools", "list"],
    &["config", "show"],
    &["plugin", "inspect", "builtin:text"],
];

fn project() -> Project {
    let project = Project::with_plugins().variable("OPENAI_API_KEY", "sk-canary");
    project.file("hello.yaml", DOCUMENT);
    project
}

/// Cargo builds it beside this binary, since it is a dependency of the tests.
fn layer() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("libcounted_connects.so");
    assert!(path.exists(), "`{}` is not built", path.display());
    path
}

/// Runs a command, and says how often it went to the network.
fn counted(project: &Project, args: &[&str]) -> (Outcome, usize) {
    let log = project.path("connects.log");
    let _ = std::fs::remove_file(&log);
    let mut command = project.command(args);
    command.env("LD_PRELOAD", layer()).env("COUNTED_CONNECTS", &log);
    let outcome = project.finish(command);
    (outcome, std::fs::read_to_string(log).map_or(0, |log| log.lines().count()))
}

#[test]
fn no_command_connects_to_anybody() {
    let project = project();
    for args in COMMANDS {
        let (outcome, connects) = counted(&project, args);
        outcome.expect(0);
        assert_eq!(connects, 0, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_provider_that_was_named_is_all_that_is_connected_to() {
    let server = ModelServer::start(Default::default()).await.unwrap();
    let project = project().variable("OPENAI_BASE_URL", &server.base_url());
    let args = ["run", "hello.yaml", "--model", "openai/text"];
    let (outcome, connects) = tokio::task::spawn_blocking(move || counted(&project, &args)).await.unwrap();
    outcome.expect(0);
    assert_eq!((connects, server.requests().len()), (1, 1));
}

/// How this machine gives a process a network of its own: as root, or with a root of its own too.
fn apart() -> &'static [&'static str] {
    let ways: [&[&str]; 2] = [&["--net", "--"], &["--map-root-user", "--net", "--"]];
    let works =
        |way: &&[&str]| Command::new("unshare").args(*way).arg("true").output().is_ok_and(|done| done.status.success());
    ways.into_iter().find(works).expect("`unshare` of util-linux makes network namespaces here")
}

/// Runs a command where there is no network, not even loopback.
fn alone(project: &Project, args: &[&str]) -> Outcome {
    let inner = project.command(args);
    let mut command = Command::new("unshare");
    command.args(apart()).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().current_dir(inner.get_current_dir().unwrap());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    project.finish(command)
}

#[test]
fn all_of_it_works_without_any_network() {
    let project = project().variable("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    for args in COMMANDS {
        alone(&project, args).expect(0);
    }
    // It is really alone: what needs a network does not get it.
    alone(&project, &["run", "hello.yaml", "--model", "vllm/x", "--no-dotenv"]).expect(1).says(&["cannot be reached"]);
}
