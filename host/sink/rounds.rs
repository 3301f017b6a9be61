//! Loops in words: which round it is, of how many at most, and what ended them.
//!
//! Rounds of loops inside loops are not told: there may be thousands.

use cofferdam_core::event::{Body, LoopEnd, RunEvent};
use cofferdam_core::id::StepPath;
use cofferdam_core::spec::workflow::{LoopKind, Scope, Workflow};
use std::collections::{HashMap, HashSet};

/// The most iterations of the loops that repeat, by their paths without indices.
#[derive(Clone, Debug, Default)]
pub struct LoopBounds(HashMap<String, u32>);

impl LoopBounds {
    /// Those of a document.
    #[must_use]
    pub fn of(document: &Workflow) -> Self {
        let mut bounds = Self::default();
        bounds.add(&document.scope, &StepPath::ROOT);
        bounds
    }

    fn add(&mut self, scope: &Scope, at: &StepPath) {
        for step in &scope.steps {
            let path = at.child(&step.id);
            if let Some(LoopKind::Repeat(repeat)) = step.repeat.as_ref().map(|repeat| &repeat.kind) {
                self.0.insert(path.as_str().to_owned(), repeat.max_iterations);
            }
            if let Some(inner) = step.inner() {
                self.add(inner, &path);
            }
        }
    }

    /// Whether the step at this path repeats.
    pub(super) fn repeats(&self, path: &StepPath) -> bool {
        self.0.contains_key(&path.place())
    }

    /// `iteration 2 of at most 5`, for an iteration from 0.
    #[must_use]
    pub fn round(&self, path: &str, index: u32) -> String {
        let number = u64::from(index) + 1;
        match self.0.get(&StepPath::from(path).place()) {
            Some(most) => format!("{number} of at most {most}"),
            None => number.to_string(),
        }
    }
}

/// What ended a loop, for people.
#[must_use]
pub fn loop_end(because: LoopEnd) -> &'static str {
    match because {
        LoopEnd::Items => "all items are done",
        LoopEnd::Until => "`until` is true",
        LoopEnd::Judge => "its judge is satisfied",
        LoopEnd::While => "`while` is false",
        LoopEnd::Limit => "it has reached its limit",
        LoopEnd::Signal => "`loop_continue` was set to false",
        LoopEnd::Failed => "an iteration failed",
        LoopEnd::Timeout => "its time is over",
        LoopEnd::Stopped => "it was stopped",
    }
}

/// `1 iteration`, `3 iterations`.
#[must_use]
pub fn iterations(count: u64) -> String {
    if count == 1 { "1 iteration".to_owned() } else { format!("{count} iterations") }
}

/// The loop and the iteration of a path such as `refine[2]`.
#[must_use]
pub fn iteration_of(path: &str) -> Option<(&str, u32)> {
    let (outer, index) = path.strip_suffix(']')?.rsplit_once('[')?;
    Some((outer, index.parse().ok()?))
}

/// The loops of a run that repeat, as far as they are told of.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) bounds: LoopBounds,
    over_items: HashSet<StepPath>,
    repeating: HashSet<String>,
}

impl Rounds {
    /// What the event says of a loop: the loop's path, a word and a detail.
    pub(super) fn tell(&mut self, event: &RunEvent) -> Option<(String, &'static str, String)> {
        match &event.body {
            Body::StepStarted { items: Some(_), .. } => {
                self.over_items.insert(event.path.clone());
                None
            }
            Body::LoopIterationStarted { index } => {
                let (outer, _) = iteration_of(event.path.as_str())?;
                if outer.contains('[') || self.over_items.contains(&StepPath::from(outer)) {
                    return None;
                }
                self.repeating.insert(outer.to_owned());
                Some((outer.to_owned(), "iteration", self.bounds.round(outer, *index)))
            }
            Body::LoopFinished { iterations: count, because } => {
                let path = event.path.as_str();
                let plain = *because == LoopEnd::Items && self.over_items.contains(&event.path);
                let ended = format!("{}, {}", iterations(u64::from(*count)), loop_end(*because));
                (!plain && !path.contains('[')).then(|| (path.to_owned(), "loop", ended))
            }
            Body::StepFinished { output, .. } => {
                let (judge, _) = iteration_of(event.path.as_str())?;
                let judged = judge.strip_suffix(".judge").filter(|judged| self.repeating.contains(*judged))?;
                let done = output.result.get("done").and_then(serde_json::Value::as_bool)?;
                Some((judged.to_owned(), "judge", if done { "done" } else { "not done yet" }.to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::event;
    use super::*;
    use cofferdam_core::event::{StepOutput, StepStatus};
    use cofferdam_core::message::Usage;
    use serde_json::json;
    use std::sync::Arc;

    fn told(rounds: &mut Rounds, path: &str, body: Body) -> String {
        rounds
            .tell(&event(path, body))
            .map(|(path, word, detail)| format!("{path} {word} {detail}"))
            .unwrap_or_default()
    }

    #[test]
    fn rounds_judges_and_ends_of_a_loop_are_told() {
        let mut rounds = Rounds { bounds: LoopBounds([("refine".to_owned(), 5)].into()), ..Rounds::default() };
        let judged = |done: bool| Body::StepFinished {
            status: StepStatus::Completed,
            output: StepOutput { result: Arc::new(json!({ "done": done })), ..StepOutput::default() },
            error: None,
            usage: Usage::default(),
            truncated_inputs: Vec::new(),
        };
        assert_eq!(
            told(&mut rounds, "group.judge[0]", judged(true)),
            "",
            "no judge, but an item of a step of that name"
        );
        let round = |index| Body::LoopIterationStarted { index };
        assert_eq!(told(&mut rounds, "refine[1]", round(1)), "refine iteration 2 of at most 5");
        assert_eq!(told(&mut rounds, "refine.judge[1]", judged(false)), "refine judge not done yet");
        let end = Body::LoopFinished { iterations: 2, because: LoopEnd::Judge };
        assert_eq!(told(&mut rounds, "refine", end), "refine loop 2 iterations, its judge is satisfied");
        assert_eq!(told(&mut rounds, "outer[1].refine[0]", round(0)), "", "loops inside loops are not told of");
    }

    #[test]
    fn items_are_not_told_of_one_by_one() {
        let mut rounds = Rounds::default();
        let items = Some(Arc::new(vec![json!(1)]));
        told(
            &mut rounds,
            "scan",
            Body::StepStarted { agent: None, tool: None, items, inputs: None, narrowed: Vec::new() },
        );
        assert_eq!(told(&mut rounds, "scan[0]", Body::LoopIterationStarted { index: 0 }), "");
        let end = |because| Body::LoopFinished { iterations: 1, because };
        assert_eq!(told(&mut rounds, "scan", end(LoopEnd::Items)), "");
        assert_eq!(told(&mut rounds, "scan", end(LoopEnd::Failed)), "scan loop 1 iteration, an iteration failed");
    }
}
