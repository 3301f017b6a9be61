//! Turns events into chunks.

use super::StreamOptions;
use super::chunk::{Chunk, ChunkKind, ChunkMedia, ChunkMetadata, ChunkTool};
use super::outlet::Outlet;
use super::outline::Outline;
use crate::sink::wanted;
use cofferdam_core::event::{Body, RunEvent, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam_core::spec::workflow::Workflow;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A sink that feeds a stream.
pub(crate) struct ChunkSink {
    options: StreamOptions,
    view: View,
    outlet: Arc<Outlet>,
    steps: Mutex<Steps>,
}

/// What is known of the steps under way, by their paths in the stream.
#[derive(Default)]
struct Steps {
    started: BTreeMap<StepPath, ChunkMetadata>,
    /// Those whose text came in pieces.
    streamed: BTreeSet<StepPath>,
    /// Where the last chunk belongs: pieces of one text come one behind the other.
    last: Option<Place>,
}

/// Where the events of a path belong.
struct Place {
    within: StepPath,
    path: StepPath,
    metadata: ChunkMetadata,
}

/// How the steps of a run stand in the stream.
pub(super) struct View {
    outline: Outline,
    /// The step that the run works for; none for the stream's own run.
    within: StepPath,
    /// The workflows around it, when it is not the stream's own.
    workflow: Option<String>,
}

impl View {
    fn path(&self, inner: &StepPath) -> StepPath {
        match (self.within.is_root(), inner.is_root()) {
            (true, _) => inner.clone(),
            (false, true) => self.within.clone(),
            (false, false) => StepPath::from(format!("{}.{inner}", self.within).as_str()),
        }
    }
}

/// Shows the runs inside a run on the stream of the outermost one.
#[derive(Clone)]
pub(crate) struct Relay {
    sink: Arc<ChunkSink>,
    within: StepPath,
}

impl Relay {
    pub(super) fn new(sink: Arc<ChunkSink>) -> Self {
        Self { sink, within: StepPath::ROOT }
    }

    /// The sink of a run of `workflow` that works for the step at `path`, and the relay of runs inside it.
    pub(crate) fn inner(&self, workflow: &Arc<Workflow>, path: &StepPath, named: String) -> (Arc<dyn Sink>, Self) {
        let within = View { outline: Outline::new(workflow), within: self.within.clone(), workflow: None }.path(path);
        let view = View { outline: Outline::new(workflow), within: within.clone(), workflow: Some(named) };
        let sink = Relayed { view, sink: Arc::clone(&self.sink) };
        (Arc::new(sink), Self { sink: Arc::clone(&self.sink), within })
    }
}

/// Feeds the stream of an outer run with the events of an inner one.
struct Relayed {
    view: View,
    sink: Arc<ChunkSink>,
}

impl ChunkSink {
    pub(super) fn new(options: StreamOptions, outline: Outline, outlet: Arc<Outlet>) -> Self {
        let view = View { outline, within: StepPath::ROOT, workflow: None };
        Self { options, view, outlet, steps: Mutex::default() }
    }

    fn admits(&self, kind: ChunkKind) -> bool {
        let options = &self.options;
        match kind {
            ChunkKind::Text | ChunkKind::Delta | ChunkKind::Error | ChunkKind::Done => true,
            _ if options.text_only => false,
            ChunkKind::Thought => options.thoughts,
            ChunkKind::ToolCall | ChunkKind::ToolResult => options.tool_calls,
            ChunkKind::Metadata => options.metadata,
            ChunkKind::AgentStart
            | ChunkKind::AgentComplete
            | ChunkKind::Image
            | ChunkKind::Audio
            | ChunkKind::Video => true,
        }
    }

    async fn take(&self, batch: &Batch, view: &View) {
        if batch.dropped_before > 0 {
            // Pieces are missing: the steps under way give their text whole at their end.
            self.steps().streamed.clear();
        }
        let mut chunks = Vec::with_capacity(batch.events.len());
        {
            let mut steps = self.steps();
            for event in &batch.events {
                let told = Reading { steps: &mut steps, view, event }.chunks();
                chunks.extend(told.into_iter().filter(|chunk| self.admits(chunk.kind)));
            }
        }
        self.outlet.send(chunks).await;
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for ChunkSink {
    fn want(&self) -> Want {
        Want::new(Vec::new(), Pressure::Wait)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(async move {
            self.take(&batch, &self.view).await;
            Ok(Ack::All)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            self.outlet.flush().await;
            Ok(())
        })
    }
}

impl Sink for Relayed {
    fn want(&self) -> Want {
        self.sink.want()
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(async move {
            self.sink.take(&batch, &self.view).await;
            Ok(Ack::All)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.sink.flush()
    }
}

/// One event on its way to chunks.
struct Reading<'a> {
    steps: &'a mut Steps,
    view: &'a View,
    event: &'a RunEvent,
}

impl Reading<'_> {
    fn metadata(&mut self) -> ChunkMetadata {
        let here = |last: &&Place| last.path == self.event.path && last.within == self.view.within;
        let metadata = match self.steps.last.as_ref().filter(here) {
            Some(last) => last.metadata.clone(),
            None => {
                let metadata = self.place();
                let (within, path) = (self.view.within.clone(), self.event.path.clone());
                self.steps.last = Some(Place { within, path, metadata: metadata.clone() });
                metadata
            }
        };
        ChunkMetadata { event: Some(self.event.body.kind()), ..metadata }
    }

    fn place(&self) -> ChunkMetadata {
        let spot = self.view.outline.spot(&self.event.path);
        ChunkMetadata {
            step_name: spot.step_name,
            path: self.path(),
            iteration: spot.iteration,
            step_index: spot.step_index,
            total_steps: self.view.outline.names.len(),
            workflow: self.view.workflow.clone(),
            event: None,
        }
    }

    fn path(&self) -> StepPath {
        self.view.path(&self.event.path)
    }

    fn chunk(&mut self, kind: ChunkKind) -> Chunk {
        Chunk::new(kind, self.event.at, self.metadata())
    }

    fn said(&mut self, kind: ChunkKind, content: &str) -> Vec<Chunk> {
        let mut chunk = self.chunk(kind);
        chunk.content = Some(content.into());
        vec![chunk]
    }

    /// The chunks of the event, in order.
    fn chunks(mut self) -> Vec<Chunk> {
        let event = self.event;
        match &event.body {
            Body::OutputDelta { text, .. } => self.piece(ChunkKind::Delta, text),
            Body::ThinkingDelta { text, .. } => self.piece(ChunkKind::Thought, text),
            Body::ToolCallStarted { .. } | Body::ToolCallFinished { .. } => self.tool(),
            Body::StepStarted { .. } => self.start(),
            Body::StepFinished { status, output, error, .. } => self.end(*status, &output.content, error.as_ref()),
            Body::StepCancelled { detail } => {
                let mut chunks = self.said(ChunkKind::Metadata, detail);
                chunks.extend(self.leave_off());
                chunks
            }
            Body::StepWaiting(_) => self.leave_off().into_iter().collect(),
            Body::QuestionAsked { question, deferred: true, .. } => {
                let mut chunks = self.said(ChunkKind::Metadata, question);
                chunks.extend(self.leave_off());
                chunks
            }
            Body::RunFinished { .. } => self.leave_off_all(),
            Body::StepRetrying { error, .. } => {
                self.steps.streamed.remove(&self.path());
                let mut chunk = self.chunk(ChunkKind::Metadata);
                chunk.error = Some(error.clone());
                vec![chunk]
            }
            Body::StepSkipped { detail: text, .. }
            | Body::Warning { message: text, .. }
            | Body::QuestionAsked { question: text, .. } => self.said(ChunkKind::Metadata, text),
            Body::PermissionAsked { tool, args, agent, .. } => {
                self.said(ChunkKind::Metadata, &wanted(agent.as_deref(), tool, args))
            }
            Body::BudgetWarning(mark) | Body::BudgetExhausted(mark) => {
                self.said(ChunkKind::Metadata, &mark.to_string())
            }
            Body::Narrated { text, .. } | Body::Summarized { summary: text } => self.said(ChunkKind::Metadata, text),
            Body::VariableSet { key, value } => {
                self.said(ChunkKind::Metadata, &json!({ key.as_str(): value }).to_string())
            }
            Body::MemoryWritten { namespace, key, value, .. } => {
                let entry = format!("{namespace}.{key}");
                self.said(ChunkKind::Metadata, &json!({ "memory": { entry: **value } }).to_string())
            }
            Body::MemoryDeleted { namespace, key, .. } => {
                let entry = format!("{namespace}.{key}");
                self.said(ChunkKind::Metadata, &json!({ "memory": { entry: null } }).to_string())
            }
            Body::RunStarted { .. }
            | Body::RunResumed { .. }
            | Body::LoopIterationStarted { .. }
            | Body::LoopIterationFinished { .. }
            | Body::LoopFinished { .. }
            | Body::PermissionDecided { .. }
            | Body::PluginDenied { .. } => {
                vec![self.chunk(ChunkKind::Metadata)]
            }
            _ => Vec::new(),
        }
    }

    fn piece(&mut self, kind: ChunkKind, text: &str) -> Vec<Chunk> {
        // What a sub-agent writes is for its agent, and no part of what the step gives.
        let kind = if self.event.path.is_delegate() { ChunkKind::Thought } else { kind };
        if kind == ChunkKind::Delta {
            let path = self.path();
            self.steps.streamed.insert(path);
            self.said_within();
        }
        let mut chunk = self.chunk(kind);
        chunk.delta = Some(text.to_owned());
        vec![chunk]
    }

    /// What the step that the run works for gives in the end has been said here.
    fn said_within(&mut self) {
        if !self.view.within.is_root() {
            self.steps.streamed.insert(self.view.within.clone());
        }
    }

    fn tool(&mut self) -> Vec<Chunk> {
        let event = self.event;
        match &event.body {
            Body::ToolCallStarted { call_id, tool, args } => {
                let mut chunk = self.chunk(ChunkKind::ToolCall);
                let (call_id, name) = (call_id.clone(), tool.to_string());
                chunk.tool = Some(ChunkTool { call_id, name, args: Some(Arc::clone(args)), result: None });
                vec![chunk]
            }
            Body::ToolCallFinished { call_id, tool, result, content, error, .. } => {
                let mut chunk = self.chunk(ChunkKind::ToolResult);
                let tool = ChunkTool { call_id: call_id.clone(), name: tool.to_string(), args: None, result: None };
                chunk.tool = Some(ChunkTool { result: Some(Arc::clone(result)), ..tool.clone() });
                chunk.content = Some(Arc::clone(content));
                chunk.error.clone_from(error);
                let media = ChunkMedia::all_of(result).map(|(kind, media)| {
                    let (tool, media) = (Some(tool.clone()), Some(media));
                    Chunk { tool, media, ..self.chunk(kind) }
                });
                std::iter::once(chunk).chain(media).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A step begins once, however often it is tried.
    fn start(&mut self) -> Vec<Chunk> {
        let (path, metadata) = (self.path(), self.metadata());
        let first = self.steps.started.insert(path, metadata).is_none();
        vec![self.chunk(if first { ChunkKind::AgentStart } else { ChunkKind::Metadata })]
    }

    /// The end of a step that gives nothing: it was cancelled, or waits and goes on in another stream.
    fn leave_off(&mut self) -> Option<Chunk> {
        let path = self.path();
        self.steps.streamed.remove(&path);
        self.steps.started.remove(&path)?;
        Some(self.chunk(ChunkKind::AgentComplete))
    }

    /// The ends of all steps of a run that are still open, since something inside of them waits; the inner ones come first.
    fn leave_off_all(&mut self) -> Vec<Chunk> {
        let within = self.view.within.clone();
        let is_inside = |path: &StepPath| within.is_root() || (within != *path && within.holds(path));
        let open = self.steps.started.extract_if(.., |path, _| is_inside(path));
        let event = Some(self.event.body.kind());
        let complete = |(_, metadata): (StepPath, ChunkMetadata)| {
            Chunk::new(ChunkKind::AgentComplete, self.event.at, ChunkMetadata { event, ..metadata })
        };
        let mut chunks: Vec<Chunk> = open.map(complete).collect();
        chunks.reverse();
        chunks
    }

    /// Text that was not streamed comes whole; then the step's end, with its error if it failed. A step that is made of
    /// others says nothing of its own: they have said it.
    fn end(&mut self, status: StepStatus, content: &Arc<str>, error: Option<&Fault>) -> Vec<Chunk> {
        let path = self.path();
        self.steps.started.remove(&path);
        let streamed = self.steps.streamed.remove(&path) || !self.view.outline.is_leaf(&self.event.path);
        let mut chunks = Vec::new();
        if status == StepStatus::Completed && !streamed && !content.is_empty() {
            chunks.extend(self.said(ChunkKind::Text, content));
            self.said_within();
        }
        if let Some(error) = error {
            let mut chunk = self.chunk(ChunkKind::Error);
            chunk.error = Some(error.clone());
            chunks.push(chunk);
        }
        chunks.extend(self.said(ChunkKind::AgentComplete, content));
        chunks
    }
}
