//! A host, a run around it, what the run hears, and a secret that nobody may see.

use crate::guest::Scratch;
use crate::watch::Present;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, LocalName, RunId, StepPath};
use cofferdam_core::policy::Grants;
use cofferdam_core::port::{
    BoxFuture, CancelFlag, Clock, Detached, DirHandle, Recorder, Redactor, StepDirs, Tool as _, ToolContext, ToolOutput,
};
use cofferdam_core::time::Timestamp;
use cofferdam_egress::{Egress, Resolve};
use cofferdam_plugin::{
    Allocation, CacheDirs, CompileChild, HostSettings, LoadError, LoadedPlugin, Network, PluginHost, PluginReference,
    Source,
};
use cofferdam_store::{Memory, MemoryState};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::fs::File;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The value of the secret `KEY`.
pub(crate) const CANARY: &str = "canary-0123456789abcdef";
/// The wall limit of guests.
pub(crate) const WALL: Duration = Duration::from_millis(200);

/// One host with its directories.
pub(crate) struct Scene {
    pub(crate) host: PluginHost,
    pub(crate) scratch: Scratch,
    pub(crate) heard: Arc<Heard>,
    dirs: Arc<StepDirs>,
    _present: Present,
}

/// The events of the run.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<Body>>);

impl Heard {
    pub(crate) fn all(&self) -> Vec<Body> {
        self.0.lock().unwrap().clone()
    }

    /// What was heard since it was last taken.
    pub(crate) fn take(&self) -> Vec<Body> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Recorder for Heard {
    fn record(&self, body: Body) -> BoxFuture<'_, Result<(), Fault>> {
        self.observe(body);
        Box::pin(std::future::ready(Ok(())))
    }

    fn observe(&self, body: Body) {
        self.0.lock().unwrap().push(body);
    }
}

struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock port")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// Knows the canary, as the vault of a run does.
struct KnowsCanary;

impl Redactor for KnowsCanary {
    fn redact(&self, text: &str) -> Option<String> {
        text.contains(CANARY).then(|| text.replace(CANARY, "[redacted]"))
    }
}

/// Every name is this machine, except those that say otherwise.
struct Names;

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> futures_util::future::BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        let answers: &[&str] = match host {
            "mixed.example" => &["93.184.216.34", "127.0.0.1"],
            "metadata.example" => &["169.254.169.254"],
            _ => &["127.0.0.1"],
        };
        let answers = answers.iter().map(|answer| answer.parse().unwrap()).collect();
        Box::pin(std::future::ready(Ok(answers)))
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A scene whose settings are changed.
    pub(crate) fn with(change: impl FnOnce(&mut HostSettings)) -> Self {
        Self::allocating(Allocation::Probed, change)
    }

    /// A scene whose guests get their memory like this.
    pub(crate) fn allocating(allocation: Allocation, change: impl FnOnce(&mut HostSettings)) -> Self {
        let present = Present::new();
        let scratch = Scratch::new();
        for name in ["step", "out"] {
            std::fs::create_dir(scratch.path().join(name)).unwrap();
        }
        let open = |name| DirHandle::new(File::open(scratch.path().join(name)).unwrap());
        let dirs = Arc::new(StepDirs { step: open("step"), out: open("out") });
        let secrets = |name: &str| (name == "KEY").then(|| SecretString::from(CANARY));
        let mut settings = HostSettings {
            network: Some(Network { egress: Egress::with_resolver(Arc::new(Names)), secrets: Arc::new(secrets) }),
            state: Some(Arc::new(MemoryState::new())),
            blobs: Some(Arc::new(Memory::new())),
            redactor: Arc::new(KnowsCanary),
            ..HostSettings::alone(Arc::new(WallClock))
        };
        change(&mut settings);
        let host = PluginHost::new(settings).with_allocation(allocation);
        Self { host, heard: Arc::default(), dirs, scratch, _present: present }
    }

    /// Loads a component under the alias `guest`, with these grants and lowered bounds.
    pub(crate) async fn load(&self, component: Vec<u8>, grants: Value) -> Result<Arc<LoadedPlugin>, LoadError> {
        self.host.load(reference(component, &grants)).await
    }

    /// Calls the tool `run`.
    pub(crate) async fn call(&self, plugin: &LoadedPlugin, args: Value) -> Result<ToolOutput, Fault> {
        self.call_as(self.context(), plugin, args).await
    }

    /// Calls the tool `run` in this context.
    pub(crate) async fn call_as(
        &self,
        context: ToolContext,
        plugin: &LoadedPlugin,
        args: Value,
    ) -> Result<ToolOutput, Fault> {
        plugin.call(context, &LocalName::parse("run").unwrap(), Arc::new(args)).await
    }

    /// Where a call runs.
    pub(crate) fn context(&self) -> ToolContext {
        let events: Arc<dyn Recorder> = self.heard.clone();
        ToolContext {
            run_id: RunId::parse("r1").unwrap(),
            path: StepPath::from("scan"),
            attempt: 1,
            call_id: Arc::from("c1"),
            idempotency_key: Arc::from("k1"),
            deadline: None,
            dirs: self.dirs.clone(),
            events,
            run: Arc::new(Detached::new(RunId::parse("r1").unwrap(), StepPath::from("scan"))),
            cancel: CancelFlag::default(),
            narrowings: Arc::default(),
            tools: None,
            agents: None,
            kept: Arc::default(),
            tool: None,
            depth: 0,
        }
    }
}

pub(crate) fn dirs_of(scratch: &Scratch) -> CacheDirs {
    CacheDirs { code: scratch.path().join("code"), state: scratch.path().join("state") }
}

/// A reference to these bytes with lowered bounds.
pub(crate) fn reference(component: Vec<u8>, grants: &Value) -> PluginReference {
    let source = Source::Bytes(Arc::from(component));
    let mut reference = PluginReference::new(Alias::parse("guest").unwrap(), source);
    reference.granted = Grants::parse(grants).unwrap();
    reference.limits.wall = Some(WALL);
    reference.limits.memory_bytes = Some(16 << 20);
    reference
}

/// No grants.
pub(crate) fn nothing() -> Value {
    json!({})
}

/// The example of this crate, which cargo builds beside the tests.
pub(crate) fn compile_child() -> CompileChild {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(std::path::Path::parent).unwrap();
    CompileChild { program: target.join("examples/compile_child"), args: Vec::new() }
}
