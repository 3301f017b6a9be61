//! The retrieval memory of one run: what steps were told and gave goes in, and is searched, one after another.
//!
//! A task owns the way to the store, so that a search finds what was handed over before it. Whatever the store does, it
//! holds nobody longer than [`limits::RECALL_MS`], and one that fails again and again is left alone. It must not know what
//! becomes of what is found.

use crate::executor::Wake;
use crate::recorder::Inbox;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::port::{Clock, Hit, Memo, Recall, Search};
use cofferdam_core::recollect::{self, STEP_OUTPUT, Searcher};
use cofferdam_core::spec::workflow::RecallSettings;
use cofferdam_core::value::Map;
use futures_util::FutureExt as _;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The retrieval memory that a run is given.
#[derive(Clone)]
pub struct RunRecall {
    /// Where texts are kept.
    pub store: Arc<dyn Recall>,
    /// The space in it that the run has; see [`recollect::space_of`].
    pub space: String,
    /// What is kept, and how much of it enters prompts.
    pub settings: RecallSettings,
}

/// The code of the fault of a memory that is left alone.
pub(crate) const OFF: &str = "recall_off";

/// The way to the retrieval memory of a run. All clones are one.
#[derive(Clone)]
pub(crate) struct Recollection {
    jobs: mpsc::UnboundedSender<Job>,
    run: RunId,
    pub(crate) settings: Arc<RecallSettings>,
    /// Where in the run each step first began.
    began: Arc<Mutex<HashMap<StepPath, u64>>>,
}

/// What the task does. A step searches before it works and hands over what it gave, so that there are never many more jobs
/// than tries under way.
enum Job {
    Keep(Vec<Memo>),
    Search(String, oneshot::Sender<Result<Vec<Hit>, Fault>>),
    Flush(oneshot::Sender<Vec<String>>),
}

impl Recollection {
    /// The way, and the task that has to be driven for it.
    pub(crate) fn new(
        of: &RunRecall,
        run: RunId,
        clock: Arc<dyn Clock>,
        inbox: Inbox,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (jobs, queue) = mpsc::unbounded_channel();
        let settings = Arc::new(of.settings.clone());
        let keeper = Keeper {
            store: Arc::clone(&of.store),
            space: of.space.clone(),
            clock,
            inbox,
            failures: 0,
            unsaid: Vec::new(),
        };
        (Self { jobs, run, settings, began: Arc::default() }, keeper.serve(queue))
    }

    fn began(&self) -> std::sync::MutexGuard<'_, HashMap<StepPath, u64>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A try of a step begins; that of the first try counts.
    pub(crate) fn note_start(&self, path: &StepPath, seq: u64) {
        self.began().entry(path.clone()).or_insert(seq);
    }

    /// Hands over what is to be kept.
    pub(crate) fn keep(&self, memos: Vec<Memo>) {
        let _ = self.jobs.send(Job::Keep(memos));
    }

    /// What fits a text best of what a step may see, at most `limit`; nothing that `told` says already.
    pub(crate) async fn find(
        &self,
        path: &StepPath,
        (query, told): (&str, &str),
        limit: usize,
    ) -> Result<Vec<Hit>, Fault> {
        let (reply, answer) = oneshot::channel();
        let _ = self.jobs.send(Job::Search(query.to_owned(), reply));
        let found = answer.await.unwrap_or_else(|_| Err(Fault::cancelled()))?;
        let began = self.began().get(path).copied().unwrap_or(u64::MAX);
        let searcher = Searcher { run: &self.run, began, message: told };
        Ok(recollect::select(found, &searcher, &self.settings, limit))
    }

    /// Waits until all is kept that was handed over, at most so long; gives what nobody heard of yet.
    pub(crate) async fn flush(&self, clock: &Arc<dyn Clock>, most: Duration) -> Vec<String> {
        let (reply, answer) = oneshot::channel();
        let _ = self.jobs.send(Job::Flush(reply));
        tokio::select! {
            biased;
            unsaid = answer => unsaid.unwrap_or_default(),
            () = clock.sleep(most) => vec![format!(
                "the retrieval memory did not take in time what the last steps gave; {RESUMED}"
            )],
        }
    }
}

/// What becomes of texts that were not kept.
const RESUMED: &str = "unless the run is completed, a resume of it hands it over again";

/// Owns the way to the store.
struct Keeper {
    store: Arc<dyn Recall>,
    space: String,
    clock: Arc<dyn Clock>,
    inbox: Inbox,
    /// Failures in a row.
    failures: usize,
    /// Warnings of which nobody knows yet whether they are recorded.
    unsaid: Vec<(String, oneshot::Receiver<Result<(), Fault>>)>,
}

impl Keeper {
    async fn serve(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let mut next = queue.recv().await;
        while let Some(job) = next.take() {
            match job {
                Job::Keep(mut memos) => {
                    while memos.len() < limits::RECALL_AT_ONCE {
                        match queue.try_recv() {
                            Ok(Job::Keep(more)) => memos.extend(more),
                            other => {
                                next = other.ok();
                                break;
                            }
                        }
                    }
                    self.keep(memos).await;
                }
                Job::Search(query, reply) => drop(reply.send(self.search_all(&query).await)),
                Job::Flush(reply) => drop(reply.send(self.unsaid())),
            }
            if next.is_none() {
                next = queue.recv().await;
            }
        }
    }

    fn is_off(&self) -> bool {
        self.failures >= limits::RECALL_FAILURES
    }

    async fn keep(&mut self, mut memos: Vec<Memo>) {
        while !memos.is_empty() && !self.is_off() {
            let rest = memos.split_off(memos.len().min(limits::RECALL_AT_ONCE));
            let store = Arc::clone(&self.store);
            let space = self.space.clone();
            let outcome = self.within(async move { store.upsert(&space, memos).await }).await;
            if let Err(fault) = outcome {
                self.warn(&format!("the retrieval memory did not take what steps gave: {}; {RESUMED}", fault.message));
            }
            memos = rest;
        }
    }

    async fn search(&mut self, search: Search) -> Result<Vec<Hit>, Fault> {
        if self.is_off() {
            return Err(Fault::step(
                OFF,
                "the retrieval memory failed too often, and is not asked in this run any more",
            ));
        }
        let (store, space) = (Arc::clone(&self.store), self.space.clone());
        self.within(async move { store.search(&space, search).await }).await
    }

    /// The best texts, and the best of what steps gave: what steps were told fits best where they are told the same again and
    /// again, and would leave no room for anything else.
    async fn search_all(&mut self, query: &str) -> Result<Vec<Hit>, Fault> {
        // What the searcher must not see, or knows, may be among the best.
        let limit = limits::RECALL_FOUND_MAX * 4;
        let search = |filter| Search { query: query.to_owned(), limit, filter };
        let mut found = self.search(search(Map::new())).await?;
        if found.len() == limit {
            let outputs = [("kind".to_owned(), STEP_OUTPUT.into())].into_iter().collect();
            let more = self.search(search(outputs)).await?;
            let known: HashSet<String> = found.iter().map(|hit| hit.memo.id.clone()).collect();
            found.extend(more.into_iter().filter(|hit| !known.contains(&hit.memo.id)));
            found.sort_by(|one, other| other.score.total_cmp(&one.score));
        }
        Ok(found)
    }

    /// What the store answers, in time; its panic is its failure.
    async fn within<T>(&mut self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let late = self.clock.sleep(Duration::from_millis(limits::RECALL_MS));
        let outcome = tokio::select! {
            biased;
            outcome = AssertUnwindSafe(work).catch_unwind() => {
                outcome.unwrap_or_else(|_| Err(Fault::bug("it panicked")))
            }
            () = late => Err(Fault::step("recall_slow", format!("it did not answer within {} ms", limits::RECALL_MS))),
        };
        match &outcome {
            Ok(_) => self.failures = 0,
            Err(_) => {
                self.failures += 1;
                if self.is_off() {
                    let failures = self.failures;
                    self.warn(&format!(
                        "the retrieval memory failed {failures} times in a row, and is not asked in this run any more"
                    ));
                }
            }
        }
        outcome
    }

    /// Tells of what went wrong, as an event of the run while that goes on.
    fn warn(&mut self, message: &str) {
        let (done, said) = oneshot::channel();
        let body = Body::Warning { code: "recall_failed".to_owned(), message: message.to_owned() };
        self.inbox.send(Wake::Record { path: StepPath::ROOT, attempt: None, body, done: Some(done) });
        self.unsaid.retain_mut(|(_, said)| !matches!(said.try_recv(), Ok(Ok(()))));
        self.unsaid.push((message.to_owned(), said));
    }

    fn unsaid(&mut self) -> Vec<String> {
        let warnings = std::mem::take(&mut self.unsaid).into_iter();
        warnings.filter_map(|(message, mut said)| (!matches!(said.try_recv(), Ok(Ok(())))).then_some(message)).collect()
    }
}
