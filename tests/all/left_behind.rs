//! No task is left behind, whatever is at work when an orchestrator is closed, or when it is dropped with all that hangs on it.

use crate::support::{TestRuntime, close};
use cofferdam::core::fault::Fault;
use cofferdam::core::port::{BoxFuture, Model};
use cofferdam::llm::Scripted;
use cofferdam::{
    AgentConfig, Coordinator, EngineHandle, EngineRun, EngineStep, Orchestrator, RunOptions, Step, StreamOptions,
    Workflow, WorkflowConfig, WorkflowEngine,
};
use std::pin::Pin;
use std::sync::Arc;

/// Who is not named here answers after an hour.
const SCRIPT: &str = r#"
answers:
  - { step: quick, text: done }
  - { step: lead, turn: 1, toolCalls: [{ tool: agent, args: { task: look } }] }
  - { step: agent, contains: "The goal:\nthink", text: "```yaml\nname: plan\nsteps: [{ id: planned, instructions: Think. }]\n```" }
default: { delay: 1h, text: too late }
"#;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What works, and where it is asked for what takes an hour.
struct Case {
    what: &'static str,
    slow: &'static str,
    start: fn(Orchestrator) -> Work,
}

const CASES: [Case; 11] = [
    Case { what: "a run", slow: "a", start: |on| flow(on, "name: w\nsteps: [{ id: a, instructions: x }]", None) },
    Case { what: "many steps at once", slow: "each[4]", start: |on| flow(on, MANY, None) },
    Case {
        what: "a stream that nobody reads",
        slow: "a",
        start: |on| {
            Box::pin(async move {
                let workflow = parse("name: w\nsteps: [{ id: a, instructions: x }]");
                drop(on.run_stream(&workflow, RunOptions::default(), StreamOptions::default()).wait().await);
            })
        },
    },
    Case {
        what: "an agent",
        slow: "agent",
        start: |on| {
            Box::pin(async move { drop(on.run_agent(&AgentConfig::new("w"), "x", RunOptions::default()).await) })
        },
    },
    Case {
        what: "an agent in the background",
        slow: "agent",
        start: |on| {
            Box::pin(async move {
                let handle = on.run_agent_async(&AgentConfig::new("w"), "x", RunOptions::default()).unwrap();
                drop(handle.done().await);
            })
        },
    },
    Case { what: "a sub-agent", slow: "lead@1", start: |on| flow(on, LEAD, None) },
    Case { what: "a coordinator", slow: "@coordinator", start: |on| flow(on, QUICK, Some(Coordinator::default())) },
    Case { what: "an engine", slow: "a", start: |on| flow(on, ENGINE, None) },
    Case { what: "a workflow that works as an agent", slow: "within", start: nested },
    Case { what: "a planner", slow: "agent", start: |on| goal(on, "wait") },
    Case { what: "a plan", slow: "planned", start: |on| goal(on, "think") },
];

const QUICK: &str = "name: w\nsteps: [{ id: quick, instructions: x }]";
const MANY: &str = "name: w\nsteps: [{ id: each, loop: { forEach: [1, 2, 3, 4, 5, 6] }, instructions: x }]";
const ENGINE: &str = "name: w\noptions: { engine: mine }\nsteps: [{ id: a, instructions: x }]";
const LEAD: &str = "name: w
agents: { lead: { description: Leads., tools: [agent] } }
steps: [{ id: lead, agent: lead, instructions: x }]";

fn parse(document: &str) -> Workflow {
    Workflow::parse(document, ".").unwrap()
}

fn flow(on: Orchestrator, document: &'static str, coordinator: Option<Coordinator>) -> Work {
    let options = RunOptions { coordinator, ..RunOptions::default() };
    Box::pin(async move { drop(on.run_flow(&parse(document), options).await) })
}

fn nested(on: Orchestrator) -> Work {
    Box::pin(async move {
        let mut inner = on.dag(&WorkflowConfig::new("inner"));
        inner.add_step(Step::new("within").instructions("x")).unwrap();
        let mut outer = on.dag(&WorkflowConfig::new("outer"));
        outer.add_step(Step::new("outer").agent(inner.into_agent("inner").unwrap())).unwrap();
        drop(outer.run("x").await);
    })
}

fn goal(on: Orchestrator, goal: &'static str) -> Work {
    Box::pin(async move { drop(on.run_goal(goal, RunOptions::default()).await) })
}

/// Begins each step as it becomes ready.
struct InOrder;

impl WorkflowEngine for InOrder {
    fn prepare(&self, _: &WorkflowConfig, _: &[EngineStep]) -> Result<Box<dyn EngineRun>, Fault> {
        Ok(Box::new(Self))
    }
}

impl EngineRun for InOrder {
    fn drive(self: Box<Self>, run: EngineHandle) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            while let Some(name) = run.ready().pop() {
                run.run_step(&name, None).await?;
            }
            Ok(())
        })
    }
}

/// Starts it and waits until it is asked for what takes an hour.
async fn at_work(case: &Case) -> (Orchestrator, Work) {
    let model = Arc::new(Scripted::parse(SCRIPT).unwrap().recording());
    let shared = Arc::clone(&model);
    let builder = Orchestrator::builder().model_resolver(move |_| Some(Arc::clone(&shared) as Arc<dyn Model>));
    let on = builder.default_model("mine/one").workflow_engine("mine", InOrder).build().unwrap();
    let mut work = (case.start)(on.clone());
    let asked = async {
        while !model.requests().iter().any(|request| request.path.as_str() == case.slow) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = &mut work => panic!("{}: it cannot have ended", case.what),
        () = asked => (on, work),
    }
}

#[test]
fn nothing_is_at_work_after_close() {
    for case in &CASES {
        TestRuntime::threads(2).block_on(async {
            let (on, work) = at_work(case).await;
            close(&on).await;
            work.await;
        });
    }
}

#[test]
fn nothing_is_at_work_after_all_was_dropped() {
    for case in &CASES {
        TestRuntime::threads(2).block_on(async {
            let (on, work) = at_work(case).await;
            drop(work);
            drop(on);
        });
    }
}
