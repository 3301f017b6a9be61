//! Why a command stopped: exit code, message, hints, findings; and how that is shown.
//!
//! It must not decide what went wrong; it sorts what the library says by what a person does next.

use crate::exit::Exit;
use crate::terminal;
use crate::ui::finding;
use cofferdam::core::diagnostic::Diagnostics;
use cofferdam::core::fault::{Class, Fault};
use cofferdam::core::id::RunId;
use cofferdam::core::port::{JournalError, Lease, Owner};
use cofferdam::core::text::escaped;
use cofferdam::registry::Kind;
use cofferdam::{FetchError, SourceChange};
use serde_json::json;
use std::fmt::{self, Write as _};

/// Lines of a document around each change.
const AROUND: usize = 2;

/// Why a command stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    findings: Diagnostics,
    faults: Vec<Fault>,
}

/// For whom it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Text on standard error.
    Person,
    /// The same, and a line of JSON on standard output.
    Machine,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, findings: Diagnostics::default(), faults: Vec::new() }
    }

    /// Wrong usage, input or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something that a command was pointed at is not valid.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// Something did not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Findings, each with its place.
    pub(crate) fn findings(exit: Exit, findings: Diagnostics) -> Self {
        let errors = findings.iter().count();
        let message = format!("{errors} {}", if errors == 1 { "finding" } else { "findings" });
        Self { findings, ..Self::new(exit, message) }
    }

    fn faults(faults: Vec<Fault>) -> Self {
        let exit = if faults.iter().all(is_configuration) { Exit::Usage } else { Exit::Invalid };
        Self { faults, ..Self::new(exit, "the run cannot start") }
    }

    /// A plugin could not be fetched or pushed. What is there and must not be taken is invalid; all else may work another
    /// time.
    fn fetch(error: &FetchError) -> Self {
        let exit = match error {
            FetchError::Registry { cause, .. } if cause.kind() == Kind::Content => Exit::Invalid,
            FetchError::Moved { .. } => Exit::Invalid,
            _ => Exit::Failed,
        };
        Self { hint: error.hint(), ..Self::new(exit, error.to_string()) }
    }

    /// The document of a run is another one now; the difference stands in the message.
    fn changed(run: &RunId, changes: &[SourceChange]) -> Self {
        let mut message = format!("the document has changed since run `{run}` was started:");
        for change in changes {
            let (before, now) =
                (change.before.as_deref().unwrap_or_default(), change.now.as_deref().unwrap_or_default());
            // Writing into a string cannot fail.
            let _ = write!(message, "\n  {}\n", change.path);
            if change.before.is_none() && change.now.is_none() {
                message.push_str("    it goes with prompts, and is another file than it was\n");
            }
            for line in cofferdam::diff::text(before, now, AROUND).lines() {
                let _ = writeln!(message, "    {line}");
            }
        }
        message.truncate(message.trim_end().len());
        let accept = format!("`cofferdam resume {run} --accept-changes` goes on with it in a new run");
        Self::invalid(message).with_hint(format!("{accept}; or put the document back as it was"))
    }

    /// Somebody else works on the run.
    fn held(lease: &Lease) -> Self {
        let owner = &lease.owner;
        Self::failed(format!("process {} on `{}` works on the run", owner.pid, owner.host))
            .with_hint("wait for its end, or stop it; then resume again")
    }

    /// A store failed; `run` is what to go on with.
    fn journal(error: &JournalError, run: &str) -> Self {
        Self { hint: journal_hint(error, run), ..Self::failed(format!("the journal failed: {error}")) }
    }

    /// Why something that was to be done with this run was not.
    pub(crate) fn of_run(run: &RunId, error: cofferdam::Error) -> Self {
        match error {
            cofferdam::Error::Journal(error) if !matches!(error, JournalError::Held(_)) => {
                Self::journal(&error, run.as_str())
            }
            other => Self::from(other),
        }
    }

    /// Adds to what to do about it.
    pub(crate) fn and_hint(self, more: &str) -> Self {
        let hint = self.hint.as_deref().map_or_else(|| more.to_owned(), |hint| format!("{hint}; {more}"));
        Self { hint: Some(hint), ..self }
    }

    /// Adds what to do about it.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn text(&self) -> String {
        if !self.findings.is_empty() {
            return finding::render(&self.findings);
        }
        let mut text = String::new();
        for fault in &self.faults {
            push_error(&mut text, &fault.message, fault.hint.as_deref());
        }
        if self.faults.is_empty() {
            push_error(&mut text, &self.message, self.hint.as_deref());
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let mut value = json!({ "kind": "error", "exit_code": self.exit.number(), "message": self.message });
        if let Some(map) = value.as_object_mut() {
            if let Some(hint) = &self.hint {
                map.insert("hint".to_owned(), hint.as_str().into());
            }
            if !self.findings.is_empty() {
                map.insert("findings".to_owned(), json!(self.findings));
            }
            if !self.faults.is_empty() {
                map.insert("faults".to_owned(), json!(self.faults));
            }
        }
        value
    }
}

/// What only the command line or the settings can cure.
fn is_configuration(fault: &Fault) -> bool {
    let code = &fault.code;
    fault.class == Class::User
        && (code.starts_with("model_")
            || code.ends_with("_answer")
            || code.ends_with("_approval")
            || ["no_model", "unknown_step", "no_difference"].contains(&&**code))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<cofferdam::Error> for Failure {
    fn from(error: cofferdam::Error) -> Self {
        match error {
            cofferdam::Error::Invalid(findings) => Self::findings(Exit::Invalid, findings),
            cofferdam::Error::Inputs(findings) => Self::findings(Exit::Usage, findings),
            cofferdam::Error::Refused(faults) => Self::faults(faults),
            cofferdam::Error::Tools(error) => Self::invalid(error.to_string()),
            cofferdam::Error::Fetch(error) => Self::fetch(&error),
            cofferdam::Error::Changed { run, changes } => Self::changed(&run, &changes),
            cofferdam::Error::Journal(JournalError::Held(lease)) => Self::held(&lease),
            cofferdam::Error::Journal(error) => Self::journal(&error, "last"),
            cofferdam::Error::TakenOver { run, by } => {
                let by = by.as_ref().map_or_else(|| "another process".to_owned(), Owner::process);
                Self::failed(format!("{by} took over run `{run}`, so it ended here"))
                    .with_hint(format!("`cofferdam runs show {run}` shows how it goes on there"))
            }
            cofferdam::Error::NoPlan { fault, .. } if fault.code == "timeout" => {
                Self { exit: Exit::Timeout, ..Self::failed(format!("no plan came of the goal: {fault}")) }
            }
            cofferdam::Error::NoPlan { fault, .. } if fault.code == "budget_exhausted" => {
                Self { exit: Exit::Budget, ..Self::failed(format!("no plan came of the goal: {fault}")) }
            }
            cofferdam::Error::NoPlan { run, fault } => Self::failed(format!("no plan came of the goal: {fault}"))
                .with_hint(format!("`cofferdam runs show {run} --transcript` shows what the model wrote")),
            other @ cofferdam::Error::PlanDenied { .. } => Self::failed(other.to_string()),
            other => Self::usage(other.to_string()),
        }
    }
}

/// What a person does about a store that failed.
fn journal_hint(error: &JournalError, run: &str) -> Option<String> {
    let goes_on =
        format!("`cofferdam resume {run}` goes on with what was recorded, if `cofferdam runs list` shows any of it");
    match error {
        JournalError::Full(_) => Some(format!("make room there; then {goes_on}")),
        JournalError::Unavailable(_) => Some(format!("when that is mended, {goes_on}")),
        JournalError::Conflict { found: 0, .. } => {
            Some("somebody removed the record of the run while it went on".to_owned())
        }
        JournalError::Damaged { run, .. } => {
            Some(format!("put a sound copy in its place, or let it go with `cofferdam runs rm {run}`"))
        }
        _ => None,
    }
}

/// Shows why a command stopped, and gives its exit code.
pub(crate) fn report(error: &anyhow::Error, audience: Audience) -> Exit {
    let plain;
    let failure = match error.downcast_ref::<Failure>() {
        Some(failure) => failure,
        None => {
            plain = Failure::failed(format!("{error:#}"));
            &plain
        }
    };
    terminal::tell(failure.text().trim_end());
    if audience == Audience::Machine {
        // Nobody is left to tell when this fails.
        let _ = terminal::print(&format!("{}\n", failure.json()));
    }
    failure.exit
}

fn push_error(text: &mut String, message: &str, hint: Option<&str>) {
    use crate::ui::paint;
    let (message, hint) = (lines(message), hint.map(lines));
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{}: {message}", paint::bad("error"));
    if let Some(hint) = hint {
        let _ = writeln!(text, "  {} {}", paint::quiet("hint:"), hint.replace('\n', "\n        "));
    }
}

/// Lines for a terminal, whatever they quote.
fn lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_sorted_by_what_a_person_does_next() {
        let exit = |fault: Fault| Failure::from(cofferdam::Error::Refused(vec![fault])).exit;
        assert_eq!(exit(Fault::user("model_not_configured", "x")), Exit::Usage);
        assert_eq!(exit(Fault::user("bad_answer", "x")), Exit::Usage);
        assert_eq!(exit(Fault::user("unknown_tool", "x")), Exit::Invalid);
    }

    #[test]
    fn a_store_that_failed_comes_with_what_to_do() {
        let full = Failure::from(cofferdam::Error::Journal(JournalError::Full("no room".into())));
        assert!(full.exit == Exit::Failed && full.text().contains("make room there"), "{}", full.text());
        let removed = Failure::from(cofferdam::Error::Journal(JournalError::Conflict { expected: 7, found: 0 }));
        assert!(removed.text().contains("somebody removed the record"), "{}", removed.text());
        let run = RunId::parse("r-1").unwrap();
        let unreadable = || cofferdam::Error::Journal(JournalError::Unavailable("a blob is damaged".into()));
        let named = Failure::of_run(&run, unreadable()).text();
        assert!(named.contains("`cofferdam resume r-1` goes on") && !named.contains("last"), "{named}");
        assert!(Failure::from(unreadable()).text().contains("`cofferdam resume last`"), "a run that is new");
        let over = Failure::from(cofferdam::Error::TakenOver { run, by: None });
        assert_eq!(
            (over.exit, over.to_string()),
            (Exit::Failed, "another process took over run `r-1`, so it ended here".into())
        );
        assert!(over.text().contains("`cofferdam runs show r-1`"), "{}", over.text());
        let gone = Failure::from(cofferdam::Error::Journal(JournalError::NotFound("r".into())));
        assert!(!gone.text().contains("hint:"), "{}", gone.text());
    }

    #[test]
    fn a_hint_is_kept_apart_from_the_message() {
        let text = Failure::usage("no").with_hint("do this\nand that").text();
        assert!(text.contains(": no\n"), "{text}");
        assert!(text.ends_with("do this\n        and that\n"), "{text}");
    }
}
