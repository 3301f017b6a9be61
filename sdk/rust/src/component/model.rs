//! A model's exports.

use std::cell::RefCell;

use super::bindings::cofferdam::types::common::{CallContext, PluginError};
use super::bindings::model::exports::cofferdam::model::model as wit;
use super::{Host, error_out, info, outside};
use crate::context::Context;
use crate::error::Result;
use crate::model::{
    Attachment, Chunk, Completion, FinishReason, Message, Model, ModelPlugin, Request, ToolCall, ToolChoice, ToolSpec,
};

/// An answer under way, as the host holds it.
pub struct Pulled<C>(RefCell<C>);

impl<C: Completion> wit::GuestCompletion for Pulled<C> {
    fn next(&self) -> Result<Vec<wit::Chunk>, PluginError> {
        let chunks = self.0.borrow_mut().next(&outside());
        chunks.map(|chunks| chunks.into_iter().map(chunk_out).collect()).map_err(|error| error_out(&error))
    }
}

impl<P: ModelPlugin> wit::Guest for P {
    type Completion = Pulled<<P::Model as Model>::Completion>;

    fn list_models() -> Vec<wit::ModelDef> {
        let def = |def: crate::model::ModelDef| wit::ModelDef {
            id: def.id,
            summary: def.summary,
            is_language_model: def.is_language_model,
        };
        P::Model::list().into_iter().map(def).collect()
    }

    fn complete(ctx: CallContext, req: wit::Request) -> Result<wit::Completion, PluginError> {
        let ctx = Context::new(info(ctx), Host);
        let completion = request_in(req).and_then(|request| P::Model::complete(&ctx, &request));
        completion
            .map(|completion| wit::Completion::new(Pulled(RefCell::new(completion))))
            .map_err(|error| error_out(&error))
    }
}

fn request_in(request: wit::Request) -> Result<Request> {
    let tool = |spec: wit::ToolSpec| {
        let parameters = serde_json::from_str(&spec.parameters)?;
        Ok(ToolSpec { name: spec.name, description: spec.description, parameters })
    };
    Ok(Request {
        model: request.model,
        messages: request.messages.into_iter().map(message_in).collect::<Result<_>>()?,
        tools: request.tools.into_iter().map(tool).collect::<Result<_>>()?,
        choice: match request.choice {
            wit::ToolChoice::Auto => ToolChoice::Auto,
            wit::ToolChoice::None => ToolChoice::None,
            wit::ToolChoice::Required => ToolChoice::Required,
            wit::ToolChoice::Tool(name) => ToolChoice::Tool(name),
        },
        temperature: request.temperature,
        top_p: request.top_p,
        max_tokens: request.max_tokens,
    })
}

fn message_in(message: wit::Message) -> Result<Message> {
    Ok(match message {
        wit::Message::System(text) => Message::System(text),
        wit::Message::User(user) => {
            let file = |file: wit::Attachment| Attachment {
                name: file.name,
                media_type: file.media_type,
                base64: file.base64,
            };
            Message::User { text: user.text, attachments: user.attachments.into_iter().map(file).collect() }
        }
        wit::Message::Assistant(said) => Message::Assistant {
            text: said.text,
            tool_calls: said.tool_calls.into_iter().map(call_in).collect(),
            opaque: said.opaque.iter().map(|text| Ok(serde_json::from_str(text)?)).collect::<Result<_>>()?,
        },
        wit::Message::Tool(result) => {
            Message::Tool { id: result.id, name: result.name, text: result.text, is_error: result.is_error }
        }
    })
}

fn call_in(call: wit::ToolCall) -> ToolCall {
    ToolCall { id: call.id, name: call.name, arguments: call.arguments }
}

fn chunk_out(chunk: Chunk) -> wit::Chunk {
    match chunk {
        Chunk::Text(text) => wit::Chunk::Text(text),
        Chunk::Reasoning(text) => wit::Chunk::Reasoning(text),
        Chunk::ToolCall(ToolCall { id, name, arguments }) => {
            wit::Chunk::ToolCall(wit::ToolCall { id, name, arguments })
        }
        Chunk::Opaque(data) => wit::Chunk::Opaque(data.to_string()),
        Chunk::Usage { input, output } => wit::Chunk::Usage(wit::Usage { input, output }),
        Chunk::Finished(reason) => wit::Chunk::Finished(match reason {
            FinishReason::Stop => wit::FinishReason::Stop,
            FinishReason::ToolCalls => wit::FinishReason::ToolCalls,
            FinishReason::Length => wit::FinishReason::Length,
            FinishReason::ContentFilter => wit::FinishReason::ContentFilter,
            FinishReason::Refusal => wit::FinishReason::Refusal,
        }),
    }
}
