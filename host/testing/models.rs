//! The one model of a test: every name leads to the case's script, and every request is kept.

use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::message::Message;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{BoxFuture, Model, ModelInfo, ModelRequest, ModelStream, Models};
use cofferdam_llm::Scripted;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the model was asked.
#[derive(Clone, Default)]
pub(super) struct Asked {
    /// Requests by the path of their step, oldest first. One that was sent again stands here once.
    pub(super) requests: Vec<(String, Value)>,
    /// How often the model was asked for each step, requests that were sent again counted each time.
    pub(super) times: BTreeMap<String, usize>,
}

type Log = Arc<Mutex<Asked>>;

/// Models by any name, all of them the script.
pub(super) struct OneScript {
    script: Arc<Scripted>,
    log: Log,
}

impl OneScript {
    pub(super) fn new(script: Arc<Scripted>) -> Self {
        Self { script, log: Log::default() }
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Asked {
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

    fn unsupported(&self, options: &ModelOptions) -> Vec<String> {
        self.script.unsupported(options)
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let mut asked = self.asked();
        if asked.requests.len() < limits::SCRIPTED_REQUESTS {
            asked.requests.push((request.path.to_string(), shown(&self.name, &request)));
        }
        drop(asked);
        Box::pin(self.ask(request))
    }
}

impl Named {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks as often as the script would by itself, so that each time is counted.
    async fn ask(&self, request: ModelRequest) -> Result<ModelStream, Fault> {
        let mut retries = 0;
        loop {
            *self.asked().times.entry(request.path.to_string()).or_default() += 1;
            match self.script.stream(ModelRequest { max_retries: 0, ..request.clone() }).await {
                Err(fault) if fault.is_retryable() && retries < request.max_retries => {
                    retries += 1;
                    tokio::time::sleep(Duration::from_millis(fault.retry_after_ms.unwrap_or(0))).await;
                }
                outcome => return outcome,
            }
        }
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
        "maxTokens": request.settings.max_tokens,
        "modelOptions": request.settings.options,
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
