//! Evaluates expressions on threads of their own: the stack is large, and a hopeless evaluation cannot be
//! cancelled, so it must not hold a worker of the runtime.

use cofferdam_core::expr::EvalError;
use cofferdam_core::limits;
use std::sync::{Arc, Mutex, OnceLock, mpsc};

/// The threads; started by the first evaluation.
#[derive(Default)]
pub(crate) struct Evaluator {
    jobs: OnceLock<Option<mpsc::Sender<Job>>>,
    in_place: bool,
}

/// Called with whether there is a thread to do it.
type Job = Box<dyn FnOnce(bool) + Send>;

impl Evaluator {
    /// Evaluates on the thread that asks, which has the stack for it.
    pub(crate) fn in_place() -> Self {
        Self { in_place: true, ..Self::default() }
    }

    /// Does `work` on one of the threads and calls `then` there with what it gave.
    pub(crate) fn evaluate<T>(
        &self,
        work: impl FnOnce() -> Result<T, EvalError> + Send + 'static,
        then: impl FnOnce(Result<T, EvalError>) + Send + 'static,
    ) {
        let job: Job = Box::new(move |alive| then(if alive { guarded(work) } else { failed("the threads are gone") }));
        if self.in_place {
            return job(true);
        }
        let refused = match self.jobs.get_or_init(start) {
            Some(jobs) => jobs.send(job).err().map(|refused| refused.0),
            None => Some(job),
        };
        if let Some(job) = refused {
            job(false);
        }
    }
}

fn guarded<T>(work: impl FnOnce() -> Result<T, EvalError>) -> Result<T, EvalError> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    outcome.unwrap_or_else(|_| failed("the evaluation panicked"))
}

fn failed<T>(why: &str) -> Result<T, EvalError> {
    Err(EvalError::Failed(why.to_owned()))
}

/// Starts the threads; none when the system gives none.
fn start() -> Option<mpsc::Sender<Job>> {
    let (sender, receiver) = mpsc::channel::<Job>();
    let receiver = Arc::new(Mutex::new(receiver));
    let mut started = 0;
    for index in 0..limits::EXPRESSION_THREADS {
        let receiver = Arc::clone(&receiver);
        let thread =
            std::thread::Builder::new().name(format!("expressions-{index}")).stack_size(limits::EXPRESSION_STACK_BYTES);
        started += usize::from(thread.spawn(move || work(&receiver)).is_ok());
    }
    (started > 0).then_some(sender)
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        job(true);
    }
}
