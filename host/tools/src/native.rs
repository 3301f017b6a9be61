//! The native tools as one source of tools.
//!
//! It must not know how a tool does its work, only that the work blocks.

use crate::exec::{self, ExecSettings};
use crate::{edit, glob, grep, read, write};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::port::{BoxFuture, CancelFlag, StepDirs, Tool, ToolContext, ToolDefinition, ToolOutput};
use cofferdam_core::value;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// `edit`, `glob`, `grep`, `read` and `write` over the step's directories. Needs a tokio runtime: the work is done on its threads
/// for blocking work.
pub struct NativeTools {
    definitions: Vec<ToolDefinition>,
    exec: Option<ExecSettings>,
}

/// What a call works with.
pub(crate) struct Scene {
    /// The directories of the step.
    pub(crate) dirs: Arc<StepDirs>,
    /// The attempt was cancelled.
    cancelled: CancelFlag,
    /// Nobody waits for the answer any more.
    abandoned: CancelFlag,
}

impl Scene {
    /// A scene that nobody leaves.
    #[cfg(test)]
    pub(crate) fn new(dirs: StepDirs) -> Self {
        Self { dirs: Arc::new(dirs), cancelled: CancelFlag::default(), abandoned: CancelFlag::default() }
    }

    /// Stops work that nobody wants.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.cancelled.is_set() || self.abandoned.is_set() { Err(Fault::cancelled()) } else { Ok(()) }
    }
}

/// Tells the blocking work that its future was dropped.
struct Abandon(CancelFlag);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.set();
    }
}

impl NativeTools {
    /// All native tools.
    #[must_use]
    pub fn new() -> Self {
        let definitions = [edit::definition, glob::definition, grep::definition, read::definition, write::definition];
        Self { definitions: definitions.map(|definition| definition()).into(), exec: None }
    }

    /// The same with the tool `exec`, which runs commands.
    #[must_use]
    pub fn with_exec(mut self, settings: ExecSettings) -> Self {
        self.definitions.push(exec::definition());
        self.exec = Some(settings);
        self
    }
}

impl Default for NativeTools {
    fn default() -> Self {
        Self::new()
    }
}

impl Tool for NativeTools {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        match name.as_str() {
            "edit" => blocking(ctx, args, edit::run),
            "exec" if let Some(settings) = &self.exec => match arguments(&args) {
                Ok(args) => Box::pin(exec::run(settings, ctx, args)),
                Err(fault) => Box::pin(std::future::ready(Err(fault))),
            },
            "glob" => blocking(ctx, args, glob::run),
            "grep" => blocking(ctx, args, grep::run),
            "read" => blocking(ctx, args, read::run),
            "write" => blocking(ctx, args, write::run),
            other => {
                let fault = Fault::step("unknown_tool", format!("there is no native tool `{other}`"));
                Box::pin(std::future::ready(Err(fault)))
            }
        }
    }
}

/// The arguments of a tool.
fn arguments<A: DeserializeOwned>(args: &Value) -> Result<A, Fault> {
    if !args.is_object() {
        let message = format!("arguments are an object, not {}", value::describe(args));
        return Err(Fault::step("invalid_arguments", message));
    }
    A::deserialize(args).map_err(|error| Fault::step("invalid_arguments", error.to_string()))
}

/// Runs a tool where it may block. Dropping the future ends the work at the tool's next look.
fn blocking<A: DeserializeOwned + Send + 'static>(
    ctx: ToolContext,
    args: Arc<Value>,
    run: fn(&Scene, &A) -> Result<ToolOutput, Fault>,
) -> BoxFuture<'static, Result<ToolOutput, Fault>> {
    Box::pin(async move {
        let args: A = arguments(&args)?;
        let scene = Scene { dirs: ctx.dirs, cancelled: ctx.cancel, abandoned: CancelFlag::default() };
        let _abandon = Abandon(scene.abandoned.clone());
        match tokio::task::spawn_blocking(move || run(&scene, &args)).await {
            Ok(output) => output,
            Err(error) if error.is_cancelled() => Err(Fault::cancelled()),
            Err(error) => Err(Fault::bug(format!("a native tool broke off: {error}"))),
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cofferdam_core::event::Body;
    use cofferdam_core::id::{RunId, StepPath};
    use cofferdam_core::port::{Detached, DirHandle, Recorder};
    use serde_json::json;
    use std::fs;
    use std::path::Path;

    /// A folder with a step's directory, an output directory and a secret beside them.
    pub(crate) struct Folder(tempfile::TempDir);

    impl Folder {
        pub(crate) fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["step", "out", "outside"] {
                fs::create_dir(folder.path().join(name)).unwrap();
            }
            fs::write(folder.path().join("outside/secret.txt"), "secret").unwrap();
            Self(folder)
        }

        pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }

        /// Writes a file of the step's directory.
        pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
            let path = self.path("step").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        pub(crate) fn link(&self, target: impl AsRef<Path>, name: &str) {
            std::os::unix::fs::symlink(target, self.path("step").join(name)).unwrap();
        }

        pub(crate) fn dirs(&self) -> StepDirs {
            let open = |name| DirHandle::new(fs::File::open(self.path(name)).unwrap());
            StepDirs { step: open("step"), out: open("out") }
        }

        pub(crate) fn scene(&self) -> Scene {
            Scene::new(self.dirs())
        }
    }

    /// Runs a tool with arguments as they come from a model.
    pub(crate) fn run<A: DeserializeOwned>(
        folder: &Folder,
        tool: fn(&Scene, &A) -> Result<ToolOutput, Fault>,
        args: Value,
    ) -> Result<Value, Fault> {
        let args = serde_json::from_value(args).unwrap();
        tool(&folder.scene(), &args).map(|output| Value::clone(&output.result))
    }

    struct Silent;

    impl Recorder for Silent {
        fn record(&self, _: Body) -> BoxFuture<'_, Result<(), Fault>> {
            Box::pin(std::future::ready(Ok(())))
        }
        fn observe(&self, _: Body) {}
    }

    fn context(folder: &Folder) -> ToolContext {
        ToolContext {
            run_id: RunId::parse("r").unwrap(),
            path: StepPath::from("s"),
            attempt: 1,
            call_id: "c".into(),
            idempotency_key: "k".into(),
            deadline: None,
            dirs: Arc::new(folder.dirs()),
            events: Arc::new(Silent),
            run: Arc::new(Detached::new(RunId::parse("r").unwrap(), StepPath::from("s"))),
            cancel: CancelFlag::default(),
            narrowings: Arc::default(),
            tools: None,
            agents: None,
            kept: Arc::default(),
            tool: None,
            depth: 0,
        }
    }

    async fn call(folder: &Folder, name: &str, args: Value) -> Result<Value, Fault> {
        let output = NativeTools::new().call(context(folder), &LocalName::parse(name).unwrap(), Arc::new(args)).await;
        output.map(|output| Value::clone(&output.result))
    }

    #[tokio::test]
    async fn what_one_tool_writes_the_others_find_and_read() {
        let folder = Folder::new();
        for path in ["notes/täglich.md", "out:report.md"] {
            let written = call(&folder, "write", json!({ "path": path, "content": "größer" })).await.unwrap();
            assert_eq!(written, json!({ "path": path, "bytes": 8 }));
            let read = call(&folder, "read", json!({ "path": path })).await.unwrap();
            assert_eq!(read, json!({ "path": path, "content": "größer", "size": 8, "truncated": false }));
        }
        let found = call(&folder, "glob", json!({ "pattern": ["**/*.md", "out:**"] })).await.unwrap();
        assert_eq!(found, json!({ "files": ["notes/täglich.md", "out:report.md"], "truncated": false, "skipped": 0 }));
        assert_eq!(fs::read_to_string(folder.path("out/report.md")).unwrap(), "größer");
    }

    #[tokio::test]
    async fn wrong_arguments_are_a_fault() {
        let folder = Folder::new();
        for (name, args) in [
            ("read", json!({})),
            ("read", json!({ "path": "a", "colour": 1 })),
            ("write", json!({ "path": "a", "content": 1 })),
            ("glob", json!([])),
        ] {
            assert_eq!(call(&folder, name, args.clone()).await.unwrap_err().code, "invalid_arguments", "{name} {args}");
        }
        assert_eq!(call(&folder, "sing", json!({})).await.unwrap_err().code, "unknown_tool");
    }

    #[tokio::test]
    async fn a_cancelled_call_says_so() {
        let folder = Folder::new();
        let ctx = context(&folder);
        ctx.cancel.set();
        let output = NativeTools::new().call(ctx, &LocalName::parse("glob").unwrap(), Arc::new(json!({}))).await;
        assert_eq!(output, Err(Fault::cancelled()));
    }

    #[test]
    fn definitions_are_strict_and_their_examples_are_arguments() {
        for tool in NativeTools::new().definitions() {
            assert_eq!(tool.input_schema["type"], "object");
            assert_eq!(tool.input_schema["additionalProperties"], false);
            let known = tool.input_schema["properties"].as_object().unwrap();
            assert!(known.values().all(|property| property["description"].is_string()), "{}", tool.name);
            assert!(!tool.examples.is_empty());
            for example in &tool.examples {
                assert!(example.as_object().unwrap().keys().all(|key| known.contains_key(key)), "{example}");
                match tool.name.as_str() {
                    "edit" => drop(serde_json::from_value::<edit::Args>(example.clone()).unwrap()),
                    "glob" => drop(serde_json::from_value::<glob::Args>(example.clone()).unwrap()),
                    "grep" => drop(serde_json::from_value::<grep::Args>(example.clone()).unwrap()),
                    "read" => drop(serde_json::from_value::<read::Args>(example.clone()).unwrap()),
                    _ => drop(serde_json::from_value::<write::Args>(example.clone()).unwrap()),
                }
            }
            assert_eq!(tool.effects.read_only, !matches!(tool.name.as_str(), "edit" | "write"));
        }
    }
}
