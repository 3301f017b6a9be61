//! What was recorded comes again, event by event, with nobody there to ask.

use crate::asking::{CANARY, Covered, fault, names, record, recording, replay, replaying, request, said, server};
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{Model as _, ModelEvent, Models as _};
use cofferdam_llm::{Api, ModelCatalog};
use futures_util::StreamExt as _;
use std::sync::Arc;

const MODES: &[&str] = &[
    "text",
    "tools-parallel",
    "reasoning",
    "thinking-tools",
    "flaky-2",
    "flaky-9",
    "e429-ms",
    "e429-date",
    "e429-hours",
    "e401",
    "e500",
    "e502-html",
    "e200-error-body",
    "mid-error",
    "cut",
    "rst",
    "eof",
    "no-done",
    "split-utf8",
    "gzip",
    "nothing",
    "headers-only",
    "stall-headers",
    "stall-body",
    "redirect",
    "whole",
    "garbage",
    "huge-line",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_says_the_same_again_without_a_server_a_key_or_a_clock() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    let mut recorded = Vec::new();
    for api in Api::ALL {
        for mode in MODES {
            server.clear();
            recorded.push(said(&recording(&server, api, mode, &tape), request("hello")).await);
        }
    }
    assert!(tape.take_trouble().is_none());
    drop(server);
    let tape = replay(folder.path());
    let mut recorded = recorded.into_iter();
    for api in Api::ALL {
        for mode in MODES {
            let again = said(&replaying(api, mode, &tape), request("hello")).await;
            let expected = recorded.next().unwrap();
            assert_eq!(without_address(&again), without_address(&expected), "{} {mode}", api.name());
        }
    }
    assert_eq!(tape.unused(), []);
}

/// Hints name the base URL, which is another one, and whether there is a key, which there is not.
fn without_address(said: &[Result<ModelEvent, Fault>]) -> Vec<String> {
    let shown = |event: &Result<ModelEvent, Fault>| match event {
        Ok(event) => format!("{event:?}"),
        Err(fault) => format!("{:?}", Fault { hint: None, ..fault.clone() }),
    };
    said.iter().map(shown).collect()
}

#[tokio::test]
async fn a_request_that_was_tried_again_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    said(&recording(&server, Api::Chat, "flaky-2", &tape), request("hello")).await;
    assert_eq!(names(folder.path()).len(), 3);
    let tape = replay(folder.path());
    let model = replaying(Api::Chat, "flaky-2", &tape);
    let mut once = request("hello");
    once.max_retries = 0;
    let codes = [said(&model, once.clone()).await, said(&model, once.clone()).await];
    assert!(codes.iter().all(|said| fault(said).code == "model_unavailable"));
    assert!(matches!(said(&model, once).await.last(), Some(Ok(ModelEvent::Finished(_)))));
}

#[tokio::test]
async fn an_answer_that_was_given_up_is_recorded_as_far_as_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    let mut stream = recording(&server, Api::Chat, "stall-body", &tape).stream(request("hello")).await.unwrap();
    let mut seen = Vec::new();
    while seen.iter().all(|event| !matches!(event, ModelEvent::Text(_))) {
        seen.push(stream.next().await.unwrap().unwrap());
    }
    assert!(names(folder.path())[0].ends_with(".part"), "it is not whole before it has ended");
    drop(stream);
    assert!(names(folder.path())[0].ends_with(".json"));
    let tape = replay(folder.path());
    let again = said(&replaying(Api::Chat, "stall-body", &tape), request("hello")).await;
    let (end, events) = again.split_last().unwrap();
    assert_eq!(events.iter().map(|event| event.clone().unwrap()).collect::<Vec<_>>(), seen);
    let end = end.clone().unwrap_err();
    assert_eq!(end.code, "model_truncated");
    assert!(end.message.contains("nobody read on when this was recorded"), "{end}");
}

#[tokio::test]
async fn nobody_answered_is_recorded_too() {
    let folder = tempfile::tempdir().unwrap();
    let tape = record(folder.path());
    let server = server().await;
    // Given up while nothing had come.
    let model = recording(&server, Api::Chat, "stall-headers", &tape);
    tokio::select! {
        _ = model.stream(request("hello")) => unreachable!("it stalls"),
        () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
    }
    let text = std::fs::read_to_string(folder.path().join(&names(folder.path())[0])).unwrap();
    assert!(text.contains("\"status\": null") && text.contains("\"end\": \"closed\""), "{text}");
    let tape = replay(folder.path());
    let mut once = request("hello");
    once.max_retries = 0;
    assert_eq!(fault(&said(&replaying(Api::Chat, "stall-headers", &tape), once).await).code, "model_unavailable");
}

#[tokio::test]
async fn a_catalog_that_replays_needs_no_key_no_address_and_no_model_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let (root, base) = (server.root(), server.base_url());
    let variables = move |name: &str| match name {
        "OLLAMA_HOST" => Some(root.clone()),
        "OPENAI_BASE_URL" | "AZURE_OPENAI_ENDPOINT" => Some(base.clone()),
        name => name.ends_with("_KEY").then(|| CANARY.to_owned()),
    };
    let catalog = ModelCatalog::new(Arc::new(crate::asking::Idle))
        .with_variables(Arc::new(variables))
        .with_tape(record(folder.path()));
    let models = ["ollama/text", "openai/text", "azure/text"];
    for name in models {
        let stream = catalog.resolve(name).unwrap().stream(request("hello")).await.unwrap();
        assert!(stream.collect::<Vec<_>>().await.iter().all(Result::is_ok), "{name}");
    }
    drop(server);
    let tape = replay(folder.path());
    let catalog = ModelCatalog::new(Arc::new(Covered)).with_tape(Arc::clone(&tape));
    for name in models {
        let stream = catalog.resolve(name).unwrap().stream(request("hello")).await.unwrap();
        assert!(stream.collect::<Vec<_>>().await.iter().all(Result::is_ok), "{name}");
    }
    assert_eq!(tape.unused(), []);
    assert_eq!(catalog.choose_auto(None).await.model, "ollama/text");
    assert_eq!(catalog.try_provider("openai").await.unwrap_err().code, "model_not_configured");
    assert!(catalog.resolve("nobody/x").is_err());
}
