//! `plugin dev`: builds the plugin of a folder, calls or tests it, and does so again whenever a source changes. A plugin
//! that does not build is no end: the next change may mend it.

mod sources;
mod watch;

use super::{build, call, check, test, trace};
use crate::args::{CallArgs, DevArgs, TestFormat};
use crate::command::run::stop::next_signal;
use crate::command::test::machine;
use crate::exit::Exit;
use crate::failure::{self, Audience, Failure};
use crate::session::Session;
use crate::terminal;
use crate::ui::paint;
use anyhow::Context as _;
use cofferdam::testing::Machine;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(super) async fn run(session: &Session, args: &DevArgs) -> anyhow::Result<Exit> {
    if !args.dir.is_dir() {
        let message = format!("there is no folder `{}`", terminal::name(&args.dir));
        return Err(Failure::usage(message).with_hint("`cofferdam plugin new NAME` writes a plugin").into());
    }
    let mut watched = watch::Watched::start(&args.dir);
    let watching = watch::rounds(&mut watched, async |changed: &[PathBuf]| {
        if let Err(error) = round(session, args, changed).await {
            failure::report(&error, Audience::Person);
        }
        terminal::tell(&paint::quiet("waiting for changes; Ctrl-C ends"));
    });
    tokio::select! {
        biased;
        signal = next_signal() => Ok(signal?.exit()),
        () = watching => Err(Failure::failed("nobody tells of changes any more").into()),
    }
}

/// Builds, checks, and calls or tests.
async fn round(session: &Session, args: &DevArgs, changed: &[PathBuf]) -> anyhow::Result<()> {
    if let Some(first) = changed.first() {
        let more = if changed.len() > 1 { format!(" and {} more", changed.len() - 1) } else { String::new() };
        terminal::tell(&format!("{} {}{more}", paint::strong("changed"), terminal::name(first)));
    }
    let (began, dir) = (Instant::now(), args.dir.clone());
    // Cargo takes its time, and nobody else may wait for it.
    let built = tokio::task::spawn_blocking(move || build::build(&dir)).await.context("the build ended")?;
    let component = built?.display().to_string();
    let took = began.elapsed().as_secs_f64();
    terminal::tell(&format!("{} {component} in {took:.1} s", paint::good("built")));
    let checked = check::check(session, &component).await?;
    terminal::tell(checked.sheet(&component).trim_end());
    checked.tell();
    if checked.exit() == Exit::Invalid && checked.plugin.is_none() {
        return Ok(());
    }
    match &args.call {
        Some(tool) => _ = call::run(session, &call_args(args, &component, tool)).await?,
        None => tests(args).await?,
    }
    Ok(())
}

fn call_args(args: &DevArgs, component: &str, tool: &str) -> CallArgs {
    CallArgs {
        source: component.to_owned(),
        tool: tool.to_owned(),
        args: args.args.clone(),
        config: args.config.clone(),
        alias: args.alias.clone(),
        grant: args.grant.clone(),
        workdir: args.workdir.clone(),
        trace: true,
        json: false,
    }
}

async fn tests(args: &DevArgs) -> anyhow::Result<()> {
    let files = if args.test.is_empty() { test::below(&args.dir)? } else { args.test.clone() };
    if files.is_empty() {
        let hint = "name a tool with `--call`, or write a file `NAME.plugin-test.yaml`";
        terminal::tell(&format!("there is nothing to run after a build: {hint}"));
        return Ok(());
    }
    let machine = Machine { tap: Some(trace::tap()), ..machine() };
    test::run_files(&files, None, TestFormat::Text, &machine).await?;
    Ok(())
}

/// How a file of the folder is shown: without what all of them begin with.
fn shown(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}
