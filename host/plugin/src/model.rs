//! A loaded plugin as a model: an instance for each answer, pulled piece by piece.
//!
//! The reader owns the pace: the next piece is asked for when the last one was taken, and dropping the stream drops the
//! instance. A stream that ends before it says so is an error, never an answer.

use crate::bindings::cofferdam::types::common::{CallContext, PluginError};
use crate::bindings::model::exports::cofferdam::model::model::{
    AssistantMessage, Attachment as GuestAttachment, Chunk, FinishReason as GuestFinish, Message as GuestMessage,
    Request, ToolCall as GuestCall, ToolChoice as GuestChoice, ToolResult, ToolSpec as GuestSpec, UserMessage,
};
use crate::bindings::model::{ModelPlugin, ModelPluginPre};
use crate::engine::{Deadline, EPOCH_TICK};
use crate::failure::{Culprit, Failure, OutOfTime};
use crate::grant::Denial;
use crate::instance::{Call, Guest, Identity, Prepared, new_store};
use crate::limit::{Limit, size};
use crate::runtime::{Panicked, Task};
use crate::tool::LoadedPlugin;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::PluginModelName;
use cofferdam_core::limits;
use cofferdam_core::message::{Message, Opaque, ToolCall, Usage};
use cofferdam_core::port::{
    Asker, BoxFuture, Clock, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream, ToolChoice,
};
use cofferdam_core::spec::suggest::did_you_mean;
use cofferdam_core::value;
use futures_util::stream;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

type Pre = ModelPluginPre<Guest>;
type Piece = Result<ModelEvent, Fault>;

/// One model of a plugin.
pub struct PluginModel {
    plugin: Arc<LoadedPlugin>,
    world: Prepared<Pre>,
    name: String,
    info: ModelInfo,
}

impl LoadedPlugin {
    /// A model of the plugin by its name. A plugin that lists none takes any.
    ///
    /// # Errors
    /// When the plugin is no model, or lists others; the hint says which.
    pub fn model(self: &Arc<Self>, name: &str) -> Result<PluginModel, Fault> {
        let Some(world) = self.worlds.model.clone() else { return Err(self.is_no("model")) };
        let listed = &self.about.models;
        let def = listed.iter().find(|def| def.name == name);
        if def.is_none() && !listed.is_empty() {
            return Err(self.unknown_model(name));
        }
        let asked = PluginModelName { alias: self.alias().clone(), model: name.to_owned() };
        let info = ModelInfo {
            name: asked.to_string().into(),
            is_language_model: def.is_none_or(|def| def.is_language_model),
            summary: def.map_or(&self.about.summary, |def| &def.summary).clone(),
        };
        Ok(PluginModel { plugin: Arc::clone(self), world, name: asked.model, info })
    }

    fn unknown_model(&self, name: &str) -> Fault {
        let known: Vec<&str> = self.about.models.iter().map(|def| def.name.as_str()).collect();
        let near = did_you_mean(name, known.iter().copied()).map(|near| format!("{near} ")).unwrap_or_default();
        Fault::user("plugin_model", format!("plugin `{}` has no model `{name}`", self.alias()))
            .with_hint(format!("{near}it has: {}", known.join(", ")))
    }
}

impl PluginModel {
    /// How long a piece may take. A model that is asked elsewhere thinks for minutes before its first word: unless the user
    /// says less, a piece has the time of the whole answer.
    fn wall(&self) -> Duration {
        let asked = self.plugin.asked.wall.map(|_| self.plugin.warm.limits.wall);
        asked.unwrap_or(Duration::from_millis(limits::MODEL_CALL_MS))
    }
}

impl Model for PluginModel {
    fn info(&self) -> ModelInfo {
        self.info.clone()
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let (sender, pieces) = mpsc::channel(1);
        let answering = Answering {
            identity: Arc::clone(&self.plugin.warm),
            world: self.world.clone(),
            context: context(&request, self.plugin.clock.as_ref()),
            wall: self.wall(),
            request: request_of(&request, &self.name),
            asker: request.asker.clone(),
            pieces: sender,
        };
        let pace = self.plugin.warm.services.share.pace();
        let task = self.plugin.core.runtime.call(pace, answering.run());
        let reading = Reading { pieces, task: Some(task), over: false };
        let failed = {
            let identity = Arc::clone(&self.plugin.warm);
            move |failure: Failure| Err(fault(&identity, "next", &failure, &[]))
        };
        Box::pin(async move {
            let stream: ModelStream = Box::pin(stream::unfold((reading, failed), |(mut reading, failed)| async {
                if reading.over {
                    return None;
                }
                let piece = match reading.next().await {
                    Some(Ok(piece)) => piece,
                    Some(Err(Panicked(why))) => failed(Failure::Host(why)),
                    None => failed(Failure::Lie("its answer has no end".to_owned())),
                };
                reading.over = matches!(piece, Err(_) | Ok(ModelEvent::Finished(_)));
                Some((piece, (reading, failed)))
            }));
            Ok(stream)
        })
    }
}

/// The reader's side; dropping it ends the instance.
struct Reading {
    pieces: mpsc::Receiver<Piece>,
    /// None when it was heard how it ended.
    task: Option<Task<()>>,
    over: bool,
}

impl Reading {
    /// The next piece; none after an answer that has no end.
    async fn next(&mut self) -> Option<Result<Piece, Panicked>> {
        if let Some(piece) = self.pieces.recv().await {
            return Some(Ok(piece));
        }
        // How it ended is known after it let go of the pieces.
        self.task.take()?.await.err().map(Err)
    }
}

/// The instance's side.
struct Answering {
    identity: Arc<Identity>,
    world: Prepared<Pre>,
    context: CallContext,
    request: Request,
    asker: Option<Asker>,
    /// How long a piece may take.
    wall: Duration,
    pieces: mpsc::Sender<Piece>,
}

impl Answering {
    async fn run(self) {
        if let Err(broken) = self.answer().await {
            let Broken { failure, function, denials } = *broken;
            let fault = fault(&self.identity, function, &failure, &denials);
            if let (true, Some(asker)) = (failure.is_misconduct(), &self.asker) {
                asker.events.observe(self.identity.failed(&fault));
            }
            let _ = self.pieces.send(Err(fault)).await;
        }
    }

    async fn answer(&self) -> Result<(), Box<Broken>> {
        let at = |function: &'static str| move |failure: Failure| Broken::at(function, failure, Vec::new());
        let most = size(self.identity.limits.payload_bytes);
        if request_bytes(&self.request) > most {
            return Err(at("complete")(Failure::Refused(format!("the conversation has more than {most} bytes"))));
        }
        let (engine, wall) = (&self.world.engine, self.identity.limits.wall);
        let entering = self.identity.services.share.enter(engine, 0);
        let Ok(_seat) = tokio::time::timeout(wall, entering).await else {
            return Err(at("complete")(Failure::Busy(wall)));
        };
        let _ticking = engine.ticking();
        // Its time begins here, not while it waited for others.
        let whole = Deadline::after(Duration::from_millis(limits::MODEL_CALL_MS));
        let guest = Guest::new(self.call()).map_err(at("complete"))?;
        let host = |error: wasmtime::Error| at("complete")(Failure::Host(error.to_string()));
        let mut store = new_store(engine, guest).map_err(host)?;
        let begun = self.begin(&mut store).await;
        let (plugin, completion) = self.settled(&mut store, "complete", begun)?;
        let mut bytes = 0_usize;
        loop {
            if whole.has_passed() {
                return Err(at("next")(Failure::Limit(Limit::Wall(whole.allowed()))));
            }
            let left = self.wall.min(whole.remaining());
            store.data_mut().call.deadline = Deadline::after(left);
            let next = self.next(&mut store, &plugin, completion).await;
            let chunks = self.settled(&mut store, "next", next)?;
            if chunks.is_empty() {
                return Err(at("next")(Failure::Lie("it gave no piece before the end of its answer".to_owned())));
            }
            bytes = bytes.saturating_add(chunks.iter().map(chunk_bytes).sum());
            if bytes > most {
                return Err(at("next")(Failure::Limit(Limit::Result(most))));
            }
            for chunk in chunks {
                let piece = self.piece(chunk).map_err(at("next"))?;
                let ends = matches!(piece, ModelEvent::Finished(_));
                if self.pieces.send(Ok(piece)).await.is_err() || ends {
                    return Ok(());
                }
            }
        }
    }

    fn call(&self) -> Call {
        Call::asked(Arc::clone(&self.identity), self.asker.as_ref(), self.wall)
    }

    async fn begin(&self, store: &mut Store<Guest>) -> Reply<(ModelPlugin, ResourceAny)> {
        self.timed(self.wall, async {
            let plugin = self.world.world.instantiate_async(&mut *store).await?;
            let begun = plugin.cofferdam_model_model().call_complete(store, &self.context, &self.request).await?;
            Ok(begun.map(|completion| (plugin, completion)))
        })
        .await
    }

    async fn next(&self, store: &mut Store<Guest>, plugin: &ModelPlugin, completion: ResourceAny) -> Reply<Vec<Chunk>> {
        let within = store.data().call.deadline.allowed();
        self.timed(within, plugin.cofferdam_model_model().completion().call_next(store, completion)).await
    }

    async fn timed<T>(&self, within: Duration, work: impl Future<Output = Reply<T>>) -> Reply<T> {
        let patience = within.saturating_add(EPOCH_TICK);
        let paced = self.identity.services.share.paced(Deadline::after(within), work);
        tokio::time::timeout(patience, paced).await.ok().flatten().unwrap_or_else(|| Err(OutOfTime.into()))
    }

    fn settled<T>(&self, store: &mut Store<Guest>, function: &'static str, reply: Reply<T>) -> Result<T, Box<Broken>> {
        let denials = store.data_mut().end_call();
        match reply {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Broken::at(function, self.identity.services.told(Failure::Own(error)), denials)),
            Err(error) => Err(Broken::at(function, Failure::classify(&error, &store.data().allowed()), denials)),
        }
    }

    fn piece(&self, chunk: Chunk) -> Result<ModelEvent, Failure> {
        Ok(match chunk {
            Chunk::Text(text) => ModelEvent::Text(text),
            Chunk::Reasoning(text) => ModelEvent::Reasoning(text),
            Chunk::ToolCall(GuestCall { id, name, arguments }) => {
                ModelEvent::ToolCall(ToolCall { id, name, arguments })
            }
            Chunk::Opaque(text) => {
                let unreadable = |error| Failure::Lie(format!("data that it gave cannot be read: {error}"));
                let data = value::parse(&text).map_err(unreadable)?;
                ModelEvent::Opaque(Opaque { provider: self.identity.alias.to_string(), data })
            }
            Chunk::Usage(usage) => {
                ModelEvent::Usage(Usage { input: usage.input, output: usage.output, ..Usage::default() })
            }
            Chunk::Finished(reason) => ModelEvent::Finished(match reason {
                GuestFinish::Stop => FinishReason::Stop,
                GuestFinish::ToolCalls => FinishReason::ToolCalls,
                GuestFinish::Length => FinishReason::Length,
                GuestFinish::ContentFilter => FinishReason::ContentFilter,
                GuestFinish::Refusal => FinishReason::Refusal,
            }),
        })
    }
}

/// What broke an answer off, and where.
struct Broken {
    failure: Failure,
    function: &'static str,
    denials: Vec<Denial>,
}

impl Broken {
    fn at(function: &'static str, failure: Failure, denials: Vec<Denial>) -> Box<Self> {
        Box::new(Self { failure, function, denials })
    }
}

type Reply<T> = wasmtime::Result<Result<T, PluginError>>;

fn fault(identity: &Identity, function: &str, failure: &Failure, denials: &[Denial]) -> Fault {
    Culprit { alias: &identity.alias, digest: identity.digest, function }.fault(failure, denials)
}

fn context(request: &ModelRequest, clock: &dyn Clock) -> CallContext {
    let own = clock.now().after(Duration::from_millis(limits::MODEL_CALL_MS));
    let deadline = request.asker.as_ref().and_then(|asker| asker.deadline).map_or(own, |step| step.min(own));
    CallContext {
        run_id: request.run_id.to_string(),
        step_path: request.path.to_string(),
        attempt: request.attempt,
        idempotency_key: format!("{}/{}/{}/{}", request.run_id, request.path, request.attempt, request.turn),
        deadline: u64::try_from(deadline.as_millis()).unwrap_or(0),
        traceparent: String::new(),
        ext: Vec::new(),
    }
}

fn request_of(request: &ModelRequest, model: &str) -> Request {
    let tool = |spec: &cofferdam_core::port::ToolSpec| GuestSpec {
        name: spec.name.clone(),
        description: spec.description.clone(),
        parameters: spec.parameters.to_string(),
    };
    Request {
        model: model.to_owned(),
        messages: request.messages.iter().map(message).collect(),
        tools: request.tools.iter().map(tool).collect(),
        choice: match &request.tool_choice {
            ToolChoice::Auto => GuestChoice::Auto,
            ToolChoice::None => GuestChoice::None,
            ToolChoice::Required => GuestChoice::Required,
            ToolChoice::Tool(name) => GuestChoice::Tool(name.clone()),
        },
        temperature: request.settings.temperature,
        top_p: request.settings.top_p,
        max_tokens: request.settings.max_tokens,
    }
}

/// What a conversation costs to hand over.
fn request_bytes(request: &Request) -> usize {
    let messages = request.messages.iter().map(|message| match message {
        GuestMessage::System(text) => text.len(),
        GuestMessage::User(said) => {
            said.text.len() + said.attachments.iter().map(|file| file.base64.len()).sum::<usize>()
        }
        GuestMessage::Assistant(said) => {
            let calls: usize = said.tool_calls.iter().map(|call| call.arguments.len()).sum();
            said.text.len() + calls + said.opaque.iter().map(String::len).sum::<usize>()
        }
        GuestMessage::Tool(result) => result.text.len(),
    });
    let tools = request.tools.iter().map(|tool| tool.description.len() + tool.parameters.len());
    messages.chain(tools).sum()
}

fn chunk_bytes(chunk: &Chunk) -> usize {
    match chunk {
        Chunk::Text(text) | Chunk::Reasoning(text) | Chunk::Opaque(text) => text.len(),
        Chunk::ToolCall(call) => call.id.len() + call.name.len() + call.arguments.len(),
        Chunk::Usage(_) | Chunk::Finished(_) => 1,
    }
}

fn message(message: &Message) -> GuestMessage {
    match message {
        Message::System { text } => GuestMessage::System(text.to_string()),
        Message::User { text, attachments } => GuestMessage::User(UserMessage {
            text: text.to_string(),
            attachments: attachments
                .iter()
                .map(|file| GuestAttachment {
                    name: file.name.clone(),
                    media_type: file.media_type.clone(),
                    base64: file.base64.to_string(),
                })
                .collect(),
        }),
        Message::Assistant { text, tool_calls, opaque } => GuestMessage::Assistant(AssistantMessage {
            text: text.to_string(),
            tool_calls: tool_calls
                .iter()
                .map(|call| GuestCall {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                })
                .collect(),
            opaque: opaque.iter().map(|opaque| Value::to_string(&opaque.data)).collect(),
        }),
        Message::Tool { call_id, name, text, is_error } => GuestMessage::Tool(ToolResult {
            id: call_id.clone(),
            name: name.clone(),
            text: text.to_string(),
            is_error: *is_error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::GuestRuntime;

    #[tokio::test]
    async fn a_panic_of_the_host_is_no_broken_contract() {
        let (runtime, (sender, pieces)) = (GuestRuntime::start().unwrap(), mpsc::channel(1));
        let task = runtime.spawn(async move {
            let _sender: mpsc::Sender<Piece> = sender;
            assert_eq!(1, 2, "boom");
        });
        let mut reading = Reading { pieces, task: Some(task), over: false };
        let Some(Err(Panicked(why))) = reading.next().await else { panic!("it is not told") };
        assert!(why.contains("boom"), "{why}");
        assert!(reading.next().await.is_none());
    }
}
