//! A few threads that do blocking work; what concerns one run is always done by the same thread, in order.
//!
//! Each starts when it is first needed. It must not know what the work is.

use cofferdam_core::limits;
use cofferdam_core::port::JournalError;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// What a thread does with the jobs that come to it.
pub(super) type Work<J> = Arc<dyn Fn(mpsc::Receiver<J>) + Send + Sync>;

pub(super) struct Threads<J> {
    name: &'static str,
    work: Work<J>,
    threads: [Mutex<Option<mpsc::Sender<J>>>; limits::FILE_STORE_THREADS],
}

impl<J: Send + 'static> Threads<J> {
    pub(super) fn new(name: &'static str, work: Work<J>) -> Self {
        Self { name, work, threads: Default::default() }
    }

    /// Gives a job to the thread that a key belongs to, and waits for the answer.
    pub(super) async fn ask<T>(
        &self,
        key: &impl Hash,
        job: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> J,
    ) -> Result<T, JournalError> {
        let broke_off = || JournalError::Unavailable("a thread of the store broke off".to_owned());
        let (reply, answer) = oneshot::channel();
        let sender = self.sender(key)?;
        sender.send(job(reply)).await.map_err(|_| broke_off())?;
        answer.await.unwrap_or_else(|_| Err(broke_off()))
    }

    /// The way to a thread, which is started when there is none or it broke off.
    fn sender(&self, key: &impl Hash) -> Result<mpsc::Sender<J>, JournalError> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let number = usize::try_from(hasher.finish() % self.threads.len() as u64).unwrap_or(0);
        let slot = self.threads.get(number).expect("the remainder is smaller than the count");
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = slot.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let (sender, receiver) = mpsc::channel(limits::JOURNAL_QUEUE);
        let work = Arc::clone(&self.work);
        let started = thread::Builder::new().name(self.name.to_owned()).spawn(move || work(receiver));
        started
            .map_err(|error| JournalError::Unavailable(format!("a thread for the store cannot be started: {error}")))?;
        Ok(slot.insert(sender).clone())
    }
}
