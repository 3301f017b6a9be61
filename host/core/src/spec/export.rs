//! A workflow as a document again: what parses to the same workflow.
//!
//! It must not know how the document was written: files that `@` named are written out, edges of modes are left to
//! the mode, and what a key would say anyway is left out. What a document may say and a [`Workflow`] does not carry
//! is missing; [`Workflow::unbuilt`] names it.

mod step;
mod table;

use super::duration;
use super::workflow::{
    AgentSpec, Defaults, FailurePolicy, Input, InputKind, IsolationMode, Items, Loop, LoopCheck, LoopKind, OnLimit,
    Options, OutputMode, PluginReference, Repeat, Scheduler, Scope, Step, UnknownEffect, Wiring, Work, Workflow,
};
use super::{RunLimits, workflow::ItemFailure};
use crate::budget::Budget;
use crate::memory::{MemoryAccess, MemoryReading, MemoryScope};
use crate::policy::{Grants, PluginLimits};
use crate::transform::{Transform, Transforms};
use crate::value::Map;
use serde_json::{Value, json};
use std::sync::Arc;
use table::Table;

/// The document as a value; as text it is the JSON form.
#[must_use]
pub fn to_value(workflow: &Workflow) -> Value {
    let mut root = Table::default();
    root.put("name", &*workflow.name);
    root.maybe("description", workflow.description.as_deref());
    let looped = looped(&workflow.scope);
    match looped {
        Some((repeat, body)) => {
            root.put("mode", "loop");
            root.put("loop", loop_table(repeat, None));
            root.unless("bodyMode", wiring(body.wiring), body.wiring == Wiring::Sequential);
        }
        None => root.unless("mode", wiring(workflow.scope.wiring), workflow.scope.wiring == Wiring::Dag),
    }
    root.some("inputs", by_name(workflow.inputs.iter().map(|input| (input.name.as_str(), self::input(input)))));
    root.some("vars", workflow.vars.clone());
    root.some("agents", by_name(workflow.agents.iter().map(|(name, spec)| (name.as_str(), agent(spec)))));
    root.some("plugins", by_name(workflow.plugins.iter().map(|(alias, used)| (alias.as_str(), plugin(used)))));
    root.put("steps", steps(looped.map_or(&workflow.scope, |(_, body)| body)));
    root.maybe("output", workflow.output.as_ref().map(crate::expr::Expr::source));
    root.some("options", options(&workflow.options, &workflow.scope.defaults));
    root.finish()
}

/// The document as YAML.
///
/// # Panics
/// Never: JSON values have a YAML form.
#[must_use]
pub fn to_yaml(workflow: &Workflow) -> String {
    let options = serde_yaml::ser_options! {
        // A folded text has other columns than the text itself, and findings tell columns.
        min_fold_chars: usize::MAX,
    };
    let mut text = String::new();
    serde_yaml::to_fmt_writer_with_options(&mut text, &to_value(workflow), options)
        .expect("a JSON value has a YAML form, and writing to a string cannot fail");
    text
}

/// A step by itself, with what it depends on and without the steps inside of it: two that say the same do the same.
#[must_use]
pub fn own_step(step: &Step, scope: &Scope) -> Value {
    step::own(step, scope)
}

/// What holds for the steps of a scope that say nothing else.
#[must_use]
pub fn own_defaults(defaults: &Defaults) -> Value {
    Value::Object(options(&Options::default(), defaults))
}

/// The options that change what steps do: those of the whole run, and which step comes first, are not among them.
#[must_use]
pub fn step_options(of: &Options) -> Value {
    let whole = (None, None, Scheduler::default(), None);
    let (max_concurrency, timeout, scheduler, on_unknown_effect) = whole;
    let budget = Budget::default();
    let of = Options { max_concurrency, timeout, scheduler, on_unknown_effect, budget, ..of.clone() };
    let mut table = options(&of, &Defaults::default());
    table.insert("compat".to_owned(), json!(of.compat.is_some()));
    Value::Object(table)
}

/// The loop and its body, when the scope is what `mode: loop` gives.
fn looped(scope: &Scope) -> Option<(&Loop, &Scope)> {
    let [step] = scope.steps.as_slice() else { return None };
    let repeat = step.repeat.as_ref()?;
    let body = repeat.body.as_deref()?;
    let plain = step::own_keys(step).is_empty() && matches!(step.work, Work::Body);
    (plain && step.id.as_str() == "loop" && scope.wiring == Wiring::Dag).then_some((repeat, body))
}

fn by_name<'n>(entries: impl Iterator<Item = (&'n str, Value)>) -> Map {
    entries.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn steps(scope: &Scope) -> Value {
    scope.steps.iter().map(|step| step::table(step, scope)).collect()
}

fn wiring(wiring: Wiring) -> &'static str {
    match wiring {
        Wiring::Dag => "dag",
        Wiring::Sequential => "sequential",
        Wiring::Parallel => "parallel",
    }
}

/// Text that says something; a document takes no other.
fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// Text that is what it is also where `@` names a file.
fn literal(text: &str) -> String {
    if text.starts_with('@') { format!("@{text}") } else { text.to_owned() }
}

/// The declaration of an input.
pub(crate) fn input(input: &Input) -> Value {
    let kind = match input.kind {
        InputKind::String => "string",
        InputKind::Integer => "integer",
        InputKind::Number => "number",
        InputKind::Boolean => "boolean",
        InputKind::Array => "array",
        InputKind::Object => "object",
    };
    let mut table = Table::default();
    table.put("type", kind);
    table.maybe("description", input.description.as_deref());
    table.maybe("default", input.default.clone());
    table.some("enum", input.choices.clone());
    table.unless("required", false, input.required || input.default.is_some());
    table.finish()
}

fn agent(agent: &AgentSpec) -> Value {
    let mut table = Table::default();
    // A document wants a description; code may have left it out.
    table.put("description", said(Some(&agent.description)).unwrap_or(agent.name.as_str()));
    table.maybe("prompt", agent.prompt.as_deref().map(literal));
    table.maybe("model", agent.model.as_deref());
    table.maybe("tools", agent.tools.allow.clone());
    table.some("disallowedTools", agent.tools.deny.clone());
    table.maybe("maxTurns", agent.max_turns);
    table.maybe("temperature", agent.settings.temperature);
    table.maybe("topP", agent.settings.top_p);
    table.maybe("maxTokens", agent.settings.max_tokens);
    table.some("modelOptions", agent.settings.options.to_map());
    table.maybe("memory", agent.tools.memory.as_ref().map(memory));
    table.some("transform", transforms(&agent.transform));
    table.maybe("grants", agent.grants.as_deref().map(|grants| json!(grants)));
    table.some("budget", agent.budget.to_map());
    table.maybe("resultSchema", agent.result_schema.as_deref().cloned());
    table.unless("resumeOnMessage", true, !agent.resume_on_message);
    table.finish()
}

fn memory(access: &MemoryAccess) -> Value {
    let read = match &access.read {
        MemoryReading::Nothing => json!(false),
        MemoryReading::All => json!(true),
        MemoryReading::Of(names) => json!(names.iter().map(|name| &**name).collect::<Vec<_>>()),
    };
    json!({ "read": read, "write": access.write })
}

fn plugin(plugin: &PluginReference) -> Value {
    let mut table = Table::default();
    table.put("source", &*plugin.source);
    table.maybe("digest", plugin.digest.as_deref());
    table.some("config", plugin.config.clone());
    table.unless("grants", json!(plugin.requested), plugin.requested == Grants::default());
    table.unless("limits", json!(plugin.limits), plugin.limits == PluginLimits::default());
    table.finish()
}

fn transforms(transforms: &Transforms) -> Map {
    let mut table = Table::default();
    table.some("input", chain(&transforms.input));
    table.some("output", chain(&transforms.output));
    table.into_map()
}

fn chain(links: &[Transform]) -> Vec<Value> {
    let link = |link: &Transform| match link {
        Transform::Trim => json!("trim"),
        Transform::Upper => json!("upper"),
        Transform::Lower => json!("lower"),
        Transform::Truncate(most) => json!({ "truncate": most }),
        Transform::Json => json!("json"),
        Transform::FirstLine => json!("first-line"),
        Transform::Native(name) => native(name),
        Transform::Plugin { plugin, options } => {
            let mut table = Table::default();
            table.put("plugin", plugin.as_str());
            table.some("options", options.clone());
            table.finish()
        }
    };
    links.iter().map(link).collect()
}

/// A closure of the embedder's: its name stands in the document, not its code.
fn native(name: &Arc<str>) -> Value {
    json!({ "native": &**name })
}

fn options(options: &Options, defaults: &Defaults) -> Map {
    let mut table = Table::default();
    table.maybe("model", options.model.as_deref());
    table.maybe("maxConcurrency", options.max_concurrency);
    let policy = defaults.on_step_failure;
    table.unless("onStepFailure", failure(policy), policy == FailurePolicy::default());
    table.maybe("timeout", options.timeout.map(duration::format));
    table.maybe("stepTimeout", defaults.step_timeout.map(duration::format));
    table.unless("isolation", options.isolation.as_str(), options.isolation == IsolationMode::None);
    table.maybe("scheduler", scheduler(options.scheduler));
    table.maybe("maxRetries", options.max_retries.or(defaults.max_retries));
    table.some("outputTransform", chain(&defaults.output_transform));
    table.maybe("onUnknownEffect", options.on_unknown_effect.map(unknown_effect));
    // Without `compat`: what is written out is in this language, whatever the document was written for.
    table.maybe("engine", options.engine.as_deref());
    let mut kept = Table::default();
    kept.unless("scope", "shared", options.memory_scope == MemoryScope::Run);
    kept.maybe("recall", options.recall.as_ref().map(|recall| json!(recall)));
    table.some("memory", kept.into_map());
    table.some("modelOptions", options.model_options.to_map());
    table.some("limits", run_limits(&options.limits));
    table.some("budget", options.budget.to_map());
    table.into_map()
}

fn failure(policy: FailurePolicy) -> &'static str {
    match policy {
        FailurePolicy::Cascade => "cascade",
        FailurePolicy::SkipDependents => "skip-dependents",
        FailurePolicy::Continue => "continue",
        FailurePolicy::Abort => "abort",
    }
}

fn scheduler(scheduler: Scheduler) -> Option<&'static str> {
    match scheduler {
        Scheduler::DependencyFirst => None,
        Scheduler::RoundRobin => Some("round-robin"),
        Scheduler::LeastBusy => Some("least-busy"),
    }
}

fn unknown_effect(effect: UnknownEffect) -> &'static str {
    match effect {
        UnknownEffect::Ask => "ask",
        UnknownEffect::Retry => "retry",
        UnknownEffect::Fail => "fail",
    }
}

/// The limits that were lowered.
fn run_limits(own: &RunLimits) -> Map {
    let host = RunLimits::default();
    let mut table = Table::default();
    for (name, value, most) in [
        ("stepInstances", own.step_instances, host.step_instances),
        ("forEachItems", own.for_each_items, host.for_each_items),
        ("messageBytes", own.message_bytes, host.message_bytes),
        ("stepOutputBytes", own.step_output_bytes, host.step_output_bytes),
        ("toolResultBytes", own.tool_result_bytes, host.tool_result_bytes),
        ("toolArgumentBytes", own.tool_argument_bytes, host.tool_argument_bytes),
        ("toolCallsPerTurn", own.tool_calls_per_turn, host.tool_calls_per_turn),
        ("conversationBytes", own.conversation_bytes, host.conversation_bytes),
    ] {
        table.unless(name, value, value == most);
    }
    table.into_map()
}

/// A loop; its body goes in unless it stands elsewhere.
fn loop_table(repeat: &Loop, body: Option<&Scope>) -> Value {
    let mut table = Table::default();
    match &repeat.kind {
        LoopKind::ForEach(each) => {
            let items = match &each.items {
                Items::Expr(expr) => json!(expr.source()),
                Items::List(items) => json!(**items),
            };
            table.put("forEach", items);
            table.maybe("maxConcurrency", each.max_concurrency);
            let policy = match each.on_item_failure {
                ItemFailure::Stop => None,
                ItemFailure::Continue => Some("continue"),
                ItemFailure::Ignore => Some("ignore"),
            };
            table.maybe("onItemFailure", policy);
        }
        LoopKind::Repeat(repeat) => bounds(repeat, &mut table),
    }
    if let Some(body) = body {
        table.unless("mode", wiring(body.wiring), body.wiring == Wiring::Dag);
        table.put("steps", steps(body));
    }
    table.finish()
}

fn bounds(repeat: &Repeat, table: &mut Table) {
    table.put("maxIterations", repeat.max_iterations);
    let check = |check: &LoopCheck| match check {
        LoopCheck::Expr(expr) => json!(expr.source()),
        LoopCheck::Native(name) => native(name),
    };
    table.maybe("while", repeat.go_on.as_ref().map(check));
    table.maybe("until", repeat.until.as_ref().map(crate::expr::Expr::source));
    table.maybe("untilAgent", repeat.judge.as_ref().and_then(|judge| judge.agent()).map(crate::id::AgentName::as_str));
    let checked = repeat.go_on.is_some() || repeat.until.is_some() || repeat.judge.is_some();
    let default = if checked { OnLimit::Fail } else { OnLimit::Complete };
    let limit = match repeat.on_limit {
        OnLimit::Complete => "complete",
        OnLimit::Fail => "fail",
    };
    table.unless("onLimit", limit, repeat.on_limit == default);
    table.unless("delay", duration::format(repeat.delay), repeat.delay.is_zero());
    table.unless("outputMode", "cumulative", repeat.output_mode == OutputMode::Last);
}
