//! `goal`: a model writes a plan, a person approves it, and it runs like every document.
//!
//! The plan is a file before it runs, so that nothing of it is lost and it can be run again.

use super::document::{self, Warnings};
use super::run::{self, Planned, Task};
use crate::args::{Global, GoalArgs, RunArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::settings;
use crate::terminal;
use crate::ui::paint;
use crate::ui::question::TerminalApprover;
use cofferdam::core::id::StepPath;
use cofferdam::core::port::{Answer, Approver as _, Question};
use cofferdam::sink::tokens;
use cofferdam::{GoalPlan, RunOptions};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio_util::sync::CancellationToken;

/// What becomes of a plan once it is made.
struct After {
    yes: bool,
    edit: bool,
    dry_run: bool,
    save: Option<PathBuf>,
}

pub(super) fn run(global: &Global, args: GoalArgs) -> anyhow::Result<Exit> {
    // Nothing is spent on a plan that nobody could approve.
    if !args.yes && !args.dry_run && !terminal::is_interactive() {
        return Err(Failure::usage("nobody is there to approve the plan")
            .with_hint("`--yes` runs it without asking, `--dry-run` only prints it")
            .into());
    }
    let after = After { yes: args.yes, edit: args.edit, dry_run: args.dry_run, save: args.save.clone() };
    let goal = args.goal.clone();
    let args = args.into_run();
    let session = Session::open(global, &settings::flags(&args))?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(reach(&session, &args, &goal, &after));
    // A thread that waits for a slow reader or for a person must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn reach(session: &Session, args: &RunArgs, goal: &str, after: &After) -> anyhow::Result<Exit> {
    let options = run::options(session, args)?;
    let plan = match run::plan(session, args, goal, options.clone()).await? {
        Planned::Made(plan) => plan,
        Planned::Stopped(exit) => return Ok(exit),
    };
    if after.dry_run {
        terminal::print(&plan.yaml)?;
        return Ok(Exit::Done);
    }
    let file = save(session, &plan, after.save.as_deref())?;
    if !args.work.quiet {
        tell(&plan, &file);
    }
    if after.edit {
        edit(&file)?;
    }
    let workflow = document::load(&file, Warnings::Show).inspect_err(|_| {
        terminal::tell(&format!("the plan is in `{0}`: repair it, and `cofferdam run {0}`", terminal::name(&file)));
    })?;
    if !after.yes && !approved(workflow.document().scope.steps.len()).await {
        let message = format!("the plan was not approved, and nothing of it ran; it is in `{}`", terminal::name(&file));
        return Err(Failure::failed(message).into());
    }
    let task = Task::New(with_goal(options, goal, &plan));
    // Keys and scripts of models are where the goal was given, not where plans are kept.
    run::start(session, args, (workflow, Path::new(".")), task).await
}

fn with_goal(mut options: RunOptions, goal: &str, plan: &GoalPlan) -> RunOptions {
    options.input = Some(goal.to_owned());
    options.metadata.insert("goal".to_owned(), json!(goal));
    options.metadata.insert("planned_by".to_owned(), json!(plan.run_id.as_str()));
    options
}

/// Keeps the plan, beside others of its name and never in their place.
fn save(session: &Session, plan: &GoalPlan, wanted: Option<&Path>) -> Result<PathBuf, Failure> {
    let unsaved = |path: &Path, error: std::io::Error| {
        Failure::failed(format!("the plan cannot be saved in `{}`: {error}", terminal::name(path)))
    };
    if let Some(path) = wanted {
        cofferdam::replace_through(path, &plan.yaml).map_err(|error| unsaved(path, error))?;
        return Ok(path.to_owned());
    }
    let folder = session.project.state().join("plans");
    std::fs::create_dir_all(&folder).map_err(|error| unsaved(&folder, error))?;
    let name = plan.workflow.name();
    let names = std::iter::once(format!("{name}.yaml")).chain((2_u32..).map(|number| format!("{name}-{number}.yaml")));
    for path in names.map(|name| folder.join(name)) {
        let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        match made.and_then(|mut file| std::io::Write::write_all(&mut file, plan.yaml.as_bytes())) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unsaved(&path, error)),
        }
    }
    Err(Failure::failed("the plan cannot be saved"))
}

fn tell(plan: &GoalPlan, file: &Path) {
    terminal::tell(plan.yaml.trim_end());
    let repaired = match plan.repairs {
        0 => String::new(),
        1 => ", repaired once".to_owned(),
        times => format!(", repaired {times} times"),
    };
    let spent = tokens(&plan.usage).map(|tokens| format!(", tokens {tokens}")).unwrap_or_default();
    terminal::tell(&paint::quiet(&format!("plan: {}{repaired}{spent}", terminal::name(file))));
}

async fn approved(steps: usize) -> bool {
    let question = Question {
        run_id: None,
        path: StepPath::ROOT,
        title: format!("Run this plan of {steps} step{}?", if steps == 1 { "" } else { "s" }),
        detail: String::new(),
        always: None,
    };
    let stop = CancellationToken::new();
    let approver = TerminalApprover::new(stop.clone());
    tokio::select! {
        answer = approver.ask(question) => matches!(answer, Answer::Yes | Answer::Always),
        _ = run::stop::next_signal() => false,
    }
}

fn edit(file: &Path) -> Result<(), Failure> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    let editor = editor.ok_or_else(|| {
        Failure::usage("no editor is known").with_hint("set `EDITOR`, or change the file and `cofferdam run` it")
    })?;
    // As a shell has it: `code --wait` is a program and its argument.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or_default();
    let status = Command::new(program).args(words).arg(file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("the editor `{editor}` ended with {status}; nothing ran"))),
        Err(error) => Err(Failure::usage(format!("the editor `{editor}` cannot be started: {error}"))),
    }
}
