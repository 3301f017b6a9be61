//! `completions`: a script that completes this program's command line.

use crate::args::Cli;
use crate::exit::Exit;
use crate::terminal;
use clap::CommandFactory as _;
use clap_complete::Shell;

pub(super) fn run(shell: Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cofferdam", &mut script);
    terminal::print(&String::from_utf8(script)?)?;
    Ok(Exit::Done)
}
