//! `goal`: a model writes a plan, a person approves it, and it runs like every document.
//!
//! The plan is a file before it runs, so that nothing of it is lost and it can be run again.

use super::document::{self, Warnings};
use super::run::{self, Planned, Task};
use crate::args::{Global, GoalArgs, RunArgs};
use crate::environment;
use crate::exit::{Exit, Signal};
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::settings;
use crate::terminal;
use crate::ui::paint;
use crate::ui::question::TerminalApprover;
use cofferdam::core::port::{Answer, Approver as _, Question};
use cofferdam::sink::spent;
use cofferdam::{GoalPlan, Workflow};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio_util::sync::CancellationToken;

/// Most characters of a plan's name that are in its file's.
const NAME_CHARS: usize = 64;

/// What becomes of a plan once it is made.
struct After {
    yes: bool,
    edit: bool,
    dry_run: bool,
    save: Option<PathBuf>,
    editor: Option<String>,
}

pub(super) fn run(global: &Global, args: GoalArgs) -> anyhow::Result<Exit> {
    let after = After {
        yes: args.yes,
        edit: args.edit,
        dry_run: args.dry_run,
        save: args.save.clone(),
        editor: ["VISUAL", "EDITOR"].into_iter().find_map(environment::variable),
    };
    if args.goal.trim().is_empty() {
        return Err(Failure::usage("there is no goal to plan for")
            .with_hint("write `cofferdam goal \"Compare the two notes in this folder\"`")
            .into());
    }
    // Nothing is spent on a plan that nobody could approve, change or keep.
    after.check()?;
    let goal = args.goal.clone();
    let args = args.into_run();
    let session = Session::open(global, &settings::flags(&args))?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(reach(&session, &args, &goal, &after));
    // A thread that waits for a slow reader or for a person must not hold up the end.
    runtime.shutdown_background();
    outcome
}

impl After {
    fn check(&self) -> Result<(), Failure> {
        if !self.yes && !self.dry_run && !terminal::is_interactive() {
            return Err(Failure::usage("nobody is there to approve the plan")
                .with_hint("`--yes` runs it without asking, `--dry-run` only prints it"));
        }
        if self.edit && self.editor.is_none() {
            return Err(Failure::usage("no editor is known")
                .with_hint("set `EDITOR`, or take the plan of `--dry-run`, change it and `cofferdam run` it"));
        }
        let Some(path) = self.save.as_deref() else { return Ok(()) };
        let shown = terminal::name(path);
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(
                Failure::usage(format!("`{shown}` exists already")).with_hint("save the plan under another name")
            );
        }
        match document::directory(path).is_dir() {
            true => Ok(()),
            false => Err(Failure::usage(format!("there is no folder for `{shown}`")).with_hint("make it first")),
        }
    }
}

async fn reach(session: &Session, args: &RunArgs, goal: &str, after: &After) -> anyhow::Result<Exit> {
    let options = run::options(session, args)?;
    let plan = match run::plan(session, args, goal, options.clone()).await? {
        Planned::Made(plan) => plan,
        Planned::Stopped(exit) => return Ok(exit),
    };
    if after.dry_run {
        terminal::print(&printed(&plan, args.work.json.is_some()))?;
        return Ok(Exit::Done);
    }
    // Who is asked about it sees it.
    if !args.work.quiet || !after.yes {
        terminal::tell(plan.yaml.trim_end());
    }
    let file = save(session, &plan, after.save.as_deref())?;
    if !args.work.quiet {
        terminal::tell(&paint::quiet(&about(&plan, &file)));
    }
    if let Some(editor) = after.editor.as_ref().filter(|_| after.edit) {
        edit(editor, &file)?;
    }
    let workflow = load(&file)?;
    if !after.yes {
        match approved(&plan, &workflow).await? {
            Approved::Yes => {}
            Approved::No => {
                let message =
                    format!("the plan was not approved, and nothing of it ran; it is in `{}`", terminal::name(&file));
                return Err(Failure::failed(message).into());
            }
            Approved::Stopped(signal) => return Ok(signal.exit()),
        }
    }
    run::start(session, args, (workflow, Path::new(".")), Task::New(Box::new(plan.options(goal, options)))).await
}

/// The plan as it is printed where nothing of it runs.
fn printed(plan: &GoalPlan, json: bool) -> String {
    match json {
        true => format!("{}\n", json!({ "plan": plan.yaml, "planned_by": plan.run_id, "repairs": plan.repairs })),
        false => plan.yaml.clone(),
    }
}

/// The plan as it is in its file. It names no other files, and runs where the goal was given: its folder has no part in it.
fn load(file: &Path) -> Result<Workflow, Failure> {
    document::load(file, Warnings::Show).inspect_err(|_| {
        terminal::tell(&format!("the plan is in `{0}`: repair it, and `cofferdam run {0}`", terminal::name(file)));
    })?;
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::failed(format!("the plan in `{}` cannot be read: {error}", terminal::name(file))))?;
    Ok(Workflow::parse(&text, ".")?)
}

/// Keeps the plan, beside others of its name and never in the place of another file.
fn save(session: &Session, plan: &GoalPlan, wanted: Option<&Path>) -> Result<PathBuf, Failure> {
    let unsaved = |path: &Path, error: std::io::Error| {
        Failure::failed(format!("the plan cannot be saved in `{}`: {error}", terminal::name(path)))
    };
    if let Some(path) = wanted {
        return write_new(path, &plan.yaml).map(|()| path.to_owned()).map_err(|error| unsaved(path, error));
    }
    let folder = session.project.state().join("plans");
    let is_link = std::fs::symlink_metadata(&folder).is_ok_and(|found| found.is_symlink());
    if is_link {
        return Err(unsaved(&folder, std::io::Error::other("it is a link")));
    }
    std::fs::create_dir_all(&folder).map_err(|error| unsaved(&folder, error))?;
    let stem = stem(plan.workflow.name());
    let names = std::iter::once(format!("{stem}.yaml")).chain((2_u32..).map(|number| format!("{stem}-{number}.yaml")));
    for path in names.map(|name| folder.join(name)) {
        match write_new(&path, &plan.yaml) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unsaved(&path, error)),
        }
    }
    Err(Failure::failed("the plan cannot be saved"))
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

/// The name of a plan as that of a file: a model wrote it, and may have written anything.
fn stem(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().take(NAME_CHARS).map(plain).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "plan".to_owned() } else { name.to_owned() }
}

/// Where a plan is, and what it took.
fn about(plan: &GoalPlan, file: &Path) -> String {
    let repaired = match plan.repairs {
        0 => String::new(),
        1 => ", repaired once".to_owned(),
        times => format!(", repaired {times} times"),
    };
    let spent = spent(&plan.usage, plan.cost.total).map(|spent| format!(", tokens {spent}")).unwrap_or_default();
    format!("plan: {}{repaired}{spent}", terminal::name(file))
}

/// What was said of a plan.
enum Approved {
    Yes,
    No,
    Stopped(Signal),
}

async fn approved(plan: &GoalPlan, workflow: &Workflow) -> anyhow::Result<Approved> {
    let now = GoalPlan { workflow: workflow.clone(), ..plan.clone() };
    // It was shown before.
    let question = Question { detail: String::new(), ..now.question() };
    let approver = TerminalApprover::new(CancellationToken::new());
    tokio::select! {
        answer = approver.ask(question) => Ok(match answer {
            Answer::Yes | Answer::Always => Approved::Yes,
            Answer::No(_) | Answer::Nobody => Approved::No,
        }),
        signal = run::stop::next_signal() => Ok(Approved::Stopped(signal?)),
    }
}

fn edit(editor: &str, file: &Path) -> Result<(), Failure> {
    // As a shell has it: `code --wait` is a program and its argument.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or_default();
    let kept = format!("the plan is in `{}`", terminal::name(file));
    match Command::new(program).args(words).arg(file).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(Failure::failed(format!("the editor `{editor}` ended with {status}; nothing ran")).with_hint(kept))
        }
        Err(error) => Err(Failure::usage(format!("the editor `{editor}` cannot be started: {error}")).with_hint(kept)),
    }
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn a_plan_is_kept_under_a_plain_name() {
        for (name, wanted) in [
            ("two-notes", "two-notes"),
            ("../../x", "x"),
            ("/tmp/owned", "tmp-owned"),
            ("..", "plan"),
            ("Über die See", "ber-die-see"),
            ("", "plan"),
        ] {
            assert_eq!(stem(name), wanted, "{name}");
        }
        assert_eq!(stem(&"x".repeat(300)).len(), super::NAME_CHARS);
    }
}
