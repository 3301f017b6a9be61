//! Models over HTTP, whatever their protocol: sending, retries, and what comes instead of an answer.
//!
//! It must not read the environment, and must not repeat a request of whose answer anything was seen.

mod failure;
mod headers;
mod lane;
mod reader;
#[cfg(test)]
mod reading;
mod source;
mod told;
mod tried;

use crate::kind::Kind;
use crate::protocol::Asked;
use crate::provider::Provider;
use crate::retry::Retries;
use crate::structured::{self, Guarantee, KnownGuarantee};
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
use source::{Silence, Source};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
pub use tried::Tried;

/// How long a provider is left alone that said "too many" and not for how long.
const UNASKED_PAUSE_MS: u64 = 500;

/// A model of a provider.
pub struct HttpModel {
    origin: Arc<Origin>,
    source: Source,
    clock: Arc<dyn Clock>,
    /// The provider's, which closes for all its models, and the model's own.
    lanes: [Arc<Lane>; 2],
    /// How a result is had.
    results: Arc<KnownGuarantee>,
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
        Self::by(Source::Sent(client), provider, model.into(), clock)
    }

    /// The model of this name as it was recorded: nothing can be sent.
    pub(crate) fn replayed(
        provider: Provider,
        model: impl Into<String>,
        tape: Arc<Tape>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::by(Source::Replayed(tape), provider, model.into(), clock)
    }

    fn by(source: Source, provider: Provider, model: String, clock: Arc<dyn Clock>) -> Self {
        let results = Arc::new(KnownGuarantee::of(&provider));
        Self { origin: Arc::new(Origin { provider, model }), source, clock, lanes: Default::default(), results }
    }

    /// With a tape, which records what the provider says, or answers in its place.
    #[must_use]
    pub fn taped(mut self, tape: Arc<Tape>) -> Self {
        self.source = self.source.taped(tape);
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
                Ok(answer) => return Ok(shaped.read(answer, &self.results)),
                Err(fault) => {
                    let Some(next) = request.result.as_ref().and_then(|_| self.next_way(way, &fault)) else {
                        return Err(fault);
                    };
                    tracing::debug!(model = %self.origin.model, from = ?way, to = ?next, "the provider refused a way to a result");
                    way = next;
                }
            }
        }
    }

    /// Another way to a result, where the provider refused this one. Where recordings are replayed, what was learnt when they
    /// were made may have been learnt by another step: what is not recorded in one way may be so in the next.
    fn next_way(&self, way: Guarantee, fault: &Fault) -> Option<Guarantee> {
        if self.source.is_replayed() && fault.code == Kind::NotRecorded.code() {
            return way.next();
        }
        let is_refusal = [Kind::BadRequest, Kind::NotFound].iter().any(|kind| kind.code() == fault.code);
        is_refusal.then(|| self.results.after(way, &fault.message)).flatten()
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
            // The provider's last: it may be closed while a request waits for its turn in the model's.
            for lane in self.lanes.iter().rev().filter(|_| !self.source.is_replayed()) {
                lane.pass(&*self.clock).await;
            }
            let fault = match self.begin(&prepared).await {
                Ok((first, reader)) => return Ok(events(first, reader, entered)),
                Err(fault) => fault,
            };
            let (code, told, asked) = (fault.code.clone(), fault.message.clone(), fault.retry_after_ms);
            let wait = retries.next(fault).inspect_err(|_| {
                // This request is over; those of others wait all the same.
                if code == Kind::RateLimited.code() && !self.source.is_replayed() {
                    let most = asked.unwrap_or(UNASKED_PAUSE_MS).min(limits::MODEL_RETRY_AFTER_MS);
                    self.lanes[0].close(Duration::from_millis(most));
                }
            })?;
            tracing::warn!(
                provider = %provider.name, model = %self.origin.model, step = %request.path, code = %code,
                retry = retries.done(), wait_ms = wait.as_millis(), "the model's provider failed, trying again: {told}"
            );
            if self.source.is_replayed() {
                continue;
            }
            if code == Kind::RateLimited.code() {
                self.lanes[0].close(wait);
            } else {
                self.clock.sleep(wait).await;
            }
        }
    }

    /// Sends the request and reads up to the first piece of the answer: that an answer began is none.
    async fn begin(&self, prepared: &Prepared) -> Result<(Vec<ModelEvent>, Reader), Fault> {
        let answered = self.source.ask(&self.origin.provider, prepared, &*self.clock).await;
        let response = answered.map_err(|silence| match silence {
            Silence::Transport(error) => self.origin.transport(&error, None),
            Silence::Tape(fault) => fault,
        })?;
        let head = Head::read(response.status, &response.headers, self.source.now(&*self.clock));
        if !(200..300).contains(&response.status) {
            // The status says enough: a body that drips is not waited for.
            let page = response.head_of_body(limits::MODEL_ERROR_BODY_BYTES);
            let page = tokio::time::timeout(self.origin.provider.timeouts.idle, page).await;
            let page = page.ok().and_then(Result::ok).unwrap_or_default();
            return Err(self.origin.answered(&head, &page));
        }
        let mut reader = Reader::new(Arc::clone(&self.origin), head.clone(), response.body, &prepared.asked);
        let mut first = Vec::new();
        loop {
            let Some(event) = reader.next().await else {
                return Err(self.origin.truncated(&head));
            };
            let event = match event {
                // Half a call was no piece that anybody saw; but it was paid for, and asking again would be paid for again.
                Err(fault) if reader.held_back() => {
                    reader.put_back(fault);
                    return Ok((first, reader));
                }
                event => event?,
            };
            let is_piece = !matches!(event, ModelEvent::Started { .. } | ModelEvent::Usage(_));
            first.push(event);
            if is_piece {
                return Ok((first, reader));
            }
        }
    }
}

impl Model for HttpModel {
    fn info(&self) -> ModelInfo {
        let Origin { provider, model } = &*self.origin;
        ModelInfo {
            name: format!("{}/{model}", provider.name).into(),
            is_language_model: true,
            summary: format!("`{model}` at {}", self.source.place()),
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
fn events(first: Vec<ModelEvent>, reader: Reader, entered: [Option<OwnedSemaphorePermit>; 2]) -> ModelStream {
    let rest = stream::unfold((reader, entered), |(mut reader, entered)| async move {
        reader.next().await.map(|event| (event, (reader, entered)))
    });
    Box::pin(stream::iter(first.into_iter().map(Ok)).chain(rest))
}
