//! A run as a stream of typed chunks, with its result at the end.
//!
//! It is a sink like any other, so that what streams is what is recorded.

mod chunk;
mod sink;

pub use chunk::{Chunk, ChunkKind, ChunkMetadata, ChunkTool};

use crate::error::Error;
use crate::workflow::Workflow;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::port::Sink;
use cofferdam_core::run::RunResult;
use sink::{ChunkSink, Queue};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a stream carries.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Chunks that wait to be read before the run's deltas wait for the reader.
    pub buffer: usize,
    /// Reasoning.
    pub thoughts: bool,
    /// Tool calls and their results.
    pub tool_calls: bool,
    /// Steps that are skipped or retried, warnings, permissions.
    pub metadata: bool,
    /// Only text; errors and the end stay.
    pub text_only: bool,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            buffer: limits::STREAM_BUFFER_CHUNKS,
            thoughts: true,
            tool_calls: true,
            metadata: true,
            text_only: false,
        }
    }
}

/// A run that is under way. Dropping it cancels the run.
pub struct Stream {
    queue: Arc<Queue>,
    cancel: CancellationToken,
    run: Option<JoinHandle<Result<RunResult, Error>>>,
    outcome: Option<Result<RunResult, Error>>,
    done: bool,
}

/// A stream whose run has not begun.
pub(crate) struct Parts {
    queue: Arc<Queue>,
    cancel: CancellationToken,
}

pub(crate) fn open(workflow: &Workflow, options: StreamOptions, cancel: CancellationToken) -> (Arc<dyn Sink>, Parts) {
    let queue = Arc::new(Queue::new(options.buffer.max(1)));
    let steps = workflow.inner.scope.steps.iter().enumerate();
    let order: BTreeMap<String, usize> = steps.map(|(index, step)| (step.id.to_string(), index)).collect();
    let sink = ChunkSink::new(options, order, Arc::clone(&queue));
    (Arc::new(sink), Parts { queue, cancel })
}

impl Parts {
    pub(crate) fn into_stream(self, run: JoinHandle<Result<RunResult, Error>>) -> Stream {
        Stream { queue: self.queue, cancel: self.cancel, run: Some(run), outcome: None, done: false }
    }
}

impl Stream {
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
                self.done = true;
                return Some(self.last());
            }
            let run = self.run.as_mut()?;
            tokio::select! {
                () = self.queue.filled() => {}
                outcome = run => self.settle(outcome),
            }
        }
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
        self.outcome.take().unwrap_or(Err(Error::Closed))
    }

    /// Stops the run; the stream goes on to its end.
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

    fn last(&self) -> Chunk {
        let last = match &self.outcome {
            Some(Ok(result)) => Chunk::done(result),
            Some(Err(error)) => Chunk::refused(Fault::user("refused", error.to_string())),
            None => Chunk::refused(Fault::cancelled()),
        };
        self.queue.number(last)
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
