//! Histories of runs that were told event by event.

use super::*;
use cofferdam::core::event::{StepOutput, StepStatus};
use cofferdam::core::id::StepPath;

fn event(path: &str, millis: i64, attempt: u32, body: Body) -> RunEvent {
    let (run_id, at) = (RunId::parse("r").unwrap(), Timestamp::from_millis(millis));
    RunEvent { seq: 1, sub: None, at, run_id, path: StepPath::from(path), attempt: Some(attempt), body }
}

fn finished(status: StepStatus, output: u64) -> Body {
    let usage = Usage { output, ..Usage::default() };
    Body::StepFinished { status, output: StepOutput::default(), error: None, usage, truncated_inputs: Vec::new() }
}

#[test]
fn tries_tokens_and_time_of_a_step_are_summed() {
    let mut history = History::new(RunId::parse("r").unwrap());
    let started = || Body::StepStarted { agent: None, tool: None, items: None, inputs: None, narrowed: Vec::new() };
    let usage = Usage { output: 2, ..Usage::default() };
    history.add(&event("a", 0, 1, started()));
    history.add(&event("a", 5, 1, Body::StepRetrying { error: Fault::step("x", "y"), delay_ms: 1, usage }));
    history.add(&event("a", 6, 2, started()));
    history.add(&event("a", 9, 2, finished(StepStatus::Completed, 3)));
    let step = &history.steps[0];
    assert_eq!((step.attempts, step.usage.output, step.took), (2, 5, Some(Duration::from_millis(9))));
    assert!(step.error.is_none());
}

#[test]
fn time_in_which_nobody_worked_is_not_counted() {
    let mut history = History::new(RunId::parse("r").unwrap());
    let started = || Body::StepStarted { agent: None, tool: None, items: None, inputs: None, narrowed: Vec::new() };
    history.started = Some(Timestamp::from_millis(0));
    history.add(&event("a", 10, 1, started()));
    let resumed = Body::RunResumed { settings: Default::default(), plugins: Vec::new(), approved: Vec::new() };
    history.add(&event("", 1_010, 1, resumed));
    history.add(&event("a", 1_010, 1, started()));
    history.add(&event("a", 1_030, 1, finished(StepStatus::Completed, 0)));
    assert_eq!(history.steps[0].took, Some(Duration::from_millis(20)));
    assert_eq!((history.worked(), history.rested), (Duration::from_millis(30), Duration::from_secs(1)));
}

#[test]
fn a_judge_comes_after_what_it_judges() {
    let mut history = History::new(RunId::parse("r").unwrap());
    let paths = ["refine", "refine[0]", "refine[0].a", "refine.judge[0]", "refine[1]", "refine.judge[1]", "last"];
    for path in ["last", "refine", "refine[0]", "refine[1]", "refine.judge[1]", "refine.judge[0]", "refine[0].a"] {
        history.add(&event(path, 0, 1, finished(StepStatus::Completed, 0)));
    }
    history.plan = vec!["refine".into(), "last".into()];
    let ordered: Vec<&str> = history.ordered().iter().map(|step| step.path.as_str()).collect();
    assert_eq!(ordered, paths);
}

#[test]
fn a_try_that_is_taken_up_is_counted_once() {
    let mut history = History::new(RunId::parse("r").unwrap());
    let ended = |input| Body::StepFinished {
        status: StepStatus::Failed,
        output: StepOutput::default(),
        error: None,
        usage: Usage { input, ..Usage::default() },
        truncated_inputs: Vec::new(),
    };
    for (attempt, input) in [(1, 4), (1, 10), (2, 5)] {
        history.add(&event("a", 0, attempt, ended(input)));
    }
    assert_eq!(history.ordered()[0].usage.input, 15);
}

#[test]
fn loops_questions_and_variables_are_told() {
    let mut history = History::new(RunId::parse("r").unwrap());
    let because = cofferdam::core::event::LoopEnd::Until;
    history.add(&event("refine", 0, 1, Body::LoopFinished { iterations: 2, because }));
    let asked = Body::QuestionAsked { question: "Ship?".into(), choices: vec![], schema: None, deferred: true };
    history.add(&event("ok", 0, 1, asked));
    history.add(&event("ok", 0, 1, Body::VariableSet { key: "k".into(), value: 1.into() }));
    assert_eq!(history.steps[0].detail, "2 iterations, `until` is true");
    assert_eq!((history.steps[1].status, history.steps[1].what.as_str()), ("waiting", "Ship?"));
    history.add(&event("ok", 0, 1, Body::QuestionAnswered { answer: "yes".into(), by: AnsweredBy::Given }));
    assert_eq!(history.steps[1].detail, "answer: yes, given with the run");
    assert_eq!(history.variables["k"], 1);
}

#[test]
fn items_of_a_loop_are_in_their_order() {
    let mut history = History::new(RunId::parse("r").unwrap());
    for path in ["scan[10]", "scan[9].b", "scan", "scan[9]"] {
        history.add(&event(path, 0, 1, finished(StepStatus::Completed, 0)));
    }
    let paths: Vec<&str> = history.ordered().iter().map(|step| step.path.as_str()).collect();
    assert_eq!(paths, ["scan", "scan[9]", "scan[9].b", "scan[10]"]);
}
