//! Whether a step runs: its condition, an expression or a closure; `choose.rs` has those by plugin.

use super::Answer;
use super::perform::failed;
use super::run::Run;
use crate::closure::guarded;
use cofferdam_core::event::{Body, RunStatus, SkippedBecause};
use cofferdam_core::expr::EvalError;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{StepId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::run::Emission;
use cofferdam_core::spec::workflow::Condition;
use cofferdam_core::value;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

impl Run {
    /// Decides whether a step begins, once whoever says when has said so.
    pub(super) fn decide_when_admitted(&mut self, path: &StepPath) {
        let admission = self.ports.starter.clone().zip(root_step(path));
        let Some((starter, step)) = admission else { return self.decide(path) };
        self.answer_later(path, async move {
            match starter.admit(step).await {
                Ok(()) => Answer::Admitted,
                Err(fault) => Answer::Deadlock(fault),
            }
        });
    }

    /// Tells whoever says when steps begin that one of them has ended.
    pub(super) fn tell_starter(&self, path: &StepPath) {
        let told = self.ports.starter.as_ref().filter(|_| root_step(path).is_some());
        let end = told.and_then(|starter| Some((starter, self.machine.step_end(path, path.as_str())?)));
        if let Some((starter, end)) = end {
            starter.ended(end);
        }
    }

    /// Whether the run's end waits for whoever starts its steps: it is asked once whether it failed, unless the run was
    /// stopped or waits for a person.
    pub(super) fn waits_for_starter(&mut self) -> bool {
        let (status, reason) = self.machine.verdict();
        let stopped = reason.is_some() || matches!(status, RunStatus::Cancelled | RunStatus::Waiting);
        let asked = std::mem::replace(&mut self.starter_asked, true);
        let Some(starter) = self.ports.starter.clone().filter(|_| !stopped && !asked) else { return false };
        // A stop meanwhile ends the run at once.
        self.concluding = true;
        let grace = self.ports.clock.sleep(Duration::from_millis(limits::ENGINE_RETURN_MS));
        self.answer_later(&StepPath::ROOT, async move {
            tokio::select! {
                outcome = starter.over() => Answer::Over(Some(outcome)),
                () = grace => Answer::Over(None),
            }
        });
        true
    }

    /// Notes what whoever starts the steps said at last; gives the warning that it said nothing.
    pub(super) fn starter_over(&mut self, outcome: Option<Result<(), Fault>>) -> Option<Emission> {
        let Some(outcome) = outcome else {
            let message = format!(
                "the workflow engine did not return within {} ms after the last step, and was ended",
                limits::ENGINE_RETURN_MS
            );
            let body = Body::Warning { code: "engine".to_owned(), message };
            return Some(Emission { path: StepPath::ROOT, attempt: None, body });
        };
        self.starter_failed = outcome.err();
        None
    }

    pub(super) fn decide(&mut self, path: &StepPath) {
        let condition = self.machine.step_at(path).and_then(|step| step.condition.clone());
        match condition {
            Some(Condition::Expr(condition)) => {
                let source = condition.source().to_owned();
                let variables = self.machine.variables(path, &condition);
                let work = move || condition.evaluate(&variables);
                self.evaluate(path, work, move |outcome| decision(outcome, &source));
            }
            Some(Condition::Native(name)) => self.decide_by_closure(path, name),
            None => self.answer_later(path, async { Body::StepReady {}.into() }),
            Some(Condition::Plugin(condition)) => self.decide_by_plugin(path.clone(), condition),
        }
    }

    fn decide_by_closure(&mut self, path: &StepPath, name: Arc<str>) {
        let closure = self.ports.natives.conditions.get(&name).cloned();
        let run = self.context.of(path.clone(), None);
        self.answer_later(path, async move {
            let Some(closure) = closure else {
                return failed(Fault::bug(format!("the condition `{name}` was not looked for"))).into();
            };
            match guarded(&format!("condition `{name}`"), async { closure.decide(run).await }).await {
                Ok(true) => Body::StepReady {}.into(),
                Ok(false) => skipped(format!("the condition `{name}` said no")).into(),
                Err(fault) => failed(fault).into(),
            }
        });
    }
}

/// The step of a path, when it is one of the document's own.
pub(crate) fn root_step(path: &StepPath) -> Option<StepId> {
    StepId::parse(path.as_str()).ok()
}

pub(crate) fn skipped(detail: String) -> Body {
    Body::StepSkipped { because: SkippedBecause::Condition, detail }
}

pub(crate) fn decision(outcome: Result<Value, EvalError>, source: &str) -> Answer {
    match outcome {
        Ok(Value::Bool(true)) => Body::StepReady {}.into(),
        Ok(Value::Bool(false)) => skipped(format!("`{source}` is false")).into(),
        Ok(other) => {
            let given = value::describe(&other);
            let message = format!("condition `{source}` gave {given} instead of true or false");
            failed(Fault::step("condition", message)).into()
        }
        Err(EvalError::Missing(what)) => {
            // Perhaps a mistake in the document, so it is said louder than a condition that is false.
            let detail = format!("`{source}`: {what}");
            let message = format!("skipped, since its condition reads what is not there: {detail}");
            let warning = Body::Warning { code: "missing_key".to_owned(), message };
            Answer::Events(vec![warning, skipped(detail)])
        }
        Err(error) => failed(Fault::step("condition", format!("cannot evaluate condition `{source}`: {error}"))).into(),
    }
}
