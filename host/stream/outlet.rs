//! Chunks on their way to whoever reads: numbered, joined while they are fresh, shown to the handler, queued.

use super::ChunkHandler;
use super::chunk::{Chunk, ChunkKind};
use cofferdam_core::port::Clock;
use cofferdam_core::time::Timestamp;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// Chunks between the run and the reader.
pub(super) struct Queue {
    state: Mutex<Waiting>,
    bound: usize,
    handler: Option<ChunkHandler>,
    /// Stops the run. Then nothing waits for the reader any more; what comes still is what the run had made by then.
    cancel: CancellationToken,
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
    pub(super) fn new(bound: usize, handler: Option<ChunkHandler>, cancel: CancellationToken) -> Self {
        Self { state: Mutex::default(), bound, handler, cancel, filled: Notify::new(), drained: Notify::new() }
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

    /// Nobody reads any more: what comes goes to the handler alone, so that the run never waits for a reader.
    pub(super) fn discard(&self) {
        let mut state = self.state();
        state.discard = true;
        state.chunks.clear();
        drop(state);
        self.drained.notify_one();
    }

    /// Gives the last chunk of a stream its number and time, and shows it to the handler.
    pub(super) fn finish(&self, mut chunk: Chunk) -> Chunk {
        let state = self.state();
        chunk.index = state.next_index;
        chunk.at = state.last;
        drop(state);
        self.show(&chunk);
        chunk
    }

    /// Numbers chunks, shows them to the handler, and queues them as the reader makes room.
    async fn push(&self, mut chunks: VecDeque<Chunk>) {
        self.number(&mut chunks);
        chunks.iter().for_each(|chunk| self.show(chunk));
        while !chunks.is_empty() {
            let drained = self.drained.notified();
            {
                let mut state = self.state();
                if state.discard {
                    return;
                }
                let room = self.bound.saturating_sub(state.chunks.len());
                let count = if self.cancel.is_cancelled() { chunks.len() } else { room.min(chunks.len()) };
                state.chunks.extend(chunks.drain(..count));
            }
            self.filled.notify_one();
            if chunks.is_empty() {
                return;
            }
            tokio::select! {
                () = drained => {}
                () = self.cancel.cancelled() => {}
            }
        }
    }

    fn number(&self, chunks: &mut VecDeque<Chunk>) {
        let mut state = self.state();
        for chunk in chunks {
            chunk.index = state.next_index;
            state.next_index += 1;
            state.last = chunk.at;
        }
    }

    /// A handler that panics is the embedder's fault and must not end the run.
    fn show(&self, chunk: &Chunk) {
        let Some(ChunkHandler(handler)) = &self.handler else { return };
        if catch_unwind(AssertUnwindSafe(|| handler(chunk))).is_err() {
            tracing::warn!(index = chunk.index, "the handler of a stream panicked");
        }
    }
}

/// The way into the queue. Pieces of text wait for the next ones of the same step, at most for the interval.
pub(super) struct Outlet {
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    interval: Option<Duration>,
    /// Held while a chunk is queued, so that chunks keep their order.
    fresh: tokio::sync::Mutex<Option<Fresh>>,
}

/// A piece that waits for the next one, and what lets it go when its time is over.
struct Fresh {
    piece: Chunk,
    timer: AbortHandle,
}

impl Fresh {
    /// A timer without its piece would stay as long as the interval lasts.
    fn let_go(self) -> Chunk {
        self.timer.abort();
        self.piece
    }
}

impl Outlet {
    pub(super) fn new(queue: Arc<Queue>, clock: Arc<dyn Clock>, interval: Option<Duration>) -> Arc<Self> {
        let interval = interval.filter(|interval| !interval.is_zero());
        Arc::new(Self { queue, clock, interval, fresh: tokio::sync::Mutex::new(None) })
    }

    /// Sends what came together.
    pub(super) async fn send(self: &Arc<Self>, chunks: Vec<Chunk>) {
        let mut fresh = self.fresh.lock().await;
        let mut ready = VecDeque::with_capacity(chunks.len());
        for chunk in chunks {
            self.settle(&mut fresh, chunk, &mut ready);
        }
        self.queue.push(ready).await;
    }

    /// Joins a chunk with what waits for more, lets it wait itself, or lets all of it go.
    fn settle(self: &Arc<Self>, fresh: &mut Option<Fresh>, chunk: Chunk, ready: &mut VecDeque<Chunk>) {
        let piece = matches!(chunk.kind, ChunkKind::Delta | ChunkKind::Thought);
        let Some(interval) = self.interval.filter(|_| piece) else {
            ready.extend(fresh.take().map(Fresh::let_go));
            ready.push_back(chunk);
            return;
        };
        match fresh.as_mut() {
            Some(Fresh { piece, .. }) if piece.kind == chunk.kind && piece.metadata == chunk.metadata => {
                piece.delta.get_or_insert_default().push_str(chunk.delta.as_deref().unwrap_or_default());
                return;
            }
            _ => {}
        }
        let (this, sleep) = (Arc::clone(self), self.clock.sleep(interval));
        let timer = tokio::spawn(async move {
            sleep.await;
            this.expire().await;
        });
        let before = fresh.replace(Fresh { piece: chunk, timer: timer.abort_handle() });
        ready.extend(before.map(Fresh::let_go));
    }

    /// Lets go what still waits for more.
    pub(super) async fn flush(&self) {
        let mut fresh = self.fresh.lock().await;
        self.queue.push(fresh.take().map(Fresh::let_go).into_iter().collect()).await;
    }

    /// The time of the piece is over. Its timer is the task that says so, and must not end itself.
    async fn expire(&self) {
        let mut fresh = self.fresh.lock().await;
        self.queue.push(fresh.take().map(|fresh| fresh.piece).into_iter().collect()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::ChunkMetadata;
    use super::*;
    use cofferdam_core::id::StepPath;

    #[test]
    fn no_timer_outlives_its_piece() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let queue = Arc::new(Queue::new(1_000, None, CancellationToken::new()));
            let outlet = Outlet::new(Arc::clone(&queue), crate::compose::clock(), Some(Duration::from_secs(3_600)));
            for turn in 0..100 {
                let path = StepPath::from(["a", "b"][turn % 2]);
                let metadata = ChunkMetadata { path, ..ChunkMetadata::default() };
                let piece = Chunk::new(ChunkKind::Delta, Timestamp::default(), metadata);
                outlet.send(vec![Chunk { delta: Some("x".to_owned()), ..piece }]).await;
            }
            outlet.flush().await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
            assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 100);
        });
    }
}
