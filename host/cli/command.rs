//! The commands: each calls the library and shows what it says.

mod agent;
mod completions;
mod config;
mod dev;
mod doctor;
mod document;
mod explain;
mod fork;
mod goal;
mod init;
mod limits;
mod memory;
mod models;
mod permissions;
mod plan;
mod plugin;
mod replay;
mod resume;
mod run;
mod runs;
mod schema;
mod sinks;
mod test;
mod tools;
mod validate;

use crate::args::{
    Cli, Command, ConfigCommand, FindingForm, ModelsCommand, PlanFormat, PluginCommand, TestFormat, ToolsCommand,
};
use crate::exit::Exit;
use crate::failure::{self, Audience};
use crate::log::{self, Guests};
use crate::terminal;

/// Runs a command to its end.
pub(crate) fn run(cli: Cli) -> Exit {
    terminal::set_color(cli.global.color);
    let audience = audience(&cli.command);
    let outcome =
        log::start(&cli.global, guests(&cli.command)).map_err(anyhow::Error::from).and_then(|()| dispatch(cli));
    outcome.unwrap_or_else(|error| failure::report(&error, audience))
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let global = cli.global;
    match cli.command {
        Command::Run(args) => run::run(&global, &args),
        Command::Agent(args) => agent::run(&global, *args),
        Command::Goal(args) => goal::run(&global, *args),
        Command::Resume(args) => resume::resume(&global, *args),
        Command::Fork(args) => fork::fork(&global, *args),
        Command::Answer(args) => resume::answer(&global, *args),
        Command::Approve(args) => resume::approve(&global, *args),
        Command::Replay(args) => replay::run(&global, &args),
        Command::Validate(args) => validate::run(&global, &args),
        Command::Test(args) => test::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Plugin(command) => plugin::run(&global, command),
        Command::Runs(command) => runs::run(&global, command),
        Command::Memory(command) => memory::run(&global, &command),
        Command::Tools(command) => tools::run(&global, &command),
        Command::Permissions(command) => permissions::run(&global, &command),
        Command::Sinks(command) => sinks::run(&global, &command),
        Command::Init(args) => init::run(&args),
        Command::Schema => schema::run(),
        Command::Config(ConfigCommand::Show { origin, json }) => config::run(&global, origin, json),
        Command::Doctor(args) => doctor::run(&global, &args),
        Command::Models(command) => models::run(&global, &command),
        Command::Dev(command) => dev::run(&command),
        Command::Completions { shell } => completions::run(shell),
        Command::Limits(args) => limits::run(args.json),
        Command::Explain { code } => explain::run(&code),
    }
}

/// Whether what plugins log is shown: whoever calls one wants to see it.
fn guests(command: &Command) -> Guests {
    match command {
        Command::Plugin(PluginCommand::Call(_)) => Guests::Loud,
        _ => Guests::AsAll,
    }
}

/// Who reads the reason when the command stops.
fn audience(command: &Command) -> Audience {
    let json = match command {
        Command::Run(args) => args.work.audience() == Audience::Machine,
        Command::Agent(args) => args.work.audience() == Audience::Machine,
        Command::Goal(args) => args.work.audience() == Audience::Machine,
        Command::Resume(args) => args.how.work.audience() == Audience::Machine,
        Command::Fork(args) => args.how.work.audience() == Audience::Machine,
        Command::Answer(args) => args.how.work.audience() == Audience::Machine,
        Command::Approve(args) => args.how.work.audience() == Audience::Machine,
        Command::Replay(args) => args.json,
        Command::Validate(args) => args.form() == FindingForm::Json,
        Command::Test(args) => args.json || args.format == TestFormat::Json,
        Command::Plan(args) => args.format == PlanFormat::Json,
        Command::Plugin(command) => command.json(),
        Command::Doctor(args) => args.json,
        Command::Limits(args) => args.json,
        Command::Models(ModelsCommand::List(args)) => args.json,
        Command::Runs(command) => command.json(),
        Command::Memory(command) => command.json(),
        Command::Tools(ToolsCommand::List(args)) => args.json,
        Command::Permissions(command) => command.json(),
        Command::Sinks(command) => command.shared().json,
        Command::Config(ConfigCommand::Show { json, .. }) => *json,
        Command::Dev(_)
        | Command::Init(_)
        | Command::Schema
        | Command::Completions { .. }
        | Command::Explain { .. } => false,
    };
    if json { Audience::Machine } else { Audience::Person }
}
