//! `plugin push`: a component is checked and put into a registry. It must not push what `plugin check` finds errors in.

use super::check;
use crate::args::PushArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::registries::Speech;
use crate::session::Session;
use crate::terminal;
use cofferdam::core::oci::Reference;
use cofferdam::plugin::Digest;
use cofferdam::sink::bytes;
use serde_json::json;

pub(super) async fn run(session: &Session, args: &PushArgs) -> anyhow::Result<Exit> {
    let reference = target(&args.reference)?;
    let speech = Speech::typed(session, &reference, &args.registry)?;
    let shown = args.file.display().to_string();
    if !args.file.is_file() {
        let message = format!("there is no file `{}`", terminal::name(&args.file));
        return Err(Failure::usage(message)
            .with_hint("`cofferdam plugin build` prints the path of what it made")
            .into());
    }
    let checked = check::check(session, &shown).await?;
    checked.tell();
    let Some(plugin) = checked.plugin.as_ref().filter(|_| checked.exit() == Exit::Done) else {
        let message = format!("`{}` does not pass `plugin check` and is not pushed", terminal::name(&args.file));
        return Err(Failure::invalid(message).into());
    };
    let component = std::fs::read(&args.file)?;
    if Digest::of(&component) != plugin.digest {
        let message = format!("`{}` was changed while it was checked", terminal::name(&args.file));
        return Err(Failure::failed(message).into());
    }
    let size = component.len() as u64;
    let orchestrator = session.orchestrator().registries(speech.registries()).build().map_err(Failure::from)?;
    let pushed = orchestrator.push(&reference, component, plugin).await.map_err(|error| speech.failure(error))?;
    let pinned = reference.at(&pushed.manifest).map_or_else(String::new, |pinned| pinned.to_string());
    if args.json {
        let value = json!({
            "reference": reference.to_string(),
            "pinned": pinned,
            "digest": pushed.digest,
            "manifest": pushed.manifest,
            "size_bytes": size,
            "sent_bytes": pushed.sent,
            "id": plugin.about.id,
            "version": plugin.about.version,
        });
        terminal::print(&format!("{value}\n"))?;
        return Ok(Exit::Done);
    }
    terminal::print(&format!("{pinned}\n"))?;
    let sent = if pushed.sent == 0 { "nothing, the registry had all of it".to_owned() } else { bytes(pushed.sent) };
    terminal::tell(&format!("pushed    {} {} as {reference}", plugin.about.id, plugin.about.version));
    terminal::tell(&format!("component {}, {}", pushed.digest, bytes(size)));
    terminal::tell(&format!("sent      {sent}"));
    terminal::tell(&format!("add it    cofferdam plugin add {reference}"));
    Ok(Exit::Done)
}

/// Where it goes: a tag of a registry.
fn target(text: &str) -> Result<Reference, Failure> {
    let reference = Reference::parse(text).map_err(|error| {
        let hint = error.hint.clone();
        Failure::usage(error.to_string()).with_hint(hint)
    })?;
    if reference.digest().is_some() {
        let hint = format!("name a tag: `oci://{}/{}:1.0.0`", reference.host(), reference.repository());
        return Err(Failure::usage("a digest is what pushing gives, not where it goes").with_hint(hint));
    }
    Ok(reference)
}
