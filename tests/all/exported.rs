//! A workflow and the document that it exports behave alike: built ones at random, and every case that runs.

use crate::library::{comparable, documents, options, prepare, quick, sort_path};
use cofferdam::core::transform::Transform as BuiltIn;
use cofferdam::llm::Scripted;
use cofferdam::loop_condition::{and, convergence, max_tokens, not, output_contains};
use cofferdam::{
    AgentConfig, Condition, Flow, Mode, Orchestrator, RunOptions, Step, Transform, Workflow, WorkflowConfig,
};
use serde_json::{Value, json};

/// Small numbers that are the same in every run of the test.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }
}

fn condition(chance: &mut Chance, index: usize) -> Condition {
    match chance.below(3) {
        0 => "input.size() > 3".into(),
        1 => "false".into(),
        _ => Condition::closure(format!("odd {index}"), move |ctx| async move {
            Ok(ctx.get("count").is_none() && index % 2 == 1)
        }),
    }
}

fn transform(chance: &mut Chance, index: usize) -> Transform {
    match chance.below(4) {
        0 => BuiltIn::Upper.into(),
        1 => BuiltIn::Truncate(40).into(),
        2 => BuiltIn::FirstLine.into(),
        _ => Transform::closure(
            format!("mark {index}"),
            |ctx, text| async move { Ok(format!("{text} at {}", ctx.path())) },
        ),
    }
}

fn step(chance: &mut Chance, index: usize, mode: Mode) -> Step {
    let mut step = Step::new(format!("s{index}"));
    if chance.yes() {
        let agent =
            AgentConfig::new(format!("agent{index}")).prompt("@ is literal").max_turns(3).set("temperature", 0.5);
        step = step.agent(agent);
    }
    if chance.yes() {
        step = step.instructions("@Do: \"this\", then\n- that\n");
    }
    if chance.yes() {
        step = step.condition(condition(chance, index));
    }
    if chance.yes() {
        step = step.transform(transform(chance, index));
    }
    if chance.yes() {
        step = step.transform_output(transform(chance, index + 100));
    }
    if mode == Mode::Dag && index > 0 {
        let wanted: Vec<String> = (0..index).filter(|_| chance.yes()).map(|other| format!("s{other}")).collect();
        step = step.depends_on(wanted);
    }
    match chance.below(6) {
        0 => step.set("loop", json!({ "forEach": [1, "two"], "onItemFailure": "ignore" })),
        1 => step.set("onFailure", "continue").retries(1),
        _ => step.metadata("index", index),
    }
}

fn workflow(orchestrator: &Orchestrator, chance: &mut Chance) -> Flow {
    let mode = [Mode::Dag, Mode::Sequential, Mode::Parallel, Mode::Loop][chance.below(4)];
    let max_iterations = u32::try_from(chance.below(3) + 1).unwrap();
    let mut flow = orchestrator.workflow(WorkflowConfig { mode, max_iterations, ..WorkflowConfig::new("at random") });
    for index in 0..=chance.below(5) {
        flow.add_step(step(chance, index, mode)).unwrap();
    }
    if mode == Mode::Loop && chance.yes() {
        let checks = [and(output_contains("DO"), max_tokens(9)), not(output_contains("zzz")), convergence(0.2)];
        flow.set_loop_condition(checks[chance.below(3)].clone()).unwrap();
    }
    flow
}

/// A result without what names the document and its text.
fn behaviour(result: &cofferdam::RunResult) -> Value {
    let mut value = comparable(result);
    value.as_object_mut().unwrap().retain(|key, _| key != "workflow_id");
    sort_path(&mut value);
    value
}

#[test]
fn a_built_workflow_and_its_document_behave_alike_whatever_it_is() {
    quick().block_on(async {
        let script = "chunk: 0\nusage: { input: 1, output: 2 }\ndefault: { text: '[{{prompt}}]' }";
        let orchestrator =
            Orchestrator::builder().model(Scripted::parse(script).unwrap()).max_concurrency(1).build().unwrap();
        for seed in 0..300 {
            let flow = workflow(&orchestrator, &mut Chance(seed));
            let text = flow.to_yaml().unwrap();
            let read = Workflow::parse(&text, ".").unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
            assert_eq!(read.to_yaml(), text, "seed {seed}: exporting twice is exporting once");
            let read = read.with_code_of(&flow.validate().unwrap());
            let input = RunOptions { input: Some("a text".to_owned()), ..RunOptions::default() };
            let (one, other) = (flow.run("a text").await.unwrap(), orchestrator.run_flow(&read, input).await.unwrap());
            assert_eq!(behaviour(&one), behaviour(&other), "seed {seed}\n{text}");
        }
    });
}

#[test]
fn every_case_behaves_as_what_it_exports() {
    quick().block_on(async {
        for case in documents() {
            let (_folder, orchestrator, workflow) = prepare(&case);
            let run = orchestrator.run_flow(&workflow, options(&case)).await;
            let (folder, orchestrator, workflow) = prepare(&case);
            let text = workflow.to_yaml();
            let read = Workflow::parse(&text, folder.path());
            let read = read.unwrap_or_else(|error| panic!("{}: {error}\n{text}", case.display()));
            let again = orchestrator.run_flow(&read, options(&case)).await;
            match (run, again) {
                (Ok(run), Ok(again)) => assert_eq!(behaviour(&run), behaviour(&again), "{}\n{text}", case.display()),
                (Err(run), Err(again)) => assert_eq!(run.to_string(), again.to_string()),
                (run, again) => panic!("{}: {run:?} and {again:?}", case.display()),
            }
        }
    });
}
