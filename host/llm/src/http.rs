//! Models over HTTP, whatever their protocol: sending, retries, and what comes instead of an answer.
//!
//! It must not read the environment, and must not repeat a request of whose answer anything was seen.

mod failure;
mod headers;
mod lane;
mod reader;
mod told;
mod tried;
mod way;

use crate::kind::Kind;
use crate::protocol::Asked;
use crate::provider::Provider;
use crate::retry::Retries;
use crate::structured::{self, KnownWay};
use crate::tape::Tape;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{BoxFuture, Clock, Model, ModelEvent, ModelInfo, ModelRequest, ModelSettings, ModelStream};
use cofferdam_egress::{HeaderMap, ProviderClient};
use failure::{Head, Origin};
use futures_util::{StreamExt, stream};
pub(crate) use lane::Lane;
pub use lane::Limits;
use reader::Reader;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
pub use tried::Tried;
use way::{Silence, Way};

/// A model of a provider.
pub struct HttpModel {
    origin: Arc<Origin>,
    way: Way,
    clock: Arc<dyn Clock>,
    /// The provider's, which closes for all its models, and the model's own.
    lanes: [Arc<Lane>; 2],
    /// How a result is had.
    results: KnownWay,
}

impl std::fmt::Debug for HttpModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpModel({}/{})", self.origin.provider.name, self.origin.model)
    }
}

/// What a request needs at each try.
struct Prepared {
    url: String,
    headers: HeaderMap,
    body: Bytes,
    asked: Asked,
}

impl HttpModel {
    /// The model of this name at a provider. Nothing is sent or read before the first request. Clones of one `client`
    /// share their connections.
    pub fn new(provider: Provider, model: impl Into<String>, client: ProviderClient, clock: Arc<dyn Clock>) -> Self {
        Self::by(Way::Sent(client), provider, model.into(), clock)
    }

    /// The model of this name as it was recorded: nothing can be sent.
    pub(crate) fn replayed(
        provider: Provider,
        model: impl Into<String>,
        tape: Arc<Tape>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::by(Way::Replayed(tape), provider, model.into(), clock)
    }

    fn by(way: Way, provider: Provider, model: String, clock: Arc<dyn Clock>) -> Self {
        let results = KnownWay::of(&provider);
        Self { origin: Arc::new(Origin { provider, model }), way, clock, lanes: Default::default(), results }
    }

    /// With a tape, which records what the provider says, or answers in its place.
    #[must_use]
    pub fn taped(mut self, tape: Arc<Tape>) -> Self {
        self.way = self.way.taped(tape);
        self
    }

    /// On these lanes: the provider's and the model's own.
    pub(crate) fn on(mut self, provider: Arc<Lane>, model: Arc<Lane>) -> Self {
        self.lanes = [provider, model];
        self
    }

    /// Asks; a result that is owed in the best way that the provider has not refused.
    async fn open(&self, request: ModelRequest) -> Result<ModelStream, Fault> {
        let mut way = self.results.get();
        loop {
            let shaped = structured::shape(&self.origin.provider, way, request.clone());
            match self.send(&shaped.request).await {
                Ok(answer) => return Ok(shaped.read(answer)),
                Err(fault) => {
                    let is_refusal = request.result.is_some() && fault.code == Kind::BadRequest.code();
                    let Some(next) = is_refusal.then(|| self.results.after(way, &fault.message)).flatten() else {
                        return Err(fault);
                    };
                    tracing::debug!(model = %self.origin.model, from = ?way, to = ?next, "the provider refused a way to a result");
                    way = next;
                }
            }
        }
    }

    async fn send(&self, request: &ModelRequest) -> Result<ModelStream, Fault> {
        let provider = &self.origin.provider;
        let wire = provider.api.wire();
        let prepared = Prepared {
            url: wire.url(provider, &self.origin.model),
            headers: headers::headers(provider, &request.settings)?,
            body: wire.body(provider, &self.origin.model, request)?,
            asked: Asked::of(provider, &self.origin.model, request),
        };
        let mut retries = Retries::of(request);
        // The model's own lane first: who waits there takes no place from other models of the provider.
        let entered = [self.lanes[1].enter().await, self.lanes[0].enter().await];
        loop {
            for lane in self.lanes.iter().filter(|_| !self.way.is_replayed()) {
                lane.pass(&*self.clock).await;
            }
            let fault = match self.begin(&prepared).await {
                Ok((first, reader)) => return Ok(events(first, reader, entered)),
                Err(fault) => fault,
            };
            let (code, told) = (fault.code.clone(), fault.message.clone());
            let wait = retries.next(fault)?;
            tracing::warn!(
                provider = %provider.name, model = %self.origin.model, step = %request.path, code = %code,
                retry = retries.done(), wait_ms = wait.as_millis(), "the model's provider failed, trying again: {told}"
            );
            if self.way.is_replayed() {
                continue;
            }
            if code == Kind::RateLimited.code() {
                self.lanes[0].close(wait);
            } else {
                self.clock.sleep(wait).await;
            }
        }
    }

    /// Sends the request and reads up to the first event.
    async fn begin(&self, prepared: &Prepared) -> Result<(ModelEvent, Reader), Fault> {
        let answered = self.way.ask(&self.origin.provider, prepared, &*self.clock).await;
        let response = answered.map_err(|silence| match silence {
            Silence::Transport(error) => self.origin.transport(&error, None),
            Silence::Tape(fault) => fault,
        })?;
        let head = Head::read(response.status, &response.headers, self.way.now(&*self.clock));
        if !(200..300).contains(&response.status) {
            let page = response.head_of_body(limits::MODEL_ERROR_BODY_BYTES).await.unwrap_or_default();
            return Err(self.origin.answered(&head, &page));
        }
        let mut reader = Reader::new(Arc::clone(&self.origin), head.clone(), response.body, &prepared.asked);
        match reader.next().await {
            Some(first) => Ok((first?, reader)),
            None => Err(self.origin.truncated(&head)),
        }
    }
}

impl Model for HttpModel {
    fn info(&self) -> ModelInfo {
        let Origin { provider, model } = &*self.origin;
        ModelInfo {
            name: format!("{}/{model}", provider.name).into(),
            is_language_model: true,
            summary: format!("`{model}` at {}", self.way.place()),
        }
    }

    fn unsupported(&self, options: &ModelOptions) -> Vec<String> {
        let provider = &self.origin.provider;
        let settings = ModelSettings { options: Arc::new(options.clone()), ..ModelSettings::default() };
        let lost = provider.api.wire().unsupported(provider, options).into_iter().map(str::to_owned);
        let taken = headers::taken(provider, &settings).into_iter().map(|name| format!("headers.{name}"));
        lost.chain(taken).collect()
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(self.open(request))
    }
}

/// The events of an answer; the request counts as under way until they are read or dropped.
fn events(first: ModelEvent, reader: Reader, entered: [Option<OwnedSemaphorePermit>; 2]) -> ModelStream {
    let rest = stream::unfold((reader, entered), |(mut reader, entered)| async move {
        reader.next().await.map(|event| (event, (reader, entered)))
    });
    Box::pin(stream::iter([Ok(first)]).chain(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault_server::{FaultServer, parallel_frames, sse};
    use crate::testing::{Outcome, drain, request};
    use cofferdam_core::fault::Class;
    use cofferdam_core::port::{FinishReason, ToolChoice};
    use cofferdam_core::time::Timestamp;
    use cofferdam_egress::{EgressError, Timeouts};

    use std::sync::Mutex;
    use std::time::Duration;

    /// A clock whose waits are over at once; it keeps them.
    #[derive(Default)]
    struct Impatient(Mutex<Vec<Duration>>);

    impl Clock for Impatient {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1_800_000_000_000)
        }

        fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
            self.0.lock().unwrap().push(wait);
            Box::pin(async {})
        }
    }

    struct Bench {
        server: FaultServer,
        clock: Arc<Impatient>,
    }

    impl Bench {
        async fn new() -> Self {
            Self { server: FaultServer::start().await, clock: Arc::default() }
        }

        fn model(&self, name: &str) -> HttpModel {
            let mut provider = Provider::new("acme", self.server.base_url.clone()).with_key("sk-secret");
            let short = Duration::from_millis(150);
            provider.timeouts = Timeouts { headers: short, idle: short, ..Timeouts::default() };
            let client = ProviderClient::new(&provider.base_url).unwrap();
            HttpModel::new(provider, name, client, self.clock.clone())
        }

        async fn ask(&self, name: &str) -> Outcome {
            drain(self.model(name).stream(request("step", "hello")).await).await
        }

        /// The waits since the last look, rounded to what can be known of them.
        fn waits(&self) -> usize {
            std::mem::take(&mut *self.clock.0.lock().unwrap()).len()
        }
    }

    #[tokio::test]
    async fn an_answer_comes_whole_however_it_is_framed() {
        let bench = Bench::new().await;
        for name in ["text", "crlf", "keepalive", "no-done", "split-utf8"] {
            let outcome = bench.ask(name).await;
            assert_eq!(outcome.end, Ok(FinishReason::Stop), "{name}");
            assert_eq!(outcome.text, "Grüße, Wörld 😀", "{name}");
            assert_eq!(outcome.usage.unwrap().total(), 29, "{name}");
        }
        let whole = bench.ask("not-streamed").await;
        assert_eq!((whole.text.as_str(), whole.end), ("whole", Ok(FinishReason::Stop)));
    }

    #[tokio::test]
    async fn parallel_calls_come_whole_and_bad_arguments_as_they_were_written() {
        let bench = Bench::new().await;
        let outcome = bench.ask("tools-parallel").await;
        let arguments: Vec<&str> = outcome.calls.iter().map(|call| call.arguments.as_str()).collect();
        assert_eq!(arguments, ["{\"city\":\"Paris\"}", "{\"city\":\"Oslo\"}"]);
        assert_eq!(outcome.end, Ok(FinishReason::ToolCalls));
        assert_eq!(bench.ask("bad-json-args").await.calls[0].arguments, "{\"city\": oops");
        let cut = bench.ask("length").await;
        assert_eq!((cut.calls.len(), cut.end), (0, Ok(FinishReason::Length)));
    }

    /// Name, code, requests that were sent.
    const FAULTS: &[(&str, &str, usize)] = &[
        ("e400", "model_bad_request", 1),
        ("e401", "model_auth", 1),
        ("e404", "model_not_found", 1),
        ("e422", "model_bad_request", 1),
        ("e429-after", "model_rate_limited", 3),
        ("e429-none", "model_rate_limited", 3),
        ("e429-hours", "model_rate_limited", 1),
        ("e429-quota", "model_quota", 1),
        ("e500", "model_unavailable", 3),
        ("e503", "model_unavailable", 3),
        ("e502-html", "model_unavailable", 3),
        ("e200-html", "model_protocol", 1),
        ("e200-error-body", "model_auth", 1),
        ("redirect", "model_not_configured", 1),
        ("nothing", "model_unavailable", 3),
        ("headers-only", "model_truncated", 3),
        ("stall-headers", "model_timeout", 3),
        ("garbage", "model_protocol", 1),
        ("done-only", "model_protocol", 1),
        ("cut", "model_truncated", 1),
        ("cut-call", "model_truncated", 1),
        ("stall-body", "model_timeout", 1),
        ("mid-error", "model_unavailable", 1),
        ("huge-line", "model_answer_too_large", 1),
    ];

    #[tokio::test]
    async fn every_fault_has_one_outcome_and_so_many_tries() {
        let bench = Bench::new().await;
        for (name, code, tries) in FAULTS {
            let before = bench.server.requests().len();
            let outcome = bench.ask(name).await;
            let fault = outcome.end.unwrap_err();
            assert_eq!(fault.code, *code, "{name}: {fault}");
            assert_eq!(bench.server.requests().len() - before, *tries, "{name}: {fault}");
            assert!(outcome.calls.is_empty(), "{name}");
            assert!(fault.message.contains("`acme`") && !fault.message.contains("sk-secret"), "{name}: {fault}");
            assert_eq!(fault.detail.unwrap().get("model").unwrap(), name);
        }
    }

    #[tokio::test]
    async fn a_provider_that_recovers_is_asked_again_until_it_answers() {
        let bench = Bench::new().await;
        assert_eq!(bench.ask("flaky-2").await.text, "Grüße, Wörld 😀");
        assert_eq!(bench.waits(), 2);
        let fault = bench.ask("flaky-9").await.end.unwrap_err();
        assert!(fault.message.ends_with("also after 2 retries"), "{fault}");
    }

    #[tokio::test]
    async fn no_retry_is_made_when_the_request_allows_none() {
        let bench = Bench::new().await;
        let mut once = request("step", "hello");
        once.max_retries = 0;
        let fault = drain(bench.model("e500").stream(once).await).await.end.unwrap_err();
        assert_eq!((bench.server.requests().len(), fault.class), (1, Class::Retry));
        assert!(!fault.message.contains("retries"));
    }

    #[tokio::test]
    async fn a_rate_limit_closes_the_lane_for_as_long_as_the_provider_asks() {
        let bench = Bench::new().await;
        let model = bench.model("e429-ms");
        let fault = drain(model.stream(request("step", "hello")).await).await.end.unwrap_err();
        assert_eq!(fault.retry_after_ms, Some(250));
        let waits = bench.clock.0.lock().unwrap().clone();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(250)) && waits.len() == 2, "{waits:?}");
        assert!(model.lanes[0].closed_for().is_some());
    }

    #[tokio::test]
    async fn the_request_goes_to_the_endpoint_with_its_key() {
        let bench = Bench::new().await;
        let mut asked = request("step", "hello");
        asked.tool_choice = ToolChoice::Required;
        drain(bench.model("text").stream(asked).await).await;
        let sent = bench.server.requests().pop().unwrap();
        assert_eq!(sent.path, "/v1/chat/completions");
        assert!(sent.head.contains("authorization: Bearer sk-secret"), "{}", sent.head);
        assert_eq!(sent.body["messages"][0]["content"], "hello");
    }

    #[tokio::test]
    async fn a_closed_port_is_an_unreachable_provider() {
        let provider = Provider::new("acme", "http://127.0.0.1:1/v1");
        let client = ProviderClient::new(&provider.base_url).unwrap();
        let model = HttpModel::new(provider, "m", client, Arc::new(Impatient::default()));
        let fault = drain(model.stream(request("step", "x")).await).await.end.unwrap_err();
        assert_eq!(fault.code, "model_unavailable");
        assert!(fault.hint.unwrap().contains("http://127.0.0.1:1/v1"));
    }

    /// Reads these bytes as an answer, in pieces.
    async fn read(pieces: Vec<Vec<u8>>) -> Outcome {
        let origin = Arc::new(Origin { provider: Provider::new("acme", "http://acme.test/v1"), model: "m".to_owned() });
        let pieces = pieces.into_iter().map(|piece| Ok::<_, EgressError>(Bytes::from(piece)));
        let mut reader = Reader::new(origin, Head::default(), Box::pin(stream::iter(pieces)), &Asked::default());
        let first = reader.next().await.unwrap();
        drain(first.map(|first| events(first, reader, [None, None]))).await
    }

    /// A 2 KiB answer with text and two calls.
    fn long_answer() -> String {
        let mut frames = vec![crate::fault_server::delta(&serde_json::json!({"content": "Grüße 😀 ".repeat(90)}))];
        frames.extend(parallel_frames());
        sse(&frames)
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_anywhere_gives_no_call_and_no_end() {
        let answer = long_answer();
        assert!(answer.len() > 2_000);
        let complete_at = answer.find("\"tool_calls\"}").unwrap();
        let complete_at = complete_at + answer.split_at(complete_at).1.find("\n\n").unwrap() + 2;
        for end in 0..=answer.len() {
            let outcome = read(vec![answer.as_bytes()[..end].to_vec()]).await;
            if end < complete_at {
                assert_eq!(outcome.end.unwrap_err().code, "model_truncated", "cut at {end}");
                assert!(outcome.calls.is_empty(), "cut at {end}");
            } else {
                assert_eq!((outcome.end, outcome.calls.len()), (Ok(FinishReason::ToolCalls), 2), "cut at {end}");
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_split_anywhere_is_the_same() {
        let answer = long_answer();
        for at in 0..=answer.len() {
            let (head, tail) = answer.as_bytes().split_at(at);
            let outcome = read(vec![head.to_vec(), tail.to_vec()]).await;
            assert_eq!((outcome.end, outcome.calls.len()), (Ok(FinishReason::ToolCalls), 2), "split at {at}");
            assert_eq!(outcome.text, "Grüße 😀 ".repeat(90), "split at {at}");
        }
    }
}
