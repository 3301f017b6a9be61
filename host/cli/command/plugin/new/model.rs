//! A model: answers conversations. Each answer has an instance of its own and is pulled piece by piece.

use cofferdam_sdk::model::{Chunk, FinishReason, Message, Model, ModelDef, Request};
use cofferdam_sdk::{Context, Result};

/// The model.
pub struct Echo;

impl Model for Echo {
    type Completion = std::vec::IntoIter<Chunk>;

    fn list() -> Vec<ModelDef> {
        vec![ModelDef { id: "echo".into(), summary: "says it again".into(), is_language_model: false }]
    }

    fn complete(_ctx: &Context, request: &Request) -> Result<Self::Completion> {
        let said = request.messages.iter().rev().find_map(|message| match message {
            Message::User { text, .. } => Some(text.clone()),
            _ => None,
        });
        // An answer that ends without `Finished` is an error.
        Ok(vec![Chunk::Text(said.unwrap_or_default()), Chunk::Finished(FinishReason::Stop)].into_iter())
    }
}

cofferdam_sdk::plugin!(id = "acme/__NAME__", summary = "An echo", model = Echo);
