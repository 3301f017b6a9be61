//! Asks a person at the terminal, whether something is allowed or what a step wants to know. One question at a time; no
//! answer in time is a no.
//!
//! It must not know what the answer leads to.

mod inquiry;

use super::{live, paint};
use crate::terminal;
use cofferdam::core::limits;
use cofferdam::core::port::{Answer, Approver, BoxFuture, Inquiry, Question};
use cofferdam::sink::clean;
use std::io::{BufRead as _, Read as _};
use std::os::fd::AsFd as _;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// How often an unclear answer is asked about again.
const REPEATS: usize = 3;

/// Most characters of a detail that are shown.
const DETAIL_CHARS: usize = 600;

/// What people type. One thread reads it for the whole process, from the first question on: a second one would take the answers of
/// the first.
static LINES: tokio::sync::Mutex<Option<UnboundedReceiver<String>>> = tokio::sync::Mutex::const_new(None);

/// Asks at the terminal.
pub(crate) struct TerminalApprover {
    /// Ends every question.
    stop: CancellationToken,
}

impl TerminalApprover {
    /// Asks until `stop` is cancelled; from then on the answer is that nobody answers.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self { stop }
    }

    async fn put(&self, question: Question) -> Answer {
        if self.stop.is_cancelled() {
            return Answer::Nobody;
        }
        let mut lines = LINES.lock().await;
        let lines = lines.get_or_insert_with(read_lines);
        // What was typed before the question is no answer to it.
        while lines.try_recv().is_ok() {}
        let pause = live::pause();
        let wait = tokio::time::sleep(Duration::from_millis(limits::ANSWER_WAIT_MS));
        let answer = tokio::select! {
            biased;
            // Somebody who stops the run is not going to answer; the run must not wait for it.
            () = self.stop.cancelled() => Answer::Nobody,
            answer = ask(&question, lines) => answer,
            () = wait => {
                terminal::tell(&paint::warn("no answer; that is a no"));
                Answer::Nobody
            }
        };
        drop(pause);
        answer
    }

    /// Waits as long as the step does: how long people take is not bounded here.
    async fn inquire(&self, inquiry: Inquiry) -> Option<String> {
        if self.stop.is_cancelled() {
            return None;
        }
        let mut lines = LINES.lock().await;
        let lines = lines.get_or_insert_with(read_lines);
        while lines.try_recv().is_ok() {}
        let pause = live::pause();
        let answer = tokio::select! {
            biased;
            // Nobody there would let the run wait. It is about to be cancelled, and asks no more then.
            () = self.stop.cancelled() => {
                tokio::time::sleep(Duration::from_millis(limits::CANCEL_GRACE_MS)).await;
                None
            }
            answer = inquiry::put(&inquiry, lines) => answer,
        };
        drop(pause);
        answer
    }
}

impl Approver for TerminalApprover {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer> {
        Box::pin(self.put(question))
    }

    fn answer(&self, inquiry: Inquiry) -> BoxFuture<'_, Option<String>> {
        Box::pin(self.inquire(inquiry))
    }
}

async fn ask(question: &Question, lines: &mut UnboundedReceiver<String>) -> Answer {
    let place = if question.path.is_root() { String::new() } else { format!(" (step {})", question.path) };
    terminal::tell(&format!("{}{place}", paint::strong(&clean(&question.title, DETAIL_CHARS))));
    for line in question.detail.lines() {
        terminal::tell(&format!("  {}", clean(line, DETAIL_CHARS)));
    }
    for _ in 0..REPEATS {
        match &question.always {
            Some(what) => terminal::tell(&format!("  [y]es, [N]o, [a]lways ({}):", clean(what, DETAIL_CHARS))),
            None => terminal::tell("  [y]es, [N]o:"),
        }
        let Some(line) = lines.recv().await else { return Answer::Nobody };
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => return Answer::Yes,
            "a" | "always" if question.always.is_some() => return Answer::Always,
            "" | "n" | "no" => return Answer::No(None),
            other => terminal::tell(&format!("  `{}` is no answer", clean(other, 40))),
        }
    }
    Answer::No(None)
}

/// Throws away what was typed before anybody was asked.
fn forget_typed() -> std::io::Result<()> {
    let stdin = std::io::stdin();
    let flags = rustix::fs::fcntl_getfl(&stdin)?;
    let mut typed = std::fs::File::from(stdin.as_fd().try_clone_to_owned()?);
    rustix::fs::fcntl_setfl(&stdin, flags | rustix::fs::OFlags::NONBLOCK)?;
    let mut bytes = [0; 1_024];
    // Until there is no more, which is an error here.
    while typed.read(&mut bytes).is_ok_and(|count| count > 0) {}
    rustix::fs::fcntl_setfl(&stdin, flags)?;
    Ok(())
}

/// A thread that reads what is typed. It cannot be stopped while it waits, and ends with the process.
fn read_lines() -> UnboundedReceiver<String> {
    if let Err(error) = forget_typed() {
        tracing::debug!(%error, "what was typed before the first question is taken for an answer");
    }
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam::core::id::StepPath;

    async fn answer(typed: &[&str]) -> Answer {
        let (sender, mut receiver) = unbounded_channel();
        for line in typed {
            sender.send((*line).to_owned()).unwrap();
        }
        drop(sender);
        ask(&question(), &mut receiver).await
    }

    fn question() -> Question {
        let (title, always) = ("allow?".to_owned(), Some("for good".to_owned()));
        Question { run_id: None, path: StepPath::ROOT, title, detail: String::new(), always }
    }

    #[tokio::test]
    async fn a_run_that_is_stopped_does_not_wait_for_an_answer() {
        let stop = CancellationToken::new();
        let approver = TerminalApprover::new(stop.clone());
        let (_open, receiver) = unbounded_channel();
        *LINES.lock().await = Some(receiver);
        let stopper = async {
            tokio::task::yield_now().await;
            stop.cancel();
        };
        let (answer, ()) = tokio::join!(approver.ask(question()), stopper);
        assert_eq!(answer, Answer::Nobody);
        assert_eq!(approver.ask(question()).await, Answer::Nobody);
    }

    #[tokio::test]
    async fn only_a_clear_yes_is_a_yes() {
        assert_eq!(answer(&["y"]).await, Answer::Yes);
        assert_eq!(answer(&[" Always "]).await, Answer::Always);
        assert_eq!(answer(&["what", "no"]).await, Answer::No(None));
        assert_eq!(answer(&[""]).await, Answer::No(None));
        assert_eq!(answer(&[]).await, Answer::Nobody);
        assert_eq!(answer(&["?", "?", "?", "y"]).await, Answer::No(None));
    }
}
