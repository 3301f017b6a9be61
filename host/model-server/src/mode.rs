//! The table of modes: what a model's name can ask for. It must not know how any protocol writes it.

use crate::failure::{Failure, Hint};
use crate::limits::COUNT;

/// A way to behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// What the model is called; `N` at the end stands for a number.
    pub name: &'static str,
    /// What then happens, in one line.
    pub about: &'static str,
    pub(crate) does: Does,
}

/// What a mode does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Say(Content),
    Bend(Quirk),
    Deliver(Delivery),
    Fail(Failure),
    /// Fails so many times for each name, then says [`Content::Text`].
    Flaky,
    Redirect,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text,
    Call,
    Calls,
    CallThenText,
    Thought,
    SignedCall,
    Schema,
    Refusal,
    CutShort,
    Filtered,
    BrokenArguments,
    Echo,
    Attachments,
    NoUsage,
    CachedUsage,
    Tokens,
    Empty,
}

/// How a protocol is bent, each as some server was seen to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quirk {
    NoIndex,
    ReusedIndex,
    WholeCall,
    ObjectArguments,
    StopWithCalls,
    Unknown,
}

/// What becomes of a text on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Plain,
    Whole,
    KeepAlive,
    CarriageReturns,
    Bytewise,
    Gzip,
    NoEnd,
    EndOnly,
    Eof,
    Cut,
    CutCall,
    Reset,
    MidError,
    Failed,
    Garbage,
    Nothing,
    HeadersOnly,
    StallHeaders,
    StallBody,
    Drip,
    HugeLine,
    HugeBody,
}

const fn say(name: &'static str, content: Content, about: &'static str) -> Mode {
    Mode { name, about, does: Does::Say(content) }
}

const fn bend(name: &'static str, quirk: Quirk, about: &'static str) -> Mode {
    Mode { name, about, does: Does::Bend(quirk) }
}

const fn deliver(name: &'static str, delivery: Delivery, about: &'static str) -> Mode {
    Mode { name, about, does: Does::Deliver(delivery) }
}

const fn fail(name: &'static str, failure: Failure, about: &'static str) -> Mode {
    Mode { name, about, does: Does::Fail(failure) }
}

/// Every mode, in the order of a help page.
#[must_use]
pub fn modes() -> &'static [Mode] {
    MODES
}

const MODES: &[Mode] = &[
    say("text", Content::Text, "a short text in two pieces; what unknown names answer too"),
    say("echo-request", Content::Echo, "a text that is the JSON of the request's body"),
    say(
        "images",
        Content::Attachments,
        "a text that counts the images and files of the request, with their media types",
    ),
    say("json-schema", Content::Schema, "JSON that fits the schema of the request"),
    say("tools-1", Content::Call, "one call of the first tool offered, or of `get_weather`"),
    say("tools-parallel", Content::Calls, "two calls at once, their arguments in pieces"),
    say("tools-then-text", Content::CallThenText, "a call; once its result has come, a text that quotes it"),
    say("reasoning", Content::Thought, "reasoning, then a text"),
    say(
        "thinking-tools",
        Content::SignedCall,
        "signed reasoning, then a call; 400 unless the signature comes back untouched with the result",
    ),
    say("refusal", Content::Refusal, "the model refuses"),
    say("length", Content::CutShort, "a text that ends at the limit of tokens"),
    say("content-filter", Content::Filtered, "a filter of the provider ends the answer"),
    say("empty", Content::Empty, "a proper answer that says nothing"),
    say("usage-none", Content::NoUsage, "a text without any usage"),
    say("cached-usage", Content::CachedUsage, "a text whose usage has tokens read from and written to a cache"),
    say("tokens-N", Content::Tokens, "a text in N pieces, for load"),
    say("bad-json-args", Content::BrokenArguments, "a call whose arguments are no JSON"),
    bend("no-index", Quirk::NoIndex, "two calls in pieces without indexes (Gemini: without ids)"),
    bend("reused-index", Quirk::ReusedIndex, "two calls with one index"),
    bend("whole-call", Quirk::WholeCall, "calls in one piece each"),
    bend("obj-args", Quirk::ObjectArguments, "arguments as an object where a string belongs"),
    bend("stop-with-calls", Quirk::StopWithCalls, "calls, although the reason to end says there are none"),
    bend("unknown-events", Quirk::Unknown, "events, parts and fields that no client knows"),
    deliver("whole", Delivery::Whole, "one document although a stream was asked for"),
    deliver("keepalive", Delivery::KeepAlive, "signs of life between the events"),
    deliver(
        "crlf",
        Delivery::CarriageReturns,
        "lines end in CR LF, and streams of events begin with a byte order mark",
    ),
    deliver("split-utf8", Delivery::Bytewise, "each byte in a write and a chunk of its own"),
    deliver("gzip", Delivery::Gzip, "compressed, whatever the request accepts"),
    deliver("slow-drip", Delivery::Drip, "half an event at a time, with a pause before each"),
    deliver("no-done", Delivery::NoEnd, "a whole HTTP body without the marker that ends a stream"),
    deliver("done-only", Delivery::EndOnly, "the marker that ends a stream, and nothing before it"),
    deliver("eof", Delivery::Eof, "a whole HTTP body that ends in the middle of the answer"),
    deliver("cut", Delivery::Cut, "the connection closes in the middle of the answer"),
    deliver("cut-call", Delivery::CutCall, "the connection closes in the middle of a call's arguments"),
    deliver("rst", Delivery::Reset, "the connection is reset in the middle of the answer"),
    deliver("mid-error", Delivery::MidError, "an error in the middle of the answer, after status 200"),
    deliver(
        "failed",
        Delivery::Failed,
        "an answer that says of itself that it failed (Responses), else as `mid-error`",
    ),
    deliver("garbage", Delivery::Garbage, "an event that is no JSON"),
    deliver("nothing", Delivery::Nothing, "the connection closes without an answer"),
    deliver("headers-only", Delivery::HeadersOnly, "headers, and an empty body"),
    deliver("stall-headers", Delivery::StallHeaders, "silence until the client goes"),
    deliver("stall-body", Delivery::StallBody, "the beginning of an answer, then silence until the client goes"),
    deliver("huge-line", Delivery::HugeLine, "an event whose line has 2 MiB"),
    deliver("huge-body", Delivery::HugeBody, "a valid answer without an end, until the client goes"),
    fail("e400", Failure::BadRequest, "400, a bad field"),
    fail("e401", Failure::Unauthorized, "401, a bad key"),
    fail("e403", Failure::Forbidden, "403, no permission"),
    fail("e404", Failure::NotFound, "404, no such model"),
    fail("e413", Failure::TooLarge, "413, the request is too large"),
    fail("e422", Failure::Unprocessable, "422, the request makes no sense"),
    fail("e429-after", Failure::RateLimit(Hint::Seconds), "429, wait 7 seconds"),
    fail("e429-date", Failure::RateLimit(Hint::Date), "429, wait until a date, 7 seconds from now"),
    fail("e429-ms", Failure::RateLimit(Hint::Milliseconds), "429, wait 250 milliseconds"),
    fail("e429-hours", Failure::RateLimit(Hint::Hours), "429, wait two hours"),
    fail("e429-none", Failure::RateLimit(Hint::None), "429, without a word on how long"),
    fail("e429-quota", Failure::Quota, "429, the money is used up: waiting does not help"),
    fail("e500", Failure::Internal, "500"),
    fail("e502-html", Failure::BadGateway, "502 with a page of HTML from a proxy"),
    fail("e503", Failure::Unavailable, "503"),
    fail("e529", Failure::Overloaded, "529, overloaded"),
    fail("e200-error-body", Failure::WithStatus200, "an error about the key with status 200"),
    fail("e200-html", Failure::SignIn, "a page to sign in, with status 200"),
    Mode { name: "flaky-N", about: "N times 500 for each name, then a text", does: Does::Flaky },
    Mode {
        name: "redirect",
        about: "307 to `/_redirected` of this server, where the log shows who followed",
        does: Does::Redirect,
    },
];

/// What a name asks for, with the number at its end. A name of no mode asks for `text`.
pub(crate) fn find(name: &str) -> (&'static Does, u64) {
    // `provider/mode:tag`, as gateways and Ollama write names.
    let last = name.rsplit('/').next().unwrap_or_default();
    let last = last.split(':').next().unwrap_or_default();
    let number = |mode: &Mode| {
        let digits = last.strip_prefix(mode.name.strip_suffix('N')?)?;
        digits.parse::<u64>().ok().map(|number| number.min(COUNT))
    };
    MODES
        .iter()
        .find_map(|mode| if mode.name == last { Some((&mode.does, 0)) } else { Some((&mode.does, number(mode)?)) })
        .unwrap_or((&Does::Say(Content::Text), 0))
}

#[cfg(test)]
mod tests {
    use super::{COUNT, Content, Delivery, Does, find, modes};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_found_by_their_last_part() {
        assert_eq!(find("cut"), (&Does::Deliver(Delivery::Cut), 0));
        assert_eq!(find("models/cut:latest"), (&Does::Deliver(Delivery::Cut), 0));
        assert_eq!(find("a/b/flaky-3"), (&Does::Flaky, 3));
        assert_eq!(find("tokens-99999999999"), (&Does::Say(Content::Tokens), COUNT));
        for unknown in ["", "gpt-4.1", "flaky-", "flaky-x", "tokens--1", "cut/", ":cut", "Cut"] {
            assert_eq!(find(unknown), (&Does::Say(Content::Text), 0), "{unknown}");
        }
    }

    #[test]
    fn every_mode_is_found_and_described_once() {
        let names: BTreeSet<&str> = modes().iter().map(|mode| mode.name).collect();
        assert_eq!(names.len(), modes().len());
        for mode in modes() {
            assert_eq!(find(&mode.name.replace('N', "2")).0, &mode.does, "{}", mode.name);
            assert!(!mode.about.is_empty() && !mode.about.ends_with('.'), "{}", mode.name);
        }
    }
}
