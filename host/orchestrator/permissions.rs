//! What people allowed models for good, kept beside the runs of a project.
//!
//! An answer is about the component that a tool comes from, so that another one under the same alias is asked about anew.

use super::Orchestrator;
use super::answers::{About, Component, OF_TOOLS};
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::event::{Decision, OpenApproval, PluginPin};
use cofferdam_core::id::{RunId, ToolName};
use cofferdam_core::permission::{Rules, Stance};
use cofferdam_core::port::{BoxFuture, Put, Remembered, Seal};
use cofferdam_plugin::user_key;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The answers of one project and user, as a run takes them.
struct KeptAnswers {
    orchestrator: Orchestrator,
    /// Where the tools of an alias come from, and their digest.
    pins: BTreeMap<String, Component>,
}

impl Orchestrator {
    /// Who keeps answers about tools; nobody without a project and a user.
    pub(super) fn answers_about_tools(&self, pins: &[PluginPin]) -> Option<Arc<dyn Remembered>> {
        let settings = &self.shared.settings;
        if settings.user_dirs.is_none() || settings.root.is_none() {
            return None;
        }
        let component = |pin: &PluginPin| Component { source: pin.source.clone(), digest: pin.digest.clone() };
        let pins = pins.iter().map(|pin| (pin.alias.clone(), component(pin))).collect();
        Some(Arc::new(KeptAnswers { orchestrator: self.without_handle(), pins }))
    }
}

impl KeptAnswers {
    /// What an answer about a tool is about; none where nothing can be kept.
    fn about(&self, tool: &ToolName) -> Option<About> {
        let component = match tool.alias() {
            None => None,
            // Where it is not known which component answers to the alias, no answer outlives the run.
            Some(alias) => Some(self.pins.get(alias.as_str())?.clone()),
        };
        Some(About::Tool { tool: tool.clone(), component, at: self.orchestrator.clock().now() })
    }
}

impl Remembered for KeptAnswers {
    fn allows<'a>(&'a self, tool: &'a ToolName) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(key) = self.about(tool).and_then(|about| self.orchestrator.key_of(&about)) else { return false };
            match self.orchestrator.shared.settings.state.get(OF_TOOLS, &key).await {
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
            let Some(about) = self.about(tool) else { return };
            let Some(key) = self.orchestrator.key_of(&about) else { return };
            let value = Some(about.to_bytes().into());
            let put = Put { namespace: OF_TOOLS.to_owned(), key, value, expected: None };
            if let Err(error) = self.orchestrator.shared.settings.state.put_if(put).await {
                tracing::warn!(%error, "the answer cannot be remembered");
            }
        })
    }
}

/// The seal of the words of the user whose state is kept in this directory.
struct UserSeal(PathBuf);

impl Seal for UserSeal {
    fn of(&self, run: &RunId, call: &OpenApproval, decision: Decision) -> Option<String> {
        let secret = user_key(&self.0);
        let secret = secret.inspect_err(|error| tracing::warn!(%error, "words about calls count in this process only"));
        let secret = secret.ok()?;
        // Serialized, so that no part can be taken for another.
        let about = serde_json::to_vec(&(run, call, decision)).ok()?;
        Some(sha256_hex(&[b"approval", &secret[..], &about].join(&0)))
    }
}

impl Orchestrator {
    /// Who tells this user's words from others; nobody where no user is known.
    pub(super) fn seal(&self) -> Option<Arc<dyn Seal>> {
        let dirs = self.shared.settings.user_dirs.as_ref()?;
        Some(Arc::new(UserSeal(dirs.state.clone())))
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
    const READING: &str = "tools that only read run";
    const WITHIN: &str = "tools that stay within the step's directories run";
    const DENIED: &str = "others are denied unless a rule allows them";
    // What becomes of the others where a person could be asked and none is there.
    let others = match unanswered {
        Unanswered::Denied => DENIED,
        Unanswered::Waits => "others wait for a person unless a rule allows them",
    };
    Some(match (rules.stance, asks) {
        (Stance::Yolo, _) => "yolo: every tool runs unless a rule denies it".to_owned(),
        (Stance::Strict, _) => format!("strict: {READING}, {DENIED}"),
        (Stance::StrictSandbox, _) => format!("strict sandbox: {WITHIN}, {DENIED}"),
        (Stance::Sandbox, false) => format!("sandbox, and nobody to ask: {WITHIN}, {others}"),
        (Stance::Sandbox, true) => format!("sandbox: {WITHIN}"),
        (Stance::Ask, false) => format!("nobody to ask: {READING}, {others}"),
        (Stance::Ask, true) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_what_becomes_of_calls_that_nobody_answers_for() {
        let said = |stance, asks, unanswered| super::stance(&Rules { stance, ..Rules::default() }, asks, unanswered);
        let (denied, waits) = (Unanswered::Denied, Unanswered::Waits);
        let denying = "nobody to ask: tools that only read run, others are denied unless a rule allows them";
        assert_eq!(said(Stance::Ask, false, denied).as_deref(), Some(denying));
        let waiting = "nobody to ask: tools that only read run, others wait for a person unless a rule allows them";
        assert_eq!(said(Stance::Ask, false, waits).as_deref(), Some(waiting));
        assert_eq!(said(Stance::Ask, true, waits), None);
        assert!(
            said(Stance::Sandbox, false, waits)
                .unwrap()
                .ends_with("run, others wait for a person unless a rule allows them")
        );
        // Where nobody would be asked nothing waits.
        for stance in [Stance::Strict, Stance::StrictSandbox] {
            assert_eq!(said(stance, false, waits), said(stance, false, denied));
            assert!(said(stance, false, waits).unwrap().ends_with("others are denied unless a rule allows them"));
        }
    }
}
