//! What a call of an agent is answered with.
//!
//! It must not know the conversation: what becomes of an answer is the agent's.

use super::structured::{self, Submission};
use cofferdam_core::fault::Fault;
use cofferdam_core::message::ToolCall;
use cofferdam_core::port::AgentContext;
use cofferdam_core::schema::Checker;
use serde_json::Value;
use std::sync::Arc;

/// The answer to one call.
#[derive(Clone)]
pub(super) enum Reply {
    Tool {
        text: Arc<str>,
        is_error: bool,
    },
    Submission(Submission),
    /// A piece of a result that did not fit.
    ReadOn {
        text: Arc<str>,
        is_error: bool,
    },
}

/// Answers a call: by what was kept of a large result, as a submission, or by its tool.
pub(super) async fn answer_of(
    ctx: &AgentContext,
    result: Option<&(Arc<Value>, Arc<Checker>)>,
    call: &ToolCall,
    read: Option<Reply>,
) -> Result<Reply, Fault> {
    if let Some(reply) = read {
        return Ok(reply);
    }
    if let (Some((_, schema)), true) = (result, call.name == structured::NAME) {
        return Ok(Reply::Submission(structured::submit(schema, call)));
    }
    let reply = ctx.tools.call(call).await?;
    Ok(Reply::Tool { is_error: reply.error.is_some(), text: reply.text })
}
