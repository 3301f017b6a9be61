//! `plugin add`: a plugin is fetched, looked at and written down, so that runs need nothing but what is on this machine.
//!
//! Everything is found out before anything is written. It must not run the plugin but to ask what it is.

use super::entry::{self, Consent, Refusal, Wanted};
use super::{alias_of, look, sheet};
use crate::args::AddArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::registries::Speech;
use crate::session::Session;
use crate::settings::File;
use crate::terminal;
use cofferdam::core::id::Alias;
use cofferdam::core::policy::{Grants, PluginKind, parse_flag};
use cofferdam::plugin::{Digest, Inspection, PluginReference, Source};
use cofferdam::{Fetched, LockEntry, Orchestrator, Update, Wish, replace_through};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What is added, before it is known what it is.
struct Asked {
    alias: Alias,
    source: Source,
    /// As it is written down: a path is relative to the project.
    shown: String,
    consent: Consent,
}

/// What became of it.
struct Added {
    plugin: Inspection,
    fetched: Option<Fetched>,
    /// Whether `cofferdam.toml` was changed.
    is_written: bool,
    /// Whether `cofferdam.lock` was changed.
    is_locked: bool,
    grants: Grants,
}

pub(super) async fn run(session: &Session, args: &AddArgs) -> anyhow::Result<Exit> {
    let asked = Asked::of(session, args)?;
    let flagged = asked.flagged(&args.grant)?;
    let before = settings_text(session)?;
    entry::check(&before, &asked.alias, &asked.shown, asked.consent)
        .map_err(|refusal| asked.refused(session, refusal))?;
    let (orchestrator, fetched) = asked.fetch(session, args).await?;
    let reference = PluginReference {
        digest: fetched.as_ref().map(|fetched| Digest::parse(&fetched.digest)).transpose()?,
        ..PluginReference::new(asked.alias.clone(), asked.source.clone())
    };
    let mut plugin = look(session, reference).await?;
    let known = asked.known_grants(session);
    let requested = if args.grant_requested { plugin.smallest_grant.clone() } else { Grants::default() };
    let grants = known.union(&flagged).union(&requested);
    plugin.granted = grants.explain();
    plugin.missing = plugin.smallest_grant.missing_from(&grants).explain();
    let digest = plugin.digest.to_string();
    let (alias, source) = (&asked.alias, asked.shown.as_str());
    let wanted = Wanted { alias, source, digest: &digest, grants: Some(&grants).filter(|grants| **grants != known) };
    entry::write(&before, &wanted, asked.consent).map_err(|refusal| asked.refused(session, refusal))?;
    let manifest = fetched.as_ref().and_then(|fetched| fetched.manifest.clone());
    let in_lock = orchestrator.source_of(session.project.root(), &asked.shown);
    let locked = LockEntry { manifest, ..LockEntry::of_inspection(&asked.alias, &plugin, in_lock) };
    asked.check_lock(session, &orchestrator, &locked)?;
    // First what may be refused: nothing is approved that is not added.
    let is_written = asked.write(session, &wanted)?;
    let is_locked = orchestrator.approve_plugin(&locked).map_err(Failure::from)?;
    let added = Added { plugin, fetched, is_written, is_locked, grants };
    asked.show(session, &added, args.json)?;
    Ok(Exit::Done)
}

impl Asked {
    fn of(session: &Session, args: &AddArgs) -> Result<Self, Failure> {
        let source = super::source(&args.source)?;
        let alias = match &args.alias {
            Some(alias) => Alias::parse(alias).map_err(|error| Failure::usage(format!("--as {alias}: {error}")))?,
            None => alias_of(&args.source),
        };
        let shown = match &source {
            Source::File { path, .. } => relative_to(session.project.root(), path),
            other => other.to_string(),
        };
        let consent = Consent { other_source: args.force, other_digest: args.update || args.force };
        Ok(Self { alias, source, shown, consent })
    }

    /// What the project grants it already. What another plugin of the name may do is not for this one.
    fn known_grants(&self, session: &Session) -> Grants {
        let is_it = |file: &&File| file.plugins.get(&self.alias).is_none_or(|listed| listed.source == self.shown);
        let files = session.settings.files.iter().filter(is_it);
        files.filter_map(|file| file.grants.get(&self.alias)).fold(Grants::default(), |sum, grants| sum.union(grants))
    }

    /// What the flags grant; each is for this plugin.
    fn flagged(&self, flags: &[String]) -> Result<Grants, Failure> {
        let mut granted = Grants::default();
        for flag in flags {
            let (alias, grants) = parse_flag(flag).map_err(|error| {
                let failure = Failure::usage(format!("--grant {flag}: {error}"));
                error.hint.iter().cloned().fold(failure, Failure::with_hint)
            })?;
            if alias != self.alias {
                let message = format!("the grant is for `{alias}`, and this plugin is `{}`", self.alias);
                let hint = format!("write `{}:...`, or name the plugin with `--as {alias}`", self.alias);
                return Err(Failure::usage(message).with_hint(hint));
            }
            granted = granted.union(&grants);
        }
        Ok(granted)
    }

    /// Gets the component of a registry onto this machine.
    async fn fetch(&self, session: &Session, args: &AddArgs) -> anyhow::Result<(Orchestrator, Option<Fetched>)> {
        let Source::Registry(reference) = &self.source else {
            return Ok((session.orchestrator().build().map_err(Failure::from)?, None));
        };
        let speech = Speech::typed(session, reference, &args.registry)?;
        let orchestrator = session.orchestrator().registries(speech.registries()).build().map_err(Failure::from)?;
        let update = if self.consent.other_digest { Update::Take } else { Update::Keep };
        let wish = Wish { alias: Some(&self.alias), digest: None, update };
        let fetched = orchestrator.fetch(reference, wish).await.map_err(|error| speech.failure(error))?;
        match fetched.is_fresh {
            true => terminal::tell("compiling, which is done once"),
            false => terminal::tell("it is on this machine already, as it is locked"),
        }
        Ok((orchestrator, Some(fetched)))
    }

    /// A component that is locked is replaced only by somebody who says so.
    fn check_lock(&self, session: &Session, orchestrator: &Orchestrator, now: &LockEntry) -> Result<(), Failure> {
        let known = orchestrator.approved_plugin(Some(&self.alias), &now.source).map_err(Failure::from)?;
        match known.filter(|known| known.digest != now.digest && !self.consent.other_digest) {
            Some(known) => Err(self.refused(session, Refusal::Digest(known.digest))),
            None => Ok(()),
        }
    }

    /// Writes the plugin into the project's settings as they are now: others may have changed them meanwhile.
    fn write(&self, session: &Session, wanted: &Wanted<'_>) -> anyhow::Result<bool> {
        let alone = cofferdam::alone_in(session.project.root());
        let _alone =
            alone.map_err(|error| Failure::failed(format!("the project's folder cannot be locked: {error}")))?;
        let before = settings_text(session)?;
        let after = entry::write(&before, wanted, self.consent).map_err(|refusal| self.refused(session, refusal))?;
        // The lines end as they did.
        let after = if before.contains("\r\n") { after.replace("\r\n", "\n").replace('\n', "\r\n") } else { after };
        if after != before {
            write_settings(session, &after)?;
        }
        Ok(after != before)
    }

    fn refused(&self, session: &Session, refusal: Refusal) -> Failure {
        let (alias, file) = (&self.alias, terminal::name(&session.project.settings_file()));
        match refusal {
            Refusal::Source(other) => Failure::usage(format!("`{alias}` is `{other}` in `{file}`"))
                .with_hint("give this one another name with `--as NAME`, or replace the other with `--force`"),
            Refusal::Digest(other) => {
                Failure::usage(format!("`{alias}` is another component: {other} is written down"))
                    .with_hint("look at it with `cofferdam plugin inspect`; `--update` takes it")
            }
            Refusal::Form(reason) => Failure::usage(format!("`{file}` cannot take the plugin: {reason}")),
        }
    }

    fn show(&self, session: &Session, added: &Added, json: bool) -> anyhow::Result<()> {
        let (alias, plugin) = (&self.alias, &added.plugin);
        if json {
            let value = json!({
                "alias": alias.as_str(),
                "source": self.shown,
                "digest": plugin.digest,
                "manifest": added.fetched.as_ref().and_then(|fetched| fetched.manifest.as_ref()),
                "fetched": added.fetched.as_ref().is_some_and(|fetched| fetched.is_fresh),
                "granted": added.grants.explain(),
                "settings": { "path": session.project.settings_file(), "changed": added.is_written },
                "lock": { "path": session.project.lock_file(), "changed": added.is_locked },
                "plugin": plugin,
            });
            terminal::print(&format!("{value}\n"))?;
            return Ok(());
        }
        terminal::print(&sheet::render(alias, plugin))?;
        for line in added.grants.explain() {
            terminal::tell(&format!("`{alias}` may {line}"));
        }
        for (path, changed) in
            [(session.project.settings_file(), added.is_written), (session.project.lock_file(), added.is_locked)]
        {
            let said = if changed { "was written" } else { "is as it was" };
            terminal::tell(&format!("{} {said}", terminal::name(&path)));
        }
        for line in self.uses(&plugin.kinds) {
            terminal::tell(&line);
        }
        Ok(())
    }

    /// How each of its kinds is used.
    fn uses(&self, kinds: &[PluginKind]) -> Vec<String> {
        let (alias, has) = (&self.alias, |kind| kinds.contains(&kind));
        let mut lines = Vec::new();
        if has(PluginKind::Tool) || has(PluginKind::Transform) || has(PluginKind::Condition) {
            lines.push(format!("documents use it as `plugins: {{ {alias}: \"{}\" }}`", self.shown));
        }
        if has(PluginKind::Sink) {
            lines.push(format!("`sinks = [\"plugin:{alias}\"]` in `[run]` has it take the events of runs"));
        }
        if has(PluginKind::Storage) {
            lines.push(format!("`storage = \"plugin:{alias}\"` in `[run]` has it keep the runs"));
        }
        if has(PluginKind::Model) {
            lines.push(format!("`model: plugin:{alias}/MODEL` has it answer conversations"));
        }
        lines
    }
}

/// The text of the project's settings; empty when there are none.
fn settings_text(session: &Session) -> Result<String, Failure> {
    let path = session.project.settings_file();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::usage(format!("`{}` cannot be read: {error}", terminal::name(&path)))),
    }
}

/// Writes the project's settings beside themselves first, so that nobody ever reads half of them.
fn write_settings(session: &Session, text: &str) -> anyhow::Result<()> {
    let shown = session.project.settings_file();
    File::check(&shown, text).map_err(|found| Failure::findings(Exit::Failed, found))?;
    replace_through(&shown, text)
        .map_err(|error| Failure::failed(format!("`{}` cannot be written: {error}", terminal::name(&shown))))?;
    Ok(())
}

/// A path as the project's file writes it: relative where it is inside, whole where it is not.
fn relative_to(root: &Path, path: &Path) -> String {
    let absolute = |path: &Path| -> PathBuf {
        path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
    };
    let (root, path) = (absolute(root), absolute(path));
    match path.strip_prefix(root) {
        Ok(inside) => format!("./{}", inside.display()),
        Err(_) => path.display().to_string(),
    }
}
