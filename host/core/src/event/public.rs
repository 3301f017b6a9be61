//! What sinks and traces get of an event: the content of sensitive steps is replaced by its size and digest.
//!
//! The journal keeps everything, and so does the result that a run gives to its caller: neither is a sink, but every
//! view of them is. Content is found again where it stands as it is and whole; a part of it, another spelling of it, or
//! what a model says of it in other words is not.

use super::slots::{Change, visit};
use super::{Body, RunEvent, StepOutput};
use crate::digest::sha256_hex;
use crate::fault::Fault;
use crate::id::StepPath;
use crate::limits;
use crate::spec::workflow::{LoopKind, Scope, Step, Workflow};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Shorter texts are not looked for: they stand everywhere.
const SHORTEST: usize = 4;

/// What a run must not show: the places of its sensitive steps, and what these have given so far.
#[derive(Debug, Default)]
pub struct Sensitive {
    /// Paths of steps, without the indices of iterations.
    steps: BTreeSet<String>,
    texts: BTreeSet<Arc<str>>,
    bytes: usize,
    /// There was more to remember than the bounds allow: from then on nothing is shown.
    full: bool,
}

impl Sensitive {
    /// What a workflow marks as sensitive; none when it marks nothing.
    #[must_use]
    pub fn of(workflow: &Workflow) -> Option<Self> {
        let mut steps = BTreeSet::new();
        collect(&workflow.scope, &StepPath::ROOT, &mut steps);
        Self::at(steps)
    }

    /// What was marked as sensitive in a recorded run, by its first event; none when nothing was.
    #[must_use]
    pub fn recorded(event: &RunEvent) -> Option<Self> {
        match &event.body {
            Body::RunStarted { sensitive, .. } => Self::at(sensitive.iter().cloned().collect()),
            _ => None,
        }
    }

    fn at(steps: BTreeSet<String>) -> Option<Self> {
        (!steps.is_empty()).then(|| Self { steps, ..Self::default() })
    }

    /// The places of the sensitive steps.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        self.steps.iter().cloned().collect()
    }

    /// Whether the step of a path is sensitive, or inside of a step that is. A coordinator hears of all steps, in parts and in
    /// words of its own: nothing of it is shown.
    #[must_use]
    pub fn covers(&self, path: &StepPath) -> bool {
        if path.is_coordinator() {
            return true;
        }
        let place = path.step().place();
        let ends = place.match_indices('.').map(|(end, _)| end).chain([place.len()]);
        ends.filter_map(|end| place.get(..end)).any(|place| self.steps.contains(place))
    }

    /// Learns from an event what later ones must not show, and gives what may be shown of it. Pieces of text are held
    /// back as soon as there is something to hide: what is hidden could stand across two of them.
    pub fn publish(&mut self, event: &RunEvent) -> Option<RunEvent> {
        self.note(event);
        let own = self.covers(self.place_of(event));
        let streams = matches!(event.body, Body::OutputDelta { .. } | Body::ThinkingDelta { .. });
        let hides = own || self.full || !self.texts.is_empty();
        (!(streams && hides)).then(|| event.public(self))
    }

    /// The step whose content an event has: a message belongs to both of its ends.
    fn place_of<'e>(&self, event: &'e RunEvent) -> &'e StepPath {
        let ends = match &event.body {
            Body::MessagePosted(posted) => [&posted.to, &posted.to],
            Body::MessageDelivered(read) => [&read.from, &read.from],
            Body::MessageDropped(dropped) => [&dropped.from, &dropped.to],
            _ => return &event.path,
        };
        ends.into_iter().find(|end| self.covers(end)).unwrap_or(&event.path)
    }

    /// Learns from an event what later ones must not show.
    pub fn note(&mut self, event: &RunEvent) {
        if self.covers(&event.path) {
            self.learn(&event.body);
        }
    }

    /// Hides what must not be shown of something that is at `path`, with what looks at it.
    pub(crate) fn hide(&self, path: &StepPath, look: impl FnOnce(&mut dyn Change)) {
        if self.full || self.covers(path) {
            look(&mut Everything);
        } else if !self.texts.is_empty() {
            look(&mut Occurrences(self));
        }
    }

    fn learn(&mut self, body: &Body) {
        match body {
            Body::StepFinished { output: StepOutput { content, result, .. }, error, .. } => {
                self.learn_text(content);
                self.learn_value(result);
                error.iter().for_each(|error| self.learn_fault(error));
            }
            Body::StepRetrying { error, .. } => self.learn_fault(error),
            Body::QuestionAnswered { answer: value, .. } | Body::VariableSet { value, .. } => self.learn_value(value),
            Body::MemoryWritten { value, .. } => self.learn_value(value),
            Body::MemorySeen(seen) => {
                seen.entries.iter().filter_map(|entry| entry.value.as_ref()).for_each(|value| self.learn_value(value));
            }
            _ => {}
        }
    }

    /// Why a step failed comes again in the ends of what is around it and of the run.
    fn learn_fault(&mut self, fault: &Fault) {
        self.learn_text(&fault.message);
        fault.hint.iter().for_each(|hint| self.learn_text(hint));
        fault.detail.iter().for_each(|detail| self.learn_value(detail));
    }

    fn learn_value(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::String(text) => self.learn_text(text),
            Value::Number(number) => self.learn_text(&number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.learn_value(item)),
            Value::Object(map) => map.values().for_each(|item| self.learn_value(item)),
        }
    }

    fn learn_text(&mut self, text: &str) {
        let text = text.trim();
        // As it stands inside of JSON text, too: in the arguments that a model writes, say.
        let quoted = Value::from(text).to_string();
        let escaped = quoted.trim_matches('"');
        for text in [text, escaped] {
            if text.len() < SHORTEST || self.full || self.texts.contains(text) {
                continue;
            }
            self.bytes += text.len();
            self.full = self.texts.len() >= limits::SENSITIVE_TEXTS || self.bytes > limits::SENSITIVE_BYTES;
            if !self.full {
                self.texts.insert(text.into());
            }
        }
    }

    /// The text with what it must not show replaced; none when there is nothing of it.
    fn hidden(&self, text: &str) -> Option<String> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for secret in self.texts.iter().filter(|secret| secret.len() <= text.len()) {
            spans.extend(text.match_indices(&**secret).map(|(start, found)| (start, start + found.len())));
        }
        if spans.is_empty() {
            return None;
        }
        spans.sort_unstable();
        let (mut shown, mut at) = (String::new(), 0);
        let mut spans = spans.into_iter().peekable();
        while let Some((start, mut end)) = spans.next() {
            while let Some((_, further)) = spans.next_if(|(next, _)| *next < end) {
                end = end.max(further);
            }
            shown.push_str(text.get(at..start).unwrap_or_default());
            shown.push_str(&mark(text.get(start..end).unwrap_or_default()).to_string());
            at = end;
        }
        shown.push_str(text.get(at..).unwrap_or_default());
        Some(shown)
    }
}

/// What stands in place of a text.
fn mark(text: &str) -> Value {
    json!({ "redacted": true, "bytes": text.len(), "sha256": sha256_hex(text.as_bytes()) })
}

fn collect(scope: &Scope, at: &StepPath, into: &mut BTreeSet<String>) {
    for step in &scope.steps {
        let path = at.child(&step.id);
        if step.sensitive {
            into.insert(path.as_str().to_owned());
        } else {
            collect_judge(step, &path, into);
            if let Some(inner) = step.inner() {
                collect(inner, &path, into);
            }
        }
    }
}

fn collect_judge(step: &Step, path: &StepPath, into: &mut BTreeSet<String>) {
    if let Some(LoopKind::Repeat(repeat)) = step.repeat.as_ref().map(|repeat| &repeat.kind)
        && let Some(judge) = repeat.judge.as_ref().filter(|judge| judge.sensitive)
    {
        into.insert(path.child(&judge.id).as_str().to_owned());
    }
}

impl RunEvent {
    /// The event as sinks and traces get it.
    #[must_use]
    pub fn public(&self, sensitive: &Sensitive) -> Self {
        let mut shown = self.clone();
        sensitive.hide(sensitive.place_of(self), |change| visit(&mut shown.body, change));
        shown
    }
}

/// Replaces every text and all data.
struct Everything;

impl Change for Everything {
    fn text(&mut self, text: &str) -> Option<String> {
        (!text.is_empty()).then(|| mark(text).to_string())
    }

    fn why(&mut self, fault: &Fault) -> Option<String> {
        Some(format!("`{}` {}", fault.code, mark(&fault.message)))
    }

    fn value(&mut self, value: &Value) -> Option<Value> {
        match value {
            Value::Null => None,
            Value::String(text) => Some(mark(text)),
            other => Some(mark(&other.to_string())),
        }
    }
}

/// Replaces what must not be shown where it stands.
struct Occurrences<'s>(&'s Sensitive);

impl Change for Occurrences<'_> {
    fn text(&mut self, text: &str) -> Option<String> {
        self.0.hidden(text)
    }

    fn value(&mut self, value: &Value) -> Option<Value> {
        match value {
            Value::Null | Value::Bool(_) => None,
            Value::Number(number) => {
                let text = number.to_string();
                self.0.texts.contains(text.as_str()).then(|| mark(&text))
            }
            Value::String(text) if self.0.texts.contains(text.trim()) => Some(mark(text)),
            Value::String(text) => self.0.hidden(text).map(Value::from),
            Value::Array(items) => {
                let changed: Vec<Option<Value>> = items.iter().map(|item| self.value(item)).collect();
                let any = changed.iter().any(Option::is_some);
                let item = |(new, old): (Option<Value>, &Value)| new.unwrap_or_else(|| old.clone());
                any.then(|| changed.into_iter().zip(items).map(item).collect())
            }
            Value::Object(map) => {
                let changed: Vec<_> = map.iter().map(|(key, item)| (self.0.hidden(key), self.value(item))).collect();
                let any = changed.iter().any(|(key, item)| key.is_some() || item.is_some());
                any.then(|| {
                    let entries = changed.into_iter().zip(map).map(|((key, item), (old_key, old))| {
                        (key.unwrap_or_else(|| old_key.clone()), item.unwrap_or_else(|| old.clone()))
                    });
                    Value::Object(entries.collect())
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::StepStatus;
    use super::*;
    use crate::event::AnsweredBy;
    use crate::id::{RunId, StepId, ToolName};
    use crate::message::{Message, ToolCall, Usage};
    use crate::spec::workflow::{AgentWork, Work};
    use crate::time::Timestamp;

    fn event(path: &str, body: Body) -> RunEvent {
        RunEvent {
            seq: 1,
            sub: None,
            at: Timestamp::default(),
            run_id: RunId::parse("r").unwrap(),
            path: path.into(),
            attempt: Some(1),
            body,
        }
    }

    fn sensitive() -> Sensitive {
        let step = |id: &str, sensitive| {
            let work = Work::Agent(AgentWork::new("x"));
            Step { sensitive, ..Step::new(StepId::parse(id).unwrap(), work) }
        };
        let workflow = Workflow::of_steps("w", vec![step("secret", true), step("open", false)]);
        Sensitive::of(&workflow).unwrap()
    }

    fn finished(content: &str, result: Value) -> Body {
        let output = StepOutput { content: content.into(), result: Arc::new(result), ..StepOutput::default() };
        Body::StepFinished {
            status: StepStatus::Completed,
            output,
            error: None,
            usage: Usage::default(),
            truncated_inputs: Vec::new(),
        }
    }

    fn shown(sensitive: &mut Sensitive, event: &RunEvent) -> String {
        serde_json::to_string(&sensitive.publish(event).unwrap()).unwrap()
    }

    #[test]
    fn a_workflow_without_sensitive_steps_needs_nothing() {
        assert!(Sensitive::of(&Workflow::of_steps("w", Vec::new())).is_none());
    }

    #[test]
    fn the_content_of_a_sensitive_step_is_a_digest() {
        let mut hide = sensitive();
        let own = shown(&mut hide, &event("secret", finished("the key is 4711-aa", json!({ "pin": 4821 }))));
        assert!(!own.contains("4711") && !own.contains("4821"), "{own}");
        let digest = sha256_hex(b"the key is 4711-aa");
        assert!(own.contains(&digest) && own.contains("redacted"), "{own}");
    }

    #[test]
    fn what_a_sensitive_step_gave_is_hidden_wherever_it_comes_again() {
        let mut hide = sensitive();
        let _ = hide.publish(&event("secret", finished("key\n\"4711\"-aa", json!({ "pin": 4821 }))));
        let call = Body::ToolCallStarted {
            call_id: "1".into(),
            tool: ToolName::parse("write").unwrap(),
            args: Arc::new(json!({ "path": "a.txt", "content": "I say: key\n\"4711\"-aa!", "pin": 4821 })),
        };
        let call = shown(&mut hide, &event("open", call));
        assert!(!call.contains("4711") && !call.contains("4821") && call.contains("a.txt"), "{call}");
        let echo = finished(r#"{"text": "key\n\"4711\"-aa"}"#, Value::Null);
        let echo = shown(&mut hide, &event("open", echo));
        assert!(!echo.contains("4711") && echo.contains("text"), "{echo}");
    }

    #[test]
    fn why_a_sensitive_step_failed_is_hidden_wherever_it_comes_again() {
        let mut hide = sensitive();
        let fault = Fault::step("refused", "the key 4711-aa is refused");
        let mut failed = finished("", Value::Null);
        if let Body::StepFinished { error, .. } = &mut failed {
            *error = Some(fault.clone());
        }
        let _ = hide.publish(&event("secret", failed));
        let error = Some(Fault { message: format!("step `secret` failed: {}", fault.message), ..fault });
        let (status, usage) = (crate::event::RunStatus::Failed, Usage::default());
        let end = Body::RunFinished { status, reason: None, output: Value::Null, usage, cost: None, error };
        let end = shown(&mut hide, &event("", end));
        assert!(!end.contains("4711") && end.contains("step `secret` failed"), "{end}");
    }

    #[test]
    fn a_sensitive_step_shows_the_code_of_its_failure_and_no_tool_that_it_made_up() {
        let mut hide = sensitive();
        let mut failed = finished("", Value::Null);
        if let Body::StepFinished { error, .. } = &mut failed {
            *error = Some(Fault::step("invalid_result", "\"4711-aa\" is not an integer"));
        }
        let shown_fault = shown(&mut hide, &event("secret", failed));
        assert!(!shown_fault.contains("4711") && shown_fault.contains("`invalid_result` {"), "{shown_fault}");
        let call = ToolCall { id: "1".into(), name: "tell_4711".into(), arguments: String::new() };
        let message = Message::Assistant { text: "".into(), tool_calls: vec![call], opaque: Vec::new() };
        let turn =
            Body::TurnFinished { turn: 1, model: "m".into(), message, usage: Usage::default(), cost: None, cut: false };
        let turn = shown(&mut hide, &event("secret", turn));
        assert!(!turn.contains("4711"), "{turn}");
    }

    #[test]
    fn what_is_sensitive_is_known_from_the_record() {
        let of = sensitive();
        assert_eq!(of.places(), ["secret"]);
        let started = Body::RunStarted {
            schema_version: 1,
            workflow: String::new(),
            hash: String::new(),
            sources: Vec::new(),
            inputs: crate::value::Map::new(),
            input: None,
            context_files: Arc::default(),
            plugins: Vec::new(),
            settings: crate::value::Map::new(),
            plan: Vec::new(),
            sensitive: of.places(),
            branched_from: None,
        };
        let mut hide = Sensitive::recorded(&event("", started)).unwrap();
        assert!(!shown(&mut hide, &event("secret", finished("4711-aa", Value::Null))).contains("4711"));
    }

    #[test]
    fn pieces_of_text_are_held_back_once_there_is_something_to_hide() {
        let mut hide = sensitive();
        let piece = |path| event(path, Body::OutputDelta { turn: 1, text: "47".into() });
        assert!(hide.publish(&piece("open")).is_some());
        assert!(hide.publish(&piece("secret")).is_none());
        let answer = Body::QuestionAnswered { answer: json!("the answer"), by: AnsweredBy::Person };
        let _ = hide.publish(&event("secret", answer));
        assert!(hide.publish(&piece("open")).is_none());
    }

    #[test]
    fn more_than_can_be_remembered_hides_everything() {
        let mut hide = sensitive();
        let many: Vec<Value> = (0..=limits::SENSITIVE_TEXTS).map(|index| json!(format!("text {index}"))).collect();
        let _ = hide.publish(&event("secret", finished("many", Value::Array(many))));
        let later = shown(&mut hide, &event("open", finished("harmless", Value::Null)));
        assert!(!later.contains("harmless"), "{later}");
    }

    #[test]
    fn what_is_inside_a_sensitive_step_is_sensitive() {
        let hide = sensitive();
        for path in ["secret", "secret[3]", "secret[3].inner", "secret.judge[0]"] {
            assert!(hide.covers(&path.into()), "{path}");
        }
        for path in ["", "secrets", "open.secret"] {
            assert!(!hide.covers(&path.into()), "{path}");
        }
    }
}
