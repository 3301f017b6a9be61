//! What is said when something is asked that was not recorded, or not so often.

use crate::asking::{fault, names, record, recording, replay, replaying, request, said, server};
use cofferdam_core::fault::Class;
use cofferdam_core::message::Message;
use cofferdam_llm::Api;
use std::sync::Arc;

#[tokio::test]
async fn a_miss_shows_the_nearest_recording_and_where_it_differs() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    let conversation = |city: &str, n: usize| {
        let mut request = request("");
        let texts = [format!("prompt {n}"), format!("The weather in {city}, please")];
        request.messages = Arc::new(texts.iter().map(|text| Message::user(text.as_str())).collect());
        request
    };
    for (number, city) in ["Rome", "Paris", "Bern"].into_iter().enumerate() {
        said(&recording(&server, Api::Chat, "text", &tape), conversation(city, number)).await;
    }
    said(&recording(&server, Api::Ollama, "text", &tape), conversation("Oslo", 1)).await;
    let tape = replay(folder.path());
    let told = fault(&said(&replaying(Api::Chat, "text", &tape), conversation("Oslo", 1)).await);
    assert_eq!((&*told.code, told.class), ("model_not_recorded", Class::User));
    let nearest = folder.path().join(&names(folder.path())[1]).display().to_string();
    let place = folder.path().display().to_string();
    assert_eq!(
        told.message,
        format!(
            "this request to model `acme/text` was not recorded in `{place}`; the nearest is `{nearest}`: \
             `messages[1].content`: recorded \"The weather in Paris, please\", asked \"The weather in Oslo, please\""
        )
    );
    assert!(told.hint.unwrap().starts_with(&format!("record again with `--record {place}`")));
    assert_eq!(tape.unused().len(), 4, "what is not recorded uses nothing up");
    assert_eq!(tape.unused()[1].path, nearest);
    assert_eq!(tape.unused()[1].model, "acme/text");
}

#[tokio::test]
async fn a_model_that_was_not_recorded_is_told_with_those_that_were() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    for model in ["text", "reasoning"] {
        said(&recording(&server, Api::Chat, model, &tape), request("hello")).await;
    }
    let tape = replay(folder.path());
    let told = fault(&said(&replaying(Api::Chat, "refusal", &tape), request("hello")).await);
    assert!(told.message.contains("nothing was recorded of model `acme/refusal`"), "{told}");
    assert!(told.message.ends_with("only of `acme/reasoning`, `acme/text`"), "{told}");
    let told = fault(&said(&replaying(Api::Ollama, "text", &tape), request("hello")).await);
    assert!(told.message.contains("nothing was recorded of model `acme/text`"), "{told}");
}

#[tokio::test]
async fn recordings_that_are_used_up_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    for _ in 0..2 {
        said(&recording(&server, Api::Chat, "text", &tape), request("hello")).await;
    }
    let tape = replay(folder.path());
    let model = replaying(Api::Chat, "text", &tape);
    for left in [1, 0] {
        said(&model, request("hello")).await;
        assert_eq!(tape.unused().len(), left);
    }
    let told = fault(&said(&model, request("hello")).await);
    assert_eq!((&*told.code, told.class), ("model_not_recorded", Class::User));
    let place = folder.path().display();
    assert_eq!(
        told.message,
        format!("all 2 recordings of this request are used up: `acme/text` is asked more often than in `{place}`")
    );
}
