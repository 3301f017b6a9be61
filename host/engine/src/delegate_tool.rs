//! `agent`: has a sub-agent do a part of the task. Every gateway has it.
//!
//! A model is offered it only when its agent's `tools` name it: a sub-agent costs tokens.

use crate::attempt::no_agents;
use crate::context_tools;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::mail::AGENT;
use cofferdam_core::port::{BoxFuture, Task, Tool, ToolContext, ToolDefinition, ToolOutput};
use serde_json::{Value, json};
use std::sync::Arc;

/// The tool as a source.
pub(crate) struct DelegateTool {
    definitions: [ToolDefinition; 1],
}

impl DelegateTool {
    pub(crate) fn new() -> Self {
        let properties = json!({
            "task": {
                "type": "string", "minLength": 1,
                "description": "All that the sub-agent is told: it sees nothing of this conversation.",
            },
            "instructions": {
                "type": "string", "minLength": 1,
                "description": "What the sub-agent is and how it works, instead of your own instructions; absent: these.",
            },
            "tools": {
                "type": "array", "items": { "type": "string", "minLength": 1 },
                "description": "Which of your tools it may use; absent: all.",
            },
            "background": {
                "type": "boolean",
                "description": "Go on at once: what the sub-agent comes to arrives as a message. Absent: wait for it.",
            },
        });
        let about = "Has a sub-agent do a task in a conversation of its own, and gives its answer.";
        let tool = context_tools::definition_with(AGENT, about, &properties, &["task"]);
        let examples = vec![json!({ "task": "Read src/lib.rs and list what it exports.", "tools": ["read"] })];
        Self { definitions: [ToolDefinition { examples, ..tool }] }
    }
}

impl Tool for DelegateTool {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        _: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move {
            let Some(agents) = ctx.agents.clone() else { return Err(no_agents()) };
            agents.delegate(&ctx, task_of(&args)?).await
        })
    }
}

/// What the arguments of a call say, which fit the schema.
pub(crate) fn task_of(args: &Value) -> Result<Task, Fault> {
    let text = |name: &str| args.get(name).and_then(Value::as_str);
    let task = text("task").unwrap_or_default();
    if task.trim().is_empty() {
        return Err(Fault::step("empty_task", "the task is empty"));
    }
    let instructions = text("instructions");
    if instructions.is_some_and(|instructions| instructions.trim().is_empty()) {
        return Err(Fault::step("empty_task", "the instructions are empty; leave them out for your own"));
    }
    let names = args.get("tools").and_then(Value::as_array);
    Ok(Task {
        text: task.into(),
        instructions: instructions.map(Arc::from),
        tools: names.map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        background: args.get("background").and_then(Value::as_bool).unwrap_or_default(),
    })
}
