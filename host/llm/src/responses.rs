//! OpenAI's responses.
//!
//! It must not send. Facts: items in place of messages, events whose type stands in their data, the answer's whole in the
//! last one, nothing stored at the provider: what it must know again comes back encrypted.
//! <https://platform.openai.com/docs/api-reference/responses-streaming>

mod assemble;
mod request;

use crate::protocol::{Asked, Assemble, Framing, Wire};
use crate::provider::Provider;
use assemble::Assembler;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{ModelRequest, ModelSettings};

/// The name under which what must come back is kept.
const KEPT: &str = "responses";

/// The protocol.
pub(crate) struct Responses;

impl Wire for Responses {
    fn url(&self, provider: &Provider, _: &str) -> String {
        provider.endpoint("responses")
    }

    fn headers(&self, provider: &Provider, settings: &ModelSettings) -> Vec<(&'static str, String)> {
        crate::chat::Chat.headers(provider, settings)
    }

    fn body(&self, provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
        request::body(provider, model, request)
    }

    fn unsupported(&self, _: &Provider, options: &ModelOptions) -> Vec<&'static str> {
        let lost = [
            ("seed", options.seed.is_some()),
            ("stop", options.stop.as_ref().is_some_and(|texts| !texts.is_empty())),
            ("topK", options.top_k.is_some()),
            ("frequencyPenalty", options.frequency_penalty.is_some()),
            ("presencePenalty", options.presence_penalty.is_some()),
            // The provider keeps prompts by itself.
            ("promptCache", options.prompt_cache.is_some()),
        ];
        lost.into_iter().filter(|(_, lost)| *lost).map(|(name, _)| name).collect()
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn assembler(&self, asked: &Asked) -> Box<dyn Assemble> {
        Box::new(Assembler::new(asked.clone()))
    }
}
