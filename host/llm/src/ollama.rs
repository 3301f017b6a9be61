//! Ollama's own protocol: what its OpenAI-compatible endpoint cannot say, above all how much context to keep.
//!
//! It must not send. Facts: `POST /api/chat` of the host without a version, one JSON document a line, calls whole and
//! without ids, `done` at the end. <https://docs.ollama.com/api/chat>

mod assemble;
mod request;

use crate::protocol::{Asked, Assemble, Framing, Wire};
use crate::provider::Provider;
use assemble::Assembler;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{ModelRequest, ModelSettings};

/// The protocol.
pub(crate) struct OllamaChat;

impl Wire for OllamaChat {
    fn url(&self, provider: &Provider, _: &str) -> String {
        let base = provider.base_url.trim_end_matches('/');
        format!("{}/api/chat", base.strip_suffix("/v1").unwrap_or(base))
    }

    fn headers(&self, _: &Provider, _: &ModelSettings) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn body(&self, provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
        request::body(provider, model, request)
    }

    fn unsupported(&self, _: &Provider, options: &ModelOptions) -> Vec<&'static str> {
        let table = options.reasoning.as_ref().is_some_and(|told| !(told.is_string() || told.is_boolean()));
        let lost = [("reasoning", table), ("promptCache", options.prompt_cache.is_some())];
        lost.into_iter().filter(|(_, lost)| *lost).map(|(name, _)| name).collect()
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn assembler(&self, asked: &Asked) -> Box<dyn Assemble> {
        Box::new(Assembler::new(asked.clone()))
    }
}
