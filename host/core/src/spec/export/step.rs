//! One step of a document.

use super::super::duration;
use super::super::workflow::{
    AgentWork, AskWork, Condition, Include, Input, IsolationMode, Scope, Step, ToolWork, Wiring, Work,
};
use super::table::Table;
use super::{failure, literal, loop_table, native, said, steps, transforms, wiring};
use crate::value::Map;
use serde_json::{Value, json};

/// The step as it stands in the list of its scope.
pub(super) fn table(step: &Step, scope: &Scope) -> Value {
    let mut table = Table::default();
    table.put("id", step.id.as_str());
    work(&step.work, &mut table);
    // In the other modes the mode makes the edges.
    if scope.wiring == Wiring::Dag {
        let ids = step.depends_on.iter().filter_map(|&index| scope.steps.get(index));
        table.some("dependsOn", ids.map(|step| json!(step.id.as_str())).collect::<Vec<_>>());
    }
    if let Some(repeat) = &step.repeat {
        table.put("loop", loop_table(repeat, repeat.body.as_deref()));
    }
    let mut whole = table.into_map();
    whole.extend(own_keys(step));
    Value::Object(whole)
}

/// The step without the steps inside of it, and with what it depends on whatever made the edges.
pub(super) fn own(step: &Step, scope: &Scope) -> Value {
    let mut table = Table::default();
    table.put("id", step.id.as_str());
    match &step.work {
        Work::Group(_) => table.put("steps", true),
        other => work(other, &mut table),
    }
    if let Work::Include(include) = &step.work {
        table.put("name", &*include.name);
        let input = |input: &Input| json!([input.name, super::input(input)]);
        table.put("inputs", include.inputs.iter().map(input).collect::<Vec<_>>());
        table.maybe("output", include.output.as_ref().map(crate::expr::Expr::source));
        table.maybe("time", include.timeout.map(duration::format));
    }
    let ids = step.depends_on.iter().filter_map(|&index| scope.steps.get(index));
    table.put("dependsOn", ids.map(|step| json!(step.id.as_str())).collect::<Vec<_>>());
    if let Some(repeat) = &step.repeat {
        table.put("loop", loop_table(repeat, None));
        table.put("body", repeat.body.is_some());
    }
    let mut whole = table.into_map();
    whole.extend(own_keys(step));
    // What a step may spend does not change what it does.
    whole.remove("budget");
    Value::Object(whole)
}

/// What every kind of step may have.
pub(super) fn own_keys(step: &Step) -> Map {
    let mut table = Table::default();
    table.maybe("label", said(step.label.as_deref()));
    table.some("metadata", step.metadata.clone());
    table.maybe("condition", step.condition.as_ref().map(condition));
    table.maybe("timeout", step.timeout.map(duration::format));
    table.unless("retries", step.retries, step.retries == 0);
    table.maybe("maxRetries", step.max_retries);
    table.maybe("onFailure", step.on_failure.map(failure));
    table.some("transform", transforms(&step.transform));
    table.maybe("isolation", step.isolation.as_ref().map(IsolationMode::as_str));
    table.unless("sensitive", true, !step.sensitive);
    table.maybe("grants", step.grants.as_deref().map(|grants| json!(grants)));
    table.some("budget", step.budget.to_map());
    table.into_map()
}

fn condition(condition: &Condition) -> Value {
    match condition {
        Condition::Expr(expr) => json!(expr.source()),
        Condition::Native(name) => native(name),
        Condition::Plugin(plugin) => {
            let mut table = Table::default();
            table.put("plugin", plugin.plugin.as_str());
            table.some("options", plugin.options.clone());
            table.maybe("label", plugin.label.as_deref());
            table.finish()
        }
    }
}

fn work(work: &Work, table: &mut Table) {
    match work {
        Work::Agent(work) => agent(work, table),
        Work::Tool(work) => tool(work, table),
        Work::Ask(work) => table.put("ask", ask(work)),
        Work::Group(scope) => {
            table.unless("mode", wiring(scope.wiring), scope.wiring == Wiring::Dag);
            table.put("steps", steps(scope));
        }
        Work::Include(include) => self::include(include, table),
        Work::Body => {}
    }
}

fn agent(work: &AgentWork, table: &mut Table) {
    table.maybe("agent", work.agent.as_ref().map(crate::id::AgentName::as_str));
    table.unless("instructions", literal(&work.instructions), work.instructions.is_empty());
    table.maybe("input", work.input.as_ref().map(|input| input.source().clone()));
    table.some("contextFiles", work.context_files.clone());
    table.maybe("model", work.model.as_deref());
    table.maybe("resultSchema", work.result_schema.as_deref().cloned());
}

fn tool(work: &ToolWork, table: &mut Table) {
    table.put("tool", work.tool.to_string());
    let name = if work.args.has_signs() { "toolInput" } else { "args" };
    table.some(name, work.args.source().clone());
}

fn ask(work: &AskWork) -> Value {
    let mut table = Table::default();
    table.put("prompt", work.prompt.source().clone());
    table.some("choices", work.choices.clone());
    table.maybe("schema", work.schema.as_deref().cloned());
    table.maybe("default", work.default.clone());
    table.maybe("timeout", work.timeout.map(duration::format));
    table.finish()
}

fn include(include: &Include, table: &mut Table) {
    table.put("include", &*include.path);
    table.some("with", include.with.source().clone());
}
