//! Laws of runs that are taken up again: from any prefix of what was recorded, and again from any prefix of that.

use super::*;
use std::sync::Arc;

fn resumed() -> Body {
    Body::RunResumed { settings: serde_json::Map::new(), plugins: Vec::new(), approved: Vec::new() }
}

/// A run that goes on from what is recorded of it.
pub(super) fn taken_up(plot: &Plot, recorded: &[RunEvent], calm: bool) -> Engine {
    let mut engine = Engine { calm, ..engine(plot) };
    for event in recorded {
        engine.machine.fold(event);
    }
    engine.events = recorded.to_vec();
    engine.feed(Emission { path: StepPath::ROOT, attempt: None, body: resumed() });
    drive(engine, plot)
}

/// The state that digests of stretches of so many events lead to.
fn folded_by_digests(plot: &Plot, events: &[RunEvent], stretch: usize) -> Machine {
    let mut machine = Machine::new(workflow(plot), &Settings { max_concurrency: Some(plot.slots) });
    for events in events.chunks(stretch) {
        let events: Vec<Arc<RunEvent>> = events.iter().cloned().map(Arc::new).collect();
        let text = super::super::digest(&events, usize::MAX).unwrap();
        machine.fold_digest(&RunId::parse("r").unwrap(), &text, |_| {}).unwrap();
    }
    machine
}

/// The prefix that a number chooses; the first event is always in it.
pub(super) fn cut(events: &[RunEvent], by: u16) -> &[RunEvent] {
    let length = 1 + usize::from(by) % events.len();
    &events[..length]
}

/// What every step gave, without times and order.
fn gave(engine: &Engine) -> Vec<Value> {
    let result = engine.machine.result(&RunId::parse("r").unwrap()).unwrap();
    let step =
        |step: &super::super::StepResult| json!([step.path, step.status, step.content, step.result, step.attempts]);
    result.steps.iter().map(step).chain([json!(result.status), json!(result.loops.len())]).collect()
}

/// Nothing of the plot stops the run or lacks room, and no loop fails of its limit.
pub(super) fn calm(plot: Plot) -> Plot {
    Plot { stop_after: None, room: None, ..within_limits(plot) }
}

/// A loop that used up its iterations begins anew as a whole; here is none.
pub(super) fn within_limits(plot: Plot) -> Plot {
    let fails = |rules: u8| rules >> 3 & 1 == 1;
    let tame = |shape: Shape| {
        let rules = if fails(shape.rules) || fails(shape.rules / 3) { shape.rules & 7 } else { shape.rules };
        Shape { rules, ..shape }
    };
    let steps = plot.steps.into_iter().map(tame).collect();
    Plot { steps, ..plot }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(512), ..ProptestConfig::default() })]

    #[test]
    fn any_prefix_leads_to_the_same_end(plot in plot().prop_map(calm), by: u16, again: u16) {
        let whole = begin(Engine { calm: true, ..engine(&plot) }, &plot);
        let once = taken_up(&plot, cut(&whole.events, by), true);
        prop_assert_eq!(gave(&whole), gave(&once), "cut at {}\n{}", cut(&whole.events, by).len(), once.story());
        let twice = taken_up(&plot, cut(&once.events, again), true);
        prop_assert_eq!(gave(&whole), gave(&twice), "cut at {} and {}", cut(&whole.events, by).len(), cut(&once.events, again).len());
    }

    #[test]
    fn whatever_failed_a_run_that_is_taken_up_ends_and_folds_to_its_result(plot in plot(), by: u16, again: u16) {
        let plot_again = Plot { stop_after: None, ..plot.clone() };
        let first = run(&plot);
        let second = taken_up(&plot_again, cut(&first.events, by), false);
        let third = taken_up(&plot_again, cut(&second.events, again), false);
        for engine in [&second, &third] {
            prop_assert!(engine.running.is_empty(), "{}", engine.story());
            prop_assert!(engine.most_at_once <= plot.slots, "{}", engine.story());
            let mut folded = Machine::new(workflow(&plot), &Settings { max_concurrency: Some(plot.slots) });
            engine.events.iter().for_each(|event| folded.fold(event));
            let run_id = RunId::parse("r").unwrap();
            let text = |machine: &Machine| serde_json::to_string(&machine.result(&run_id)).unwrap();
            prop_assert_eq!(text(&folded), text(&engine.machine));
        }
    }

    #[test]
    fn digests_lead_to_the_same_state_as_the_events(plot in plot(), by: u16, stretch in 1_usize..80) {
        let first = run(&plot);
        let recorded = cut(&first.events, by);
        let mut engine = Engine { machine: folded_by_digests(&plot, recorded, stretch), ..engine(&plot) };
        let mut plain = super::engine(&plot);
        recorded.iter().for_each(|event| plain.machine.fold(event));
        let run_id = RunId::parse("r").unwrap();
        let text = |machine: &Machine| serde_json::to_string(&machine.result(&run_id)).unwrap();
        prop_assert_eq!(text(&engine.machine), text(&plain.machine));
        let plot = Plot { stop_after: None, ..plot };
        for engine in [&mut engine, &mut plain] {
            engine.events = recorded.to_vec();
            engine.feed(Emission { path: StepPath::ROOT, attempt: None, body: resumed() });
        }
        let (engine, plain) = (drive(engine, &plot), drive(plain, &plot));
        prop_assert_eq!(&engine.events, &plain.events);
        prop_assert_eq!(text(&engine.machine), text(&plain.machine));
    }

    #[test]
    fn what_was_finished_does_not_run_again(plot in plot().prop_map(within_limits), by: u16) {
        let first = run(&plot);
        let recorded = cut(&first.events, by);
        let second = taken_up(&Plot { stop_after: None, ..plot.clone() }, recorded, false);
        let whole = |path: &StepPath| {
            // A step that is tried again as a whole runs what is inside of it again.
            let owner = path.as_str().split(['[', '.']).next().and_then(|name| name.strip_prefix('s')).unwrap();
            let shape = &plot.steps[owner.parse::<usize>().unwrap()];
            shape.retries == 0 && shape.form != Form::Repeat || !path.as_str().contains(['[', '.'])
        };
        for event in recorded {
            let done = matches!(&event.body, Body::StepFinished { status: StepStatus::Completed, .. });
            if done && whole(&event.path) {
                let begun = second.events[recorded.len()..].iter().any(|later| {
                    later.path == event.path && matches!(later.body, Body::StepStarted { .. })
                });
                prop_assert!(!begun, "{} ran again, cut at {}\n{}", event.path, recorded.len(), second.story());
            }
        }
    }

    #[test]
    fn a_completed_run_that_is_taken_up_ends_at_once(plot in plot().prop_map(calm)) {
        let whole = begin(Engine { calm: true, ..engine(&plot) }, &plot);
        if whole.machine.verdict().0 != RunStatus::Completed {
            return Ok(());
        }
        let again = taken_up(&plot, &whole.events, true);
        let kinds: Vec<&str> = again.events[whole.events.len()..].iter().map(|event| event.body.kind()).collect();
        prop_assert_eq!(kinds, ["run_resumed", "run_finished"]);
    }
}
