//! The process that is killed: it runs the workflow, or goes on with it, over a real store; its tools write what they do
//! into a witness file that nobody else writes, and a failpoint ends it without unwinding.

use super::plot;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{Alias, LocalName, RunId};
use cofferdam::core::port::{
    Answer, Append, Approver, BlobId, BoxFuture, Durability, Effects, Inquiry, Lease, LeaseRequest, ModelInfo,
    ModelRequest, ModelStream, Page, Question, RunFilter, RunPage, ToolContext, ToolDefinition, ToolOutput,
};
use cofferdam::core::port::{Journal, JournalError, Model, Tool};
use cofferdam::core::spec::workflow::UnknownEffect;
use cofferdam::llm::Scripted;
use cofferdam::store::{File, Sqlite};
use cofferdam::{
    Builder, Coordinator, Orchestrator, ResumeOptions, RunOptions, RunResult, ServicePlugin, UserDirs, Workflow,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The id of the one run.
pub(super) const RUN: &str = "crash";

/// What lies on the disk whose faults are tried, and the stores there.
pub(super) const DISK: &str = "disk";
pub(super) const SQLITE: &str = "disk/.cofferdam/runs.db";
pub(super) const FILES: &str = "disk/.cofferdam/journal";

/// The exit code of a process that a failpoint ended.
pub(super) const KILLED: i32 = 77;

/// Where the process ends, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failpoint {
    #[default]
    Never,
    /// After the n-th append has succeeded.
    AfterAppend(usize),
    /// Before the n-th effect.
    BeforeEffect(usize),
    /// After the n-th effect, before anybody knows of it.
    AfterEffect(usize),
    /// The n-th append is refused; nobody dies.
    Refused(usize),
    /// The n-th append finds the disk full.
    Full(usize),
    /// The n-th append succeeds and says that it did not.
    Denied(usize),
}

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Store {
    Sqlite,
    File,
    Plugin,
}

/// What becomes of calls whose effect is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Unknown {
    /// A person looks at the witness: what had its effect is not made again.
    Look,
    /// They are made again.
    Retry,
}

/// What the process does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) folder: PathBuf,
    pub(super) store: Store,
    pub(super) failpoint: Failpoint,
    pub(super) unknown: Unknown,
    /// Instead of the one run, so many short ones, whose ids begin with this.
    pub(super) many: Option<(String, usize)>,
    /// The file of the report.
    pub(super) report: PathBuf,
    /// How long each tool takes.
    pub(super) tool_ms: u64,
    /// A coordinator works beside the steps.
    pub(super) coordinated: bool,
}

/// What it tells at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// Why there is no result.
    pub(super) error: Option<String>,
    pub(super) status: String,
    pub(super) output: Value,
    /// Path, status, text, data, tries and tokens of each step.
    pub(super) steps: Vec<Value>,
    pub(super) appends: usize,
    pub(super) effects: usize,
}

static APPENDS: AtomicUsize = AtomicUsize::new(0);
static EFFECTS: AtomicUsize = AtomicUsize::new(0);

/// Carries the order out, and writes the report beside the store.
pub(super) fn work(order: &Order) {
    let report = carry_out(order);
    std::fs::write(&order.report, serde_json::to_vec(&report).unwrap()).unwrap();
}

/// Carries the order out in this process.
pub(super) fn carry_out(order: &Order) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let orchestrator = builder(order).build().unwrap();
        let outcome = match &order.many {
            Some((prefix, count)) => go_often(&orchestrator, prefix, *count).await,
            None => go(&orchestrator, order).await,
        };
        orchestrator.close().await;
        outcome
    });
    report(outcome)
}

async fn go(orchestrator: &Orchestrator, order: &Order) -> Result<RunResult, cofferdam::Error> {
    let run = RunId::parse(RUN).unwrap();
    let recorded = match orchestrator.recorded(&run).await {
        Err(cofferdam::Error::Journal(JournalError::NotFound(_))) => false,
        recorded => recorded.map(|_| true)?,
    };
    if recorded {
        let on_unknown_effect = (order.unknown == Unknown::Retry).then_some(UnknownEffect::Retry);
        let options = ResumeOptions { on_unknown_effect, ..ResumeOptions::default() };
        return orchestrator.resume_flow(&run, None, options).await;
    }
    let workflow = Workflow::load(order.folder.join("crash.yaml")).unwrap();
    let coordinator = order.coordinated.then(Coordinator::default);
    orchestrator.run_flow(&workflow, RunOptions { run_id: Some(run), coordinator, ..RunOptions::default() }).await
}

/// Runs a short workflow often, four runs at a time; gives the last result, or the first failure.
async fn go_often(orchestrator: &Orchestrator, prefix: &str, count: usize) -> Result<RunResult, cofferdam::Error> {
    let workflow = Workflow::parse(plot::SHORT, ".").unwrap();
    let ids: Vec<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
    let mut last = None;
    for some in ids.chunks(4) {
        let run = |id: &String| {
            let options = RunOptions { run_id: Some(RunId::parse(id).unwrap()), ..RunOptions::default() };
            let (orchestrator, workflow) = (orchestrator.clone(), workflow.clone());
            tokio::spawn(async move { orchestrator.run_flow(&workflow, options).await })
        };
        let some: Vec<_> = some.iter().map(run).collect();
        for run in some {
            last = Some(run.await.unwrap()?);
        }
    }
    Ok(last.unwrap())
}

fn report(outcome: Result<RunResult, cofferdam::Error>) -> Report {
    let (appends, effects) = (APPENDS.load(Ordering::SeqCst), EFFECTS.load(Ordering::SeqCst));
    match outcome {
        Ok(result) => Report {
            error: result.error.as_ref().map(|error| error.fault.code.to_string()),
            status: result.status.as_str().to_owned(),
            output: result.output.clone(),
            steps: result
                .steps
                .iter()
                .map(|step| {
                    json!([step.path, step.status, step.content, step.result, step.attempts, step.usage.total()])
                })
                .collect(),
            appends,
            effects,
        },
        Err(error) => Report {
            error: Some(error.to_string()),
            status: String::new(),
            output: Value::Null,
            steps: Vec::new(),
            appends,
            effects,
        },
    }
}

pub(super) fn builder(order: &Order) -> Builder {
    let witness = order.folder.join("witness");
    let script = if order.coordinated { plot::TALK } else { plot::SCRIPT };
    let model = Watched { model: Scripted::parse(script).unwrap(), witness: witness.clone() };
    let mut builder = Orchestrator::builder()
        .project(order.folder.join(".cofferdam"))
        .model(model)
        .approval(Arc::new(Person { witness: witness.clone() }), None)
        .permissions(cofferdam::core::permission::Rules {
            allow: vec![cofferdam::core::permission::Rule::parse("*").unwrap()],
            ..cofferdam::core::permission::Rules::default()
        });
    for (name, effects) in [
        ("once", Effects::default()),
        ("same", Effects { idempotent: true, ..Effects::default() }),
        ("look", Effects { read_only: true, ..Effects::default() }),
    ] {
        builder = builder.tool(Witnessed::new(name, effects, &witness, order));
    }
    match order.store {
        Store::Sqlite => {
            let store = Sqlite::new(order.folder.join(SQLITE));
            builder.storage(Arc::new(Counted { store, failpoint: order.failpoint, witness }))
        }
        Store::File => {
            let store = File::new(order.folder.join(FILES));
            builder.storage(Arc::new(Counted { store, failpoint: order.failpoint, witness }))
        }
        Store::Plugin => {
            let cache = std::env::temp_dir().join("cofferdam-crash-tests");
            let dirs = UserDirs { cache: cache.join("cache"), state: cache.join("state") };
            let flag = "dir:fs=also=journal:/journal:read+write";
            let (_, grants) = cofferdam::core::policy::parse_flag(flag).unwrap();
            let mut plugin = ServicePlugin::new(Alias::parse("dir").unwrap(), "builtin:dir-journal", &order.folder);
            plugin.grants = grants;
            builder.user_dirs(dirs).storage_plugin(plugin)
        }
    }
}

/// Ends the process as a kill would: nothing unwinds, nothing is flushed.
#[expect(clippy::exit, reason = "a failpoint must not unwind")]
fn die() -> ! {
    std::process::exit(KILLED)
}

/// One line a thing that happened, durable before it counts as done.
fn witness(path: &Path, line: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A tool that leaves a line behind.
struct Witnessed {
    definitions: Vec<ToolDefinition>,
    witness: PathBuf,
    failpoint: Failpoint,
    takes_ms: u64,
}

impl Witnessed {
    fn new(name: &str, effects: Effects, witness: &Path, order: &Order) -> Self {
        let schema = json!({
            "type": "object", "required": ["say"], "properties": { "say": { "type": "string" } }
        });
        let definition = ToolDefinition {
            name: LocalName::parse(name).unwrap(),
            title: None,
            description: "Leaves a line behind.".to_owned(),
            input_schema: Arc::new(schema),
            output_schema: None,
            effects,
            examples: Vec::new(),
        };
        let (failpoint, takes_ms) = (order.failpoint, order.tool_ms);
        Self { definitions: vec![definition], witness: witness.to_owned(), failpoint, takes_ms }
    }
}

impl Tool for Witnessed {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move {
            if self.takes_ms > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(self.takes_ms)).await;
            }
            let number = EFFECTS.fetch_add(1, Ordering::SeqCst) + 1;
            if self.failpoint == Failpoint::BeforeEffect(number) {
                die();
            }
            // One write: whoever is killed has left both lines or none.
            witness(&self.witness, &format!("effect {name} {}\ndone {} {args}", ctx.idempotency_key, ctx.path));
            if self.failpoint == Failpoint::AfterEffect(number) {
                die();
            }
            let said = args["say"].as_str().unwrap();
            Ok(ToolOutput { result: Arc::new(json!(format!("{name}:{said}"))), content: None })
        })
    }
}

/// Somebody who looks whether a call has had its effect before it is made again.
struct Person {
    witness: PathBuf,
}

impl Approver for Person {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer> {
        let text = std::fs::read_to_string(&self.witness).unwrap_or_default();
        let line = format!("done {} {}", question.path, question.detail);
        let done = text.lines().any(|known| known == line);
        Box::pin(async move { if done { Answer::No(None) } else { Answer::Yes } })
    }

    fn answer(&self, _: Inquiry) -> BoxFuture<'_, Option<String>> {
        Box::pin(std::future::ready(None))
    }
}

/// A model whose requests leave a line behind.
struct Watched {
    model: Scripted,
    witness: PathBuf,
}

impl Model for Watched {
    fn info(&self) -> ModelInfo {
        self.model.info()
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        witness(&self.witness, &format!("asked {} {} {}", request.path, request.attempt, request.turn));
        self.model.stream(request)
    }
}

/// A store whose appends are counted; that one has become durable leaves a line behind.
struct Counted<S> {
    store: S,
    failpoint: Failpoint,
    witness: PathBuf,
}

impl<S: Journal> Journal for Counted<S> {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(async move {
            let number = APPENDS.fetch_add(1, Ordering::SeqCst) + 1;
            if self.failpoint == Failpoint::Refused(number) {
                return Err(JournalError::Unavailable("the test refuses it".to_owned()));
            }
            if self.failpoint == Failpoint::Full(number) {
                return Err(JournalError::Full("the test's disk is full".to_owned()));
            }
            let is_durable = request.durability == Durability::Durable;
            let head = self.store.append(request).await?;
            if is_durable {
                witness(&self.witness, &format!("head {head}"));
            }
            if self.failpoint == Failpoint::AfterAppend(number) {
                die();
            }
            if self.failpoint == Failpoint::Denied(number) {
                return Err(JournalError::Unavailable("the test denies it".to_owned()));
            }
            Ok(head)
        })
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        self.store.read(run, after, limit)
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        self.store.list(filter)
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.store.put_blob(id, bytes)
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        self.store.get_blob(id)
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        self.store.lease(request)
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.store.delete(run)
    }
}
