//! The one model of a test: every name leads to the case's script, and every request is kept.

use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::message::Message;
use cofferdam_core::port::{BoxFuture, Model, ModelInfo, ModelRequest, ModelStream, Models};
use cofferdam_llm::Scripted;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// Requests by the path of their step, oldest first.
type Log = Arc<Mutex<Vec<(String, Value)>>>;

/// Models by any name, all of them the script.
pub(super) struct OneScript {
    script: Arc<Scripted>,
    log: Log,
}

impl OneScript {
    pub(super) fn new(script: Arc<Scripted>) -> Self {
        Self { script, log: Log::default() }
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<(String, Value)> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Models for OneScript {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        Ok(Arc::new(Named { name: name.into(), script: Arc::clone(&self.script), log: Arc::clone(&self.log) }))
    }
}

/// The script under the name that the document gives it.
struct Named {
    name: Arc<str>,
    script: Arc<Scripted>,
    log: Log,
}

impl Model for Named {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: Arc::clone(&self.name), ..self.script.info() }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() < limits::SCRIPTED_REQUESTS {
            log.push((request.path.to_string(), shown(&self.name, &request)));
        }
        drop(log);
        self.script.stream(request)
    }
}

/// A request as expectations see it.
fn shown(model: &str, request: &ModelRequest) -> Value {
    let system = request.messages.iter().find(|message| matches!(message, Message::System { .. }));
    let user = request.messages.iter().rev().find(|message| matches!(message, Message::User { .. }));
    let attachments: Vec<&str> = match user {
        Some(Message::User { attachments, .. }) => attachments.iter().map(|file| file.name.as_str()).collect(),
        _ => Vec::new(),
    };
    let conversation: Vec<String> = request.messages.iter().map(line).collect();
    let tools: Vec<String> = request.tools.iter().map(|tool| tool.name.replacen("__", ".", 1)).collect();
    json!({
        "model": model,
        "attempt": request.attempt,
        "turn": request.turn,
        "system": system.map(Message::text),
        "user": user.map(Message::text),
        "conversation": conversation.join("\n"),
        "tools": tools,
        "attachments": attachments,
    })
}

fn line(message: &Message) -> String {
    match message {
        Message::System { text } => format!("system: {text}"),
        Message::User { text, .. } => format!("user: {text}"),
        Message::Assistant { text, tool_calls, .. } => {
            let calls: String = tool_calls
                .iter()
                .map(|call| format!("\ncalls {}({})", call.name.replacen("__", ".", 1), call.arguments))
                .collect();
            format!("assistant: {text}{calls}")
        }
        Message::Tool { name, text, .. } => format!("{}: {text}", name.replacen("__", ".", 1)),
    }
}
