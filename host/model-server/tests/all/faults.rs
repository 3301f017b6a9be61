//! How each mode fails, in every protocol, streamed and whole.

use crate::answers::{LACKS, SAID};
use crate::client::{End, connect, request, send};
use crate::reading::{FORMS, Form, PROTOCOLS, Protocol};
use cofferdam_model_server::{ModelServer, Options, modes};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};

/// Mode, status, and what identifies the error in each protocol: `error.code` or `type`, `error.type`, `error.status`.
const FAILED: &[(&str, u16, &str, &str, &str)] = &[
    ("e400", 400, "unknown_parameter", "invalid_request_error", "INVALID_ARGUMENT"),
    ("e401", 401, "invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    ("e403", 403, "unsupported_country_region_territory", "permission_error", "PERMISSION_DENIED"),
    ("e404", 404, "model_not_found", "not_found_error", "NOT_FOUND"),
    ("e413", 413, "request_too_large", "request_too_large", "INVALID_ARGUMENT"),
    ("e422", 422, "invalid_request_error", "invalid_request_error", "FAILED_PRECONDITION"),
    ("e429-after", 429, "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    ("e429-date", 429, "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    ("e429-ms", 429, "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    ("e429-hours", 429, "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    ("e429-none", 429, "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    ("e429-quota", 429, "credit_balance_exhausted", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    ("e500", 500, "server_error", "api_error", "INTERNAL"),
    ("e503", 503, "server_is_overloaded", "api_error", "UNAVAILABLE"),
    ("e529", 529, "server_error", "overloaded_error", "UNAVAILABLE"),
    ("e200-error-body", 200, "invalid_api_key", "authentication_error", "INVALID_ARGUMENT"),
];

/// Mode, and how the connection ends, streamed and whole.
const ENDED: &[(&str, End, End)] = &[
    ("no-done", End::Complete, End::Complete),
    ("eof", End::Complete, End::Complete),
    ("cut", End::Cut, End::Cut),
    ("cut-call", End::Cut, End::Cut),
    ("rst", End::Reset, End::Reset),
    ("garbage", End::Complete, End::Complete),
    ("headers-only", End::Complete, End::Complete),
    ("huge-line", End::Complete, End::Complete),
    ("gzip", End::Complete, End::Complete),
    ("mid-error", End::Complete, End::Complete),
];

/// Modes that have a test of their own here or in `answers`.
const APART: &[&str] = &[
    "bad-json-args",
    "content-filter",
    "done-only",
    "e200-html",
    "e502-html",
    "echo-request",
    "failed",
    "flaky-N",
    "huge-body",
    "nothing",
    "redirect",
    "refusal",
    "slow-drip",
    "stall-body",
    "stall-headers",
    "usage-none",
];

async fn start() -> ModelServer {
    ModelServer::start(Options::default()).await.unwrap()
}

#[test]
fn every_mode_is_in_a_table() {
    let said = SAID.iter().map(|row| row.0.replace("tokens-3", "tokens-N")).filter(|name| !name.contains(' '));
    let tables = said
        .chain(LACKS.iter().map(|row| row.0.to_owned()))
        .chain(FAILED.iter().map(|row| row.0.to_owned()))
        .chain(ENDED.iter().map(|row| row.0.to_owned()))
        .chain(APART.iter().map(|name| (*name).to_owned()));
    let tested: BTreeSet<String> = tables.collect();
    let known: BTreeSet<String> = modes().iter().map(|mode| mode.name.to_owned()).collect();
    assert_eq!(tested, known);
}

#[tokio::test]
async fn errors_have_the_words_of_their_protocol() {
    let server = start().await;
    for (mode, status, openai, anthropic, google) in FAILED {
        for protocol in PROTOCOLS {
            for form in FORMS {
                let answer = send(&server, &protocol.request(mode, form, &json!({}))).await.unwrap();
                let name = format!("{protocol:?} {form:?} {mode}");
                assert_eq!(answer.status, *status, "{name}");
                let body = answer.json();
                match protocol {
                    Protocol::Chat | Protocol::Responses => {
                        let error = &body["error"];
                        let words = [&error["code"], &error["type"]];
                        assert!(words.iter().any(|word| word == openai), "{name}: {body}");
                        assert!(error["message"].is_string() && error.get("param").is_some(), "{name}: {body}");
                        assert!(answer.header("x-request-id").unwrap().starts_with("req_"), "{name}");
                        assert!(answer.header("x-ratelimit-remaining-tokens").is_some(), "{name}");
                    }
                    Protocol::Messages => {
                        assert_eq!(
                            (&body["type"], &body["error"]["type"]),
                            (&json!("error"), &json!(anthropic)),
                            "{name}"
                        );
                        assert_eq!(answer.header("request-id"), body["request_id"].as_str(), "{name}");
                        assert!(answer.header("anthropic-ratelimit-requests-reset").unwrap().ends_with('Z'), "{name}");
                    }
                    Protocol::Gemini => {
                        assert_eq!(body["error"]["status"], *google, "{name}");
                        assert_eq!(body["error"]["code"], if *status == 200 { 400 } else { *status }, "{name}");
                    }
                    Protocol::Ollama => assert!(body["error"].is_string(), "{name}: {body}"),
                }
                assert!(!answer.text().contains("sk-secret-key"), "{name}: it tells the key");
            }
        }
    }
}

#[tokio::test]
async fn rate_limits_say_how_long_to_wait_where_clients_look() {
    let server = start().await;
    let cases = [
        ("e429-after", Some("7"), None, Some("7s")),
        ("e429-ms", Some("9"), Some("250"), Some("0.250s")),
        ("e429-hours", Some("7200"), None, Some("7200s")),
        ("e429-none", None, None, None),
    ];
    for (mode, seconds, milliseconds, delay) in cases {
        for protocol in PROTOCOLS {
            let answer = send(&server, &protocol.request(mode, Form::Stream, &json!({}))).await.unwrap();
            let found = (answer.header("retry-after"), answer.header("retry-after-ms"));
            if protocol == Protocol::Gemini {
                let body = answer.json();
                assert_eq!(body.pointer("/error/details/1/retryDelay").and_then(Value::as_str), delay, "{mode}");
                assert_eq!(found, (None, None), "{mode}");
            } else {
                assert_eq!(found, (seconds, milliseconds), "{protocol:?} {mode}");
            }
        }
    }
    let dated = send(&server, &Protocol::Chat.request("e429-date", Form::Stream, &json!({}))).await.unwrap();
    assert!(dated.header("retry-after").unwrap().ends_with(" GMT"));
    let quota = send(&server, &Protocol::Messages.request("e429-quota", Form::Stream, &json!({}))).await.unwrap();
    assert_eq!(quota.json()["error"]["details"]["error_code"], "enforced_spend_limit_reached");
    assert_eq!(quota.header("retry-after"), None);
    let quota = send(&server, &Protocol::Gemini.request("e429-quota", Form::Stream, &json!({}))).await.unwrap();
    assert!(quota.text().contains("PerDay") && !quota.text().contains("retryDelay"));
}

#[tokio::test]
async fn connections_end_as_their_mode_says() {
    let server = start().await;
    for (mode, streamed, whole) in ENDED {
        for protocol in PROTOCOLS {
            for (form, end) in [(Form::Stream, streamed), (Form::Whole, whole)] {
                let name = format!("{protocol:?} {form:?} {mode}");
                let answer = send(&server, &protocol.request(mode, form, &json!({}))).await.unwrap();
                assert_eq!(answer.end, *end, "{name}");
                if matches!(*mode, "rst") {
                    // What was sent before may be lost with the reset.
                    continue;
                }
                check(protocol, form, mode, &answer, &name);
            }
        }
    }
}

fn check(protocol: Protocol, form: Form, mode: &str, answer: &crate::client::Answer, name: &str) {
    let bytes = answer.bytes();
    match (mode, form) {
        ("gzip", _) => {
            assert_eq!(answer.header("content-encoding"), Some("gzip"), "{name}");
            let mut text = String::new();
            GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
            assert!(text.contains("Wörld 😀"), "{name}: {text}");
        }
        ("headers-only", _) => assert!(bytes.is_empty(), "{name}"),
        ("huge-line", Form::Stream) => {
            let longest = answer.text().lines().map(str::len).max().unwrap();
            assert!(longest > 2 * 1024 * 1024, "{name}");
            assert!(protocol.read(answer).is_ended, "{name}");
        }
        ("huge-line", Form::Whole) => assert!(bytes.len() > 2 * 1024 * 1024, "{name}"),
        ("mid-error", Form::Whole) => assert_eq!(answer.status, 500, "{name}"),
        ("no-done", Form::Whole) => assert!(protocol.read(answer).is_ended, "{name}"),
        ("garbage", _) => assert!(answer.text().contains("{not json}"), "{name}"),
        (_, Form::Whole) => assert!(serde_json::from_slice::<Value>(&bytes).is_err(), "{name}: half a document"),
        ("mid-error", Form::Stream) if protocol == Protocol::Gemini => {
            assert!(answer.text().contains("\n  \"error\": {\n"), "{name}: {}", answer.text());
        }
        ("mid-error", Form::Stream) => {
            let last = protocol.frames(answer).pop().unwrap();
            assert!(last.get("error").is_some() || last["type"] == "error", "{name}: {last}");
        }
        ("cut-call", Form::Stream) => {
            let text = answer.text();
            assert!(text.contains("get_weather") && !text.contains("Paris"), "{name}: {text}");
        }
        (_, Form::Stream) => {
            let found = protocol.read(answer);
            assert!(!found.is_ended, "{name}");
            assert_eq!(found.text.contains("Wörld"), mode == "no-done", "{name}");
            assert!(found.text.starts_with("Grüße"), "{name}");
        }
    }
}

#[tokio::test]
async fn an_end_alone_is_one_event() {
    let server = start().await;
    for protocol in PROTOCOLS {
        let answer = send(&server, &protocol.request("done-only", Form::Stream, &json!({}))).await.unwrap();
        let ends = ["[DONE]", "response.completed", "message_stop", "finishReason", "done_reason"];
        assert_eq!(protocol.frames(&answer).len(), 1, "{protocol:?}");
        assert!(ends.iter().any(|end| answer.text().contains(end)), "{protocol:?}: {}", answer.text());
        let answer = send(&server, &protocol.request("done-only", Form::Whole, &json!({}))).await.unwrap();
        assert_eq!((answer.status, answer.json()), (200, json!({})), "{protocol:?}");
    }
}

#[tokio::test]
async fn an_answer_may_say_that_it_failed() {
    let server = start().await;
    for protocol in PROTOCOLS {
        let whole = send(&server, &protocol.request("failed", Form::Whole, &json!({}))).await.unwrap();
        let streamed = send(&server, &protocol.request("failed", Form::Stream, &json!({}))).await.unwrap();
        if protocol == Protocol::Responses {
            let last = protocol.frames(&streamed).pop().unwrap();
            assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("failed")));
            assert_eq!((whole.status, &whole.json()["error"]["code"]), (200, &json!("server_error")));
        } else {
            let error = send(&server, &protocol.request("mid-error", Form::Stream, &json!({}))).await.unwrap();
            assert_eq!(protocol.frames(&streamed).len(), protocol.frames(&error).len(), "{protocol:?}");
            assert_eq!(whole.status, 500, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn silence_lasts_until_the_client_goes() {
    let server = start().await;
    for protocol in PROTOCOLS {
        for form in FORMS {
            assert!(send(&server, &protocol.request("nothing", form, &json!({}))).await.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stalls_have_no_end() {
    let server = start().await;
    let hour = Duration::from_secs(3600);
    for protocol in PROTOCOLS {
        for form in FORMS {
            let mut stream = connect(&server, &protocol.request("stall-headers", form, &json!({}))).await;
            // The clock jumps when nobody has anything to do.
            assert!(timeout(hour, stream.read_u8()).await.is_err(), "{protocol:?} {form:?}");
            let mut stream = connect(&server, &protocol.request("stall-body", form, &json!({}))).await;
            let mut seen = Vec::new();
            let begun = if form == Form::Stream { "Gr\u{fc}\u{df}e" } else { "\r\n\r\n{" };
            while !String::from_utf8_lossy(&seen).contains(begun) {
                seen.push(stream.read_u8().await.unwrap());
            }
            let mut rest = Vec::new();
            assert!(timeout(hour, stream.read_to_end(&mut rest)).await.is_err(), "{protocol:?} {form:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drip_takes_its_time() {
    let drip = Duration::from_secs(60);
    let server = ModelServer::start(Options { drip, ..Options::default() }).await.unwrap();
    for protocol in PROTOCOLS {
        let began = Instant::now();
        let answer = send(&server, &protocol.request("slow-drip", Form::Stream, &json!({}))).await.unwrap();
        let frames = protocol.frames(&answer).len();
        assert!(protocol.read(&answer).is_ended);
        let halves = u32::try_from(frames * 2).unwrap();
        assert!(began.elapsed() >= drip * halves, "{protocol:?}: {frames} events in {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_endless_answer_ends_with_the_client() {
    let server = start().await;
    for protocol in PROTOCOLS {
        for form in FORMS {
            let mut stream = connect(&server, &protocol.request("huge-body", form, &json!({}))).await;
            let mut buffer = vec![0; 1 << 16];
            let mut count = 0;
            while count < 4 << 20 {
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "{protocol:?} {form:?}: it ended");
                count += read;
            }
        }
    }
}

#[tokio::test]
async fn bytes_come_one_by_one() {
    let server = start().await;
    for protocol in PROTOCOLS {
        let answer = send(&server, &protocol.request("split-utf8", Form::Stream, &json!({}))).await.unwrap();
        assert!(answer.chunks.len() > 100 && answer.chunks.iter().all(|chunk| chunk.len() == 1), "{protocol:?}");
    }
}

#[tokio::test]
async fn pages_of_others_are_no_json() {
    let server = start().await;
    for (mode, status, words) in [("e502-html", 502, "502 Bad Gateway"), ("e200-html", 200, "Sign in")] {
        for protocol in PROTOCOLS {
            let answer = send(&server, &protocol.request(mode, Form::Stream, &json!({}))).await.unwrap();
            assert_eq!((answer.status, answer.header("content-type")), (status, Some("text/html")), "{mode}");
            assert!(answer.text().contains(words), "{mode}");
        }
    }
}

#[tokio::test]
async fn flaky_fails_so_often_and_then_no_more() {
    let server = start().await;
    let statuses = async |protocol: Protocol, mode: &str| {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(send(&server, &protocol.request(mode, Form::Stream, &json!({}))).await.unwrap().status);
        }
        statuses
    };
    for protocol in PROTOCOLS {
        assert_eq!(statuses(protocol, "flaky-2").await, [500, 500, 200, 200], "{protocol:?}");
        assert_eq!(statuses(protocol, "flaky-1").await, [500, 200, 200, 200], "{protocol:?}");
        assert_eq!(statuses(protocol, "flaky-0").await, [200; 4], "{protocol:?}");
    }
    server.clear();
    assert_eq!(statuses(Protocol::Chat, "flaky-1").await, [500, 200, 200, 200]);
}

#[tokio::test]
async fn who_follows_a_redirect_is_seen() {
    let server = start().await;
    let answer = send(&server, &Protocol::Chat.request("redirect", Form::Stream, &json!({}))).await.unwrap();
    assert_eq!(answer.status, 307);
    let location = answer.header("location").unwrap().strip_prefix(&server.root()).unwrap().to_owned();
    send(&server, &request("POST", &location, "", "{}")).await.unwrap();
    assert_eq!(server.requests().last().unwrap().path(), "/_redirected");
}
