//! Who wants to hear of messages that reached nobody hears of each once, beside the run, which it does not hold up.
//!
//! It must not know why a message was dropped.

use super::{DropCallback, DroppedMessage};
use cofferdam_core::limits;
use cofferdam_core::port::Clock;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What tells of dropped messages; nothing where nobody wants to hear.
pub(super) struct DropTeller {
    listener: Option<Arc<Listener>>,
    /// The last one; those before it are done.
    worker: Option<JoinHandle<()>>,
}

struct Listener {
    callback: DropCallback,
    waiting: Mutex<Waiting>,
    panicked: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<DroppedMessage>,
    /// Somebody tells of them.
    at_work: bool,
}

impl DropTeller {
    pub(super) fn new(callback: Option<DropCallback>) -> Self {
        let listener = |callback| Arc::new(Listener { callback, waiting: Mutex::default(), panicked: false.into() });
        Self { listener: callback.map(listener), worker: None }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.listener.is_some()
    }

    /// Tells of a message as soon as those before it are told; here and now when too many wait.
    pub(super) fn tell(&mut self, dropped: DroppedMessage) {
        let Some(listener) = self.listener.clone() else { return };
        {
            let mut waiting = listener.waiting();
            if waiting.messages.len() >= limits::DROP_CALLBACK_MESSAGES {
                drop(waiting);
                return listener.hear(dropped);
            }
            waiting.messages.push_back(dropped);
            if std::mem::replace(&mut waiting.at_work, true) {
                return;
            }
        }
        // It may block, and must not take a thread from what is awaited.
        self.worker = Some(tokio::task::spawn_blocking(move || listener.hear_all()));
    }

    /// Waits until all is told, within the grace; says what went wrong.
    pub(super) async fn drained(&mut self, clock: &dyn Clock) -> Vec<String> {
        let mut problems = Vec::new();
        let Some(listener) = self.listener.clone() else { return problems };
        if let Some(worker) = self.worker.take() {
            tokio::select! {
                biased;
                _ = worker => {}
                () = clock.sleep(Duration::from_millis(limits::CLOSE_GRACE_MS)) => {
                    let left = listener.waiting().messages.len();
                    problems.push(format!("what hears of dropped messages is not done; {left} more wait for it"));
                }
            }
        }
        if listener.panicked.load(Ordering::Relaxed) {
            problems.push("what hears of dropped messages panicked".to_owned());
        }
        problems
    }
}

impl Listener {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear_all(&self) {
        while let Some(dropped) = self.next() {
            self.hear(dropped);
        }
    }

    /// The next message; once there is none, whoever brings one starts anew.
    fn next(&self) -> Option<DroppedMessage> {
        let mut waiting = self.waiting();
        let next = waiting.messages.pop_front();
        waiting.at_work = next.is_some();
        next
    }

    fn hear(&self, dropped: DroppedMessage) {
        if std::panic::catch_unwind(AssertUnwindSafe(|| (self.callback)(dropped))).is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::event::DropReason;
    use cofferdam_core::id::{RunId, StepPath};
    use cofferdam_core::port::BoxFuture;
    use cofferdam_core::time::Timestamp;
    use std::sync::mpsc;

    fn message(number: usize) -> DroppedMessage {
        DroppedMessage {
            run_id: RunId::parse("r").unwrap(),
            from: StepPath::from("a"),
            to: StepPath::from("b"),
            message: number.to_string().into(),
            reason: DropReason::UnknownStep,
        }
    }

    /// A clock by which any time is over at once.
    struct Hasty;

    impl Clock for Hasty {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    struct Scene {
        teller: DropTeller,
        heard: Arc<Mutex<Vec<usize>>>,
        /// Says that the first message is being told.
        begun: mpsc::Receiver<()>,
        /// Lets it go on.
        free: mpsc::Sender<()>,
    }

    /// The first message blocks whoever tells of it until it is let go.
    fn scene() -> Scene {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ((begins, begun), (free, freed)) = (mpsc::channel(), mpsc::channel());
        let (hears, freed) = (Arc::clone(&heard), Mutex::new(freed));
        let callback = move |dropped: DroppedMessage| {
            let number = dropped.message.parse().unwrap();
            if number == 0 {
                begins.send(()).unwrap();
                freed.lock().unwrap().recv().unwrap();
            }
            hears.lock().unwrap().push(number);
        };
        Scene { teller: DropTeller::new(Some(Arc::new(callback))), heard, begun, free }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_told_in_place_and_each_message_once() {
        let Scene { mut teller, heard, begun, free } = scene();
        let most = limits::DROP_CALLBACK_MESSAGES;
        teller.tell(message(0));
        begun.recv().unwrap();
        (1..=most).for_each(|number| teller.tell(message(number)));
        assert!(heard.lock().unwrap().is_empty(), "nobody waits for who hears of it");
        teller.tell(message(most + 1));
        assert_eq!(*heard.lock().unwrap(), [most + 1], "too many wait");
        free.send(()).unwrap();
        assert!(teller.drained(&crate::clock::TokioClock::new()).await.is_empty());
        let mut all = heard.lock().unwrap().clone();
        assert_eq!(all[1..], Vec::from_iter(0..=most), "in order");
        all.sort_unstable();
        assert_eq!(all, Vec::from_iter(0..=most + 1));
    }

    #[tokio::test]
    async fn who_does_not_come_to_an_end_is_told_of_and_does_not_hold_up_the_run() {
        let Scene { mut teller, heard, begun, free } = scene();
        (0..3).for_each(|number| teller.tell(message(number)));
        begun.recv().unwrap();
        let problems = teller.drained(&Hasty).await;
        assert_eq!(problems, ["what hears of dropped messages is not done; 2 more wait for it"]);
        assert!(heard.lock().unwrap().is_empty());
        free.send(()).unwrap();
    }
}
