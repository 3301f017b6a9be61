//! Whether a loop goes on: `while` before an iteration, `until` after one.

use super::Answer;
use super::perform::failed;
use super::run::Run;
use crate::closure::guarded;
use cofferdam_core::event::{Body, LoopEnd};
use cofferdam_core::expr::EvalError;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::spec::workflow::{LoopCheck, LoopKind, Repeat};
use cofferdam_core::value;
use serde_json::Value;
use std::sync::Arc;

/// Which of a loop's two questions is answered.
#[derive(Clone, Copy)]
pub(crate) enum Question {
    /// True goes on.
    While,
    /// True ends the loop.
    Until,
}

impl Run {
    pub(super) fn check_while(&mut self, path: &StepPath, index: u32) {
        match self.repeat_at(path).and_then(|repeat| repeat.go_on.clone()) {
            Some(LoopCheck::Expr(expr)) => {
                let variables = self.machine.loop_variables(path, &expr);
                let work = move || expr.evaluate(&variables);
                self.evaluate(path, work, move |outcome| answer(outcome, Question::While, index));
            }
            Some(LoopCheck::Native(name)) => self.check_by_closure(path, name, index),
            None => self.answer_later(path, async { Answer::GoOn }),
        }
    }

    pub(super) fn check_until(&mut self, path: &StepPath, index: u32) {
        match self.repeat_at(path).and_then(|repeat| repeat.until.clone()) {
            Some(expr) => {
                let variables = self.machine.loop_variables(path, &expr);
                // That iteration counts among those that began.
                let begun = index.saturating_add(1);
                let work = move || expr.evaluate(&variables);
                self.evaluate(path, work, move |outcome| answer(outcome, Question::Until, begun));
            }
            None => self.answer_later(path, async { Answer::GoOn }),
        }
    }

    fn repeat_at(&self, path: &StepPath) -> Option<&Repeat> {
        match &self.machine.step_at(path)?.repeat.as_ref()?.kind {
            LoopKind::Repeat(repeat) => Some(repeat),
            LoopKind::ForEach(_) => None,
        }
    }

    fn check_by_closure(&mut self, path: &StepPath, name: Arc<str>, index: u32) {
        let closure = self.ports.natives.loops.get(&name).cloned();
        let run = self.context.of(path.clone(), None);
        let view = self.machine.loop_view(path, self.ports.clock.now());
        self.answer_later(path, async move {
            let Some(closure) = closure else {
                return failed(Fault::bug(format!("the loop condition `{name}` was not looked for"))).into();
            };
            let what = format!("loop condition `{name}`");
            after_closure(guarded(&what, async { closure.go_on(run, view).await }).await, index)
        });
    }
}

/// What follows from what a closure said before iteration `index`.
pub(crate) fn after_closure(said: Result<bool, Fault>, index: u32) -> Answer {
    match said {
        Ok(true) => Answer::GoOn,
        Ok(false) => Body::LoopFinished { iterations: index, because: LoopEnd::While }.into(),
        Err(fault) => failed(fault).into(),
    }
}

pub(crate) fn answer(outcome: Result<Value, EvalError>, question: Question, iterations: u32) -> Answer {
    let (name, because, goes_on) = match question {
        Question::While => ("while", LoopEnd::While, true),
        Question::Until => ("until", LoopEnd::Until, false),
    };
    match outcome {
        Ok(Value::Bool(given)) if given == goes_on => Answer::GoOn,
        Ok(Value::Bool(_)) => Body::LoopFinished { iterations, because }.into(),
        Ok(other) => {
            let message = format!("`{name}` gave {} instead of true or false", value::describe(&other));
            failed(Fault::step("loop_condition", message)).into()
        }
        Err(error) => failed(Fault::step("loop_condition", format!("cannot evaluate `{name}`: {error}"))).into(),
    }
}
