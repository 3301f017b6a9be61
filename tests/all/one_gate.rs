//! There is one way to a tool: a tool that counts its calls was called as often as that was decided, whoever wanted it.

use crate::support::{Doing, TestRuntime, close, gave, user_directory, with_echo};
use cofferdam::core::event::{Body, Decision, StepOutput};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::AgentName;
use cofferdam::core::message::ToolCall;
use cofferdam::core::permission::{Rule, Rules};
use cofferdam::core::port::{
    Ack, AgentContext, AgentFailure, AgentInput, AgentOutput, Batch, BoxFuture, Effects, Pressure, Want,
};
use cofferdam::llm::Scripted;
use cofferdam::{
    Agent, AgentConfig, Coordinator, EngineHandle, EngineRun, EngineStep, ForkOptions, GrantPolicy, InputText,
    Orchestrator, ResumeOptions, RunOptions, Sink, Step, Tool, UserDirs, Workflow, WorkflowConfig, WorkflowEngine,
};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Each step is another way to the tool.
const DOCUMENT: &str = "
name: ways
plugins: { echo: { source: ./echo.wasm, grants: { tools: [canary] } } }
agents:
  worker: { description: Works., tools: [canary] }
  lead: { description: Leads., tools: [agent, canary] }
  coded: { description: Is code., tools: [canary] }
  judge:
    description: Judges.
    tools: [canary]
    resultSchema: { type: object, required: [done], properties: { done: { type: boolean } } }
steps:
  - { id: document, tool: canary, args: {} }
  - { id: model, agent: worker, instructions: Work. }
  - { id: lead, agent: lead, instructions: Lead. }
  - { id: plugin, tool: echo.relay, args: { tool: canary, args: {} } }
  - { id: code, agent: coded, instructions: Work. }
  - { id: each, loop: { forEach: [1, 2], onItemFailure: continue }, tool: canary, args: {} }
  - { id: again, agent: worker, instructions: Work., loop: { maxIterations: 1, untilAgent: judge } }
  - { id: sure, ask: { prompt: Sure? } }
  - { id: later, dependsOn: [sure], tool: canary, args: {} }
";

const SCRIPT: &str = r#"
answers:
  - { step: model, turn: 1, toolCalls: [{ tool: canary, args: {} }, { tool: canary, args: {} }] }
  - { step: lead, turn: 1, toolCalls: [{ tool: agent, args: { task: Look. } }] }
  - { step: lead@1, turn: 1, toolCalls: [{ tool: canary, args: {} }] }
  - { step: "again.judge[0]", turn: 1, toolCalls: [{ tool: canary, args: {} }] }
  - { step: "again.judge[0]", toolCalls: [{ tool: submit_result, args: { done: true } }] }
  - { step: "@coordinator", contains: began, times: 1, toolCalls: [{ tool: canary, args: {} }] }
  - { step: agent, contains: "The goal:", text: "```yaml\nname: plan\nsteps: [{ id: planned, tool: canary, args: {} }]\n```" }
  - { step: agent, turn: 1, toolCalls: [{ tool: canary, args: {} }] }
  - { step: within, turn: 1, toolCalls: [{ tool: canary, args: {} }] }
default: { text: done }
"#;

/// Where the tool is called from when nobody forbids it.
const PLACES: [&str; 15] = [
    "@coordinator",
    "again.judge[0]",
    "agent",
    "code",
    "document",
    "driven",
    "each[0]",
    "each[1]",
    "later",
    "lead@1",
    "model",
    "own",
    "planned",
    "plugin",
    "within",
];

/// Calls, and what was decided of them: run, path, try and id of the call.
type Calls = Arc<Mutex<Vec<(String, String)>>>;

/// A tool that writes down its calls.
fn canary(calls: &Calls) -> impl Tool + 'static {
    let calls = Arc::clone(calls);
    Doing::new("canary", Effects::default(), move |ctx, _| {
        let call = format!("{} try {} call {}", ctx.run_id, ctx.attempt, ctx.call_id);
        calls.lock().unwrap().push((ctx.path.to_string(), call));
        async { gave(json!(1)) }
    })
}

/// Keeps what was decided about the tool.
#[derive(Default)]
struct Decisions {
    allowed: Calls,
    denied: Calls,
}

impl Sink for Decisions {
    fn want(&self) -> Want {
        Want::new(vec!["permission_decided".into()], Pressure::Wait)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        for event in &batch.events {
            let Body::PermissionDecided { tool, call_id, decision, .. } = &event.body else { continue };
            if tool.to_string() == "canary" {
                let of = if *decision == Decision::Allow { &self.allowed } else { &self.denied };
                let call = format!("{} try {} call {call_id}", event.run_id, event.attempt.unwrap());
                of.lock().unwrap().push((event.path.to_string(), call));
            }
        }
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// An agent that is code, and calls the tool.
struct Coded;

impl Agent for Coded {
    fn name(&self) -> &'static str {
        "coded"
    }

    fn run(&self, ctx: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            let call = ToolCall { id: String::new(), name: "canary".to_owned(), arguments: "{}".to_owned() };
            let reply = ctx.tools.call(&call).await?;
            let output = StepOutput { content: reply.text, ..StepOutput::default() };
            Ok(AgentOutput { output, ..AgentOutput::default() })
        })
    }
}

/// An engine that calls the tool for each step.
struct Driven;

impl WorkflowEngine for Driven {
    fn prepare(&self, _: &WorkflowConfig, _: &[EngineStep]) -> Result<Box<dyn EngineRun>, Fault> {
        Ok(Box::new(Self))
    }
}

impl EngineRun for Driven {
    fn drive(self: Box<Self>, run: EngineHandle) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            while let Some(name) = run.ready().pop() {
                run.work_on(&name, |step| async move {
                    let reply = step.call_tool("canary", &json!({})).await?;
                    Ok(StepOutput { content: reply.text, ..StepOutput::default() })
                })
                .await?;
            }
            Ok(())
        })
    }
}

fn orchestrator(rules: Rules, calls: &Calls, decisions: &Arc<Decisions>) -> Orchestrator {
    let user = user_directory();
    Orchestrator::builder()
        .model(Scripted::parse(SCRIPT).unwrap())
        .tool(canary(calls))
        .agent(AgentName::parse("coded").unwrap(), Coded)
        .workflow_engine("driven", Driven)
        .coordinator(Coordinator::default().tools(["canary"]))
        .grants(GrantPolicy::default().with_requested())
        .user_dirs(UserDirs { cache: user.join("cache/cofferdam"), state: user.join("state/cofferdam") })
        .permissions(rules)
        .sink(Arc::clone(decisions) as Arc<dyn Sink>)
        .build()
        .unwrap()
}

/// Goes every way to the tool that there is.
async fn every_way(on: &Orchestrator, document: &Workflow) {
    let waits = on.run_flow(document, RunOptions::default()).await.unwrap();
    let answers = [("sure".to_owned(), InputText::Text("yes".to_owned()))];
    let options = ResumeOptions { answers: answers.into(), ..ResumeOptions::default() };
    let whole = on.resume_flow(&waits.run_id, None, options.clone()).await.unwrap();
    drop(on.replay(&whole.run_id).await);
    let fork = ForkOptions { from: vec!["document".into()], resume: options, ..ForkOptions::default() };
    on.fork(&whole.run_id, fork).await.unwrap();
    let driven = "name: driven\noptions: { engine: driven }\nsteps: [{ id: driven, instructions: x }]";
    on.run_flow(&Workflow::parse(driven, ".").unwrap(), RunOptions::default()).await.unwrap();
    let mut inner = on.dag(&WorkflowConfig::new("inner"));
    inner.add_step(Step::new("within").instructions("x")).unwrap();
    inner.add_step(Step::new("own").tool("canary", json!({}))).unwrap();
    let mut outer = on.dag(&WorkflowConfig::new("outer"));
    outer.add_step(Step::new("outer").agent(inner.into_agent("inner").unwrap())).unwrap();
    outer.run("x").await.unwrap();
    on.run_agent(&AgentConfig::new("one").tools(["canary"]), "x", RunOptions::default()).await.unwrap();
    on.run_goal("Sing.", RunOptions::default()).await.unwrap();
}

fn sorted(calls: &Calls) -> Vec<(String, String)> {
    let mut calls = calls.lock().unwrap().clone();
    calls.sort();
    calls
}

#[test]
fn no_call_of_a_tool_passes_beside_the_gate() {
    let project = with_echo();
    project.file("ways.yaml", DOCUMENT);
    let document = Workflow::load(project.path("ways.yaml")).unwrap();
    let rule = || vec![Rule::parse("canary").unwrap()];
    for (rules, runs) in
        [(Rules { allow: rule(), ..Rules::default() }, true), (Rules { deny: rule(), ..Rules::default() }, false)]
    {
        let (calls, decisions) = (Calls::default(), Arc::new(Decisions::default()));
        TestRuntime::threads(2).block_on(async {
            let on = orchestrator(rules, &calls, &decisions);
            Box::pin(every_way(&on, &document)).await;
            close(&on).await;
        });
        assert_eq!(sorted(&calls), sorted(&decisions.allowed), "allowed: {runs}");
        let decided = sorted(if runs { &decisions.allowed } else { &decisions.denied });
        let places: BTreeSet<&str> = decided.iter().map(|(path, _)| path.as_str()).collect();
        assert!(places.iter().copied().eq(PLACES), "{places:?}");
        let other = sorted(if runs { &decisions.denied } else { &decisions.allowed });
        assert!(other.is_empty(), "{other:?}");
    }
}
