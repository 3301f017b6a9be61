//! A run as a stream of typed chunks, with its result at the end.
//!
//! It is a sink like any other, so that what streams is what is recorded.

mod chunk;
mod outlet;
mod outline;
mod reader;
mod sink;

pub use chunk::{Chunk, ChunkKind, ChunkMedia, ChunkMetadata, ChunkTool};
pub use reader::TextReader;
pub(crate) use sink::Relay;

use crate::error::Error;
use crate::workflow::{Mode, Workflow};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{Clock, Sink};
use cofferdam_core::run::RunResult;
use outlet::{Outlet, Queue};
use outline::Outline;
use sink::ChunkSink;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a stream carries.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Chunks that wait to be read before the run's deltas wait for the reader.
    pub buffer: usize,
    /// Reasoning.
    pub thoughts: bool,
    /// Tool calls and their results; images, sound and films of results come as chunks of their own also without.
    pub tool_calls: bool,
    /// Steps that are skipped or retried, iterations, variables, warnings, permissions.
    pub metadata: bool,
    /// Only text; errors and the end stay.
    pub text_only: bool,
    /// The whole run; the smaller of this and the run's own.
    pub timeout: Option<Duration>,
    /// Joins the pieces of a step's text that come within this time.
    pub flush_interval: Option<Duration>,
    /// Sees every chunk as it is made, also when nobody reads them.
    pub handler: Option<ChunkHandler>,
}

/// Sees every chunk of a stream, in order, the last one included. It runs in the run's own tasks: it must be quick.
#[derive(Clone)]
pub struct ChunkHandler(Arc<dyn Fn(&Chunk) + Send + Sync>);

impl ChunkHandler {
    /// A handler that calls this.
    pub fn new(handle: impl Fn(&Chunk) + Send + Sync + 'static) -> Self {
        Self(Arc::new(handle))
    }
}

impl std::fmt::Debug for ChunkHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChunkHandler")
    }
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            buffer: limits::STREAM_BUFFER_CHUNKS,
            thoughts: true,
            tool_calls: true,
            metadata: true,
            text_only: false,
            timeout: None,
            flush_interval: None,
            handler: None,
        }
    }
}

/// What a stream is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMetadata {
    /// The workflow's name.
    pub workflow: String,
    /// The version of the workflow: SHA-256 over its document and files.
    pub workflow_id: String,
    /// The run.
    pub run_id: RunId,
    /// How its steps are wired.
    pub mode: Mode,
    /// Its steps in declaration order; those of one iteration when it is a loop.
    pub step_names: Vec<String>,
    /// How many they are.
    pub total_steps: usize,
}

/// A run that is under way. Dropping it cancels the run.
pub struct Stream {
    queue: Arc<Queue>,
    metadata: StreamMetadata,
    cancel: CancellationToken,
    run: Option<JoinHandle<Result<RunResult, Error>>>,
    outcome: Option<Result<RunResult, Error>>,
    done: bool,
}

/// A stream whose run has not begun.
pub(crate) struct Parts {
    queue: Arc<Queue>,
    metadata: StreamMetadata,
    cancel: CancellationToken,
    sink: Arc<ChunkSink>,
}

/// How the steps of a workflow are wired.
pub(crate) fn mode_of(workflow: &Workflow) -> Mode {
    Outline::new(workflow.shared()).mode
}

pub(crate) fn open(
    workflow: &Workflow,
    run_id: RunId,
    options: StreamOptions,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) -> Parts {
    let outline = Outline::new(workflow.shared());
    let metadata = StreamMetadata {
        workflow: workflow.name().to_owned(),
        workflow_id: workflow.document().hash.clone(),
        run_id,
        mode: outline.mode,
        step_names: outline.names.clone(),
        total_steps: outline.names.len(),
    };
    let queue = Arc::new(Queue::new(options.buffer.max(1), options.handler.clone(), cancel.clone()));
    let outlet = Outlet::new(Arc::clone(&queue), clock, options.flush_interval);
    let sink = Arc::new(ChunkSink::new(options, outline, outlet));
    Parts { queue, metadata, cancel, sink }
}

impl Parts {
    pub(crate) fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.sink) as Arc<dyn Sink>
    }

    /// What shows the runs inside this one.
    pub(crate) fn relay(&self) -> Relay {
        Relay::new(Arc::clone(&self.sink))
    }

    pub(crate) fn into_stream(self, run: JoinHandle<Result<RunResult, Error>>) -> Stream {
        let Self { queue, metadata, cancel, .. } = self;
        Stream { queue, metadata, cancel, run: Some(run), outcome: None, done: false }
    }
}

impl Stream {
    /// What the stream is of.
    #[must_use]
    pub fn metadata(&self) -> &StreamMetadata {
        &self.metadata
    }

    /// The next chunk; none after `done`. The last chunk of every stream is exactly one `done`.
    pub async fn next(&mut self) -> Option<Chunk> {
        if self.done {
            return None;
        }
        loop {
            if let Some(chunk) = self.queue.pop() {
                return Some(chunk);
            }
            if self.outcome.is_some() {
                return Some(self.finish());
            }
            let run = self.run.as_mut()?;
            tokio::select! {
                () = self.queue.filled() => {}
                outcome = run => self.settle(outcome),
            }
        }
    }

    /// The chunks as a stream of the `futures` crates; it can be left and taken up again.
    pub fn chunks(&mut self) -> impl futures_core::Stream<Item = Chunk> + Send + '_ {
        self.boxed()
    }

    fn boxed(&mut self) -> reader::Chunks<'_> {
        Box::pin(futures_util::stream::unfold(self, async |stream| {
            let chunk = stream.next().await?;
            Some((chunk, stream))
        }))
    }

    /// The text of the run as it is written, as a reader.
    pub fn text_reader(&mut self) -> TextReader<'_> {
        TextReader::new(self)
    }

    /// Waits for the result, whether or not the chunks are read.
    ///
    /// # Errors
    /// As [`crate::Orchestrator::run_flow`].
    pub async fn wait(mut self) -> Result<RunResult, Error> {
        self.queue.discard();
        if let Some(run) = self.run.as_mut() {
            let outcome = run.await;
            self.settle(outcome);
        }
        if !self.done {
            self.finish();
        }
        self.outcome.take().unwrap_or(Err(Error::Closed))
    }

    /// Stops the run; the stream goes on to its end. What the run had made by then waits for the reader, and the run does
    /// not.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// What stops the run, for a signal handler.
    pub fn canceller(&self) -> impl Fn() + Send + Sync + 'static + use<> {
        let cancel = self.cancel.clone();
        move || cancel.cancel()
    }

    fn settle(&mut self, outcome: Result<Result<RunResult, Error>, tokio::task::JoinError>) {
        self.run = None;
        self.outcome =
            Some(outcome.unwrap_or_else(|error| Err(Error::Settings(format!("the run's task ended: {error}")))));
    }

    fn finish(&mut self) -> Chunk {
        self.done = true;
        let last = match &self.outcome {
            Some(Ok(result)) => Chunk::done(result),
            Some(Err(error)) => Chunk::refused(Fault::user("refused", error.to_string())),
            None => Chunk::refused(Fault::cancelled()),
        };
        self.queue.finish(last)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.queue.discard();
        if self.outcome.is_none() && self.run.is_some() {
            self.cancel.cancel();
        }
    }
}
