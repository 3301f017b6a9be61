//! The models of a test: every name leads to the case's script, or to what providers were recorded to answer. Every request is
//! kept.

use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::message::Message;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{BoxFuture, Clock, Model, ModelInfo, ModelRequest, ModelStream, Models};
use cofferdam_llm::tape::TapeError;
use cofferdam_llm::{ModelCatalog, Scripted};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
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

/// Who answers in a case.
#[derive(Clone, Debug)]
pub(super) enum Voice {
    /// A script, whatever the model's name is.
    Script(Arc<Scripted>),
    /// What providers were recorded to answer, in this folder.
    Recording {
        folder: PathBuf,
        /// The model of steps that name none of a provider.
        name: Option<String>,
    },
}

/// The models of one case.
pub(super) struct CaseModels {
    source: Source,
    log: Log,
}

enum Source {
    Script(Arc<Scripted>),
    Recording(Box<ModelCatalog>, Option<String>),
}

impl CaseModels {
    /// # Errors
    /// When the recordings cannot be read.
    pub(super) fn new(voice: Voice, clock: Arc<dyn Clock>) -> Result<Self, TapeError> {
        let source = match voice {
            Voice::Script(script) => Source::Script(script),
            Voice::Recording { folder, name } => {
                let tape = Arc::new(crate::tape::replay(folder)?);
                Source::Recording(Box::new(ModelCatalog::new(clock).with_tape(tape)), name)
            }
        };
        Ok(Self { source, log: Log::default() })
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Asked {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Models for CaseModels {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        let (name, model, retries): (&str, Arc<dyn Model>, Retries) = match &self.source {
            Source::Script(script) => (name, Arc::clone(script) as Arc<dyn Model>, Retries::Here),
            Source::Recording(catalog, own) => {
                let name = if name.contains('/') { name } else { own.as_deref().unwrap_or(name) };
                (name, catalog.resolve(name)?, Retries::Recorded)
            }
        };
        Ok(Arc::new(Named { name: name.into(), model, retries, log: Arc::clone(&self.log) }))
    }
}

/// Who sends a failed request again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retries {
    /// This model, so that each time is counted.
    Here,
    /// The model behind it, as it did when it was recorded.
    Recorded,
}

/// A model under the name that the document gives it.
struct Named {
    name: Arc<str>,
    model: Arc<dyn Model>,
    retries: Retries,
    log: Log,
}

impl Model for Named {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: Arc::clone(&self.name), ..self.model.info() }
    }

    fn unsupported(&self, options: &ModelOptions) -> Vec<String> {
        self.model.unsupported(options)
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
        if self.retries == Retries::Recorded {
            *self.asked().times.entry(request.path.to_string()).or_default() += 1;
            return self.model.stream(request).await;
        }
        let mut retries = 0;
        loop {
            *self.asked().times.entry(request.path.to_string()).or_default() += 1;
            match self.model.stream(ModelRequest { max_retries: 0, ..request.clone() }).await {
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
