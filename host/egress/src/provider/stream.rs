//! A provider's response as it comes: bounded in size, in silence and in time.

use bytes::{Bytes, BytesMut};
use cofferdam_core::limits::MODEL_RESPONSE_BYTES;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use super::Timeouts;
use crate::{EgressError, Phase};

/// The head of a response, and its body as it comes.
pub struct StreamingResponse {
    /// The status code; 400 and above are answers, not errors.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// Who answered, after all redirects: `https://registry.example:5000`.
    pub origin: String,
    /// The inflated body. After an error the stream ends. Dropping it closes the connection.
    pub body: BoxStream<'static, Result<Bytes, EgressError>>,
}

impl std::fmt::Debug for StreamingResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamingResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

impl StreamingResponse {
    /// At most the first `limit` bytes of the body; what comes after is not read. For error pages.
    ///
    /// # Errors
    /// When the body breaks off before the first byte; a later break gives what had come.
    pub async fn head_of_body(mut self, limit: usize) -> Result<Bytes, EgressError> {
        let mut kept = BytesMut::new();
        while let Some(piece) = self.body.next().await {
            match piece {
                Ok(piece) => kept.extend_from_slice(&piece),
                Err(error) if kept.is_empty() => return Err(error),
                Err(_) => break,
            }
            if kept.len() >= limit {
                break;
            }
        }
        kept.truncate(limit);
        Ok(kept.freeze())
    }
}

/// A body on its way.
pub(super) struct Reading {
    response: reqwest::Response,
    host: String,
    deadline: Instant,
    timeouts: Timeouts,
    received: usize,
    limit: usize,
}

impl Reading {
    /// A body of which nothing has been read.
    pub(super) fn new(response: reqwest::Response, host: &str, deadline: Instant, timeouts: Timeouts) -> Self {
        let host = host.to_owned();
        Self { response, host, deadline, timeouts, received: 0, limit: MODEL_RESPONSE_BYTES }
    }

    /// With another bound on the whole body, in bytes.
    pub(super) fn at_most(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// The pieces, up to the end or the first error.
    pub(super) fn into_stream(self) -> BoxStream<'static, Result<Bytes, EgressError>> {
        stream::unfold(Some(self), Self::step).boxed()
    }

    /// The next piece, and the state to go on from; none after the end or an error.
    async fn step(state: Option<Self>) -> Option<(Result<Bytes, EgressError>, Option<Self>)> {
        let mut reading = state?;
        match reading.piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(reading))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, EgressError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let (phase, after) = if left < self.timeouts.idle {
            (Phase::Total, self.timeouts.total)
        } else {
            (Phase::Idle, self.timeouts.idle)
        };
        let late = || EgressError::Timeout { host: self.host.clone(), phase, after };
        // A timeout of zero still takes what is there, and a fast endless body always has something there.
        if left.is_zero() {
            return Err(late());
        }
        let piece = match tokio::time::timeout(left.min(self.timeouts.idle), self.response.chunk()).await {
            Err(_) => return Err(late()),
            Ok(piece) => piece.map_err(|error| EgressError::from_reqwest(&self.host, &error, self.timeouts.connect))?,
        };
        self.received += piece.as_ref().map_or(0, Bytes::len);
        if self.received > self.limit {
            return Err(EgressError::TooLarge { what: "the response's body", limit: self.limit as u64 });
        }
        Ok(piece)
    }
}
