//! What is expected of the modes in which the server answers, and of those that damage an answer on the way.
//!
//! It must not check anything.

use crate::expected::{
    ALL, ANTHROPIC, BEGUN, CHAT, GEMINI, OLLAMA, OSLO, PARIS, RESPONSES, Row, TEXT, Text, Waits, calls, ends, fails,
    says,
};
use Api::{Anthropic, Chat, Gemini, Ollama, Responses};
use cofferdam_core::port::FinishReason::{ContentFilter, Length, Refusal};
use cofferdam_llm::Api;

const REFUSED: &str = "I cannot help with that.";
/// What a mode leads to in a protocol that has no words for it.
const SENSELESS: &str = "makes no sense in this protocol";
const BROKEN_OFF: &str = "broke off";
const SPEAKS: &str = "speak";
const BASE_URL: &str = "check the base URL `http://127.0.0.1:";

/// What the server means to say.
pub(crate) const SAID: &[Row] = &[
    says("text", ALL, TEXT),
    says("echo-request", ALL, "").text(Text::OfTheRequest),
    says("images", ALL, "no images; no files"),
    says("json-schema", ALL, r#"{"answer":"forty-two"}"#),
    calls("tools-1", ALL, &[PARIS]),
    calls("tools-parallel", ALL, &[PARIS, OSLO]),
    calls("tools-then-text", ALL, &[PARIS]),
    says("reasoning", &[Chat, Responses, Gemini], TEXT).thinks(5),
    says("reasoning", &[Anthropic, Ollama], TEXT).thinks(0),
    calls("thinking-tools", &[Chat, Responses, Gemini], &[PARIS]).thinks(5),
    calls("thinking-tools", &[Anthropic, Ollama], &[PARIS]).thinks(0),
    ends("refusal", &[Chat, Responses, Anthropic], Refusal, REFUSED),
    ends("refusal", GEMINI, ContentFilter, REFUSED),
    says("refusal", OLLAMA, REFUSED),
    ends("length", ALL, Length, BEGUN),
    ends("content-filter", &[Chat, Responses], ContentFilter, BEGUN),
    ends("content-filter", ANTHROPIC, Refusal, BEGUN),
    fails("content-filter", GEMINI, "model_bad_request", 200).message("blocked the prompt: SAFETY").hint("other words"),
    fails("content-filter", OLLAMA, "model_bad_request", 400).message(SENSELESS),
    says("empty", ALL, ""),
    says("usage-none", ALL, TEXT).without_usage(),
    says("cached-usage", &[Chat, Responses, Anthropic], TEXT).cached(12, 4),
    says("cached-usage", GEMINI, TEXT).cached(12, 0),
    says("cached-usage", OLLAMA, TEXT),
    says("tokens-N", ALL, "tok tok ").tokens(2),
    // What is no JSON stays as it was written: the host answers the call with an error.
    calls("bad-json-args", &[Chat, Responses, Anthropic], &[r#"{"city": oops"#]),
    fails("bad-json-args", GEMINI, "model_protocol", 200).message("MALFORMED_FUNCTION_CALL").hint("trying again"),
    fails("bad-json-args", OLLAMA, "model_unavailable", 200).message("error parsing tool call").retried(Waits::Own),
];

/// How answers are bent.
pub(crate) const BENT: &[Row] = &[
    calls("no-index", &[Chat, Gemini], &[PARIS, OSLO]),
    fails("no-index", &[Responses, Anthropic, Ollama], "model_bad_request", 400).message(SENSELESS),
    calls("reused-index", CHAT, &[PARIS, OSLO]),
    fails("reused-index", &[Responses, Anthropic, Gemini, Ollama], "model_bad_request", 400).message(SENSELESS),
    calls("whole-call", ALL, &[PARIS, OSLO]),
    calls("obj-args", ALL, &[PARIS, OSLO]),
    calls("stop-with-calls", ALL, &[PARIS, OSLO]),
    says("unknown-events", ALL, TEXT),
];

/// What becomes of answers on the way.
pub(crate) const DELIVERED: &[Row] = &[
    says("whole", ALL, TEXT),
    says("keepalive", ALL, TEXT),
    says("crlf", ALL, TEXT),
    says("split-utf8", ALL, TEXT),
    says("gzip", ALL, TEXT),
    says("slow-drip", ALL, TEXT),
    // Where the reason to end came before the mark that is missing, the answer is complete.
    says("no-done", &[Chat, Anthropic], TEXT),
    fails("no-done", &[Responses, Gemini, Ollama], "model_truncated", 200).after(TEXT).hint("trying again may help"),
    // The last event of these has all that the others had.
    says("done-only", RESPONSES, TEXT),
    says("done-only", &[Gemini, Ollama], ""),
    fails("done-only", &[Chat, Anthropic], "model_protocol", 200).message("ended its answer without one").hint(SPEAKS),
    fails("eof", ALL, "model_truncated", 200)
        .after(BEGUN)
        .message("stopped in the middle")
        .hint("trying again may help"),
    fails("cut", ALL, "model_truncated", 200).after(BEGUN).message(BROKEN_OFF).hint("trying again may help"),
    fails("cut-call", &[Chat, Responses, Anthropic], "model_truncated", 200)
        .message(BROKEN_OFF)
        .hint("trying again may help"),
    // Nothing was seen of it: the call is in the first event.
    fails("cut-call", &[Gemini, Ollama], "model_truncated", 200)
        .message(BROKEN_OFF)
        .hint("trying again may help")
        .retried(Waits::Own),
    fails("rst", ALL, "model_truncated", 200).after(BEGUN).message(BROKEN_OFF).hint("trying again may help"),
    fails("mid-error", &[Chat, Responses], "model_unavailable", 200).after(BEGUN).message("The server had an error"),
    fails("mid-error", ANTHROPIC, "model_unavailable", 200).after(BEGUN).message("Overloaded"),
    fails("mid-error", GEMINI, "model_unavailable", 200).after(BEGUN).message("An internal error has occurred"),
    fails("mid-error", OLLAMA, "model_unavailable", 200).after(BEGUN).message("CUDA error"),
    fails("failed", RESPONSES, "model_unavailable", 200).after(BEGUN).message("failed to generate a response"),
    fails("failed", &[Chat, Anthropic, Gemini, Ollama], "model_unavailable", 200).after(BEGUN),
    fails("garbage", ALL, "model_protocol", 200).after(BEGUN).message("no piece of an answer").hint(SPEAKS),
    fails("nothing", ALL, "model_unavailable", 0).message("cannot be reached").hint(BASE_URL).retried(Waits::Own),
    fails("headers-only", ALL, "model_truncated", 200).hint("trying again may help").retried(Waits::Own),
    fails("stall-headers", ALL, "model_timeout", 0)
        .message("no response within 200ms")
        .hint("still load")
        .retried(Waits::Own),
    fails("stall-body", ALL, "model_timeout", 200)
        .after(BEGUN)
        .message("no further data within 200ms")
        .hint("still load"),
    fails("huge-line", &[Chat, Responses, Anthropic, Gemini], "model_answer_too_large", 200)
        .message("a line of more than 1048576 bytes")
        .hint("maxTokens"),
    // A line is an event in this protocol, and the bound of events is twice as large.
    says("huge-line", OLLAMA, "").text(Text::Letters('x', 2 * 1024 * 1024)),
];
