//! A host, a run around it, and what the run hears.

use crate::guest::Scratch;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, LocalName, RunId, StepPath};
use cofferdam_core::policy::Grants;
use cofferdam_core::port::{
    BoxFuture, CancelFlag, Clock, Detached, DirHandle, NoRedactor, Recorder, StepDirs, Tool as _, ToolContext,
    ToolOutput,
};
use cofferdam_core::time::Timestamp;
use cofferdam_egress::{Egress, NoSecrets};
use cofferdam_plugin::{
    CacheDirs, CompileChild, HostSettings, LoadedPlugin, Network, PluginHost, PluginReference, Source,
};
use serde_json::{Value, json};
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One host with its directories.
pub(crate) struct Scene {
    pub(crate) host: PluginHost,
    pub(crate) scratch: Scratch,
    pub(crate) heard: Arc<Heard>,
    dirs: Arc<StepDirs>,
}

/// The events of the run.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<Body>>);

impl Heard {
    pub(crate) fn all(&self) -> Vec<Body> {
        self.0.lock().unwrap().clone()
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

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A scene whose settings are changed.
    pub(crate) fn with(change: impl FnOnce(&mut HostSettings)) -> Self {
        let scratch = Scratch::new();
        for name in ["step", "out"] {
            std::fs::create_dir(scratch.path().join(name)).unwrap();
        }
        let open = |name| DirHandle::new(File::open(scratch.path().join(name)).unwrap());
        let dirs = Arc::new(StepDirs { step: open("step"), out: open("out") });
        let mut settings = HostSettings {
            clock: Arc::new(WallClock),
            cache: None,
            compile_child: None,
            network: Some(Network { egress: Egress::new(), secrets: Arc::new(NoSecrets) }),
            state: None,
            blobs: None,
            redactor: Arc::new(NoRedactor),
        };
        change(&mut settings);
        Self { host: PluginHost::new(settings), heard: Arc::default(), dirs, scratch }
    }

    /// Loads a component under the alias `guest`, with these grants and a wall limit of 300 ms.
    pub(crate) async fn load(
        &self,
        component: Vec<u8>,
        grants: Value,
    ) -> Result<Arc<LoadedPlugin>, cofferdam_plugin::LoadError> {
        self.host.load(reference(component, &grants)).await
    }

    /// Calls the tool `run`.
    pub(crate) async fn call(&self, plugin: &LoadedPlugin, args: Value) -> Result<ToolOutput, Fault> {
        plugin.call(self.context(), &LocalName::parse("run").unwrap(), Arc::new(args)).await
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
            kept: Arc::default(),
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
    reference.limits.wall = Some(Duration::from_millis(300));
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
