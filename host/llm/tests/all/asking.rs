//! What the tests share: providers of all protocols, requests, and everything that an answer said.

use crate::folder;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::message::Message;
use cofferdam_core::port::{BoxFuture, Clock, Model, ModelEvent, ModelRequest, ModelSettings, ToolChoice, ToolSpec};
use cofferdam_core::time::Timestamp;
use cofferdam_egress::{ProviderClient, Timeouts};
use cofferdam_llm::{Api, HttpModel, Provider, Tape};
use cofferdam_model_server::ModelServer;
use futures_util::StreamExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A key that must be found nowhere.
pub(crate) const CANARY: &str = "sk-canary-0123456789";

/// Where nobody listens.
pub(crate) const CLOSED: &str = "http://127.0.0.1:1/v1";

/// A clock whose waits are over at once.
pub(crate) struct Idle;

impl Clock for Idle {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A clock that nobody may look at.
pub(crate) struct Covered;

impl Clock for Covered {
    fn now(&self) -> Timestamp {
        panic!("a replay asked for the time")
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        panic!("a replay waited")
    }
}

/// The base URL of a protocol at a server.
pub(crate) fn base_url(server: &ModelServer, api: Api) -> String {
    if matches!(api, Api::Chat | Api::Responses) { server.base_url() } else { server.root() }
}

/// A provider that is short of patience.
pub(crate) fn provider(api: Api, base_url: &str) -> Provider {
    let mut provider = Provider::new("acme", base_url);
    provider.speak(api);
    let short = Duration::from_millis(200);
    provider.timeouts = Timeouts { headers: short, idle: short, ..Timeouts::default() };
    provider
}

/// A model whose answers are recorded into a folder.
pub(crate) fn recording(server: &ModelServer, api: Api, model: &str, tape: &Arc<Tape>) -> HttpModel {
    let provider = provider(api, &base_url(server, api)).with_key(CANARY);
    let client = ProviderClient::new(&provider.base_url).unwrap();
    HttpModel::new(provider, model, client, Arc::new(Idle)).taped(Arc::clone(tape))
}

/// A model that knows recordings only: without a key, at an address where nobody listens.
pub(crate) fn replaying(api: Api, model: &str, tape: &Arc<Tape>) -> HttpModel {
    let client = ProviderClient::new(CLOSED).unwrap();
    HttpModel::new(provider(api, CLOSED), model, client, Arc::new(Covered)).taped(Arc::clone(tape))
}

pub(crate) fn record(folder: &Path) -> Arc<Tape> {
    Arc::new(folder::record(folder).unwrap())
}

pub(crate) fn replay(folder: &Path) -> Arc<Tape> {
    Arc::new(folder::replay(folder).unwrap())
}

pub(crate) async fn server() -> ModelServer {
    ModelServer::start(Default::default()).await.unwrap()
}

/// A request of one user message and one tool.
pub(crate) fn request(prompt: &str) -> ModelRequest {
    let tool = ToolSpec {
        name: "get_weather".to_owned(),
        description: "The weather of a city".to_owned(),
        parameters: Arc::new(serde_json::json!({ "type": "object", "properties": { "city": { "type": "string" } } })),
    };
    ModelRequest {
        run_id: RunId::parse("run").unwrap(),
        path: StepPath::from("step"),
        attempt: 1,
        turn: 1,
        messages: Arc::new(vec![Message::user(prompt)]),
        tools: Arc::from([tool]),
        tool_choice: ToolChoice::Auto,
        result: None,
        settings: ModelSettings::default(),
        max_retries: 2,
        asker: None,
    }
}

/// Everything that a model said, one way or the other.
pub(crate) async fn said(model: &HttpModel, request: ModelRequest) -> Vec<Result<ModelEvent, Fault>> {
    match model.stream(request).await {
        Ok(stream) => stream.collect().await,
        Err(fault) => vec![Err(fault)],
    }
}

/// The fault at the end of what was said.
pub(crate) fn fault(said: &[Result<ModelEvent, Fault>]) -> Fault {
    said.last().unwrap().clone().unwrap_err()
}

/// The names of the files in a folder, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
