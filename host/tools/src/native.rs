//! The native tools as one source of tools.
//!
//! It must not know how a tool does its work, only that the work blocks.

use crate::{glob, read, write};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::port::{BoxFuture, CancelFlag, StepDirs, Tool, ToolContext, ToolDefinition, ToolOutput};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// `glob`, `read` and `write` over the step's directories. Needs a tokio runtime: the work is done on its threads
/// for blocking work.
pub struct NativeTools {
    definitions: Vec<ToolDefinition>,
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
        Self { definitions: vec![glob::definition(), read::definition(), write::definition()] }
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

    fn call<'a>(&'a self, ctx: ToolContext, name: &'a LocalName, args: Arc<Value>) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        match name.as_str() {
            "glob" => blocking(ctx, args, glob::run),
            "read" => blocking(ctx, args, read::run),
            "write" => blocking(ctx, args, write::run),
            other => {
                let fault = Fault::step("unknown_tool", format!("there is no native tool `{other}`"));
                Box::pin(std::future::ready(Err(fault)))
            }
        }
    }
}

/// Runs a tool where it may block. Dropping the future ends the work at the tool's next look.
fn blocking<A: DeserializeOwned + Send + 'static>(
    ctx: ToolContext,
    args: Arc<Value>,
    run: fn(&Scene, A) -> Result<ToolOutput, Fault>,
) -> BoxFuture<'static, Result<ToolOutput, Fault>> {
    Box::pin(async move {
        let args = A::deserialize(&*args).map_err(|error| Fault::step("invalid_arguments", error.to_string()))?;
        let scene = Scene { dirs: ctx.dirs, cancelled: ctx.cancel, abandoned: CancelFlag::default() };
        let _abandon = Abandon(scene.abandoned.clone());
        match tokio::task::spawn_blocking(move || run(&scene, args)).await {
            Ok(output) => output,
            Err(error) if error.is_cancelled() => Err(Fault::cancelled()),
            Err(error) => Err(Fault::bug(format!("a native tool broke off: {error}"))),
        }
    })
}
