//! The body of a response, read as a stream of events or as one JSON document.
//!
//! It must not send or retry. Its stream ends with `Finished` or with a fault, never otherwise.

use super::assemble::Assembler;
use super::failure::{Head, Origin};
use crate::sse::Decoder;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::ModelEvent;
use cofferdam_egress::EgressError;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;

/// Reads one answer.
pub(super) struct Reader {
    origin: Arc<Origin>,
    head: Head,
    body: BoxStream<'static, Result<Bytes, EgressError>>,
    shape: Shape,
    assembler: Option<Assembler>,
    events: VecDeque<ModelEvent>,
    fault: Option<Fault>,
}

/// What the body looks like, by its first byte that is no white space: providers mislabel it.
enum Shape {
    Unknown,
    Events(Decoder),
    /// One document, an error or an answer that was not streamed.
    Document(Vec<u8>),
}

impl Reader {
    pub(super) fn new(
        origin: Arc<Origin>,
        head: Head,
        body: BoxStream<'static, Result<Bytes, EgressError>>,
        turn: u32,
    ) -> Self {
        let assembler = Some(Assembler::new(turn));
        Self { origin, head, body, shape: Shape::Unknown, assembler, events: VecDeque::new(), fault: None }
    }

    /// The next event; none after the end.
    pub(super) async fn next(&mut self) -> Option<Result<ModelEvent, Fault>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(Ok(event));
            }
            if let Some(fault) = self.fault.take() {
                return Some(Err(fault));
            }
            // No assembler: the answer has ended, one way or the other.
            self.assembler.as_ref()?;
            let read = match self.body.next().await {
                Some(Ok(bytes)) => self.take(&bytes),
                Some(Err(error)) => self.stop(|reader| reader.origin.transport(&error, Some(&reader.head))),
                None => self.stop(|reader| reader.origin.truncated(&reader.head)),
            };
            if let Err(fault) = read {
                self.assembler = None;
                self.fault = Some(fault);
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if matches!(self.shape, Shape::Unknown) {
            let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) else {
                return Ok(());
            };
            let is_document = matches!(first, b'{' | b'<' | b'[');
            self.shape = if is_document { Shape::Document(Vec::new()) } else { Shape::Events(Decoder::default()) };
        }
        match &mut self.shape {
            Shape::Document(document) => {
                document.extend_from_slice(bytes);
                Ok(())
            }
            Shape::Events(decoder) => {
                let mut frames = Vec::new();
                let fed = decoder.feed(bytes, &mut frames);
                for frame in &frames {
                    self.frame(frame)?;
                }
                fed.map_err(|oversize| self.origin.oversize(&self.head, oversize))
            }
            Shape::Unknown => Ok(()),
        }
    }

    fn frame(&mut self, data: &str) -> Result<(), Fault> {
        let text = data.trim();
        if text == "[DONE]" {
            return self.end();
        }
        let Some(assembler) = self.assembler.as_mut().filter(|_| !text.is_empty()) else {
            return Ok(());
        };
        assembler.add(text, &mut self.events).map_err(|odd| self.origin.odd(&self.head, &odd))
    }

    /// Nothing more comes. That is fine when the provider had said why the answer ended: some never send `[DONE]`.
    fn stop(&mut self, fault: impl FnOnce(&Self) -> Fault) -> Result<(), Fault> {
        if let Shape::Document(document) = &mut self.shape {
            let document = std::mem::take(document);
            return self.document(&document, fault);
        }
        match &self.assembler {
            Some(assembler) if assembler.is_complete() => self.end(),
            _ => Err(fault(self)),
        }
    }

    fn document(&mut self, bytes: &[u8], fault: impl FnOnce(&Self) -> Fault) -> Result<(), Fault> {
        match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            Ok(_) => {
                self.frame(&String::from_utf8_lossy(bytes))?;
                self.end()
            }
            Err(error) if error.is_eof() => Err(fault(self)),
            Err(_) => Err(self.origin.answered(&self.head, bytes)),
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(assembler) = self.assembler.take() else {
            return Ok(());
        };
        assembler.end(&mut self.events).map_err(|odd| self.origin.odd(&self.head, &odd))
    }
}
