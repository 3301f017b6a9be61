//! A result as views may show it: the content of sensitive steps is replaced, as sinks get it.

use super::result::{RunResult, StepResult};
use crate::event::slots::{Change, approval, changes, data, fault, question, shared, shared_data, text};
use crate::id::StepPath;
use std::sync::Arc;

impl RunResult {
    /// The result without what its document keeps out of views. The same when that is nothing.
    #[must_use]
    pub fn public(&self) -> Self {
        let mut shown = self.clone();
        let Some(sensitive) = &self.sensitive else { return shown };
        for step in &mut shown.steps {
            let path = step.path.clone();
            sensitive.hide(&path, |change| hide_step(step, change));
        }
        for open in &mut shown.questions {
            let path = open.step.clone();
            sensitive.hide(&path, |change| question(open, change));
        }
        for open in &mut shown.approvals {
            let path = open.step.clone();
            sensitive.hide(&path, |change| approval(open, change));
        }
        if let Some(failure) = &mut shown.error {
            let path = failure.step.clone();
            sensitive.hide(&path, |change| fault(Some(&mut failure.fault), change));
        }
        if let Some(summary) = &mut shown.summary {
            sensitive.hide(&StepPath::coordinator(), |change| shared(summary, change));
        }
        sensitive.hide(&StepPath::ROOT, |change| {
            data(&mut shown.output, change);
            shown.warnings.iter_mut().for_each(|warning| text(warning, change));
        });
        shown
    }
}

fn hide_step(step: &mut StepResult, change: &mut dyn Change) {
    shared(&mut step.content, change);
    shared_data(&mut step.result, change);
    fault(step.error.as_mut(), change);
    if let Some(changed) = &mut step.changes {
        changes(Arc::make_mut(changed), change);
    }
    step.metadata.values_mut().for_each(|value| data(value, change));
}
