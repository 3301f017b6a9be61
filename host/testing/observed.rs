//! What happened, in the form that expectations look at.

use super::models::Asked;
use super::verdict::Miss;
use cofferdam_core::diagnostic::{Diagnostic, Diagnostics};
use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::fault::Fault;
use cofferdam_core::message::Usage;
use cofferdam_core::run::{RunResult, StepResult};
use cofferdam_core::value::Map;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What happened.
pub(super) enum Observed {
    /// The run came to an end.
    Ran(Box<Seen>),
    /// The run did not start.
    Refused(Vec<Value>),
    /// Something went wrong that no case can expect.
    Broken(String),
}

/// What is known of a run.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) run: Value,
    pub(super) path: Vec<Value>,
    pub(super) requests: Vec<(String, Value)>,
    pub(super) vars: Map,
    /// The shared memory by `agent.key`.
    pub(super) memory: Map,
    steps: Map,
    loops: Map,
    calls: Map,
    /// First begin and last end of each step, as positions of events.
    spans: BTreeMap<String, (Option<u64>, Option<u64>)>,
}

impl Observed {
    pub(super) fn refused_by_findings(findings: &Diagnostics) -> Self {
        let shown = |finding: &Diagnostic| {
            json!({
                "code": finding.code,
                "message": finding.message,
                "hint": finding.hint,
                "line": finding.place.as_ref().map(|place| place.line),
                "column": finding.place.as_ref().map(|place| place.column),
                "path": finding.path,
            })
        };
        Self::Refused(findings.iter().map(shown).collect())
    }

    pub(super) fn refused_by_host(faults: &[Fault]) -> Self {
        let shown = |fault: &Fault| json!({ "code": fault.code, "message": fault.message, "hint": fault.hint });
        Self::Refused(faults.iter().map(shown).collect())
    }
}

impl Seen {
    pub(super) fn new(result: &RunResult, events: &[Arc<RunEvent>], asked: Asked) -> Self {
        let count = |path: &str| asked.times.get(path).copied().unwrap_or_default();
        let steps = result.steps.iter().map(|found| {
            let path = found.path.to_string();
            let requests = count(&path);
            (path, step(found, requests))
        });
        let error = result.error.as_ref().map(|error| with_step(fault(&error.fault), error.step.as_str()));
        let mut seen = Self {
            run: json!({
                "status": result.status,
                "reason": result.reason,
                "output": result.output,
                "error": error,
                "usage": usage(&result.usage, asked.times.values().sum()),
                "cost": result.cost.total,
                "budget": [],
                "warnings": result.warnings,
                "durationMs": result.duration_ms,
                "summary": result.summary,
                "narrated": [],
                "mail": { "posted": 0, "delivered": 0, "dropped": [] },
            }),
            path: result.execution_path.iter().map(|path| path.as_str().into()).collect(),
            steps: steps.collect(),
            ..Self::default()
        };
        for found in &result.loops {
            let value = json!({ "iterations": found.iterations, "items": found.items, "completed": found.completed });
            seen.loops.insert(found.path.to_string(), value);
        }
        seen.requests = asked.requests;
        events.iter().for_each(|event| seen.see(event));
        seen
    }

    /// Why the run failed and where; nothing when it did not.
    pub(super) fn reason_of_failure(&self) -> String {
        let told = |key: &str| self.run.pointer(&format!("/error/{key}")).and_then(Value::as_str);
        let step = told("step").filter(|step| !step.is_empty()).map(|step| format!(" (step `{step}`)"));
        told("message").map(|why| format!(": {why}{}", step.unwrap_or_default())).unwrap_or_default()
    }

    fn see(&mut self, event: &RunEvent) {
        let path = event.path.to_string();
        match &event.body {
            Body::StepStarted { .. } => _ = self.spans.entry(path).or_default().0.get_or_insert(event.seq),
            Body::StepFinished { .. } | Body::StepSkipped { .. } | Body::StepCancelled { .. } => {
                self.spans.entry(path).or_default().1 = Some(event.seq);
            }
            Body::LoopFinished { because, .. } => {
                if let Some(Value::Object(found)) = self.loops.get_mut(&path) {
                    found.insert("because".to_owned(), because.as_str().into());
                }
            }
            Body::VariableSet { key, value } => _ = self.vars.insert(key.clone(), value.clone()),
            Body::MemoryWritten { namespace, key, value, .. } => {
                self.memory.insert(format!("{namespace}.{key}"), (**value).clone());
            }
            Body::MemoryDeleted { namespace, key, .. } => _ = self.memory.shift_remove(&format!("{namespace}.{key}")),
            Body::MemorySeen(seen) => seen.entries.iter().for_each(|entry| {
                let name = format!("{}.{}", entry.namespace, entry.key);
                match &entry.value {
                    Some(value) => drop(self.memory.insert(name, (**value).clone())),
                    None => drop(self.memory.shift_remove(&name)),
                }
            }),
            Body::Narrated { text, .. } => self.note("/narrated", text.as_ref().into()),
            Body::MessageDropped(dropped) => self.note("/mail/dropped", dropped.reason.as_str().into()),
            Body::BudgetWarning(mark) => self.note("/budget", format!("warning: {mark}").into()),
            Body::BudgetExhausted(mark) => self.note("/budget", format!("exhausted: {mark}").into()),
            Body::MessagePosted(_) => self.count("/mail/posted"),
            Body::MessageDelivered(_) => self.count("/mail/delivered"),
            Body::ToolCallStarted { tool, args, .. } => self.call(&tool.to_string(), "args", args),
            Body::ToolCallFinished { tool, result, .. } => self.call(&tool.to_string(), "result", result),
            _ => {}
        }
    }

    fn note(&mut self, place: &str, value: Value) {
        if let Some(list) = self.run.pointer_mut(place).and_then(Value::as_array_mut) {
            list.push(value);
        }
    }

    fn count(&mut self, place: &str) {
        if let Some(count) = self.run.pointer_mut(place) {
            *count = (count.as_u64().unwrap_or_default() + 1).into();
        }
    }

    fn call(&mut self, tool: &str, key: &str, value: &Value) {
        let entry = self.calls.entry(tool).or_insert_with(Self::no_calls);
        if let Some(list) = entry.get_mut(key).and_then(Value::as_array_mut) {
            list.push(value.clone());
        }
        let times = entry.get("args").and_then(Value::as_array).map_or(0, Vec::len);
        if let Some(found) = entry.get_mut("times") {
            *found = times.into();
        }
    }

    /// A tool that nobody called.
    pub(super) fn no_calls() -> Value {
        json!({ "times": 0, "args": [], "result": [] })
    }

    /// The things of a section, by name.
    pub(super) fn named(&self, section: &str) -> &Map {
        match section {
            "steps" => &self.steps,
            "loops" => &self.loops,
            _ => &self.calls,
        }
    }

    /// The second of two steps must begin after the first has ended.
    pub(super) fn out_of_order(&self, pair: &[String]) -> Option<Miss> {
        let [first, second] = pair else { return None };
        let (ended, began) = (self.end(first), self.begin(second));
        if ended.zip(began).is_some_and(|(ended, began)| ended < began) {
            return None;
        }
        let found = match (ended, began) {
            (None, _) => format!("`{first}` never ended"),
            (_, None) => format!("`{second}` never began"),
            _ => format!("`{second}` began first"),
        };
        Some(Miss::new("order", format!("{first} before {second}"), found))
    }

    /// Steps that must run at the same time, each with each.
    pub(super) fn not_together(&self, group: &[String]) -> Option<Miss> {
        let last_begin = group.iter().max_by_key(|step| self.begin(step))?;
        let first_end = group.iter().min_by_key(|step| self.end(step))?;
        let missing = group.iter().find(|step| self.begin(step).is_none() || self.end(step).is_none());
        let found = match missing {
            Some(step) => format!("`{step}` did not run"),
            None if self.begin(last_begin) < self.end(first_end) => return None,
            None => format!("`{last_begin}` began when `{first_end}` had ended"),
        };
        Some(Miss::new("together", group.join(", "), found))
    }

    fn begin(&self, step: &str) -> Option<u64> {
        self.spans.get(step).and_then(|span| span.0)
    }

    fn end(&self, step: &str) -> Option<u64> {
        self.spans.get(step).and_then(|span| span.1)
    }
}

fn step(found: &StepResult, requests: usize) -> Value {
    json!({
        "status": found.status,
        "content": found.content,
        "result": found.result,
        "error": found.error.as_ref().map(fault),
        "attempts": found.attempts,
        "skippedBecause": found.skipped_because,
        "truncated": found.truncated,
        "usage": usage(&found.usage, requests),
        "cost": found.cost,
        "durationMs": found.duration_ms,
        "metadata": found.metadata,
    })
}

fn fault(fault: &Fault) -> Value {
    json!({ "code": fault.code, "message": fault.message, "class": fault.class })
}

fn with_step(mut value: Value, step: &str) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.insert("step".to_owned(), step.into());
    }
    value
}

fn usage(usage: &Usage, requests: usize) -> Value {
    json!({ "input": usage.input, "output": usage.output, "total": usage.total(), "requests": requests })
}
