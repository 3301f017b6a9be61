//! Conversations: calls and their results, what must come back untouched, images and files.
//!
//! It must not build a body by itself: the server refuses what a real provider would.

use crate::bench::{Bench, Outcome, ask, request, weather};
use cofferdam_core::message::{Attachment, Message};
use cofferdam_core::port::{FinishReason, ModelRequest};
use cofferdam_llm::Api;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The protocols in which something of an answer must come back.
const SEALED: [Api; 3] = [Api::Responses, Api::Anthropic, Api::Gemini];

fn with_tool(messages: Vec<Message>, turn: u32) -> ModelRequest {
    let mut asked = request("");
    (asked.messages, asked.tools, asked.turn) = (Arc::new(messages), Arc::from([weather()]), turn);
    asked
}

/// The conversation after an answer, with a result for each of its calls.
fn continued(mut messages: Vec<Message>, answer: &Outcome, results: &[&str]) -> Vec<Message> {
    messages.push(answer.message());
    messages.extend(answer.calls.iter().zip(results).map(|(call, result)| Message::Tool {
        call_id: call.id.clone(),
        name: call.name.clone(),
        text: Arc::from(*result),
        is_error: false,
    }));
    messages
}

#[tokio::test]
async fn the_result_of_a_call_is_quoted_in_the_next_answer() {
    for api in Api::ALL {
        let bench = Bench::new().await;
        let model = bench.model(api, "tools-then-text");
        let messages = vec![Message::system("be brief"), Message::user("weather?")];
        let first = ask(&model, with_tool(messages.clone(), 1)).await;
        let second = ask(&model, with_tool(continued(messages, &first, &["18C"]), 2)).await;
        assert_eq!((second.text.as_str(), second.end), ("The tool said: 18C", Ok(FinishReason::Stop)), "{api:?}");
    }
}

#[tokio::test]
async fn parallel_calls_have_their_results_for_several_turns() {
    for api in Api::ALL {
        let bench = Bench::new().await;
        let model = bench.model(api, "tools-parallel");
        let mut messages = vec![Message::user("weather?")];
        for turn in 1..=3 {
            let answer = ask(&model, with_tool(messages.clone(), turn)).await;
            assert_eq!((answer.calls.len(), &answer.end), (2, &Ok(FinishReason::ToolCalls)), "{api:?}, turn {turn}");
            messages = continued(messages, &answer, &["18C", "7C"]);
        }
        let ids = messages.iter().filter_map(|message| match message {
            Message::Tool { call_id, .. } => Some(call_id.as_str()),
            _ => None,
        });
        let ids: BTreeSet<&str> = ids.collect();
        assert_eq!(ids.len(), 6, "{api:?}: no id is given twice in a conversation");
    }
}

#[tokio::test]
async fn what_a_model_signed_comes_back_untouched() {
    for api in SEALED {
        let bench = Bench::new().await;
        let model = bench.model(api, "thinking-tools");
        let messages = vec![Message::user("weather?")];
        let first = ask(&model, with_tool(messages.clone(), 1)).await;
        assert_eq!((first.opaque.len(), first.calls.len()), (1, 1), "{api:?}");
        let second = ask(&model, with_tool(continued(messages, &first, &["18C"]), 2)).await;
        assert_eq!((second.text.as_str(), second.end), ("signature kept", Ok(FinishReason::Stop)), "{api:?}");
    }
    for api in [Api::Chat, Api::Ollama] {
        let bench = Bench::new().await;
        let model = bench.model(api, "thinking-tools");
        let messages = vec![Message::user("weather?")];
        let first = ask(&model, with_tool(messages.clone(), 1)).await;
        let second = ask(&model, with_tool(continued(messages, &first, &["18C"]), 2)).await;
        assert_eq!((first.opaque.len(), second.text.as_str()), (0, "no signature to keep"), "{api:?}");
    }
}

#[tokio::test]
async fn what_another_model_provider_or_protocol_signed_is_not_sent() {
    for from in SEALED {
        for to in Api::ALL {
            let bench = Bench::new().await;
            let messages = vec![Message::user("weather?")];
            let first = ask(&bench.model(from, "thinking-tools"), with_tool(messages.clone(), 1)).await;
            let second = with_tool(continued(messages, &first, &["18C"]), 2);
            let mut other = bench.provider(to);
            other.name = Arc::from("other");
            // The same mode of the server under another name, so that it is another model.
            let models = [bench.model(to, "x/text"), bench.model_of(other, "thinking-tools")];
            for model in models {
                ask(&model, second.clone()).await;
                let body = bench.sent().pop().unwrap().json().to_string();
                assert!(!body.contains("c2lnbmF0dXJl") && body.contains("18C"), "{from:?} to {to:?}: {body}");
            }
        }
    }
}

fn file(name: &str, media_type: &str, base64: &str) -> Attachment {
    Attachment { name: name.to_owned(), media_type: media_type.to_owned(), base64: Arc::from(base64) }
}

#[tokio::test]
async fn images_and_files_arrive_where_the_protocol_takes_them() {
    let image = || file("a.png", "image/png", "iVBORw0KGgo=");
    let pdf = || file("a.pdf", "application/pdf", "JVBERi0xLjQ=");
    for api in Api::ALL {
        let bench = Bench::new().await;
        let files = if api == Api::Ollama { vec![image(), image()] } else { vec![image(), pdf()] };
        let expected = match api {
            Api::Ollama => "2 images: image/png, image/png; no files",
            // What a file is stands in its name or its data, which is counted by its media type.
            Api::Gemini | Api::Anthropic | Api::Chat | Api::Responses => "1 image: image/png; 1 file: application/pdf",
        };
        let mut asked = request("");
        asked.messages = Arc::new(vec![Message::User { text: Arc::from("what is this?"), attachments: files }]);
        let answer = ask(&bench.model(api, "images"), asked).await;
        assert_eq!((answer.text.as_str(), answer.end), (expected, Ok(FinishReason::Stop)), "{api:?}");
    }
    let bench = Bench::new().await;
    let mut asked = request("");
    asked.messages = Arc::new(vec![Message::User { text: Arc::from("read"), attachments: vec![pdf()] }]);
    let fault = ask(&bench.model(Api::Ollama, "images"), asked).await.end.unwrap_err();
    assert_eq!((&*fault.code, bench.sent().len()), ("model_bad_request", 0));
    assert!(fault.message.contains("a.pdf") && fault.hint.is_some(), "{fault}");
}
