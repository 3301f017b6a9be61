//! Questions to people, once more: what was asked, whether the answer fits, and what the step gave for it.
//!
//! Whether somebody was there, and what they said, is taken from the record.

use super::Replayer;
use super::evaluations::event;
use crate::answer::Form;
use crate::executor;
use cofferdam_core::event::{AnsweredBy, Body, StepOutput, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::run::Machine;
use cofferdam_core::run::replay::{Answer, Asked, Difference, REDACTED};
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::workflow::{AskWork, Work};
use cofferdam_core::value;
use serde_json::Value;
use std::sync::Arc;

impl Replayer {
    pub(super) async fn ask(&mut self, machine: &Machine, path: &StepPath, asked: Asked<'_>) -> Answer {
        let Some(step) = machine.step_at(path) else { return Answer::Taken };
        let Work::Ask(work) = &step.work else { return Answer::Taken };
        let prompt = match work.prompt.render(&machine.variables(path, &work.prompt)) {
            Ok(prompt) => value::to_text(&prompt),
            Err(error) => {
                let message = format!("cannot render `ask.prompt`: {error}");
                return event(executor::failed(Fault::step("template", message)));
            }
        };
        let answered = asked.before.iter().rev().find_map(|event| match &event.body {
            Body::QuestionAnswered { answer, by } => Some((answer, by)),
            _ => None,
        });
        let was_asked = asked.before.iter().any(|event| matches!(event.body, Body::QuestionAsked { .. }));
        match (&asked.recorded.body, answered) {
            (Body::QuestionAsked { deferred, .. }, _) => event(Body::QuestionAsked {
                question: prompt,
                choices: work.choices.clone(),
                schema: work.schema.clone(),
                deferred: *deferred,
            }),
            (Body::QuestionAnswered { .. }, _) if !was_asked => {
                Answer::Differs(Box::new(Difference::at(asked.recorded, "nobody was asked what was answered")))
            }
            (Body::QuestionAnswered { answer, by }, _) | (_, Some((answer, by))) => {
                if let Some(difference) = unfit(work, asked, answer, *by) {
                    return difference;
                }
                let answered = Body::QuestionAnswered { answer: answer.clone(), by: *by };
                match self.end_of_question(machine, path, answer).await {
                    None => Answer::Taken,
                    Some(end) => Answer::Events(vec![answered, end]),
                }
            }
            // Nobody answered in time, or nothing that fits.
            (Body::StepFinished { status: StepStatus::Failed, error: Some(error), .. }, None)
                if error.code != "template" =>
            {
                Answer::Taken
            }
            _ => Answer::Differs(Box::new(Difference::at(asked.recorded, "the step ended without an answer"))),
        }
    }

    async fn end_of_question(&mut self, machine: &Machine, path: &StepPath, answer: &Value) -> Option<Body> {
        let chain = machine.step_at(path)?.transform.output.clone();
        if let Some(missing) = self.missing(&chain, path) {
            self.take(missing);
            return None;
        }
        let content = Arc::from(value::to_text(answer));
        let output = StepOutput { content, result: Arc::new(answer.clone()), ..StepOutput::default() };
        let chains = self.scope.chains(&self.ports, machine, path, None);
        let limit = self.workflow.options.limits.step_output_bytes;
        Some(match self.scope.wait_for(machine, chains.apply(&chain, output)).await {
            Ok(output) => match executor::too_large(&output, limit) {
                None => executor::completed(output),
                Some(fault) => executor::failed(fault),
            },
            Err(fault) => executor::failed(fault),
        })
    }
}

/// Whether a recorded answer is none that the question could have had.
fn unfit(work: &AskWork, asked: Asked<'_>, answer: &Value, by: AnsweredBy) -> Option<Answer> {
    if value::to_text(answer).contains(REDACTED) {
        return None;
    }
    let what = match by {
        AnsweredBy::Default if work.default.as_ref() != Some(answer) => "the answer is not the question's default",
        AnsweredBy::Default => return None,
        AnsweredBy::Person | AnsweredBy::Given => match Form::of(work) {
            Ok(form) if form.read(&InputText::Value(answer.clone())).is_err() => {
                "the answer is none that the question takes"
            }
            _ => return None,
        },
    };
    let difference = Difference::at(asked.recorded, what).recorded(answer.clone());
    Some(Answer::Differs(Box::new(match &work.default {
        Some(default) if by == AnsweredBy::Default => difference.replayed(default.clone()),
        _ => difference,
    })))
}
