//! What a step with inner steps gives when that is not what the inner steps gave: `output`, then its transforms.

use super::Answer;
use super::end::too_large;
use super::perform::{completed, failed_with};
use super::run::Run;
use crate::chain::Chains;
use cofferdam_core::event::StepOutput;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::spec::workflow::Work;
use cofferdam_core::transform::Transform;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Run {
    pub(super) fn gather(&mut self, path: &StepPath) {
        let Some(step) = self.machine.step_at(path) else { return };
        let chain = step.transform.output.clone();
        let output = match &step.work {
            // As its own steps see it.
            Work::Include(include) => {
                let inside = include.scope.steps.first().map_or_else(|| path.clone(), |first| path.child(&first.id));
                include.output.clone().map(|expr| (expr, inside))
            }
            _ => None,
        };
        let gathered = self.machine.gathered(path);
        let chains = self.chains(path, None);
        let limit = self.machine.workflow().options.limits.step_output_bytes;
        let (evaluated, value) = oneshot::channel();
        match output {
            None => drop(evaluated.send(Ok(None))),
            Some((expr, inside)) => {
                let variables = self.machine.variables(&inside, &expr);
                let evaluating = self.evaluating();
                self.evaluator.evaluate(
                    move || expr.evaluate(&variables),
                    move |outcome| {
                        let outcome = outcome.map(Some);
                        let fault = |error| Fault::step("output", format!("cannot evaluate `output`: {error}"));
                        let _ = evaluated.send(outcome.map_err(fault));
                        drop(evaluating);
                    },
                );
            }
        }
        self.answer_later(path, async move {
            let value = value.await.unwrap_or_else(|_| Err(Fault::bug("the evaluation of `output` broke off")));
            match changed(value, gathered.clone(), &chains, &chain).await {
                Ok(output) => match too_large(&output, limit) {
                    None => completed(output).into(),
                    Some(fault) => Answer::from(failed_with(fault, StepOutput::default())),
                },
                Err(fault) => failed_with(fault, gathered).into(),
            }
        });
    }
}

/// What the step gives: `value` in the place of what was gathered, then the chain.
pub(crate) async fn changed(
    value: Result<Option<Value>, Fault>,
    gathered: StepOutput,
    chains: &Chains,
    chain: &[Transform],
) -> Result<StepOutput, Fault> {
    let output = match value? {
        None => gathered,
        Some(Value::String(text)) => {
            let content = Arc::from(text.as_str());
            StepOutput { content, result: Arc::new(Value::String(text)), ..gathered }
        }
        Some(value) => StepOutput { result: Arc::new(value), ..gathered },
    };
    chains.apply(chain, output).await
}
