//! How many requests to models a document makes, at least and at most.
//!
//! The numbers hold for a run in which nothing fails but what is tried again; requests that are repeated because a
//! network or a provider failed are not counted.

use super::words::agent_of;
use cofferdam::core::spec::workflow::{Items, Loop, LoopKind, Scope, Step, Work, Workflow};
use serde::Serialize;

/// What the numbers count, for people.
pub(super) const MEANING: [&str; 3] = [
    "one call is one request to a model; those that a network error repeats are not counted",
    "least: every condition and `while` is false, lists that are not written out are empty, an agent answers at once",
    "most: every agent takes all its turns, every loop all its iterations, every step all its tries",
];

/// Bounds of a number of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Calls {
    pub(super) at_least: u64,
    #[serde(serialize_with = "bounded")]
    pub(super) at_most: u64,
}

/// Above this a bound says nothing, and readers of JSON begin to round.
pub(super) const WORTH_NAMING: u64 = 1_000_000_000_000_000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn bounded<S: serde::Serializer>(at_most: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    (*at_most <= WORTH_NAMING).then_some(*at_most).serialize(serializer)
}

impl Calls {
    fn exactly(count: u64) -> Self {
        Self { at_least: count, at_most: count }
    }

    /// The upper bound, if it says something.
    pub(super) fn bound(self) -> Option<u64> {
        (self.at_most <= WORTH_NAMING).then_some(self.at_most)
    }

    fn plus(self, other: Self) -> Self {
        Self {
            at_least: self.at_least.saturating_add(other.at_least),
            at_most: self.at_most.saturating_add(other.at_most),
        }
    }

    /// So many times, by other bounds.
    fn times(self, often: Self) -> Self {
        Self {
            at_least: self.at_least.saturating_mul(often.at_least),
            at_most: self.at_most.saturating_mul(often.at_most),
        }
    }
}

/// The requests of a whole document.
pub(super) fn of_document(document: &Workflow) -> Calls {
    of_scope(document, &document.scope)
}

/// The requests of a step, all iterations and tries together.
pub(super) fn of_step(document: &Workflow, step: &Step) -> Calls {
    let once = match &step.repeat {
        Some(repeat) => of_loop(document, step, repeat),
        None => of_work(document, step),
    };
    let tries = Calls { at_least: u64::from(step.condition.is_none()), at_most: u64::from(step.retries) + 1 };
    once.times(tries)
}

/// Whether the number of iterations is known only when the loop runs.
pub(super) fn is_open(step: &Step) -> bool {
    let kind = step.repeat.as_ref().map(|repeat| &repeat.kind);
    matches!(kind, Some(LoopKind::ForEach(each)) if matches!(each.items, Items::Expr(_)))
}

fn of_scope(document: &Workflow, scope: &Scope) -> Calls {
    scope.steps.iter().map(|step| of_step(document, step)).fold(Calls::default(), Calls::plus)
}

fn of_work(document: &Workflow, step: &Step) -> Calls {
    match &step.work {
        Work::Agent(work) => {
            let turns = document.turns_of(agent_of(document, work));
            Calls { at_least: 1, at_most: u64::from(turns) }
        }
        Work::Group(scope) => of_scope(document, scope),
        Work::Include(include) => of_scope(document, &include.scope),
        Work::Tool(_) | Work::Ask(_) | Work::Body => Calls::default(),
    }
}

fn of_loop(document: &Workflow, step: &Step, repeat: &Loop) -> Calls {
    let body = match &repeat.body {
        Some(scope) => of_scope(document, scope),
        None => of_work(document, step),
    };
    match &repeat.kind {
        LoopKind::ForEach(each) => match &each.items {
            Items::List(list) => body.times(Calls::exactly(u64::try_from(list.len()).unwrap_or(u64::MAX))),
            Items::Expr(_) => {
                let most = u64::try_from(document.options.limits.for_each_items).unwrap_or(u64::MAX);
                body.times(Calls { at_least: 0, at_most: most })
            }
        },
        LoopKind::Repeat(repeat) => {
            let judge = repeat.judge.as_deref().map(|judge| of_step(document, judge)).unwrap_or_default();
            // A judge is asked only about what `until` did not end.
            let asked = Calls { at_least: u64::from(repeat.until.is_none()), at_most: 1 };
            // Each loop may also be ended from inside, after its first iteration.
            let often =
                Calls { at_least: u64::from(repeat.go_on.is_none()), at_most: u64::from(repeat.max_iterations) };
            body.plus(judge.times(asked)).times(often)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{agent, document, for_each, repeat};
    use super::*;
    use serde_json::json;

    fn calls(steps: Vec<Step>) -> (u64, u64) {
        let calls = of_document(&document(steps));
        (calls.at_least, calls.at_most)
    }

    #[test]
    fn an_agent_makes_between_one_request_and_all_its_turns() {
        assert_eq!(calls(vec![agent("a")]), (1, 50));
        assert_eq!(calls(vec![Step { retries: 2, ..agent("a") }]), (1, 150));
        assert_eq!(calls(vec![agent("a"), agent("b")]), (2, 100));
    }

    #[test]
    fn loops_multiply_what_is_inside() {
        assert_eq!(calls(vec![for_each("l", Ok(vec![json!(1), json!(2)]), vec![agent("a")])]), (2, 100));
        assert_eq!(calls(vec![for_each("l", Err("[1]"), vec![agent("a")])]), (0, 1_000_000));
        assert_eq!(calls(vec![repeat("l", 4, vec![agent("a")])]), (1, 200));
        let nested = repeat("outer", 3, vec![repeat("inner", 4, vec![agent("a")])]);
        assert_eq!(calls(vec![nested]), (1, 600));
    }

    #[test]
    fn a_bound_that_says_nothing_is_not_named() {
        let each = |name: &str, step| for_each(name, Err("[1]"), vec![step]);
        let step = each("c", each("b", each("a", agent("x"))));
        assert_eq!(of_document(&document(vec![step.clone()])).bound(), Some(400_000_000_000_000));
        let calls = of_document(&document(vec![each("d", step)]));
        assert_eq!((calls.bound(), json!(calls)), (None, json!({ "at_least": 0, "at_most": null })));
    }

    #[test]
    fn numbers_that_are_too_large_stay_the_largest() {
        let mut step = agent("a");
        for level in 0..30 {
            step = for_each(&format!("l{level}"), Err("[1]"), vec![step]);
        }
        assert_eq!(calls(vec![step]), (0, u64::MAX));
    }
}
