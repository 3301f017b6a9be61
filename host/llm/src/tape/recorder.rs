//! Writes one recording beside the answer that is read.
//!
//! It must not hold an answer in memory, and must not fail the request: what is read was paid for. A recording that
//! cannot be written is given up, and the tape says so after the run.

use super::Tape;
use super::end::End;
use super::page;
use super::pieces::Pieces;
use super::question::Question;
use super::shelf::{Draft, ShelfError};
use crate::provider::Provider;
use crate::retry::asked_wait;
use bytes::Bytes;
use cofferdam_core::time::Timestamp;
use cofferdam_egress::{EgressError, HeaderMap, StreamingResponse};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The headers of a response that an answer or a fault may depend on, or that lead back to it.
const KEPT_HEADERS: &[&str] =
    &["content-type", "retry-after-ms", "x-should-retry", "x-request-id", "request-id", "apim-request-id"];

/// One recording on its way. Dropped before its end it says that nobody read on.
pub(crate) struct Recorder {
    tape: Arc<Tape>,
    /// Gone once the recording is complete or given up.
    draft: Option<Box<dyn Draft>>,
    question: Question,
    request_headers: Vec<String>,
    secrets: Secrets,
    pieces: Pieces,
    has_head: bool,
    is_empty: bool,
}

/// Takes secrets out of texts.
type Secrets = Box<dyn Fn(&str) -> String + Send>;

impl Recorder {
    pub(super) fn new(
        tape: Arc<Tape>,
        draft: Box<dyn Draft>,
        question: Question,
        provider: &Provider,
        sent: &HeaderMap,
    ) -> Self {
        let mut request_headers: Vec<String> = sent.keys().map(|name| name.as_str().to_owned()).collect();
        request_headers.sort();
        let own: Vec<String> = provider.secrets().map(str::to_owned).collect();
        let secrets = move |text: &str| own.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"));
        Self {
            tape,
            draft: Some(draft),
            question,
            request_headers,
            secrets: Box::new(secrets),
            pieces: Pieces::without(provider),
            has_head: false,
            is_empty: true,
        }
    }

    /// The response as it came, written down while it is read.
    pub(crate) fn heard(mut self, response: StreamingResponse, now: Timestamp) -> StreamingResponse {
        let headers = self.kept(&response.headers, now);
        self.head(Some(response.status), &headers);
        let StreamingResponse { status, headers, origin, body } = response;
        StreamingResponse { status, headers, origin, body: self.tee(body) }
    }

    /// Nobody answered.
    pub(crate) fn failed(mut self, error: &EgressError) {
        self.end(&End::of(error));
    }

    fn tee(
        self,
        body: BoxStream<'static, Result<Bytes, EgressError>>,
    ) -> BoxStream<'static, Result<Bytes, EgressError>> {
        let read = stream::unfold(Some((body, self)), |state| async move {
            let (mut body, mut recorder) = state?;
            match body.next().await {
                Some(Ok(piece)) => {
                    recorder.piece(&piece);
                    Some((Ok(piece), Some((body, recorder))))
                }
                Some(Err(error)) => {
                    recorder.end(&End::of(&error));
                    Some((Err(error), None))
                }
                None => {
                    recorder.end(&End::Eof);
                    None
                }
            }
        });
        read.boxed()
    }

    /// The headers that are kept. A wait is kept as its length, since a date would have passed at the replay.
    fn kept(&self, headers: &HeaderMap, now: Timestamp) -> BTreeMap<String, String> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let named = KEPT_HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), (self.secrets)(text(name)?))));
        let mut kept: BTreeMap<String, String> = named.collect();
        if let Some(wait) = asked_wait(headers, now) {
            kept.insert("retry-after-ms".to_owned(), wait.as_millis().to_string());
        }
        kept
    }

    fn head(&mut self, status: Option<u16>, headers: &BTreeMap<String, String>) {
        self.has_head = true;
        let text = page::opening(&self.question, &self.request_headers, status, headers);
        self.write(&text);
    }

    fn piece(&mut self, bytes: &[u8]) {
        let given = self.pieces.add(bytes);
        self.write_pieces(given);
    }

    fn write_pieces(&mut self, pieces: Vec<Vec<u8>>) {
        for piece in pieces {
            let text = page::piece(&piece, self.is_empty);
            self.is_empty = false;
            self.write(&text);
        }
    }

    fn end(&mut self, end: &End) {
        if !self.has_head {
            self.head(None, &BTreeMap::new());
        }
        let rest = self.pieces.rest();
        self.write_pieces(rest);
        self.write(&page::closing(self.is_empty, end));
        if let Some(Err(error)) = self.draft.take().map(Draft::finish) {
            self.give_up(error);
        }
    }

    fn write(&mut self, text: &str) {
        if let Some(Err(error)) = self.draft.as_mut().map(|draft| draft.write(text.as_bytes())) {
            self.give_up(error);
        }
    }

    fn give_up(&mut self, error: ShelfError) {
        self.draft = None;
        self.tape.lose(error);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.draft.is_some() {
            self.end(&End::Closed);
        }
    }
}
