//! What a row of the tables can expect, and the words that make rows short.
//!
//! It must not ask anything.

use Api::{Anthropic, Chat, Gemini, Ollama, Responses};
use cofferdam_core::fault::Class;
use cofferdam_core::message::Usage;
use cofferdam_core::port::FinishReason;
use cofferdam_llm::Api;

pub(crate) const ALL: &[Api] = &Api::ALL;
pub(crate) const CHAT: &[Api] = &[Chat];
pub(crate) const RESPONSES: &[Api] = &[Responses];
pub(crate) const ANTHROPIC: &[Api] = &[Anthropic];
pub(crate) const GEMINI: &[Api] = &[Gemini];
pub(crate) const OLLAMA: &[Api] = &[Ollama];
/// All but Google's, which says in the body how long to wait.
pub(crate) const WITH_HEADERS: &[Api] = &[Chat, Responses, Anthropic, Ollama];

/// The text of the server, in two pieces.
pub(crate) const TEXT: &str = "Grüße, Wörld 😀";
/// Its first piece.
pub(crate) const BEGUN: &str = "Grüße, ";
pub(crate) const PARIS: &str = r#"{"city":"Paris"}"#;
pub(crate) const OSLO: &str = r#"{"city":"Oslo"}"#;

/// What becomes of one mode in some protocols.
pub(crate) struct Row {
    pub(crate) mode: &'static str,
    pub(crate) apis: &'static [Api],
    pub(crate) end: End,
    /// Requests that were sent.
    pub(crate) sent: usize,
    pub(crate) waits: Waits,
}

pub(crate) enum End {
    Says(Said),
    Fails(Failure),
}

/// An answer.
pub(crate) struct Said {
    pub(crate) finish: FinishReason,
    pub(crate) text: Text,
    pub(crate) reasoning: &'static str,
    /// The arguments of the calls, which are all of `get_weather`.
    pub(crate) calls: &'static [&'static str],
    pub(crate) usage: Option<Usage>,
}

pub(crate) enum Text {
    Is(&'static str),
    /// So many of one letter.
    Letters(char, usize),
    /// The body that was sent.
    OfTheRequest,
    /// Some of these, as often as it may be.
    Endless(&'static str),
}

/// A fault.
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) class: Class,
    /// As the detail has it; none where nobody answered.
    pub(crate) status: Option<u16>,
    /// Text that was seen before.
    pub(crate) seen: Text,
    /// A part of the message, beside the provider, the model and the status.
    pub(crate) says: &'static str,
    /// A part of the hint; none where there is nothing to be done.
    pub(crate) hint: Option<&'static str>,
}

/// The waits that the clock was asked for.
#[derive(Clone, Copy)]
pub(crate) enum Waits {
    None,
    /// Half a second, then a whole one, each less at most a quarter.
    Own,
    /// So many milliseconds before each try but the first, within a tenth.
    Asked(u64),
    /// The same, from a date that has no parts of a second.
    Until(u64),
}

const fn usage(cache_read: u64, cache_write: u64, reasoning: u64) -> Option<Usage> {
    Some(Usage { input: 20, output: 9, reasoning, cache_read, cache_write })
}

const fn answer(mode: &'static str, apis: &'static [Api], finish: FinishReason, text: &'static str) -> Row {
    let said = Said { finish, text: Text::Is(text), reasoning: "", calls: &[], usage: usage(0, 0, 0) };
    Row { mode, apis, end: End::Says(said), sent: 1, waits: Waits::None }
}

/// An answer that stops by itself.
pub(crate) const fn says(mode: &'static str, apis: &'static [Api], text: &'static str) -> Row {
    answer(mode, apis, FinishReason::Stop, text)
}

/// An answer that ends so.
pub(crate) const fn ends(mode: &'static str, apis: &'static [Api], finish: FinishReason, text: &'static str) -> Row {
    answer(mode, apis, finish, text)
}

/// Calls with these arguments.
pub(crate) const fn calls(mode: &'static str, apis: &'static [Api], arguments: &'static [&'static str]) -> Row {
    answer(mode, apis, FinishReason::ToolCalls, "").said(usage(0, 0, 0), "", arguments)
}

/// A fault after one request.
pub(crate) const fn fails(mode: &'static str, apis: &'static [Api], code: &'static str, status: u16) -> Row {
    let status = if status == 0 { None } else { Some(status) };
    let failure = Failure { code, class: class_of(code), status, seen: Text::Is(""), says: "", hint: None };
    Row { mode, apis, end: End::Fails(failure), sent: 1, waits: Waits::None }
}

/// The class that a code has unless a row says another: what the table of kinds says, said again.
const fn class_of(code: &str) -> Class {
    match code.as_bytes() {
        b"model_auth" | b"model_quota" | b"model_not_found" | b"model_not_configured" => Class::User,
        b"model_rate_limited" | b"model_unavailable" | b"model_timeout" | b"model_truncated" => Class::Retry,
        _ => Class::Step,
    }
}

impl Row {
    const fn said(mut self, usage: Option<Usage>, reasoning: &'static str, calls: &'static [&'static str]) -> Self {
        if let End::Says(said) = &mut self.end {
            said.usage = usage;
            said.reasoning = reasoning;
            said.calls = calls;
        }
        self
    }

    pub(crate) const fn without_usage(mut self) -> Self {
        if let End::Says(said) = &mut self.end {
            said.usage = None;
        }
        self
    }

    pub(crate) const fn cached(mut self, read: u64, written: u64) -> Self {
        if let End::Says(said) = &mut self.end {
            said.usage = usage(read, written, 0);
        }
        self
    }

    /// Tokens of the answer.
    pub(crate) const fn tokens(mut self, output: u64) -> Self {
        if let End::Says(said) = &mut self.end {
            said.usage = Some(Usage { input: 20, output, reasoning: 0, cache_read: 0, cache_write: 0 });
        }
        self
    }

    /// With the reasoning of the server, and so many tokens for it.
    pub(crate) const fn thinks(mut self, tokens: u64) -> Self {
        if let End::Says(said) = &mut self.end {
            said.usage = usage(0, 0, tokens);
            said.reasoning = "Let me think.";
        }
        self
    }

    pub(crate) const fn text(mut self, text: Text) -> Self {
        match &mut self.end {
            End::Says(said) => said.text = text,
            End::Fails(failure) => failure.seen = text,
        }
        self
    }

    /// The first piece of the text was seen before.
    pub(crate) const fn after(self, text: &'static str) -> Self {
        self.text(Text::Is(text))
    }

    pub(crate) const fn message(mut self, says: &'static str) -> Self {
        if let End::Fails(failure) = &mut self.end {
            failure.says = says;
        }
        self
    }

    pub(crate) const fn hint(mut self, hint: &'static str) -> Self {
        if let End::Fails(failure) = &mut self.end {
            failure.hint = Some(hint);
        }
        self
    }

    pub(crate) const fn class(mut self, class: Class) -> Self {
        if let End::Fails(failure) = &mut self.end {
            failure.class = class;
        }
        self
    }

    /// Three requests, with these waits between them.
    pub(crate) const fn retried(mut self, waits: Waits) -> Self {
        self.sent = 3;
        self.waits = waits;
        self
    }
}
