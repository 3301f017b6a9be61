//! What people say about calls that a run waits with: which call each word is for, and whether it comes too late.
//!
//! Exactly one word counts. Whoever says the very same is told nothing; another one is refused before anything is recorded.

use super::Error;
use super::resume::read_events;
use super::run::Run;
use cofferdam_core::event::{Approved, Body, Decision, OpenApproval, RunEvent, call_name};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::port::{Approval, Approvals, Calls};
use cofferdam_core::spec::suggest::did_you_mean;

/// What became of a call that somebody was to be asked about.
struct Decided {
    step: StepPath,
    call: String,
    decision: Option<Decision>,
}

/// Whether these words are those that were said about the calls of a run, none of which waits any more.
pub fn repeats_approvals<'e>(given: &[Approval], events: impl Iterator<Item = &'e RunEvent>) -> bool {
    let mut history = Vec::new();
    events.for_each(|event| note(&mut history, event));
    given.iter().all(|given| said_before(&history, given) == Said::Same)
}

/// Why a completed run takes no word about a call.
#[must_use]
pub fn calls_nothing_more(run: &RunId) -> Fault {
    late(format!("run `{run}` is completed; it waits with no call any more"))
}

impl Run {
    /// The calls that the given words are about.
    ///
    /// # Errors
    /// Every word that is about no call, about several, or comes too late.
    pub(super) async fn resolve_approvals(&self) -> Result<Vec<Approved>, Error> {
        let given = &self.request.approvals;
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        let mut history = None;
        for one in given {
            let open: Vec<&OpenApproval> = self.machine.waits().undecided_calls().collect();
            match resolve(one, &open).map(|calls| self.words(one, &calls)) {
                Ok(words) if !words.is_empty() => found.extend(words),
                Ok(_) if matches!(one.calls, Calls::Of { .. }) => {}
                Ok(_) => {
                    if history.is_none() {
                        history = Some(self.history().await?);
                    }
                    match said_before(history.as_deref().unwrap_or_default(), one) {
                        Said::Same => {}
                        Said::Other(decision) => faults.push(decided_before(&one.step, decision)),
                        Said::Nothing => faults.push(unknown(one, &open)),
                    }
                }
                Err(fault) => faults.push(fault),
            }
        }
        let mut words: Vec<Approved> = Vec::with_capacity(found.len());
        for word in found {
            let is_same =
                |other: &&Approved| (&other.step, other.attempt, &other.call) == (&word.step, word.attempt, &word.call);
            match words.iter().find(is_same) {
                None => words.push(word),
                Some(other) if other.decision == word.decision => {}
                Some(_) => faults.push(contradicting(&word)),
            }
        }
        if faults.is_empty() { Ok(words) } else { Err(Error::Refused(faults)) }
    }

    /// Leaves out what the record says that somebody else may have written there.
    pub(super) fn trust_words(&mut self) {
        let Some(seal) = self.ports.gateway.seal() else { return };
        let run = &self.request.run_id;
        let is_ours = |open: &OpenApproval, word: &Approved| {
            word.seal.is_some() && word.seal == seal.of(run, open, word.decision)
        };
        let left_out = self.machine.trust_words(is_ours);
        if left_out > 0 {
            tracing::warn!(run = %run, words = left_out, "the record allows calls by words that are not this user's; they do not count");
        }
    }

    /// What is said about each of these calls.
    fn words(&self, given: &Approval, calls: &[&OpenApproval]) -> Vec<Approved> {
        let seal = self.ports.gateway.seal();
        let word = |call: &&OpenApproval| Approved {
            step: call.step.clone(),
            attempt: call.attempt,
            call: call.call.clone(),
            decision: given.decision,
            reason: given.reason.clone(),
            seal: seal.and_then(|seal| seal.of(&self.request.run_id, call, given.decision)),
        };
        calls.iter().map(word).collect()
    }

    async fn history(&self) -> Result<Vec<Decided>, Error> {
        let mut history = Vec::new();
        read_events(&*self.ports.journal, &self.request.run_id, |event| note(&mut history, event)).await?;
        Ok(history)
    }

    /// What becomes of calls of a run inside the step at `path` that nobody is there to allow.
    pub(super) fn approvals_below(&self, path: &StepPath) -> Approvals {
        let below = |(_, said): (&OpenApproval, &Approved)| {
            let step = said.step.as_str().strip_prefix(path.as_str())?.strip_prefix('.')?.to_owned();
            let calls = Calls::Of { attempt: said.attempt, call: said.call.clone() };
            Some(Approval { step, calls, decision: said.decision, reason: said.reason.clone() })
        };
        Approvals {
            defer: self.ports.gateway.defers(),
            said: self.machine.waits().said_of_calls().filter_map(below).collect(),
        }
    }
}

fn note(history: &mut Vec<Decided>, event: &RunEvent) {
    let step = event.path.step();
    match &event.body {
        Body::PermissionAsked { call_id, .. } => {
            history.push(Decided { step, call: call_name(&event.path, call_id), decision: None });
        }
        Body::PermissionDecided { call_id, decision, .. } => {
            let call = call_name(&event.path, call_id);
            let same = |decided: &&mut Decided| decided.step == step && decided.call == call;
            if let Some(decided) = history.iter_mut().rev().find(same) {
                decided.decision = Some(*decision);
            }
        }
        // What a run inside a step waits with is decided there.
        Body::StepWaiting(waiting) => {
            let asked =
                |open: &OpenApproval| Decided { step: open.step.clone(), call: open.call.clone(), decision: None };
            history.extend(waiting.approvals.iter().map(asked));
        }
        Body::RunResumed { approved, .. } => {
            for said in approved {
                let same = |decided: &&mut Decided| decided.step == said.step && decided.call == said.call;
                if let Some(decided) = history.iter_mut().rev().find(same) {
                    decided.decision = Some(said.decision);
                }
            }
        }
        _ => {}
    }
}

/// What was said before about the calls that a word is about.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Same,
    Other(Decision),
    Nothing,
}

fn said_before(history: &[Decided], given: &Approval) -> Said {
    let meant = history.iter().filter(|decided| is_step(&given.step, &decided.step));
    let meant = meant.filter(|decided| is_named(&given.calls, &decided.call)).filter_map(|decided| decided.decision);
    meant.fold(Said::Nothing, |said, decision| match said {
        Said::Nothing | Said::Same if decision == given.decision => Said::Same,
        Said::Nothing | Said::Same => Said::Other(decision),
        other @ Said::Other(_) => other,
    })
}

/// Whether a word names a call, as far as its id goes.
fn is_named(calls: &Calls, call: &str) -> bool {
    match calls {
        Calls::Only | Calls::All => true,
        Calls::One(id) | Calls::Of { call: id, .. } => id == call,
    }
}

/// Whether a step is named by its path, or by the end of it.
fn is_step(name: &str, step: &StepPath) -> bool {
    step.as_str() == name || step.as_str().strip_suffix(name).is_some_and(|before| before.ends_with('.'))
}

/// The calls that one word is about, of those that are open; nothing where it is about none of them.
fn resolve<'c>(given: &Approval, open: &[&'c OpenApproval]) -> Result<Vec<&'c OpenApproval>, Fault> {
    let exact = open.iter().any(|call| call.step.as_str() == given.step);
    let is_meant = |step: &StepPath| if exact { step.as_str() == given.step } else { is_step(&given.step, step) };
    let of_step: Vec<&OpenApproval> = open.iter().copied().filter(|call| is_meant(&call.step)).collect();
    if let Some(other) = of_step.iter().find(|call| Some(&call.step) != of_step.first().map(|first| &first.step)) {
        let message = format!(
            "`{}` could be `{}` or `{}`",
            given.step,
            of_step.first().map_or("", |first| first.step.as_str()),
            other.step
        );
        return Err(Fault::user("ambiguous_approval", message).with_hint("name the step by its whole path"));
    }
    let is_meant = |call: &&OpenApproval| match &given.calls {
        Calls::Of { attempt, call: id } => call.attempt == *attempt && call.call == *id,
        calls => is_named(calls, &call.call),
    };
    let meant: Vec<&OpenApproval> = of_step.iter().copied().filter(is_meant).collect();
    if given.calls == Calls::Only && meant.len() > 1 {
        let list: Vec<String> = meant.iter().map(|call| format!("`{}` ({})", call.call, call.tool)).collect();
        let message = format!("step `{}` waits with {} calls: {}", given.step, meant.len(), list.join(", "));
        return Err(Fault::user("ambiguous_approval", message)
            .with_hint("`--call ID` means one of them, `--all` all; `cofferdam runs show RUN` shows their arguments"));
    }
    Ok(meant)
}

fn contradicting(word: &Approved) -> Fault {
    let message = format!("call `{}` of step `{}` is both allowed and denied", word.call, word.step);
    Fault::user("contradicting_approvals", message).with_hint("say one thing about each call")
}

fn unknown(given: &Approval, open: &[&OpenApproval]) -> Fault {
    let steps: Vec<&str> = open.iter().map(|call| call.step.as_str()).collect();
    let message = match &given.calls {
        Calls::One(call) if steps.contains(&given.step.as_str()) => {
            format!("step `{}` waits with no call `{call}`", given.step)
        }
        _ => format!("step `{}` waits with no call that somebody could allow", given.step),
    };
    let list = || match open {
        [] => "the run waits with no call".to_owned(),
        open => {
            let calls: Vec<String> = open
                .iter()
                .map(|call| format!("`{}` with call `{}` of `{}`", call.step, call.call, call.tool))
                .collect();
            format!("waiting are {}", calls.join(", "))
        }
    };
    let near = did_you_mean(&given.step, steps.iter().copied()).filter(|_| !steps.contains(&given.step.as_str()));
    Fault::user("unknown_approval", message).with_hint(near.unwrap_or_else(list))
}

fn decided_before(step: &str, decision: Decision) -> Fault {
    let said = match decision {
        Decision::Allow => "allowed",
        Decision::Deny => "denied",
    };
    late(format!("the call that step `{step}` waited with was {said} already"))
}

fn late(message: String) -> Fault {
    Fault::user("late_approval", message).with_hint("`cofferdam fork` decides anew, in a new run")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::id::ToolName;
    use serde_json::json;
    use std::sync::Arc;

    fn open(step: &str, call: &str) -> OpenApproval {
        let tool = ToolName::parse("write").unwrap();
        OpenApproval {
            step: step.into(),
            attempt: 1,
            call: call.into(),
            agent: None,
            tool,
            args: Arc::new(json!({})),
            rule: None,
        }
    }

    fn word(step: &str, calls: Calls) -> Approval {
        Approval { step: step.to_owned(), calls, decision: Decision::Allow, reason: None }
    }

    fn found(given: &Approval) -> Result<Vec<String>, String> {
        let all = [open("a", "1"), open("a", "@1/2"), open("g.b", "1"), open("each[0].c", "1"), open("each[1].c", "1")];
        let all: Vec<&OpenApproval> = all.iter().collect();
        let calls = resolve(given, &all).map_err(|fault| fault.message)?;
        Ok(calls.into_iter().map(|call| format!("{} {}", call.step, call.call)).collect())
    }

    #[test]
    fn a_call_is_named_by_its_step_and_where_there_are_several_by_its_id() {
        let one = |id: &str| Calls::One(id.to_owned());
        assert_eq!(found(&word("b", Calls::Only)).unwrap(), ["g.b 1"]);
        assert_eq!(found(&word("a", one("@1/2"))).unwrap(), ["a @1/2"]);
        assert_eq!(found(&word("a", Calls::All)).unwrap(), ["a 1", "a @1/2"]);
        assert_eq!(found(&word("each[1].c", Calls::Only)).unwrap(), ["each[1].c 1"]);
        assert_eq!(found(&word("c", Calls::Only)).unwrap_err(), "`c` could be `each[0].c` or `each[1].c`");
        assert_eq!(
            found(&word("a", Calls::Only)).unwrap_err(),
            "step `a` waits with 2 calls: `1` (write), `@1/2` (write)"
        );
        assert!(found(&word("a", one("9"))).unwrap().is_empty());
        assert!(found(&word("z", Calls::Only)).unwrap().is_empty());
        assert!(found(&word("a", Calls::Of { attempt: 2, call: "1".to_owned() })).unwrap().is_empty());
    }

    #[test]
    fn one_that_is_not_there_is_told_with_those_that_are() {
        let (a, b) = (open("write", "1"), open("send", "2"));
        let fault = unknown(&word("wrte", Calls::Only), &[&a, &b]);
        assert_eq!(fault.hint.as_deref(), Some("did you mean `write`?"));
        let fault = unknown(&word("write", Calls::One("7".to_owned())), &[&a, &b]);
        assert_eq!(fault.message, "step `write` waits with no call `7`");
        assert_eq!(
            fault.hint.as_deref(),
            Some("waiting are `write` with call `1` of `write`, `send` with call `2` of `write`")
        );
    }
}
