//! Laws of branches: from any prefix of what was recorded, also of a run that was taken up, and from any step.

use super::resumed::{calm, cut, taken_up, within_limits};
use super::*;
use crate::run::branch::{Branched, Opaque, Recorded, Wish, branch};
use crate::spec::workflow::Workflow;
use std::sync::Arc;

/// A branch of what is recorded, from these steps; without any it is a copy, of a document that only says to be another.
pub(super) fn branched(plot: &Plot, recorded: &[RunEvent], from: &[&StepPath]) -> Branched {
    let old = workflow(plot);
    let hash = if from.is_empty() { "other".to_owned() } else { String::new() };
    let new = Arc::new(Workflow { hash, ..(*old).clone() });
    let events: Vec<Arc<RunEvent>> = recorded.iter().cloned().map(Arc::new).collect();
    let wish = Wish {
        from: from.iter().map(|path| (*path).clone()).collect(),
        inputs: serde_json::Map::new(),
        workflow: new,
        opaque: Opaque::default(),
        context_files: Vec::new(),
    };
    let run = RunId::parse("b").unwrap();
    branch(Recorded { workflow: &old, events: &events }, &wish, (&run, Timestamp::from_millis(9_999))).unwrap()
}

/// What every step gave, without times, order and how often it was tried.
fn gave(engine: &Engine) -> Vec<Value> {
    let result = engine.machine.result(&RunId::parse("r").unwrap()).unwrap();
    let step = |step: &super::super::StepResult| json!([step.path, step.status, step.content, step.result]);
    result.steps.iter().map(step).chain([json!(result.status)]).collect()
}

/// No failure is passed over: whether such a one is settled may be seen differently without the restarts between.
fn strict(plot: Plot) -> Plot {
    let shape = |shape: Shape| Shape { policy: if shape.policy == 2 { 0 } else { shape.policy }, ..shape };
    Plot { steps: plot.steps.into_iter().map(shape).collect(), ..plot }
}

/// The steps that were recorded, each once.
pub(super) fn paths(events: &[RunEvent]) -> Vec<StepPath> {
    let known: BTreeSet<&StepPath> = events.iter().map(|event| &event.path).filter(|path| !path.is_root()).collect();
    known.into_iter().cloned().collect()
}

/// The document's own step that a path is in.
fn top(path: &StepPath) -> usize {
    path.as_str().split(['[', '.']).next().and_then(|name| name.strip_prefix('s')).unwrap().parse().unwrap()
}

/// The document's own steps that depend on one, and itself.
fn below(plot: &Plot, step: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([step]);
    for (index, shape) in plot.steps.iter().enumerate() {
        if shape.depends_on.iter().any(|dependency| found.contains(dependency)) {
            found.insert(index);
        }
    }
    found
}

fn completed(event: &&RunEvent) -> bool {
    matches!(&event.body, Body::StepFinished { status: StepStatus::Completed, .. })
}

/// Whether a step that is tried again as a whole could run this one again.
fn may_repeat(plot: &Plot, path: &StepPath) -> bool {
    let shape = &plot.steps[top(path)];
    path.as_str().contains(['[', '.']) && (shape.retries > 0 || shape.form == Form::Repeat)
}

fn story(branch: &Branched, recorded: &[RunEvent]) -> String {
    let line = |event: &RunEvent| format!("{} {} {:?}", event.path, event.body.kind(), event.attempt);
    let lines = |events: &[RunEvent]| events.iter().map(line).collect::<Vec<_>>().join("\n");
    format!("recorded\n{}\n\nbranch\n{}", lines(recorded), lines(&branch.events))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(512), ..ProptestConfig::default() })]

    #[test]
    fn a_copy_goes_on_as_the_run_itself_would(plot in plot().prop_map(strict), by: u16, again: u16) {
        let tame = calm(plot.clone());
        let first = run(&plot);
        let second = taken_up(&tame, cut(&first.events, by), false);
        let recorded = cut(&second.events, again);
        let copy = branched(&tame, recorded, &[]);
        let expected = taken_up(&tame, recorded, true);
        let found = taken_up(&tame, &copy.events, true);
        prop_assert_eq!(gave(&expected), gave(&found), "{}", story(&copy, recorded));
    }

    #[test]
    fn a_branch_ends_and_folds_to_its_result(plot in plot(), by: u16, again: u16, chosen: u16) {
        let tame = Plot { stop_after: None, ..plot.clone() };
        let first = run(&plot);
        let second = taken_up(&tame, cut(&first.events, by), false);
        let recorded = cut(&second.events, again);
        let known = paths(recorded);
        if known.is_empty() {
            return Ok(());
        }
        let chosen = &known[usize::from(chosen) % known.len()];
        let branch = branched(&plot, recorded, &[chosen]);
        let seqs: Vec<u64> = branch.events.iter().map(|event| event.seq).collect();
        prop_assert_eq!(seqs, (1..=branch.events.len() as u64).collect::<Vec<_>>());
        let third = taken_up(&tame, &branch.events, false);
        prop_assert!(third.most_at_once <= plot.slots, "{}", third.story());
        let mut folded = Machine::new(workflow(&plot), &Settings { max_concurrency: Some(plot.slots) });
        third.events.iter().for_each(|event| folded.fold(event));
        let run_id = RunId::parse("r").unwrap();
        let text = |machine: &Machine| serde_json::to_string(&machine.result(&run_id)).unwrap();
        prop_assert_eq!(text(&folded), text(&third.machine));
        let later = &third.events[branch.events.len()..];
        // A loop that used up its iterations begins anew as a whole.
        let kept = |_: &&RunEvent| format!("{plot:?}") == format!("{:?}", within_limits(plot.clone()));
        for event in branch.events.iter().filter(completed).filter(kept).filter(|event| !may_repeat(&plot, &event.path)) {
            let begun = later.iter().any(|later| {
                later.path == event.path && matches!(later.body, Body::StepStarted { .. })
            });
            prop_assert!(!begun, "{} ran again, from {}\n{}", event.path, chosen, story(&branch, recorded));
        }
    }

    #[test]
    fn what_is_not_affected_is_in_the_branch_and_the_rest_runs_again(plot in plot().prop_map(calm), chosen: u16) {
        let whole = begin(Engine { calm: true, ..engine(&plot) }, &plot);
        let known = paths(&whole.events);
        let chosen = &known[usize::from(chosen) % known.len()];
        let branch = branched(&plot, &whole.events, &[chosen]);
        let affected = below(&plot, top(chosen));
        for event in whole.events.iter().filter(completed).filter(|event| !affected.contains(&top(&event.path))) {
            let kept = branch.events.iter().filter(completed).any(|kept| kept.path == event.path);
            prop_assert!(kept, "{} is gone, from {}\n{}", event.path, chosen, story(&branch, &whole.events));
            let copied = |paths: &[StepPath]| paths.iter().any(|path| path.holds(&event.path));
            prop_assert!(copied(&branch.reused) && !copied(&branch.again));
        }
        let again = taken_up(&plot, &branch.events, true);
        prop_assert_eq!(gave(&whole), gave(&again), "from {}\n{}", chosen, story(&branch, &whole.events));
        let later = &again.events[branch.events.len()..];
        let runs = |path: &StepPath| later.iter().any(|event| {
            event.path == *path && !matches!(event.body, Body::RunResumed { .. } | Body::LoopIterationStarted { .. })
        });
        let ended = |path: &StepPath| whole.events.iter().any(|event| event.path == *path && matches!(
            event.body, Body::StepFinished { .. } | Body::LoopIterationFinished { .. }
        ));
        prop_assert!(!ended(chosen) || runs(chosen), "{} does not run again\n{}", chosen, story(&branch, &whole.events));
        for step in affected {
            let path = StepPath::from(format!("s{step}").as_str());
            prop_assert!(!ended(&path) || runs(&path), "{} does not run again, from {}", path, chosen);
        }
    }

    #[test]
    fn a_branch_of_a_branch_is_one_of_the_run(plot in plot().prop_map(calm), chosen: u16) {
        let whole = begin(Engine { calm: true, ..engine(&plot) }, &plot);
        let known = paths(&whole.events);
        let chosen = &known[usize::from(chosen) % known.len()];
        let once = branched(&plot, &whole.events, &[chosen]);
        let twice = branched(&plot, &taken_up(&plot, &once.events, true).events, &[chosen]);
        prop_assert_eq!(gave(&taken_up(&plot, &twice.events, true)), gave(&whole), "from {}", chosen);
    }
}
