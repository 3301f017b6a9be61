//! The tools of agents that write to each other: `send_message` of steps, and those of the coordinator. Every gateway has them.
//!
//! They are offered only in a run with a coordinator: without one nobody would read. It must not know who reads what.

use crate::context_tools;
use cofferdam_core::event::MessageKind;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{LocalName, ToolName};
use cofferdam_core::limits;
use cofferdam_core::mail::{self, OF_COORDINATOR, SEND_MESSAGE as SEND};
use cofferdam_core::port::{BoxFuture, Post, Receipt, Tool, ToolContext, ToolDefinition, ToolOutput};
use serde_json::{Value, json};
use std::sync::Arc;

const FORWARD: &str = OF_COORDINATOR[0];
const NARRATE: &str = OF_COORDINATOR[1];
const FINALIZE: &str = OF_COORDINATOR[2];

/// The tools as one source.
pub(crate) struct MailTools {
    definitions: Vec<ToolDefinition>,
}

/// Whether the tool is the one of steps.
pub(crate) fn is_send(tool: &ToolName) -> bool {
    mail::is_tool(tool) && tool.local().as_str() == SEND
}

impl MailTools {
    pub(crate) fn new() -> Self {
        let text = |about: &str| json!({ "type": "string", "minLength": 1, "description": about });
        let target = text("The step's path in the run, or its id where only one step has it.");
        let kind = json!({
            "enum": ["info", "context_update", "cancel"],
            "description": "info: something to know. context_update: replaces what the agent knew. cancel: stops the step.",
        });
        // They change nothing outside of the run, which knows a call that is made again by its key.
        let define = context_tools::definition;
        let message = json!({ "text": text("What the coordinator shall know.") });
        let forwarded = json!({ "target_step_id": target, "text": text("What the agent reads."), "kind": kind });
        let about = "Writes a message to the agent of a step.";
        let forward = context_tools::definition_with(FORWARD, about, &forwarded, &["target_step_id", "text"]);
        Self {
            definitions: vec![
                define(SEND, "Writes a message to the coordinator of the run. It may answer later.", &message),
                forward,
                define(
                    NARRATE,
                    "Tells people in a sentence how the run goes.",
                    &json!({ "text": text("The sentence.") }),
                ),
                define(
                    FINALIZE,
                    "Says for people what the run came to. What is said first counts.",
                    &json!({ "summary": text("The summary.") }),
                ),
            ],
        }
    }
}

impl Tool for MailTools {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move {
            let text = |key: &str| args.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            match name.as_str() {
                SEND => write(&ctx, None, MessageKind::Info, text("text")).await,
                FORWARD => {
                    let kind = args.get("kind").cloned().map(serde_json::from_value).transpose();
                    let kind = kind.map_err(|error| Fault::step("invalid_arguments", error.to_string()))?;
                    write(&ctx, Some(text("target_step_id")), kind.unwrap_or_default(), text("text")).await
                }
                NARRATE => {
                    ctx.run.narrate(bounded(text("text"))?, Arc::clone(&ctx.idempotency_key)).await?;
                    Ok(said("told"))
                }
                _ => {
                    let counts = ctx.run.summarize(bounded(text("summary"))?).await?;
                    Ok(said(if counts { "this is the summary of the run" } else { "ignored: the run has its summary" }))
                }
            }
        })
    }
}

async fn write(ctx: &ToolContext, to: Option<String>, kind: MessageKind, text: String) -> Result<ToolOutput, Fault> {
    let text = bounded(text)?;
    let post = Post { to, kind, text, key: Arc::clone(&ctx.idempotency_key), failed: false };
    let Receipt { id, dropped } = ctx.run.post(post).await?;
    match dropped {
        None => Ok(said(&format!("message {id} is on its way"))),
        Some((reason, why)) => Err(Fault::step("message_dropped", format!("nobody reads this ({reason}): {why}"))),
    }
}

fn bounded(text: String) -> Result<String, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::step("empty_message", "the text is empty"));
    }
    let (bytes, most) = (text.len(), limits::MESSAGE_TEXT_BYTES);
    if bytes <= most {
        return Ok(text);
    }
    Err(Fault::step("message_too_large", format!("the text has {bytes} bytes, more than {most}"))
        .with_hint("say it in fewer words, or write it to a file and name that"))
}

fn said(text: &str) -> ToolOutput {
    ToolOutput { result: Arc::default(), content: Some(Arc::from(text)) }
}
