//! Servers that misbehave, each started as a program: what it does ends within its bound, is named, and hurts nobody.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

#[path = "support/real.rs"]
mod real;

use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::{Alias, LocalName, RunId, StepPath};
use cofferdam_core::policy::Trust;
use cofferdam_core::port::{
    CancelFlag, Clock, Detached, DirHandle, Recorder, StepDirs, Tool as _, ToolContext, ToolOutput,
};
use cofferdam_core::server::ServerReference;
use cofferdam_mcp::{Server, ServerSettings};
use real::{Real, Warnings};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

struct Scene {
    folder: TempDir,
    clock: Arc<Real>,
    warnings: Arc<Warnings>,
}

/// The example that cargo builds beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join("scripted_server")
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { folder, clock: Arc::new(Real::new()), warnings: Arc::default() }
    }

    fn settings(&self, mode: &str) -> ServerSettings {
        let tell = self.folder.path().join("told").display().to_string();
        let env = [("SCRIPTED_TELL", tell.as_str()), ("TOKEN", "${SECRET}")];
        let known = |name: &str| match name {
            "SECRET" => Some("very-secret-value".to_owned()),
            "PATH" => Some("/usr/bin:/bin".to_owned()),
            "HOME" => Some("/nowhere".to_owned()),
            _ => None,
        };
        ServerSettings {
            alias: Alias::parse("scripted").unwrap(),
            reference: ServerReference::Command {
                command: program().display().to_string(),
                args: vec![mode.to_owned()],
                env: env
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect::<BTreeMap<_, _>>(),
            },
            directory: self.folder.path().to_owned(),
            trust: Trust::default(),
            variables: Arc::new(move |name| known(name).map(SecretString::from)),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        }
    }

    async fn connect(&self, mode: &str) -> Result<Arc<Server>, Fault> {
        Server::connect(self.settings(mode)).await
    }

    fn open(&self) -> DirHandle {
        DirHandle::new(std::fs::File::open(self.folder.path()).unwrap())
    }

    fn context(&self, time: Duration) -> ToolContext {
        let run_id = RunId::parse("run").unwrap();
        ToolContext {
            narrowings: Arc::default(),
            kept: Arc::default(),
            tool: None,
            depth: 0,
            tools: None,
            agents: None,
            run_id: run_id.clone(),
            path: StepPath::ROOT,
            attempt: 1,
            call_id: Arc::from("call"),
            idempotency_key: Arc::from("key"),
            deadline: Some(self.clock.now().after(time)),
            dirs: Arc::new(StepDirs { step: self.open(), out: self.open() }),
            events: Arc::clone(&self.warnings) as Arc<dyn Recorder>,
            run: Arc::new(Detached::new(run_id, StepPath::ROOT)),
            cancel: CancelFlag::default(),
        }
    }

    async fn call(&self, server: &Server, tool: &str, args: Value) -> Result<ToolOutput, Fault> {
        let name = LocalName::parse(tool).unwrap();
        server.call(self.context(Duration::from_secs(20)), &name, Arc::new(args)).await
    }

    async fn tell(&self, server: &Server, what: &str) -> Result<ToolOutput, Fault> {
        self.call(server, "do", json!({ "what": what })).await
    }

    fn warnings(&self) -> String {
        self.warnings.heard().join("\n")
    }

    /// Waits until something is so.
    async fn until(what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..500 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }
}

fn is_running(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[tokio::test]
async fn a_server_that_behaves_is_called() {
    let scene = Scene::new();
    let server = scene.connect("").await.unwrap();
    let names: Vec<&str> = server.definitions().iter().map(|definition| definition.name.as_str()).collect();
    assert_eq!(names, ["count_words", "do", "echo"]);
    assert!(server.definitions().iter().all(|definition| !definition.effects.read_only), "a claim was believed");
    let output = scene.call(&server, "echo", json!({ "text": "hi" })).await.unwrap();
    assert_eq!((output.result.as_ref(), output.content.as_deref()), (&json!({ "echo": "hi", "calls": 1 }), Some("hi")));
    let image = scene.tell(&server, "image").await.unwrap();
    assert_eq!(image.result["data"][0]["media_type"], "image/png");
    let fault = scene.tell(&server, "fail").await.unwrap_err();
    assert_eq!((fault.code.as_ref(), fault.class), ("tool_error", Class::Step));
    assert!(fault.message.contains("no such thing"), "{fault}");
    assert!(server.pin().name.contains("scripted 1.0"), "{:?}", server.pin());
}

#[tokio::test]
async fn a_server_of_the_newer_era_is_spoken_to_in_its_own() {
    let scene = Scene::new();
    let server = scene.connect("newer").await.unwrap();
    assert_eq!(scene.tell(&server, "word").await.unwrap().content.as_deref(), Some("word"));
}

#[tokio::test]
async fn a_program_sees_only_what_it_is_given() {
    let scene = Scene::new();
    let server = scene.connect("").await.unwrap();
    let seen = scene.tell(&server, "environment").await.unwrap().content.unwrap();
    let names: Vec<&str> = seen.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(names, ["HOME", "PATH", "SCRIPTED_TELL", "TOKEN"]);
    assert!(seen.contains("TOKEN=[redacted]") && !seen.contains("very-secret"), "{seen}");
    let place = scene.tell(&server, "where").await.unwrap().content.unwrap();
    assert_eq!(std::fs::canonicalize(&*place).unwrap(), std::fs::canonicalize(scene.folder.path()).unwrap());
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_named() {
    let scene = Scene::new();
    let mut settings = scene.settings("");
    settings.variables = Arc::new(|_| None);
    let fault = Server::connect(settings).await.unwrap_err();
    assert!(fault.message.contains("`SECRET`, which is not set"), "{fault}");
}

#[tokio::test]
async fn a_server_that_dies_is_started_again_and_given_up_in_the_end() {
    let scene = Scene::new();
    let server = scene.connect("").await.unwrap();
    for round in 0..3 {
        let fault = scene.tell(&server, "die").await.unwrap_err();
        assert!(fault.message.contains("MCP server `scripted`: it ended during the call"), "{round}: {fault}");
        if round == 0 {
            assert_eq!(scene.tell(&server, "alive").await.unwrap().content.as_deref(), Some("alive"));
            assert!(scene.warnings().contains("started again"), "{}", scene.warnings());
        }
    }
    let fault = scene.tell(&server, "die").await.unwrap_err();
    assert_eq!(fault.code, "mcp_server_ended", "{fault}");
    let fault = scene.tell(&server, "alive").await.unwrap_err();
    assert_eq!(fault.code, "mcp_quarantined", "{fault}");
    assert!(fault.message.contains("out of luck"), "{fault}");
}

#[tokio::test]
async fn a_call_that_hangs_ends_with_its_step_and_is_called_off() {
    let scene = Scene::new();
    let server = scene.connect("").await.unwrap();
    let began = Instant::now();
    let (name, args) = (LocalName::parse("do").unwrap(), Arc::new(json!({ "what": "hang" })));
    let fault = server.call(scene.context(Duration::from_millis(200)), &name, Arc::clone(&args)).await.unwrap_err();
    assert_eq!(fault.code, "timeout");
    assert!(began.elapsed() < Duration::from_secs(5));
    let told = scene.folder.path().join("told");
    Scene::until("the server was told of the timeout", || told.exists()).await;
    std::fs::remove_file(&told).unwrap();
    let dropped = server.call(scene.context(Duration::from_secs(60)), &name, args);
    assert!(tokio::time::timeout(Duration::from_millis(200), dropped).await.is_err());
    Scene::until("the server was told of the cancellation", || told.exists()).await;
    assert!(scene.tell(&server, "alive").await.is_ok());
}

#[tokio::test]
async fn a_flood_is_counted_and_dropped() {
    let scene = Scene::new();
    let server = scene.connect("").await.unwrap();
    assert_eq!(scene.tell(&server, "flood").await.unwrap().content.as_deref(), Some("still here"));
    assert_eq!(scene.tell(&server, "log").await.unwrap().content.as_deref(), Some("logged"));
    assert!(scene.tell(&server, "alive").await.is_ok());
}

#[tokio::test]
async fn a_tool_that_changed_is_not_called_and_the_others_are() {
    let scene = Scene::new();
    let server = scene.connect("").await.unwrap();
    assert!(scene.call(&server, "count_words", json!({ "n": 1 })).await.is_ok());
    scene.tell(&server, "change").await.unwrap();
    let fault = scene.call(&server, "count_words", json!({ "n": 1 })).await.unwrap_err();
    assert_eq!(fault.code, "mcp_tool_changed");
    assert!(fault.message.contains("changed its tools during the run; `count_words`"), "{fault}");
    assert!(scene.tell(&server, "alive").await.is_ok());
    assert!(scene.warnings().contains("`count_words` takes or gives something else"), "{}", scene.warnings());
}

#[tokio::test]
async fn results_that_are_too_large_or_none_fail_the_call() {
    let scene = Scene::new();
    let server = scene.connect("").await.unwrap();
    let large = scene.tell(&server, "large").await.unwrap_err();
    assert_eq!(large.code, "mcp_limit", "{large}");
    assert!(scene.tell(&server, "nonsense").await.is_err());
    let huge = scene.tell(&server, "huge").await.unwrap_err();
    assert!(huge.message.contains("a line of more than"), "{huge}");
    assert!(scene.tell(&server, "alive").await.is_ok(), "not started again");
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_refused_by_name() {
    let scene = Scene::new();
    for (mode, why) in [
        ("huge", "a line of more than"),
        ("no-json", "are not messages of the protocol"),
        ("same-names", "`Count.Words` and `count__words` are both called `count_words`"),
        ("many", "more than 256 tools"),
        ("endless", "more than 64 pages"),
    ] {
        let fault = scene.connect(mode).await.unwrap_err();
        assert!(fault.message.starts_with("MCP server `scripted`: ") && fault.message.contains(why), "{mode}: {fault}");
        assert_eq!(fault.class, Class::User, "{mode}");
    }
    let mut settings = scene.settings("");
    let nowhere = ServerReference::Command { command: "/nowhere/x".into(), args: Vec::new(), env: BTreeMap::new() };
    settings.reference = nowhere;
    assert!(Server::connect(settings).await.unwrap_err().message.contains("cannot be started"));
}

#[tokio::test]
async fn words_before_the_first_message_are_borne_and_bombs_are_left_out() {
    let scene = Scene::new();
    assert!(scene.connect("chatty").await.is_ok());
    let server = scene.connect("bomb").await.unwrap();
    assert!(server.definitions().iter().all(|definition| definition.name.as_str() != "bomb"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_waited_for_only_so_long() {
    let scene = Scene::new();
    for mode in ["hangs", "silent"] {
        let fault = scene.connect(mode).await.unwrap_err();
        assert!(fault.message.contains("did not answer within 30 s"), "{mode}: {fault}");
    }
}

#[tokio::test]
async fn the_whole_group_is_killed_at_the_end_and_at_drop() {
    let scene = Scene::new();
    for mode in ["", "stays"] {
        let server = scene.connect(mode).await.unwrap();
        let pids = scene.tell(&server, "child").await.unwrap().content.unwrap();
        let (parent, child) = pids.split_once(' ').unwrap();
        assert!(is_running(parent) && is_running(child), "{pids}");
        if mode == "stays" {
            server.close().await;
        }
        drop(server);
        Scene::until("both were killed", || !is_running(parent) && !is_running(child)).await;
    }
}

#[tokio::test]
async fn a_closed_server_is_not_started_again() {
    let scene = Scene::new();
    let server = scene.connect("").await.unwrap();
    server.close().await;
    assert_eq!(scene.tell(&server, "alive").await.unwrap_err().class, Class::Cancelled);
}
