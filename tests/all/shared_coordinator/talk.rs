//! A model that plays a coordinator.

use cofferdam::core::fault::Fault;
use cofferdam::core::message::{Message, ToolCall, Usage};
use cofferdam::core::port::{BoxFuture, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a model was asked for a coordinator.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) run: String,
    pub(super) messages: Arc<Vec<Message>>,
    /// Whether it answers with a call, and has more to say.
    pub(super) goes_on: bool,
}

impl Asked {
    pub(super) fn text(&self) -> String {
        let calls = |message: &Message| match message {
            Message::Assistant { tool_calls, .. } => {
                tool_calls.iter().map(|call| call.arguments.clone() + "\n").collect()
            }
            _ => String::new(),
        };
        self.messages.iter().map(|message| format!("{}\n{}", message.text(), calls(message))).collect()
    }
}

pub(super) type Calls = Vec<(&'static str, Value)>;

/// A model that writes down what coordinators are asked, and does what a function says.
pub(super) struct Talk {
    pub(super) asked: Mutex<Vec<Asked>>,
    act: Box<dyn Fn(&ModelRequest) -> Calls + Send + Sync>,
    /// How long it takes to answer steps and coordinators.
    waits: (Duration, Duration),
    pub(super) says: &'static str,
}

impl Talk {
    pub(super) fn new(act: impl Fn(&ModelRequest) -> Calls + Send + Sync + 'static) -> Arc<Self> {
        Self::slow((Duration::ZERO, Duration::ZERO), act)
    }

    pub(super) fn slow(
        waits: (Duration, Duration),
        act: impl Fn(&ModelRequest) -> Calls + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { asked: Mutex::default(), act: Box::new(act), waits, says: "ok" })
    }

    pub(super) fn asked_of(&self, run: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.run == run).cloned().collect()
    }
}

impl Model for Talk {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "mine/one".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(async move {
            let coordinates = request.path.is_coordinator();
            let calls = if coordinates { (self.act)(&request) } else { Calls::new() };
            if coordinates {
                let (run, messages) = (request.run_id.to_string(), Arc::clone(&request.messages));
                self.asked.lock().unwrap().push(Asked { run, messages, goes_on: !calls.is_empty() });
            }
            tokio::time::sleep(if coordinates { self.waits.1 } else { self.waits.0 }).await;
            let reason = if calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
            let said = if coordinates { self.says } else { "done" };
            let mut events = vec![ModelEvent::Text(format!("{said} in turn {}", request.turn))];
            events.extend(calls.into_iter().enumerate().map(|(number, (name, arguments))| {
                let (id, arguments) = (format!("{}-{number}", request.turn), arguments.to_string());
                ModelEvent::ToolCall(ToolCall { id, name: name.to_owned(), arguments })
            }));
            let usage = Usage { input: 1, output: 1, ..Usage::default() };
            events.extend([ModelEvent::Usage(usage), ModelEvent::Finished(reason)]);
            Ok(Box::pin(futures_util::stream::iter(events.into_iter().map(Ok))) as ModelStream)
        })
    }
}

/// Whether the model was woken, and has not called a tool since.
pub(super) fn is_woken(request: &ModelRequest) -> bool {
    matches!(request.messages.last(), Some(Message::User { .. }))
}

/// Tells people at each wake, and sums up in the end.
pub(super) fn narrates(request: &ModelRequest) -> Calls {
    let text = request.messages.last().map(Message::text).unwrap_or_default();
    match is_woken(request) {
        true if text.contains("All steps have ended") => {
            vec![("finalize", json!({ "summary": format!("{} is over", request.run_id) }))]
        }
        true => vec![("narrate", json!({ "text": format!("so far {}", request.turn) }))],
        false => Calls::new(),
    }
}
