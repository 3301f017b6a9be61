//! Kinds of events by their names on the wire: what sinks may ask for, and which are kept.

use super::Body;
use crate::spec::suggest::did_you_mean;
use crate::spec::workflow::pattern_matches;

/// The kinds, in the order of [`Body`].
pub const KINDS: &[&str] = &[
    "run_started",
    "run_resumed",
    "run_finished",
    "step_ready",
    "step_started",
    "step_retrying",
    "step_waiting",
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
    "memory_written",
    "memory_deleted",
    "memory_seen",
    "message_posted",
    "message_delivered",
    "message_dropped",
    "told",
    "narrated",
    "summarized",
    "memory_recalled",
    "turn_started",
    "turn_finished",
    "turn_failed",
    "spent",
    "tool_call_started",
    "tool_call_finished",
    "output_delta",
    "thinking_delta",
    "progress",
    "permission_asked",
    "permission_decided",
    "effect_decided",
    "files_changed",
    "plugin_denied",
    "plugin_failed",
    "budget_warning",
    "budget_exhausted",
    "warning",
];

/// The kinds of events that are shown and forgotten.
pub const TRANSIENT: &[&str] = &["output_delta", "thinking_delta", "progress"];

impl Body {
    /// Whether the event is shown and forgotten: it goes to sinks, never to the journal.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::OutputDelta { .. } | Self::ThinkingDelta { .. } | Self::Progress { .. })
    }

    /// Whether the event is of an agent's turn: what its model was asked and said, what that cost, and the calls in it.
    #[must_use]
    pub fn is_of_turn(&self) -> bool {
        matches!(
            self,
            Self::TurnStarted { .. }
                | Self::TurnFinished { .. }
                | Self::TurnFailed { .. }
                | Self::Spent(_)
                | Self::ToolCallStarted { .. }
                | Self::ToolCallFinished { .. }
                | Self::PermissionAsked { .. }
                | Self::PermissionDecided { .. }
                | Self::EffectDecided { .. }
                | Self::PluginDenied { .. }
                | Self::PluginFailed { .. }
        )
    }

    /// The kind as it stands on the wire.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run_started",
            Self::RunResumed { .. } => "run_resumed",
            Self::RunFinished { .. } => "run_finished",
            Self::StepReady {} => "step_ready",
            Self::StepStarted { .. } => "step_started",
            Self::StepRetrying { .. } => "step_retrying",
            Self::StepWaiting(_) => "step_waiting",
            Self::StepFinished { .. } => "step_finished",
            Self::StepSkipped { .. } => "step_skipped",
            Self::BranchChosen { .. } => "branch_chosen",
            Self::StepCancelled { .. } => "step_cancelled",
            Self::LoopIterationStarted { .. } => "loop_iteration_started",
            Self::LoopIterationFinished { .. } => "loop_iteration_finished",
            Self::LoopFinished { .. } => "loop_finished",
            Self::LoopPostponed { .. } => "loop_postponed",
            Self::QuestionAsked { .. } => "question_asked",
            Self::QuestionAnswered { .. } => "question_answered",
            Self::VariableSet { .. } => "variable_set",
            Self::MemoryWritten { .. } => "memory_written",
            Self::MemoryDeleted { .. } => "memory_deleted",
            Self::MemorySeen(_) => "memory_seen",
            Self::MessagePosted(_) => "message_posted",
            Self::MessageDelivered(_) => "message_delivered",
            Self::MessageDropped(_) => "message_dropped",
            Self::Told(_) => "told",
            Self::Narrated { .. } => "narrated",
            Self::Summarized { .. } => "summarized",
            Self::MemoryRecalled(_) => "memory_recalled",
            Self::TurnStarted { .. } => "turn_started",
            Self::TurnFinished { .. } => "turn_finished",
            Self::TurnFailed { .. } => "turn_failed",
            Self::Spent(_) => "spent",
            Self::ToolCallStarted { .. } => "tool_call_started",
            Self::ToolCallFinished { .. } => "tool_call_finished",
            Self::OutputDelta { .. } => "output_delta",
            Self::ThinkingDelta { .. } => "thinking_delta",
            Self::Progress { .. } => "progress",
            Self::PermissionAsked { .. } => "permission_asked",
            Self::PermissionDecided { .. } => "permission_decided",
            Self::EffectDecided { .. } => "effect_decided",
            Self::FilesChanged(_) => "files_changed",
            Self::PluginDenied { .. } => "plugin_denied",
            Self::PluginFailed { .. } => "plugin_failed",
            Self::BudgetWarning(_) => "budget_warning",
            Self::BudgetExhausted(_) => "budget_exhausted",
            Self::Warning { .. } => "warning",
            Self::Unknown | Self::Newer(_) => "unknown",
        }
    }
}

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
        let code = include_str!("kinds.rs");
        let (_, function) = code.split_once("pub fn kind(&self)").unwrap();
        let (function, _) = function.split_once("\n    }\n").unwrap();
        let kinds = function.lines().filter_map(|line| line.split_once("=> \"")?.1.split_once('"'));
        let kinds: Vec<&str> = kinds.map(|(kind, _)| kind).filter(|kind| *kind != "unknown").collect();
        assert_eq!(kinds, KINDS);
    }

    #[test]
    fn the_transient_kinds_are_those_of_transient_events() {
        let text = String::new;
        let bodies = [
            Body::OutputDelta { turn: 1, text: text() },
            Body::ThinkingDelta { turn: 1, text: text() },
            Body::Progress { message: text(), fraction: None },
        ];
        assert!(bodies.iter().all(Body::is_transient));
        assert_eq!(bodies.each_ref().map(Body::kind), TRANSIENT);
    }

    #[test]
    fn a_pattern_that_no_kind_matches_is_told_with_what_is_near() {
        assert_eq!(unknown_kind(["run_*", "*", "step_finished"]), None);
        let (pattern, near) = unknown_kind(["run_*", "step_finishd"]).unwrap();
        assert_eq!((pattern, near.as_deref()), ("step_finishd", Some("did you mean `step_finished`?")));
        assert_eq!(unknown_kind(["stage_*"]).unwrap().0, "stage_*");
    }
}
