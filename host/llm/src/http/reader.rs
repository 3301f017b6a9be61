//! The body of a response, read as a stream of pieces or as one JSON document.
//!
//! It must not send or retry, and knows no protocol. Its stream ends with `Finished` or with a fault, never otherwise.

use super::failure::{Head, Origin};
use crate::lines::Lines;
use crate::protocol::{Asked, Assemble, Framing, Progress};
use crate::sse::{Decoder, Oversize};
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits::MODEL_RESPONSE_BYTES;
use cofferdam_core::message::Usage;
use cofferdam_core::port::ModelEvent;
use cofferdam_egress::EgressError;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;

/// Reads one answer.
pub(super) struct Reader {
    origin: Arc<Origin>,
    head: Head,
    body: BoxStream<'static, Result<Bytes, EgressError>>,
    shape: Shape,
    assembler: Option<Box<dyn Assemble>>,
    frames: Vec<String>,
    events: VecDeque<ModelEvent>,
    /// Whether anything of the answer was given.
    begun: bool,
    /// Whether something of the answer had come that was held back when it broke off.
    held: bool,
    /// The tokens that were told of, once the answer has ended.
    told: Option<Usage>,
    fault: Option<Fault>,
    received: usize,
}

/// What the body looks like, by its first byte that is no white space: providers mislabel it.
enum Shape {
    Unknown,
    Events(Decoder),
    Lines(Lines),
    /// One document, an error or an answer that was not streamed.
    Document(Vec<u8>),
}

impl Shape {
    fn of(framing: Framing, first: u8) -> Self {
        match (framing, first) {
            (_, b'<') | (Framing::Events, b'{' | b'[') => Self::Document(Vec::new()),
            (Framing::Events, _) => Self::Events(Decoder::default()),
            (Framing::Lines, _) => Self::Lines(Lines::default()),
        }
    }
}

impl Reader {
    pub(super) fn new(
        origin: Arc<Origin>,
        head: Head,
        body: BoxStream<'static, Result<Bytes, EgressError>>,
        asked: &Asked,
    ) -> Self {
        let assembler = Some(origin.provider.api.wire().assembler(asked));
        let (frames, events) = (Vec::new(), VecDeque::new());
        Self {
            origin,
            head,
            body,
            shape: Shape::Unknown,
            assembler,
            frames,
            events,
            begun: false,
            held: false,
            told: None,
            fault: None,
            received: 0,
        }
    }

    /// Whether a fault came after something of the answer, which nobody saw.
    pub(super) fn held_back(&self) -> bool {
        self.held
    }

    /// Gives a fault once more.
    pub(super) fn put_back(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// The next event; none after the end.
    pub(super) async fn next(&mut self) -> Option<Result<ModelEvent, Fault>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.begun = true;
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
                // Of an answer of which nothing came nobody hears anything: it may be asked for again.
                let assembler = self.assembler.take();
                self.held |= assembler.as_ref().is_some_and(|assembler| assembler.has_begun());
                let told = assembler.and_then(|assembler| assembler.usage()).or(self.told);
                let begun = self.begun || !self.events.is_empty();
                self.events.extend(told.filter(|_| begun).map(ModelEvent::Usage));
                self.fault = Some(fault);
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        self.received = self.received.saturating_add(bytes.len());
        if self.received > MODEL_RESPONSE_BYTES {
            return Err(self.origin.endless(&self.head));
        }
        if matches!(self.shape, Shape::Unknown) {
            // White space before everything says nothing, whether it comes in a piece of its own or not.
            bytes = bytes.trim_ascii_start();
            let Some(first) = bytes.first() else {
                return Ok(());
            };
            self.shape = Shape::of(self.origin.provider.api.wire().framing(), *first);
        }
        let fed = match &mut self.shape {
            Shape::Document(document) => {
                document.extend_from_slice(bytes);
                Ok(())
            }
            Shape::Events(decoder) => decoder.feed(bytes, &mut self.frames),
            Shape::Lines(lines) => lines.feed(bytes, &mut self.frames),
            Shape::Unknown => Ok(()),
        };
        self.add_frames()?;
        // What comes after the end is not read, however long it is.
        let fed = if self.assembler.is_some() { fed } else { Ok(()) };
        fed.map_err(|oversize: Oversize| self.origin.oversize(&self.head, oversize))
    }

    fn add_frames(&mut self) -> Result<(), Fault> {
        let mut frames = std::mem::take(&mut self.frames);
        for frame in frames.drain(..) {
            self.frame(&frame)?;
        }
        self.frames = frames;
        Ok(())
    }

    fn frame(&mut self, data: &str) -> Result<(), Fault> {
        let text = data.trim();
        let Some(assembler) = self.assembler.as_mut().filter(|_| !text.is_empty()) else {
            return Ok(());
        };
        let added = assembler.add(text, &mut self.events);
        match added.map_err(|odd| self.origin.odd(&self.head, &odd))? {
            Progress::More => Ok(()),
            Progress::Ended => self.end(),
        }
    }

    /// Nothing more comes. That is fine when the provider had said why the answer ended: some never mark the end.
    fn stop(&mut self, fault: impl FnOnce(&Self) -> Fault) -> Result<(), Fault> {
        match &mut self.shape {
            Shape::Document(document) => {
                let document = std::mem::take(document);
                return self.document(&document, fault);
            }
            Shape::Events(decoder) => {
                let stray = decoder.take_stray();
                if let Ok(error) = serde_json::from_slice::<Value>(&stray) {
                    return Err(self.origin.told(&self.head, first(&error)));
                }
            }
            Shape::Lines(lines) => {
                let rest = lines.rest().filter(|line| !line.trim().is_empty());
                if rest.as_deref().is_some_and(is_cut) {
                    return Err(fault(self));
                }
                self.frames.extend(rest);
                self.add_frames()?;
            }
            Shape::Unknown => {}
        }
        match &self.assembler {
            Some(assembler) if assembler.is_complete() => self.end(),
            Some(_) => Err(fault(self)),
            None => Ok(()),
        }
    }

    /// One document, or a list of what would else have been events.
    fn document(&mut self, bytes: &[u8], fault: impl FnOnce(&Self) -> Fault) -> Result<(), Fault> {
        match serde_json::from_slice::<Vec<Value>>(bytes) {
            Ok(pieces) => {
                for piece in &pieces {
                    self.frame(&piece.to_string())?;
                }
                return self.end();
            }
            Err(error) if error.is_eof() => return Err(fault(self)),
            Err(_) => {}
        }
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
        let Some(mut assembler) = self.assembler.take() else {
            return Ok(());
        };
        self.told = assembler.usage();
        self.held = assembler.has_begun();
        assembler.end(&mut self.events).map_err(|odd| self.origin.odd(&self.head, &odd))
    }
}

/// Whether a line is the beginning of a document and not more.
fn is_cut(line: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

/// The first of a list, or the value itself.
fn first(value: &Value) -> &Value {
    value.as_array().and_then(|list| list.first()).unwrap_or(value)
}
