//! The machine against a reference: random workflows, random faults, random order, and a walk over the same document
//! that knows nothing of the machine. `MODEL_SEEDS=100000` is the long form; `SEED=7` shows one run again.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod conditions;
#[path = "../support/dice.rs"]
mod dice;
mod driver;
mod history;
mod plot;
mod reference;

use cofferdam_core::event::{Body, RunReason, RunStatus, StepStatus};
use cofferdam_core::id::RunId;
use cofferdam_core::run::Machine;
use dice::{rounds, seeds};
use driver::{Ran, run, settings};
use history::History;
use plot::{Plot, plot};
use reference::Reference;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Small runs come first, so that the first difference is a small one.
fn size(seed: u64) -> usize {
    usize::try_from(1 + seed / 16 % 60).unwrap()
}

#[test]
fn the_machine_does_what_the_text_says() {
    for seed in seeds(rounds("MODEL_SEEDS", 10_000)) {
        let plot = plot(seed, size(seed));
        let done = catch_unwind(AssertUnwindSafe(|| {
            let ran = run(&plot);
            let checked = catch_unwind(AssertUnwindSafe(|| check(&plot, &ran)));
            assert!(checked.is_ok(), "{}", driver::story(&plot, &ran.events));
        }));
        assert!(done.is_ok(), "SEED={seed} shows it again, and what happened");
    }
}

#[test]
fn one_seed_gives_the_same_events_each_time() {
    let text = |seed| serde_json::to_string(&run(&plot(seed, size(seed))).events).unwrap();
    for seed in seeds(200) {
        assert_eq!(text(seed), text(seed), "SEED={seed}");
    }
}

fn check(plot: &Plot, ran: &Ran) {
    let history = History::of(&ran.events);
    let stopped_at = ran.cancelled_at.or_else(|| aborted_at(plot, ran, &history));
    let (walk, status, output) = Reference::walk(&plot.world, &history, &plot.workflow.scope);
    check_order(plot, ran);
    check_concurrency(plot, ran);
    check_fold(plot, ran);
    let result = ran.machine.result(&RunId::parse("r").unwrap()).unwrap();
    match stopped_at {
        None => {
            assert_eq!(walk.aborts, [], "a step failed with `abort` and the run went on");
            check_ends(&walk, &history);
            check_results(&walk, &result);
            assert_eq!((result.status, &result.output), (status, &output), "the run's status and output");
            assert_eq!(result.usage.output, walk.tries_made, "every try costs one token");
        }
        Some(at) => {
            check_stopped(&walk, &history, at);
            let expected = match ran.cancelled_at {
                Some(_) => (RunStatus::Cancelled, None),
                None => (RunStatus::Failed, Some(RunReason::Aborted)),
            };
            assert_eq!((result.status, result.reason), expected);
        }
    }
    for step in &plot.workflow.scope.steps {
        let ends = history.ends.get(step.id.as_str()).map_or(0, Vec::len);
        let waits = result.status == RunStatus::Waiting && !walk.last.contains_key(step.id.as_str());
        assert_eq!(ends, usize::from(!waits), "{} has so many terminal records", step.id);
    }
}

/// Where a failure stands that stops the run.
fn aborted_at(plot: &Plot, ran: &Ran, history: &History) -> Option<usize> {
    let (walk, ..) = Reference::walk(&plot.world, history, &plot.workflow.scope);
    let recorded = |(path, number): &(String, usize)| history.ended_at(path, *number);
    walk.aborts.iter().map(recorded).min().filter(|at| *at < ran.events.len())
}

/// Every step ended as the text says, as often as the text says.
fn check_ends(walk: &Reference<'_>, history: &History) {
    let expected: BTreeMap<&str, Vec<StepStatus>> =
        walk.ends.iter().map(|(path, ends)| (path.as_str(), ends.iter().map(|end| end.status).collect())).collect();
    let ended = history.ends.iter().filter(|(_, ends)| !ends.is_empty());
    let recorded: BTreeMap<&str, Vec<StepStatus>> =
        ended.map(|(path, ends)| (path.as_str(), ends.iter().map(|end| end.status).collect())).collect();
    for path in expected.keys().chain(recorded.keys()) {
        assert_eq!(recorded.get(path), expected.get(path), "{path}: recorded left, by the text right");
    }
}

/// The result tells of the last try of everything, with what it gave.
fn check_results(walk: &Reference<'_>, result: &cofferdam_core::run::RunResult) {
    let mut told = BTreeSet::new();
    for step in &result.steps {
        let path = step.path.as_str();
        let end = walk.last.get(path).unwrap_or_else(|| panic!("{path} should not be in the result"));
        assert_eq!(step.status, end.status, "status of {path}");
        assert_eq!(
            (&*step.content, &*step.result),
            (end.output.content.as_str(), &end.output.result),
            "output of {path}"
        );
        assert!(told.insert(path), "{path} is told twice");
    }
    let missing = walk.last.keys().find(|path| !told.contains(path.as_str()));
    assert_eq!(missing, None, "not in the result");
}

/// What had ended before the stop ended as without it; the rest is cancelled, unless its end was on its way. What
/// holds others ends as those that it holds did.
fn check_stopped(walk: &Reference<'_>, history: &History, stopped_at: usize) {
    for (path, ends) in &history.ends {
        let expected = walk.ends.get(path).map_or(&[][..], Vec::as_slice);
        for (number, ended) in ends.iter().enumerate() {
            let by_text = expected.get(number).map(|end| end.status);
            let holds_others = history.holds_others(path);
            let stopped = ended.at >= stopped_at
                && number + 1 == ends.len()
                && (ended.status == StepStatus::Cancelled || holds_others);
            assert!(
                stopped || by_text == Some(ended.status),
                "{path} ended {ended:?} instead of {by_text:?}, the run stopped at {stopped_at}"
            );
        }
    }
}

/// A step begins after what it depends on, what begins ends, and nothing happens to a step between its end and its
/// next beginning.
fn check_order(plot: &Plot, ran: &Ran) {
    let mut running: BTreeSet<(&str, u32)> = BTreeSet::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for event in &ran.events {
        let path = event.path.as_str();
        match (&event.body, event.attempt) {
            (Body::StepStarted { .. }, Some(attempt)) => assert!(running.insert((path, attempt)), "{path} began twice"),
            (Body::StepRetrying { .. } | Body::StepFinished { .. }, Some(attempt)) => {
                assert!(running.remove(&(path, attempt)), "try {attempt} of {path} ended and was not running");
            }
            (Body::StepCancelled { .. }, _) => running.retain(|(running, _)| *running != path),
            _ => {}
        }
        let ended = matches!(event.body, Body::StepFinished { .. } | Body::StepSkipped { .. });
        if ended && !path.contains(['.', '[']) {
            done.insert(path);
        }
        let steps = &plot.workflow.scope.steps;
        if let (Body::StepStarted { .. }, Some(step)) = (&event.body, plot.workflow.scope.position(path)) {
            let open = steps[step].depends_on.iter().find(|&&before| !done.contains(steps[before].id.as_str()));
            assert_eq!(open, None, "{path} began before what it depends on had ended");
        }
    }
    assert!(running.is_empty(), "began and never ended: {running:?}");
    assert_eq!(ran.events.last().map(|event| event.body.kind()), Some("run_finished"));
}

/// Neither the run's limit nor that of a loop is exceeded.
fn check_concurrency(plot: &Plot, ran: &Ran) {
    let mut active: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &ran.events {
        let Some((owner, _)) = event.path.as_str().rsplit_once('[') else { continue };
        let count = active.entry(owner).or_default();
        match event.body {
            Body::LoopIterationStarted { .. } => *count += 1,
            Body::LoopIterationFinished { .. } => *count -= 1,
            _ => continue,
        }
        let count = *count;
        let most = plot.bound_of(owner);
        assert!(most.is_none_or(|most| count <= most), "{count} iterations of {owner} at once");
    }
}

/// The recorded events give the same result again.
fn check_fold(plot: &Plot, ran: &Ran) {
    let mut again = Machine::new(Arc::clone(&plot.workflow), &settings(plot));
    for event in &ran.events {
        again.fold(event);
    }
    let text = |machine: &Machine| serde_json::to_string_pretty(&machine.result(&RunId::parse("r").unwrap())).unwrap();
    assert_eq!(text(&again), text(&ran.machine), "folded again");
}
