//! The spans of one run: which are open, what is around what.

use super::{Span, SpanEnd, SpanEvent, SpanId, SpanKind, Tracer};
use cofferdam_core::event::{Body, Decision, RunEvent};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::mail;
use cofferdam_core::message::Usage;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an open span is: a place of the run, a turn there, a call there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Place,
    Turn(u32),
    Call(String),
}

type Key = (StepPath, Part);

/// The open spans of a run.
#[derive(Default)]
pub(super) struct Spans {
    open: BTreeMap<Key, SpanId>,
    over: bool,
}

/// Where spans go, and how they get their names.
struct Out<'o> {
    tracer: &'o dyn Tracer,
    fresh: &'o dyn Fn() -> SpanId,
}

impl Spans {
    /// Whether the run has ended, and all spans with it.
    pub(super) fn are_over(&self) -> bool {
        self.over
    }

    /// Takes in what happened.
    pub(super) fn take(&mut self, event: &RunEvent, tracer: &dyn Tracer, fresh: &dyn Fn() -> SpanId) {
        let out = Out { tracer, fresh };
        let path = &event.path;
        match &event.body {
            Body::RunStarted { workflow, .. } => self.begin_run(event, workflow, &out),
            Body::RunResumed { .. } => self.begin_run(event, "resumed", &out),
            Body::StepStarted { agent, tool, items, inputs, .. } => {
                let kind = match (items, inputs) {
                    (Some(_), _) => SpanKind::Loop,
                    (_, Some(_)) => SpanKind::Include,
                    _ => SpanKind::Step,
                };
                let about = About {
                    agent: agent.as_ref().map(ToString::to_string),
                    tool: tool.as_ref().map(ToString::to_string),
                    ..About::of(kind, path.as_str())
                };
                self.begin((path.clone(), Part::Place), about, event, &out);
            }
            Body::LoopIterationStarted { .. } => {
                self.begin((path.clone(), Part::Place), About::of(SpanKind::Iteration, path.as_str()), event, &out);
            }
            Body::TurnStarted { turn, model } => {
                self.surround(event, &out);
                let about = About { model: Some(Arc::clone(model)), ..About::of(SpanKind::Turn, model) };
                self.begin((path.clone(), Part::Turn(*turn)), about, event, &out);
            }
            Body::ToolCallStarted { call_id, tool, .. } => {
                let name = tool.to_string();
                let about = About { tool: Some(name.clone()), ..About::of(SpanKind::ToolCall, &name) };
                self.begin((path.clone(), Part::Call(call_id.clone())), about, event, &out);
            }
            body => self.go_on(event, body, &out),
        }
    }

    /// What happens within spans, and ends them.
    fn go_on(&mut self, event: &RunEvent, body: &Body, out: &Out<'_>) {
        let path = &event.path;
        let place = (path.clone(), Part::Place);
        match body {
            Body::TurnFinished { turn, usage, .. } => {
                self.end(&(path.clone(), Part::Turn(*turn)), ("completed", None, *usage), event, out);
            }
            Body::ToolCallFinished { call_id, error, .. } => {
                let status = if error.is_some() { "failed" } else { "completed" };
                if !mail::sends_off(body) {
                    let delegate = (path.delegate(call_id), Part::Place);
                    self.end(&delegate, (status, error.clone(), Usage::default()), event, out);
                }
                self.end(
                    &(path.clone(), Part::Call(call_id.clone())),
                    (status, error.clone(), Usage::default()),
                    event,
                    out,
                );
            }
            Body::MessagePosted(posted) if path.is_delegate() => {
                let error = posted.failed.then(|| Fault::step("agent_failed", &*posted.text));
                let status = if posted.failed { "failed" } else { "completed" };
                self.end(&place, (status, error, Usage::default()), event, out);
            }
            Body::StepFinished { status, error, usage, .. } => {
                self.end(&place, (status.as_str(), error.clone(), *usage), event, out);
            }
            Body::StepSkipped { .. } => self.end_at_once(&place, "skipped", event, out),
            Body::StepCancelled { .. } => self.end_at_once(&place, "cancelled", event, out),
            Body::LoopIterationFinished { status, .. } => {
                self.end(&place, (status.as_str(), None, Usage::default()), event, out);
            }
            Body::RunFinished { status, error, usage, .. } => {
                let root = (StepPath::ROOT, Part::Place);
                self.end(&root, (status.as_str(), error.clone(), *usage), event, out);
                self.over = true;
            }
            Body::StepRetrying { error, .. } => {
                self.end_within(&place, event, out);
                self.say(event, error.message.clone(), out);
            }
            Body::Warning { message, .. } => self.say(event, message.clone(), out),
            Body::PermissionDecided { tool, decision, rule, .. } => {
                let how = if *decision == Decision::Allow { "allowed" } else { "denied" };
                self.say(event, format!("{tool} {how}: {rule}"), out);
            }
            Body::MessageDropped(dropped) => self.say(event, format!("to {} ({})", dropped.to, dropped.reason), out),
            Body::PluginFailed { plugin, error, .. } => self.say(event, format!("{plugin}: {}", error.message), out),
            Body::PluginDenied { plugin, request, .. } => self.say(event, format!("{plugin}: {request}"), out),
            _ => {}
        }
    }

    fn begin_run(&mut self, event: &RunEvent, name: &str, out: &Out<'_>) {
        let key = (StepPath::ROOT, Part::Place);
        if !self.open.contains_key(&key) {
            self.begin(key, About::of(SpanKind::Run, name), event, out);
        }
    }

    /// A coordinator and sub-agents have no event that begins them: their first turn does.
    fn surround(&mut self, event: &RunEvent, out: &Out<'_>) {
        let path = &event.path;
        let kind = match (path.is_delegate(), path.is_coordinator()) {
            (true, _) => SpanKind::Agent,
            (_, true) => SpanKind::Coordinator,
            _ => return,
        };
        let key = (path.clone(), Part::Place);
        if !self.open.contains_key(&key) {
            self.begin(key, About::of(kind, path.as_str()), event, out);
        }
    }

    fn begin(&mut self, key: Key, about: About, event: &RunEvent, out: &Out<'_>) {
        // A step that begins another try goes on in its span.
        if self.open.contains_key(&key) {
            return;
        }
        let id = (out.fresh)();
        let parent = if key.0.is_root() { None } else { self.around(&key) };
        let About { kind, name, agent, model, tool } = about;
        let (run_id, path, attempt, at) = (event.run_id.clone(), event.path.clone(), event.attempt, event.at);
        out.tracer.start(&Span { id, parent, kind, name, run_id, path, attempt, agent, model, tool, at });
        self.open.insert(key, id);
    }

    /// The span around one that begins: the innermost that is open.
    fn around(&self, (path, part): &Key) -> Option<SpanId> {
        let place = |path: &str| self.open.get(&(StepPath::from(path), Part::Place)).copied();
        let text = path.as_str();
        if *part != Part::Place
            && let Some(id) = place(text)
        {
            return Some(id);
        }
        if let Some((outer, call)) = text.rsplit_once('@')
            && let Some(id) = self.open.get(&(StepPath::from(outer), Part::Call(call.to_owned())))
        {
            return Some(*id);
        }
        let ends = text.rmatch_indices(['.', '[', '@']).map(|(end, _)| end);
        ends.filter_map(|end| text.get(..end)).find_map(place).or_else(|| place(""))
    }

    /// Ends a span and first all within it that nobody ended.
    fn end(
        &mut self,
        key: &Key,
        (status, error, usage): (&'static str, Option<Fault>, Usage),
        event: &RunEvent,
        out: &Out<'_>,
    ) {
        let Some(id) = self.open.get(key).copied() else { return };
        if key.1 == Part::Place {
            self.end_within(key, event, out);
        }
        self.open.remove(key);
        out.tracer.end(&SpanEnd { id, status, error, usage, at: event.at });
    }

    /// Ends all within a place that nobody ended, the innermost first.
    fn end_within(&mut self, key: &Key, event: &RunEvent, out: &Out<'_>) {
        let within = |(path, part): &Key| key.0.holds(path) && (*path != key.0 || *part != Part::Place);
        let mut left: Vec<Key> = self.open.keys().filter(|other| within(other)).cloned().collect();
        // Paths are in order, and turns and calls come after their place.
        while let Some(inner) = left.pop() {
            if let Some(id) = self.open.remove(&inner) {
                let usage = Usage::default();
                out.tracer.end(&SpanEnd { id, status: "unknown", error: None, usage, at: event.at });
            }
        }
    }

    /// Ends a step that may never have begun.
    fn end_at_once(&mut self, key: &Key, status: &'static str, event: &RunEvent, out: &Out<'_>) {
        let about = About::of(SpanKind::Step, key.0.as_str());
        self.begin(key.clone(), about, event, out);
        self.end(key, (status, None, Usage::default()), event, out);
    }

    fn say(&self, event: &RunEvent, message: String, out: &Out<'_>) {
        let span = self.open.get(&(event.path.clone(), Part::Place)).copied();
        let Some(span) = span.or_else(|| self.around(&(event.path.clone(), Part::Place))) else { return };
        out.tracer.event(&SpanEvent { span, name: event.body.kind(), message, at: event.at });
    }
}

/// What a span is about, before it has a name among spans.
struct About {
    kind: SpanKind,
    name: String,
    agent: Option<String>,
    model: Option<Arc<str>>,
    tool: Option<String>,
}

impl About {
    fn of(kind: SpanKind, name: &str) -> Self {
        Self { kind, name: name.to_owned(), agent: None, model: None, tool: None }
    }
}
