//! What people allowed models for good, kept beside the runs of a project.
//!
//! Keys contain the user's secret, so that the records that a folder of somebody else brings along cannot hold an answer, and
//! the component that a tool comes from, so that another one under the same alias is asked about anew.

use super::Orchestrator;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::event::PluginPin;
use cofferdam_core::id::ToolName;
use cofferdam_core::permission::{Rules, Stance};
use cofferdam_core::port::{BoxFuture, Put, Remembered, State};
use cofferdam_plugin::user_key;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the answers are kept.
const NAMESPACE: &str = "permissions";

/// The answers of one project and user.
struct KeptAnswers {
    state: Arc<dyn State>,
    /// Where the user's secret is.
    secret: PathBuf,
    /// The project.
    root: PathBuf,
    /// Where the tools of an alias come from, and their digest.
    pins: BTreeMap<String, String>,
}

impl Orchestrator {
    /// Who keeps answers about tools; nobody without a project and a user.
    pub(super) fn kept_answers(&self, pins: &[PluginPin]) -> Option<Arc<dyn Remembered>> {
        let settings = &self.shared.settings;
        let (dirs, root) = (settings.user_dirs.as_ref()?, settings.root.as_ref()?);
        Some(Arc::new(KeptAnswers {
            state: Arc::clone(&settings.state),
            secret: dirs.state.clone(),
            root: canonical(root),
            pins: pins.iter().map(|pin| (pin.alias.clone(), format!("{}\0{}", pin.source, pin.digest))).collect(),
        }))
    }
}

/// One folder is one project, whatever it was called on the command line.
fn canonical(root: &Path) -> PathBuf {
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    root.canonicalize().unwrap_or_else(|_| root.to_owned())
}

impl KeptAnswers {
    /// Under what an answer about a tool is kept; none where nothing can be.
    fn key(&self, tool: &ToolName) -> Option<String> {
        let of = match tool.alias() {
            None => "",
            // Where it is not known which component answers to the alias, no answer outlives the run.
            Some(alias) => self.pins.get(alias.as_str())?.as_str(),
        };
        let secret = user_key(&self.secret);
        let secret = secret.inspect_err(|error| tracing::warn!(%error, "answers about tools are not kept")).ok()?;
        let (root, tool) = (self.root.as_os_str().as_encoded_bytes(), tool.to_string());
        Some(sha256_hex(&[b"tool", &secret[..], root, of.as_bytes(), tool.as_bytes()].join(&0)))
    }
}

impl Remembered for KeptAnswers {
    fn allows<'a>(&'a self, tool: &'a ToolName) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(key) = self.key(tool) else { return false };
            match self.state.get(NAMESPACE, &key).await {
                Ok(entry) => entry.is_some(),
                Err(error) => {
                    tracing::warn!(%error, "remembered answers cannot be read");
                    false
                }
            }
        })
    }

    fn allow<'a>(&'a self, tool: &'a ToolName) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(key) = self.key(tool) else { return };
            let value = Some(tool.to_string().into_bytes().into());
            let put = Put { namespace: NAMESPACE.to_owned(), key, value, expected: None };
            if let Err(error) = self.state.put_if(put).await {
                tracing::warn!(%error, "the answer cannot be remembered");
            }
        })
    }
}

/// What becomes of calls that nobody answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    Denied,
    Waits,
}

/// What a run says of its permissions where not every question can be put.
pub(super) fn stance(rules: &Rules, asks: bool, unanswered: Unanswered) -> Option<String> {
    let text = stance_of(rules, asks)?;
    let asked = matches!(rules.stance, Stance::Ask | Stance::Sandbox) && !asks;
    Some(match unanswered {
        Unanswered::Waits if asked => text.replace("others are denied unless", "others wait for a person unless"),
        Unanswered::Denied | Unanswered::Waits => text.to_owned(),
    })
}

fn stance_of(rules: &Rules, asks: bool) -> Option<&'static str> {
    Some(match (rules.stance, asks) {
        (Stance::Yolo, _) => "yolo: every tool runs unless a rule denies it",
        (Stance::Strict, _) => "strict: tools that only read run, others are denied unless a rule allows them",
        (Stance::StrictSandbox, _) => {
            "strict sandbox: tools that stay within the step's directories run, others are denied unless a rule allows them"
        }
        (Stance::Sandbox, false) => {
            "sandbox, and nobody to ask: tools that stay within the step's directories run, others are denied unless a rule \
             allows them"
        }
        (Stance::Sandbox, true) => "sandbox: tools that stay within the step's directories run",
        (Stance::Ask, false) => "nobody to ask: tools that only read run, others are denied unless a rule allows them",
        (Stance::Ask, true) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_the_same_whatever_it_is_called() {
        // What `.cofferdam` of this directory is in, as the command line has it.
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        for name in ["", ".", "./"] {
            assert_eq!(canonical(Path::new(name)), here, "`{name}`");
        }
    }
}
