//! Google's `generateContent`.
//!
//! It must not send. Facts: the model stands in the path, events have no names and no mark at their end, calls come whole
//! and perhaps without ids, signatures must come back in the very part they came in.
//! <https://ai.google.dev/api/generate-content>

mod assemble;
mod request;

use crate::protocol::{Asked, Assemble, Framing, Wire};
use crate::provider::{Provider, segment};
use assemble::Assembler;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{ModelRequest, ModelSettings};

/// The version unless the user says one: it has what the stable one has, and thinking.
const VERSION: &str = "v1beta";

/// The name under which what must come back is kept.
const KEPT: &str = "gemini";

/// The protocol.
pub(crate) struct GenerateContent;

impl Wire for GenerateContent {
    fn url(&self, provider: &Provider, model: &str) -> String {
        let base = provider.base_url.trim_end_matches('/');
        let version = provider.api_version.as_deref().unwrap_or(VERSION);
        let versioned = ["/v1", "/v1beta", "/v1alpha"].iter().any(|end| base.ends_with(end));
        let root = if versioned { base.to_owned() } else { format!("{base}/{version}") };
        let (kind, name) = match model.split_once('/') {
            Some((kind @ ("models" | "tunedModels"), name)) => (kind, name),
            _ => ("models", model),
        };
        format!("{root}/{kind}/{}:streamGenerateContent?alt=sse", segment(name))
    }

    fn headers(&self, _: &Provider, _: &ModelSettings) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn body(&self, provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
        request::body(provider, model, request)
    }

    /// Prompts are kept by the provider itself.
    fn unsupported(&self, _: &Provider, options: &ModelOptions) -> Vec<&'static str> {
        options.prompt_cache.map(|_| "promptCache").into_iter().collect()
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn assembler(&self, asked: &Asked) -> Box<dyn Assemble> {
        Box::new(Assembler::new(asked.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;

    #[test]
    fn the_model_stands_in_the_path_below_one_version() {
        let mut provider = Known::find("gemini").map(Known::provider).unwrap();
        for (base, version, root) in [
            ("https://g.test", None, "https://g.test/v1beta"),
            ("https://g.test/", Some("v1"), "https://g.test/v1"),
            ("https://g.test/v1alpha", None, "https://g.test/v1alpha"),
        ] {
            base.clone_into(&mut provider.base_url);
            provider.api_version = version.map(str::to_owned);
            for model in ["m", "models/m"] {
                assert_eq!(
                    GenerateContent.url(&provider, model),
                    format!("{root}/models/m:streamGenerateContent?alt=sse")
                );
            }
        }
        let escaped = GenerateContent.url(&provider, "x:countTokens?a=");
        assert!(escaped.ends_with("/models/x%3AcountTokens%3Fa%3D:streamGenerateContent?alt=sse"), "{escaped}");
    }
}
