//! A tool of an embedder that does what a closure says.

use cofferdam::Tool;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::LocalName;
use cofferdam::core::port::{BoxFuture, Effects, ToolContext, ToolDefinition, ToolOutput};
use serde_json::{Value, json};
use std::sync::Arc;

/// One tool that takes any arguments.
pub(crate) struct Doing<F> {
    definitions: Vec<ToolDefinition>,
    does: F,
}

impl<F, R> Doing<F>
where
    F: Fn(ToolContext, Arc<Value>) -> R + Send + Sync,
    R: Future<Output = Result<ToolOutput, Fault>> + Send + 'static,
{
    pub(crate) fn new(name: &str, effects: Effects, does: F) -> Self {
        let definition = ToolDefinition {
            name: LocalName::parse(name).unwrap(),
            title: None,
            description: "Does what a test says.".into(),
            input_schema: Arc::new(json!({ "type": "object" })),
            output_schema: None,
            effects,
            examples: Vec::new(),
        };
        Self { definitions: vec![definition], does }
    }
}

impl<F, R> Tool for Doing<F>
where
    F: Fn(ToolContext, Arc<Value>) -> R + Send + Sync,
    R: Future<Output = Result<ToolOutput, Fault>> + Send + 'static,
{
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        _: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin((self.does)(ctx, args))
    }
}

/// What a tool gives that has only data.
pub(crate) fn gave(result: Value) -> Result<ToolOutput, Fault> {
    Ok(ToolOutput { result: Arc::new(result), content: None })
}
