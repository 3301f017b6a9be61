//! A scene: a workflow of a few steps, the ports that it runs with, and what they saw.

use cofferdam_core::event::{Body, Changes, RunEvent, StepOutput};
use cofferdam_core::expr::{Expr, Names};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, RunId, StepId};
use cofferdam_core::permission::Rules;
use cofferdam_core::port::{
    Ack, Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, Answer, Append, Approver, Batch, BlobId,
    BoxFuture, Clock, DirHandle, Inquiry, Isolation, Journal, JournalError, Lease, LeaseRequest, Model, Models,
    Natives, Page, Pressure, PurePlugins, Question, Record, RecordBody, RunFilter, RunPage, Sink, SourceError,
    SourceFile, Sources, Starter, StepDirs, StepEntry, Tool, TryEnd, Want,
};
use cofferdam_core::run::RunResult;
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::workflow::{AgentWork, AskWork, IsolationMode, Scope, Step, UnknownEffect, Work, Workflow};
use cofferdam_core::template::Template;
use cofferdam_engine::{
    Coordinator, DropCallback, Error, Executor, FixedRandomness, Gateway, Pauses, Ports, ReplayPorts, Replayed,
    RunRecall, RunRequest, RunSettings, TokioClock, replay,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a run is made of.
#[derive(Default)]
pub(crate) struct Scene {
    pub(crate) agents: BTreeMap<AgentName, Arc<dyn Agent>>,
    pub(crate) natives: Natives,
    pub(crate) plugins: PurePlugins,
    pub(crate) answers: BTreeMap<String, InputText>,
    pub(crate) person: Option<Person>,
    pub(crate) starter: Option<Arc<dyn Starter>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) pauses: Pauses,
    pub(crate) unknown_effect: Option<UnknownEffect>,
    pub(crate) tools: Vec<Arc<dyn Tool>>,
    pub(crate) rules: Rules,
    pub(crate) models: Option<Arc<dyn Model>>,
    pub(crate) coordinator: Option<Coordinator>,
    pub(crate) drops: Option<DropCallback>,
    pub(crate) recall: Option<RunRecall>,
    /// What an earlier process recorded of the run.
    pub(crate) recorded: Vec<Record>,
    /// That was changed since: a replay of the run finds a difference, and must.
    pub(crate) forged: bool,
}

/// What came out of a run.
pub(crate) struct Seen {
    pub(crate) result: RunResult,
    pub(crate) journal: Vec<Arc<RunEvent>>,
    /// All that the journal holds.
    pub(crate) records: Vec<Record>,
    /// How many records were read.
    pub(crate) read: u64,
    pub(crate) sink: Vec<Arc<RunEvent>>,
    /// Transient events that the sink was told it does not get.
    pub(crate) missed: u64,
    pub(crate) asked: Vec<Inquiry>,
    /// What a replay of the record found out, without the closures. Every run of these tests is replayed.
    pub(crate) replayed: Option<Replayed>,
    /// How long the run took.
    pub(crate) took: Duration,
}

impl Seen {
    /// The kinds of the durable events of a step.
    pub(crate) fn kinds(&self, path: &str) -> Vec<&'static str> {
        let own = self.journal.iter().filter(|event| event.path.as_str() == path);
        own.map(|event| event.body.kind()).collect()
    }

    pub(crate) fn content(&self, path: &str) -> &str {
        &self.result.step(path).unwrap().content
    }
}

impl Scene {
    /// An agent that answers what the closure says.
    pub(crate) fn agent<F, R>(mut self, name: &str, act: F) -> Self
    where
        F: Fn(AgentContext, Arc<str>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<StepOutput, Fault>> + Send + 'static,
    {
        let act: Act = Box::new(move |ctx, message| Box::pin(act(ctx, message)));
        self.agents.insert(AgentName::parse(name).unwrap(), Arc::new(Acting { name: name.to_owned(), act }));
        self
    }

    /// An agent that repeats its message.
    pub(crate) fn echo(self) -> Self {
        self.agent("echo", |_, message| async move { Ok(text(&message)) })
    }

    pub(crate) fn answer(mut self, key: &str, answer: &str) -> Self {
        self.answers.insert(key.to_owned(), InputText::Text(answer.to_owned()));
        self
    }

    /// A person who gives these answers, each after a wait.
    pub(crate) fn person(mut self, answers: &[(u64, &str)]) -> Self {
        self.person = Some(Person::new(answers));
        self
    }

    pub(crate) fn run(self, workflow: Workflow) -> Seen {
        self.try_run(workflow).unwrap()
    }

    /// Goes on with a run that is recorded.
    pub(crate) fn resume(mut self, workflow: Workflow, recorded: &[Arc<RunEvent>]) -> Seen {
        let record = |event: &Arc<RunEvent>| Record { at: event.at, body: RecordBody::Event(Arc::clone(event)) };
        self.recorded = recorded.iter().map(record).collect();
        self.try_run(workflow).unwrap()
    }

    /// The same, with all that is recorded besides events.
    pub(crate) fn resume_from(mut self, workflow: Workflow, recorded: &[Record]) -> Seen {
        self.recorded = recorded.to_vec();
        self.try_run(workflow).unwrap()
    }

    pub(crate) fn refused(self, workflow: Workflow) -> Vec<Fault> {
        match self.try_run(workflow) {
            Err(Error::Refused(faults)) => faults,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("the run started"),
        }
    }

    fn try_run(self, workflow: Workflow) -> Result<Seen, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(self.play(workflow))
    }

    async fn play(self, workflow: Workflow) -> Result<Seen, Error> {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let resumes = !self.recorded.is_empty();
        let (journal, sink) = (Arc::new(Kept(Mutex::new(self.recorded), AtomicU64::new(0))), Arc::new(Told::default()));
        let person = self.person.map(Arc::new);
        let approver = person.clone().map(|person| person as Arc<dyn Approver>);
        let tools = self.tools.into_iter().map(|tool| (None, tool));
        let gateway = Gateway::new(tools, self.rules, approver, Arc::clone(&clock)).unwrap();
        let gateway = gateway.with_unknown_effect(self.unknown_effect).with_coordinator(self.coordinator.is_some());
        let settings = settings(self.timeout, self.pauses, self.coordinator, self.models.is_some());
        let ports = Ports {
            clock: Arc::clone(&clock),
            randomness: Arc::new(FixedRandomness(0.0)),
            journal: Arc::clone(&journal) as _,
            models: Arc::new(Only(self.models)),
            agents: self.agents,
            natives: Arc::new(self.natives),
            plugins: Arc::new(self.plugins),
            starter: self.starter,
            gateway: Arc::new(gateway),
            isolation: Arc::new(Nothing),
            sources: Arc::new(Nothing),
            sinks: vec![Arc::clone(&sink) as _],
            drops: self.drops,
            mailboxes: None,
            conversation: None,
            shared_memory: None,
            recall: self.recall,
        };
        let request = request(workflow, self.answers, settings);
        let again = ReplayPorts {
            natives: Arc::default(),
            plugins: Arc::clone(&ports.plugins),
            agents: ports.agents.keys().cloned().collect(),
            gateway: Arc::clone(&ports.gateway),
            sources: Arc::clone(&ports.sources),
            ordered_by_engine: ports.starter.is_some(),
        };
        let (workflow, start) = (Arc::clone(&request.workflow), clock.now());
        let executor = Executor::new();
        let result =
            if resumes { executor.resume(ports, request).await? } else { executor.run(ports, request).await? };
        let read = journal.1.load(Ordering::Relaxed);
        let records = std::mem::take(&mut *journal.0.lock().unwrap());
        let events = records.iter().filter_map(|record| match &record.body {
            RecordBody::Event(event) => Some(Arc::clone(event)),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        });
        let journal: Vec<Arc<RunEvent>> = events.collect();
        let took = clock.now().since(start);
        let replayed = replay(again, &workflow, &journal).await;
        if let (Err(difference), false) = (&replayed, self.forged) {
            let event = |event: &Arc<RunEvent>| format!("{}\n", serde_json::to_string(&**event).unwrap());
            panic!("{difference:?}\n{}", journal.iter().map(event).collect::<String>());
        }
        let replayed = replayed.ok();
        let missed = sink.1.load(Ordering::Relaxed);
        let sink = std::mem::take(&mut *sink.0.lock().unwrap());
        let asked = person.map(|person| std::mem::take(&mut *person.asked.lock().unwrap())).unwrap_or_default();
        Ok(Seen { result, journal, records, read, sink, missed, asked, replayed, took })
    }
}

fn request(workflow: Workflow, answers: BTreeMap<String, InputText>, settings: RunSettings) -> RunRequest {
    RunRequest {
        run_id: RunId::parse("r").unwrap(),
        workflow: Arc::new(workflow),
        inputs: serde_json::Map::new(),
        input: None,
        answers,
        approvals: Vec::new(),
        context_files: Vec::new(),
        plugins: Vec::new(),
        note: None,
        holder: None,
        settings,
        cancel: tokio_util::sync::CancellationToken::new(),
    }
}

fn settings(
    timeout: Option<Duration>,
    pauses: Pauses,
    coordinator: Option<Coordinator>,
    has_model: bool,
) -> RunSettings {
    let default_model = has_model.then(|| "model".to_owned());
    RunSettings { timeout, pauses, default_model, coordinator, ..RunSettings::default() }
}

pub(crate) fn text(content: &str) -> StepOutput {
    StepOutput { content: content.into(), ..StepOutput::default() }
}

pub(crate) fn step(id: &str, work: Work) -> Step {
    Step::new(StepId::parse(id).unwrap(), work)
}

/// An agent step with these instructions.
pub(crate) fn agent(id: &str, name: &str, instructions: &str) -> Step {
    step(id, Work::Agent(AgentWork { agent: Some(AgentName::parse(name).unwrap()), ..AgentWork::new(instructions) }))
}

pub(crate) fn ask(id: &str, fill: impl FnOnce(&mut AskWork)) -> Step {
    let prompt = Template::constant(json!("Ship it?"));
    let mut work = AskWork { prompt, choices: Vec::new(), schema: None, default: None, timeout: None };
    fill(&mut work);
    step(id, Work::Ask(Box::new(work)))
}

pub(crate) fn group(id: &str, steps: Vec<Step>) -> Step {
    step(id, Work::Group(Arc::new(Scope { steps, ..Scope::default() })))
}

pub(crate) fn workflow(steps: Vec<Step>) -> Workflow {
    Workflow::of_steps("w", steps)
}

const ROOTS: [&str; 10] =
    ["steps", "inputs", "vars", "input", "item", "index", "iteration", "content", "result", "status"];

fn with_names<T>(steps: &[&str], parse: impl FnOnce(&Names<'_>) -> T) -> T {
    let ids: BTreeSet<Arc<str>> = steps.iter().map(|&id| Arc::from(id)).collect();
    parse(&Names { steps: &[&ids], roots: &ROOTS })
}

pub(crate) fn expr(source: &str, steps: &[&str]) -> Expr {
    with_names(steps, |names| Expr::parse(source, names).unwrap())
}

pub(crate) fn template(source: &Value, steps: &[&str]) -> Template {
    with_names(steps, |names| Template::parse(source, names).unwrap())
}

type Act = Box<dyn Fn(AgentContext, Arc<str>) -> BoxFuture<'static, Result<StepOutput, Fault>> + Send + Sync>;

struct Acting {
    name: String,
    act: Act,
}

impl Agent for Acting {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, ctx: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            // What is streamed is the message, in two pieces.
            let half = input.message.floor_char_boundary(input.message.len() / 2);
            for piece in [input.message.get(..half), input.message.get(half..)].into_iter().flatten() {
                ctx.events.observe(Body::OutputDelta { turn: 1, text: piece.to_owned() });
            }
            let output = (self.act)(ctx, input.message).await?;
            Ok(AgentOutput { output, ..AgentOutput::default() })
        })
    }
}

/// Gives answers after waits, and nothing any more when they are used up.
pub(crate) struct Person {
    answers: Mutex<VecDeque<(Duration, String)>>,
    asked: Mutex<Vec<Inquiry>>,
}

impl Person {
    fn new(answers: &[(u64, &str)]) -> Self {
        let answers = answers.iter().map(|(wait, answer)| (Duration::from_secs(*wait), (*answer).to_owned()));
        Self { answers: Mutex::new(answers.collect()), asked: Mutex::default() }
    }
}

impl Approver for Person {
    fn ask(&self, _: Question) -> BoxFuture<'_, Answer> {
        Box::pin(std::future::ready(Answer::Nobody))
    }

    fn answer(&self, inquiry: Inquiry) -> BoxFuture<'_, Option<String>> {
        self.asked.lock().unwrap().push(inquiry);
        let next = self.answers.lock().unwrap().pop_front();
        Box::pin(async move {
            let (wait, answer) = next?;
            tokio::time::sleep(wait).await;
            Some(answer)
        })
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<Arc<RunEvent>>>, AtomicU64);

impl Sink for Told {
    fn want(&self) -> Want {
        Want::new(Vec::new(), Pressure::Wait)
    }
    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        self.0.lock().unwrap().extend(batch.events);
        self.1.fetch_add(batch.dropped_before, Ordering::Relaxed);
        Box::pin(async { Ok(Ack::All) })
    }
    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<Record>>, AtomicU64);

fn unused<T>() -> BoxFuture<'static, Result<T, JournalError>> {
    unreachable!("a run only appends")
}

impl Journal for Kept {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        let mut kept = self.0.lock().unwrap();
        assert_eq!(request.expected_head, u64::try_from(kept.len()).unwrap());
        kept.extend(request.records);
        let head = u64::try_from(kept.len()).unwrap();
        Box::pin(async move { Ok(head) })
    }
    fn read<'a>(&'a self, _: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        let kept = self.0.lock().unwrap();
        let head = u64::try_from(kept.len()).unwrap();
        let some = kept.iter().skip(usize::try_from(after).unwrap()).take(limit);
        let records: Vec<Record> = some.cloned().collect();
        self.1.fetch_add(u64::try_from(records.len()).unwrap(), Ordering::Relaxed);
        Box::pin(async move { Ok(Page { first: after + 1, records, head }) })
    }
    fn list(&self, _: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        unused()
    }
    fn put_blob(&self, _: BlobId, _: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        unused()
    }
    fn get_blob<'a>(&'a self, _: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        unused()
    }
    fn lease(&self, _: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        unused()
    }
    fn delete<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        unused()
    }
}

/// One model, whatever its name, or none.
struct Only(Option<Arc<dyn Model>>);

impl Models for Only {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        self.0.clone().ok_or_else(|| Fault::user("unknown_model", format!("there is no model `{name}`")))
    }
}

/// No files; directories that nobody looks into.
struct Nothing;

impl Sources for Nothing {
    fn read(&self, path: &str, _: usize) -> Result<SourceFile, SourceError> {
        Err(SourceError::Missing(path.to_owned()))
    }
}

impl Isolation for Nothing {
    fn check<'a>(&'a self, _: &'a BTreeSet<IsolationMode>) -> BoxFuture<'a, Result<Vec<String>, Fault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
    fn enter<'a>(&'a self, _: &'a StepEntry) -> BoxFuture<'a, Result<Arc<StepDirs>, Fault>> {
        let here = DirHandle::new(std::fs::File::open("/dev/null").unwrap());
        Box::pin(async { Ok(Arc::new(StepDirs { step: here.clone(), out: here })) })
    }
    fn leave<'a>(&'a self, _: &'a StepEntry, _: TryEnd) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(std::future::ready(None))
    }
}
