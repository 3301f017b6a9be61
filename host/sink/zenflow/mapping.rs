//! Which lines an event is. It remembers of each run what later lines repeat: when steps began, who works there, what a call
//! was given; and forgets it with the step and the run, so that each event costs the same.

use super::super::{LoopBounds, wanted};
use super::line::{Channel, Line, step_name};
use cofferdam_core::event::{Body, DropReason, LoopEnd, MessageKind, RunEvent, SkippedBecause, StepStatus};
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::time::Timestamp;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The kinds of events that become lines, or are needed for those that do.
pub(super) const KINDS: [&str; 24] = [
    "run_started",
    "run_resumed",
    "run_finished",
    "step_started",
    "step_retrying",
    "step_finished",
    "step_skipped",
    "step_cancelled",
    "loop_finished",
    "loop_postponed",
    "question_asked",
    "message_*",
    "narrated",
    "summarized",
    "turn_started",
    "turn_finished",
    "tool_call_started",
    "tool_call_finished",
    "output_delta",
    "thinking_delta",
    "effect_decided",
    "plugin_denied",
    "plugin_failed",
    "warning",
];

/// Tells what events are there.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    document: Document,
    /// The run of the document; others are of workflows inside of it.
    outermost: Option<RunId>,
    runs: HashMap<RunId, Run>,
}

/// What is known of a run's document before its events tell it.
#[derive(Debug, Default)]
struct Document {
    name: String,
    plan: Arc<Positions>,
    loops: LoopBounds,
}

/// Steps of the document's own scope by name, with their places in the plan.
type Positions = HashMap<String, usize>;

/// What is remembered of a run.
#[derive(Debug, Default)]
struct Run {
    began: Option<Timestamp>,
    plan: Arc<Positions>,
    /// A planner's run is no workflow there.
    is_planning: bool,
    steps: HashMap<StepPath, Step>,
    calls: HashMap<(StepPath, String), Arc<Value>>,
    /// Where an answer is being written.
    writing: HashSet<StepPath>,
}

#[derive(Debug)]
struct Step {
    began: Timestamp,
    agent: Option<Arc<str>>,
    /// How often a loop went round, and what ended it.
    rounds: Option<(u32, LoopEnd)>,
}

impl Run {
    fn agent(&self, path: &StepPath) -> Option<Arc<str>> {
        self.steps.get(path).or_else(|| self.steps.get(&path.step())).and_then(|step| step.agent.clone())
    }

    /// The end of what is being written there.
    fn close(&mut self, event: &RunEvent) -> Option<Line> {
        self.writing.remove(&event.path).then(|| Line::new("output", event).piece(Channel::End, ""))
    }
}

impl Mapping {
    pub(super) fn of(name: String, steps: Vec<String>, loops: LoopBounds) -> Self {
        Self { document: Document { name, plan: positions(steps), loops }, ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn remembers_nothing(&self) -> bool {
        self.runs.is_empty()
    }

    /// The lines of an event.
    pub(super) fn tell(&mut self, event: &RunEvent) -> Vec<Line> {
        let is_own = *self.outermost.get_or_insert_with(|| event.run_id.clone()) == event.run_id;
        match &event.body {
            Body::RunStarted { .. } | Body::RunResumed { .. } => self.start(event, is_own),
            Body::RunFinished { .. } => self.end(event),
            body => {
                let loops = is_own.then_some(&self.document.loops);
                let run = self.runs.entry(event.run_id.clone()).or_default();
                match body {
                    Body::StepStarted { .. } => begin(run, event, loops).into_iter().collect(),
                    Body::StepFinished { .. }
                    | Body::StepSkipped { .. }
                    | Body::StepCancelled { .. }
                    | Body::StepRetrying { .. } => run.close(event).into_iter().chain(ended(run, event)).collect(),
                    Body::LoopFinished { iterations, because } => {
                        if let Some(step) = run.steps.get_mut(&event.path) {
                            step.rounds = Some((*iterations, *because));
                        }
                        Vec::new()
                    }
                    Body::StepWaiting(_) => run.close(event).into_iter().collect(),
                    Body::TurnFinished { .. } => run.close(event).into_iter().chain(worked(run, event)).collect(),
                    _ => worked(run, event).or_else(|| said(event)).into_iter().collect(),
                }
            }
        }
    }

    fn start(&mut self, event: &RunEvent, is_own: bool) -> Vec<Line> {
        let mut run = Run { began: Some(event.at), ..Run::default() };
        let lines = match &event.body {
            Body::RunStarted { workflow, plan, settings, .. } => {
                let metadata = settings.get("metadata");
                let has = |key: &str| metadata.is_some_and(|metadata| metadata.get(key).is_some());
                run.is_planning = workflow == crate::Orchestrator::PLANNER && has("goal") && !has("planned_by");
                run.plan = positions(plan.clone());
                let ready = json!({ "workflow": { "name": workflow, "steps": plan } });
                let started = Line::new("workflow_start", event).message(workflow.as_str());
                vec![Line::new("plan_ready", event).data(ready), started.data(json!({ "total": plan.len() }))]
            }
            _ if is_own => {
                run.plan = Arc::clone(&self.document.plan);
                let data = json!({ "total": run.plan.len(), "resumed": true });
                vec![Line::new("workflow_start", event).message(self.document.name.as_str()).data(data)]
            }
            _ => vec![Line::new("workflow_start", event).data(json!({ "resumed": true }))],
        };
        let is_planning = run.is_planning;
        self.runs.insert(event.run_id.clone(), run);
        if is_planning { Vec::new() } else { lines }
    }

    fn end(&mut self, event: &RunEvent) -> Vec<Line> {
        let Body::RunFinished { status, usage, error, .. } = &event.body else { return Vec::new() };
        let run = self.runs.remove(&event.run_id).unwrap_or_default();
        if run.is_planning {
            return Vec::new();
        }
        let took = event.at.since(run.began.unwrap_or(event.at));
        let line = Line::new("workflow_end", event).took(Some(took)).tokens(usage).error(error.as_ref());
        vec![line.data(json!({ "status": status.as_str() }))]
    }
}

fn positions(steps: Vec<String>) -> Arc<Positions> {
    Arc::new(steps.into_iter().enumerate().map(|(index, step)| (step, index)).collect())
}

/// The first try of a step; further ones are told when the try before has failed.
fn begin(run: &mut Run, event: &RunEvent, loops: Option<&LoopBounds>) -> Option<Line> {
    let Body::StepStarted { agent, items, .. } = &event.body else { return None };
    if run.steps.contains_key(&event.path) {
        return None;
    }
    let agent: Option<Arc<str>> = agent.as_ref().map(|agent| agent.as_str().into());
    let step = Step { began: event.at, agent: agent.clone(), rounds: None };
    run.steps.insert(event.path.clone(), step);
    if run.is_planning || event.path.is_coordinator() {
        return None;
    }
    let mut data = serde_json::Map::new();
    if let Some(index) = run.plan.get(event.path.as_str()) {
        data.insert("index".to_owned(), json!(index));
        data.insert("total".to_owned(), json!(run.plan.len()));
    }
    if let Some(items) = items {
        data.insert("loop_type".to_owned(), json!("forEach"));
        data.insert("items".to_owned(), json!(items.len()));
    } else if event.attempt.is_none() && loops.is_some_and(|loops| loops.repeats(&event.path)) {
        data.insert("loop_type".to_owned(), json!("repeat"));
    }
    let line = Line::new("step_start", event).agent(agent);
    Some(if data.is_empty() { line } else { line.data(data.into()) })
}

fn ended(run: &mut Run, event: &RunEvent) -> Option<Line> {
    if let Body::StepRetrying { error, delay_ms, usage } = &event.body {
        let line = Line::new("message", event).agent(run.agent(&event.path)).spent(usage);
        let data = json!({ "reason": "retrying", "delay_ms": delay_ms, "error": error.to_string() });
        return Some(line.message(format!("a try failed, and another follows: {error}")).data(data));
    }
    let step = run.steps.remove(&event.path);
    let is_quiet = run.is_planning || event.path.is_coordinator();
    let took = step.as_ref().map(|step| event.at.since(step.began));
    let agent = step.as_ref().and_then(|step| step.agent.clone());
    let line = |kind| Line::new(kind, event).agent(agent.clone());
    let told = match &event.body {
        Body::StepFinished { status, error, usage, .. } => {
            let kind = if *status == StepStatus::Completed { "step_end" } else { "error" };
            if is_quiet && kind == "step_end" {
                return None;
            }
            let line = line(kind).took(took.or(Some(std::time::Duration::ZERO))).spent(usage).error(error.as_ref());
            match step.and_then(|step| step.rounds) {
                Some((count, because)) => line.data(json!({ "iterations": count, "loop_end": because.as_str() })),
                None => line,
            }
        }
        Body::StepSkipped { because, detail } => {
            let what = if *because == SkippedBecause::Condition { "condition false" } else { detail.as_str() };
            line("step_skipped")
                .message(what)
                .data(json!({ "status": "skipped", "because": because, "detail": detail }))
        }
        Body::StepCancelled { detail } if !is_quiet => {
            line("step_skipped").message(detail.as_str()).took(took).data(json!({ "status": "cancelled" }))
        }
        _ => return None,
    };
    Some(told)
}

/// What agents do.
fn worked(run: &mut Run, event: &RunEvent) -> Option<Line> {
    let line = |kind, run: &Run| Line::new(kind, event).agent(run.agent(&event.path));
    let told = match &event.body {
        Body::TurnStarted { turn, model, .. } => {
            line("agent_turn", run).data(json!({ "phase": "request", "turn": turn, "model": model }))
        }
        Body::TurnFinished { turn, model, usage, .. } => {
            let data = json!({ "phase": "response", "turn": turn, "model": model });
            line("agent_turn", run).tokens(usage).data(data)
        }
        Body::ToolCallStarted { call_id, tool, args } => {
            run.calls.insert((event.path.clone(), call_id.clone()), Arc::clone(args));
            let data =
                json!({ "phase": "start", "tool_name": tool, "tool_call_id": call_id, "input": args.to_string() });
            line("tool_call", run).data(called(event, data))
        }
        Body::ToolCallFinished { call_id, tool, result, content, error, duration_ms } => {
            let args = run.calls.remove(&(event.path.clone(), call_id.clone()));
            let output = if content.is_empty() && !result.is_null() { result.to_string() } else { content.to_string() };
            let input = args.map(|args| args.to_string());
            let data = json!({
                "phase": "end", "tool_name": tool, "tool_call_id": call_id, "input": input, "output": output
            });
            let took = std::time::Duration::from_millis(*duration_ms);
            line("tool_call", run).took(Some(took)).error(error.as_ref()).data(called(event, data))
        }
        Body::OutputDelta { text, .. } => {
            run.writing.insert(event.path.clone());
            Line::new("output", event).piece(Channel::Text, text)
        }
        Body::ThinkingDelta { text, .. } => {
            run.writing.insert(event.path.clone());
            Line::new("output", event).piece(Channel::Reasoning, text)
        }
        _ => return None,
    };
    Some(told)
}

/// With how deep a sub-agent is that calls, and for which call of the agent above it works.
fn called(event: &RunEvent, mut data: Value) -> Value {
    let path = event.path.as_str();
    if let (true, Some((_, call)), Some(map)) = (event.path.is_delegate(), path.rsplit_once('@'), data.as_object_mut())
    {
        map.insert("depth".to_owned(), json!(path.matches('@').count()));
        map.insert("parentCallID".to_owned(), json!(call));
    }
    data
}

/// What is said: between agents, to people, and of what went wrong.
fn said(event: &RunEvent) -> Option<Line> {
    let line = |kind| Line::new(kind, event);
    let told = match &event.body {
        Body::MessagePosted(posted) => {
            let data =
                json!({ "to": step_name(&posted.to), "text": posted.text, "msg_type": number(posted.message_kind) });
            line("message_sent").message(&*posted.text).data(data)
        }
        Body::MessageDelivered(letter) if event.path.is_coordinator() => {
            let mut told = line("coordinator_inbox_message").message(&*letter.text);
            told = told.data(json!({ "from": step_name(&letter.from), "type": letter.message_kind }));
            told
        }
        Body::MessageDelivered(letter) => {
            let from = step_name(&letter.from);
            let data = json!({ "from": from, "msg_type": number(letter.message_kind) });
            line("agent_inbox_drain").message(format!("[{from}]: {}", letter.text)).data(data)
        }
        Body::MessageDropped(letter) => {
            let (from, to) = (step_name(&letter.from), step_name(&letter.to));
            let text = format!("[{from} -> {to}]: {}", letter.text);
            let data = json!({ "reason": reason(letter.reason), "from": from, "to": to });
            line("message_dropped").step(&letter.to).message(text).data(data)
        }
        Body::Narrated { text, .. } => line("coordinator_narration").step(&StepPath::coordinator()).message(&**text),
        Body::Summarized { summary } => line("coordinator_synthesis").message(&**summary),
        Body::Warning { code, message } if code == "wake_cycles" => {
            let data = json!({ "current_cycle": limits::WAKE_CYCLES * 4 / 5, "max_cycles": limits::WAKE_CYCLES });
            line("max_wake_cycles_warning").message(message.as_str()).data(data)
        }
        Body::Warning { code, message } if code == "judge_failed" => {
            let fault = cofferdam_core::fault::Fault::step("judge_failed", message.as_str());
            line("error").error(Some(&fault))
        }
        Body::Warning { code, message } => {
            line("message").message(message.as_str()).data(json!({ "reason": "warning", "code": code }))
        }
        Body::PluginFailed { plugin, error, .. } => {
            line("error").error(Some(error)).data(json!({ "reason": "plugin_failed", "plugin": plugin }))
        }
        Body::PluginDenied { plugin, request, allow, .. } => {
            let data = json!({ "reason": "plugin_denied", "plugin": plugin, "request": request, "allow": allow });
            line("message").message(format!("plugin `{plugin}` asked for `{request}`, which it may not")).data(data)
        }
        Body::QuestionAsked { question, choices, .. } => {
            line("message").message(question.as_str()).data(json!({ "reason": "question", "choices": choices }))
        }
        Body::PermissionAsked { tool, args, agent, .. } => {
            let data = json!({ "reason": "permission", "tool_name": tool, "args": args });
            line("message").message(wanted(agent.as_deref(), tool, args)).data(data)
        }
        Body::LoopPostponed { until } => {
            let text = "the pause before the next iteration is not waited for";
            line("message").message(text).data(json!({ "reason": "postponed", "until": until }))
        }
        Body::EffectDecided { tool, decision, rule, .. } => {
            let data = json!({ "reason": "effect", "tool_name": tool, "decision": decision });
            line("message").message(format!("the effect of `{tool}` is not known: {rule}")).data(data)
        }
        _ => return None,
    };
    Some(told)
}

/// The kind of a message as a number, as it is there.
fn number(kind: MessageKind) -> u8 {
    match kind {
        MessageKind::Info => 0,
        MessageKind::Cancel => 1,
        MessageKind::ContextUpdate => 2,
    }
}

/// Why a message was dropped, in the words that are used there.
fn reason(reason: DropReason) -> &'static str {
    match reason {
        DropReason::UnknownStep => "unknown-step",
        DropReason::TargetFinished => "target-terminal",
        DropReason::MailboxFull => "mailbox-full",
        DropReason::RunCancelled => "workflow-cancelled",
        DropReason::NoCoordinator => "no-coordinator",
        DropReason::WrapperTarget => "wrapper-target",
        DropReason::MaxWakeCycles => "max-wake-cycles",
        DropReason::HoldTimeout => "hold-timeout",
    }
}
