//! The threads on which guests run, apart from those of the host.
//!
//! A guest that computes yields at each epoch tick; on the host's own runtime it would hold up timers and streams for that
//! long. It must not know what it runs.

use crate::lane::{Lane, Nice, Pace};
use crate::leg::{Course, Leg};
use std::panic::catch_unwind;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::available_parallelism;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

const FEWEST_THREADS: usize = 2;
const MOST_THREADS: usize = 8;
/// File operations of guests block one of these each.
const BLOCKING_THREADS: usize = 32;
/// How many tasks a thread runs before it looks for those that came from outside: few, since every call comes from there.
const FAIRNESS: u32 = 2;

/// How many guests of one component may compute at once: as many as there are processors, within bounds.
pub(crate) fn threads() -> usize {
    // Asked once: the system looks it up in files.
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS
        .get_or_init(|| available_parallelism().map_or(FEWEST_THREADS, usize::from).clamp(FEWEST_THREADS, MOST_THREADS))
}

/// The threads on which guests run.
pub(crate) struct GuestRuntime {
    lanes: Arc<Lanes>,
    /// As many as pure guests may compute at once.
    turns: Semaphore,
}

impl GuestRuntime {
    /// Starts the threads for short calls; the others come with the first call that needs them.
    pub(crate) fn start() -> std::io::Result<Self> {
        let nice = Nice::of_this_thread();
        let lanes =
            Lanes { short: Some(start(Lane::Short, nice)?), crowd: OnceLock::new(), long: OnceLock::new(), nice };
        Ok(Self { lanes: Arc::new(lanes), turns: Semaphore::new(threads()) })
    }

    /// A turn for work that computes and waits for nothing, so that its time is not spent on that of others.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// How many futures run or wait there.
    pub(crate) fn tasks(&self) -> usize {
        self.lanes.running().map(|runtime| runtime.metrics().num_alive_tasks()).sum()
    }

    /// Runs a call there, in the lane that its component's pace asks for, and in another when it turns out to be long.
    /// Dropping the task ends it at its next tick.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        pace: &Pace,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        self.begin(pace.lane(), Some(pace.clone()), work)
    }

    /// Runs work there among the short calls, however long it is: work that the host itself waits for. Dropping the task ends
    /// it.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        self.begin(Lane::Short, None, work)
    }

    fn begin<T: Send + 'static>(
        &self,
        lane: Lane,
        pace: Option<Pace>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let (answers, answer) = oneshot::channel();
        let course = Arc::new(Course::default());
        let leg = Leg::new(Box::pin(work), (lane, pace), answers, Arc::clone(&course), Arc::clone(&self.lanes));
        course.goes_on(|| self.lanes.of(lane).spawn(leg).abort_handle());
        Task { answer, course }
    }
}

/// The threads of each lane.
pub(crate) struct Lanes {
    /// There until all is dropped.
    short: Option<Runtime>,
    crowd: OnceLock<Option<Runtime>>,
    long: OnceLock<Option<Runtime>>,
    /// Of the process, whatever lane a thread is started from.
    nice: Nice,
}

impl Lanes {
    fn short(&self) -> &Runtime {
        self.short.as_ref().expect("it is there until all is dropped")
    }

    /// The threads of a lane; those for short calls where the system gives no more.
    pub(crate) fn of(&self, lane: Lane) -> &Runtime {
        let later = match lane {
            Lane::Short => return self.short(),
            Lane::Crowd => &self.crowd,
            Lane::Long => &self.long,
        };
        let begin = || {
            // tokio panics where it gets no thread.
            let started = catch_unwind(|| start(lane, self.nice));
            let runtime = started.ok().and_then(Result::ok);
            if runtime.is_none() {
                tracing::warn!("the system gives no more threads: long calls of plugins hold up short ones");
            }
            runtime
        };
        later.get_or_init(begin).as_ref().unwrap_or_else(|| self.short())
    }

    fn running(&self) -> impl Iterator<Item = &Runtime> {
        self.short.iter().chain([self.crowd.get(), self.long.get()].into_iter().flatten().flatten())
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        let later = [self.crowd.take(), self.long.take()].into_iter().flatten().flatten();
        for runtime in self.short.take().into_iter().chain(later) {
            // Waiting for the threads is not allowed where a future may drop this.
            runtime.shutdown_background();
        }
    }
}

fn start(lane: Lane, nice: Nice) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        // Two plugins that compute on all their turns leave one thread to the calls of others.
        .worker_threads(2 * threads() + 1)
        .max_blocking_threads(BLOCKING_THREADS)
        .global_queue_interval(FAIRNESS)
        .thread_name(lane.name())
        .on_thread_start(move || lane.enter(nice))
        .enable_all()
        .build()
}

/// Work on the guests' threads.
pub(crate) struct Task<T> {
    answer: oneshot::Receiver<Result<T, Panicked>>,
    course: Arc<Course>,
}

/// The host's own code failed while it worked for a guest.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

impl<T> Future for Task<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = || Err(Panicked("the host is shutting down".to_owned()));
        Pin::new(&mut self.answer).poll(cx).map(|answer| answer.unwrap_or_else(|_| gone()))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.course.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::crowd;
    use std::time::{Duration, Instant};

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
        let (tell, told) = oneshot::channel::<()>();
        let task = runtime.spawn(async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        });
        drop(task);
        assert!(told.await.is_err());
    }

    async fn lane_of_a_call(runtime: &GuestRuntime, pace: &Pace, computes: Duration) -> String {
        let work = async move {
            let begun = Instant::now();
            while begun.elapsed() < computes {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
            std::thread::current().name().unwrap_or_default().to_owned()
        };
        runtime.call(pace, work).await.unwrap()
    }

    #[tokio::test]
    async fn a_call_that_computes_long_goes_on_aside_and_the_next_one_begins_there() {
        let (runtime, pace, other) = (GuestRuntime::start().unwrap(), Pace::default(), Pace::default());
        assert_eq!(lane_of_a_call(&runtime, &pace, Duration::ZERO).await, Lane::Short.name());
        // Of the processor's time, which is less than that of the clock where others compute.
        assert_eq!(lane_of_a_call(&runtime, &pace, Duration::from_millis(500)).await, Lane::Long.name());
        assert_eq!(lane_of_a_call(&runtime, &pace, Duration::ZERO).await, Lane::Long.name());
        assert_eq!(lane_of_a_call(&runtime, &other, Duration::ZERO).await, Lane::Short.name());
        // That one was short.
        assert_eq!(lane_of_a_call(&runtime, &pace, Duration::ZERO).await, Lane::Short.name());
    }

    #[tokio::test]
    async fn work_of_the_host_stays_where_it_is() {
        let runtime = GuestRuntime::start().unwrap();
        let name = runtime.spawn(async {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(500) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
            std::thread::current().name().unwrap_or_default().to_owned()
        });
        assert_eq!(name.await.unwrap(), Lane::Short.name());
    }

    #[tokio::test]
    async fn a_call_moves_though_nobody_looks_and_ends_where_it_went() {
        let (runtime, (tell, told)) = (GuestRuntime::start().unwrap(), oneshot::channel());
        let task = runtime.call(&Pace::default(), async move {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(500) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
            let _ = tell.send(std::thread::current().name().unwrap_or_default().to_owned());
            std::future::pending::<()>().await;
        });
        assert_eq!(told.await.unwrap(), Lane::Long.name());
        drop(task);
        while runtime.tasks() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_call_that_waited_goes_on_where_its_component_has_come_to() {
        let (runtime, pace, (tell, waits)) = (GuestRuntime::start().unwrap(), Pace::default(), oneshot::channel());
        let mut tell = Some(tell);
        let task = runtime.call(
            &pace,
            std::future::poll_fn(move |cx| match tell.take() {
                Some(tell) => {
                    let _ = tell.send(cx.waker().clone());
                    Poll::Pending
                }
                None => Poll::Ready(std::thread::current().name().unwrap_or_default().to_owned()),
            }),
        );
        let wakes = waits.await.unwrap();
        pace.note(true);
        wakes.wake();
        assert_eq!(task.await.unwrap(), Lane::Long.name());
    }

    #[tokio::test]
    async fn one_of_very_many_calls_begins_aside() {
        let (runtime, pace, other) = (GuestRuntime::start().unwrap(), Pace::default(), Pace::default());
        let many: Vec<_> = (0..crowd()).map(|_| pace.queue()).collect();
        assert_eq!(lane_of_a_call(&runtime, &pace, Duration::ZERO).await, Lane::Crowd.name());
        assert_eq!(lane_of_a_call(&runtime, &other, Duration::ZERO).await, Lane::Short.name());
        drop(many);
        assert_eq!(lane_of_a_call(&runtime, &pace, Duration::ZERO).await, Lane::Short.name());
    }
}
