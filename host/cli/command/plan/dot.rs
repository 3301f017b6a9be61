//! A plan as a Graphviz graph: groups, loops and included documents are clusters.

use super::graph::{edges, node};
use super::words::label;
use super::{Planned, planned};
use cofferdam::core::spec::workflow::Workflow;
use std::fmt::Write as _;

/// The graph.
pub(super) fn draw(document: &Workflow) -> String {
    let name = quoted(std::slice::from_ref(&document.name));
    // `compound` lets an edge end at the border of a cluster.
    let mut text = format!("digraph {name} {{\n  compound=true\n  node [shape=box]\n");
    push_steps(&mut text, document, &planned(document), 1);
    text.push_str("}\n");
    text
}

fn push_steps(text: &mut String, document: &Workflow, steps: &[Planned<'_>], depth: usize) {
    let margin = "  ".repeat(depth);
    for planned in steps {
        let (name, label) = (node(planned), quoted(&label(document, planned.step)));
        // Writing into a string cannot fail.
        match &planned.inner {
            Some(inner) => {
                let _ = writeln!(text, "{margin}subgraph cluster_{name} {{\n{margin}  label={label}");
                push_steps(text, document, &inner.steps, depth + 1);
                let _ = writeln!(text, "{margin}}}");
            }
            None => {
                let _ = writeln!(text, "{margin}{name} [label={label}]");
            }
        }
    }
    for (before, after) in edges(steps) {
        let _ = writeln!(text, "{margin}{}", edge(before, after));
    }
}

/// Edges join nodes, not clusters: one to a cluster leads to its first node and is cut off at its border.
fn edge(before: &Planned<'_>, after: &Planned<'_>) -> String {
    let mut looks = Vec::new();
    if before.inner.is_some() {
        looks.push(format!("ltail=cluster_{}", node(before)));
    }
    if after.inner.is_some() {
        looks.push(format!("lhead=cluster_{}", node(after)));
    }
    // A dashed arrow leads to a step that may be skipped.
    if after.step.condition.is_some() {
        looks.push("style=dashed".to_owned());
    }
    let looks = if looks.is_empty() { String::new() } else { format!(" [{}]", looks.join(", ")) };
    format!("{} -> {}{looks}", node(outermost(before, <[_]>::last)), node(outermost(after, <[_]>::first)))
}

type End<'w> = for<'p> fn(&'p [Planned<'w>]) -> Option<&'p Planned<'w>>;

/// The first or last node inside a step that is no cluster itself.
fn outermost<'p, 'w>(planned: &'p Planned<'w>, end: End<'w>) -> &'p Planned<'w> {
    match planned.inner.as_ref().and_then(|inner| end(&inner.steps)) {
        Some(inside) => outermost(inside, end),
        None => planned,
    }
}

/// A text between quotes. Graphviz reads `\` as the beginning of an escape, and entities of HTML.
fn quoted(lines: &[String]) -> String {
    let line = |line: &String| line.replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;").replace('\n', " ");
    format!("\"{}\"", lines.iter().map(line).collect::<Vec<_>>().join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::super::sample::everything;
    use super::*;

    #[test]
    fn loops_groups_and_included_documents_are_clusters() {
        let drawn = draw(&everything());
        for line in [
            "digraph \"sample\" {",
            "  s_list [label=\"list\\ntool glob\"]",
            "  subgraph cluster_s_scan {",
            "    s_both_IN_left [label=\"left\\ndefault agent\"]",
            "  s_list -> s_scan_IN_look [lhead=cluster_s_scan, style=dashed]",
            "  s_refine -> s_both_IN_left [lhead=cluster_s_both]",
            "  s_both_IN_right -> s_part_IN_inside [ltail=cluster_s_both, lhead=cluster_s_part]",
            "  s_ok [label=\"ok\\nasks a person\\nquestion Publish \\\"it\\\"?\\nchoices yes, no\"]",
        ] {
            assert!(drawn.lines().any(|drawn| drawn == line), "{line}\n{drawn}");
        }
        assert_eq!(drawn.matches('{').count(), drawn.matches('}').count());
    }

    #[test]
    fn no_text_ends_its_quotes() {
        assert_eq!(quoted(&["a\"b\\".to_owned(), "<c> & ü".to_owned()]), "\"a\\\"b\\\\\\n<c> &amp; ü\"");
    }
}
