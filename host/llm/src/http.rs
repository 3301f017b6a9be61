//! Models over HTTP, whatever their protocol: sending, retries, and what comes instead of an answer.
//!
//! It must not read the environment, and must not repeat a request of whose answer anything was seen.

mod failure;
mod headers;
mod lane;
mod reader;
#[cfg(test)]
mod reading;
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
