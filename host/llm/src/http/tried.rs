//! One small request, and what came back as it is: for whoever looks for the reason why a provider does not answer.
//!
//! It must not retry, and must not give a key away.

use super::failure::Head;
use super::reader::Reader;
use super::source::Source;
use super::{HttpModel, headers};
use crate::kind::Kind;
use crate::protocol::Asked;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::message::Message;
use cofferdam_core::port::{ModelRequest, ModelSettings, ToolChoice};
use futures_util::stream;
use std::sync::Arc;

/// The most that the answer may have, in tokens: enough for a word, also of models that think.
const ANSWER_TOKENS: u32 = 64;
/// Lines of the answer's body that are shown.
const LINES: usize = 12;
/// Characters of a line that are shown.
const LINE_CHARS: usize = 200;

/// What came of a small request.
#[derive(Debug)]
pub struct Tried {
    /// Where it went, without user information.
    pub url: String,
    /// `provider/model`.
    pub model: String,
    /// The status of the answer; none where nobody answered.
    pub status: Option<u16>,
    /// The first lines of the body.
    pub body: Vec<String>,
    /// What is wrong, if anything is.
    pub fault: Option<Fault>,
}

impl HttpModel {
    /// Asks for one word, once, and shows what came back.
    ///
    /// # Errors
    /// When the request cannot be written: a key with characters that cannot be sent, for instance. Or when recordings
    /// stand in the provider's place.
    pub async fn try_once(&self) -> Result<Tried, Fault> {
        let (Source::Sent(client) | Source::Recorded(client, _)) = &self.source else {
            return Err(Kind::NotConfigured.fault("no provider can be tried where recordings are replayed"));
        };
        let origin = &self.origin;
        let provider = &origin.provider;
        let request = small_request();
        let url = provider.api.wire().url(provider, &origin.model);
        let body = provider.api.wire().body(provider, &origin.model, &request)?;
        let sent = headers::headers(provider, &request.settings)?;
        let model = format!("{}/{}", provider.name, origin.model);
        let mut tried = Tried { url: url.clone(), model, status: None, body: Vec::new(), fault: None };
        let response = match client.post_stream(&url, sent, body, provider.timeouts).await {
            Ok(response) => response,
            Err(error) => {
                tried.fault = Some(origin.transport(&error, None));
                return Ok(tried);
            }
        };
        let head = Head::read(response.status, &response.headers, self.clock.now());
        tried.status = Some(response.status);
        match response.head_of_body(limits::MODEL_ERROR_BODY_BYTES).await {
            Ok(bytes) => {
                let text = provider.scrub(&String::from_utf8_lossy(&bytes));
                tried.body = first_lines(&text);
                tried.fault = match head.status {
                    200..300 => self.fault_in(&head, bytes).await,
                    _ => Some(origin.answered(&head, &bytes)),
                };
            }
            Err(error) => tried.fault = Some(origin.transport(&error, Some(&head))),
        }
        Ok(tried)
    }
}

impl HttpModel {
    /// What is wrong with an answer of which this is the beginning, or all.
    async fn fault_in(&self, head: &Head, bytes: Bytes) -> Option<Fault> {
        let is_whole = bytes.len() < limits::MODEL_ERROR_BODY_BYTES;
        let body = Box::pin(stream::iter([Ok(bytes)]));
        let mut reader = Reader::new(Arc::clone(&self.origin), head.clone(), body, &Asked::default());
        while let Some(event) = reader.next().await {
            if let Err(fault) = event {
                return (is_whole || fault.code != Kind::Truncated.code()).then_some(fault);
            }
        }
        None
    }
}

fn small_request() -> ModelRequest {
    ModelRequest {
        run_id: RunId::parse("doctor").expect("`doctor` follows the grammar"),
        path: StepPath::from("doctor"),
        attempt: 1,
        turn: 1,
        messages: Arc::new(vec![Message::user("Answer with the word: ready")]),
        tools: Arc::from([]),
        tool_choice: ToolChoice::Auto,
        result: None,
        settings: ModelSettings { max_tokens: Some(ANSWER_TOKENS), ..ModelSettings::default() },
        max_retries: 0,
        asker: None,
    }
}

fn first_lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.take(LINES).map(|line| line.chars().filter(|found| !found.is_control()).take(LINE_CHARS).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Provider;
    use crate::testing::Idle;
    use cofferdam_egress::ProviderClient;
    use cofferdam_model_server::ModelServer;

    async fn tried(base_url: &str, model: &str) -> Tried {
        let provider = Provider::new("acme", base_url).with_key("sk-secret");
        let client = ProviderClient::new(base_url).unwrap();
        HttpModel::new(provider, model, client, Arc::new(Idle)).try_once().await.unwrap()
    }

    #[tokio::test]
    async fn what_came_back_is_shown_as_it_is() {
        let server = ModelServer::start(Default::default()).await.unwrap();
        let good = tried(&server.base_url(), "text").await;
        assert_eq!(
            (good.status, good.url.as_str()),
            (Some(200), format!("{}/chat/completions", server.base_url()).as_str())
        );
        assert!(good.fault.is_none() && good.body[0].starts_with("data: {"), "{:?}", good.body);
        let bad = tried(&server.base_url(), "e401").await;
        assert_eq!((bad.status, bad.fault.as_ref().map(|fault| &*fault.code)), (Some(401), Some("model_auth")));
        assert!(!bad.body.is_empty() && !format!("{bad:?}").contains("sk-secret"), "{bad:?}");
        assert_eq!(server.requests().len(), 2, "nothing is asked twice");
        let odd = tried(&server.base_url(), "e200-error-body").await;
        assert_eq!(
            (odd.status, odd.fault.map(|fault| fault.code.to_string())),
            (Some(200), Some("model_auth".to_owned()))
        );
        assert_eq!(server.requests().len(), 3);
        let down = tried("http://127.0.0.1:1/v1", "text").await;
        assert_eq!((down.status, down.fault.unwrap().code.as_ref()), (None, "model_unavailable"));
    }
}
