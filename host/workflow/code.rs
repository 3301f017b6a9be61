//! The closures of a workflow, by name. Two closures of one kind cannot share a name: the document could not tell them
//! apart.

use super::condition::Transform;
use super::loop_condition::LoopCheck;
use super::step::Step;
use cofferdam_core::port::Natives;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Closures by name.
#[derive(Clone, Default)]
pub(crate) struct Code(pub(crate) Natives);

impl Code {
    /// Takes the closures of a step.
    pub(super) fn take_step(&mut self, step: &Step) -> Result<(), String> {
        if let Some((name, code)) = step.condition.as_ref().and_then(super::condition::Condition::code) {
            take(&mut self.0.conditions, "condition", name, code)?;
        }
        for (name, code) in step.input.iter().chain(&step.output).filter_map(Transform::code) {
            take(&mut self.0.transforms, "transform", name, code)?;
        }
        Ok(())
    }

    /// Takes the condition of the loop; there is one.
    pub(super) fn take_loop(&mut self, check: &LoopCheck) {
        self.0.loops = check.code().into_iter().map(|(name, code)| (Arc::clone(name), Arc::clone(code))).collect();
    }

    /// These and those of the orchestrator; these win.
    pub(crate) fn over(&self, others: &Natives) -> Natives {
        let mut all = others.clone();
        all.conditions.extend(self.0.conditions.clone());
        all.transforms.extend(self.0.transforms.clone());
        all.loops.extend(self.0.loops.clone());
        all
    }
}

fn take<T: ?Sized>(
    known: &mut BTreeMap<Arc<str>, Arc<T>>,
    kind: &str,
    name: &Arc<str>,
    code: &Arc<T>,
) -> Result<(), String> {
    match known.get(name) {
        Some(other) if !Arc::ptr_eq(other, code) => Err(format!("another {kind} is called `{name}`")),
        _ => {
            known.insert(Arc::clone(name), Arc::clone(code));
            Ok(())
        }
    }
}
