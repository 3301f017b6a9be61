//! How a command ends, in one table: the number, and what it means.

use cofferdam::RunResult;
use cofferdam::core::event::{RunReason, RunStatus};
use std::fmt::Write as _;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Invalid = 2,
    Usage = 3,
    Waiting = 4,
    Budget = 5,
    Timeout = 124,
    HungUp = 129,
    Interrupted = 130,
    Terminated = 143,
}

/// All of them, with what they mean.
const TABLE: [(Exit, &str); 10] = [
    (Exit::Done, "done"),
    (Exit::Failed, "the run failed, or part of it"),
    (Exit::Invalid, "the document, a plugin or a policy is not valid"),
    (Exit::Usage, "wrong usage, input or configuration"),
    (Exit::Waiting, "the run waits for a person, or for a higher budget"),
    (Exit::Budget, "the budget is spent"),
    (Exit::Timeout, "the run took too long"),
    (Exit::HungUp, "its terminal was closed"),
    (Exit::Interrupted, "interrupted (Ctrl-C)"),
    (Exit::Terminated, "terminated"),
];

/// Who stopped a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    HangUp,
    Interrupt,
    Terminate,
}

impl Signal {
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::HangUp => Exit::HungUp,
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        }
    }
}

impl Exit {
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// What the result of a run means for the shell.
    pub(crate) fn of_result(result: &RunResult, signal: Option<Signal>) -> Self {
        match (result.status, result.reason) {
            (RunStatus::Waiting, _) => Self::Waiting,
            (RunStatus::Cancelled, _) => signal.unwrap_or(Signal::Interrupt).exit(),
            (RunStatus::Failed, Some(RunReason::Timeout)) => Self::Timeout,
            (RunStatus::Failed, Some(RunReason::Budget)) => Self::Budget,
            (RunStatus::Failed | RunStatus::Partial, _) => Self::Failed,
            (RunStatus::Completed, _) => Self::Done,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// The table for `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in TABLE {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "  {:<4} {meaning}", exit.number());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table_once() {
        let mut numbers: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.number()).collect();
        numbers.dedup();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 124, 129, 130, 143]);
        assert!(help().contains("124  the run took too long"));
    }

    #[test]
    fn signals_have_the_exit_codes_of_shells() {
        assert_eq!(Signal::HangUp.exit().number(), 128 + 1);
        assert_eq!(Signal::Interrupt.exit().number(), 128 + 2);
        assert_eq!(Signal::Terminate.exit().number(), 128 + 15);
    }
}
