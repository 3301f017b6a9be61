//! A plan as indented text: what comes in, what is asked for, the steps by layers.

use super::{decides, dependencies, repeats, what};
use crate::ui::paint;
use cofferdam::Workflow;
use cofferdam::core::plan::Plan;
use cofferdam::core::spec::duration;
use cofferdam::core::spec::workflow::{LoopKind, Scope, Step};
use cofferdam::sink::clean;
use std::fmt::Write as _;

/// The text. Steps of the same number may run at the same time.
pub(in crate::command) fn tree(workflow: &Workflow) -> String {
    let document = workflow.document();
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{}", paint::strong(&document.name));
    if let Some(description) = &document.description {
        let _ = writeln!(text, "{}", paint::quiet(&clean(description, 200)));
    }
    push_inputs(&mut text, workflow);
    push_plugins(&mut text, workflow);
    text.push('\n');
    push_scope(&mut text, &document.scope, 0);
    text
}

fn push_inputs(text: &mut String, workflow: &Workflow) {
    for input in &workflow.document().inputs {
        let value = match (&input.default, input.required) {
            (Some(default), _) => format!("= {default}"),
            (None, true) => "required".to_owned(),
            (None, false) => "optional".to_owned(),
        };
        let about = input.description.as_deref().map(|about| format!("  {about}")).unwrap_or_default();
        let _ = writeln!(text, "input   {} {}", input.name, paint::quiet(&format!("{value}{about}")));
    }
}

fn push_plugins(text: &mut String, workflow: &Workflow) {
    for (alias, plugin) in &workflow.document().plugins {
        let _ = writeln!(text, "plugin  {alias} {}", paint::quiet(&format!("from {}", plugin.source)));
        for line in plugin.requested.explain() {
            let _ = writeln!(text, "        {}", paint::quiet(&format!("requests: {line}")));
        }
    }
}

fn push_scope(text: &mut String, scope: &Scope, depth: usize) {
    let plan = Plan::new(scope);
    let width = scope.steps.iter().map(|step| step.id.as_str().chars().count()).max().unwrap_or_default();
    let margin = "   ".repeat(depth);
    for &index in plan.order() {
        let Some(step) = scope.steps.get(index) else { continue };
        let layer = plan.layer(index) + 1;
        let _ = writeln!(text, "{margin}{layer:>2}  {:<width$}  {}", step.id.as_str(), details(scope, step));
        if let Some(body) = step.inner() {
            push_scope(text, body, depth + 2);
        }
    }
}

fn details(scope: &Scope, step: &Step) -> String {
    let mut parts = vec![what(step)];
    if let Some(repeat) = &step.repeat {
        let at_once = match &repeat.kind {
            LoopKind::ForEach(each) => each.max_concurrency,
            LoopKind::Repeat(_) => None,
        };
        let at_once = at_once.map(|most| format!(", at most {most} at once")).unwrap_or_default();
        parts.push(format!("{}{at_once}", repeats(repeat)));
    }
    if let Some(condition) = &step.condition {
        parts.push(format!("if {}", decides(condition)));
    }
    if let Some(timeout) = step.timeout {
        parts.push(format!("within {}", duration::format(timeout)));
    }
    if step.retries > 0 {
        parts.push(format!("{} more tries", step.retries));
    }
    let after: Vec<&str> = dependencies(scope, step).map(|step| step.id.as_str()).collect();
    if !after.is_empty() {
        parts.push(paint::quiet(&format!("after {}", after.join(", "))));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::tree;

    #[test]
    fn steps_stand_in_order_with_what_they_do() {
        let text = anstream::adapter::strip_str(&tree(&sample())).to_string();
        assert_eq!(
            text,
            "sample\n\n 1  list  tool glob\n \
             2  scan  repeats its steps  for each of steps.list.result.files  if steps.list.status == 'completed'  after list\n       \
             1  look  default agent\n"
        );
    }
}
