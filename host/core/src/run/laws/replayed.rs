//! Laws of replay: whatever happened in a run, its record is walked without a difference, also when it was cut anywhere
//! and taken up again; and a record that somebody changed is not.

use super::super::replay::{Answer, Answers, Asked, Difference, Walked, walk};
use super::branched::{branched, paths};
use super::resumed::{cut, taken_up};
use super::*;
use crate::port::BoxFuture;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Answers as the engine of these laws does, where chance decided as it is recorded.
struct Same;

impl Answers for Same {
    fn answer<'a>(&'a mut self, machine: &'a Machine, asked: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(std::future::ready(answer(machine, asked)))
    }

    fn overdue(&self, machine: &Machine, path: &StepPath) -> Option<Fault> {
        let node = machine.node(machine.find(path)?);
        (node.is_member() && !node.works()).then(|| Fault::step("timeout", "too late"))
    }
}

fn answer(machine: &Machine, asked: Asked<'_>) -> Answer {
    let recorded = &asked.recorded.body;
    let body = match asked.effect {
        Effect::Expand(path) => {
            let step = machine.step_at(path).unwrap();
            let Some(LoopKind::ForEach(ForEach { items: Items::List(items), .. })) =
                step.repeat.as_ref().map(|repeat| &repeat.kind)
            else {
                panic!("only lists are expanded here")
            };
            let items = Some(Arc::clone(items));
            Body::StepStarted { agent: None, tool: None, items, inputs: None, narrowed: vec![] }
        }
        Effect::Ask(_) => match recorded {
            Body::QuestionAsked { deferred, .. } => {
                Body::QuestionAsked { question: "which".into(), choices: Vec::new(), schema: None, deferred: *deferred }
            }
            _ => finished(StepStatus::Completed, StepOutput::default(), None),
        },
        Effect::While { index, .. } => return checked(recorded, *index, LoopEnd::While),
        Effect::Until { index, .. } => return checked(recorded, *index, LoopEnd::Until),
        Effect::Start { .. } if matches!(recorded, Body::StepWaiting(_)) => Body::StepWaiting(Waiting::default()),
        Effect::Start { path, .. } => {
            let output = StepOutput { content: path.as_str().into(), ..StepOutput::default() };
            let error = match recorded {
                Body::StepRetrying { error, .. } => Some(error),
                Body::StepFinished { error, .. } => error.as_ref(),
                _ => panic!("a try does not end so"),
            };
            match error.map(|error| (error, machine.judge(path, error))) {
                None => finished(StepStatus::Completed, output, None),
                Some((error, Verdict::Fail)) => finished(StepStatus::Failed, output, Some(error.clone())),
                Some((error, Verdict::Retry { .. })) => {
                    Body::StepRetrying { error: error.clone(), delay_ms: 0, usage: Usage::default() }
                }
            }
        }
        Effect::Conclude => {
            let (status, reason) = machine.verdict();
            Body::RunFinished { status, reason, output: Value::Null, usage: Usage::default(), cost: None, error: None }
        }
        other => panic!("{other:?} is not asked for here"),
    };
    Answer::Events(vec![body])
}

fn checked(recorded: &Body, iterations: u32, because: LoopEnd) -> Answer {
    match recorded {
        Body::LoopFinished { because: ended, .. } if *ended == because => {
            Answer::Events(vec![Body::LoopFinished { iterations, because }])
        }
        Body::StepFinished { .. } => {
            let no = Some(Fault::step("until", "no"));
            Answer::Events(vec![finished(StepStatus::Failed, StepOutput::default(), no)])
        }
        _ => Answer::GoOn,
    }
}

fn finished(status: StepStatus, output: StepOutput, error: Option<Fault>) -> Body {
    Body::StepFinished { status, output, error, usage: Usage::default(), truncated_inputs: Vec::new() }
}

pub(super) fn replayed(plot: &Plot, events: &[RunEvent]) -> Result<Walked, Box<Difference>> {
    let record: Vec<Arc<RunEvent>> = events.iter().cloned().map(Arc::new).collect();
    let workflow = workflow(plot);
    let mut same = Same;
    let walk = pin!(walk(&workflow, false, &record, &mut same));
    match walk.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// What went wrong, with the record, for people.
pub(super) fn told(difference: &Difference, events: &[RunEvent]) -> String {
    let event = |event: &RunEvent| {
        format!("{} {} {:?} {}", event.seq, event.path, event.attempt, serde_json::to_string(&event.body).unwrap())
    };
    let story: Vec<String> = events.iter().map(event).collect();
    format!("{difference:?}\n{}", story.join("\n"))
}

/// Changes one event so that it does not follow any more; none when it is one that may be so or so.
fn tampered(event: &RunEvent) -> Option<RunEvent> {
    let body = match event.body.clone() {
        Body::StepFinished { status: StepStatus::Completed, output, error, usage, truncated_inputs } => {
            let output = StepOutput { content: format!("{}!", output.content).into(), ..output };
            Body::StepFinished { status: StepStatus::Completed, output, error, usage, truncated_inputs }
        }
        Body::LoopIterationFinished { index, status } => {
            let other = if status == StepStatus::Completed { StepStatus::Failed } else { StepStatus::Completed };
            Body::LoopIterationFinished { index, status: other }
        }
        Body::LoopFinished { iterations, because } => Body::LoopFinished { iterations: iterations + 1, because },
        Body::RunFinished { status, output, usage, error, .. } if status != RunStatus::Cancelled => {
            let other = if status == RunStatus::Completed { RunStatus::Partial } else { RunStatus::Completed };
            Body::RunFinished { status: other, reason: None, output, usage, cost: None, error }
        }
        _ => return None,
    };
    Some(RunEvent { body, ..event.clone() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(512), ..ProptestConfig::default() })]

    #[test]
    fn any_run_is_walked_to_its_end(plot in plot()) {
        let engine = run(&plot);
        match replayed(&plot, &engine.events) {
            Ok(walked) => {
                prop_assert_eq!(walked.events, engine.events.len());
                prop_assert_eq!(walked.status, engine.machine.ended_as());
            }
            Err(difference) => prop_assert!(false, "{}", told(&difference, &engine.events)),
        }
    }

    #[test]
    fn any_prefix_of_a_run_is_walked(plot in plot(), by: u16) {
        let engine = run(&plot);
        let events = cut(&engine.events, by);
        if let Err(difference) = replayed(&plot, events) {
            prop_assert!(false, "{}", told(&difference, events));
        }
    }

    #[test]
    fn a_run_that_was_cut_anywhere_and_taken_up_is_walked(plot in plot(), by: u16, again: u16, last: u16) {
        let plot_again = Plot { stop_after: None, ..plot.clone() };
        let first = run(&plot);
        let second = taken_up(&plot_again, cut(&first.events, by), false);
        let third = taken_up(&plot_again, cut(&second.events, again), false);
        for events in [&second.events[..], &third.events[..], cut(&third.events, last)] {
            if let Err(difference) = replayed(&plot, events) {
                prop_assert!(false, "{}", told(&difference, events));
            }
        }
    }

    #[test]
    fn a_branch_of_a_run_is_walked(plot in plot(), by: u16, chosen: u16) {
        let tame = Plot { stop_after: None, ..plot.clone() };
        let first = run(&plot);
        let recorded = cut(&first.events, by);
        let known = paths(recorded);
        if known.is_empty() {
            return Ok(());
        }
        let branch = branched(&plot, recorded, &[&known[usize::from(chosen) % known.len()]]);
        let events = taken_up(&tame, &branch.events, false).events;
        if let Err(difference) = replayed(&plot, &events) {
            prop_assert!(false, "{}", told(&difference, &events));
        }
    }

    #[test]
    fn a_record_that_was_changed_is_found(plot in plot(), by: u16) {
        let mut events = run(&plot).events;
        let places: Vec<usize> = (0..events.len()).filter(|&at| tampered(&events[at]).is_some()).collect();
        if places.is_empty() {
            return Ok(());
        }
        let place = places[usize::from(by) % places.len()];
        events[place] = tampered(&events[place]).unwrap();
        prop_assert!(replayed(&plot, &events).is_err(), "event {} was changed\n{:?}", place + 1, events[place]);
    }

    #[test]
    fn a_record_without_one_of_its_events_is_found(plot in plot(), by: u16) {
        let mut events = run(&plot).events;
        // Nothing tells that the last one is missing; and whether somebody was asked first is the person's affair.
        let place = usize::from(by) % (events.len() - 1);
        let asked = matches!(events[place].body, Body::QuestionAsked { deferred: false, .. });
        let gone = events.remove(place);
        // A step that was cancelled may as well have been so a little earlier.
        let next = events[place..].iter().find(|event| event.path == gone.path);
        let cancelled = next.is_some_and(|next| matches!(next.body, Body::StepCancelled { .. }));
        if asked || cancelled {
            return Ok(());
        }
        prop_assert!(replayed(&plot, &events).is_err(), "{gone:?} was left out");
    }
}
