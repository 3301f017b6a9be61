//! Waits for a run to end, or for somebody to stop it: first politely, then at once.

use crate::exit::Signal;
use crate::terminal;
use crate::ui::paint;
use anyhow::Context as _;
use cofferdam::core::limits;
use cofferdam::{Error, Orchestrator, RunResult};
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How a run ended.
pub(in crate::command) enum Ended<T = RunResult> {
    /// With a result, or without ever having begun; and who stopped it, if anybody did.
    Itself(Box<Result<T, Error>>, Option<Signal>),
    /// It did not end in time after it was stopped.
    Abandoned(Signal),
}

pub(in crate::command) async fn until_end<T>(
    mut run: JoinHandle<Result<T, Error>>,
    orchestrator: &Orchestrator,
    questions: &CancellationToken,
) -> Ended<T> {
    let first = tokio::select! {
        outcome = &mut run => return Ended::Itself(Box::new(flatten(outcome)), None),
        signal = next_signal() => match signal {
            Ok(signal) => signal,
            // Without a way to hear signals the shell's own handling stays in place.
            Err(_) => return Ended::Itself(Box::new(flatten(run.await)), None),
        },
    };
    terminal::tell(&paint::warn("stopping; once more stops at once"));
    let mut ended = None;
    let finish = async {
        // In this order: a question that nobody answers must find a run that is being stopped.
        let mut closing = pin!(async { tokio::join!(orchestrator.close(), async { questions.cancel() }) });
        let (outcome, is_closed) = tokio::select! {
            biased;
            _ = &mut closing => ((&mut run).await, true),
            outcome = &mut run => (outcome, false),
        };
        // What it gave is kept though a plugin does not close in time.
        ended = Some(flatten(outcome));
        if !is_closed {
            closing.await;
        }
    };
    tokio::select! {
        () = finish => {}
        second = next_signal() => at_once(second.unwrap_or(first)),
        () = tokio::time::sleep(Duration::from_millis(limits::STOP_WAIT_MS)) => {}
    }
    match ended {
        // Closing before the run began is the reason, not a fault.
        None | Some(Err(Error::Closed)) => {
            cofferdam::kill_programs();
            Ended::Abandoned(first)
        }
        Some(outcome) => Ended::Itself(Box::new(outcome), Some(first)),
    }
}

fn flatten<T>(outcome: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    outcome.unwrap_or_else(|error| Err(Error::Settings(format!("the run's task ended: {error}"))))
}

#[expect(clippy::exit, reason = "a second signal must not wait for anything")]
pub(in crate::command) fn at_once(signal: Signal) -> ! {
    cofferdam::kill_programs();
    std::process::exit(i32::from(signal.exit().number()))
}

pub(in crate::command) async fn next_signal() -> anyhow::Result<Signal> {
    // A file that may not grow is an error of the write, and no end of the process.
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    let mut hang_up = if ignores_hang_up() { None } else { signal(SignalKind::hangup()).ok() };
    let hung_up = async {
        match &mut hang_up {
            Some(hang_up) => drop(hang_up.recv().await),
            None => std::future::pending().await,
        }
    };
    Ok(tokio::select! {
        () = hung_up => Signal::HangUp,
        _ = interrupt.recv() => Signal::Interrupt,
        _ = terminate.recv() => Signal::Terminate,
    })
}

/// Whether whoever started this program wants it to outlive its terminal, as `nohup` does; to listen would undo that.
/// Where the system does not tell, it is taken so.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 == 1)
}
