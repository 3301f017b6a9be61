//! `plan`: what a document would do, with its loops, groups and included documents laid open: as text, Mermaid,
//! Graphviz or JSON.
//!
//! It must not run anything, and it must not need a model.

mod data;
mod dot;
mod estimate;
mod graph;
mod mermaid;
mod outline;
mod words;

use super::document::{self, Warnings};
use crate::args::{PlanArgs, PlanFormat};
use crate::exit::Exit;
use crate::terminal;
use cofferdam::core::plan::Plan;
use cofferdam::core::spec::workflow::{Scope, Step, Workflow};

pub(super) use data::json;
pub(super) use outline::tree;

pub(super) fn run(args: &PlanArgs) -> anyhow::Result<Exit> {
    let workflow = document::load(&args.file, Warnings::Show)?;
    let document = workflow.document();
    let text = match args.format {
        PlanFormat::Tree => tree(document),
        PlanFormat::Mermaid => mermaid::draw(document),
        PlanFormat::Dot => dot::draw(document),
        PlanFormat::Json => format!("{}\n", serde_json::to_string_pretty(&json(document))?),
    };
    terminal::print(&text)?;
    Ok(Exit::Done)
}

/// A step in its place.
struct Planned<'w> {
    step: &'w Step,
    /// Its path in a run; `[i]` stands for the number of an iteration: `scan[i].lint`.
    path: String,
    /// How many steps of its scope must be done one after the other before it.
    layer: usize,
    /// The steps of its scope that it depends on.
    after: Vec<&'w Step>,
    /// What is inside.
    inner: Option<Inner<'w>>,
}

/// The steps inside a step.
struct Inner<'w> {
    scope: &'w Scope,
    steps: Vec<Planned<'w>>,
}

/// The steps of a document, each after what it depends on.
fn planned(document: &Workflow) -> Vec<Planned<'_>> {
    of_scope(&document.scope, "")
}

fn of_scope<'w>(scope: &'w Scope, prefix: &str) -> Vec<Planned<'w>> {
    let plan = Plan::new(scope);
    let in_place = |&index: &usize| {
        let step = scope.steps.get(index)?;
        let path = format!("{prefix}{}", step.id);
        let inside = if is_loop_with_body(step) { format!("{path}[i].") } else { format!("{path}.") };
        let inner = step.inner().map(|inner| Inner { scope: inner, steps: of_scope(inner, &inside) });
        let after = step.depends_on.iter().filter_map(|index| scope.steps.get(*index)).collect();
        Some(Planned { step, path, layer: plan.layer(index), after, inner })
    };
    plan.order().iter().filter_map(in_place).collect()
}

fn is_loop_with_body(step: &Step) -> bool {
    step.repeat.as_ref().is_some_and(|repeat| repeat.body.is_some())
}

#[cfg(test)]
pub(super) mod sample;
