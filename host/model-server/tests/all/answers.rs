//! What is said in each mode, in every protocol, streamed and whole.

use crate::client::{request, send};
use crate::reading::{FORMS, Form, PROTOCOLS, Protocol, Said};
use cofferdam_model_server::{ModelServer, Options};
use serde_json::{Value, json};

const TEXT: &str = "Grüße, Wörld 😀";
const PARIS: &str = r#"{"city":"Paris"}"#;
const OSLO: &str = r#"{"city":"Oslo"}"#;

/// Mode, text, reasoning, arguments of the calls, how it ends.
pub(crate) const SAID: &[(&str, &str, &str, &[&str], &str)] = &[
    ("text", TEXT, "", &[], "stop"),
    ("an unknown name", TEXT, "", &[], "stop"),
    ("tools-1", "", "", &[PARIS], "calls"),
    ("tools-parallel", "", "", &[PARIS, OSLO], "calls"),
    ("tools-then-text", "", "", &[PARIS], "calls"),
    ("reasoning", TEXT, "Let me think.", &[], "stop"),
    ("thinking-tools", "", "Let me think.", &[PARIS], "calls"),
    ("json-schema", r#"{"answer":"forty-two"}"#, "", &[], "stop"),
    ("length", "Grüße, ", "", &[], "length"),
    ("images", "no images; no files", "", &[], "stop"),
    ("empty", "", "", &[], "stop"),
    ("cached-usage", TEXT, "", &[], "stop"),
    ("tokens-3", "tok tok tok ", "", &[], "stop"),
    ("no-index", "", "", &[PARIS, OSLO], "calls"),
    ("reused-index", "", "", &[PARIS, OSLO], "calls"),
    ("whole-call", "", "", &[PARIS, OSLO], "calls"),
    ("obj-args", "", "", &[PARIS, OSLO], "calls"),
    ("stop-with-calls", "", "", &[PARIS, OSLO], "stop"),
    ("unknown-events", TEXT, "", &[], "stop"),
    ("whole", TEXT, "", &[], "stop"),
    ("keepalive", TEXT, "", &[], "stop"),
    ("crlf", TEXT, "", &[], "stop"),
    ("split-utf8", TEXT, "", &[], "stop"),
];

/// Where a mode makes no sense.
pub(crate) const LACKS: &[(&str, &[Protocol])] = &[
    ("no-index", &[Protocol::Responses, Protocol::Messages, Protocol::Ollama]),
    ("reused-index", &[Protocol::Responses, Protocol::Messages, Protocol::Gemini, Protocol::Ollama]),
    ("content-filter", &[Protocol::Ollama]),
];

fn finish(protocol: Protocol, reason: &str) -> &'static str {
    match (protocol, reason) {
        (Protocol::Chat, "calls") => "tool_calls",
        (Protocol::Chat | Protocol::Ollama, "length") => "length",
        (Protocol::Chat | Protocol::Ollama, _) => "stop",
        (Protocol::Responses, "length") => "max_output_tokens",
        (Protocol::Responses, _) => "completed",
        (Protocol::Messages, "calls") => "tool_use",
        (Protocol::Messages, "length") => "max_tokens",
        (Protocol::Messages, _) => "end_turn",
        (Protocol::Gemini, "length") => "MAX_TOKENS",
        (Protocol::Gemini, _) => "STOP",
    }
}

async fn start() -> ModelServer {
    ModelServer::start(Options::default()).await.unwrap()
}

async fn ask(server: &ModelServer, protocol: Protocol, model: &str, form: Form, more: &Value) -> Said {
    let answer = send(server, &protocol.request(model, form, more)).await.unwrap();
    protocol.read(&answer)
}

#[tokio::test]
async fn every_mode_says_the_same_in_every_protocol() {
    let server = start().await;
    for protocol in PROTOCOLS {
        for form in FORMS {
            for (mode, text, thought, calls, reason) in SAID {
                let model = mode.replace(' ', "-");
                if LACKS.iter().any(|(lacking, protocols)| lacking == mode && protocols.contains(&protocol)) {
                    continue;
                }
                let found = ask(&server, protocol, &model, form, &json!({})).await;
                let usage = match (*mode, protocol) {
                    ("cached-usage", Protocol::Messages) => (4, 9),
                    ("tokens-3", _) => (20, 3),
                    _ => (20, 9),
                };
                let expected = Said {
                    text: (*text).to_owned(),
                    thought: (*thought).to_owned(),
                    refusal: String::new(),
                    calls: calls.iter().map(|call| ("get_weather".to_owned(), (*call).to_owned())).collect(),
                    finish: finish(protocol, reason).to_owned(),
                    usage: Some(usage),
                    is_ended: true,
                };
                assert_eq!(found, expected, "{protocol:?} {form:?} {mode}");
            }
        }
    }
}

#[tokio::test]
async fn modes_that_make_no_sense_say_so() {
    let server = start().await;
    for (mode, protocols) in LACKS {
        for protocol in *protocols {
            let answer = send(&server, &protocol.request(mode, Form::Stream, &json!({}))).await.unwrap();
            assert_eq!(answer.status, 400, "{protocol:?} {mode}");
            assert!(answer.text().contains("makes no sense in this protocol"), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn refusals_and_filters_are_those_of_the_protocol() {
    let server = start().await;
    let no = "I cannot help with that.";
    let begun = "Grüße, ";
    let cases = [
        (Protocol::Chat, "refusal", "", no, "stop"),
        (Protocol::Chat, "content-filter", begun, "", "content_filter"),
        (Protocol::Responses, "refusal", "", no, "completed"),
        (Protocol::Responses, "content-filter", begun, "", "content_filter"),
        (Protocol::Messages, "refusal", no, "", "refusal"),
        (Protocol::Messages, "content-filter", begun, "", "refusal"),
        (Protocol::Gemini, "refusal", no, "", "SAFETY"),
        (Protocol::Gemini, "content-filter", "", "", "SAFETY"),
        (Protocol::Ollama, "refusal", no, "", "stop"),
    ];
    for (protocol, mode, text, refusal, reason) in cases {
        for form in FORMS {
            let found = ask(&server, protocol, mode, form, &json!({})).await;
            assert_eq!((found.text.as_str(), found.refusal.as_str()), (text, refusal), "{protocol:?} {form:?} {mode}");
            assert_eq!((found.finish.as_str(), found.is_ended), (reason, true), "{protocol:?} {form:?} {mode}");
        }
    }
}

#[tokio::test]
async fn broken_arguments_are_broken_as_the_protocol_can() {
    let server = start().await;
    for protocol in [Protocol::Chat, Protocol::Responses, Protocol::Messages] {
        for form in FORMS {
            let found = ask(&server, protocol, "bad-json-args", form, &json!({})).await;
            assert_eq!(
                found.calls,
                [("get_weather".to_owned(), r#"{"city": oops"#.to_owned())],
                "{protocol:?} {form:?}"
            );
        }
    }
    for form in FORMS {
        let found = ask(&server, Protocol::Gemini, "bad-json-args", form, &json!({})).await;
        assert_eq!((found.calls.len(), found.finish.as_str()), (0, "MALFORMED_FUNCTION_CALL"));
        let answer = send(&server, &Protocol::Ollama.request("bad-json-args", form, &json!({}))).await.unwrap();
        assert!(answer.text().contains("error parsing tool call"), "{}", answer.text());
        assert_eq!(answer.status, if form == Form::Stream { 200 } else { 500 });
    }
}

#[tokio::test]
async fn usage_may_be_missing_or_not_asked_for() {
    let server = start().await;
    for protocol in PROTOCOLS {
        for form in FORMS {
            assert_eq!(
                ask(&server, protocol, "usage-none", form, &json!({})).await.usage,
                None,
                "{protocol:?} {form:?}"
            );
        }
    }
    let unasked = json!({ "stream_options": null });
    assert_eq!(ask(&server, Protocol::Chat, "text", Form::Stream, &unasked).await.usage, None);
}

#[tokio::test]
async fn an_echo_is_the_body() {
    let server = start().await;
    for protocol in PROTOCOLS {
        for form in FORMS {
            let found = ask(&server, protocol, "echo-request", form, &json!({"more": ["ä", "\u{1}"]})).await;
            let echoed: Value = serde_json::from_str(&found.text).unwrap();
            assert_eq!(echoed, server.requests().last().unwrap().json(), "{protocol:?} {form:?}");
        }
    }
}

#[tokio::test]
async fn calls_and_documents_fit_what_was_sent() {
    let server = start().await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let function = json!({"name": "count", "parameters": schema});
    for (protocol, tools, format) in [
        (
            Protocol::Chat,
            json!([{"type": "function", "function": function}]),
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}),
        ),
        (
            Protocol::Responses,
            json!([{"type": "function", "name": "count", "parameters": schema}]),
            json!({"text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}),
        ),
        (
            Protocol::Messages,
            json!([{"name": "count", "input_schema": schema}]),
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
        ),
        (
            Protocol::Gemini,
            json!([{"functionDeclarations": [{"name": "count", "parametersJsonSchema": schema}]}]),
            json!({"generationConfig": {"responseJsonSchema": schema}}),
        ),
        (Protocol::Ollama, json!([{"type": "function", "function": function}]), json!({ "format": schema })),
    ] {
        let found = ask(&server, protocol, "tools-1", Form::Stream, &json!({ "tools": tools })).await;
        assert_eq!(found.calls, [("count".to_owned(), r#"{"n":42}"#.to_owned())], "{protocol:?}");
        let found = ask(&server, protocol, "json-schema", Form::Stream, &format).await;
        assert_eq!(found.text, r#"{"n":42}"#, "{protocol:?}");
    }
}

/// The second request of a conversation: what the first one answered, and the result of its call.
fn second(protocol: Protocol, first: &Value, signature: &str) -> Value {
    let user = json!({"role": "user", "content": "Hello"});
    match protocol {
        Protocol::Chat => {
            let result = json!({"role": "tool", "tool_call_id": "call_a", "content": "18C"});
            json!({"messages": [user, first["choices"][0]["message"], result]})
        }
        Protocol::Responses => {
            let mut input = vec![user];
            input.extend(first["output"].as_array().unwrap().clone());
            input.push(json!({"type": "function_call_output", "call_id": "call_a", "output": "18C"}));
            let at = input.len() - 3;
            if let Some(sealed) = input[at].get_mut("encrypted_content") {
                *sealed = json!(signature);
            }
            json!({ "input": input })
        }
        Protocol::Messages => {
            let mut content = first["content"].clone();
            if let Some(signed) = content[0].get_mut("signature") {
                *signed = json!(signature);
            }
            let result =
                json!({"type": "tool_result", "tool_use_id": "toolu_a", "content": [{"type": "text", "text": "18C"}]});
            json!({"messages": [user, {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]})
        }
        Protocol::Gemini => {
            let mut content = first["candidates"][0]["content"].clone();
            for part in content["parts"].as_array_mut().unwrap() {
                if let Some(signed) = part.get_mut("thoughtSignature") {
                    *signed = json!(signature);
                }
            }
            let result =
                json!({"functionResponse": {"id": "fc_a", "name": "get_weather", "response": {"output": "18C"}}});
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}, content, {"role": "user", "parts": [result]}]})
        }
        Protocol::Ollama => {
            json!({"messages": [user, first["message"], {"role": "tool", "tool_name": "get_weather", "content": "18C"}]})
        }
    }
}

#[tokio::test]
async fn results_of_tools_are_quoted_and_signatures_missed() {
    let server = start().await;
    let signature = "c2lnbmF0dXJlIG9mIHRoZSBtb2RlbCBzZXJ2ZXI=";
    for protocol in PROTOCOLS {
        for form in FORMS {
            let first = send(&server, &protocol.request("tools-then-text", Form::Whole, &json!({}))).await.unwrap();
            let more = second(protocol, &first.json(), signature);
            let found = ask(&server, protocol, "tools-then-text", form, &more).await;
            assert_eq!(found.text, "The tool said: 18C", "{protocol:?}");
            let again = ask(&server, protocol, "tools-1", form, &more).await;
            assert_eq!(again.calls.len(), 1, "{protocol:?}: it calls again");

            let first =
                send(&server, &protocol.request("thinking-tools", Form::Whole, &json!({}))).await.unwrap().json();
            let kept = ask(&server, protocol, "thinking-tools", form, &second(protocol, &first, signature)).await;
            let has_none = matches!(protocol, Protocol::Chat | Protocol::Ollama);
            assert_eq!(kept.text, if has_none { "no signature to keep" } else { "signature kept" });
            let changed = protocol.request("thinking-tools", form, &second(protocol, &first, "c2ln"));
            let changed = send(&server, &changed).await.unwrap();
            assert_eq!(changed.status, if has_none { 200 } else { 400 }, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn requests_that_no_provider_takes_are_400() {
    let server = start().await;
    let user = json!({"role": "user", "content": "Hello"});
    let asked = json!({"role": "assistant", "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "x", "arguments": "{}"}}]});
    let used =
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_a", "name": "x", "input": {}}]});
    let called = json!({"role": "model", "parts": [{"functionCall": {"name": "x", "args": {}}}]});
    let old = json!([{"functionDeclarations": [{"name": "x", "parameters": {"type": "object", "properties": {"a": {"additionalProperties": false}}}}]}]);
    let cases = [
        (Protocol::Chat, json!({"messages": []})),
        (Protocol::Chat, json!({"messages": [user, asked]})),
        (Protocol::Chat, json!({"messages": [user, asked, user]})),
        (Protocol::Chat, json!({"messages": [user, {"role": "tool", "tool_call_id": "call_a", "content": ""}]})),
        (Protocol::Responses, json!({"input": null})),
        (Protocol::Responses, json!({"input": [{"type": "function_call_output", "call_id": "call_a", "output": ""}]})),
        (
            Protocol::Responses,
            json!({"input": [{"type": "function_call", "call_id": "call_a", "name": "x", "arguments": ""}]}),
        ),
        (Protocol::Messages, json!({"max_tokens": null})),
        (Protocol::Messages, json!({"messages": [user, used]})),
        (Protocol::Messages, json!({"messages": [user, used, user]})),
        (Protocol::Messages, json!({"messages": [{"role": "tool", "content": "x"}]})),
        (
            Protocol::Messages,
            json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]}),
        ),
        (Protocol::Gemini, json!({"contents": []})),
        (Protocol::Gemini, json!({"contents": [called, {"role": "user", "parts": [{"text": "x"}]}]})),
        (Protocol::Gemini, json!({ "tools": old })),
        (Protocol::Ollama, json!({"model": ""})),
    ];
    for (protocol, more) in cases {
        let answer = send(&server, &protocol.request("text", Form::Stream, &more)).await.unwrap();
        assert_eq!(answer.status, 400, "{protocol:?} {more}: {}", answer.text());
    }
    let newest = "anthropic-version: 2026-10-21\r\n";
    let cited = json!({"role": "user", "content": [{"type": "text", "text": "x", "citations": []}]});
    let document = json!({"role": "assistant", "content": [{"type": "document"}]});
    let cases = [
        ("", user.clone(), json!(null), 400),
        (newest, user.clone(), json!(1.0), 400),
        ("anthropic-version: 2023-06-01\r\n", user.clone(), json!(1.0), 200),
        (newest, cited, json!(null), 400),
        (newest, document, json!(null), 400),
        (newest, user.clone(), json!(null), 200),
    ];
    for (headers, message, temperature, status) in cases {
        let mut body = json!({"model": "text", "max_tokens": 9, "messages": [user, message]});
        if temperature.is_number() {
            body["temperature"] = temperature;
        }
        let answer = send(&server, &request("POST", "/v1/messages", headers, &body.to_string())).await.unwrap();
        assert_eq!(answer.status, status, "{headers} {body}");
    }
}
