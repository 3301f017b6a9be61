//! A plan as indented text: what comes in, what is asked for, the steps by layers, what it may cost.

use super::data::find_open;
use super::estimate::{self, WORTH_NAMING};
use super::words::{facts, policy_word, tools, what, wired};
use super::{Planned, planned};
use crate::ui::paint;
use cofferdam::core::spec::workflow::{FailurePolicy, Scope, Workflow};
use cofferdam::sink::clean;
use std::fmt::Write as _;

/// The widest column of ids; longer ones push what follows.
const ID_CHARS: usize = 32;

/// The text. Steps of the same number may run at the same time.
pub(in crate::command) fn tree(document: &Workflow) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{}", paint::strong(&clean(&document.name, 200)));
    if let Some(description) = &document.description {
        let _ = writeln!(text, "{}", paint::quiet(&clean(description, 200)));
    }
    push_inputs(&mut text, document);
    push_plugins(&mut text, document);
    push_agents(&mut text, document);
    let _ = writeln!(text, "steps   {}", paint::quiet(&of_scope(&document.scope)));
    text.push('\n');
    let steps = planned(document);
    push_steps(&mut text, document, &steps, "");
    if let Some(output) = &document.output {
        let _ = writeln!(text, "\noutput  {}", clean(output.source(), 200));
    }
    push_calls(&mut text, document, &steps);
    text
}

fn of_scope(scope: &Scope) -> String {
    match scope.defaults.on_step_failure {
        FailurePolicy::Cascade => wired(scope).to_owned(),
        policy => format!("{}, on failure {}", wired(scope), policy_word(policy)),
    }
}

fn push_inputs(text: &mut String, document: &Workflow) {
    for input in &document.inputs {
        let value = match (&input.default, input.required) {
            (Some(default), _) => format!("= {default}"),
            (None, true) => "required".to_owned(),
            (None, false) => "optional".to_owned(),
        };
        let about = input.description.as_deref().map(|about| format!("  {}", clean(about, 200))).unwrap_or_default();
        let _ = writeln!(text, "input   {} {}", input.name, paint::quiet(&format!("{}{about}", clean(&value, 200))));
    }
}

fn push_plugins(text: &mut String, document: &Workflow) {
    for (alias, plugin) in &document.plugins {
        let source = clean(&plugin.source, 200);
        let _ = writeln!(text, "plugin  {alias} {}", paint::quiet(&format!("from {source}")));
        for line in plugin.requested.explain() {
            let _ = writeln!(text, "        {}", paint::quiet(&format!("requests: {line}")));
        }
    }
    for (alias, server) in &document.servers {
        let _ = writeln!(text, "server  {alias} {}", paint::quiet("over the Model Context Protocol"));
        for line in server.explain() {
            let _ = writeln!(text, "        {}", paint::quiet(&format!("requests: {line}")));
        }
    }
}

fn push_agents(text: &mut String, document: &Workflow) {
    for agent in document.agents.values() {
        let model = agent.model.as_deref().map(|model| format!("{}, ", clean(model, 100))).unwrap_or_default();
        let most = document.turns_of(Some(agent));
        let turns = if most == 1 { "turn" } else { "turns" };
        let grants = agent.grants.as_ref().map(|grants| format!(", {}", clean(&grants.explain().join("; "), 200)));
        let grants = grants.unwrap_or_default();
        let about = format!("{model}{}, at most {most} {turns}{grants}", tools(&agent.tools));
        let _ = writeln!(text, "agent   {} {}", agent.name, paint::quiet(&about));
    }
}

fn push_steps(text: &mut String, document: &Workflow, steps: &[Planned<'_>], margin: &str) {
    let length = |step: &Planned<'_>| step.path.chars().count();
    let width = steps.iter().map(length).max().unwrap_or_default().min(ID_CHARS);
    for planned in steps {
        let after: Vec<&str> = planned.after.iter().map(|step| step.id.as_str()).collect();
        let after = match after.as_slice() {
            [] => String::new(),
            ids => paint::quiet(&format!("  after {}", ids.join(", "))),
        };
        let layer = planned.layer + 1;
        let does = what(document, planned.step);
        let _ = writeln!(text, "{margin}{layer:>2}  {:<width$}  {does}{after}", planned.path);
        for (word, fact) in facts(document, planned.step) {
            let _ = writeln!(text, "{margin}    {:<width$}  {} {fact}", "", paint::quiet(word));
        }
        if let Some(inner) = &planned.inner {
            push_steps(text, document, &inner.steps, &format!("{margin}    "));
        }
    }
}

fn push_calls(text: &mut String, document: &Workflow, steps: &[Planned<'_>]) {
    let calls = estimate::of_document(document);
    if calls.at_most == 0 {
        let _ = writeln!(text, "\ncalls   no model is asked");
        return;
    }
    let least = if calls.at_least > WORTH_NAMING { "more than " } else { "" };
    let least = format!("{least}{}", spaced(calls.at_least.min(WORTH_NAMING)));
    let most = match calls.bound() {
        Some(most) => format!("at most {}", spaced(most)),
        None => "no bound worth naming".to_owned(),
    };
    let _ = writeln!(text, "\ncalls   of models: at least {least}, {most}");
    for line in estimate::MEANING {
        let _ = writeln!(text, "        {}", paint::quiet(line));
    }
    let mut open = Vec::new();
    find_open(steps, &mut open);
    if !open.is_empty() {
        let items = spaced(u64::try_from(document.options.limits.for_each_items).unwrap_or(u64::MAX));
        let line = format!("how many items these have is known when they run, at most {items}: {}", open.join(", "));
        let _ = writeln!(text, "        {}", paint::quiet(&line));
    }
}

/// A number in groups of three figures.
fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::sample::everything;
    use super::*;

    #[test]
    fn steps_stand_in_order_with_what_they_do() {
        let text = anstream::adapter::strip_str(&tree(&everything())).to_string();
        let (head, rest) = text.split_once("\n\n").unwrap();
        assert_eq!(head, "sample\nagent   critic openai/x, tools read, at most 3 turns\nsteps   by dependencies");
        let (steps, calls) = rest.split_once("\n\n").unwrap();
        let lines: Vec<&str> = steps.lines().collect();
        assert_eq!(
            lines,
            [
                " 1  list    tool glob",
                " 2  scan    loop, by dependencies  after list",
                "            if steps.list.status == 'completed'",
                "            for each of steps.list.result.files, at most 4 at once",
                "     1  scan[i].look  default agent",
                " 3  refine  default agent  after scan",
                "            repeat at most 5 times, then it fails",
                "            judge agent critic (openai/x)",
                "            pause 2s",
                "            output of all iterations",
                "            tries at most 2",
                " 4  both    group, all at once  after refine",
                "     1  both.left   default agent",
                "     1  both.right  default agent",
                " 5  part    includes lib/part.yaml, by dependencies  after both",
                "            with {\"folder\":\"src\"}",
                "     1  part.inside  default agent",
                " 6  ok      asks a person  after part",
                "            question Publish \"it\"?",
                "            choices yes, no",
            ]
        );
        assert!(calls.starts_with("calls   of models: at least 5, at most 1 000 680\n"), "{calls}");
        assert!(calls.ends_with("at most 20 000: scan\n"), "{calls}");
    }
}
