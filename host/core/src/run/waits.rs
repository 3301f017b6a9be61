//! What a run waits with, as a fold of its events: questions that nobody here can answer, and calls that nobody here can allow.
//!
//! It must not need the document, so that a run can be asked wherever its journal is.

mod by_owner;

use crate::event::{Approved, Body, Decision, OpenApproval, OpenQuestion, RunEvent, Waiting, call_name};
use crate::id::StepPath;
use crate::time::Timestamp;
use crate::value::Map;
use by_owner::ByOwner;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The setting by which calls that nobody is there to allow wait.
pub const DEFER_APPROVALS: &str = "defer_approvals";

/// What steps wait for, or may come to wait for.
#[derive(Debug, Default)]
pub struct Waits {
    /// Each belongs to the step that waits, as all of these do.
    questions: ByOwner<OpenQuestion>,
    calls: ByOwner<AskedCall>,
    /// When a run inside a step may go on by itself.
    until: ByOwner<Timestamp>,
    /// The steps that wait.
    waiting: HashSet<StepPath>,
    /// Calls that a person denied: their steps do not make them in another try either.
    denied: Vec<(OpenApproval, Approved)>,
    /// Whoever started the run, or went on with it, said that calls wait.
    defers: bool,
}

/// A call that was asked about.
#[derive(Debug)]
struct AskedCall {
    /// The step that waits.
    owner: StepPath,
    /// A run inside the step asks, which does so again whenever it is taken up.
    inner: bool,
    open: OpenApproval,
    /// What was said about it.
    said: Option<Approved>,
}

impl Waits {
    /// Takes in an event of the run; all are given, in their order.
    pub fn note(&mut self, event: &RunEvent) {
        match &event.body {
            Body::RunStarted { settings, .. } => self.give(settings),
            Body::RunResumed { settings, approved, .. } => {
                self.give(settings);
                self.reopen(approved);
            }
            Body::QuestionAsked { question, choices, deferred: true, .. } => {
                let step = event.path.clone();
                let open = OpenQuestion { step: step.clone(), question: question.clone(), choices: choices.clone() };
                self.questions.push(&step, open);
                self.waiting.insert(step);
            }
            Body::StepWaiting(waiting) => self.wait(&event.path, waiting),
            Body::PermissionAsked { .. } => self.ask(event),
            body if !self.is_idle() => self.settle(event, body),
            _ => {}
        }
    }

    fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.waiting.is_empty()
    }

    fn give(&mut self, settings: &Map) {
        self.defers |= settings.get(DEFER_APPROVALS) == Some(&Value::Bool(true));
    }

    /// Everybody who asked does so again, but for calls of steps whose conversation goes on from its record.
    fn reopen(&mut self, words: &[Approved]) {
        // Of several words about one call the last one holds.
        let of = |word: &Approved| (word.step.clone(), word.attempt, word.call.clone());
        let said: HashMap<_, _> = words.iter().map(|word| (of(word), word)).collect();
        if !said.is_empty() {
            for call in self.calls.iter_mut() {
                let OpenApproval { step, attempt, call: name, .. } = &call.open;
                if let Some(word) = said.get(&(step.clone(), *attempt, name.clone())) {
                    call.said = Some((*word).clone());
                    if word.decision == Decision::Deny && !call.inner {
                        self.denied.push((call.open.clone(), (*word).clone()));
                    }
                }
            }
        }
        self.questions.clear();
        self.until.clear();
        self.waiting.clear();
        self.calls.retain(|call| !call.inner || call.said.is_some());
    }

    fn ask(&mut self, event: &RunEvent) {
        let Body::PermissionAsked { call_id, tool, args, agent, rule } = &event.body else { return };
        let (step, call) = (event.path.step(), call_name(&event.path, call_id));
        self.forget_call(&step, &call);
        let (attempt, tool, args) = (event.attempt.unwrap_or(1), tool.clone(), args.clone());
        let (agent, rule) = (agent.clone(), rule.clone());
        let open = OpenApproval { step: step.clone(), attempt, call, agent, tool, args, rule };
        self.calls.push(&step, AskedCall { owner: step.clone(), inner: false, open, said: None });
    }

    fn wait(&mut self, owner: &StepPath, waiting: &Waiting) {
        let Waiting { questions, approvals, until } = waiting;
        self.calls.retain_of(owner, |call| !call.inner);
        questions.iter().for_each(|open| self.questions.push(owner, open.clone()));
        for open in approvals {
            self.calls.push(owner, AskedCall { owner: owner.clone(), inner: true, open: open.clone(), said: None });
        }
        until.iter().for_each(|until| self.until.push(owner, *until));
        self.waiting.insert(owner.clone());
    }

    /// Takes in what ends that something waits.
    fn settle(&mut self, event: &RunEvent, body: &Body) {
        let step = event.path.step();
        match body {
            // What a person said counts also where the call has to be made again.
            Body::ToolCallStarted { call_id, .. } => self.begin_call(&step, &call_name(&event.path, call_id)),
            Body::ToolCallFinished { call_id, .. }
            | Body::PermissionDecided { call_id, decision: Decision::Deny, .. } => {
                self.forget_call(&step, &call_name(&event.path, call_id));
            }
            Body::StepStarted { .. } => {
                self.calls.retain_of(&step, |call| call.inner || Some(call.open.attempt) == event.attempt);
            }
            Body::StepFinished { .. } | Body::StepRetrying { .. } | Body::StepSkipped { .. } => self.forget(&step),
            // What was cut short may be taken up, with the calls that it asked about.
            Body::StepCancelled { .. } => self.stop_waiting(&step),
            _ => {}
        }
    }

    /// Leaves out what somebody else may have written into the record: words that allow a call count where they are ours. Gives how many
    /// do not.
    pub(super) fn trust(&mut self, is_ours: impl Fn(&OpenApproval, &Approved) -> bool) -> usize {
        let mut left_out = 0;
        for call in self.calls.iter_mut() {
            let said = call.said.as_ref();
            if said.is_some_and(|said| said.decision == Decision::Allow && !is_ours(&call.open, said)) {
                call.said = None;
                left_out += 1;
            }
        }
        left_out
    }

    fn forget_call(&mut self, step: &StepPath, name: &str) {
        self.calls.retain_of(step, |call| call.inner || call.open.call != name);
    }

    fn begin_call(&mut self, step: &StepPath, name: &str) {
        self.calls.retain_of(step, |call| call.inner || call.open.call != name || call.said.is_some());
    }

    fn stop_waiting(&mut self, step: &StepPath) {
        if self.waiting.remove(step) {
            self.questions.remove(step);
            self.until.remove(step);
            self.calls.retain_of(step, |call| !call.inner);
        }
    }

    /// The step has ended.
    pub(super) fn forget(&mut self, step: &StepPath) {
        self.stop_waiting(step);
        self.calls.remove(step);
    }

    /// Questions that nobody here can answer, in the order in which they were asked.
    pub fn open_questions(&self) -> impl Iterator<Item = &OpenQuestion> {
        self.questions.iter()
    }

    /// Calls that the run waits with, in the order in which they were asked about.
    pub fn open_approvals(&self) -> impl Iterator<Item = &OpenApproval> {
        let open = |call: &&AskedCall| call.said.is_none() && self.waiting.contains(&call.owner);
        self.calls.iter().filter(open).map(|call| &call.open)
    }

    /// Calls that were asked about and that nobody has said anything about, also those of steps that were interrupted before
    /// they came to wait.
    pub fn undecided_calls(&self) -> impl Iterator<Item = &OpenApproval> {
        self.calls.iter().filter(|call| call.said.is_none()).map(|call| &call.open)
    }

    /// What was said about calls that have not begun, with what they were when they were asked about. Those of runs inside
    /// steps stand below the paths of these.
    pub fn said_of_calls(&self) -> impl Iterator<Item = (&OpenApproval, &Approved)> {
        self.calls.iter().filter_map(|call| Some((&call.open, call.said.as_ref()?)))
    }

    /// Calls that a person denied, with the words, in their order.
    pub fn denied_calls(&self) -> impl Iterator<Item = (&OpenApproval, &Approved)> {
        self.denied.iter().map(|(open, word)| (open, word))
    }

    /// When the first of the runs inside steps may go on by itself.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.until.iter().min().copied()
    }

    /// Whether calls that nobody is there to allow wait; else they are denied.
    #[must_use]
    pub fn defers_approvals(&self) -> bool {
        self.defers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{StepOutput, StepStatus};
    use crate::id::{RunId, ToolName};
    use crate::message::Usage;
    use serde_json::json;
    use std::sync::Arc;

    fn event(path: &str, attempt: Option<u32>, body: Body) -> RunEvent {
        let (run_id, at) = (RunId::parse("r").unwrap(), Timestamp::default());
        RunEvent { seq: 1, sub: None, at, run_id, path: path.into(), attempt, body }
    }

    fn tool() -> ToolName {
        ToolName::parse("write").unwrap()
    }

    fn asked(path: &str, call: &str) -> RunEvent {
        let (call_id, args) = (call.to_owned(), Arc::new(json!({})));
        event(path, Some(1), Body::PermissionAsked { call_id, tool: tool(), args, agent: None, rule: None })
    }

    fn waiting(path: &str) -> RunEvent {
        event(path, Some(1), Body::StepWaiting(Waiting::default()))
    }

    fn resumed(approved: Vec<Approved>) -> RunEvent {
        event("", None, Body::RunResumed { settings: Map::new(), plugins: Vec::new(), approved })
    }

    fn word(step: &str, call: &str, decision: Decision) -> Approved {
        Approved { step: step.into(), attempt: 1, call: call.to_owned(), decision, reason: None, seal: None }
    }

    fn fold(events: &[RunEvent]) -> Waits {
        let mut waits = Waits::default();
        events.iter().for_each(|event| waits.note(event));
        waits
    }

    fn open(waits: &Waits) -> Vec<String> {
        waits.open_approvals().map(|open| format!("{} {}", open.step, open.call)).collect()
    }

    #[test]
    fn a_call_waits_with_its_step_until_somebody_says_something_about_it() {
        let mut events = vec![asked("a", "1"), asked("a@1", "2")];
        assert_eq!(open(&fold(&events)), [""; 0], "the step is still at work");
        assert_eq!(fold(&events).undecided_calls().count(), 2);
        events.push(waiting("a"));
        assert_eq!(open(&fold(&events)), ["a 1", "a @1/2"]);
        events.push(resumed(vec![word("a", "@1/2", Decision::Allow)]));
        let waits = fold(&events);
        assert_eq!((open(&waits).len(), waits.undecided_calls().count()), (0, 1));
        assert_eq!(waits.said_of_calls().map(|(open, _)| open.call.as_str()).collect::<Vec<_>>(), ["@1/2"]);
        let allowed = |path: &str, call: &str, decision| {
            let (call_id, rule) = (call.to_owned(), String::new());
            event(path, Some(1), Body::PermissionDecided { call_id, tool: tool(), decision, rule })
        };
        events.push(allowed("a@1", "2", Decision::Allow));
        assert_eq!(fold(&events).said_of_calls().count(), 1, "it has not begun");
        let (call_id, args) = ("2".to_owned(), Arc::new(json!({})));
        events.push(event("a@1", Some(1), Body::ToolCallStarted { call_id, tool: tool(), args }));
        assert_eq!(fold(&events).said_of_calls().count(), 1, "it may have to be made again");
        let call_id = "2".to_owned();
        let (result, content, error) = (Arc::new(json!(null)), Arc::from(""), None);
        events.push(event(
            "a@1",
            Some(1),
            Body::ToolCallFinished { call_id, tool: tool(), result, content, error, duration_ms: 0 },
        ));
        assert_eq!(fold(&events).said_of_calls().count(), 0);
        events.push(waiting("a"));
        assert_eq!(open(&fold(&events)), ["a 1"]);
        events.push(allowed("a", "1", Decision::Deny));
        assert_eq!(fold(&events).undecided_calls().count(), 0);
    }

    #[test]
    fn what_a_run_inside_waits_for_is_asked_anew_and_what_was_said_is_kept() {
        let inner = OpenApproval {
            step: "work.b".into(),
            attempt: 1,
            call: "3".to_owned(),
            agent: None,
            tool: tool(),
            args: Arc::new(json!({})),
            rule: None,
        };
        let question = OpenQuestion { step: "work.ok".into(), question: "Ship?".to_owned(), choices: Vec::new() };
        let told =
            Waiting { questions: vec![question], approvals: vec![inner], until: Some(Timestamp::from_millis(7)) };
        let mut events = vec![event("work", Some(1), Body::StepWaiting(told))];
        let waits = fold(&events);
        assert_eq!((open(&waits), waits.open_questions().count()), (vec!["work.b 3".to_owned()], 1));
        assert_eq!(waits.until(), Some(Timestamp::from_millis(7)));
        events.push(resumed(Vec::new()));
        let waits = fold(&events);
        assert_eq!((waits.undecided_calls().count(), waits.open_questions().count(), waits.until()), (0, 0, None));
        events[1] = resumed(vec![word("work.b", "3", Decision::Deny)]);
        assert_eq!(fold(&events).said_of_calls().count(), 1);
        let (status, output, usage) = (StepStatus::Completed, StepOutput::default(), Usage::default());
        let ended = Body::StepFinished { status, output, error: None, usage, truncated_inputs: Vec::new() };
        events.push(event("work", Some(1), ended));
        assert_eq!(fold(&events).said_of_calls().count(), 0);
    }

    #[test]
    fn another_try_has_asked_nothing() {
        let started = Body::StepStarted { agent: None, tool: None, items: None, inputs: None, narrowed: Vec::new() };
        for (attempt, left) in [(1, 1), (2, 0)] {
            let events = [asked("a", "1"), event("a", Some(attempt), started.clone())];
            assert_eq!(fold(&events).undecided_calls().count(), left, "try {attempt}");
        }
    }

    /// Were each call looked at for each event, this would take minutes.
    #[test]
    fn many_calls_are_kept_in_order() {
        let count = 40_000;
        let paths: Vec<String> = (0..count).map(|item| format!("each[{item}].work")).collect();
        let mut waits = Waits::default();
        let note = |waits: &mut Waits, event| waits.note(&event);
        paths.iter().for_each(|path| note(&mut waits, asked(path, "1")));
        paths.iter().for_each(|path| note(&mut waits, waiting(path)));
        let order =
            |waits: &Waits| -> Vec<String> { waits.open_approvals().map(|open| open.step.to_string()).collect() };
        assert_eq!(order(&waits), paths);
        waits.note(&resumed(paths.iter().map(|path| word(path, "1", Decision::Allow)).collect()));
        assert_eq!(waits.said_of_calls().count(), count);
        let finished = || Body::ToolCallFinished {
            call_id: "1".to_owned(),
            tool: tool(),
            result: Arc::new(json!(null)),
            content: Arc::from(""),
            error: None,
            duration_ms: 0,
        };
        paths.iter().skip(1).for_each(|path| note(&mut waits, event(path, Some(1), finished())));
        assert_eq!((waits.said_of_calls().count(), waits.undecided_calls().count()), (1, 0));
    }
}
