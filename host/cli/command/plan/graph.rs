//! A plan as a graph: Mermaid and Graphviz.

use super::{dependencies, repeats, what};
use cofferdam::Workflow;
use cofferdam::core::spec::workflow::{Scope, Step};
use std::fmt::Write as _;

/// A Mermaid flowchart.
pub(super) fn mermaid(workflow: &Workflow) -> String {
    let mut text = String::from("flowchart TD\n");
    mermaid_scope(&mut text, &workflow.document().scope, "", 1);
    text
}

fn mermaid_scope(text: &mut String, scope: &Scope, prefix: &str, depth: usize) {
    let margin = "  ".repeat(depth);
    for step in &scope.steps {
        let id = node(prefix, step);
        // Writing into a string cannot fail.
        match body(step) {
            Some(inner) => {
                let _ = writeln!(text, "{margin}subgraph {id}[\"{}\"]", mermaid_text(&label(step, ": ")));
                mermaid_scope(text, inner, &format!("{id}_"), depth + 1);
                let _ = writeln!(text, "{margin}end");
            }
            None => {
                let _ = writeln!(text, "{margin}{id}[\"{}\"]", mermaid_text(&label(step, "<br/>")));
            }
        }
    }
    for step in &scope.steps {
        for dependency in dependencies(scope, step) {
            let arrow = if step.condition.is_some() { "-.->" } else { "-->" };
            let _ = writeln!(text, "{margin}{} {arrow} {}", node(prefix, dependency), node(prefix, step));
        }
    }
}

/// A Graphviz graph.
pub(super) fn dot(workflow: &Workflow) -> String {
    let mut text = format!("digraph {} {{\n  node [shape=box]\n", quoted(workflow.name()));
    dot_scope(&mut text, &workflow.document().scope, "", 1);
    text.push_str("}\n");
    text
}

fn dot_scope(text: &mut String, scope: &Scope, prefix: &str, depth: usize) {
    let margin = "  ".repeat(depth);
    for step in &scope.steps {
        let id = node(prefix, step);
        let _ = writeln!(text, "{margin}{id} [label={}]", quoted(&label(step, "\n")));
        if let Some(inner) = body(step) {
            let _ = writeln!(text, "{margin}subgraph cluster_{id} {{\n{margin}  label={}", quoted(&label(step, ": ")));
            dot_scope(text, inner, &format!("{id}_"), depth + 1);
            let _ = writeln!(text, "{margin}}}");
        }
    }
    for step in &scope.steps {
        for dependency in dependencies(scope, step) {
            let look = if step.condition.is_some() { " [style=dashed]" } else { "" };
            let _ = writeln!(text, "{margin}{} -> {}{look}", node(prefix, dependency), node(prefix, step));
        }
    }
}

fn body(step: &Step) -> Option<&Scope> {
    step.repeat.as_ref().and_then(|repeat| repeat.body.as_deref())
}

/// A name that both languages take: neither allows hyphens, and `end` is a word of Mermaid's.
fn node(prefix: &str, step: &Step) -> String {
    let own = step.id.as_str().replace('-', "__");
    if prefix.is_empty() { format!("s_{own}") } else { format!("{prefix}{own}") }
}

fn label(step: &Step, between: &str) -> String {
    let each = step.repeat.as_ref().map(repeats);
    let second = match (body(step), each) {
        (Some(_), Some(each)) => each,
        (_, Some(each)) => format!("{}, {each}", what(step)),
        (_, None) => what(step),
    };
    format!("{}{between}{second}", step.id)
}

fn mermaid_text(text: &str) -> String {
    text.replace('"', "#quot;")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn a_graph_has_nodes_edges_and_loops() {
        assert_eq!(
            mermaid(&sample()),
            "flowchart TD\n  s_list[\"list<br/>tool glob\"]\n  subgraph s_scan[\"scan: for each of steps.list.result.files\"]\n    s_scan_look[\"look<br/>default agent\"]\n  end\n  s_list -.-> s_scan\n"
        );
        let dot = dot(&sample());
        assert!(dot.starts_with("digraph \"sample\" {") && dot.contains("s_list -> s_scan [style=dashed]"), "{dot}");
        assert_eq!(quoted("a\"b\\"), "\"a\\\"b\\\\\"");
    }
}
