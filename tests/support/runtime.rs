//! Runtimes of tests: a task that is left behind fails the test.
//!
//! Only what was spawned on them counts: threads, and the lanes of plugins, are looked at where they are.

use cofferdam::Orchestrator;
use cofferdam::core::limits::CANCEL_GRACE_MS;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// What a closed orchestrator had at work has ended; a task may still be on its way out.
const CLOSED: Duration = Duration::from_secs(1);
/// Nobody waits for what was dropped: the grace of what ignores that, and some more for a slow machine.
const DROPPED: Duration = Duration::from_millis(CANCEL_GRACE_MS + 3_000);

/// A runtime on which no task is left when a test is over.
pub(crate) struct TestRuntime(Runtime);

impl TestRuntime {
    /// One thread, whose time stands still until nothing else is left to do.
    pub(crate) fn quick() -> Self {
        Self(Builder::new_current_thread().enable_all().start_paused(true).build().unwrap())
    }

    /// Several threads, and the time of the clock on the wall.
    pub(crate) fn threads(count: usize) -> Self {
        Self(Builder::new_multi_thread().worker_threads(count).enable_all().build().unwrap())
    }

    /// Does work to its end, and looks that nothing of what it had and dropped runs on.
    pub(crate) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.0.block_on(async {
            let output = work.await;
            no_task_is_left(DROPPED, "when all was dropped").await;
            output
        })
    }

    /// Leaves threads behind that nobody can end.
    pub(crate) fn shutdown_background(self) {
        self.0.shutdown_background();
    }
}

/// Closes an orchestrator and looks that nothing of it runs on.
pub(crate) async fn close(orchestrator: &Orchestrator) {
    let report = orchestrator.close().await;
    assert!(report.still_running.is_empty(), "{report:?}");
    no_task_is_left(CLOSED, "after `close`").await;
}

async fn no_task_is_left(within: Duration, when: &str) {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let over = tokio::time::Instant::now() + within;
    while tasks() > 0 {
        assert!(tokio::time::Instant::now() < over, "{} tasks are left {when}", tasks());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
