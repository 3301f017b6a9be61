//! A plan as a Mermaid flowchart: groups, loops and included documents are subgraphs.

use super::graph::{edges, node};
use super::words::label;
use super::{Planned, planned};
use cofferdam::core::spec::workflow::Workflow;
use std::fmt::Write as _;

/// The flowchart.
pub(super) fn draw(document: &Workflow) -> String {
    let mut text = String::from("flowchart TD\n");
    push_steps(&mut text, document, &planned(document), 1);
    text
}

fn push_steps(text: &mut String, document: &Workflow, steps: &[Planned<'_>], depth: usize) {
    let margin = "  ".repeat(depth);
    for planned in steps {
        let (name, label) = (node(planned), label(document, planned.step));
        // Writing into a string cannot fail.
        match &planned.inner {
            Some(inner) => {
                let _ = writeln!(text, "{margin}subgraph {name}[\"{}\"]", quoted(&label));
                push_steps(text, document, &inner.steps, depth + 1);
                let _ = writeln!(text, "{margin}end");
            }
            None => {
                let _ = writeln!(text, "{margin}{name}[\"{}\"]", quoted(&label));
            }
        }
    }
    for (before, after) in edges(steps) {
        // A dotted arrow leads to a step that may be skipped.
        let arrow = if after.step.condition.is_some() { "-.->" } else { "-->" };
        let _ = writeln!(text, "{margin}{} {arrow} {}", node(before), node(after));
    }
}

/// Text between quotes. Whatever Mermaid could read as its own syntax, as Markdown or as HTML is written as an entity.
fn quoted(lines: &[String]) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            text.push_str("<br/>");
        }
        for letter in line.chars() {
            match letter {
                '"' | '#' | '&' | '<' | '>' | '`' | '%' | ';' | '\\' | '*' | '_' | '~' | '$' | '{' | '}' | '@' => {
                    let _ = write!(text, "#{};", u32::from(letter));
                }
                letter => text.push(letter),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::sample::{agent, document, everything};
    use super::*;
    use cofferdam::core::spec::workflow::Step;

    #[test]
    fn loops_groups_and_included_documents_are_subgraphs() {
        let drawn = draw(&everything());
        for line in [
            "  s_list[\"list<br/>tool glob\"]",
            "  subgraph s_scan[\"scan<br/>loop, by dependencies<br/>if steps.list.status == 'completed'<br/>for each of steps.list.result.files, at most 4 at once\"]",
            "    s_scan_IN_look[\"look<br/>default agent\"]",
            "  subgraph s_both[\"both<br/>group, all at once\"]",
            "    s_part_IN_inside[\"inside<br/>default agent\"]",
            "  s_list -.-> s_scan",
            "  s_scan --> s_refine",
            "  s_both --> s_part",
        ] {
            assert!(drawn.lines().any(|drawn| drawn == line), "{line}\n{drawn}");
        }
        let count = |word: &str| drawn.lines().filter(|line| line.trim().starts_with(word)).count();
        assert_eq!((count("subgraph"), count("end")), (3, 3));
    }

    #[test]
    fn no_label_ends_its_quotes() {
        let label = Some("\"] --> x[\"<b>%%{init}%% `a` #quot; ünï \u{202e}\n; {end".to_owned());
        let drawn = draw(&document(vec![Step { label, ..agent("end") }]));
        let (_, text) = drawn.split_once("[\"").unwrap();
        let (text, rest) = text.split_once("\"]").unwrap();
        assert_eq!(rest, "\n", "{drawn}");
        assert!(text.contains("#34;] --") && text.contains("#62; x[#34;#60;b#62;#37;#37;#123;init#125;"), "{text}");
        assert!(text.contains("#35;quot#59;") && text.contains("ünï"), "{text}");
    }
}
