//! What agents said and did: turns, tool calls with what came of them, denials and retries, by step.
//!
//! It must not know what may be shown: events come without what must stay hidden.

use super::history::History;
use super::tree;
use crate::ui::paint;
use cofferdam::core::event::{Body, Decision, RunEvent};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::StepPath;
use cofferdam::core::limits;
use cofferdam::core::mail::shown;
use cofferdam::core::message::Message;
use cofferdam::core::text::escaped;
use cofferdam::core::value::to_text;
use cofferdam::sink::{duration, tokens};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

/// How much is shown of long texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Some lines.
    Short,
    /// All of it.
    Full,
}

/// Conversations by step, in the order in which they are first heard of.
pub(super) struct Transcripts {
    /// The step, or all for which a model was asked.
    step: Option<String>,
    length: Length,
    by_path: HashMap<String, Transcript>,
}

/// The conversation of one step.
#[derive(Default)]
struct Transcript {
    text: String,
    attempt: u32,
    turns: u32,
}

impl Transcripts {
    /// Those of a step, or with an empty name of each agent step.
    pub(super) fn of(step: &str, length: Length) -> Self {
        let step = (!step.is_empty()).then(|| step.to_owned());
        Self { step, length, by_path: HashMap::new() }
    }

    /// Whether an event is one of what is wanted: of the step, or of any conversation.
    pub(super) fn covers(&self, event: &RunEvent) -> bool {
        match &self.step {
            Some(step) => !event.path.is_root() && names(step, event.path.as_str()),
            None => is_of_conversation(&event.body),
        }
    }

    pub(super) fn add(&mut self, event: &RunEvent) {
        if !self.covers(event) || !is_of_conversation(&event.body) {
            return;
        }
        let length = self.length;
        let path = event.path.as_str();
        if !self.by_path.contains_key(path) {
            self.by_path.insert(path.to_owned(), Transcript::default());
        }
        let Some(transcript) = self.by_path.get_mut(path) else { return };
        transcript.add(event, length);
    }

    /// The text of all of them, in the order of the run's steps; empty when there is none.
    pub(super) fn render(&self, history: &History) -> String {
        let mut text = String::new();
        for step in history.ordered() {
            let Some(transcript) = self.by_path.get(&step.path) else { continue };
            // Steps that call one tool have nothing to tell beyond the tree, unless somebody asks for them.
            if transcript.text.is_empty() || self.step.is_none() && transcript.turns == 0 {
                continue;
            }
            let gap = if text.is_empty() { "" } else { "\n" };
            // Writing into a string cannot fail.
            let _ = write!(text, "{gap}{}", tree::line(step));
            text.push_str(&transcript.text);
        }
        text
    }
}

/// Whether `step` names what is at `path`: itself, what is inside of it, and without indices every iteration.
pub(super) fn names(step: &str, path: &str) -> bool {
    let (step, path) = (StepPath::from(step), StepPath::from(path));
    step.holds(&path) || step.holds(&StepPath::from(path.place().as_str()))
}

fn is_of_conversation(body: &Body) -> bool {
    matches!(
        body,
        Body::TurnStarted { .. }
            | Body::TurnFinished { .. }
            | Body::ToolCallStarted { .. }
            | Body::ToolCallFinished { .. }
            | Body::PermissionAsked { .. }
            | Body::PermissionDecided { .. }
            | Body::StepRetrying { .. }
            | Body::MessageDelivered(_)
            | Body::Told(_)
            | Body::MemoryRecalled(_)
    )
}

impl Transcript {
    fn add(&mut self, event: &RunEvent, length: Length) {
        let attempt = event.attempt.unwrap_or(1);
        if attempt != self.attempt {
            if attempt > 1 {
                self.row(&paint::quiet(&format!("attempt {attempt}")), "");
            }
            self.attempt = attempt;
        }
        match &event.body {
            Body::TurnStarted { turn, model, .. } => {
                self.turns += 1;
                self.row(&paint::strong(&format!("turn {turn}")), &paint::quiet(&escaped(model)));
            }
            Body::TurnFinished { message, usage, cost, .. } => {
                self.block("    ", message.text(), length);
                if let Message::Assistant { tool_calls, .. } = message {
                    for call in tool_calls {
                        self.call(&call.name.replace("__", "."), &call.arguments, length);
                    }
                }
                if let Some(tokens) = tokens(usage) {
                    let cost = cost.map(|cost| format!(", {cost}")).unwrap_or_default();
                    self.row("", &paint::quiet(&format!("  ({tokens}{cost})")));
                }
            }
            // Those of an agent stand in what it said.
            Body::ToolCallStarted { tool, args, .. } if self.turns == 0 => {
                self.call(&tool.to_string(), &args.to_string(), length);
            }
            Body::ToolCallFinished { tool, result, content, error, duration_ms, .. } => {
                let took = duration(Duration::from_millis(*duration_ms));
                self.row("", &format!("  <- {} {}", escaped(&tool.to_string()), paint::quiet(&format!("({took})"))));
                match error {
                    Some(error) => self.fault(error, length),
                    None if content.is_empty() => self.block("         ", &to_text(result), length),
                    None => self.block("         ", content, length),
                }
            }
            Body::PermissionAsked { call_id, tool, .. } => {
                let tool = escaped(&tool.to_string()).into_owned();
                self.row("", &format!("  {} {tool}: call {call_id} waits for a person", paint::warn("asks")));
            }
            Body::PermissionDecided { tool, decision: Decision::Deny, rule, .. } => {
                let line = format!("  {} {}: {}", paint::warn("denied"), escaped(&tool.to_string()), escaped(rule));
                self.row("", &line);
            }
            Body::PermissionDecided { tool, rule, .. } if length == Length::Full => {
                self.row("", &format!("  allowed {}: {}", escaped(&tool.to_string()), escaped(rule)));
            }
            Body::MessageDelivered(read) if read.turn > 0 => {
                self.read(&shown(&read.from, read.message_kind, &read.text), length);
            }
            Body::Told(told) => self.read(&told.text, length),
            Body::MemoryRecalled(recalled) if !recalled.text.is_empty() => {
                self.row("", &paint::quiet("  recalls from memory"));
                self.block("         ", &recalled.text, length);
            }
            Body::StepRetrying { error, delay_ms, .. } => {
                let wait = duration(Duration::from_millis(*delay_ms));
                self.row(&paint::warn("tries again"), &paint::quiet(&format!("after {wait}")));
                self.fault(error, length);
            }
            _ => {}
        }
    }

    fn row(&mut self, label: &str, rest: &str) {
        let gap = if label.is_empty() || rest.is_empty() { "" } else { "  " };
        let _ = writeln!(self.text, "  {label}{gap}{rest}");
    }

    /// What was put in front of the agent besides.
    fn read(&mut self, text: &str, length: Length) {
        self.row("", &paint::quiet("  reads"));
        self.block("         ", text, length);
    }

    /// A call: its arguments on one line, unless all is wanted and they are long.
    fn call(&mut self, tool: &str, arguments: &str, length: Length) {
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let most = match length {
            Length::Short => limits::TRANSCRIPT_CHARS,
            Length::Full => usize::MAX,
        };
        self.row("", &format!("  -> {} {}", paint::strong(&escaped(tool)), cut(arguments, most)));
    }

    fn fault(&mut self, fault: &Fault, length: Length) {
        let hint = fault.hint.iter().map(|hint| format!("\nhint: {hint}")).collect::<String>();
        self.block("         ", &format!("error: {}{hint}", fault.message), length);
    }

    /// A text of any number of lines, of which some are shown.
    fn block(&mut self, margin: &str, text: &str, length: Length) {
        let (most_lines, most_chars) = match length {
            Length::Short => (limits::TRANSCRIPT_LINES, limits::TRANSCRIPT_CHARS),
            Length::Full => (usize::MAX, usize::MAX),
        };
        let mut lines = text.trim_end().lines();
        for line in lines.by_ref().take(most_lines) {
            let line = format!("{margin}{}", cut(line, most_chars));
            let _ = writeln!(self.text, "{}", line.trim_end());
        }
        match lines.count() {
            0 => {}
            more => {
                let more = format!("{margin}and {more} more lines; `--full` shows them");
                let _ = writeln!(self.text, "{}", paint::quiet(&more));
            }
        }
    }
}

/// At most so many characters of a line, safe for a terminal.
fn cut(line: &str, most: usize) -> String {
    // Tabs keep their place: code is indented with them.
    let line = line.replace('\t', "    ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", escaped(line.get(..end).unwrap_or_default())),
        None => escaped(&line).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam::core::id::{RunId, ToolName};
    use cofferdam::core::message::{ToolCall, Usage};
    use cofferdam::core::time::Timestamp;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn event(path: &str, attempt: u32, body: Body) -> RunEvent {
        let (run_id, at) = (RunId::parse("r").unwrap(), Timestamp::default());
        RunEvent { seq: 1, sub: None, at, run_id, path: path.into(), attempt: Some(attempt), body }
    }

    fn events() -> Vec<RunEvent> {
        let tool = || ToolName::parse("github.search").unwrap();
        let call = ToolCall { id: "c1".into(), name: "github__search".into(), arguments: r#"{"q":"x"}"#.into() };
        let message = Message::Assistant { text: "I look.".into(), tool_calls: vec![call], opaque: Vec::new() };
        let args = Arc::new(json!({ "q": "x" }));
        let content = (0..20).map(|line| format!("line {line}\n")).collect::<String>();
        let outcome = Body::ToolCallFinished {
            call_id: "c1".into(),
            tool: tool(),
            result: Arc::new(Value::Null),
            content: content.into(),
            error: None,
            duration_ms: 12,
        };
        let usage = Usage { input: 3, output: 2, ..Usage::default() };
        let error = Fault::retry("busy", "the model is busy");
        vec![
            event("scan[0].a", 1, Body::StepReady {}),
            event("scan[0].a", 1, Body::TurnStarted { turn: 1, model: "m".into(), options: Arc::default() }),
            event("scan[0].a", 1, Body::StepRetrying { error, delay_ms: 5, usage: Usage::default() }),
            event("scan[0].a", 2, Body::TurnStarted { turn: 1, model: "m".into(), options: Arc::default() }),
            event(
                "scan[0].a",
                2,
                Body::TurnFinished { turn: 1, model: "m".into(), message, usage, cost: None, cut: false },
            ),
            event("scan[0].a", 2, Body::ToolCallStarted { call_id: "c1".into(), tool: tool(), args }),
            event("scan[0].a", 2, outcome),
        ]
    }

    fn shown(step: &str, length: Length) -> String {
        let mut history = History::new(RunId::parse("r").unwrap());
        let mut transcripts = Transcripts::of(step, length);
        for event in events() {
            history.add(&event);
            transcripts.add(&event);
        }
        transcripts.render(&history)
    }

    #[test]
    fn a_conversation_is_told_in_its_order() {
        let text = shown("", Length::Short);
        let parts =
            ["turn 1", "tries again", "error: the model is busy", "attempt 2", "I look.", "github.search", "line 5"];
        let places: Vec<usize> =
            parts.iter().map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"))).collect();
        assert!(places.is_sorted(), "{text}");
        assert_eq!(text.matches("->").count(), 1, "a call is shown once: {text}");
        assert!(text.contains("and 14 more lines") && !text.contains("line 6"), "{text}");
        assert!(shown("", Length::Full).contains("line 19"));
    }

    #[test]
    fn a_step_is_named_with_or_without_its_iteration() {
        for (step, is_named) in
            [("scan", true), ("scan.a", true), ("scan[0].a", true), ("scan[1]", false), ("sca", false)]
        {
            assert_eq!(!shown(step, Length::Short).is_empty(), is_named, "{step}");
        }
    }

    #[test]
    fn a_terminal_is_told_nothing_by_a_tool() {
        assert_eq!(cut("a\u{1b}[2J\tb", 20), "a\\u{1b}[2J    b");
        assert_eq!(cut("abcdef", 3), "abc…");
    }
}
