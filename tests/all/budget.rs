//! Budgets at the command line and in a program: runs that wait for a higher one, prices, goals, runs inside runs.

use crate::support::{Project, TestRuntime};
use cofferdam::core::budget::{Budget, Money, Price};
use cofferdam::core::event::{RunReason, RunStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::port::{Model, Models, RecordBody};
use cofferdam::llm::Scripted;
use cofferdam::{
    Builder, ForkOptions, Orchestrator, ResumeOptions, RunOptions, RunResult, Step, Workflow, WorkflowConfig,
};
use std::sync::Arc;

const FLOW: &str = "
name: spend
agents: { w: { description: Works., tools: [] } }
steps:
  - { id: a, agent: w, instructions: A. }
  - { id: b, agent: w, instructions: B., dependsOn: [a] }
";
const MODEL: &str = "default: { text: done, usage: { input: 100, output: 800 } }";

fn project() -> Project {
    let project = Project::new();
    project.file("flow.yaml", FLOW).file("model.yaml", MODEL);
    project
}

fn block<T>(future: impl Future<Output = T>) -> T {
    TestRuntime::quick().block_on(future)
}

struct Only(Arc<Scripted>);

impl Models for Only {
    fn resolve(&self, _: &str) -> Result<Arc<dyn Model>, Fault> {
        Ok(Arc::clone(&self.0) as _)
    }
}

fn builder(script: &str) -> (Builder, Arc<Scripted>) {
    let model = Arc::new(Scripted::parse(script).unwrap().recording());
    let builder = Orchestrator::builder().models(Arc::new(Only(Arc::clone(&model)))).default_model("scripted");
    (builder.storage(Arc::new(cofferdam::store::Memory::default())), model)
}

fn budget(text: &str) -> Budget {
    Budget::parse(text).unwrap()
}

fn price(units: f64) -> Price {
    let money = Money::from_units(units).unwrap();
    Price { input: money, output: money, ..Price::default() }
}

async fn kinds(orchestrator: &Orchestrator, result: &RunResult) -> Vec<&'static str> {
    let page = orchestrator.runs().read(&result.run_id, 0, 1_000).await.unwrap();
    let events = page.records.iter().filter_map(|record| match &record.body {
        RecordBody::Event(event) => Some(event.body.kind()),
        RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
    });
    events.collect()
}

#[test]
fn a_run_that_waits_for_a_higher_budget_goes_on_with_one() {
    let project = project();
    let run = ["run", "flow.yaml", "--model", "scripted/model.yaml", "--budget", "tokens=1000,onExceed=pause"];
    let waits = project.run(&run).expect(4);
    assert!(
        waits.stderr.contains("its budget is spent") && waits.stderr.contains("tokens 100 in, 800 out, cost unknown"),
        "{}",
        waits.stderr
    );
    // The same budget is as used up as before.
    project.run(&["resume", "last"]).expect(4);
    let done = project.run(&["resume", "last", "--budget", "tokens=5000"]).expect(0);
    assert_eq!(done.stdout, "done\n");
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.contains("200 in, 1600 out, cost unknown"), "{shown}");
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn a_budget_that_is_used_up_has_an_exit_code_of_its_own() {
    let project = project();
    let run = ["run", "flow.yaml", "--model", "scripted/model.yaml", "--budget", "tokens=1000"];
    let failed = project.run(&run).expect(5);
    assert!(failed.stderr.contains("the run has spent 900 tokens of 1000 tokens"), "{}", failed.stderr);
    project.run(&["replay", "last"]).expect(0);
    project.run(&["resume", "last", "--budget", "tokens=9000"]).expect(0);
    let agent = ["agent", "x", "--model", "scripted/model.yaml", "--budget", "tokens=200"];
    project.run(&agent).expect(5);
    let slip = project.run(&["run", "flow.yaml", "--budget", "token=5"]).expect(3);
    assert!(slip.stderr.contains("did you mean `tokens`"), "{}", slip.stderr);
}

#[test]
fn prices_of_the_project_are_counted_and_shown() {
    let project = project();
    let table = "[prices.\"scripted/model.yaml\"]\ninput_cost_per_token = 1e-5\noutput_cost_per_token = 1e-5\n";
    project.file("cofferdam.toml", table);
    let run = ["run", "flow.yaml", "--model", "scripted/model.yaml"];
    let done = project.run(&run).expect(0);
    assert!(done.stderr.contains("tokens 200 in, 1600 out, $0.0180"), "{}", done.stderr);
    let listed = project.run(&["runs", "list"]).expect(0).stdout;
    assert!(listed.contains("COST") && listed.contains("$0.0180"), "{listed}");
    let lines = project.run(&["runs", "list", "--json"]).expect(0).stdout;
    assert!(lines.contains("\"cost\":0.018"), "{lines}");
    let json = project.run(&[&run[..], &["--json"]].concat()).expect(0).stdout;
    assert!(json.contains("\"cost\":0.009") && json.contains("\"cost\":0.018"), "{json}");
    project.run(&[&run[..], &["--budget", "cost=0.01"]].concat()).expect(5);
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn no_run_exceeds_the_budget_of_the_builder() {
    block(async {
        let (builder, _) = builder(MODEL);
        let orchestrator = builder.budget(budget("tokens=1000")).price("scripted", price(1e-6)).build().unwrap();
        let workflow = Workflow::parse(FLOW, ".").unwrap();
        let options = RunOptions { budget: budget("tokens=100000"), ..RunOptions::default() };
        let result = orchestrator.run_flow(&workflow, options).await.unwrap();
        assert_eq!((result.status, result.reason), (RunStatus::Failed, Some(RunReason::Budget)));
        assert_eq!(result.cost.total, Money::from_units(900.0 * 1e-6));
        assert_eq!(result.step("a").unwrap().cost, result.cost.total);
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(json["cost"]["by_model"]["scripted"], json["cost"]["total"]);
        // What it would cost more is not asked by another process either.
        let again = ResumeOptions { budget: budget("tokens=200000"), ..ResumeOptions::default() };
        let result = orchestrator.resume_flow(&result.run_id, Some(&workflow), again).await.unwrap();
        assert_eq!((result.reason, result.usage.total()), (Some(RunReason::Budget), 900));
    });
}

#[test]
fn what_a_fork_takes_over_was_spent() {
    block(async {
        let orchestrator = builder(MODEL).0.build().unwrap();
        let workflow = Workflow::parse(FLOW, ".").unwrap();
        let first = orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap();
        assert_eq!(serde_json::to_value(&first).unwrap()["cost"]["total"], "unknown");
        let resume = ResumeOptions { budget: budget("tokens=1000"), ..ResumeOptions::default() };
        let fork = ForkOptions { from: vec!["b".into()], resume, ..ForkOptions::default() };
        let result = orchestrator.fork(&first.run_id, fork).await.unwrap();
        assert_eq!((result.reason, result.usage.total()), (Some(RunReason::Budget), 900));
    });
}

#[test]
fn planning_a_goal_is_paid_from_the_same_budget() {
    block(async {
        let script = r#"
answers:
  - { step: agent, text: "```yaml\nname: p\nagents: { t: { description: Thinks., tools: [] } }\nsteps: [{ id: a, agent: t, instructions: A. }]\n```", usage: { input: 9000, output: 400 } }
  - { step: a, text: a ship, usage: { input: 3, output: 1 } }
"#;
        let (builder, model) = builder(script);
        let orchestrator = builder.build().unwrap();
        let options = RunOptions { budget: budget("tokens=60000"), ..RunOptions::default() };
        let result = orchestrator.run_goal("Think of the sea.", options).await.unwrap();
        assert_eq!((result.status, result.usage.total()), (RunStatus::Completed, 9404));
        let most = |number: usize| model.requests()[number].settings.max_tokens;
        assert_eq!((most(0), most(1)), (Some(4096), Some(4096)));
        let options = RunOptions { budget: budget("tokens=10000"), ..RunOptions::default() };
        let plan = orchestrator.plan_goal("Think of the sea.", &RunOptions::default()).await.unwrap();
        orchestrator.run_plan("Think of the sea.", &plan, options).await.unwrap();
        assert!(most(3).is_some_and(|most| (500..600).contains(&most)), "{:?}", most(3));
    });
}

#[test]
fn a_run_inside_a_run_is_paid_by_both() {
    block(async {
        let script = "default: { text: done, delay: 1s, usage: { input: 10, output: 290 } }";
        let (builder, _) = builder(script);
        let orchestrator = builder.price("scripted", price(1e-6)).build().unwrap();
        let outer = || {
            let mut inner = orchestrator.dag(&WorkflowConfig::new("inner"));
            for step in ["one", "two", "three"] {
                inner.add_step(Step::new(step).instructions("x")).unwrap();
            }
            let mut outer = orchestrator.dag(&WorkflowConfig::new("outer"));
            outer.add_step(Step::new("work").agent(inner.into_agent("inner").unwrap())).unwrap();
            outer
        };
        let run =
            |text: &str| RunOptions { input: Some("x".to_owned()), budget: budget(text), ..RunOptions::default() };
        let done = outer().run_with(run("tokens=100000")).await.unwrap();
        assert_eq!((done.status, done.usage.total()), (RunStatus::Completed, 900));
        assert_eq!(done.cost.total, Money::from_units(900.0 * 1e-6));
        assert_eq!(kinds(&orchestrator, &done).await.iter().filter(|kind| **kind == "spent").count(), 3);
        // The tools that each request offers take most of the first one's room.
        let failed = outer().run_with(run("cost=0.0005")).await.unwrap();
        assert_eq!((failed.status, failed.reason), (RunStatus::Failed, Some(RunReason::Budget)), "{:?}", failed.error);
        assert!(failed.cost.total.is_some_and(|cost| cost <= Money::from_units(0.0005).unwrap()));
    });
}

#[test]
fn an_answer_that_breaks_off_is_paid_for() {
    block(async {
        let script = "default: { text: this is cut off, usage: { input: 10, output: 90 }, error: { status: 500, after: 2 } }\nchunk: 4";
        let (builder, _) = builder(script);
        let orchestrator = builder.build().unwrap();
        let workflow = Workflow::parse(FLOW, ".").unwrap();
        let result = orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap();
        let told = kinds(&orchestrator, &result).await.contains(&"turn_failed");
        assert_eq!(told, result.usage.total() > 0, "what was told of is counted");
    });
}

#[test]
fn a_budget_that_is_given_when_a_run_goes_on_holds_from_then_on() {
    let project = Project::new();
    let flow = "
name: spend
agents: { w: { description: Works., tools: [] } }
steps:
  - { id: sure, ask: { prompt: Sure? } }
  - { id: a, agent: w, instructions: A., dependsOn: [sure] }
  - { id: b, agent: w, instructions: B., dependsOn: [a] }
";
    project.file("flow.yaml", flow).file("model.yaml", MODEL);
    project.run(&["run", "flow.yaml", "--model", "scripted/model.yaml"]).expect(4);
    let budget = ["--budget", "tokens=1000,onExceed=pause"];
    project
        .run(&[&["resume", "last", "--answer", "sure=yes"], &budget[..]].concat())
        .expect(4)
        .says(&["its budget is spent"]);
    project.run(&["resume", "last"]).expect(4).says(&["its budget is spent"]);
    project.run(&["resume", "last", "--budget", "tokens=5000"]).expect(0);
}
