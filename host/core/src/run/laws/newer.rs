//! Laws of records of a newer minor version: what this one does not know changes nothing, wherever it stands, and stays.

use super::branched::{branched, paths};
use super::replayed::{replayed, told};
use super::resumed::{calm, cut, taken_up};
use super::*;
use std::sync::Arc;

/// The record with events of an unknown kind among its own, all numbered anew; never before the first.
fn with_newer(events: &[RunEvent], places: &[(u16, u16)]) -> Vec<RunEvent> {
    let mut all = events.to_vec();
    let mut steps = paths(events);
    steps.push(StepPath::ROOT);
    for (number, (place, step)) in places.iter().enumerate() {
        let place = 1 + usize::from(*place) % all.len();
        let path = steps[usize::from(*step) % steps.len()].clone();
        let fields = json!({ "kind": "teleported", "number": number });
        let body = Body::Newer(Arc::new(fields.as_object().unwrap().clone()));
        all.insert(place, RunEvent { path, attempt: None, body, ..all[place - 1].clone() });
    }
    (1..).zip(&mut all).for_each(|(seq, event)| event.seq = seq);
    all
}

fn places() -> impl Strategy<Value = Vec<(u16, u16)>> {
    prop::collection::vec(any::<(u16, u16)>(), 1..6)
}

/// The result and what each step gave, as text.
fn result(machine: &Machine) -> String {
    serde_json::to_string(&machine.result(&RunId::parse("r").unwrap())).unwrap()
}

fn is_newer(event: &&RunEvent) -> bool {
    matches!(event.body, Body::Newer(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(256), ..ProptestConfig::default() })]

    #[test]
    fn what_is_not_known_is_skipped_by_the_fold_and_by_digests(plot in plot(), places in places()) {
        let engine = run(&plot);
        let events = with_newer(&engine.events, &places);
        let machine = || Machine::new(workflow(&plot), &Settings { max_concurrency: Some(plot.slots) });
        let mut folded = machine();
        events.iter().for_each(|event| folded.fold(event));
        prop_assert_eq!(result(&folded), result(&engine.machine));
        let mut by_digests = machine();
        for events in events.chunks(7) {
            let events: Vec<Arc<RunEvent>> = events.iter().cloned().map(Arc::new).collect();
            let text = super::super::digest(&events, usize::MAX).unwrap();
            by_digests.fold_digest(&RunId::parse("r").unwrap(), &text, |_| {}).unwrap();
        }
        prop_assert_eq!(result(&by_digests), result(&engine.machine));
    }

    #[test]
    fn a_run_goes_on_beside_what_is_not_known(plot in plot().prop_map(calm), by: u16, places in places()) {
        let engine = run(&plot);
        let known = cut(&engine.events, by);
        let events = with_newer(known, &places);
        let (with, without) = (taken_up(&plot, &events, true), taken_up(&plot, known, true));
        let kinds = |events: &[RunEvent]| -> Vec<(StepPath, &'static str)> {
            events.iter().map(|event| (event.path.clone(), event.body.kind())).collect()
        };
        prop_assert_eq!(kinds(&with.events[events.len()..]), kinds(&without.events[known.len()..]));
    }

    #[test]
    fn a_replay_walks_over_what_is_not_known(plot in plot(), places in places()) {
        let events = with_newer(&run(&plot).events, &places);
        match replayed(&plot, &events) {
            Ok(walked) => prop_assert_eq!(walked.events, events.len()),
            Err(difference) => prop_assert!(false, "{}", told(&difference, &events)),
        }
    }

    #[test]
    fn a_branch_keeps_what_is_not_known(plot in plot(), places in places()) {
        let events = with_newer(&run(&plot).events, &places);
        let branch = branched(&plot, &events, &[]);
        // Of the run itself all is kept, of a step its last life.
        let of_run = |event: &&RunEvent| event.path.is_root();
        let wanted: Vec<&Body> = events.iter().filter(is_newer).filter(of_run).map(|event| &event.body).collect();
        let kept: Vec<&Body> = branch.events.iter().filter(is_newer).filter(of_run).map(|event| &event.body).collect();
        prop_assert_eq!(kept, wanted);
        let ids: BTreeSet<&str> = branch.events.iter().map(|event| event.run_id.as_str()).collect();
        prop_assert_eq!(ids, BTreeSet::from(["b"]));
    }
}
