//! `plugin`: what plugins are, want and may do, before one lets them run; and the tools of their authors.

mod add;
mod build;
mod call;
mod check;
mod dev;
mod doctor;
mod entry;
mod new;
mod push;
mod record;
mod script;
mod sdk;
mod sheet;
mod test;
mod trace;

use super::document::{self, Warnings};
use crate::args::{Global, InspectArgs, LockArgs, PluginCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::registries::Speech;
use crate::session::{self, Session};
use crate::terminal;
use crate::ui::table::{self, Wide};
use cofferdam::core::id::Alias;
use cofferdam::core::oci::Reference;
use cofferdam::core::policy::Grants;
use cofferdam::plugin::{Digest, Inspection, LoadError, PluginReference, Source, builtin};
use cofferdam::sink::{bytes, clean};
use cofferdam::{LockEntry, Update};
use std::path::Path;

pub(super) fn run(global: &Global, command: PluginCommand) -> anyhow::Result<Exit> {
    let command = match command {
        PluginCommand::New(args) => return new::run(&args),
        other => other,
    };
    let session = Session::open(global, &[])?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(async {
        match command {
            PluginCommand::Inspect(args) => inspect(&session, &args).await,
            PluginCommand::Lock(args) => lock(&session, &args).await,
            PluginCommand::Add(args) => add::run(&session, &args).await,
            PluginCommand::Push(args) => push::run(&session, &args).await,
            PluginCommand::Doctor(args) => doctor::run(&session, &args).await,
            PluginCommand::List(args) => list(&session, args.json).await,
            PluginCommand::Check(args) => check::run(&session, &args).await,
            PluginCommand::Call(args) => call::run(&session, &args).await,
            PluginCommand::Build(args) => build::run(&session, &args).await,
            PluginCommand::Dev(args) => dev::run(&session, &args).await,
            PluginCommand::Test(args) => test::run(&args).await,
            PluginCommand::New(args) => new::run(&args),
        }
    });
    runtime.shutdown_background();
    outcome
}

async fn inspect(session: &Session, args: &InspectArgs) -> anyhow::Result<Exit> {
    let source = source(&args.source)?;
    let alias = named_or_made(args.alias.as_deref(), &args.source)?;
    let policy = session.grants(&args.grant)?;
    if let Some(stray) = policy.flagged().find(|flagged| **flagged != alias) {
        let hint = format!("write `{alias}:...`, or name the plugin with `--alias {stray}`");
        return Err(Failure::usage(format!("the grant is for `{stray}`, and this plugin is `{alias}`"))
            .with_hint(hint)
            .into());
    }
    let host = session.orchestrator().build().map_err(Failure::from)?;
    let policy = session.grants_for(&host, &policy, &alias, &host.source_of(Path::new(""), &args.source));
    let mut reference = PluginReference::new(alias.clone(), source);
    reference.granted = policy.effective(&alias, &Grants::default(), &Grants::default());
    reference.name_of = policy.whose(&alias);
    reference.trust = policy.trust(&alias);
    let inspection = look(session, reference).await?;
    if args.json {
        terminal::print(&format!("{}\n", serde_json::to_string_pretty(&inspection)?))?;
    } else {
        terminal::print(&sheet::render(&alias, &inspection))?;
    }
    Ok(Exit::Done)
}

/// A source that was typed.
fn source(text: &str) -> Result<Source, Failure> {
    Source::parse(text, Path::new("")).map_err(|error| {
        let failure = Failure::usage(error.to_string());
        error.hint().map(str::to_owned).into_iter().fold(failure, Failure::with_hint)
    })
}

async fn look(session: &Session, reference: PluginReference) -> anyhow::Result<Inspection> {
    look_with(session, reference).await?.map_err(|error| {
        let fault = error.to_fault();
        let failure = Failure::invalid(fault.message);
        match fault.hint {
            Some(hint) => failure.with_hint(hint).into(),
            None => failure.into(),
        }
    })
}

/// Takes a plugin apart, or says why it cannot be loaded.
async fn look_with(session: &Session, mut reference: PluginReference) -> anyhow::Result<Result<Inspection, LoadError>> {
    let orchestrator = session.orchestrator().build().map_err(Failure::from)?;
    if let (Source::Registry(artifact), None) = (&reference.source, reference.digest) {
        let known = orchestrator.approved_plugin(None, &artifact.to_string()).map_err(Failure::from)?;
        reference.digest = known.map(|known| Digest::parse(&known.digest)).transpose()?;
    }
    Ok(orchestrator.plugins().inspect(reference).await)
}

async fn lock(session: &Session, args: &LockArgs) -> anyhow::Result<Exit> {
    let speech = Speech::of_documents(session);
    let builder = session.with_storage(session.orchestrator().registries(speech.registries()), &args.grant)?;
    let builder = session.with_models(session.with_sinks(builder, &args.sinks, &args.grant)?, &args.grant)?;
    let orchestrator = builder.build().map_err(Failure::from)?;
    let update = if args.update { Update::Take } else { Update::Keep };
    let (services, mut any) = orchestrator.lock_services().await.map_err(Failure::from)?;
    if args.files.is_empty() && services.is_empty() {
        let hint = "name a document, or set a storage or a sink in `[run]` of `cofferdam.toml`";
        return Err(Failure::usage("there is no plugin to approve").with_hint(hint).into());
    }
    let mut locked = vec![services];
    for file in &args.files {
        let workflow = document::load(file, Warnings::Hide)?;
        let (entries, changed) =
            orchestrator.lock_plugins(&workflow, update).await.map_err(|error| speech.failure(error))?;
        any |= changed;
        locked.push(entries);
    }
    let mut other = None;
    for entries in locked {
        for entry in entries {
            let line = format!("{} {} {} {}\n", entry.alias, entry.source, entry.digest, entry.name);
            terminal::print(&line)?;
            other = other.or_else(|| pinned_otherwise(session, &entry));
        }
    }
    let path = session.project.lock_file();
    let said = if any { "was written" } else { "is as it was" };
    terminal::tell(&format!("{} {said}", terminal::name(&path)));
    if let Some(other) = other {
        return Err(other.into());
    }
    Ok(Exit::Done)
}

/// What is wrong when the project's settings pin another component than the one that is locked now: no run could take either.
fn pinned_otherwise(session: &Session, entry: &LockEntry) -> Option<Failure> {
    let alias = Alias::parse(&entry.alias).ok()?;
    let listed = session.listed().get(&alias).copied().filter(|listed| listed.source == entry.source)?;
    let pinned = listed.digest.as_ref().filter(|digest| !digest.eq_ignore_ascii_case(&entry.digest))?;
    let file = terminal::name(&session.project.settings_file());
    let message = format!("`{alias}` is locked as {} and pinned as {pinned} in `{file}`", entry.digest);
    let hint = format!("`cofferdam plugin add {} --as {alias} --update` changes both", entry.source);
    Some(Failure::invalid(message).with_hint(hint))
}

/// The name that was given, else one made from the source.
fn named_or_made(given: Option<&str>, source: &str) -> Result<Alias, Failure> {
    match given {
        Some(given) => Alias::parse(given).map_err(|error| Failure::usage(error.to_string())),
        None => Ok(alias_of(source)),
    }
}

/// A name made from the source: what it is called in grants.
fn alias_of(source: &str) -> Alias {
    let registry = Reference::parse(source).ok();
    let stem = source.strip_prefix("builtin:").unwrap_or(source);
    // The last part of a repository, whose dots are no ending of a file.
    let stem = registry.as_ref().map_or_else(|| stem.to_owned(), |registry| registry.name().replace('.', "-"));
    let stem = Path::new(&stem).file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut letters: String =
        stem.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    letters.truncate(30);
    Alias::parse(&letters).unwrap_or_else(|_| Alias::parse("plugin").expect("`plugin` follows the grammar"))
}

async fn list(session: &Session, json: bool) -> anyhow::Result<Exit> {
    let mut rows = table::with_head(Wide::Break, &["PLUGIN", "VERSION", "SIZE", "SUMMARY"]);
    for builtin in builtin::ALL {
        let source = format!("builtin:{}", builtin.name);
        let reference = PluginReference::new(alias_of(&source), Source::Builtin(builtin.name.to_owned()));
        let plugin = look(session, reference).await?;
        if json {
            terminal::print(&format!("{}\n", serde_json::to_string(&plugin)?))?;
            continue;
        }
        let size = bytes(plugin.history.size_bytes as u64);
        rows.add_row([source, plugin.about.version.clone(), size, clean(&plugin.about.summary, 100)]);
    }
    if !json {
        terminal::print(&table::render(&rows))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_a_name_for_grants() {
        for (source, expected) in [
            ("builtin:secrets-scan", "secrets-scan"),
            ("./My Tool.wasm", "my-tool"),
            ("/x/9.wasm", "plugin"),
            ("oci://ghcr.io/acme/git.hub:1.4.2", "git-hub"),
        ] {
            assert_eq!(alias_of(source).as_str(), expected);
        }
    }
}
