//! What the tests share: a server, models of it in each protocol, a clock that keeps the waits, the sum of a stream.
//!
//! It must not know what any mode of the server is to lead to.

use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::message::{Message, Opaque, ToolCall, Usage};
use cofferdam_core::port::{
    BoxFuture, Clock, FinishReason, Model, ModelEvent, ModelRequest, ModelSettings, ModelStream, ToolChoice, ToolSpec,
};
use cofferdam_core::time::Timestamp;
use cofferdam_egress::ProviderClient;
use cofferdam_llm::{Api, HttpModel, Provider};
use cofferdam_model_server::{ModelServer, Options, Recorded};
use futures_util::StreamExt as _;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The key of every request; long enough to be hidden by whoever quotes it.
pub(crate) const KEY: &str = "sk-test-0123456789abcdef";

/// A clock whose waits are over at once; it keeps them.
#[derive(Default)]
pub(crate) struct Impatient(Mutex<Vec<Duration>>);

impl Impatient {
    /// The waits since the last look.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Clock for Impatient {
    /// The true time: dates of the server are made of it.
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(wait);
        Box::pin(async {})
    }
}

/// A server and a clock.
pub(crate) struct Bench {
    pub(crate) server: ModelServer,
    pub(crate) clock: Arc<Impatient>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let options = Options { drip: Duration::from_millis(1), ..Options::default() };
        Self { server: ModelServer::start(options).await.unwrap(), clock: Arc::default() }
    }

    /// The provider of the server in one protocol.
    pub(crate) fn provider(&self, api: Api) -> Provider {
        let mut provider = Provider::new("acme", base_url(&self.server, api)).with_key(KEY);
        provider.speak(api);
        provider
    }

    pub(crate) fn model(&self, api: Api, name: &str) -> HttpModel {
        self.model_of(self.provider(api), name)
    }

    pub(crate) fn model_of(&self, provider: Provider, name: &str) -> HttpModel {
        let client = ProviderClient::new(&provider.base_url).unwrap();
        HttpModel::new(provider, name, client, self.clock.clone())
    }

    pub(crate) fn sent(&self) -> Vec<Recorded> {
        self.server.requests()
    }
}

/// Where a protocol begins.
pub(crate) fn base_url(server: &ModelServer, api: Api) -> String {
    match api {
        Api::Chat | Api::Responses => server.base_url(),
        Api::Anthropic | Api::Gemini | Api::Ollama => server.root(),
    }
}

/// A request of one user message and no tools.
pub(crate) fn request(text: &str) -> ModelRequest {
    ModelRequest {
        run_id: RunId::parse("run").unwrap(),
        path: StepPath::from("step"),
        attempt: 1,
        turn: 1,
        messages: Arc::new(vec![Message::user(text)]),
        tools: Arc::from([]),
        tool_choice: ToolChoice::Auto,
        result: None,
        settings: ModelSettings::default(),
        max_retries: 2,
        asker: None,
    }
}

/// The tool that the calls of the server are of.
pub(crate) fn weather() -> ToolSpec {
    let parameters = json!({
        "type": "object",
        "properties": { "city": { "type": "string" } },
        "required": ["city"],
        "additionalProperties": false,
    });
    ToolSpec {
        name: "get_weather".to_owned(),
        description: "The weather of a city.".to_owned(),
        parameters: Arc::new(parameters),
    }
}

/// Everything that a stream said.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) opaque: Vec<Opaque>,
    pub(crate) usage: Option<Usage>,
    pub(crate) instead: Option<String>,
    pub(crate) events: usize,
    pub(crate) end: Result<FinishReason, Fault>,
}

impl Outcome {
    /// The answer as the next request has it.
    pub(crate) fn message(&self) -> Message {
        let (tool_calls, opaque) = (self.calls.clone(), self.opaque.clone());
        Message::Assistant { text: Arc::from(self.text.as_str()), tool_calls, opaque }
    }
}

/// Asks, and reads the answer to its end.
pub(crate) async fn ask(model: &dyn Model, request: ModelRequest) -> Outcome {
    drain(model.stream(request).await).await
}

/// Reads a stream to its end; an end without a word fails the test, as does anything after it.
pub(crate) async fn drain(stream: Result<ModelStream, Fault>) -> Outcome {
    let mut outcome = Outcome {
        text: String::new(),
        reasoning: String::new(),
        calls: Vec::new(),
        opaque: Vec::new(),
        usage: None,
        instead: None,
        events: 0,
        end: Err(Fault::bug("the stream ended without a word")),
    };
    let mut stream = match stream {
        Ok(stream) => stream.fuse(),
        Err(fault) => {
            outcome.end = Err(fault);
            return outcome;
        }
    };
    while let Some(event) = stream.next().await {
        outcome.events += 1;
        match event {
            Ok(ModelEvent::Text(text)) => outcome.text.push_str(&text),
            Ok(ModelEvent::Reasoning(text)) => outcome.reasoning.push_str(&text),
            Ok(ModelEvent::ToolCall(call)) => outcome.calls.push(call),
            Ok(ModelEvent::Usage(usage)) => outcome.usage = Some(usage),
            Ok(ModelEvent::Opaque(opaque)) => outcome.opaque.push(opaque),
            Ok(ModelEvent::Instead { model, .. }) => outcome.instead = Some(model.to_string()),
            Ok(ModelEvent::Started { .. }) => {}
            Ok(ModelEvent::Finished(reason)) => {
                outcome.end = Ok(reason);
                break;
            }
            Err(fault) => {
                outcome.end = Err(fault);
                break;
            }
        }
    }
    assert!(stream.next().await.is_none(), "something after the end");
    outcome
}
