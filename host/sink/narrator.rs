//! What a person wants to know of each event, in words. Every view for people speaks through it.
//!
//! It must not know colours, columns or terminals.

use super::changed::{changed, overlaps};
use super::clean::clean;
use super::quantity;
use super::rounds::{LoopBounds, Rounds};
use cofferdam_core::event::{AnsweredBy, Body, Decision, EffectDecision, MessageKind, PluginPin, RunEvent, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::mail;
use cofferdam_core::time::Timestamp;
use cofferdam_core::value;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// Most characters of a detail; the journal has the rest.
const DETAIL_CHARS: usize = 300;

/// Most characters of an answer; how it came about must still be seen.
const ANSWER_CHARS: usize = 200;

/// One thing that a person wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// Where in the run; empty for the run itself.
    pub path: String,
    /// How it should look.
    pub tone: Tone,
    /// What happened, in one word.
    pub word: &'static str,
    /// The rest, safe for a terminal, perhaps empty.
    pub detail: String,
}

/// How a line should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// In passing.
    Quiet,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

/// Tells what events mean. It remembers when steps began, and which loops go round.
#[derive(Debug, Default)]
pub struct Narrator {
    began: HashMap<StepPath, Begun>,
    rounds: Rounds,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    at: Timestamp,
    /// Its one tool call is the step itself, and not told twice.
    is_tool: bool,
}

impl Narrator {
    /// With the most iterations of loops, which events do not tell.
    #[must_use]
    pub fn loop_bounds(mut self, bounds: LoopBounds) -> Self {
        self.rounds.bounds = bounds;
        self
    }

    /// The lines of an event; most events have none.
    pub fn tell(&mut self, event: &RunEvent) -> Vec<Line> {
        let mut lines = self.tell_event(event);
        if let Some((path, word, detail)) = self.rounds.tell(event) {
            lines.push(Line { at: event.at, path, tone: Tone::Quiet, word, detail });
        }
        lines
    }

    fn tell_event(&mut self, event: &RunEvent) -> Vec<Line> {
        let line = |tone, word, detail: String| line_of(event, tone, word, &detail);
        match &event.body {
            Body::RunStarted { workflow, plugins, .. } => {
                self.began.insert(event.path.clone(), Begun { at: event.at, is_tool: false });
                let begun = line(Tone::Quiet, "started", format!("{workflow}, run {}", event.run_id));
                with_plugins(event, begun, plugins)
            }
            Body::RunResumed { plugins, .. } => {
                self.began.insert(event.path.clone(), Begun { at: event.at, is_tool: false });
                with_plugins(event, line(Tone::Quiet, "resumed", format!("run {}", event.run_id)), plugins)
            }
            Body::RunFinished { status, usage, cost, error, .. } => {
                let tone = if error.is_none() { Tone::Good } else { Tone::Bad };
                let took = self.took(event).map(quantity::duration);
                vec![line(tone, status.as_str(), joined([took, quantity::spent(usage, *cost)]))]
            }
            Body::StepStarted { .. } => {
                self.start(event).map(|what| line(Tone::Quiet, "started", what)).into_iter().collect()
            }
            Body::StepRetrying { error, delay_ms, .. } => {
                let wait = quantity::duration(Duration::from_millis(*delay_ms));
                vec![line(Tone::Warn, "retrying", format!("in {wait}: {error}"))]
            }
            Body::StepFinished { status, error, usage, output, .. } => {
                let took = self.took(event).map(quantity::duration);
                let cut = output.truncated.then(|| "cut off".to_owned());
                let what = joined([took, quantity::tokens(usage), cut, error.as_ref().map(ToString::to_string)]);
                let tone = if *status == StepStatus::Completed { Tone::Good } else { Tone::Bad };
                let hint = error.as_ref().and_then(short_hint).map(|hint| line(Tone::Quiet, "hint", hint));
                std::iter::once(line(tone, status.as_str(), what)).chain(hint).collect()
            }
            Body::StepSkipped { detail, .. } => vec![line(Tone::Quiet, "skipped", detail.clone())],
            // Items of a loop that never began are not told: there may be thousands.
            Body::StepCancelled { .. } if is_inside_loop(&event.path) && !self.began.contains_key(&event.path) => {
                Vec::new()
            }
            Body::StepCancelled { detail } => vec![line(Tone::Warn, "cancelled", detail.clone())],
            Body::PermissionDecided { tool, decision: Decision::Deny, rule, .. } => {
                vec![line(Tone::Warn, "denied", format!("tool `{tool}`: {rule}"))]
            }
            Body::PluginDenied { plugin, request, .. } => {
                vec![line(Tone::Warn, "denied", format!("plugin `{plugin}` asked for `{request}`"))]
            }
            Body::PluginFailed { plugin, error, .. } => {
                vec![line(Tone::Bad, "plugin", format!("`{plugin}`: {error}"))]
            }
            // What they did is an event of its own.
            Body::ToolCallFinished { tool, error: None, .. } if mail::is_tool(tool) => Vec::new(),
            Body::ToolCallFinished { tool, error, duration_ms, .. } if !self.is_tool_step(&event.path) => {
                let took = quantity::duration(Duration::from_millis(*duration_ms));
                let (tone, failure) = match error {
                    None => (Tone::Quiet, String::new()),
                    Some(fault) => (Tone::Warn, format!(": {fault}")),
                };
                vec![line(tone, "tool", format!("{tool}, {took}{failure}"))]
            }
            _ => said(event),
        }
    }

    /// Notes the start of a step. Steps inside a loop are told of when they end, or their list would be endless.
    fn start(&mut self, event: &RunEvent) -> Option<String> {
        let Body::StepStarted { agent, tool, items, .. } = &event.body else { return None };
        // The first try counts: the duration of a step has all of them in it.
        self.began.entry(event.path.clone()).or_insert(Begun { at: event.at, is_tool: tool.is_some() });
        if is_inside_loop(&event.path) {
            return None;
        }
        let again = event.attempt.filter(|attempt| *attempt > 1).map(|attempt| format!("try {attempt}"));
        let what = match (agent, tool, items) {
            (_, _, Some(items)) => Some(format!("{} item{}", items.len(), if items.len() == 1 { "" } else { "s" })),
            (Some(agent), _, _) => Some(format!("agent {agent}")),
            (_, Some(tool), _) => Some(format!("tool {tool}")),
            // What works itself has tries; a group, a loop, an included document has none of its own.
            (None, None, None) => event.attempt.map(|_| "default agent".to_owned()),
        };
        Some(joined([what, again]))
    }

    fn took(&mut self, event: &RunEvent) -> Option<Duration> {
        self.began.remove(&event.path).map(|begun| event.at.since(begun.at))
    }

    fn is_tool_step(&self, path: &StepPath) -> bool {
        self.began.get(path).is_some_and(|begun| begun.is_tool)
    }
}

fn line_of(event: &RunEvent, tone: Tone, word: &'static str, detail: &str) -> Line {
    Line {
        at: event.at,
        path: event.path.as_str().trim_start_matches('@').to_owned(),
        tone,
        word,
        detail: clean(detail, DETAIL_CHARS),
    }
}

/// The beginning of a run, and the plugins that it has.
fn with_plugins(event: &RunEvent, begun: Line, plugins: &[PluginPin]) -> Vec<Line> {
    let plugins = plugins.iter().map(|pin| line_of(event, Tone::Quiet, "plugin", &describe(pin)));
    std::iter::once(begun).chain(plugins).collect()
}

/// What is told as it stands in the event.
fn said(event: &RunEvent) -> Vec<Line> {
    let line = |tone, word, detail: String| line_of(event, tone, word, &detail);
    match &event.body {
        Body::LoopPostponed { .. } => {
            vec![line(Tone::Warn, "postponed", "the pause before the next iteration is not waited for".to_owned())]
        }
        Body::EffectDecided { tool, decision, rule, .. } => {
            let what = match decision {
                EffectDecision::Repeat => "is called again",
                EffectDecision::Fail => "is not called again",
            };
            vec![line(Tone::Warn, "effect", format!("of `{tool}` is not known; it {what}: {rule}"))]
        }
        Body::Warning { message, .. } => vec![line(Tone::Warn, "warning", message.clone())],
        Body::FilesChanged(changes) => {
            let files = line(Tone::Quiet, "changed", changed(changes));
            let others = overlaps(changes).into_iter().map(|what| line(Tone::Warn, "conflict", what));
            std::iter::once(files).chain(others).collect()
        }
        Body::BudgetWarning(mark) => vec![line(Tone::Warn, "budget", mark.to_string())],
        Body::BudgetExhausted(mark) => vec![line(Tone::Bad, "budget", format!("used up: {mark}"))],
        Body::QuestionAsked { question, deferred: true, .. } => {
            vec![line(Tone::Warn, "waiting", format!("nobody is there to answer: {question}"))]
        }
        Body::QuestionAsked { question, .. } => vec![line(Tone::Quiet, "asking", question.clone())],
        Body::QuestionAnswered { answer, by } => vec![line(Tone::Quiet, "answered", answered(answer, *by))],
        Body::MessagePosted(posted) if event.path.is_delegate() => {
            let (tone, what) = if posted.failed { (Tone::Bad, "has failed") } else { (Tone::Quiet, "is done") };
            vec![line(tone, "sub-agent", what.to_owned())]
        }
        Body::MessagePosted(posted) => {
            let to = name_of(&posted.to);
            let what = match posted.message_kind {
                MessageKind::Info => format!("to {to}: {}", posted.text),
                MessageKind::ContextUpdate => format!("to {to}, an update: {}", posted.text),
                MessageKind::Cancel => format!("to {to}, to stop it: {}", posted.text),
            };
            vec![line(Tone::Quiet, "message", what)]
        }
        Body::MessageDropped(dropped) => {
            let (from, to) = (name_of(&dropped.from), name_of(&dropped.to));
            vec![line(Tone::Warn, "unread", format!("from {from} to {to} ({}): {}", dropped.reason, dropped.text))]
        }
        Body::Narrated { text, .. } => vec![line(Tone::Good, "says", text.to_string())],
        Body::MemoryRecalled(recalled) if !recalled.found.is_empty() => {
            let count = recalled.found.len();
            vec![line(Tone::Quiet, "recalled", format!("{count} text{}", if count == 1 { "" } else { "s" }))]
        }
        Body::VariableSet { key, value } => vec![line(Tone::Quiet, "variable", format!("{key} = {value}"))],
        Body::MemoryWritten { namespace, key, value, .. } => {
            vec![line(Tone::Quiet, "memory", format!("{namespace}.{key} = {value}"))]
        }
        Body::MemoryDeleted { namespace, key, .. } => {
            vec![line(Tone::Quiet, "memory", format!("{namespace}.{key} removed"))]
        }
        _ => Vec::new(),
    }
}

/// Who writes or reads, for people.
fn name_of(path: &StepPath) -> &str {
    if path.is_coordinator() { "the coordinator" } else { path.as_str() }
}

fn is_inside_loop(path: &StepPath) -> bool {
    path.as_str().contains('[')
}

/// A hint that fits in a line; the exact lines of a grant are told at the end of a run.
fn short_hint(fault: &Fault) -> Option<String> {
    fault.hint.as_ref().filter(|hint| !hint.contains('\n')).cloned()
}

/// An answer, and how it came about.
fn answered(answer: &Value, by: AnsweredBy) -> String {
    let answer = clean(&value::to_text(answer), ANSWER_CHARS);
    match by {
        AnsweredBy::Person => answer,
        AnsweredBy::Given => format!("{answer} (given with the run)"),
        AnsweredBy::Default => format!("{answer} (the default)"),
    }
}

fn describe(pin: &PluginPin) -> String {
    let granted = if pin.granted.is_empty() { "only compute".to_owned() } else { pin.granted.join("; ") };
    format!("`{}` ({}) may {granted}", pin.alias, pin.name)
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{event, later};
    use super::*;
    use cofferdam_core::event::StepOutput;
    use cofferdam_core::id::ToolName;
    use cofferdam_core::message::Usage;
    use std::sync::Arc;

    fn started(tool: Option<&str>) -> Body {
        Body::StepStarted {
            agent: None,
            tool: tool.map(|name| ToolName::parse(name).unwrap()),
            items: None,
            inputs: None,
            narrowed: Vec::new(),
        }
    }

    fn finished(error: Option<Fault>) -> Body {
        let status = if error.is_none() { StepStatus::Completed } else { StepStatus::Failed };
        let usage = Usage { input: 3, output: 1, ..Usage::default() };
        Body::StepFinished { status, output: StepOutput::default(), error, usage, truncated_inputs: Vec::new() }
    }

    fn words(lines: &[Line]) -> Vec<(&str, &str)> {
        lines.iter().map(|line| (line.word, line.detail.as_str())).collect()
    }

    #[test]
    fn a_step_is_told_with_its_time_and_tokens() {
        let mut narrator = Narrator::default();
        assert_eq!(words(&narrator.tell(&event("list", started(Some("glob"))))), [("started", "tool glob")]);
        let call = Body::ToolCallFinished {
            call_id: "1".into(),
            tool: ToolName::parse("glob").unwrap(),
            result: Arc::default(),
            content: Arc::default(),
            error: None,
            duration_ms: 1,
        };
        assert!(narrator.tell(&event("list", call)).is_empty());
        assert_eq!(words(&narrator.tell(&later("list", 12, finished(None)))), [("completed", "12 ms, 3 in, 1 out")]);
    }

    #[test]
    fn questions_answers_and_variables_are_told() {
        let mut narrator = Narrator::default();
        let asked =
            |deferred| Body::QuestionAsked { question: "Publish?".into(), choices: Vec::new(), schema: None, deferred };
        let mut told = |body: Body| {
            let line = narrator.tell(&event("ok", body)).remove(0);
            format!("{} {}", line.word, line.detail)
        };
        assert_eq!(told(asked(false)), "asking Publish?");
        assert_eq!(told(asked(true)), "waiting nobody is there to answer: Publish?");
        let answered = |by| Body::QuestionAnswered { answer: "yes".into(), by };
        assert_eq!(told(answered(AnsweredBy::Person)), "answered yes");
        assert_eq!(told(answered(AnsweredBy::Given)), "answered yes (given with the run)");
        assert_eq!(told(Body::VariableSet { key: "k".into(), value: 3.into() }), "variable k = 3");
    }

    #[test]
    fn what_holds_other_steps_is_no_agent() {
        let group = RunEvent { attempt: None, ..event("both", started(None)) };
        assert_eq!(words(&Narrator::default().tell(&group)), [("started", "")]);
        assert_eq!(words(&Narrator::default().tell(&event("a", started(None)))), [("started", "default agent")]);
    }

    #[test]
    fn steps_inside_a_loop_are_told_of_when_they_end() {
        let mut narrator = Narrator::default();
        assert!(narrator.tell(&event("scan[3]", started(None))).is_empty());
        let fault = Fault::step("boom", "it\u{1b}[31m broke").with_hint("mend it");
        let lines = narrator.tell(&later("scan[3]", 0, finished(Some(fault))));
        assert_eq!(words(&lines), [("failed", "<1 ms, 3 in, 1 out, it [31m broke"), ("hint", "mend it")]);
        assert_eq!(lines[0].tone, Tone::Bad);
    }
}
