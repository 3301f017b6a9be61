//! What a coordinator is told, in words: of the run at its beginning, and of what happens.
//!
//! It must not know when it is told.

use super::RunRequest;
use cofferdam_core::event::{Body, RunEvent, StepStatus};
use cofferdam_core::limits;
use cofferdam_core::spec::workflow::{Work, Workflow};
use cofferdam_core::value;
use std::fmt::Write as _;

/// What the coordinator was not told yet, by the position of the event. What is too much is counted.
#[derive(Debug, Default)]
pub(super) struct News {
    lines: Vec<(u64, String)>,
    /// What comes last.
    end: Option<String>,
    bytes: usize,
    more: More,
    last: u64,
}

/// How many events of a kind are not told one by one.
#[derive(Debug, Default)]
struct More {
    began: usize,
    completed: usize,
    failed: usize,
    other: usize,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// Takes in an event that it hears of.
    pub(super) fn note(&mut self, event: &RunEvent) {
        let Some(line) = line_of(event) else { return };
        self.last = event.seq;
        if self.bytes + line.len() <= limits::COORDINATOR_NEWS_BYTES {
            self.bytes += line.len();
            self.lines.push((event.seq, line));
            return;
        }
        let count = match &event.body {
            Body::StepStarted { .. } => &mut self.more.began,
            Body::StepFinished { status: StepStatus::Completed, .. } => &mut self.more.completed,
            Body::StepFinished { .. } => &mut self.more.failed,
            _ => &mut self.more.other,
        };
        *count += 1;
    }

    /// What comes last, whatever else there is.
    pub(super) fn end(&mut self, seq: u64, line: String) {
        self.last = self.last.max(seq);
        self.end = Some(line);
    }

    /// It knows of all up to an event.
    pub(super) fn told(&mut self, upto: u64) {
        if upto >= self.last {
            *self = Self::default();
        } else {
            self.lines.retain(|(seq, _)| *seq > upto);
            // Of what was only counted nobody knows which it was.
            self.more = More::default();
            self.bytes = self.lines.iter().map(|(_, line)| line.len()).sum();
        }
    }

    /// All of it, and the last event that it is of.
    pub(super) fn take(&mut self) -> Option<(u64, String)> {
        let Self { lines, end, more, last, .. } = std::mem::take(self);
        let lines = lines.into_iter().map(|(_, line)| line);
        let lines: Vec<String> = lines.chain(more.line()).chain(end).collect();
        (last > 0).then(|| (last, lines.join("\n")))
    }
}

impl More {
    fn line(&self) -> Option<String> {
        let parts = [
            (self.began, "began"),
            (self.completed, "completed"),
            (self.failed, "failed"),
            (self.other, "were skipped, cancelled, tried again or asked a person"),
        ];
        let told: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        (!told.is_empty()).then(|| format!("Of more steps, which are not told one by one, {}.", told.join(", ")))
    }
}

/// What the coordinator is told of the run at its beginning.
pub(super) fn briefing(workflow: &Workflow, request: &RunRequest) -> String {
    // Writing into a string cannot fail.
    let mut text = format!("The run of the workflow `{}` starts.", workflow.name);
    if let Some(input) = &request.input {
        let _ = write!(text, "\n\nIts input:\n{}", shortened(input, limits::COORDINATOR_DIGEST_BYTES));
    }
    if !request.inputs.is_empty() {
        let inputs = value::to_text(&request.inputs.clone().into());
        let _ = write!(text, "\n\nIts inputs:\n{}", shortened(&inputs, limits::COORDINATOR_DIGEST_BYTES));
    }
    text.push_str("\n\nIts steps:");
    for step in workflow.scope.steps.iter().take(limits::NAMED_STEPS) {
        let _ = write!(text, "\n- {}", step.id);
        if let Some(agent) = step.agent() {
            let _ = write!(text, " (agent {agent})");
        }
        if let Work::Agent(work) = &step.work
            && !work.instructions.is_empty()
        {
            let first: String = work.instructions.chars().take(limits::COORDINATOR_INSTRUCTIONS_CHARS).collect();
            let _ = write!(text, ": {}", first.replace('\n', " "));
        }
    }
    if let more @ 1.. = workflow.scope.steps.len().saturating_sub(limits::NAMED_STEPS) {
        let _ = write!(text, "\n- and {more} more");
    }
    text
}

/// What the coordinator hears of an event, if it is told of it.
fn line_of(event: &RunEvent) -> Option<String> {
    let path = &event.path;
    let again =
        |attempt: Option<u32>| attempt.filter(|&attempt| attempt > 1).map_or(String::new(), |n| format!(" (try {n})"));
    match &event.body {
        Body::RunResumed { .. } => Some("The run goes on, after its process had ended or waited.".to_owned()),
        Body::StepStarted { .. } => Some(format!("step `{path}` began{}", again(event.attempt))),
        Body::StepRetrying { error, .. } => Some(format!("step `{path}` failed and is tried again: {error}")),
        Body::StepFinished { status: StepStatus::Completed, output, .. } => {
            let text = match output.content.is_empty() {
                true => value::to_text(&output.result),
                false => output.content.to_string(),
            };
            Some(format!("step `{path}` completed and gave:\n{}", shortened(&text, limits::COORDINATOR_DIGEST_BYTES)))
        }
        Body::StepFinished { error, .. } => {
            let why = error.as_ref().map(ToString::to_string).unwrap_or_default();
            Some(format!("step `{path}` failed: {why}"))
        }
        Body::StepSkipped { detail, .. } => Some(format!("step `{path}` was skipped: {detail}")),
        Body::StepCancelled { detail } => Some(format!("step `{path}` was cancelled: {detail}")),
        Body::QuestionAsked { question, .. } => Some(format!("step `{path}` asks a person: {question}")),
        Body::PermissionAsked { tool, .. } => {
            Some(format!("step `{path}` wants to call `{tool}`, and waits for a person to allow it"))
        }
        Body::StepWaiting(waiting) if !waiting.is_empty() => Some(format!("step `{path}` waits for a person")),
        _ => None,
    }
}

/// The beginning of what may be long.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let head = text.get(..text.floor_char_boundary(most)).unwrap_or_default();
    format!("{head}\n[... {} of {} bytes left out ...]", text.len() - head.len(), text.len())
}
