//! A model whose name says what it does with a conversation.

use cofferdam_sdk::model::{Chunk, Completion, FinishReason, Message, Model, ModelDef, Request};
use cofferdam_sdk::{Context, Error, ErrorKind, Result};

/// The models, and what becomes of whoever asks them.
const MODELS: [(&str, &str); 6] = [
    ("words", "says the last message again, word by word"),
    ("mute", "ends without an end"),
    ("trap", "crashes after a word"),
    ("loop", "computes for ever after a word"),
    ("flood", "never stops talking"),
    ("stray", "names a secret that it may not"),
];

/// The model.
pub struct Chatter;

/// An answer under way.
pub struct Talk {
    model: String,
    words: std::vec::IntoIter<String>,
    has_begun: bool,
}

impl Model for Chatter {
    type Completion = Talk;

    fn list() -> Vec<ModelDef> {
        let def = |(id, summary): (&str, &str)| ModelDef {
            id: id.to_owned(),
            summary: summary.to_owned(),
            is_language_model: false,
        };
        MODELS.into_iter().map(def).collect()
    }

    fn complete(ctx: &Context, request: &Request) -> Result<Talk> {
        if request.model == "stray" {
            ctx.secret_placeholder("ELSEWHERE")?;
        }
        let last = request.messages.iter().rev().find_map(|message| match message {
            Message::User { text, .. } => Some(text.as_str()),
            _ => None,
        });
        let words: Vec<String> = last.unwrap_or_default().split_inclusive(' ').map(str::to_owned).collect();
        Ok(Talk { model: request.model.clone(), words: words.into_iter(), has_begun: false })
    }
}

impl Completion for Talk {
    fn next(&mut self, _ctx: &Context) -> Result<Vec<Chunk>> {
        let began = std::mem::replace(&mut self.has_begun, true);
        match (self.model.as_str(), began) {
            ("flood", _) => return Ok(vec![Chunk::Text("word ".repeat(200_000))]),
            ("mute", true) => return Ok(Vec::new()),
            ("trap", true) => crate::crash(),
            ("loop", true) => loop {
                std::hint::spin_loop();
            },
            ("words" | "mute" | "trap" | "loop", _) => {}
            (other, _) => return Err(Error::new(ErrorKind::NotFound, format!("there is no model `{other}`"))),
        }
        Ok(match self.words.next() {
            Some(word) => vec![Chunk::Text(word)],
            None => vec![Chunk::Usage { input: 1, output: 2 }, Chunk::Finished(FinishReason::Stop)],
        })
    }
}
