//! What the tests of this crate share: requests, and the sum of a stream. Not compiled otherwise.

use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::message::{Attachment, Message, ToolCall, Usage};
use cofferdam_core::port::{BoxFuture, Clock};
use cofferdam_core::port::{FinishReason, ModelEvent, ModelRequest, ModelSettings, ModelStream, ToolChoice};
use cofferdam_core::time::Timestamp;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// A clock that stands still and never makes anybody wait.
pub(crate) struct Idle;

impl Clock for Idle {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A request of one user message and no tools.
pub(crate) fn request(step: &str, prompt: &str) -> ModelRequest {
    ModelRequest {
        run_id: RunId::parse("run").unwrap(),
        path: StepPath::from(step),
        attempt: 1,
        turn: 1,
        messages: Arc::new(vec![Message::user(prompt)]),
        tools: Arc::from([]),
        tool_choice: ToolChoice::Auto,
        result: None,
        settings: ModelSettings::default(),
        max_retries: 2,
        asker: None,
    }
}

/// A conversation of all roles: a system text, an image, a call, its result.
pub(crate) fn conversation() -> ModelRequest {
    let mut request = request("a", "weather?");
    let call = ToolCall { id: "call_a".to_owned(), name: "get".to_owned(), arguments: String::new() };
    let image = Attachment { name: "x.png".to_owned(), media_type: "image/png".to_owned(), base64: Arc::from("QQ==") };
    request.messages = Arc::new(vec![
        Message::system("be brief"),
        Message::User { text: Arc::from("look"), attachments: vec![image] },
        Message::Assistant { text: Arc::from(""), tool_calls: vec![call], opaque: Vec::new() },
        Message::Tool { call_id: "call_a".to_owned(), name: "get".to_owned(), text: Arc::from("18C"), is_error: false },
    ]);
    request
}

/// Everything that a stream said.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) text_pieces: usize,
    pub(crate) reasoning: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) usage: Option<Usage>,
    pub(crate) end: Result<FinishReason, Fault>,
}

/// Reads a stream to its end; an end without `Finished` fails the test, as do events after it.
pub(crate) async fn drain(stream: Result<ModelStream, Fault>) -> Outcome {
    let unfinished = Fault::bug("the stream ended without a word");
    let mut outcome = Outcome {
        text: String::new(),
        text_pieces: 0,
        reasoning: String::new(),
        calls: Vec::new(),
        usage: None,
        end: Err(unfinished),
    };
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(fault) => {
            outcome.end = Err(fault);
            return outcome;
        }
    };
    while let Some(event) = stream.next().await {
        match event {
            Ok(ModelEvent::Text(text)) => {
                outcome.text.push_str(&text);
                outcome.text_pieces += 1;
            }
            Ok(ModelEvent::Reasoning(text)) => outcome.reasoning.push_str(&text),
            Ok(ModelEvent::ToolCall(call)) => outcome.calls.push(call),
            Ok(ModelEvent::Usage(usage)) => outcome.usage = Some(usage),
            Ok(ModelEvent::Started { .. } | ModelEvent::Instead { .. } | ModelEvent::Opaque(_)) => {}
            Ok(ModelEvent::Finished(reason)) => {
                outcome.end = Ok(reason);
                assert!(stream.next().await.is_none(), "an event after the end");
                break;
            }
            Err(fault) => {
                outcome.end = Err(fault);
                break;
            }
        }
    }
    outcome
}
