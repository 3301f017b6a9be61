//! Turns events into chunks and hands them to the reader.

use super::StreamOptions;
use super::chunk::{Chunk, ChunkKind, ChunkMetadata, ChunkTool};
use cofferdam_core::event::{Body, RunEvent, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Chunks between the run and the reader.
pub(super) struct Queue {
    state: Mutex<Waiting>,
    bound: usize,
    filled: Notify,
    drained: Notify,
}

#[derive(Default)]
struct Waiting {
    chunks: VecDeque<Chunk>,
    next_index: u64,
    /// When the last chunk happened.
    last: Timestamp,
    discard: bool,
}

impl Queue {
    pub(super) fn new(bound: usize) -> Self {
        Self { state: Mutex::default(), bound, filled: Notify::new(), drained: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pop(&self) -> Option<Chunk> {
        let chunk = self.state().chunks.pop_front();
        self.drained.notify_one();
        chunk
    }

    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Nobody reads any more: what comes is thrown away, so that the run never waits for a reader.
    pub(super) fn discard(&self) {
        let mut state = self.state();
        state.discard = true;
        state.chunks.clear();
        drop(state);
        self.drained.notify_one();
    }

    /// Gives the last chunk of a stream its number and time.
    pub(super) fn number(&self, mut chunk: Chunk) -> Chunk {
        let state = self.state();
        chunk.index = state.next_index;
        chunk.at = state.last;
        chunk
    }

    async fn push(&self, mut chunk: Chunk) {
        loop {
            let drained = self.drained.notified();
            {
                let mut state = self.state();
                if state.discard {
                    return;
                }
                if state.chunks.len() < self.bound {
                    chunk.index = state.next_index;
                    state.next_index += 1;
                    state.last = chunk.at;
                    state.chunks.push_back(chunk);
                    break;
                }
            }
            drained.await;
        }
        self.filled.notify_one();
    }
}

/// A sink that feeds a stream.
pub(super) struct ChunkSink {
    options: StreamOptions,
    order: BTreeMap<String, usize>,
    queue: Arc<Queue>,
    /// Steps whose text was streamed in pieces.
    streamed: Mutex<BTreeSet<StepPath>>,
}

impl ChunkSink {
    pub(super) fn new(options: StreamOptions, order: BTreeMap<String, usize>, queue: Arc<Queue>) -> Self {
        Self { options, order, queue, streamed: Mutex::default() }
    }

    fn metadata(&self, event: &RunEvent) -> ChunkMetadata {
        let path = event.path.as_str();
        let name = path.split(['.', '[']).next().filter(|name| !name.is_empty());
        ChunkMetadata {
            step_name: name.map(str::to_owned),
            path: event.path.clone(),
            step_index: name.and_then(|name| self.order.get(name).copied()),
            total_steps: self.order.len(),
            event: Some(event.body.kind()),
        }
    }

    fn admits(&self, kind: ChunkKind) -> bool {
        let options = &self.options;
        match kind {
            ChunkKind::Text | ChunkKind::Delta | ChunkKind::Error | ChunkKind::Done => true,
            _ if options.text_only => false,
            ChunkKind::Thought => options.thoughts,
            ChunkKind::ToolCall | ChunkKind::ToolResult => options.tool_calls,
            ChunkKind::Metadata => options.metadata,
            ChunkKind::AgentStart | ChunkKind::AgentComplete => true,
        }
    }

    /// The chunks of an event, in order.
    fn chunks(&self, event: &RunEvent) -> Vec<Chunk> {
        let chunk = |kind| Chunk::new(kind, event.at, self.metadata(event));
        let with = |kind, fill: &dyn Fn(&mut Chunk)| {
            let mut chunk = chunk(kind);
            fill(&mut chunk);
            vec![chunk]
        };
        match &event.body {
            Body::OutputDelta { text, .. } => {
                self.streamed().insert(event.path.clone());
                with(ChunkKind::Delta, &|chunk| chunk.delta = Some(text.clone()))
            }
            Body::ThinkingDelta { text, .. } => with(ChunkKind::Thought, &|chunk| chunk.delta = Some(text.clone())),
            Body::ToolCallStarted { call_id, tool, args } => with(ChunkKind::ToolCall, &|chunk| {
                let (call_id, name) = (call_id.clone(), tool.to_string());
                chunk.tool = Some(ChunkTool { call_id, name, args: Some(Arc::clone(args)), result: None });
            }),
            Body::ToolCallFinished { call_id, tool, result, content, error, .. } => {
                with(ChunkKind::ToolResult, &|chunk| {
                    let (call_id, name) = (call_id.clone(), tool.to_string());
                    chunk.tool = Some(ChunkTool { call_id, name, args: None, result: Some(Arc::clone(result)) });
                    chunk.content = Some(Arc::clone(content));
                    chunk.error.clone_from(error);
                })
            }
            Body::StepStarted { .. } => vec![chunk(ChunkKind::AgentStart)],
            Body::StepFinished { status, output, error, .. } => {
                self.end_of_step(event, *status, &output.content, error.as_ref())
            }
            Body::StepSkipped { detail, .. } | Body::StepCancelled { detail } => {
                with(ChunkKind::Metadata, &|chunk| chunk.content = Some(detail.as_str().into()))
            }
            Body::StepRetrying { error, .. } => with(ChunkKind::Metadata, &|chunk| chunk.error = Some(error.clone())),
            Body::Warning { message, .. } => {
                with(ChunkKind::Metadata, &|chunk| chunk.content = Some(message.as_str().into()))
            }
            Body::RunStarted { .. } | Body::PermissionDecided { .. } | Body::PluginDenied { .. } => {
                vec![chunk(ChunkKind::Metadata)]
            }
            _ => Vec::new(),
        }
    }

    /// Text that was not streamed comes whole; then the step's end, with its error if it failed.
    fn end_of_step(
        &self,
        event: &RunEvent,
        status: StepStatus,
        content: &Arc<str>,
        error: Option<&Fault>,
    ) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut push = |kind, content: Option<&Arc<str>>, error: Option<&Fault>| {
            let mut chunk = Chunk::new(kind, event.at, self.metadata(event));
            chunk.content = content.cloned();
            chunk.error = error.cloned();
            chunks.push(chunk);
        };
        let streamed = self.streamed().remove(&event.path);
        if status == StepStatus::Completed && !streamed && !content.is_empty() {
            push(ChunkKind::Text, Some(content), None);
        }
        if let Some(error) = error {
            push(ChunkKind::Error, None, Some(error));
        }
        push(ChunkKind::AgentComplete, Some(content), None);
        chunks
    }

    fn streamed(&self) -> MutexGuard<'_, BTreeSet<StepPath>> {
        self.streamed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for ChunkSink {
    fn want(&self) -> Want {
        Want { kinds: Vec::new(), pressure: Pressure::Wait }
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(async move {
            if batch.dropped_before > 0 {
                // Pieces are missing: the steps under way give their text whole at their end.
                self.streamed().clear();
            }
            for event in &batch.events {
                for chunk in self.chunks(event) {
                    if self.admits(chunk.kind) {
                        self.queue.push(chunk).await;
                    }
                }
            }
            Ok(Ack::All)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
