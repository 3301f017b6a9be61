//! The pieces of a stream and how they are framed. It must not know what they say.

use serde_json::Value;

/// What a piece is for, so that faults know where to strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Whatever surrounds the rest.
    Frame,
    /// Text that a reader sees.
    Delta,
    /// Arguments of a call.
    Arguments,
    /// What a client has to wait for.
    End,
}

/// One event, or one line.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) step: Step,
    content: Content,
    pub(crate) times: u64,
}

#[derive(Clone, Debug)]
enum Content {
    Event {
        name: Option<&'static str>,
        data: String,
    },
    /// Bytes of the wire.
    Raw(String),
}

/// The value that becomes the number of the event in its stream: a JSON string that no other text of one becomes.
pub(crate) const NUMBER: &str = "\u{1}";
const WRITTEN_NUMBER: &str = r#""\u0001""#;

impl Frame {
    pub(crate) fn new(step: Step, data: &Value) -> Self {
        Self { step, content: Content::Event { name: None, data: data.to_string() }, times: 1 }
    }

    /// An event whose name is the `type` of its data.
    pub(crate) fn named(step: Step, name: &'static str, data: &Value) -> Self {
        Self { step, content: Content::Event { name: Some(name), data: data.to_string() }, times: 1 }
    }

    /// Data that is no JSON.
    pub(crate) fn text(step: Step, data: &str) -> Self {
        Self { step, content: Content::Event { name: None, data: data.to_owned() }, times: 1 }
    }

    pub(crate) fn raw(bytes: &str) -> Self {
        Self { step: Step::Frame, content: Content::Raw(bytes.to_owned()), times: 1 }
    }

    pub(crate) fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }
}

/// How a protocol separates its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Events {
        eol: &'static str,
    },
    Lines {
        eol: &'static str,
    },
    /// One JSON array, as Gemini writes without `alt=sse`.
    Array,
}

impl Framing {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Events { .. } => "text/event-stream; charset=utf-8",
            Self::Lines { .. } => "application/x-ndjson",
            Self::Array => "application/json; charset=UTF-8",
        }
    }

    pub(crate) fn with_carriage_returns(self) -> Self {
        match self {
            Self::Events { .. } => Self::Events { eol: "\r\n" },
            Self::Lines { .. } => Self::Lines { eol: "\r\n" },
            Self::Array => Self::Array,
        }
    }

    /// What a stream ends with.
    pub(crate) fn closing(self) -> &'static str {
        if self == Self::Array { "]" } else { "" }
    }
}

/// A frame as bytes around its number, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) before: String,
    /// The number of the first one, and what follows it.
    pub(crate) numbered: Option<(u64, String)>,
    pub(crate) times: u64,
}

/// Puts frames on the wire, counting.
#[derive(Debug)]
pub(crate) struct Encoder {
    framing: Framing,
    number: u64,
    is_first: bool,
}

impl Encoder {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, number: 0, is_first: true }
    }

    pub(crate) fn encode(&mut self, frame: &Frame) -> Encoded {
        let text = match &frame.content {
            Content::Raw(bytes) => bytes.clone(),
            Content::Event { name, data } => self.framed(*name, data),
        };
        let times = frame.times;
        match text.split_once(WRITTEN_NUMBER) {
            Some((before, after)) => {
                let numbered = Some((self.number, after.to_owned()));
                self.number = self.number.saturating_add(times);
                Encoded { before: before.to_owned(), numbered, times }
            }
            None => Encoded { before: text, numbered: None, times },
        }
    }

    fn framed(&mut self, name: Option<&str>, data: &str) -> String {
        match self.framing {
            Framing::Events { eol } => {
                let name = name.map(|name| format!("event: {name}{eol}")).unwrap_or_default();
                format!("{name}data: {data}{eol}{eol}")
            }
            Framing::Lines { eol } => format!("{data}{eol}"),
            Framing::Array => {
                let separator = if std::mem::take(&mut self.is_first) { "[" } else { ",\r\n" };
                format!("{separator}{data}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoder, Frame, Framing, NUMBER, Step};
    use serde_json::json;

    fn encode(framing: Framing, frames: &[Frame]) -> String {
        let mut encoder = Encoder::new(framing);
        let mut text = String::new();
        for frame in frames {
            let encoded = encoder.encode(frame);
            for time in 0..encoded.times {
                text += &encoded.before;
                if let Some((first, after)) = &encoded.numbered {
                    text += &format!("{}{after}", first + time);
                }
            }
        }
        text + framing.closing()
    }

    #[test]
    fn frames_are_framed_as_their_protocol_does() {
        let frames = [Frame::new(Step::Delta, &json!({"a": 1})).times(2), Frame::named(Step::End, "end", &json!({}))];
        let events = encode(Framing::Events { eol: "\n" }, &frames);
        assert_eq!(events, "data: {\"a\":1}\n\ndata: {\"a\":1}\n\nevent: end\ndata: {}\n\n");
        assert_eq!(encode(Framing::Lines { eol: "\n" }, &frames), "{\"a\":1}\n{\"a\":1}\n{}\n");
        let frames = [Frame::new(Step::Delta, &json!(1)), Frame::new(Step::Delta, &json!(2))];
        assert_eq!(encode(Framing::Array, &frames), "[1,\r\n2]");
    }

    #[test]
    fn frames_are_numbered_in_their_stream() {
        let frame = |step| Frame::new(step, &json!({"n": NUMBER, "t": NUMBER.repeat(2)}));
        let text = encode(Framing::Lines { eol: "\n" }, &[frame(Step::Delta).times(2), frame(Step::End)]);
        let numbers = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].clone());
        assert_eq!(numbers.collect::<Vec<_>>(), [0, 1, 2]);
    }
}
