//! Calls of other tools: those that are granted, through the same gate as every call, within this call's time.
//!
//! It must not call a tool itself, nor decide whether the call is permitted.

use super::{guarded, refuse};
use crate::bindings::cofferdam::host::tools;
use crate::bindings::cofferdam::types::common::{ErrorKind, Payload, PluginError};
use crate::failure::kind_of_name;
use crate::grant::Denial;
use crate::instance::{Call, Guest};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::ToolName;
use cofferdam_core::policy::Grants;
use cofferdam_core::port::{Nested, ToolReply};
use cofferdam_core::{limits, value};
use serde_json::Value;
use std::collections::BTreeSet;

impl tools::Host for Guest {
    async fn invoke(&mut self, name: String, args: String) -> wasmtime::Result<Result<Payload, PluginError>> {
        let begun = self.call.begin(|| name.clone());
        let answer = guarded("tools.invoke", self.call.deadline, async {
            let call = &mut self.call;
            let tool = permit(call, &name)?;
            let args = read(&args)?;
            call.invokes = call.invokes.saturating_add(1);
            if call.invokes > limits::PLUGIN_INVOKES {
                let message = format!("at most {} tools may be called in one call", limits::PLUGIN_INVOKES);
                return Err(refuse(ErrorKind::TooLarge, message));
            }
            let Some((ctx, tools)) = call.ctx.as_ref().and_then(|ctx| Some((ctx, ctx.tools.clone()?))) else {
                return Err(refuse(ErrorKind::Unsupported, "there are no other tools here"));
            };
            let deadline = call.plugin.services.clock.now().after(call.deadline.remaining());
            let nested = Nested { number: call.invokes, tool, args, deadline };
            match tools.invoke(ctx, nested).await {
                Ok(reply) => answer(reply),
                Err(_) => Err(refuse(ErrorKind::Cancelled, "the call was cancelled")),
            }
        })
        .await;
        self.call.end(begun, ("tools", "invoke"), &answer, |_| String::new());
        answer
    }
}

fn permit(call: &mut Call, name: &str) -> Result<ToolName, PluginError> {
    let tool = ToolName::parse(name).map_err(|error| refuse(ErrorKind::InvalidInput, error.to_string()))?;
    if call.rights.granted.tools.contains(&tool) {
        return Ok(tool);
    }
    let wanted = Grants { tools: BTreeSet::from([tool.clone()]), ..Grants::default() };
    let denial = Denial::new(&call.plugin.alias, &call.rights, format!("tools {tool}"), &wanted);
    call.deny(denial);
    Err(refuse(ErrorKind::Denied, format!("no grant allows the tool `{tool}` (`tools: [{tool}]`)")))
}

fn read(args: &str) -> Result<Value, PluginError> {
    let wrong = |why: String| refuse(ErrorKind::InvalidInput, format!("the arguments are refused: {why}"));
    value::parse(args).map_err(|error| wrong(error.to_string()))
}

fn answer(reply: ToolReply) -> Result<Payload, PluginError> {
    match reply.error {
        Some(fault) => Err(failed(&fault)),
        None if reply.result.is_null() => Ok(Payload::Text(reply.text.to_string())),
        None => Ok(Payload::Json(reply.result.to_string())),
    }
}

/// A refusal or failure of the other tool, as this one sees it.
fn failed(fault: &Fault) -> PluginError {
    let said = fault.detail.as_ref().and_then(|detail| detail.get("kind")?.as_str().and_then(kind_of_name));
    let kind = match fault.code.as_ref() {
        "tool_denied" | "invoke_depth" => ErrorKind::Denied,
        "unknown_tool" => ErrorKind::NotFound,
        "invalid_arguments" | "arguments_too_large" => ErrorKind::InvalidInput,
        _ => said.unwrap_or(if fault.class == Class::Retry { ErrorKind::Unavailable } else { ErrorKind::Other }),
    };
    PluginError { code: Some(fault.code.to_string()), ..refuse(kind, fault.message.clone()) }
}
