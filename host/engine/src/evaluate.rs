//! Evaluates expressions on threads of their own: the stack is large, and a hopeless evaluation cannot be
//! cancelled, so it must not hold a worker of the runtime.

use cofferdam_core::expr::{EvalError, Expr};
use cofferdam_core::limits;
use cofferdam_core::value::Map;
use serde_json::Value;
use std::sync::{Arc, Mutex, OnceLock, mpsc};

/// The threads; started by the first evaluation.
#[derive(Debug, Default)]
pub(crate) struct Evaluator {
    jobs: OnceLock<Option<mpsc::Sender<Job>>>,
    in_place: bool,
}

struct Job {
    expr: Expr,
    variables: Map,
    then: Box<dyn FnOnce(Result<Value, EvalError>) + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("expr", &self.expr.source()).finish_non_exhaustive()
    }
}

impl Evaluator {
    /// Evaluates on the thread that asks, which has the stack for it.
    pub(crate) fn in_place() -> Self {
        Self { in_place: true, ..Self::default() }
    }

    /// Evaluates `expr` and calls `then` with what it gave, on one of the threads.
    pub(crate) fn evaluate(
        &self,
        expr: Expr,
        variables: Map,
        then: impl FnOnce(Result<Value, EvalError>) + Send + 'static,
    ) {
        let job = Job { expr, variables, then: Box::new(then) };
        if self.in_place {
            return job.run();
        }
        let refused = match self.jobs.get_or_init(start) {
            Some(jobs) => jobs.send(job).err().map(|refused| refused.0),
            None => Some(job),
        };
        if let Some(job) = refused {
            (job.then)(Err(EvalError::Failed("the threads for expressions are gone".to_owned())));
        }
    }
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
        job.run();
    }
}

impl Job {
    fn run(self) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.expr.evaluate(&self.variables)));
        (self.then)(outcome.unwrap_or_else(|_| Err(EvalError::Failed("the evaluation panicked".to_owned()))));
    }
}
