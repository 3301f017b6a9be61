//! `run`: a document from its file to its output.
//!
//! It must not call anything below the library's `Orchestrator`.

mod dry;
pub(super) mod inputs;
mod listing;
mod model;
mod recordings;
pub(super) mod stop;
mod view;

use super::document::{self, Warnings};
use super::fork;
use crate::args::{Global, GrantArgs, RunArgs};
use crate::exit::{Exit, Signal};
use crate::failure::{Audience, Failure};
use crate::session::{self, Dotenv, Session};
use crate::settings;
use crate::terminal;
use crate::ui::paint;
use crate::ui::question::TerminalApprover;
use crate::ui::recap::{Ending, Recap};
use anyhow::Context as _;
use cofferdam::core::id::RunId;
use cofferdam::core::port::Models;
use cofferdam::llm::ModelCatalog;
use cofferdam::llm::tape::Tape;
use cofferdam::{
    AgentConfig, Coordinator, ForkOptions, GoalPlan, Orchestrator, Pauses, RecordedRun, ResumeOptions, RunOptions,
    RunResult, Undecided, Workflow,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;
use view::View;

/// What is to be done.
pub(super) enum Task {
    /// A new run.
    New(Box<RunOptions>),
    /// One that is recorded goes on.
    Again(Box<RecordedRun>, ResumeOptions),
    /// A new run takes over a part of one that is recorded.
    Branch(Box<RecordedRun>, ForkOptions),
}

/// A run that is about to start.
struct Start {
    orchestrator: Orchestrator,
    workflow: Workflow,
    task: Task,
    recap: Arc<Recap>,
    catalog: Arc<ModelCatalog>,
    tape: Option<Arc<Tape>>,
    view: View,
    /// Ends questions to a person.
    stop: CancellationToken,
    /// Where output directories of runs are.
    runs: PathBuf,
    /// Where steps work, if somebody said so.
    workdir: Option<PathBuf>,
    /// The new run, once one was made of a recorded one.
    branched: Arc<OnceLock<RunId>>,
}

pub(super) fn run(global: &Global, args: &RunArgs) -> anyhow::Result<Exit> {
    let Some(file) = &args.file else {
        let audience = if args.work.json.is_some() { Audience::Machine } else { Audience::Person };
        return listing::show(Path::new("."), audience);
    };
    let session = Session::open(global, &settings::flags(args))?;
    let workflow = document::load(file, if args.work.quiet { Warnings::Hide } else { Warnings::Show })?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(async {
        let task = Task::New(Box::new(options(&session, args)?));
        start(&session, args, (workflow, document::directory(file)), task).await
    });
    // A thread that waits for a slow reader or for a person must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// Runs a document of this directory, or goes on with a run of it.
pub(super) async fn start(
    session: &Session,
    args: &RunArgs,
    of: (Workflow, &Path),
    task: Task,
) -> anyhow::Result<Exit> {
    let start = prepare(session, args, of, task).await?;
    match &start.task {
        Task::New(options) if args.dry_run => {
            dry::show(&start.orchestrator, &start.workflow, options, args.work.json.is_some()).await
        }
        _ => start.run(args).await,
    }
}

/// What came of planning.
pub(super) enum Planned {
    Made(Box<GoalPlan>),
    /// Somebody stopped it.
    Stopped(Exit),
}

/// Has a plan made for a goal.
pub(super) async fn plan(
    session: &Session,
    args: &RunArgs,
    goal: &str,
    options: RunOptions,
) -> anyhow::Result<Planned> {
    let planner = Workflow::from_agent(&AgentConfig::new(Orchestrator::PLANNER), ".").map_err(Failure::from)?;
    // Nothing works beside a planner.
    let alone = RunArgs { coordinator: None, ..args.clone() };
    let start = prepare(session, &alone, (planner, Path::new(".")), Task::New(Box::new(options.clone()))).await?;
    let (orchestrator, goal) = (start.orchestrator.clone(), goal.to_owned());
    let work = tokio::spawn(async move { orchestrator.plan_goal(&goal, &options).await });
    let ended = stop::until_end(work, &start.orchestrator, &start.stop).await;
    start.view.stop();
    start.orchestrator.close().await;
    match ended {
        stop::Ended::Itself(outcome, None) => Ok(Planned::Made(Box::new((*outcome).map_err(Failure::from)?))),
        stop::Ended::Itself(_, Some(signal)) | stop::Ended::Abandoned(signal) => {
            Ok(Planned::Stopped(stopped_early(signal)))
        }
    }
}

async fn prepare(
    session: &Session,
    args: &RunArgs,
    (workflow, directory): (Workflow, &Path),
    task: Task,
) -> anyhow::Result<Start> {
    let dotenv = if args.work.no_dotenv { Dotenv::Ignore } else { Dotenv::Read };
    let tape = recordings::open(&args.work)?;
    let catalog = session.models_on(directory, dotenv, tape.clone());
    // What is wrong with the command line is said before anything is looked for.
    if let Task::New(options) = &task {
        workflow.document().bind_inputs(&options.inputs).map_err(|found| Failure::findings(Exit::Usage, found))?;
    }
    let task = task.with(session, args);
    let known = task.model().or(task.default_model()).is_some();
    let choice = model::choose(&catalog, &workflow, &session.settings, known).await;
    let recap = Arc::new(Recap::default());
    let mut policy = session
        .grants_beside(&session.grants_beside_services(&args.work.grants.grant, &args.work.sinks), &args.work.sinks)?;
    let mut servers = session.servers(&args.work.grants.allow_mcp)?;
    if args.work.grants.grant_requested {
        policy = policy.with_requested();
        servers = servers.with_requested();
        tell_of_servers(&workflow);
    }
    refuse_beside_strict(session, args)?;
    let undecided =
        Undecided { locked: args.work.grants.locked, strict: args.work.grants.strict || session.settings.strict() };
    let mut builder = session
        .orchestrator()
        .models(Arc::clone(&catalog) as Arc<dyn Models>)
        .grants(policy)
        .mcp_servers(servers)
        .permissions(session.settings.rules(&args.work.grants)?)
        .undecided(undecided)
        .durability(session.settings.durability())
        .sink(Arc::clone(&recap) as Arc<dyn cofferdam::Sink>);
    builder = session.with_storage(builder, &args.work.grants.grant)?;
    builder = session.with_sinks(builder, &args.work.sinks, &args.work.grants.grant)?;
    builder = session.with_models(builder, &args.work.grants.grant)?;
    if let Some(recall) = session.settings.recall() {
        builder = builder.recall_settings(recall);
    }
    if let Some(model) = choice.as_ref().map(|choice| choice.model.as_str()).or(task.default_model()) {
        builder = builder.default_model(model);
    }
    if let Some(workdir) = session.settings.workdir() {
        builder = builder.workdir(checked(workdir)?);
    }
    if let Some(attempts) = session.settings.max_concurrency() {
        builder = builder.max_concurrency(attempts);
    }
    let stop = CancellationToken::new();
    let asks = terminal::is_interactive() && !args.dry_run;
    if asks {
        builder = builder.approval(Arc::new(TerminalApprover::new(stop.clone())), None);
    }
    let view = if args.dry_run { View::Silent } else { View::start(args, &workflow) };
    builder = view.attach(builder);
    if !args.work.quiet {
        let mut lines = model::unusual_places(&catalog, &workflow, task.model());
        lines.extend(choice.as_ref().map(|choice| choice.line.clone()));
        if args.coordinator.is_some() {
            lines.push("a coordinator works beside the steps, and is asked as well".to_owned());
        }
        announce(&workflow, &lines, stance(&args.work.grants, undecided.strict, asks, task.defers(args)));
    }
    let runs = session.project.state().join("runs");
    let orchestrator = builder.build().map_err(Failure::from)?;
    let workdir = session.settings.workdir();
    let branched = Arc::default();
    Ok(Start { orchestrator, workflow, task, recap, catalog, tape, view, stop, runs, workdir, branched })
}

/// Refuses flags that say otherwise than strict settings.
fn refuse_beside_strict(session: &Session, args: &RunArgs) -> Result<(), Failure> {
    if !session.settings.strict() {
        return Ok(());
    }
    if args.work.grants.yolo {
        return Err(Failure::usage("the settings say `strict = true`, which `--yolo` would undo")
            .with_hint("allow the tools one by one: `--allow write`"));
    }
    if args.work.defer_approvals {
        return Err(Failure::usage("the settings say `strict = true`, under which nothing is asked and nothing waits")
            .with_hint("take `--defer-approvals` out, or `strict` out of the settings"));
    }
    Ok(())
}

impl Task {
    /// With what flags and settings say of both.
    fn with(self, session: &Session, args: &RunArgs) -> Self {
        match self {
            Self::New(options) => Self::New(options),
            Self::Again(recorded, options) => Self::Again(recorded, with(session, args, options)),
            Self::Branch(recorded, options) => {
                let resume = with(session, args, options.resume);
                Self::Branch(recorded, ForkOptions { resume, ..options })
            }
        }
    }

    /// The model of every step, where one was named.
    fn model(&self) -> Option<&str> {
        match self {
            Self::New(options) => options.model.as_deref(),
            Self::Again(recorded, options) => options.model.as_deref().or(recorded.setting("model")),
            Self::Branch(recorded, options) => options.resume.model.as_deref().or(recorded.setting("model")),
        }
    }

    /// Whether calls that nobody is there to allow wait.
    fn defers(&self, args: &RunArgs) -> bool {
        let recorded = match self {
            Self::New(_) => false,
            Self::Again(recorded, options) => options.defer_approvals || recorded.defers_approvals(),
            Self::Branch(recorded, options) => options.resume.defer_approvals || recorded.defers_approvals(),
        };
        recorded || args.work.defer_approvals
    }

    /// The model of steps that name none, where none has to be looked for.
    fn default_model(&self) -> Option<&str> {
        match self {
            Self::New(_) => None,
            Self::Again(recorded, _) | Self::Branch(recorded, _) => recorded.setting("default_model"),
        }
    }
}

/// How a recorded run goes on, with what flags and settings say.
fn with(session: &Session, args: &RunArgs, options: ResumeOptions) -> ResumeOptions {
    let (model, timeout, pauses) = (named_model(args), session.settings.timeout(), pauses(args));
    let defer_approvals = options.defer_approvals || args.work.defer_approvals;
    ResumeOptions { model, timeout, pauses, budget: args.work.budget.unwrap_or_default(), defer_approvals, ..options }
}

fn pauses(args: &RunArgs) -> Pauses {
    if args.work.no_wait { Pauses::Postpone } else { Pauses::Wait }
}

fn named_model(args: &RunArgs) -> Option<String> {
    args.model.clone().filter(|name| name != cofferdam::llm::select::AUTO)
}

/// What `--grant-requested` allows beyond plugins, before it happens.
fn tell_of_servers(workflow: &Workflow) {
    for (alias, server) in &workflow.document().servers {
        for line in server.explain() {
            terminal::tell(&paint::quiet(&format!("allowed: MCP server `{alias}` {line}")));
        }
    }
}

fn checked(workdir: PathBuf) -> Result<PathBuf, Failure> {
    match std::fs::metadata(&workdir) {
        Ok(metadata) if metadata.is_dir() => Ok(workdir),
        Ok(_) => {
            Err(Failure::usage(format!("the working directory `{}` is not a directory", terminal::name(&workdir))))
        }
        Err(error) => Err(Failure::usage(format!(
            "the working directory `{}` cannot be opened: {error}",
            terminal::name(&workdir)
        ))),
    }
}

pub(super) fn options(session: &Session, args: &RunArgs) -> anyhow::Result<RunOptions> {
    Ok(RunOptions {
        input: inputs::text(args.text.as_deref())?,
        inputs: inputs::named(&args.inputs)?,
        answers: inputs::answers(&args.answers)?,
        model: named_model(args),
        timeout: session.settings.timeout(),
        budget: args.work.budget.unwrap_or_default(),
        pauses: pauses(args),
        defer_approvals: args.work.defer_approvals,
        recall: args.memory.choice(),
        session: args.memory.session.clone(),
        coordinator: args.coordinator.clone().map(|model| model.map_or_else(Coordinator::default, Coordinator::new)),
        ..RunOptions::default()
    })
}

/// What a person should know before anything happens.
fn announce(workflow: &Workflow, models: &[String], stance: Option<String>) {
    for line in models {
        terminal::tell(&paint::quiet(&format!("model: {line}")));
    }
    if let Some(stance) = stance.filter(|_| model::has_agent_steps(workflow)) {
        terminal::tell(&paint::quiet(&stance));
    }
}

/// What becomes of calls that no rule is about, unless a person decides.
fn stance(flags: &GrantArgs, strict: bool, asks: bool, defers: bool) -> Option<String> {
    const WITHIN: &str = "models may call tools that stay within their step's directories";
    const READING: &str = "models may call tools that only read";
    const NEED: &str = "others need `--allow`";
    // What becomes of the others where a person could be asked and none is there.
    let others = if defers { "others wait for `cofferdam approve`, or need `--allow`" } else { NEED };
    Some(match (flags.yolo, flags.sandbox, strict) {
        (true, ..) => "yolo: models may call every tool that no rule denies".to_owned(),
        (false, true, true) => format!("strict sandbox: {WITHIN}; {NEED}"),
        (false, true, false) if asks => format!("sandbox: {WITHIN}"),
        (false, true, false) => format!("sandbox, and nobody to ask: {WITHIN}; {others}"),
        (false, false, true) => format!("strict: {READING}; {NEED}"),
        (false, false, false) if asks => return None,
        (false, false, false) => format!("nobody to ask: {READING}; {others}"),
    })
}

impl Start {
    async fn run(self, args: &RunArgs) -> anyhow::Result<Exit> {
        let (orchestrator, workflow) = (self.orchestrator.clone(), self.workflow.clone());
        let run = match &self.task {
            Task::New(options) => {
                let options = (**options).clone();
                tokio::spawn(async move { orchestrator.run_flow(&workflow, options).await })
            }
            Task::Again(recorded, options) => {
                let (run, options) = (recorded.run_id.clone(), options.clone());
                tokio::spawn(async move { orchestrator.resume_flow(&run, Some(&workflow), options).await })
            }
            Task::Branch(recorded, options) => {
                let (run, options, quiet) = (recorded.run_id.clone(), options.clone(), args.work.quiet);
                let branched = Arc::clone(&self.branched);
                tokio::spawn(async move {
                    let branch = orchestrator.branch(&run, Some(&workflow), &options).await?;
                    branched.get_or_init(|| branch.run_id.clone());
                    if !quiet {
                        fork::tell(&branch);
                    }
                    orchestrator.run_branch(branch, options.resume).await
                })
            }
        };
        let stopped = stop::until_end(run, &self.orchestrator, &self.stop).await;
        self.view.stop();
        let unstopped = matches!(stopped, stop::Ended::Itself(_, None));
        let ended = self.end(stopped, args);
        if unstopped {
            // However it ended, plugins that serve the host are told that nothing more comes.
            self.orchestrator.close().await;
        }
        ended
    }

    fn end(&self, stopped: stop::Ended, args: &RunArgs) -> anyhow::Result<Exit> {
        let (result, signal) = match stopped {
            stop::Ended::Itself(outcome, signal) => match (*outcome, signal) {
                (Ok(result), signal) => (result, signal),
                (Err(error), None) => return Err(self.failure(error).into()),
                // What the signal broke on its way, a plugin's compiler for instance, is no fault of its own.
                (Err(_), Some(signal)) => return Ok(stopped_early(signal)),
            },
            stop::Ended::Abandoned(signal) => return Ok(stopped_early(signal)),
        };
        self.conclude(&result, args)?;
        if let Some(tape) = &self.tape {
            recordings::conclude(tape, args.work.quiet)?;
        }
        if let Some(error) = self.view.failure() {
            return Err(Failure::failed(format!("the events cannot be written: {error}")).into());
        }
        Ok(Exit::of_result(&result, signal))
    }

    /// Why there is no result; of a run that is known already it speaks by its id.
    fn failure(&self, error: cofferdam::Error) -> Failure {
        let recorded = match &self.task {
            Task::New(_) => None,
            Task::Again(recorded, _) | Task::Branch(recorded, _) => Some(&recorded.run_id),
        };
        match self.branched.get().or(recorded) {
            Some(run) => Failure::of_run(run, error),
            None => Failure::from(error),
        }
    }

    /// Output to standard output, everything else to standard error, the run's id last.
    fn conclude(&self, result: &RunResult, args: &RunArgs) -> anyhow::Result<()> {
        if args.work.json.is_none() {
            terminal::print(&output(result)).context("the output cannot be written")?;
        }
        if args.work.quiet && result.success() {
            return Ok(());
        }
        let out = self.out(&result.run_id);
        let of_plugins = self.orchestrator.plugin_models();
        let not_language_models = model::not_language_models(&self.catalog, &of_plugins, &self.recap.models());
        let workdir = self.workdir.as_deref();
        let grants = &args.work.grants;
        let ending = Ending { result, out: &out, workdir, not_language_models: &not_language_models, grants };
        terminal::tell(&self.recap.render(&ending));
        Ok(())
    }

    fn out(&self, run: &RunId) -> PathBuf {
        self.runs.join(run.as_str()).join("out")
    }
}

fn stopped_early(signal: Signal) -> Exit {
    terminal::tell(&paint::warn("stopped before there was a result; `cofferdam runs list` shows whether it had begun"));
    signal.exit()
}

/// What the run returns, ending in a new line. A terminal gets it without control characters.
pub(super) fn output(result: &RunResult) -> String {
    let mut text = result.final_output();
    if terminal::is_read_by_a_person() {
        text.retain(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
