//! The command line: the only place that prints and that reads the environment.
//!
//! It must not run anything by itself: every command goes through the library's `Orchestrator`. Reading order:

mod args;
mod exit;
mod services;
mod session;

mod command;

mod environment;
mod project;
mod registries;
mod settings;

mod failure;
mod local_time;
mod log;
mod terminal;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The children limit themselves and must not carry what the command line brings along.
    let first = std::env::args_os().nth(1).unwrap_or_default();
    if first == session::COMPILE_CHILD {
        return cofferdam::plugin::compile_child::main();
    }
    if first == session::EXEC_CHILD {
        return cofferdam::confined_command();
    }
    let exit = match args::parse() {
        Ok(cli) => command::run(cli),
        Err(refusal) => args::refuse(&refusal),
    };
    exit.into()
}
