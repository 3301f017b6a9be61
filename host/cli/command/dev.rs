//! `dev`: what helps whoever develops workflows, tools and clients.

use crate::args::{DevCommand, ModelServerArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session;
use crate::terminal;
use crate::ui::table::{self, Wide};
use cofferdam_model_server::{ModelServer, Options, modes};
use serde_json::json;

pub(super) fn run(command: &DevCommand) -> anyhow::Result<Exit> {
    let DevCommand::ModelServer(args) = command;
    if args.modes {
        terminal::print(&listed())?;
        return Ok(Exit::Done);
    }
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(serve(args));
    runtime.shutdown_background();
    outcome
}

fn listed() -> String {
    let mut table = table::with_head(Wide::Break, &["MODEL", "WHAT IT DOES"]);
    for mode in modes() {
        table.add_row([mode.name, mode.about]);
    }
    table::render(&table)
}

/// Serves until it is interrupted.
async fn serve(args: &ModelServerArgs) -> anyhow::Result<Exit> {
    let server = ModelServer::start(Options { port: args.port, ..Options::default() })
        .await
        .map_err(|error| Failure::usage(format!("port {} cannot be listened on: {error}", args.port)))?;
    let port = server.address().port();
    terminal::print(&format!("{}\n", json!({ "base_url": server.base_url(), "root": server.root(), "port": port })))?;
    tokio::signal::ctrl_c().await?;
    Ok(Exit::Interrupted)
}
