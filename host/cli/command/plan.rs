//! `plan`: what a document would do, as text, Mermaid, Graphviz or JSON.

mod graph;
mod outline;

use super::document::{self, Warnings};
use crate::args::{PlanArgs, PlanFormat};
use crate::exit::Exit;
use crate::terminal;
use cofferdam::Workflow;
use cofferdam::core::plan::Plan;
use cofferdam::core::spec::workflow::{Condition, Items, Loop, LoopKind, Scope, Step, Work};
use serde_json::{Value, json};

pub(super) use outline::tree;

pub(super) fn run(args: &PlanArgs) -> anyhow::Result<Exit> {
    let workflow = document::load(&args.file, Warnings::Show)?;
    let text = match args.format {
        PlanFormat::Tree => tree(&workflow),
        PlanFormat::Mermaid => graph::mermaid(&workflow),
        PlanFormat::Dot => graph::dot(&workflow),
        PlanFormat::Json => format!("{}\n", serde_json::to_string_pretty(&json(&workflow))?),
    };
    terminal::print(&text)?;
    Ok(Exit::Done)
}

/// The plan as data.
pub(super) fn json(workflow: &Workflow) -> Value {
    let document = workflow.document();
    let plugins = document.plugins.iter().map(
        |(alias, plugin)| json!({ "alias": alias, "source": plugin.source, "requests": plugin.requested.explain() }),
    );
    json!({
        "name": document.name,
        "description": document.description,
        "inputs": document.inputs.iter().map(|input| json!({
            "name": input.name, "required": input.required, "default": input.default, "description": input.description,
        })).collect::<Vec<_>>(),
        "plugins": plugins.collect::<Vec<_>>(),
        "steps": steps(&document.scope),
    })
}

fn steps(scope: &Scope) -> Vec<Value> {
    let plan = Plan::new(scope);
    let step = |index: usize| scope.steps.get(index).map(|step| (index, step));
    let ordered = plan.order().iter().filter_map(|index| step(*index));
    ordered
        .map(|(index, step)| {
            let depends_on: Vec<&str> = dependencies(scope, step).map(|step| step.id.as_str()).collect();
            let mut value =
                json!({ "id": step.id, "layer": plan.layer(index), "depends_on": depends_on, "does": what(step) });
            if let Some(map) = value.as_object_mut() {
                let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
                if let Some(condition) = &step.condition {
                    put("condition", decides(condition).into());
                }
                if let Some(repeat) = &step.repeat {
                    put("loop", repeats(repeat).into());
                    put("steps", repeat.body.as_deref().map(steps).unwrap_or_default().into());
                }
            }
            value
        })
        .collect()
}

fn dependencies<'s>(scope: &'s Scope, step: &'s Step) -> impl Iterator<Item = &'s Step> {
    step.depends_on.iter().filter_map(|index| scope.steps.get(*index))
}

/// What a step does, in a few words.
fn what(step: &Step) -> String {
    match &step.work {
        Work::Agent(work) => match &work.agent {
            Some(agent) => format!("agent {agent}"),
            None => "default agent".to_owned(),
        },
        Work::Tool(work) => format!("tool {}", work.tool),
        Work::Ask(_) => "asks a person".to_owned(),
        Work::Group(_) => "group".to_owned(),
        Work::Include(include) => format!("includes {}", include.path),
        Work::Body => "repeats its steps".to_owned(),
    }
}

fn decides(condition: &Condition) -> String {
    match condition {
        Condition::Expr(expr) => expr.source().to_owned(),
        Condition::Native(name) => format!("native {name}"),
        Condition::Plugin(condition) => format!("plugin {}", condition.plugin),
    }
}

/// How often a loop repeats, in a few words.
fn repeats(repeat: &Loop) -> String {
    match &repeat.kind {
        LoopKind::ForEach(each) => format!("for each of {}", items(&each.items)),
        LoopKind::Repeat(repeat) => format!("at most {} times", repeat.max_iterations),
    }
}

fn items(items: &Items) -> String {
    match items {
        Items::Expr(expr) => expr.source().to_owned(),
        Items::List(list) => format!("{} items", list.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample() -> Workflow {
        let text = "name: sample\nsteps:\n  - {id: list, tool: glob, args: {pattern: '*'}}\n  - id: scan\n    dependsOn: [list]\n    condition: steps.list.status == 'completed'\n    loop: {forEach: steps.list.result.files, steps: [{id: look, instructions: look}]}\n";
        Workflow::parse(text, ".").unwrap()
    }

    #[test]
    fn the_plan_is_data() {
        let plan = json(&sample());
        assert_eq!(plan["steps"][1]["depends_on"], json!(["list"]));
        assert_eq!(plan["steps"][1]["layer"], 1);
        assert_eq!(plan["steps"][1]["steps"][0]["id"], "look");
        assert_eq!(plan["steps"][0]["does"], "tool glob");
    }
}
