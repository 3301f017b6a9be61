//! Anthropic's messages.
//!
//! It must not send. Facts: `POST /v1/messages` of a base URL without a version, named events, a bound for every answer,
//! two versions of the protocol of which the newer refuses sampling, thinking that must come back untouched.
//! <https://docs.claude.com/en/api/messages-streaming>

mod assemble;
mod request;

use crate::protocol::{Asked, Assemble, Framing, Wire};
use crate::provider::Provider;
use assemble::Assembler;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{ModelRequest, ModelSettings};

/// The version that takes sampling.
const WITH_SAMPLING: &str = "2023-06-01";
/// The newest version: it refuses sampling, also at its defaults.
const NEWEST: &str = "2026-10-21";

/// The name under which what must come back is kept.
const KEPT: &str = "anthropic";

/// The protocol.
pub(crate) struct Messages;

impl Wire for Messages {
    fn url(&self, provider: &Provider, _: &str) -> String {
        let base = provider.base_url.trim_end_matches('/');
        format!("{}/v1/messages", base.strip_suffix("/v1").unwrap_or(base))
    }

    fn headers(&self, provider: &Provider, settings: &ModelSettings) -> Vec<(&'static str, String)> {
        vec![("anthropic-version", version(provider, settings).to_owned())]
    }

    fn body(&self, provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
        request::body(provider, model, request)
    }

    fn unsupported(&self, provider: &Provider, options: &ModelOptions) -> Vec<&'static str> {
        let samples = provider.api_version.as_deref().is_none_or(|version| version == WITH_SAMPLING);
        let lost = [
            ("seed", options.seed.is_some()),
            ("topK", options.top_k.is_some() && !samples),
            ("frequencyPenalty", options.frequency_penalty.is_some()),
            ("presencePenalty", options.presence_penalty.is_some()),
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

/// What the user says, else the newest version that takes what the request says.
fn version<'a>(provider: &'a Provider, settings: &ModelSettings) -> &'a str {
    let samples = settings.temperature.is_some() || settings.top_p.is_some() || settings.options.top_k.is_some();
    provider.api_version.as_deref().unwrap_or(if samples { WITH_SAMPLING } else { NEWEST })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;
    use std::sync::Arc;

    #[test]
    fn a_request_with_sampling_has_the_version_that_takes_it_unless_the_user_says_one() {
        let mut provider = Known::find("anthropic").map(Known::provider).unwrap();
        let plain = ModelSettings::default();
        let warm = ModelSettings { temperature: Some(0.0), ..ModelSettings::default() };
        assert_eq!((version(&provider, &plain), version(&provider, &warm)), (NEWEST, WITH_SAMPLING));
        provider.api_version = Some(NEWEST.to_owned());
        assert_eq!(version(&provider, &warm), NEWEST);
    }

    #[test]
    fn the_endpoint_has_one_version_wherever_the_base_url_has_it() {
        let mut provider = Known::find("anthropic").map(Known::provider).unwrap();
        for base in ["https://a.test", "https://a.test/", "https://a.test/v1"] {
            base.clone_into(&mut provider.base_url);
            assert_eq!(Messages.url(&provider, "m"), "https://a.test/v1/messages");
        }
    }

    #[test]
    fn what_is_not_sent_is_named() {
        let said = serde_json::json!({ "seed": 1, "topK": 2, "frequencyPenalty": 1, "presencePenalty": 1, "promptCache": true, "reasoning": "low" });
        let options: Arc<ModelOptions> = Arc::new(serde_json::from_value(said).unwrap());
        let mut provider = Known::find("anthropic").map(Known::provider).unwrap();
        assert_eq!(Messages.unsupported(&provider, &options), ["seed", "frequencyPenalty", "presencePenalty"]);
        provider.api_version = Some(NEWEST.to_owned());
        assert_eq!(Messages.unsupported(&provider, &options)[1], "topK");
    }
}
