//! Calls that no rule decides, or about which a rule asks: what was answered before, or a person, or no.
//!
//! It must not know the rules. What a person denied is not asked about again.

use cofferdam_core::digest::sha256_hex;
use cofferdam_core::event::{Approved, Decision, OpenApproval};
use cofferdam_core::id::ToolName;
use cofferdam_core::permission::{Decided, Outcome};
use cofferdam_core::port::{Answer, Approver, Question, Remembered, Seal};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Who is asked, and what was answered in this run.
#[derive(Default)]
pub(super) struct Asking {
    pub(super) approver: Option<Arc<dyn Approver>>,
    pub(super) remembered: Option<Arc<dyn Remembered>>,
    pub(super) seal: Option<Arc<dyn Seal>>,
    answers: Mutex<Answers>,
    /// What was said about calls that the run waited with.
    pub(super) said: OnceLock<Vec<(OpenApproval, Approved)>>,
}

/// What is done with a call.
pub(super) enum Ruling {
    Decided(Decided),
    /// It waits for a person, by this rule; none where no rule decides.
    Wait(Option<String>),
}

/// What is done with a call that nobody answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// It waits.
    Waits,
    /// It is denied.
    Denied,
    /// It is denied, since it is none that could wait: why.
    CannotWait(&'static str),
}

#[derive(Default)]
struct Answers {
    /// Tools that were allowed for good.
    allowed: BTreeSet<ToolName>,
    /// Calls that were denied.
    denied: BTreeSet<String>,
    /// What is being asked about, each with its turn.
    open: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
}

/// A call that is asked about.
pub(super) struct Asked<'a> {
    pub(super) tool: &'a ToolName,
    pub(super) args: &'a Value,
    /// The rule that says so; none where no rule decides, and an answer that was given for good counts.
    pub(super) rule: Option<String>,
}

impl Asking {
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
            return Some(call.by(Outcome::Deny, DENIED_BEFORE));
        }
        if call.rule.is_some() {
            return None;
        }
        let remembered = match &self.remembered {
            Some(remembered) if !allowed => remembered.allows(call.tool).await,
            _ => false,
        };
        (allowed || remembered).then(|| call.by(Outcome::Allow, "an earlier answer: always"))
    }

    /// Asks about a call, after what was answered meanwhile.
    pub(super) async fn ask(&self, call: &Asked<'_>, question: Question, unanswered: Unanswered) -> Ruling {
        let Some(approver) = &self.approver else {
            let why = if call.rule.is_some() { "nobody to ask" } else { "no rule and nobody to ask" };
            return match unanswered {
                Unanswered::Waits => Ruling::Wait(call.rule.clone()),
                Unanswered::Denied => Ruling::Decided(call.by(Outcome::Deny, why)),
                Unanswered::CannotWait(what) => Ruling::Decided(call.by(Outcome::Deny, &format!("{why}: {what}"))),
            };
        };
        let turn = Arc::clone(self.answers().open.entry(call.place()).or_default());
        let ruling = {
            let _turn = turn.lock().await;
            match self.known(call).await {
                Some(known) => Ruling::Decided(known),
                None => match approver.ask(question).await {
                    Answer::Nobody if unanswered == Unanswered::Waits => Ruling::Wait(call.rule.clone()),
                    answer => Ruling::Decided(self.take(call, &answer).await),
                },
            }
        };
        drop(turn);
        self.answers().open.retain(|_, turn| Arc::strong_count(turn) > 1);
        ruling
    }

    /// Takes an answer for what it says. A rule that asks each time is not answered for good.
    async fn take(&self, call: &Asked<'_>, answer: &Answer) -> Decided {
        match answer {
            Answer::Always if call.rule.is_none() => {
                self.answers().allowed.insert(call.tool.clone());
                if let Some(remembered) = &self.remembered {
                    remembered.allow(call.tool).await;
                }
                call.by(Outcome::Allow, "a person allowed it for good")
            }
            Answer::Yes | Answer::Always => call.by(Outcome::Allow, ALLOWED),
            Answer::No(why) => {
                self.answers().denied.insert(call.key());
                let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                call.by(Outcome::Deny, &format!("{DENIED}{why}"))
            }
            Answer::Nobody => {
                // Of a rule that asks each time, the next call is asked about all the same.
                if call.rule.is_none() {
                    self.answers().denied.insert(call.key());
                }
                call.by(Outcome::Deny, UNANSWERED)
            }
        }
    }

    /// Takes what a person said about a call that the run waited with.
    pub(super) fn take_word(&self, call: &Asked<'_>, word: &Approved) -> Decided {
        match word.decision {
            Decision::Allow => call.by(Outcome::Allow, ALLOWED),
            Decision::Deny => {
                self.answers().denied.insert(call.key());
                let why = word.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                call.by(Outcome::Deny, &format!("{DENIED}{why}"))
            }
        }
    }

    /// A denial that an earlier process recorded, with the rule that it recorded.
    pub(super) fn note_denied(&self, tool: &ToolName, args: &Value, rule: &str) {
        if [DENIED, DENIED_BEFORE, UNANSWERED].iter().any(|by_a_person| rule.contains(by_a_person)) {
            self.answers().denied.insert(Asked { tool, args, rule: None }.key());
        }
    }

    /// Takes what people said about calls that the run waited with.
    pub(super) fn take_words<'w>(&self, words: impl Iterator<Item = (&'w OpenApproval, &'w Approved)>) {
        // The gateway is a run's own, which is taken up once.
        let _ = self.said.set(words.map(|(open, said)| (open.clone(), said.clone())).collect());
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ALLOWED: &str = "a person allowed it";
const DENIED: &str = "a person denied it";
const DENIED_BEFORE: &str = "the same call was denied before";
const UNANSWERED: &str = "nobody answered";

impl Asked<'_> {
    /// The same for two calls that want the same.
    fn key(&self) -> String {
        let mut args = self.args.clone();
        args.sort_all_objects();
        sha256_hex(format!("{}\0{args}", self.tool).as_bytes())
    }

    /// What waits for the same answer: where one for good counts, it is about the tool.
    fn place(&self) -> String {
        if self.rule.is_some() { self.key() } else { self.tool.to_string() }
    }

    fn by(&self, outcome: Outcome, how: &str) -> Decided {
        let rule = self.rule.as_ref().map_or_else(|| how.to_owned(), |rule| format!("{rule}: {how}"));
        Decided { outcome, rule, by_rule: self.rule.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::id::StepPath;
    use cofferdam_core::port::BoxFuture;
    use serde_json::json;

    /// Allows everything, this time.
    struct Yes;

    impl Approver for Yes {
        fn ask(&self, _: Question) -> BoxFuture<'_, Answer> {
            Box::pin(std::future::ready(Answer::Yes))
        }
    }

    #[tokio::test]
    async fn what_a_person_denied_in_an_earlier_process_is_not_asked_about() {
        let (tool, args) = (ToolName::parse("write").unwrap(), json!({ "path": "a", "content": "b" }));
        let question = || {
            let title = "allow `write`?".to_owned();
            Question { run_id: None, path: StepPath::ROOT, title, detail: String::new(), always: None }
        };
        for (recorded, outcome) in [
            ("a person denied it", Outcome::Deny),
            ("a person denied it: not here", Outcome::Deny),
            ("the same call was denied before", Outcome::Deny),
            ("nobody answered", Outcome::Deny),
            // What a rule, or that nobody was there, has decided may be decided otherwise now.
            ("deny write", Outcome::Allow),
            ("no rule and nobody to ask", Outcome::Allow),
        ] {
            let asking = Asking::new(Some(Arc::new(Yes)));
            asking.note_denied(&tool, &args, recorded);
            let same = json!({ "content": "b", "path": "a" });
            let ask = async |args: &Value| {
                let asked = Asked { tool: &tool, args, rule: None };
                match asking.ask(&asked, question(), Unanswered::Denied).await {
                    Ruling::Decided(decided) => decided.outcome,
                    Ruling::Wait(_) => panic!("it is denied"),
                }
            };
            assert_eq!(ask(&same).await, outcome, "{recorded}");
            assert_eq!(ask(&json!({})).await, Outcome::Allow, "{recorded}");
            assert!(asking.answers().open.is_empty(), "nothing is asked about any more");
        }
    }
}
