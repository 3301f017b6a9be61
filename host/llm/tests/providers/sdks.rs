//! What we send beside what the official SDKs sent for the same: every difference is listed, with its reason.
//!
//! It must not send anything but to the server, which keeps the bodies. The fixtures are written elsewhere.

use crate::bench::{Bench, ask, request, weather};
use crate::sdks_differ::{DIFFERENCES, Difference, Side};
use cofferdam_core::message::{Attachment, Message, ToolCall};
use cofferdam_core::port::ModelRequest;
use cofferdam_llm::Api;
use cofferdam_llm::provider::TokenField;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The picture of the fixtures.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// The cases of each protocol, and how many requests each has.
const CASES: &[(&str, usize)] =
    &[("text", 1), ("text-whole", 1), ("options", 1), ("tools", 2), ("image", 1), ("schema", 1)];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/online-sdk/fixtures")
}

/// The name that the fixtures have for a protocol.
fn prefix(api: Api) -> &'static str {
    if api == Api::Anthropic { "messages" } else { api.name() }
}

/// The n-th request of a case, as ours.
fn asked(api: Api, case: &str, nth: usize, theirs: &Value) -> ModelRequest {
    let mut asked = request("Hello");
    // The SDK of this protocol cannot leave it out.
    asked.settings.max_tokens = (api == Api::Anthropic).then_some(100);
    match case {
        "options" => {
            asked.messages = Arc::new(vec![Message::system("Be brief."), Message::user("Hello")]);
            (asked.settings.temperature, asked.settings.max_tokens) = (Some(0.5), Some(100));
        }
        "tools" => {
            asked.tools = Arc::from([weather()]);
            if nth == 1 {
                asked.messages = Arc::new(answered(api));
            }
        }
        "image" => {
            let base64 = Arc::from(PICTURE);
            let picture = Attachment { name: "x.png".to_owned(), media_type: "image/png".to_owned(), base64 };
            let said = Message::User { text: Arc::from("What is this?"), attachments: vec![picture] };
            asked.messages = Arc::new(vec![said]);
        }
        // What a step says to one provider alone goes into the body as it is.
        "schema" => {
            let own: Map<String, Value> = ["response_format", "text", "output_config", "generationConfig", "format"]
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), theirs.get(*name)?.clone())))
                .collect();
            assert_eq!(own.len(), 1, "{api:?}");
            let options = json!({ "provider": { "acme": own } });
            asked.settings.options = Arc::new(serde_json::from_value(options).unwrap());
        }
        _ => {}
    }
    asked
}

/// The conversation after two calls.
fn answered(api: Api) -> Vec<Message> {
    let prefix = match api {
        Api::Anthropic => "toolu",
        Api::Gemini => "fc",
        Api::Chat | Api::Responses | Api::Ollama => "call",
    };
    let call = |letter: &str, city: &str| ToolCall {
        id: format!("{prefix}_{letter}"),
        name: "get_weather".to_owned(),
        arguments: format!(r#"{{"city":"{city}"}}"#),
    };
    let tool_calls = vec![call("a", "Paris"), call("b", "Oslo")];
    let results: Vec<Message> = tool_calls
        .iter()
        .zip(["18C", "7C"])
        .map(|(call, text)| Message::Tool {
            call_id: call.id.clone(),
            name: call.name.clone(),
            text: Arc::from(text),
            is_error: false,
        })
        .collect();
    let said = Message::Assistant { text: Arc::from(""), tool_calls, opaque: Vec::new() };
    [vec![Message::user("Hello"), said], results].concat()
}

/// Where two bodies differ, with `*` for the places of lists.
fn differences(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<(String, Value, Value)>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            for name in names {
                let side = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
                differences(&format!("{at}/{name}"), &side(ours), &side(theirs), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (ours, theirs) in ours.iter().zip(theirs) {
                differences(&format!("{at}/*"), ours, theirs, found);
            }
        }
        (ours, theirs) if ours == theirs => {}
        (ours, theirs) => found.push((at.to_owned(), ours.clone(), theirs.clone())),
    }
}

/// The SDK of Google mixes two spellings, of which the protocol takes both; what is inside of schemas and arguments has
/// one.
fn spelled(api: Api, value: Value) -> Value {
    match value {
        Value::Object(map) if api == Api::Gemini => {
            map.into_iter().map(|(name, value)| (camel(&name), spelled(api, value))).collect()
        }
        Value::Array(list) => list.into_iter().map(|value| spelled(api, value)).collect(),
        other => other,
    }
}

/// `mime_type` as `mimeType`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}

fn is_listed(difference: &Difference, (api, case): (Api, &str), (at, ours, theirs): &(String, Value, Value)) -> bool {
    let fits = match difference.side {
        Side::Ours => theirs.is_null(),
        Side::Theirs => ours.is_null(),
        Side::Both(same) => same(ours, theirs),
    };
    difference.api == api && difference.cases.is_none_or(|only| only == case) && difference.at == at && fits
}

#[tokio::test]
async fn bodies_are_those_of_the_official_sdks_but_for_what_is_listed() {
    let mut used = BTreeSet::new();
    let mut unlisted = Vec::new();
    for api in Api::ALL {
        for (case, count) in CASES {
            let name = format!("{}-{case}.json", prefix(api));
            let text = std::fs::read_to_string(fixtures().join(&name)).unwrap();
            let fixture: Vec<Value> = serde_json::from_str(&text).unwrap();
            assert_eq!(fixture.len(), *count, "{name}");
            for (nth, theirs) in fixture.iter().enumerate() {
                for found in compared(api, case, nth, theirs).await {
                    let listed = DIFFERENCES.iter().position(|listed| is_listed(listed, (api, case), &found));
                    match listed {
                        Some(place) => drop(used.insert(place)),
                        None => unlisted.push(format!("{name} {nth}: {}: {}, SDK: {}", found.0, found.1, found.2)),
                    }
                }
            }
        }
    }
    assert!(unlisted.is_empty(), "\n{}", unlisted.join("\n"));
    for (place, listed) in DIFFERENCES.iter().enumerate() {
        assert!(used.contains(&place), "{:?} `{}` differs no more: {}", listed.api, listed.at, listed.because);
    }
}

/// The differences of one request.
async fn compared(api: Api, case: &str, nth: usize, theirs: &Value) -> Vec<(String, Value, Value)> {
    let bench = Bench::new().await;
    let mut provider = bench.provider(api);
    provider.token_field = TokenField::MaxCompletionTokens;
    provider.api_version = (api == Api::Gemini).then(|| "v1".to_owned());
    let mode = if case == "tools" { "tools-parallel" } else { "text" };
    let model = bench.model_of(provider, mode);
    assert!(ask(&model, asked(api, case, nth, &theirs["body"])).await.end.is_ok(), "{api:?} {case}");
    let ours = bench.sent().pop().unwrap();
    let mut found = Vec::new();
    let header = |name: &str| ours.header(name).map_or(Value::Null, Value::from);
    let head = |path: Value, version: Value, kind: Value| json!({ "path": path, "version": version, "type": kind });
    let headers = &theirs["headers"];
    differences(
        "",
        &head(json!(ours.path()), header("anthropic-version"), header("content-type")),
        &head(theirs["path"].clone(), headers["anthropic-version"].clone(), headers["content-type"].clone()),
        &mut found,
    );
    differences("", &ours.json(), &spelled(api, theirs["body"].clone()), &mut found);
    found
}

#[test]
fn every_fixture_of_the_sdks_has_a_case() {
    let known: BTreeSet<String> =
        Api::ALL.iter().flat_map(|api| CASES.iter().map(|(case, _)| format!("{}-{case}.json", prefix(*api)))).collect();
    let there = std::fs::read_dir(fixtures()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), known);
}
