//! Runs of workflows that work as agents, when the run around them is taken up again: it goes on with them.

use crate::support::TestRuntime;
use cofferdam::core::event::RunStatus;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{LocalName, RunId};
use cofferdam::core::port::{
    AgentContext, AgentFailure, AgentInput, AgentOutput, Append, BlobId, BoxFuture, Effects, JournalError, Lease,
    LeaseRequest, Models, Page, RecordBody, RunFilter, RunPage, ToolContext, ToolDefinition, ToolOutput,
};
use cofferdam::core::spec::workflow::UnknownEffect;
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{
    Agent, AgentRef, Approval, Builder, Calls, Decision, Error, Flow, InputText, Journal, Model, Orchestrator,
    ResumeOptions, RunOptions, RunResult, Step, Tool, WorkflowAgent, WorkflowConfig,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn runtime() -> TestRuntime {
    TestRuntime::quick()
}

/// A journal that remembers every append, of all runs in one order.
#[derive(Default)]
pub(crate) struct Log {
    journal: Memory,
    pub(crate) appends: Mutex<Vec<Append>>,
}

impl Log {
    /// What would be there, had the machine stopped after so many appends.
    async fn cut(&self, appends: usize) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let kept: Vec<Append> = self.appends.lock().unwrap()[..appends].to_vec();
        for append in kept {
            log.append(append).await.unwrap();
        }
        log
    }

    fn appends(&self) -> usize {
        self.appends.lock().unwrap().len()
    }

    fn events(&self, kind: &str) -> usize {
        let appends = self.appends.lock().unwrap();
        let records = appends.iter().flat_map(|append| &append.records);
        records.filter(|record| matches!(&record.body, RecordBody::Event(event) if event.body.kind() == kind)).count()
    }

    async fn runs(&self) -> usize {
        self.list(RunFilter::default()).await.unwrap().rows.len()
    }
}

impl Journal for Log {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        self.appends.lock().unwrap().push(request.clone());
        self.journal.append(request)
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        self.journal.read(run, after, limit)
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        self.journal.list(filter)
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.journal.put_blob(id, bytes)
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        self.journal.get_blob(id)
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        self.journal.lease(request)
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.journal.delete(run)
    }
}

/// One model under every name.
struct One(Arc<Scripted>);

impl Models for One {
    fn resolve(&self, _: &str) -> Result<Arc<dyn Model>, Fault> {
        Ok(Arc::clone(&self.0) as Arc<dyn Model>)
    }
}

const ECHO: &str = "chunk: 0\ndefault: { text: '[{{prompt}}]', usage: { input: 2, output: 3 } }";
/// As [`ECHO`], but the second inner step fails.
const BROKEN: &str = "chunk: 0\nanswers: [{ step: tell, error: { status: 401 } }]\ndefault: { text: '[{{prompt}}]', usage: { input: 2, output: 3 } }";

/// A process: what it records in, and its model.
struct Process {
    log: Arc<Log>,
    model: Arc<Scripted>,
    orchestrator: Orchestrator,
}

impl Process {
    fn start(log: &Arc<Log>, script: &str) -> Self {
        Self::with(log, script, |builder| builder)
    }

    fn with(log: &Arc<Log>, script: &str, more: impl Fn(Builder) -> Builder) -> Self {
        let model = Arc::new(Scripted::parse(script).unwrap().recording());
        let builder = Orchestrator::builder().models(Arc::new(One(Arc::clone(&model)))).default_model("one");
        let builder = more(builder.storage(Arc::clone(log) as Arc<dyn Journal>));
        Self { log: Arc::clone(log), model, orchestrator: builder.build().unwrap() }
    }

    /// How often the model was asked.
    fn asked(&self) -> usize {
        self.model.requests().len()
    }

    async fn run(&self, flow: &Flow) -> RunResult {
        flow.run_with(RunOptions { input: Some("x".to_owned()), ..RunOptions::default() }).await.unwrap()
    }

    async fn resume(&self, flow: &Flow, run: &RunId, options: ResumeOptions) -> RunResult {
        self.orchestrator.resume_flow(run, Some(&flow.validate().unwrap()), options).await.unwrap()
    }
}

fn gather_and_tell(orchestrator: &Orchestrator) -> Flow {
    let mut inner = orchestrator.dag(&WorkflowConfig::new("inner"));
    inner.add_step(Step::new("gather")).unwrap();
    inner.add_step(Step::new("tell").depends_on(["gather"])).unwrap();
    inner
}

/// A workflow with another one for its agent, between two steps of its own.
fn around(orchestrator: &Orchestrator, agent: impl Into<AgentRef>) -> Flow {
    let mut outer = orchestrator.dag(&WorkflowConfig::new("main"));
    outer.add_step(Step::new("before")).unwrap();
    outer.add_step(Step::new("analyze").agent(agent).depends_on(["before"])).unwrap();
    outer.add_step(Step::new("after").depends_on(["analyze"])).unwrap();
    outer
}

fn once(process: &Process) -> Flow {
    around(&process.orchestrator, gather_and_tell(&process.orchestrator).into_agent("analysis").unwrap())
}

fn twice(process: &Process) -> Flow {
    around(&process.orchestrator, once(process).into_agent("outer").unwrap())
}

/// Has one workflow work on two messages at once, in this order or the other.
struct Both(WorkflowAgent, Order);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    OneTwo,
    TwoOne,
}

impl Agent for Both {
    fn name(&self) -> &'static str {
        "both"
    }

    fn run(&self, ctx: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            let (one, two) = (self.0.run(ctx.clone(), "one".into()), self.0.run(ctx, "two".into()));
            let (one, two) = match self.1 {
                Order::OneTwo => tokio::join!(one, two),
                Order::TwoOne => {
                    let (two, one) = tokio::join!(two, one);
                    (one, two)
                }
            };
            let (mut one, two) = (one?, two?);
            one.output.content = format!("{} {}", one.output.content, two.output.content).into();
            one.usage += two.usage;
            Ok(one)
        })
    }
}

fn in_order(process: &Process, order: Order) -> Flow {
    let agent = gather_and_tell(&process.orchestrator).into_agent("analysis").unwrap();
    around(&process.orchestrator, AgentRef::new(Both(agent, order)))
}

fn both(process: &Process) -> Flow {
    in_order(process, Order::OneTwo)
}

fn turned(process: &Process) -> Flow {
    in_order(process, Order::TwoOne)
}

#[test]
fn a_run_that_was_cut_anywhere_goes_on_with_the_runs_inside() {
    type Plot = fn(&Process) -> Flow;
    let plots = [(once as Plot, once as Plot, 2), (twice, twice, 3), (both, both, 3), (both, turned, 3)];
    for (number, (plot, again, runs)) in plots.into_iter().enumerate() {
        runtime().block_on(async {
            let whole = Process::start(&Arc::default(), ECHO);
            let expected = whole.run(&plot(&whole)).await;
            assert!(expected.success() && whole.log.runs().await == runs, "{:?}", expected.error);
            for appends in 1..whole.log.appends() {
                let log = whole.log.cut(appends).await;
                let left = whole.asked() - log.events("turn_finished");
                let process = Process::start(&log, ECHO);
                let result = process.resume(&again(&process), &expected.run_id, ResumeOptions::default()).await;
                assert_eq!(result.final_output(), expected.final_output(), "cut after append {appends}");
                assert_eq!((process.asked(), log.runs().await), (left, runs), "cut after append {appends}");
                assert_eq!(result.usage, expected.usage, "cut after append {appends}");
                // In another order, what one message passes over is that of the other.
                assert!(log.events("warning") == 0 || number == 3);
            }
        });
    }
}

#[test]
fn a_run_that_failed_goes_on_with_the_run_inside() {
    runtime().block_on(async {
        let log = Arc::default();
        let first = Process::start(&log, BROKEN);
        let run = first.run(&once(&first)).await.run_id;
        // It fails once more.
        let second = Process::start(&log, BROKEN);
        let result = second.resume(&once(&second), &run, ResumeOptions::default()).await;
        assert_eq!((result.success(), second.asked(), log.runs().await), (false, 1, 2));
        let third = Process::start(&log, ECHO);
        let result = third.resume(&once(&third), &run, ResumeOptions::default()).await;
        assert_eq!((result.success(), third.asked(), log.runs().await), (true, 2, 2));
        assert_eq!(result.total_tokens(), 20, "each answer is counted once");
    });
}

#[test]
fn a_try_that_comes_after_a_failed_one_begins_anew() {
    runtime().block_on(async {
        let script = "chunk: 0\nanswers: [{ step: tell, error: { status: 503 } }]\ndefault: { text: fine }";
        let process = Process::start(&Arc::default(), script);
        let agent = gather_and_tell(&process.orchestrator).into_agent("analysis").unwrap();
        let mut outer = process.orchestrator.dag(&WorkflowConfig::new("main"));
        outer.add_step(Step::new("analyze").agent(agent).set("retries", 1)).unwrap();
        let result = process.run(&outer).await;
        assert_eq!(result.step("analyze").unwrap().attempts, 2, "{:?}", result.error);
        assert_eq!(process.log.runs().await, 3);
    });
}

#[test]
fn a_question_inside_is_answered_through_the_run_around_it() {
    runtime().block_on(async {
        let asking = |process: &Process| {
            let mut inner = gather_and_tell(&process.orchestrator);
            let ask = json!({ "prompt": "Go on?" });
            inner.add_step(Step::new("approve").depends_on(["tell"]).set("ask", ask)).unwrap();
            around(&process.orchestrator, inner.into_agent("analysis").unwrap())
        };
        let log = Arc::default();
        let first = Process::start(&log, ECHO);
        let result = first.run(&asking(&first)).await;
        assert_eq!((result.status, result.usage.input), (RunStatus::Waiting, 6), "{:?}", result.error);
        let asked: Vec<String> = result.questions.iter().map(|open| open.step.to_string()).collect();
        assert_eq!((asked, result.questions[0].question.as_str()), (vec!["analyze.approve".to_owned()], "Go on?"));
        // Nobody answers, and both wait again.
        let idle = Process::start(&log, ECHO);
        let again = idle.resume(&asking(&idle), &result.run_id, ResumeOptions::default()).await;
        assert_eq!((again.status, again.questions.len(), idle.asked()), (RunStatus::Waiting, 1, 0));
        let second = Process::start(&log, ECHO);
        let answers = BTreeMap::from([("analyze.approve".to_owned(), InputText::Text("certainly".to_owned()))]);
        let options = ResumeOptions { answers, ..ResumeOptions::default() };
        let result = second.resume(&asking(&second), &result.run_id, options).await;
        assert_eq!(&*result.step("analyze").unwrap().content, "certainly");
        assert_eq!((second.asked(), log.runs().await), (1, 2));
        assert_eq!((result.status, result.total_tokens()), (RunStatus::Completed, 20), "each answer is counted once");
        // Whatever it was cut at, somebody can answer and both end.
        let run = result.run_id;
        for appends in 1..log.appends() {
            let log = log.cut(appends).await;
            let process = Process::start(&log, ECHO);
            let mut result = process.resume(&asking(&process), &run, ResumeOptions::default()).await;
            if result.status == RunStatus::Waiting {
                let answers = BTreeMap::from([("analyze.approve".to_owned(), InputText::Text("certainly".to_owned()))]);
                let options = ResumeOptions { answers, ..ResumeOptions::default() };
                result = process.resume(&asking(&process), &run, options).await;
            }
            assert_eq!(result.status, RunStatus::Completed, "cut after append {appends}: {:?}", result.error);
            assert_eq!((result.total_tokens(), log.runs().await), (20, 2), "cut after append {appends}");
        }
    });
}

#[test]
fn a_call_inside_waits_and_is_allowed_through_the_run_around_it() {
    runtime().block_on(async {
        let script = "
chunk: 0
answers: [{ step: tell, turn: 1, toolCalls: [{ tool: post, args: { n: 1 } }], usage: { input: 2, output: 3 } }]
default: { text: '[{{prompt}}]', usage: { input: 2, output: 3 } }";
        let calls = Arc::new(AtomicUsize::new(0));
        let start = |log: &Arc<Log>| Process::with(log, script, |builder| builder.tool(Post::new(&calls)));
        let log = Arc::default();
        let first = start(&log);
        let deferring = RunOptions { input: Some("x".to_owned()), defer_approvals: true, ..RunOptions::default() };
        let result = twice(&first).run_with(deferring).await.unwrap();
        assert_eq!(result.status, RunStatus::Waiting, "{:?}", result.error);
        let open = &result.approvals[0];
        assert_eq!((open.step.as_str(), open.call.as_str()), ("analyze.analyze.tell", "1"));
        let run = result.run_id;
        let word = |step: &str, decision| {
            let approval = Approval { step: step.to_owned(), calls: Calls::Only, decision, reason: None };
            ResumeOptions { approvals: vec![approval], ..ResumeOptions::default() }
        };
        let second = start(&log);
        let result = second.resume(&twice(&second), &run, word("tell", Decision::Allow)).await;
        assert_eq!((result.status, calls.load(Ordering::SeqCst)), (RunStatus::Completed, 1), "{:?}", result.error);
        let tokens = result.total_tokens();
        // Wherever a process was stopped, the next one goes on with all runs, and asks only where nothing was said.
        let mut left = 0;
        for appends in 1..log.appends() {
            let log = log.cut(appends).await;
            calls.store(0, Ordering::SeqCst);
            let process = start(&log);
            let flow = twice(&process);
            let options = ResumeOptions { on_unknown_effect: Some(UnknownEffect::Retry), ..ResumeOptions::default() };
            let mut result = process.resume(&flow, &run, options).await;
            if result.status == RunStatus::Waiting {
                left += 1;
                result = process.resume(&flow, &run, word("tell", Decision::Allow)).await;
            }
            assert_eq!(result.status, RunStatus::Completed, "cut after append {appends}: {:?}", result.error);
            assert_eq!(result.total_tokens(), tokens, "cut after append {appends}");
            assert!(calls.load(Ordering::SeqCst) <= 1, "cut after append {appends}");
        }
        assert!(left > 3 && left < log.appends() - 3, "what was said before the cut is not asked again: {left}");
    });
}

#[test]
fn a_run_that_was_cancelled_goes_on_with_the_run_inside() {
    runtime().block_on(async {
        let script = "chunk: 0\nanswers: [{ step: tell, times: 1, delay: 1h, text: late }]\ndefault: { text: fine }";
        let process = Process::start(&Arc::default(), script);
        let flow = once(&process);
        let run: RunId = "mine".parse().unwrap();
        let options = RunOptions { input: Some("x".to_owned()), run_id: Some(run.clone()), ..RunOptions::default() };
        tokio::time::timeout(Duration::from_secs(60), flow.run_with(options)).await.unwrap_err();
        // Here the runs may still be recording that they were cancelled.
        let workflow = flow.validate().unwrap();
        let result = loop {
            match process.orchestrator.resume_flow(&run, Some(&workflow), ResumeOptions::default()).await {
                Err(Error::Refused(_)) => tokio::task::yield_now().await,
                outcome => break outcome.unwrap(),
            }
        };
        assert_eq!((result.status, process.asked()), (RunStatus::Completed, 5), "{:?}", result.error);
        assert_eq!(process.log.runs().await, 2);
    });
}

/// Counts its calls.
struct Post {
    definitions: Vec<ToolDefinition>,
    calls: Arc<AtomicUsize>,
}

impl Post {
    fn new(calls: &Arc<AtomicUsize>) -> Self {
        let definition = ToolDefinition {
            name: LocalName::parse("post").unwrap(),
            title: None,
            description: "Posts.".to_owned(),
            input_schema: Arc::new(json!({ "type": "object" })),
            output_schema: None,
            effects: Effects::default(),
            examples: Vec::new(),
        };
        Self { definitions: vec![definition], calls: Arc::clone(calls) }
    }
}

impl Tool for Post {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(&'a self, _: ToolContext, _: &'a LocalName, _: Arc<Value>) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(ToolOutput { result: Arc::new(json!("posted")), content: None })))
    }
}

#[test]
fn an_effect_inside_that_is_not_known_is_not_repeated_unless_somebody_says_so() {
    runtime().block_on(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let start = |log: &Arc<Log>| Process::with(log, ECHO, |builder| builder.tool(Post::new(&calls)));
        let posting = |process: &Process| {
            let mut inner = process.orchestrator.dag(&WorkflowConfig::new("inner"));
            inner.add_step(Step::new("send").set("tool", "post").set("args", json!({}))).unwrap();
            around(&process.orchestrator, inner.into_agent("analysis").unwrap())
        };
        let whole = start(&Arc::default());
        let run = whole.run(&posting(&whole)).await.run_id;
        let mut log = whole.log.cut(1).await;
        while log.events("tool_call_started") == 0 {
            log = whole.log.cut(log.appends() + 1).await;
        }
        assert_eq!(log.events("tool_call_finished"), 0);
        let refusing = start(&log);
        let result = refusing.resume(&posting(&refusing), &run, ResumeOptions::default()).await;
        assert_eq!(result.error.unwrap().fault.code, "effect_unknown");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let repeating = start(&log);
        let options = ResumeOptions { on_unknown_effect: Some(UnknownEffect::Retry), ..ResumeOptions::default() };
        let result = repeating.resume(&posting(&repeating), &run, options).await;
        assert!(result.success(), "{:?}", result.error);
        assert_eq!((calls.load(Ordering::SeqCst), log.runs().await), (2, 2));
    });
}

#[test]
fn a_workflow_inside_that_has_changed_does_not_go_on() {
    runtime().block_on(async {
        let log = Arc::default();
        let first = Process::start(&log, BROKEN);
        let run = first.run(&once(&first)).await.run_id;
        let second = Process::start(&log, ECHO);
        let mut other = gather_and_tell(&second.orchestrator);
        other.add_step(Step::new("more")).unwrap();
        let changed = around(&second.orchestrator, other.into_agent("analysis").unwrap());
        let fault = second.resume(&changed, &run, ResumeOptions::default()).await.error.unwrap().fault;
        assert!(fault.message.contains("has changed since it was started"), "{fault}");
        assert_eq!((second.asked(), log.runs().await), (0, 2));
        // As it was, it goes on.
        let third = Process::start(&log, ECHO);
        assert!(third.resume(&once(&third), &run, ResumeOptions::default()).await.success());
        assert_eq!((third.asked(), log.runs().await), (2, 2));
    });
}

#[test]
fn a_run_inside_whose_records_are_gone_begins_anew() {
    runtime().block_on(async {
        let nested = |process: &Process, script: &str| {
            let elsewhere = Process::start(&Arc::default(), script);
            let agent = gather_and_tell(&elsewhere.orchestrator).into_agent("analysis").unwrap();
            (around(&process.orchestrator, agent), elsewhere)
        };
        let log = Arc::default();
        let first = Process::start(&log, ECHO);
        let run = first.run(&nested(&first, BROKEN).0).await.run_id;
        let second = Process::start(&log, ECHO);
        let (flow, elsewhere) = nested(&second, ECHO);
        assert!(second.resume(&flow, &run, ResumeOptions::default()).await.success());
        assert_eq!((elsewhere.asked(), second.asked(), log.runs().await), (2, 1, 1));
    });
}
