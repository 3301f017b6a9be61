//! No key gets into a file, whoever says it.

use crate::asking::{CANARY, base_url, names, provider, record, recording, replay, replaying, request, said, server};
use cofferdam_egress::ProviderClient;
use cofferdam_llm::{Api, HttpModel};
use std::path::Path;
use std::sync::Arc;

/// All that stands in a folder; texts of recordings also as they are, so that no escape hides anything.
fn all(folder: &Path) -> String {
    let mut all = String::new();
    for name in names(folder) {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let page: serde_json::Value = serde_json::from_str(&text).unwrap();
        let body = page["body"].as_array().unwrap().iter().filter_map(|piece| piece.as_str());
        all.push_str(&body.collect::<String>());
        all.push_str(&text);
    }
    all
}

#[tokio::test]
async fn a_key_stands_in_no_file_even_if_the_prompt_and_the_answer_repeat_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    for api in Api::ALL {
        for mode in ["text", "echo-request", "e401", "split-utf8"] {
            said(&recording(&server, api, mode, &tape), request(&format!("is {CANARY} my key?"))).await;
        }
    }
    let all = all(folder.path());
    assert!(all.contains("is *** my key?"));
    assert!(!all.contains(CANARY) && !all.contains("canary-0123456789"), "{all}");
    assert!(all.contains("\"authorization\"") && all.contains("\"x-api-key\""), "names of headers are kept");
    assert!(!all.contains("set-cookie") && !all.contains("Bearer"));
}

#[tokio::test]
async fn the_value_of_a_header_stands_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    let mut provider = provider(Api::Chat, &base_url(&server, Api::Chat));
    provider.headers.push(("x-gateway-token".to_owned(), "gateway-secret-1".to_owned().into()));
    let client = ProviderClient::new(&provider.base_url).unwrap();
    let model = HttpModel::new(provider, "echo-request", client, Arc::new(crate::asking::Idle)).taped(tape);
    said(&model, request("my token is gateway-secret-1")).await;
    let all = all(folder.path());
    assert!(!all.contains("gateway-secret-1") && all.contains("\"x-gateway-token\""), "{all}");
}

#[tokio::test]
async fn what_a_long_answer_says_is_the_same_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    let live = said(&recording(&server, Api::Anthropic, "tokens-3000", &tape), request("hello")).await;
    drop(server);
    let again = said(&replaying(Api::Anthropic, "tokens-3000", &replay(folder.path())), request("hello")).await;
    assert_eq!(again, live);
}
