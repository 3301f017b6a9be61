//! The small tokio runtime on which guests run, apart from that of the host.
//!
//! A guest that computes yields at each epoch tick; on the host's own runtime it would hold up timers and
//! streams for that long. It must not know what it runs.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::available_parallelism;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

const FEWEST_THREADS: usize = 2;
const MOST_THREADS: usize = 8;
/// File operations of guests block one of these each.
const BLOCKING_THREADS: usize = 32;

/// How many guests of one plugin may compute at once: as many as there are processors, within bounds.
pub(crate) fn threads() -> usize {
    available_parallelism().map_or(FEWEST_THREADS, usize::from).clamp(FEWEST_THREADS, MOST_THREADS)
}

/// The threads on which guests run.
pub(crate) struct GuestRuntime {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    /// As many as guests of one plugin may compute at once.
    turns: Semaphore,
}

impl GuestRuntime {
    /// Starts the threads.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            // Two plugins that compute on all their turns leave one thread to the calls of others.
            .worker_threads(2 * threads() + 1)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("cofferdam-guest")
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime), turns: Semaphore::new(threads()) })
    }

    /// A turn for work that computes and waits for nothing, so that its time is not spent on that of others.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// How many futures run or wait there.
    pub(crate) fn tasks(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }

    /// Runs the future there. Dropping the task ends it at its next tick.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let runtime = self.runtime.as_ref().expect("the runtime is there until it is dropped");
        Task(runtime.spawn(work))
    }
}

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for the threads is not allowed where a future may drop this.
            runtime.shutdown_background();
        }
    }
}

/// Work on the guests' threads.
pub(crate) struct Task<T>(JoinHandle<T>);

/// The host's own code failed while it worked for a guest.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

impl<T> Future for Task<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|error| match error.try_into_panic() {
            Ok(payload) => Panicked(message(&*payload)),
            Err(_) => Panicked("the host is shutting down".to_owned()),
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_over_there_is_an_error_here() {
        let runtime = GuestRuntime::start().unwrap();
        let task = runtime.spawn(async { assert_eq!(1, 2, "boom") });
        assert!(task.await.unwrap_err().0.contains("boom"));
        assert_eq!(runtime.spawn(async { 7 }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_dropped_task_ends() {
        let runtime = GuestRuntime::start().unwrap();
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let task = runtime.spawn(async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        });
        drop(task);
        assert!(told.await.is_err());
    }
}
