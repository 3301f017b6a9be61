//! An answer in no protocol's words. It must not know how it is written or damaged.

use crate::mode::Quirk;

/// What the server wants to say.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Of the request; ids are made of it.
    pub(crate) number: u64,
    pub(crate) model: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) end: End,
    pub(crate) usage: Option<Usage>,
    pub(crate) quirk: Option<Quirk>,
    /// Whether usage was asked for, where that is a choice.
    pub(crate) usage_asked: bool,
    /// Whether opaque reasoning was asked for, where that is a choice.
    pub(crate) sealed: bool,
}

impl Answer {
    pub(crate) fn bent(&self, quirk: Quirk) -> bool {
        self.quirk == Some(quirk)
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.parts.iter().filter_map(|part| if let Part::Call(call) = part { Some(call) } else { None })
    }

    /// All text of one kind.
    pub(crate) fn text(&self, kind: Kind) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) if text.kind == kind => Some(text.whole()),
            Part::Text(_) | Part::Call(_) => None,
        });
        texts.collect()
    }

    /// The signature of the reasoning, if it has one.
    pub(crate) fn signature(&self) -> Option<&'static str> {
        self.parts.iter().find_map(|part| if let Part::Text(text) = part { text.signature } else { None })
    }
}

/// One part, in the order of the answer.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Text(Text),
    Call(Call),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Said,
    Thought,
    Refusal,
}

/// A text in the pieces that a stream has.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) kind: Kind,
    pub(crate) pieces: Vec<String>,
    /// How often each piece comes.
    pub(crate) times: u64,
    pub(crate) signature: Option<&'static str>,
}

impl Text {
    pub(crate) fn new(kind: Kind, pieces: &[&str]) -> Self {
        let pieces = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        Self { kind, pieces, times: 1, signature: None }
    }

    pub(crate) fn whole(&self) -> String {
        let times = usize::try_from(self.times).unwrap_or(1);
        self.pieces.iter().map(|piece| piece.repeat(times)).collect()
    }
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Without the prefix of a protocol: `a`, `b`; `a1` after one result.
    pub(crate) id: String,
    pub(crate) name: String,
    /// The JSON of the arguments, or what should have been it.
    pub(crate) arguments: String,
}

impl Call {
    /// The arguments as JSON; none if they are broken.
    pub(crate) fn object(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.arguments).ok()
    }

    pub(crate) fn halves(&self) -> [&str; 2] {
        halves(&self.arguments)
    }
}

/// A text in two pieces of about the same length, never inside a character.
pub(crate) fn halves(text: &str) -> [&str; 2] {
    let middle = (text.len() / 2..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let (left, right) = text.split_at(middle);
    [left, right]
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Stop,
    Calls,
    Length,
    Filtered,
    Refused,
}

/// What an answer cost, as totals: parts that came from or went to a cache are inside `input`, reasoning is inside
/// `output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
}
