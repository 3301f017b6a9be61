//! What conditions say in the walk: of expressions, of plugins, of choices between steps, and of scopes that they end.

use crate::plot::{Check, Ruling};
use crate::reference::{End, Output, Reference, child};
use cofferdam_core::event::StepStatus;
use cofferdam_core::spec::workflow::{Condition, Scope, Step};

impl Reference<'_> {
    /// The end of a step whose scope a condition has ended before the step began. Which steps had begun by then is a
    /// matter of order, so it is looked up; that somebody ended the scope is not.
    pub(crate) fn stopped(&mut self, step: &Step, scope: &Scope, path: &str, prefix: &str) -> Option<End> {
        let number = self.ends.get(path).map_or(0, Vec::len);
        let own = self.plugin_of(step).is_some_and(Option::is_none) && self.world.ruling(path) == Ruling::Stop;
        if !self.history.is_stopped(path, number) {
            return None;
        }
        let at = self.history.ended_at(path, number);
        let stops = |other: &Step| {
            let other_path = child(prefix, other);
            let by_plugin = self.plugin_of(other).is_some_and(Option::is_none);
            let ends = self.history.ends.get(&other_path).into_iter().flatten();
            by_plugin
                && self.world.ruling(&other_path) == Ruling::Stop
                && ends.into_iter().any(|end| end.stop && end.at < at)
        };
        if !scope.steps.iter().any(stops) {
            assert!(own, "nobody ended the scope of {path}");
            return None;
        }
        let end = End::new(StepStatus::Skipped, Output::default());
        self.note(path, end.clone());
        Some(end)
    }

    /// The label that a plugin knows the step by; none when no plugin decides.
    fn plugin_of<'s>(&self, step: &'s Step) -> Option<&'s Option<String>> {
        match &step.condition {
            Some(Condition::Plugin(condition)) => Some(&condition.label),
            _ => None,
        }
    }

    /// What the condition of a step says.
    pub(crate) fn check(&self, step: &Step, scope: &Scope, path: &str, prefix: &str) -> Check {
        let Some(Condition::Plugin(condition)) = &step.condition else {
            return step.condition.as_ref().map_or(Check::Yes, |_| self.world.condition(path));
        };
        if condition.label.is_none() {
            return match self.world.ruling(path) {
                Ruling::Proceed => Check::Yes,
                Ruling::Skip | Ruling::Stop => Check::No,
                Ruling::Fails => Check::Fails,
            };
        }
        let together = |other: &&Step| match &other.condition {
            Some(Condition::Plugin(other)) => other.label.is_some() && other.options == condition.options,
            _ => false,
        };
        let all: Vec<&Step> = scope.steps.iter().filter(together).collect();
        match self.world.choice(&child(prefix, all[0]), all.len()) {
            Err(()) => Check::Fails,
            Ok(chosen) => {
                if chosen.is_some_and(|index| all[index].id == step.id) {
                    Check::Yes
                } else {
                    Check::No
                }
            }
        }
    }
}
