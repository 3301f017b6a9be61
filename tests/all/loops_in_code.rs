//! Loops that are built in code: what ends them, in the words and with the counts of those who know them from elsewhere.
//! A condition that is true goes on.

use crate::support::TestRuntime;
use cofferdam::core::event::{LoopEnd, RunStatus, StepOutput};
use cofferdam::core::fault::Fault;
use cofferdam::core::message::Usage;
use cofferdam::core::port::{AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture};
use cofferdam::llm::Scripted;
use cofferdam::loop_condition::{
    LoopCheck, LoopCondition, and, convergence, custom, max_duration, max_tokens, not, or, output_contains,
    output_matches,
};
use cofferdam::{Agent, AgentRef, Error, Flow, Orchestrator, RunResult, Step, WorkflowConfig, WorkflowContext};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn runtime() -> TestRuntime {
    TestRuntime::quick()
}

/// An agent that gives its drafts one after the other, the last again and again; a hundred tokens and a second each.
struct Drafts {
    name: &'static str,
    drafts: Vec<&'static str>,
    next: AtomicUsize,
    got: Arc<Mutex<Vec<String>>>,
}

impl Agent for Drafts {
    fn name(&self) -> &str {
        self.name
    }

    fn run(&self, _: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.got.lock().unwrap().push(input.message.to_string());
            let at = self.next.fetch_add(1, Ordering::SeqCst).min(self.drafts.len() - 1);
            let output = StepOutput { content: self.drafts[at].into(), ..StepOutput::default() };
            Ok(AgentOutput { output, usage: Usage { input: 60, output: 40, ..Usage::default() } })
        })
    }
}

fn drafts(name: &'static str, drafts: &[&'static str]) -> AgentRef {
    AgentRef::new(Drafts { name, drafts: drafts.to_vec(), next: AtomicUsize::new(0), got: Arc::default() })
}

fn looping(orchestrator: &Orchestrator, texts: &[&'static str]) -> Flow {
    let mut flow = orchestrator.looping(&WorkflowConfig::new("w"));
    flow.add_step(Step::new("write").agent(drafts("writer", texts))).unwrap();
    flow
}

fn orchestrator() -> Orchestrator {
    Orchestrator::builder().model(Scripted::answering("unused")).build().unwrap()
}

/// Iterations and what ended the loop.
fn ran(result: &RunResult) -> (usize, LoopEnd) {
    (result.loops[0].iterations, result.loops[0].because.unwrap())
}

async fn under(texts: &[&'static str], check: impl Into<LoopCheck>) -> RunResult {
    let mut flow = looping(&orchestrator(), texts);
    flow.set_loop_condition(check).unwrap();
    flow.run("write").await.unwrap()
}

/// Goes on while fewer iterations than this have begun.
fn below(most: u32) -> LoopCondition {
    custom(format!("below {most}"), move |_: WorkflowContext, view| async move { Ok(view.iteration < most) })
}

const THIRD: &[&str] = &["a draft", "a better draft", "the text: APPROVED"];

#[test]
fn an_output_that_contains_the_word_ends_the_loop() {
    runtime().block_on(async {
        let result = under(THIRD, output_contains("APPROVED")).await;
        assert_eq!((ran(&result), result.status), ((3, LoopEnd::While), RunStatus::Completed));
        assert!(result.final_output().contains("APPROVED"));
    });
}

#[test]
fn an_output_that_matches_ends_the_loop() {
    runtime().block_on(async {
        let result = under(THIRD, output_matches("(?i)better|approved").unwrap()).await;
        assert_eq!(ran(&result), (2, LoopEnd::While));
        assert!(matches!(output_matches("("), Err(Error::Settings(message)) if message.contains("regular")));
    });
}

#[test]
fn tokens_and_time_end_the_loop() {
    runtime().block_on(async {
        assert_eq!(ran(&under(THIRD, max_tokens(250)).await), (3, LoopEnd::While));
        assert_eq!(ran(&under(THIRD, max_tokens(200)).await), (2, LoopEnd::While));
        assert_eq!(ran(&under(THIRD, max_duration(Duration::from_millis(3_500))).await), (4, LoopEnd::While));
    });
}

#[test]
fn drafts_that_hardly_change_end_the_loop() {
    runtime().block_on(async {
        let texts = [
            "Rust is a language",
            "Rust is a systems programming language that is fast",
            "Rust is a systems programming language that is fast and safe, with no garbage collector",
            "Rust is a systems programming language that is fast and safe, with no garbage collector.",
        ];
        assert_eq!(ran(&under(&texts, convergence(0.1)).await), (4, LoopEnd::While));
        assert_eq!(ran(&under(&texts, convergence(0.9)).await), (2, LoopEnd::While));
    });
}

#[test]
fn conditions_are_combined() {
    runtime().block_on(async {
        let approved = || output_contains("APPROVED");
        assert_eq!(ran(&under(THIRD, and(approved(), below(5))).await), (3, LoopEnd::While));
        assert_eq!(ran(&under(THIRD, and(approved(), below(2))).await), (2, LoopEnd::While));
        let (iterations, because) = ran(&under(THIRD, or(below(2), output_contains("NEVERFOUND"))).await);
        assert!(iterations > 2 && because == LoopEnd::Limit);
        assert_eq!(ran(&under(THIRD, or(below(2), approved())).await), (3, LoopEnd::While));
        let from_three = custom("from three", |_: WorkflowContext, view| async move { Ok(view.iteration >= 3) });
        assert_eq!(ran(&under(THIRD, not(from_three)).await), (3, LoopEnd::While));
        assert_eq!(ran(&under(THIRD, below(2)).await), (2, LoopEnd::While));
        let fourth = ["one", "two", "three", "APPROVED"];
        assert_eq!(ran(&under(&fourth, and(approved(), below(10))).await), (4, LoopEnd::While));
    });
}

#[test]
fn an_expression_and_a_condition_of_the_program_decide_too() {
    runtime().block_on(async {
        assert_eq!(ran(&under(THIRD, "!content.contains('better')").await), (2, LoopEnd::While));
        let orchestrator = Orchestrator::builder().loop_condition("short", below(1)).build().unwrap();
        let mut flow = looping(&orchestrator, THIRD);
        flow.set_loop_condition(LoopCheck::registered("short")).unwrap();
        assert_eq!(ran(&flow.run("x").await.unwrap()), (1, LoopEnd::While));
    });
}

#[test]
fn a_writer_and_an_editor_go_on_until_the_editor_approves() {
    runtime().block_on(async {
        let orchestrator = orchestrator();
        let mut flow = orchestrator.looping(&WorkflowConfig::new("w"));
        flow.add_step(Step::new("write").agent(drafts("writer", &["first", "second", "third"]))).unwrap();
        flow.add_step(Step::new("edit").agent(drafts("editor", &["more, please", "APPROVED"]))).unwrap();
        flow.set_loop_condition(output_contains("APPROVED")).unwrap();
        let result = flow.run("x").await.unwrap();
        assert_eq!(ran(&result), (2, LoopEnd::While));
        assert_eq!(result.final_output(), "APPROVED");
    });
}

#[test]
fn without_a_condition_the_loop_runs_to_its_limit_and_completes() {
    runtime().block_on(async {
        let result = looping(&orchestrator(), THIRD).run("x").await.unwrap();
        assert_eq!((ran(&result), result.status), ((10, LoopEnd::Limit), RunStatus::Completed));
        let config = WorkflowConfig { max_iterations: 4, ..WorkflowConfig::new("w") };
        let mut flow = orchestrator().looping(&config);
        flow.add_step(Step::new("write").agent(drafts("writer", THIRD))).unwrap();
        assert_eq!(ran(&flow.run("x").await.unwrap()), (4, LoopEnd::Limit));
        flow.set_loop_condition(below(100)).unwrap();
        let result = flow.run("x").await.unwrap();
        assert_eq!((ran(&result), result.status), ((4, LoopEnd::Limit), RunStatus::Completed));
        flow.set_loop_condition(below(2)).unwrap();
        assert_eq!(ran(&flow.run("x").await.unwrap()), (2, LoopEnd::While), "the later condition holds");
    });
}

#[test]
fn a_condition_that_fails_fails_the_loop_with_its_reason() {
    runtime().block_on(async {
        let broken = custom("broken", |_: WorkflowContext, view| async move {
            if view.iteration == 1 { Err(Fault::step("mine", "the scale is broken")) } else { Ok(true) }
        });
        let result = under(THIRD, broken).await;
        assert_eq!((result.loops[0].iterations, result.loops[0].because), (1, None));
        assert_eq!(result.status, RunStatus::Failed);
        assert!(result.error.unwrap().fault.message.contains("the scale is broken"));
    });
}

#[test]
fn a_condition_is_asked_before_each_iteration_with_what_has_happened() {
    runtime().block_on(async {
        let views = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&views);
        let watching = custom("watching", move |ctx: WorkflowContext, view| {
            keep.lock().unwrap().push((view.iteration, view.outputs.len(), view.usage.total(), view.elapsed.as_secs()));
            async move {
                assert_eq!(ctx.path().as_str(), "loop");
                Ok(view.iteration < 2)
            }
        });
        assert_eq!(ran(&under(THIRD, watching).await), (2, LoopEnd::While));
        assert_eq!(*views.lock().unwrap(), [(0, 0, 0, 0), (1, 1, 100, 1), (2, 2, 200, 2)]);
    });
}

#[test]
fn the_time_of_the_run_ends_a_condition_that_sleeps() {
    runtime().block_on(async {
        let config = WorkflowConfig { timeout: Some(Duration::from_millis(50)), ..WorkflowConfig::new("w") };
        let mut flow = orchestrator().looping(&config);
        flow.add_step(Step::new("write").agent(drafts("writer", THIRD))).unwrap();
        let sleeping = custom("sleeping", |_: WorkflowContext, _| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(true)
        });
        flow.set_loop_condition(sleeping).unwrap();
        let result = flow.run("x").await.unwrap();
        assert_eq!((result.loops[0].because.unwrap(), result.status), (LoopEnd::Stopped, RunStatus::Failed));
        assert_eq!(result.error.unwrap().fault.code, "timeout");
    });
}

#[test]
fn a_condition_that_reads_the_iteration_skips_a_step() {
    runtime().block_on(async {
        let config = WorkflowConfig { max_iterations: 5, ..WorkflowConfig::new("w") };
        let mut flow = orchestrator().looping(&config);
        flow.add_step(Step::new("write").agent(drafts("writer", THIRD)).condition("iteration < 3")).unwrap();
        flow.add_step(Step::new("always").agent(drafts("other", &["ok"]))).unwrap();
        let result = flow.run("x").await.unwrap();
        let ran = result.steps.iter().filter(|step| step.path.as_str().ends_with(".write") && step.attempts == 1);
        assert_eq!(ran.count(), 3);
    });
}

#[test]
fn a_loop_condition_is_for_loops() {
    let orchestrator = orchestrator();
    for mut flow in [
        orchestrator.dag(&WorkflowConfig::default()),
        orchestrator.sequential(&WorkflowConfig::default()),
        orchestrator.parallel(&WorkflowConfig::default()),
    ] {
        let error = flow.set_loop_condition(below(1)).err().unwrap().to_string();
        assert!(error.contains("only valid for loop mode"), "{error}");
    }
}

#[test]
fn a_tool_call_of_an_agent_ends_the_loop_after_the_iteration() {
    runtime().block_on(async {
        let script = "answers:\n  - step: 'loop[1].write'\n    turn: 1\n    toolCalls: [{ tool: context_set, args: { key: loop_continue, value: false } }]\nchunk: 0\ndefault: { text: 'a draft' }";
        let orchestrator = Orchestrator::builder().model(Scripted::parse(script).unwrap()).build().unwrap();
        let mut flow = orchestrator.looping(&WorkflowConfig::new("w"));
        let writer = cofferdam::AgentConfig::new("writer").tools(["context_set"]);
        flow.add_step(Step::new("write").agent(writer)).unwrap();
        flow.add_step(Step::new("check").instructions("Check it.")).unwrap();
        let result = flow.run("x").await.unwrap();
        assert_eq!((ran(&result), result.status), ((2, LoopEnd::Signal), RunStatus::Completed));
        assert!(result.step("loop[1].check").is_some(), "the iteration is finished");
    });
}

/// An agent that counts in a variable of the run and stops the loop.
struct Counter;

impl Agent for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn run(&self, ctx: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            let run = WorkflowContext::from(ctx.run);
            let count = run.get("count").and_then(|count| count.as_i64()).unwrap_or(0) + 1;
            run.set("count", count).await?;
            if count == 3 {
                run.set("loop_continue", false).await?;
            }
            let content = format!("{count} of {}", run.run_id()).into();
            Ok(AgentOutput { output: StepOutput { content, ..StepOutput::default() }, ..AgentOutput::default() })
        })
    }
}

#[test]
fn an_agent_of_the_program_counts_in_variables_and_ends_the_loop() {
    runtime().block_on(async {
        let mut flow = orchestrator().looping(&WorkflowConfig::new("w"));
        flow.add_step(Step::new("count").agent(AgentRef::new(Counter))).unwrap();
        flow.set("output", "vars.count");
        for _ in 0..2 {
            let result = flow.run("x").await.unwrap();
            assert_eq!((ran(&result), result.output), ((3, LoopEnd::Signal), json!(3)), "variables are the run's");
        }
    });
}

#[test]
fn names_of_conditions_tell_what_they_do() {
    let orchestrator = orchestrator();
    let mut flow = looping(&orchestrator, THIRD);
    let mut hashes = Vec::new();
    for condition in [output_contains("A"), output_contains("B"), and(output_contains("A"), max_tokens(5))] {
        flow.set_loop_condition(condition).unwrap();
        hashes.push(flow.validate().unwrap().document().hash.clone());
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 3, "another argument is another version");
    assert!(flow.to_yaml().unwrap().contains("and(output_contains("));
}
