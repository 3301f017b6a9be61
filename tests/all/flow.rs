//! Workflows that are built in code: their steps, conditions, transforms, agents and life, and that every mistake is
//! told when it is made or before an agent is called.

use crate::counting::{Counting, runs, three};
use crate::support::TestRuntime;
use cofferdam::core::event::StepStatus;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::AgentName;
use cofferdam::core::port::BoxFuture;
use cofferdam::llm::Scripted;
use cofferdam::{
    AgentConfig, AgentRef, Condition, Error, Mode, Orchestrator, RunResult, Step, Transform, Workflow, WorkflowConfig,
};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn runtime() -> TestRuntime {
    TestRuntime::quick()
}

fn scripted(script: &str) -> Orchestrator {
    Orchestrator::builder().model(Scripted::parse(script).unwrap()).build().unwrap()
}

const ECHO: &str = "chunk: 0\ndefault: { text: '[{{prompt}}]' }";

fn statuses(result: &RunResult) -> Vec<&'static str> {
    result.steps.iter().map(|step| step.status.as_str()).collect()
}

#[test]
fn sequential_steps_run_once_in_order_each_with_what_the_one_before_gave() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
        three(&mut flow, &log);
        let result = flow.run("x").await.unwrap();
        assert!(result.success());
        assert_eq!(runs(&log), ["one", "two", "three"]);
        assert_eq!((result.steps.len(), result.final_output().as_str()), (3, "three(two(one(x)))"));
    });
}

#[test]
fn parallel_steps_run_at_once_each_with_the_input() {
    runtime().block_on(async {
        let orchestrator = scripted("chunk: 0\ndefault: { delay: 50ms, text: '[{{prompt}}]' }");
        let mut flow = orchestrator.parallel(&WorkflowConfig::new("w"));
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            flow.add_step(Step::new(name)).unwrap();
        }
        let began = tokio::time::Instant::now();
        let result = flow.run("x").await.unwrap();
        assert_eq!(began.elapsed().as_millis(), 50);
        assert!(result.steps.len() == 7 && result.steps.iter().all(|step| &*step.content == "[x]"), "{result:?}");
    });
}

#[test]
fn a_step_starts_after_those_it_depends_on() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.dag(&WorkflowConfig::new("w"));
        let agent = |name| AgentRef::new(Counting::new(name, &log));
        flow.add_step(Step::new("report").agent(agent("report")).depends_on(["fetch", "analyze"])).unwrap();
        flow.add_step(Step::new("fetch").agent(agent("fetch"))).unwrap();
        flow.add_step(Step::new("analyze").agent(agent("analyze")).depends_on(["fetch"])).unwrap();
        assert!(flow.run("x").await.unwrap().success());
        assert_eq!(runs(&log), ["fetch", "analyze", "report"]);
    });
}

#[test]
fn the_workflow_respects_the_mode_of_its_configuration_and_the_constructors_set_theirs() {
    let orchestrator = scripted(ECHO);
    let config = WorkflowConfig { mode: Mode::Parallel, ..WorkflowConfig::new("w") };
    assert_eq!(orchestrator.workflow(config.clone()).config(), &config);
    let modes = [
        (orchestrator.sequential(&config), Mode::Sequential),
        (orchestrator.parallel(&config), Mode::Parallel),
        (orchestrator.dag(&config), Mode::Dag),
        (orchestrator.looping(&config), Mode::Loop),
    ];
    for (flow, mode) in modes {
        assert_eq!(flow.config(), &WorkflowConfig { mode, ..config.clone() });
    }
    assert_eq!(config.mode, Mode::Parallel, "they work on copies");
}

#[test]
fn a_step_whose_condition_is_false_is_skipped_and_later_ones_run() {
    runtime().block_on(async {
        let conditions = [
            Condition::closure("never", |ctx| async move {
                assert!(ctx.step_result("one").await.is_some_and(|one| one.status == StepStatus::Completed));
                Ok(false)
            }),
            "steps.one.content == 'no'".into(),
            Condition::registered("of-the-program"),
        ];
        for condition in conditions {
            let orchestrator =
                Orchestrator::builder().condition("of-the-program", |_| async { Ok(false) }).build().unwrap();
            let log = Arc::default();
            let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
            let agent = |name| AgentRef::new(Counting::new(name, &log));
            flow.add_step(Step::new("one").agent(agent("one"))).unwrap();
            flow.add_step(Step::new("two").agent(agent("two")).condition(condition)).unwrap();
            flow.add_step(Step::new("three").agent(agent("three"))).unwrap();
            let result = flow.run("x").await.unwrap();
            assert_eq!(statuses(&result), ["completed", "skipped", "completed"]);
            assert_eq!(runs(&log), ["one", "three"]);
            assert_eq!(result.final_output(), "three(one(x))");
        }
    });
}

#[test]
fn transforms_change_what_an_agent_gets_and_what_it_gave() {
    runtime().block_on(async {
        let orchestrator = Orchestrator::builder()
            .transform("of-the-program", |_, text| async move { Ok(text.to_uppercase()) })
            .build()
            .unwrap();
        let upper = [
            Transform::closure("upper", |_, text| async move { Ok(text.to_uppercase()) }),
            cofferdam::core::transform::Transform::Upper.into(),
            Transform::registered("of-the-program"),
        ];
        for upper in upper {
            let log = Arc::default();
            let mut flow = orchestrator.dag(&WorkflowConfig::new("w"));
            let step = Step::new("a").agent(AgentRef::new(Counting::new("agent", &log)));
            let last = Transform::closure("mark", |ctx, text| async move { Ok(format!("{text}@{}", ctx.path())) });
            flow.add_step(step.transform(upper).transform_output(last)).unwrap();
            assert_eq!(flow.run("x y").await.unwrap().final_output(), "agent(X Y)@a");
        }
    });
}

#[test]
fn a_step_after_a_failure_does_not_run() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
        flow.add_step(Step::new("one").agent(AgentRef::new(Counting::new("one", &log)))).unwrap();
        flow.add_step(Step::new("two").agent(AgentRef::new(Counting::failing("two", "run", &log)))).unwrap();
        flow.add_step(Step::new("three").agent(AgentRef::new(Counting::new("three", &log)))).unwrap();
        let result = flow.run("x").await.unwrap();
        assert!(!result.success());
        assert_eq!(statuses(&result), ["completed", "failed", "cancelled"]);
        assert_eq!(runs(&log), ["one", "two"]);
    });
}

#[test]
fn the_time_of_the_configuration_ends_the_run() {
    runtime().block_on(async {
        let orchestrator = scripted("default: { delay: 1h, text: late }");
        let config = WorkflowConfig { timeout: Some(Duration::from_millis(100)), ..WorkflowConfig::new("w") };
        let mut flow = orchestrator.dag(&config);
        flow.add_step(Step::new("slow").instructions("Wait.")).unwrap();
        let began = tokio::time::Instant::now();
        let result = flow.run("").await.unwrap();
        assert_eq!(result.error.unwrap().fault.code, "timeout");
        assert_eq!(began.elapsed().as_millis(), 100);
    });
}

#[test]
fn the_bound_of_the_configuration_holds() {
    runtime().block_on(async {
        let orchestrator = scripted("default: { delay: 50ms, text: done }");
        let config = WorkflowConfig { max_concurrency: Some(2), ..WorkflowConfig::new("w") };
        let mut flow = orchestrator.dag(&config);
        for name in ["a", "b", "c", "d"] {
            flow.add_step(Step::new(name).instructions("x")).unwrap();
        }
        let began = tokio::time::Instant::now();
        flow.run("").await.unwrap();
        assert_eq!(began.elapsed().as_millis(), 100);
    });
}

#[test]
fn a_step_that_cannot_be_is_refused_at_once() {
    let (orchestrator, log) = (scripted(ECHO), Arc::default());
    let mut flow = orchestrator.dag(&WorkflowConfig::new("w"));
    let twin = |_| async { Ok(true) };
    flow.add_step(Step::new("a").condition(Condition::closure("same", twin))).unwrap();
    flow.add_agent(AgentConfig::new("writer")).unwrap();
    let mut refused = |step: Step, wanted: &str| {
        let error = flow.add_step(step).err().expect(wanted);
        assert!(matches!(&error, Error::Step { message, .. } if message.contains(wanted)), "{error}");
    };
    refused(Step::new(""), "no name");
    refused(Step::new("A B"), "A B");
    refused(Step::new("a"), "already");
    refused(Step::new("b").agent("nobody"), "no agent `nobody`");
    refused(Step::new("b").agent(AgentRef::new(Counting::new("Bad Name", &log))), "Bad Name");
    refused(Step::new("b").agent(AgentConfig::new("writer").prompt("another")), "another agent is called `writer`");
    refused(Step::new("b").agent(AgentRef::new(Counting::new("writer", &log))), "another agent is called `writer`");
    refused(Step::new("b").condition(Condition::closure("same", twin)), "another condition is called `same`");
    assert_eq!(flow.validate().unwrap().document().scope.steps.len(), 1, "what was refused left nothing");
}

#[test]
fn what_only_the_whole_workflow_shows_is_refused_before_an_agent_is_called() {
    runtime().block_on(async {
        let log = Arc::default();
        let agent = |name| AgentRef::new(Counting::new(name, &log));
        let orchestrator = scripted(ECHO);
        let mut unknown = orchestrator.dag(&WorkflowConfig::new("w"));
        unknown.add_step(Step::new("a").agent(agent("a"))).unwrap();
        unknown.add_step(Step::new("b").agent(agent("b")).depends_on(["aa"])).unwrap();
        let mut cycle = orchestrator.dag(&WorkflowConfig::new("w"));
        cycle.add_step(Step::new("a").agent(agent("a")).depends_on(["b"])).unwrap();
        cycle.add_step(Step::new("b").agent(agent("b")).depends_on(["a"])).unwrap();
        let mut expression = orchestrator.dag(&WorkflowConfig::new("w"));
        expression.add_step(Step::new("a").agent(agent("a")).condition("steps.nobody.content == ''")).unwrap();
        for (flow, wanted) in
            [(unknown, "steps[1].dependsOn[0]"), (cycle, "wait for each other"), (expression, "nobody")]
        {
            let error = flow.validate().err().unwrap().to_string();
            assert!(error.contains(wanted), "{error}");
            assert!(matches!(flow.run("x").await, Err(Error::Invalid(_))));
        }
        assert!(runs(&log).is_empty());
    });
}

#[test]
fn named_agents_without_steps_are_steps_in_their_order() {
    runtime().block_on(async {
        let log = Arc::default();
        let name = |name| AgentName::parse(name).unwrap();
        let orchestrator = Orchestrator::builder()
            .agent(name("zeta"), Counting::new("zeta", &log))
            .agent(name("alpha"), Counting::new("alpha", &log))
            .build()
            .unwrap();
        let agents = vec!["zeta".to_owned(), "alpha".to_owned()];
        let config = WorkflowConfig { agents, ..WorkflowConfig::new("w") };
        let result = orchestrator.sequential(&config).run("x").await.unwrap();
        assert_eq!(result.final_output(), "alpha(zeta(x))");
        assert_eq!(result.execution_path.len(), 2);
        let unknown = WorkflowConfig { agents: vec!["nobody".to_owned()], ..config };
        let error = orchestrator.sequential(&unknown).run("x").await.err().unwrap();
        assert!(matches!(&error, Error::Agent { message } if message.contains("nobody")), "{error}");
    });
}

#[test]
fn an_agent_that_is_described_speaks_with_its_prompt_and_settings() {
    runtime().block_on(async {
        let model = Arc::new(Scripted::parse("chunk: 0\ndefault: { text: done }").unwrap().recording());
        struct Shared(Arc<Scripted>);
        impl cofferdam::Model for Shared {
            fn info(&self) -> cofferdam::core::port::ModelInfo {
                self.0.info()
            }
            fn stream(
                &self,
                request: cofferdam::core::port::ModelRequest,
            ) -> BoxFuture<'_, Result<cofferdam::core::port::ModelStream, Fault>> {
                self.0.stream(request)
            }
        }
        let orchestrator = Orchestrator::builder().model(Shared(Arc::clone(&model))).build().unwrap();
        let mut flow = orchestrator.dag(&WorkflowConfig::new("w"));
        let agent = AgentConfig::new("writer")
            .description("Writes.")
            .prompt("@you write")
            .tools(["read"])
            .max_turns(3)
            .set("temperature", 0.5);
        flow.add_step(Step::new("a").agent(agent).instructions("@go").label_of_test()).unwrap();
        assert!(flow.run("").await.unwrap().success());
        let request = &model.requests()[0];
        let text = format!("{request:?}");
        assert!(text.contains("\"@you write\"") && text.contains("@go") && !text.contains("@@"), "{text}");
        assert_eq!(request.settings.temperature, Some(0.5));
        let tools: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(tools, ["read"]);
        let spec = flow.validate().unwrap().document().agents["writer"].clone();
        assert_eq!((spec.max_turns, spec.description.as_str()), (Some(3), "Writes."));
    });
}

trait OfTest {
    fn label_of_test(self) -> Self;
}

impl OfTest for Step {
    fn label_of_test(self) -> Self {
        self.set("label", "A step of this test.")
    }
}

#[test]
fn every_call_of_a_step_reaches_the_document() {
    let orchestrator = scripted(ECHO);
    let mut flow = orchestrator.dag(&WorkflowConfig::new("w"));
    flow.add_step(Step::new("a").tool("glob", json!({ "pattern": "*" })).label_of_test()).unwrap();
    let step = Step::new("b").instructions("Go.").depends_on(["a"]).timeout(Duration::from_micros(1));
    flow.add_step(step.retries(3).metadata("one", 1).metadata("two", json!([2])).set("model", "x/y")).unwrap();
    flow.set("description", "What it is for.");
    let workflow = flow.validate().unwrap();
    let document = workflow.document();
    assert_eq!(document.description.as_deref(), Some("What it is for."));
    let [a, b] = document.scope.steps.as_slice() else { panic!("two steps") };
    assert_eq!((a.label.as_deref(), a.tool().unwrap().to_string().as_str()), (Some("A step of this test."), "glob"));
    assert_eq!((b.retries, b.timeout, b.depends_on.as_slice()), (3, Some(Duration::from_millis(1)), &[0][..]));
    assert_eq!(serde_json::Value::Object(b.metadata.clone()), json!({ "one": 1, "two": [2] }));
}

#[test]
fn metadata_of_a_step_is_in_its_result() {
    runtime().block_on(async {
        let mut flow = scripted(ECHO).dag(&WorkflowConfig::new("w"));
        flow.add_step(Step::new("a").metadata("team", "blue")).unwrap();
        assert_eq!(flow.run("x").await.unwrap().steps[0].metadata["team"], "blue");
    });
}

#[test]
fn the_memory_of_a_run_is_shared_by_its_closures() {
    runtime().block_on(async {
        let mut flow = scripted(ECHO).sequential(&WorkflowConfig::new("w"));
        let writes = Condition::closure("writes", |ctx| async move {
            ctx.memory().write("seen", json!(["a"])).await?;
            Ok(true)
        });
        let reads = Condition::closure("reads", |ctx| async move {
            let entry = ctx.memory().read("default", "seen").await?;
            Ok(entry.is_some_and(|entry| *entry.value == json!(["a"]) && entry.revision == 1))
        });
        flow.add_step(Step::new("one").condition(writes)).unwrap();
        flow.add_step(Step::new("two").condition(reads)).unwrap();
        for _ in 0..2 {
            // Each run begins with none.
            assert_eq!(statuses(&flow.run("x").await.unwrap()), ["completed", "completed"]);
        }
    });
}

#[test]
fn a_built_workflow_and_its_document_behave_alike() {
    runtime().block_on(async {
        let orchestrator = scripted(ECHO);
        let mut flow = orchestrator.dag(&WorkflowConfig::new("w"));
        let log = Arc::default();
        let step = Step::new("a").agent(AgentRef::new(Counting::new("own", &log)));
        let upper = Transform::closure("upper", |_, text| async move { Ok(text.to_uppercase()) });
        flow.add_step(step.transform(upper)).unwrap();
        let never = Condition::closure("never", |_| async { Ok(false) });
        flow.add_step(Step::new("b").depends_on(["a"]).condition(never)).unwrap();
        let built = flow.validate().unwrap();
        let read = Workflow::parse(&flow.to_yaml().unwrap(), ".").unwrap();
        let without = orchestrator.run_flow(&read, with_input("x")).await.err().unwrap().to_string();
        assert!(without.contains("upper") && without.contains("never"), "{without}");
        let read = read.with_code_of(&built);
        let (one, other) = (flow.run("x").await.unwrap(), orchestrator.run_flow(&read, with_input("x")).await.unwrap());
        assert_eq!((one.output.clone(), statuses(&one)), (other.output.clone(), statuses(&other)));
    });
}

fn with_input(text: &str) -> cofferdam::RunOptions {
    cofferdam::RunOptions { input: Some(text.to_owned()), ..cofferdam::RunOptions::default() }
}
