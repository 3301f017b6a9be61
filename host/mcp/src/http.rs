//! Requests to a server over HTTP, through the one door to the network.
//!
//! The configured address is itself the grant for its scheme, host and port; redirects are not followed. It must not know
//! what the messages mean.

use crate::health::{Health, fault};
use crate::settings::Values;
use bytes::{Bytes, BytesMut};
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_egress::{EgressError, HeaderMap, HeaderName, HeaderValue, ProviderClient, StreamingResponse, Timeouts};
use futures_util::future::ready;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse,
};
use secrecy::ExposeSecret as _;
use sse_stream::{Sse, SseStream};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const ACCEPT: HeaderName = HeaderName::from_static("accept");
const CONTENT_TYPE: HeaderName = HeaderName::from_static("content-type");
/// How long a stream of events may stay open; the run is over long before.
const DAY: Duration = Duration::from_secs(86_400);

/// A server at an address.
#[derive(Clone)]
pub(crate) struct Http {
    client: ProviderClient,
    headers: HeaderMap,
    health: Arc<Health>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// It was not answered.
    #[error("{0}")]
    Egress(#[from] EgressError),
    /// It was answered with an error.
    #[error("it answered HTTP {0}{1}")]
    Status(u16, String),
    /// The body is too large.
    #[error("it answered with more than {max} bytes", max = limits::MCP_MESSAGE_BYTES)]
    TooLarge,
}

type Failed = StreamableHttpError<HttpError>;

impl Http {
    /// A client for this address and these headers.
    ///
    /// # Errors
    /// When the address or a header is none.
    pub(crate) fn new(url: &str, values: &Values, health: Arc<Health>) -> Result<Self, Fault> {
        let refuse = |message: String| fault(&health.alias, "mcp_settings", &message);
        let client = ProviderClient::new(url).map_err(|error| refuse(error.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &values.each {
            let known = HeaderName::try_from(name.as_str()).map_err(|_| refuse(format!("`{name}` is no header")))?;
            let value = HeaderValue::try_from(value.expose_secret());
            let mut value = value.map_err(|_| refuse(format!("the value of the header `{name}` cannot be sent")))?;
            value.set_sensitive(true);
            headers.insert(known, value);
        }
        Ok(Self { client, headers, health })
    }

    /// How the library is to use it.
    pub(crate) fn config(url: &str) -> StreamableHttpClientTransportConfig {
        let mut config = StreamableHttpClientTransportConfig::with_uri(url);
        // A session that begins anew may have other tools: it is opened by us, and compared.
        config.reinit_on_expired_session = false;
        config
    }

    fn headers(&self, session: Option<&str>, custom: HashMap<HeaderName, HeaderValue>) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.extend(custom.into_iter().map(|(name, value)| (Some(name), value)));
        if let Some(value) = session.and_then(|session| HeaderValue::from_str(session).ok()) {
            headers.insert(SESSION, value);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers
    }

    /// Keeps what went wrong: the library says of a failed start only that the connection ended.
    fn stumbled(&self, error: HttpError) -> Failed {
        self.health.stumble(self.health.shown(&error.to_string()));
        StreamableHttpError::Client(error)
    }

    async fn post(
        &self,
        url: &str,
        message: &ClientJsonRpcMessage,
        mut headers: HeaderMap,
    ) -> Result<StreamingResponse, Failed> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::to_vec(message)?;
        let sent = self.client.post_stream(url, headers, Bytes::from(body), timeouts(call_time())).await;
        sent.map_err(|error| self.stumbled(error.into()))
    }

    /// What an answer to a message says.
    async fn answer(
        &self,
        message: &ClientJsonRpcMessage,
        response: StreamingResponse,
        in_session: bool,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let status = response.status;
        if matches!(status, 202 | 204) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == 404 && in_session {
            self.health.end("its session ended");
            return Err(StreamableHttpError::SessionExpired);
        }
        let text = |name: &HeaderName| response.headers.get(name).and_then(|value| value.to_str().ok());
        let session = text(&SESSION).map(str::to_owned);
        let media = text(&CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default().trim().to_lowercase();
        let asks = matches!(message, JsonRpcMessage::Request(_));
        if (200..300).contains(&status) && !asks {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if (200..300).contains(&status) && media == "text/event-stream" {
            return Ok(StreamableHttpPostResponse::Sse(events(response.body), session));
        }
        let body = whole(response).await.map_err(|error| self.stumbled(error))?;
        match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
            Ok(answer) if (200..300).contains(&status) => Ok(StreamableHttpPostResponse::Json(answer, session)),
            Ok(answer @ JsonRpcMessage::Error(_)) if asks && !matches!(status, 401 | 403) => {
                Ok(StreamableHttpPostResponse::Json(answer, session))
            }
            _ => Err(self.stumbled(HttpError::Status(status, self.quoted(&body)))),
        }
    }

    /// The beginning of a body, behind a colon.
    fn quoted(&self, body: &[u8]) -> String {
        let head = body.get(..body.len().min(200)).unwrap_or_default();
        let shown = self.health.shown(&String::from_utf8_lossy(head));
        if shown.trim().is_empty() { String::new() } else { format!(": {}", shown.trim()) }
    }
}

impl StreamableHttpClient for Http {
    type Error = HttpError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let headers = self.headers(session_id.as_deref(), custom_headers);
        let response = self.post(&uri, &message, headers).await?;
        self.answer(&message, response, session_id.is_some()).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        let headers = self.headers(Some(&session_id), custom_headers);
        let wait = timeouts(Duration::from_millis(limits::MCP_STOP_MS));
        // A server may refuse to end a session; it is not ours to insist.
        self.client
            .delete(&uri, headers, wait)
            .await
            .map(drop)
            .map_err(|error| StreamableHttpError::Client(error.into()))
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let mut headers = self.headers(session_id.as_deref(), custom_headers);
        if let Some(value) = last_event_id.and_then(|id| HeaderValue::try_from(id).ok()) {
            headers.insert(LAST_EVENT, value);
        }
        let got = self.client.get_stream(&uri, headers, timeouts(DAY)).await;
        let response = got.map_err(|error| StreamableHttpError::Client(error.into()))?;
        let is_stream =
            response.headers.get(&CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        match response.status {
            200..300 if is_stream => Ok(events(response.body)),
            // Most servers have nothing to say unasked.
            _ => Err(StreamableHttpError::ServerDoesNotSupportSse),
        }
    }
}

fn call_time() -> Duration {
    // The call has its own deadline; this is for what nobody waits for any more.
    Duration::from_millis(limits::MCP_CALL_MS + limits::CANCEL_GRACE_MS)
}

fn timeouts(total: Duration) -> Timeouts {
    let connect = Duration::from_millis(limits::EGRESS_CONNECT_MS).min(total);
    Timeouts { connect, headers: total, idle: total, total }
}

async fn whole(mut response: StreamingResponse) -> Result<Bytes, HttpError> {
    let mut body = BytesMut::new();
    while let Some(piece) = response.body.next().await {
        let piece = piece?;
        if body.len().saturating_add(piece.len()) > limits::MCP_MESSAGE_BYTES {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn events(body: BoxStream<'static, Result<Bytes, EgressError>>) -> BoxStream<'static, Result<Sse, SseError>> {
    SseStream::from_bytes_stream(bounded(body)).boxed()
}

/// The bytes of a stream of events, up to the first event that is too large.
fn bounded(
    body: BoxStream<'static, Result<Bytes, EgressError>>,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    body.scan(Gauge::default(), |gauge, piece| {
        let outcome = match piece {
            _ if gauge.is_over => None,
            Ok(bytes) if gauge.admits(&bytes) => Some(Ok(bytes)),
            Ok(_) => Some(Err(io::Error::other(HttpError::TooLarge))),
            Err(error) => Some(Err(io::Error::other(error))),
        };
        gauge.is_over |= matches!(outcome, Some(Err(_)));
        ready(outcome)
    })
}

/// Counts the bytes of one event after the other: an event ends with an empty line.
#[derive(Default)]
struct Gauge {
    event: usize,
    line: usize,
    after_return: bool,
    is_over: bool,
}

impl Gauge {
    fn admits(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            let is_end = match byte {
                b'\n' => !std::mem::replace(&mut self.after_return, false),
                b'\r' => {
                    self.after_return = true;
                    true
                }
                _ => {
                    self.after_return = false;
                    self.line += 1;
                    false
                }
            };
            self.event += 1;
            if is_end {
                if self.line == 0 {
                    self.event = 0;
                }
                self.line = 0;
            }
            if self.event > limits::MCP_MESSAGE_BYTES {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_event_is_counted_at_a_time() {
        let mut gauge = Gauge::default();
        let event = [b"data: ", &vec![b'x'; limits::MCP_MESSAGE_BYTES / 2][..], b"\r\n\r\n"].concat();
        for _ in 0..8 {
            assert!(gauge.admits(&event));
        }
        let lines = b"data: x\r\n".repeat(limits::MCP_MESSAGE_BYTES / 9 + 1);
        assert!(!Gauge::default().admits(&lines), "lines without an end of the event");
    }
}
