//! OpenAI's chat completions: OpenAI itself, Azure, and every compatible server.
//!
//! It must not send. Facts: one endpoint below a base URL that has the version in it, events without names, `[DONE]` at
//! the end, which some servers leave out.

mod assemble;
mod options;
mod request;
mod wire;

use crate::protocol::{Asked, Assemble, Framing, Wire};
use crate::provider::{Provider, segment};
use assemble::Assembler;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{ModelRequest, ModelSettings};

/// The protocol.
pub(crate) struct Chat;

impl Wire for Chat {
    /// Azure has the model in the path where a version of its API is named.
    fn url(&self, provider: &Provider, model: &str) -> String {
        match &provider.api_version {
            Some(version) if provider.name.as_ref() == "azure" => {
                let root = provider.base_url.trim_end_matches('/').trim_end_matches("/openai/v1");
                let (model, version) = (segment(model), segment(version));
                format!("{root}/openai/deployments/{model}/chat/completions?api-version={version}")
            }
            _ => provider.endpoint("chat/completions"),
        }
    }

    fn headers(&self, provider: &Provider, _: &ModelSettings) -> Vec<(&'static str, String)> {
        let own = [("openai-organization", &provider.organization), ("openai-project", &provider.project)];
        own.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    fn body(&self, provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
        request::body(provider, model, request)
    }

    fn unsupported(&self, provider: &Provider, options: &ModelOptions) -> Vec<&'static str> {
        options::unsupported(provider, options)
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn assembler(&self, asked: &Asked) -> Box<dyn Assemble> {
        Box::new(Assembler::new(asked.turn))
    }
}
