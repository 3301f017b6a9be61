//! Calls that no rule decides: what was answered before, or a person, or no.
//!
//! It must not know the rules. Each question of a run is put once: a call that was denied is not asked about again.

use cofferdam_core::digest::sha256_hex;
use cofferdam_core::id::ToolName;
use cofferdam_core::permission::{Decided, Outcome};
use cofferdam_core::port::{Answer, Approver, Question, Remembered};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who decides where no rule does, and what was decided in this run.
#[derive(Default)]
pub(super) struct Undecided {
    pub(super) approver: Option<Arc<dyn Approver>>,
    pub(super) remembered: Option<Arc<dyn Remembered>>,
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    /// Tools that were allowed for good.
    allowed: BTreeSet<ToolName>,
    /// Calls that were denied, or not answered.
    denied: BTreeSet<String>,
    /// Calls that are being asked about, each with whoever asks.
    open: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
}

impl Undecided {
    /// Asks this one; nobody = what is not decided is denied.
    pub(super) fn new(approver: Option<Arc<dyn Approver>>) -> Self {
        Self { approver, ..Self::default() }
    }

    /// What was decided before about a call, or for good.
    pub(super) async fn known(&self, call: &Asked<'_>) -> Option<Decided> {
        let (allowed, denied) = {
            let answers = self.answers();
            (answers.allowed.contains(call.tool), answers.denied.contains(&call.key()))
        };
        if denied {
            return Some(by(Outcome::Deny, "the same call was denied before"));
        }
        if !call.may_be_known {
            return None;
        }
        let remembered = match &self.remembered {
            Some(remembered) if !allowed => remembered.allows(call.tool).await,
            _ => false,
        };
        (allowed || remembered).then(|| by(Outcome::Allow, "an earlier answer: always"))
    }

    /// Asks about a call, after what was answered meanwhile.
    pub(super) async fn ask(&self, call: &Asked<'_>, question: Question) -> Decided {
        let Some(approver) = &self.approver else { return by(Outcome::Deny, "no rule and nobody to ask") };
        let turn = Arc::clone(self.answers().open.entry(call.key()).or_default());
        let _turn = turn.lock().await;
        if let Some(known) = self.known(call).await {
            return known;
        }
        let answer = approver.ask(question).await;
        match &answer {
            Answer::Always => {
                self.answers().allowed.insert(call.tool.clone());
                if let Some(remembered) = &self.remembered {
                    remembered.allow(call.tool).await;
                }
            }
            Answer::No(_) | Answer::Nobody => drop(self.answers().denied.insert(call.key())),
            Answer::Yes => {}
        }
        decided(&answer)
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is asked about.
pub(super) struct Asked<'a> {
    pub(super) tool: &'a ToolName,
    pub(super) args: &'a Value,
    /// Whether an answer that was given for good counts.
    pub(super) may_be_known: bool,
}

impl Asked<'_> {
    /// The same for two calls that want the same.
    fn key(&self) -> String {
        let mut args = self.args.clone();
        args.sort_all_objects();
        sha256_hex(format!("{}\0{args}", self.tool).as_bytes())
    }
}

fn decided(answer: &Answer) -> Decided {
    match answer {
        Answer::Yes => by(Outcome::Allow, "a person allowed it"),
        Answer::Always => by(Outcome::Allow, "a person allowed it for good"),
        Answer::No(None) => by(Outcome::Deny, "a person denied it"),
        Answer::No(Some(why)) => by(Outcome::Deny, &format!("a person denied it: {why}")),
        Answer::Nobody => by(Outcome::Deny, "nobody answered"),
    }
}

fn by(outcome: Outcome, rule: &str) -> Decided {
    Decided { outcome, rule: rule.to_owned() }
}
