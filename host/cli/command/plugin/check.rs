//! `plugin check`: what an author should mend. It must not decide what is wrong; it shows what the library found.

use super::{alias_of, look_with};
use crate::args::CheckArgs;
use crate::exit::Exit;
use crate::session::Session;
use crate::terminal;
use crate::ui::paint;
use cofferdam::plugin::{self, Finding, Inspection, LoadError, PluginReference, Weight};
use cofferdam::sink::{bytes, clean};
use serde_json::{Value, json};

/// What came of a check.
pub(super) struct Checked {
    /// The plugin, if it loads.
    pub(super) plugin: Option<Inspection>,
    /// What to mend.
    pub(super) findings: Vec<Finding>,
}

/// Most characters of a message.
const MESSAGE_CHARS: usize = 600;

pub(super) async fn run(session: &Session, args: &CheckArgs) -> anyhow::Result<Exit> {
    let checked = check(session, &args.source).await?;
    if args.json {
        terminal::print(&format!("{}\n", serde_json::to_string_pretty(&checked.json(&args.source))?))?;
    } else {
        terminal::print(&checked.sheet(&args.source))?;
        checked.tell();
    }
    Ok(checked.exit())
}

/// Loads a plugin with everything denied and looks for what to mend.
pub(super) async fn check(session: &Session, text: &str) -> anyhow::Result<Checked> {
    let source = super::source(text)?;
    let reference = PluginReference::new(alias_of(text), source);
    Ok(match look_with(session, reference).await? {
        Ok(plugin) => Checked { findings: plugin::check(&plugin), plugin: Some(plugin) },
        Err(error) => Checked { plugin: None, findings: vec![unloadable(&error)] },
    })
}

/// The one finding of a plugin that does not load.
fn unloadable(error: &LoadError) -> Finding {
    let hint = error.hint().unwrap_or_else(|| "`cofferdam plugin new` writes one that loads".to_owned());
    Finding { weight: Weight::Error, tool: String::new(), message: error.reason().to_string(), hint }
}

impl Checked {
    pub(super) fn exit(&self) -> Exit {
        let wrong = self.findings.iter().any(|finding| finding.weight == Weight::Error);
        if wrong { Exit::Invalid } else { Exit::Done }
    }

    pub(super) fn json(&self, source: &str) -> Value {
        let plugin = self.plugin.as_ref();
        json!({
            "source": source,
            "ok": self.exit() == Exit::Done,
            "id": plugin.map(|plugin| &plugin.about.id),
            "version": plugin.map(|plugin| &plugin.about.version),
            "kinds": plugin.map(|plugin| &plugin.kinds),
            "digest": plugin.map(|plugin| plugin.digest.to_string()),
            "size_bytes": plugin.map(|plugin| plugin.history.size_bytes),
            "findings": self.findings,
        })
    }

    /// What the plugin is, in one line, and what was found.
    pub(super) fn sheet(&self, source: &str) -> String {
        let count = |weight| self.findings.iter().filter(|finding| finding.weight == weight).count();
        let (errors, warnings) = (count(Weight::Error), count(Weight::Warning));
        let verdict = match (errors, warnings) {
            (0, 0) => paint::good("nothing to mend"),
            (0, warnings) => paint::warn(&format!("{warnings} to look at")),
            (errors, _) => paint::bad(&format!("{errors} to mend")),
        };
        format!("{}: {verdict}\n", self.plugin.as_ref().map_or_else(|| clean(source, 200), line))
    }

    /// The findings, for people.
    pub(super) fn tell(&self) {
        for finding in &self.findings {
            let weight = match finding.weight {
                Weight::Error => paint::bad("error"),
                Weight::Warning => paint::warn("warning"),
            };
            let place = if finding.tool.is_empty() { String::new() } else { format!("tool `{}`: ", finding.tool) };
            terminal::tell(&format!("{weight}: {place}{}", clean(&finding.message, MESSAGE_CHARS)));
            terminal::tell(&format!("  {} {}", paint::quiet("hint:"), clean(&finding.hint, MESSAGE_CHARS)));
        }
    }
}

/// Name, version, kinds, tools and size.
fn line(plugin: &Inspection) -> String {
    let kinds: Vec<String> = plugin.kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
    let tools = match plugin.about.tools.len() {
        0 => String::new(),
        1 => ", 1 tool".to_owned(),
        count => format!(", {count} tools"),
    };
    let about = &plugin.about;
    let size = bytes(plugin.history.size_bytes as u64);
    format!("{} {} ({}{tools}, {size})", clean(&about.id, 100), clean(&about.version, 64), kinds.join(", "))
}
