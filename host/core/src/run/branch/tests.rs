//! Branches of small runs, in which every step does what it is told at once.

use super::{Branched, Opaque, Recorded, Wish, branch};
use crate::event::{Body, RunEvent, StepOutput, StepStatus};
use crate::id::{RunId, StepPath};
use crate::message::Usage;
use crate::port::{SourceError, SourceFile, Sources};
use crate::run::{Effect, Emission, Machine, Settings};
use crate::spec::workflow::{Items, LoopKind, Work, Workflow};
use crate::spec::{self, InputText};
use crate::time::Timestamp;
use crate::value::Map;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;

/// The workflow of a document.
pub(crate) fn workflow(document: &Value) -> Arc<Workflow> {
    struct Nothing;
    impl Sources for Nothing {
        fn read(&self, path: &str, _: usize) -> Result<SourceFile, SourceError> {
            Err(SourceError::Missing(path.to_owned()))
        }
    }
    let loaded = spec::parse(&document.to_string(), "w.json", &Nothing).unwrap_or_else(|found| panic!("{found}"));
    Arc::new(loaded.workflow)
}

/// Runs a workflow in which everything works out; steps with a name that begins with `set` set the variable `v`.
fn record(workflow: &Arc<Workflow>) -> Vec<Arc<RunEvent>> {
    let mut machine = Machine::new(Arc::clone(workflow), &Settings { max_concurrency: Some(1) });
    let started = Body::RunStarted {
        schema_version: 1,
        workflow: workflow.name.clone(),
        hash: workflow.hash.clone(),
        sources: Vec::new(),
        inputs: workflow.bind_inputs(&[]).unwrap(),
        input: None,
        context_files: Arc::default(),
        plugins: Vec::new(),
        settings: Map::new(),
        plan: Vec::new(),
        sensitive: Vec::new(),
        branched_from: None,
    };
    let mut queue = VecDeque::from([Emission { path: StepPath::ROOT, attempt: None, body: started }]);
    let mut events = Vec::new();
    while let Some(Emission { path, attempt, body }) = queue.pop_front() {
        let (seq, at) = (events.len() as u64 + 1, Timestamp::default());
        let event = RunEvent { seq, sub: None, at, run_id: RunId::parse("r").unwrap(), path, attempt, body };
        let effects = machine.on(&event);
        events.push(Arc::new(event));
        for effect in effects {
            perform(&mut machine, effect, &mut queue);
        }
    }
    events
}

fn perform(machine: &mut Machine, effect: Effect, queue: &mut VecDeque<Emission>) {
    let mut emit = |path: StepPath, attempt, body| queue.push_back(Emission { path, attempt, body });
    match effect {
        Effect::Emit(emission) => queue.push_back(*emission),
        Effect::Decide(path) => emit(path, None, Body::StepReady {}),
        Effect::Start { path, attempt } => {
            if machine.step_at(&path).is_some_and(|step| step.id.as_str().starts_with("set")) {
                emit(path.clone(), Some(attempt), Body::VariableSet { key: "v".to_owned(), value: json!(1) });
            }
            emit(path, Some(attempt), finished());
        }
        Effect::Resume { path, .. } => panic!("no message comes to {path} here"),
        Effect::Expand(path) => {
            let step = machine.step_at(&path).unwrap();
            let items = step.repeat.as_ref().and_then(|repeat| match &repeat.kind {
                LoopKind::ForEach(each) => match &each.items {
                    Items::List(items) => Some(Arc::clone(items)),
                    Items::Expr(_) => panic!("only lists are expanded here"),
                },
                LoopKind::Repeat(_) => None,
            });
            assert!(items.is_some() || matches!(step.work, Work::Include(_)));
            emit(path, None, Body::StepStarted { agent: None, tool: None, items, inputs: None, narrowed: vec![] });
        }
        Effect::While { path, .. } | Effect::Until { path, .. } => {
            for effect in machine.go_on(&path) {
                perform(machine, effect, queue);
            }
        }
        Effect::Conclude => {
            let (status, reason) = machine.verdict();
            let body = Body::RunFinished {
                status,
                reason,
                output: Value::Null,
                usage: Usage::default(),
                cost: None,
                error: None,
            };
            emit(StepPath::ROOT, None, body);
        }
        Effect::Ask(path) | Effect::Gather(path) => emit(path, None, finished()),
        Effect::Cancel(_) | Effect::Wait { .. } | Effect::Watch { .. } => {}
    }
}

fn finished() -> Body {
    Body::StepFinished {
        status: StepStatus::Completed,
        output: StepOutput::default(),
        error: None,
        usage: Usage::default(),
        truncated_inputs: Vec::new(),
    }
}

fn wish(workflow: &Arc<Workflow>, from: &[&str], inputs: &[(&str, &str)]) -> Wish {
    let given: Vec<(String, InputText)> =
        inputs.iter().map(|(name, value)| ((*name).to_owned(), InputText::Text((*value).to_owned()))).collect();
    Wish {
        from: from.iter().map(|&path| StepPath::from(path)).collect(),
        inputs: workflow.bind_inputs(&given).unwrap(),
        workflow: Arc::clone(workflow),
        opaque: Opaque::default(),
        context_files: Vec::new(),
    }
}

fn made(old: &Arc<Workflow>, wish: &Wish) -> Result<Branched, crate::fault::Fault> {
    let events = record(old);
    branch(Recorded { workflow: old, events: &events }, wish, (&RunId::parse("b").unwrap(), Timestamp::default()))
}

/// What is reused and what runs again.
fn of(branched: &Branched) -> (Vec<&str>, Vec<&str>) {
    (branched.reused.iter().map(StepPath::as_str).collect(), branched.again.iter().map(StepPath::as_str).collect())
}

fn agent(id: &str, after: &[&str]) -> Value {
    json!({ "id": id, "instructions": id, "dependsOn": after })
}

fn nested() -> Arc<Workflow> {
    workflow(&json!({
        "name": "w",
        "steps": [
            agent("a", &[]),
            { "id": "g", "dependsOn": ["a"], "steps": [agent("h", &[]), agent("i", &["h"]), agent("j", &[])] },
            { "id": "each", "loop": { "forEach": [1, 2, 3], "steps": [agent("x", &[]), agent("y", &["x"])] } },
            { "id": "rounds", "loop": { "maxIterations": 3, "steps": [agent("x", &[]), agent("y", &["x"])] } },
            agent("end", &["g"]),
            agent("other", &["each"]),
        ],
    }))
}

#[test]
fn what_depends_on_a_step_of_a_group_runs_again_and_the_rest_of_it_does_not() {
    let nested = nested();
    let branched = made(&nested, &wish(&nested, &["g.h"], &[])).unwrap();
    let (reused, again) = of(&branched);
    assert_eq!(reused, ["a", "g.j", "each", "rounds", "other"]);
    assert_eq!(again, ["g.h", "g.i", "end"]);
    let Body::RunStarted { branched_from: Some(from), .. } = &branched.events[0].body else { panic!() };
    assert_eq!(from.run_id.as_str(), "r");
    assert_eq!(from.steps.iter().map(StepPath::as_str).collect::<Vec<_>>(), ["end", "g.h", "g.i"]);
    assert!(branched.events.iter().all(|event| event.run_id.as_str() == "b"));
    assert!(branched.events.iter().all(|event| event.body.kind() != "run_finished"));
}

#[test]
fn an_iteration_over_items_runs_again_alone_and_a_round_with_all_later_ones() {
    let nested = nested();
    let branched = made(&nested, &wish(&nested, &["each[1].y"], &[])).unwrap();
    let (reused, again) = of(&branched);
    assert_eq!(reused, ["a", "g", "each[0]", "each[1].x", "each[2]", "rounds", "end"]);
    assert_eq!(again, ["each[1].y", "other"]);
    let branched = made(&nested, &wish(&nested, &["rounds[1].y"], &[])).unwrap();
    let (reused, again) = of(&branched);
    assert_eq!(reused, ["a", "g", "each", "rounds[0]", "rounds[1].x", "end", "other"]);
    assert_eq!(again, ["rounds[1].y", "rounds[2]"]);
    let branched = made(&nested, &wish(&nested, &["each[1]"], &[])).unwrap();
    assert_eq!(of(&branched).1, ["each[1]", "other"]);
}

#[test]
fn a_step_that_is_not_there_is_refused_with_the_nearest_one() {
    let nested = nested();
    let fault = made(&nested, &wish(&nested, &["each[2].z"], &[])).unwrap_err();
    assert_eq!(fault.code, "unknown_step");
    assert!(fault.message.contains("`each[2].z`") && fault.hint.unwrap().contains("each[2].x"));
    assert_eq!(made(&nested, &wish(&nested, &[], &[])).unwrap_err().code, "no_difference");
}

#[test]
fn readers_of_a_changed_input_run_again_also_by_way_of_variables_that_they_set() {
    let document = workflow(&json!({
        "name": "w",
        "inputs": { "x": { "type": "string", "default": "1" }, "y": { "type": "string", "default": "1" } },
        "steps": [
            { "id": "before", "input": "{{ vars.v | default('') }}" },
            { "id": "reads", "input": "{{ inputs.x }}", "dependsOn": ["before"] },
            { "id": "set", "dependsOn": ["reads"], "instructions": "set" },
            { "id": "later", "input": "{{ vars.v | default('') }}", "dependsOn": ["none"] },
            { "id": "none", "input": "{{ inputs.y }}", "dependsOn": ["before"] },
        ],
    }));
    let branched = made(&document, &wish(&document, &[], &[("x", "2")])).unwrap();
    assert_eq!(of(&branched), (vec!["before", "none"], vec!["reads", "set", "later"]));
    assert!(branched.events.iter().all(|event| event.body.kind() != "variable_set"));
    let branched = made(&document, &wish(&document, &["none"], &[])).unwrap();
    assert_eq!(of(&branched), (vec!["before", "reads", "set"], vec!["later", "none"]));
}

#[test]
fn an_input_that_nobody_reads_makes_no_difference_unless_the_output_reads_it() {
    let document = |output: Value| {
        workflow(&json!({
            "name": "w", "inputs": { "x": { "type": "string", "default": "1" } }, "output": output, "steps": [agent("a", &[])],
        }))
    };
    let silent = document(json!("'done'"));
    assert_eq!(made(&silent, &wish(&silent, &[], &[("x", "2")])).unwrap_err().code, "no_difference");
    let telling = document(json!("inputs.x"));
    assert_eq!(of(&made(&telling, &wish(&telling, &[], &[("x", "2")])).unwrap()), (vec!["a"], vec![]));
}

#[test]
fn with_a_changed_document_what_is_not_what_it_was_runs_again() {
    let document = |steps: Value| workflow(&json!({ "name": "w", "steps": steps }));
    let old = document(json!([agent("a", &[]), agent("b", &["a"]), agent("c", &[]), agent("gone", &[])]));
    let other = json!({ "id": "b", "instructions": "other", "dependsOn": ["a"] });
    let new = document(json!([agent("new", &[]), agent("a", &[]), other, agent("c", &["new"])]));
    let branched = made(&old, &wish(&new, &[], &[])).unwrap();
    assert_eq!(of(&branched), (vec!["a"], vec!["b", "c"]));
    assert!(branched.events.iter().all(|event| event.path.as_str() != "gone"));
    let mut machine = Machine::new(Arc::clone(&new), &Settings { max_concurrency: None });
    branched.events.iter().for_each(|event| machine.fold(event));
    let completed = |path: &str| machine.state_of(&path.into()).unwrap().status() == Some(StepStatus::Completed);
    assert!(completed("a") && !completed("b") && !completed("c") && !completed("new"));
}

#[test]
fn a_step_that_comes_into_a_group_opens_it_again() {
    let document = |inner: Value| {
        workflow(
            &json!({ "name": "w", "steps": [{ "id": "g", "steps": inner }, agent("after", &["g"]), agent("far", &[])] }),
        )
    };
    let old = document(json!([agent("h", &[])]));
    let new = document(json!([agent("h", &[]), agent("i", &[])]));
    let branched = made(&old, &wish(&new, &[], &[])).unwrap();
    assert_eq!(of(&branched), (vec!["g.h", "far"], vec!["after"]));
}
