//! Every kind of event by its name on the wire: what sinks may ask for.

use crate::spec::suggest::did_you_mean;
use crate::spec::workflow::pattern_matches;

/// The kinds, in the order of [`Body`](super::Body).
pub const KINDS: &[&str] = &[
    "run_started",
    "run_resumed",
    "run_finished",
    "step_ready",
    "step_started",
    "step_retrying",
    "step_finished",
    "step_skipped",
    "branch_chosen",
    "step_cancelled",
    "loop_iteration_started",
    "loop_iteration_finished",
    "loop_finished",
    "loop_postponed",
    "question_asked",
    "question_answered",
    "variable_set",
    "message_posted",
    "message_delivered",
    "message_dropped",
    "told",
    "narrated",
    "summarized",
    "turn_started",
    "turn_finished",
    "turn_failed",
    "spent",
    "tool_call_started",
    "tool_call_finished",
    "output_delta",
    "thinking_delta",
    "progress",
    "permission_decided",
    "effect_decided",
    "plugin_denied",
    "plugin_failed",
    "budget_warning",
    "budget_exhausted",
    "warning",
];

/// The first of these patterns that no kind of event matches, and what may have been meant.
#[must_use]
pub fn unknown_kind<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Option<(&'p str, Option<String>)> {
    let is_unknown = |pattern: &&str| !KINDS.iter().any(|kind| pattern_matches(pattern, kind));
    let pattern = patterns.into_iter().find(is_unknown)?;
    let near = did_you_mean(pattern.trim_end_matches('*'), KINDS.iter().copied());
    Some((pattern, near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_code_is_in_the_list() {
        let code = include_str!("../event.rs");
        let (_, function) = code.split_once("pub fn kind(&self)").unwrap();
        let (function, _) = function.split_once("\n    }\n").unwrap();
        let kinds = function.lines().filter_map(|line| line.split_once("=> \"")?.1.split_once('"'));
        let kinds: Vec<&str> = kinds.map(|(kind, _)| kind).filter(|kind| *kind != "unknown").collect();
        assert_eq!(kinds, KINDS);
    }

    #[test]
    fn a_pattern_that_no_kind_matches_is_told_with_what_is_near() {
        assert_eq!(unknown_kind(["run_*", "*", "step_finished"]), None);
        let (pattern, near) = unknown_kind(["run_*", "step_finishd"]).unwrap();
        assert_eq!((pattern, near.as_deref()), ("step_finishd", Some("did you mean `step_finished`?")));
        assert_eq!(unknown_kind(["stage_*"]).unwrap().0, "stage_*");
    }
}
