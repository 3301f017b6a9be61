//! Workflows for the tests of the drawings, made without the loader.

use cofferdam::core::expr::{Expr, Names};
use cofferdam::core::id::{AgentName, StepId, ToolName};
use cofferdam::core::port::ModelSettings;
use cofferdam::core::spec::workflow::{
    AgentSpec, AgentWork, AskWork, Condition, ForEach, Include, ItemFailure, Items, Loop, LoopKind, OnLimit,
    OutputMode, Repeat, Scope, Step, ToolFilter, ToolWork, Wiring, Work, Workflow,
};
use cofferdam::core::template::Template;
use cofferdam::core::transform::Transforms;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn document(steps: Vec<Step>) -> Workflow {
    Workflow::of_steps("sample", steps)
}

pub(super) fn step(id: &str, work: Work) -> Step {
    Step::new(StepId::parse(id).unwrap(), work)
}

pub(super) fn agent(id: &str) -> Step {
    step(id, Work::Agent(AgentWork::new("work")))
}

pub(super) fn expr(text: &str) -> Expr {
    let steps = ["list", "scan"].into_iter().map(Arc::from).collect();
    Expr::parse(text, &Names { steps: &[&steps], roots: &["steps", "iteration", "result"] }).unwrap()
}

fn body(id: &str, kind: LoopKind, steps: Vec<Step>) -> Step {
    let body = Some(Arc::new(Scope { steps, ..Scope::default() }));
    Step { repeat: Some(Loop { kind, body }), ..step(id, Work::Body) }
}

pub(super) fn for_each(id: &str, items: Result<Vec<Value>, &str>, steps: Vec<Step>) -> Step {
    let items = match items {
        Ok(list) => Items::List(Arc::new(list)),
        Err(text) => Items::Expr(expr(text)),
    };
    let each = ForEach { items, max_concurrency: Some(4), on_item_failure: ItemFailure::Stop };
    body(id, LoopKind::ForEach(each), steps)
}

pub(super) fn repeat(id: &str, max_iterations: u32, steps: Vec<Step>) -> Step {
    body(id, LoopKind::Repeat(Box::new(times(max_iterations))), steps)
}

fn times(max_iterations: u32) -> Repeat {
    Repeat {
        max_iterations,
        go_on: None,
        until: None,
        judge: None,
        on_limit: OnLimit::Complete,
        delay: Duration::ZERO,
        output_mode: OutputMode::Last,
    }
}

fn with_agents(mut document: Workflow) -> Workflow {
    let name = AgentName::parse("critic").unwrap();
    let critic = AgentSpec {
        name: name.clone(),
        description: "judges".into(),
        prompt: None,
        model: Some("openai/x".into()),
        tools: ToolFilter { allow: Some(vec!["read".into()]), ..ToolFilter::default() },
        max_turns: Some(3),
        settings: ModelSettings::default(),
        result_schema: None,
        transform: Transforms::default(),
        grants: None,
        budget: cofferdam::core::budget::Allowance::default(),
        resume_on_message: false,
    };
    document.agents.insert(name, Arc::new(critic));
    document
}

/// One of each: tool, loop over items, loop with a judge, group, included document, question.
pub(super) fn everything() -> Workflow {
    let tool = ToolWork { tool: ToolName::parse("glob").unwrap(), args: Template::constant(json!({ "pattern": "*" })) };
    let scan = Step {
        depends_on: vec![0],
        condition: Some(Condition::Expr(expr("steps.list.status == 'completed'"))),
        ..for_each("scan", Err("steps.list.result.files"), vec![agent("look")])
    };
    let critic = AgentWork { agent: Some(AgentName::parse("critic").unwrap()), ..AgentWork::new("") };
    let endless = Repeat {
        judge: Some(Arc::new(step("judge", Work::Agent(critic)))),
        on_limit: OnLimit::Fail,
        delay: Duration::from_secs(2),
        output_mode: OutputMode::Cumulative,
        ..times(5)
    };
    let refine = Step {
        depends_on: vec![1],
        repeat: Some(Loop { kind: LoopKind::Repeat(Box::new(endless)), body: None }),
        retries: 1,
        ..agent("refine")
    };
    let both = Scope { steps: vec![agent("left"), agent("right")], wiring: Wiring::Parallel, ..Scope::default() };
    let part = Include {
        name: "part".into(),
        path: "lib/part.yaml".into(),
        scope: Arc::new(Scope { steps: vec![agent("inside")], ..Scope::default() }),
        inputs: Vec::new().into(),
        with: Template::constant(json!({ "folder": "src" })),
        timeout: None,
        output: None,
    };
    let ask = AskWork {
        prompt: Template::constant(json!("Publish \"it\"?")),
        choices: vec!["yes".into(), "no".into()],
        schema: None,
        default: None,
        timeout: None,
    };
    with_agents(document(vec![
        step("list", Work::Tool(tool)),
        scan,
        refine,
        Step { depends_on: vec![2], ..step("both", Work::Group(Arc::new(both))) },
        Step { depends_on: vec![3], ..step("part", Work::Include(Box::new(part))) },
        Step { depends_on: vec![4], ..step("ok", Work::Ask(Box::new(ask))) },
    ]))
}
