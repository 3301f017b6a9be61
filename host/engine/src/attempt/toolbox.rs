//! The tools that an agent has in one try.
//!
//! It must not call any but through the gateway.

use super::{Setting, Terms, refused};
use crate::delegate_tool::task_of;
use crate::gateway::Call;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::ToolName;
use cofferdam_core::mail;
use cofferdam_core::message::ToolCall;
use cofferdam_core::permission::Origin;
use cofferdam_core::port::{BoxFuture, Delegate, PastCall, Task, ToolReply, ToolSpec, Toolbox};
use cofferdam_core::value;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The tools of one try of an agent step.
pub(super) struct AttemptTools {
    pub(super) setting: Arc<Setting>,
    pub(super) terms: Terms,
}

impl Toolbox for AttemptTools {
    fn specs(&self) -> Arc<[ToolSpec]> {
        Arc::clone(&self.terms.tools)
    }

    fn call<'a>(&'a self, call: &'a ToolCall) -> BoxFuture<'a, Result<ToolReply, Fault>> {
        Box::pin(self.pass(call))
    }
}

impl AttemptTools {
    async fn pass(&self, call: &ToolCall) -> Result<ToolReply, Fault> {
        let specs = &self.terms.tools;
        let offered = specs.iter().any(|spec| spec.name == call.name);
        let Some(tool) = ToolName::parse_wire(&call.name).ok().filter(|_| offered) else {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            let message = format!("there is no tool `{}`; the tools are: {}", call.name, names.join(", "));
            return Ok(refused("unknown_tool", message));
        };
        let (bytes, limit) = (call.arguments.len(), self.setting.limits.tool_argument_bytes);
        if bytes > limit {
            let message = format!("the arguments of `{}` have {bytes} bytes, more than {limit}", call.name);
            return Ok(refused("arguments_too_large", message));
        }
        let args = match call.parse_arguments() {
            Ok(args) => args,
            Err(error) => {
                return Ok(refused(
                    "invalid_arguments",
                    format!("the arguments of `{}` are not JSON: {error}", call.name),
                ));
            }
        };
        if let Err(error) = value::check_depth(&args) {
            return Ok(refused("invalid_arguments", format!("the arguments of `{}` are refused: {error}", call.name)));
        }
        let number = self.setting.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let call_id: Arc<str> = number.to_string().into();
        let delegation = self.setting.delegation(&self.terms).map(Arc::new);
        let agents = delegation.clone().map(|delegation| delegation as Arc<dyn Delegate>);
        let goes_on = delegation.zip(self.sent_off(&call_id, &tool, &args));
        let ctx = self.setting.tool_context(Arc::clone(&call_id), agents).await?;
        let agent = Some(Arc::clone(&self.terms.agent));
        let reply =
            self.setting.gateway.call(Call { ctx, tool, args, origin: Origin::Model, agent, caller: None }).await?;
        if let Some((delegation, task)) = goes_on.filter(|_| reply.error.is_none()) {
            delegation.take_up(&call_id, &task);
        }
        Ok(reply)
    }

    /// The task of a sub-agent that an earlier process sent off by this call.
    fn sent_off(&self, call_id: &str, tool: &ToolName, args: &Value) -> Option<Task> {
        let past = self.setting.recorder.past.as_ref().filter(|_| mail::is_agent(tool))?;
        let answered = matches!(past.call(call_id), Some(PastCall::Answered { .. }));
        task_of(args).ok().filter(|task| answered && task.background)
    }
}
