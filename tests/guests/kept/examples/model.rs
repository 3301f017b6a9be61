//! The archived model: every import that models may have, and every kind of chunk.

use cofferdam_sdk::model::{Chunk, FinishReason, Message, Model, ModelDef, Request, ToolCall};
use cofferdam_sdk::{Context, Error, Result};
use guest_kept::{Config, basics, http, secrets};
use serde_json::json;

/// The model.
pub struct Kept;

impl Model for Kept {
    type Completion = std::vec::IntoIter<Chunk>;

    fn list() -> Vec<ModelDef> {
        vec![ModelDef { id: "kept".into(), summary: "asks the host".into(), is_language_model: false }]
    }

    fn complete(ctx: &Context, request: &Request) -> Result<Self::Completion> {
        let url = ctx.config::<Config>()?.url;
        let said = request.messages.iter().rev().find_map(|message| match message {
            Message::User { text, .. } => Some(text.clone()),
            _ => None,
        });
        let said = said.ok_or_else(|| Error::invalid_input("nobody said anything"))?;
        let report = json!({
            "asked": { "model": request.model, "said": said, "tools": request.tools.len() },
            "config": basics(ctx, "model"),
            "secrets": secrets(ctx, &url),
            "http": http(ctx, &url),
        });
        let call = ToolCall { id: "1".into(), name: "look".into(), arguments: r#"{"at":"it"}"#.into() };
        let chunks = vec![
            Chunk::Reasoning("thought".into()),
            Chunk::Text(report.to_string()),
            Chunk::Opaque(json!({ "kept": 1 })),
            Chunk::Usage { input: 3, output: 4 },
            Chunk::ToolCall(call),
            Chunk::Finished(FinishReason::ToolCalls),
        ];
        Ok(chunks.into_iter())
    }
}

cofferdam_sdk::plugin!(id = "tests/kept-model", config = Config, model = Kept);
