//! What is expected of the modes in which the server refuses, or sends one elsewhere.
//!
//! It must not check anything.

use crate::expected::{
    ALL, ANTHROPIC, BEGUN, CHAT, GEMINI, OLLAMA, RESPONSES, Row, TEXT, Text, WITH_HEADERS, Waits, fails, says,
};
use Api::{Anthropic, Chat, Gemini, Responses};
use cofferdam_core::fault::Class;
use cofferdam_llm::Api;

const KEY: &str = "give provider `acme` a valid key in the settings";
const SLOWER: &str = "lower `maxConcurrency`, or raise `maxRetries`";
const OVERLOADED: &str = "overloaded; try again later";
const ELSEWHERE: &str = "something else than the provider may have answered";

/// What the server refuses.
pub(crate) const REFUSED: &[Row] = &[
    fails("e400", &[Chat, Responses], "model_bad_request", 400).message("Unknown parameter: 'x'"),
    fails("e400", ANTHROPIC, "model_bad_request", 400).message("x: Extra inputs are not permitted"),
    fails("e400", GEMINI, "model_bad_request", 400).message("Unknown name \"x\""),
    fails("e400", OLLAMA, "model_bad_request", 400).message("invalid options: x"),
    fails("e401", &[Chat, Responses], "model_auth", 401).message("Incorrect API key provided: sk-test-***").hint(KEY),
    fails("e401", ANTHROPIC, "model_auth", 401).message("invalid x-api-key").hint(KEY),
    fails("e401", GEMINI, "model_auth", 401).message("invalid authentication credentials").hint(KEY),
    fails("e401", OLLAMA, "model_auth", 401).message("unauthorized").hint(KEY),
    fails("e403", ALL, "model_auth", 403).hint(KEY),
    fails("e404", &[Chat, Responses, Anthropic, Gemini], "model_not_found", 404).hint("check the model's name: `e404`"),
    fails("e404", OLLAMA, "model_not_found", 404).hint("`ollama pull e404`"),
    fails("e413", ALL, "model_bad_request", 413).hint("less input"),
    fails("e422", ALL, "model_bad_request", 422),
    fails("e429-after", ALL, "model_rate_limited", 429).hint(SLOWER).retried(Waits::Asked(7_000)),
    fails("e429-date", WITH_HEADERS, "model_rate_limited", 429).hint(SLOWER).retried(Waits::Until(7_000)),
    fails("e429-date", GEMINI, "model_rate_limited", 429).hint(SLOWER).retried(Waits::Asked(7_000)),
    fails("e429-ms", ALL, "model_rate_limited", 429).hint(SLOWER).retried(Waits::Asked(250)),
    // More than anybody waits: another model, or a person, must decide.
    fails("e429-hours", ALL, "model_rate_limited", 429).class(Class::Step).hint("asks to wait 7200 s"),
    fails("e429-none", ALL, "model_rate_limited", 429).hint(SLOWER).retried(Waits::Own),
    fails("e429-quota", &[Chat, Responses, Gemini], "model_quota", 429).message("current quota").hint("top it up"),
    fails("e429-quota", ANTHROPIC, "model_quota", 429).message("monthly spend limit").hint("top it up"),
    fails("e429-quota", OLLAMA, "model_quota", 429).message("weekly usage limit").hint("top it up"),
    fails("e500", ALL, "model_unavailable", 500).retried(Waits::Own),
    fails("e502-html", ALL, "model_unavailable", 502)
        .message("an HTML page: 502 Bad Gateway")
        .hint(ELSEWHERE)
        .retried(Waits::Own),
    fails("e503", ALL, "model_unavailable", 503).hint(OVERLOADED).retried(Waits::Own),
    fails("e529", ALL, "model_unavailable", 529).hint(OVERLOADED).retried(Waits::Own),
    fails("e200-error-body", CHAT, "model_auth", 200).message("sk-test-***").hint(KEY),
    fails("e200-error-body", RESPONSES, "model_auth", 200).message("sk-test-***").hint(KEY),
    fails("e200-error-body", ANTHROPIC, "model_auth", 200).message("invalid x-api-key").hint(KEY),
    fails("e200-error-body", GEMINI, "model_auth", 200).message("API key not valid").hint(KEY),
    fails("e200-error-body", OLLAMA, "model_auth", 200).message("unauthorized").hint(KEY),
    fails("e200-html", ALL, "model_protocol", 200).message("an HTML page: Sign in").hint(ELSEWHERE),
    says("flaky-N", ALL, TEXT).retried(Waits::Own),
    fails("redirect", ALL, "model_not_configured", 0).message("redirects (307)").hint("check the base URL"),
];

/// Answers without an end: they are read up to the bound, which takes a while.
pub(crate) const ENDLESS: &[Row] = &[fails("huge-body", ALL, "model_answer_too_large", 200)
    .text(Text::Endless(BEGUN))
    .message("larger than 67108864 bytes")
    .hint("maxTokens")];
