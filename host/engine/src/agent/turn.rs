//! One turn: the stream of a model, put together.

use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::message::{Message, Opaque, ToolCall, Usage};
use cofferdam_core::port::{FinishReason, Model, ModelEvent, ModelRequest, PastTurn, Recorder};
use cofferdam_core::value;
use futures_util::StreamExt as _;
use std::sync::Arc;

/// What a model said in one turn.
pub(super) struct Turn {
    pub(super) number: u32,
    pub(super) model: Arc<str>,
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    opaque: Vec<Opaque>,
    pub(super) usage: Usage,
    pub(super) finish: Option<FinishReason>,
    /// Bytes of text and reasoning that came.
    pub(super) seen: usize,
}

impl Turn {
    pub(super) fn new(number: u32, model: Arc<str>) -> Self {
        Self {
            number,
            model,
            text: String::new(),
            calls: Vec::new(),
            opaque: Vec::new(),
            usage: Usage::default(),
            finish: None,
            seen: 0,
        }
    }

    /// The turn as an earlier process recorded it.
    pub(super) fn recorded(number: u32, past: &PastTurn) -> Self {
        let (text, calls, opaque) = match &past.message {
            Message::Assistant { text, tool_calls, opaque } => (text.to_string(), tool_calls.clone(), opaque.clone()),
            other => (other.text().to_owned(), Vec::new(), Vec::new()),
        };
        let finish = Some(if past.cut { FinishReason::Length } else { FinishReason::Stop });
        Self { number, model: Arc::clone(&past.model), text, calls, opaque, usage: past.usage, finish, seen: 0 }
    }

    /// Whether the answer was cut at the model's token limit.
    pub(super) fn is_cut(&self) -> bool {
        self.finish == Some(FinishReason::Length)
    }

    /// Reads the answer to its end; what was read before a fault stays, but for an answer that was too large.
    pub(super) async fn read(
        &mut self,
        model: &dyn Model,
        request: ModelRequest,
        events: &dyn Recorder,
    ) -> Result<(), Fault> {
        let mut stream = model.stream(request).await?;
        let mut bytes = 0_usize;
        while let Some(event) = stream.next().await {
            let event = event?;
            bytes = bytes.saturating_add(size(&event));
            if bytes > limits::MODEL_RESPONSE_BYTES {
                return Err(self.too_large());
            }
            self.take(event, events);
            // A model that always has something more must not keep the thread from everybody else, least of all from whoever
            // passes on what it said.
            if events.is_crowded() {
                tokio::task::yield_now().await;
            } else {
                tokio::task::consume_budget().await;
            }
        }
        match self.finish {
            None => Err(Fault::retry(
                "model_truncated",
                format!("the answer of `{}` ended before it was complete", self.model),
            )),
            Some(FinishReason::ContentFilter | FinishReason::Refusal) => Err(Fault::step(
                "model_refused",
                format!("the model `{}` refused to answer: {}", self.model, self.text),
            )),
            Some(_) => Ok(()),
        }
    }

    /// Nobody wants to have what a model that does not end has said.
    fn too_large(&mut self) -> Fault {
        (self.text, self.calls, self.opaque) = Default::default();
        let most = limits::MODEL_RESPONSE_BYTES;
        Fault::step("model_answer_too_large", format!("the answer of `{}` has more than {most} bytes", self.model))
    }

    fn take(&mut self, event: ModelEvent, events: &dyn Recorder) {
        match event {
            ModelEvent::Started { model, .. } => {
                if let Some(model) = model.filter(|name| !self.model.ends_with(name.as_str())) {
                    tracing::debug!(asked = %self.model, answering = %model, "another model answers");
                }
            }
            ModelEvent::Instead { model, because } => {
                let message = format!("`{model}` answers in the place of `{}`: {because}", self.model);
                events.observe(Body::Warning { code: "model_fallback".to_owned(), message });
                self.model = model;
            }
            ModelEvent::Text(text) => {
                self.seen += text.len();
                self.text.push_str(&text);
                events.observe(Body::OutputDelta { turn: self.number, text });
            }
            ModelEvent::Reasoning(text) => {
                self.seen += text.len();
                events.observe(Body::ThinkingDelta { turn: self.number, text });
            }
            ModelEvent::ToolCall(call) => self.calls.push(call),
            ModelEvent::Opaque(opaque) => self.opaque.push(opaque),
            ModelEvent::Usage(usage) => self.usage = usage,
            ModelEvent::Finished(reason) => self.finish = Some(reason),
        }
    }

    /// The turn as it stands in the conversation.
    pub(super) fn message(&mut self) -> Message {
        Message::Assistant {
            text: self.text.as_str().into(),
            tool_calls: self.calls.clone(),
            opaque: std::mem::take(&mut self.opaque),
        }
    }
}

/// The bytes of an event, which are never none: an answer of empty pieces ends as well.
fn size(event: &ModelEvent) -> usize {
    let carried = match event {
        ModelEvent::Text(text) | ModelEvent::Reasoning(text) => text.len(),
        ModelEvent::ToolCall(ToolCall { id, name, arguments }) => id.len() + name.len() + arguments.len(),
        ModelEvent::Opaque(Opaque { provider, data }) => provider.len() + value::size(data),
        ModelEvent::Started { .. } | ModelEvent::Instead { .. } | ModelEvent::Usage(_) | ModelEvent::Finished(_) => 0,
    };
    size_of::<ModelEvent>() + carried
}
