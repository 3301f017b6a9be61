//! `plan` as people and scripts meet it: the whole graph, and what it may cost, without running anything.

use crate::support::Project;
use serde_json::{Value, json};

const DOCUMENT: &str = "
name: nested \"name\" [x]
agents:
  writer: { description: writes, model: openai/gpt-5, tools: [read, glob], maxTurns: 4 }
steps:
  - { id: list, tool: glob, args: { pattern: '*' } }
  - id: each-file
    label: 'look at \"it\" --> [all] <b> ünï #1; `x`'
    dependsOn: [list]
    condition: steps.list.status == 'completed'
    loop:
      forEach: steps.list.result.files
      maxConcurrency: 2
      steps:
        - { id: end, agent: writer, instructions: read it, retries: 1 }
        - { id: sum-up, dependsOn: [end], instructions: sum it up }
  - { id: last, dependsOn: [each-file], instructions: tell }
";

fn draw(format: &str) -> String {
    let project = Project::new();
    project.file("d.yaml", DOCUMENT);
    let drawn = project.run(&["plan", "d.yaml", "--format", format]).expect(0).stdout;
    assert!(!project.path(".cofferdam/runs.db").exists());
    drawn
}

#[test]
fn the_data_have_every_step_with_its_bounds() {
    let plan: Value = serde_json::from_str(&draw("json")).unwrap();
    assert_eq!(plan["mode"], "dag");
    assert_eq!(plan["agents"][0]["tools"]["allow"], json!(["read", "glob"]));
    let each = &plan["steps"][1];
    assert_eq!((&each["path"], &each["kind"], &each["layer"]), (&json!("each-file"), &json!("loop"), &json!(1)));
    assert_eq!(each["loop"]["items"], "steps.list.result.files");
    assert_eq!(each["steps"][0]["path"], "each-file[i].end");
    assert_eq!((&each["steps"][0]["model"], &each["steps"][0]["tries"]), (&json!("openai/gpt-5"), &json!(2)));
    // 4 turns in each of 2 tries; and 50 turns of the default agent; 20 000 items.
    assert_eq!(each["steps"][0]["model_calls"], json!({ "at_least": 1, "at_most": 8 }));
    assert_eq!(each["model_calls"], json!({ "at_least": 0, "at_most": 1_160_000 }));
    let calls = &plan["model_calls"];
    assert_eq!((&calls["at_least"], &calls["at_most"]), (&json!(1), &json!(1_160_050)));
    assert_eq!((&calls["open_loops"], &calls["items_of_open_loops"]), (&json!(["each-file"]), &json!(20_000)));
}

#[test]
fn the_tree_says_what_decides_and_what_it_may_cost() {
    let tree = draw("tree");
    for text in [
        "agent   writer openai/gpt-5, tools read, glob, at most 4 turns",
        "if steps.list.status == 'completed'",
        "for each of steps.list.result.files, at most 2 at once",
        " 1  each-file[i].end     agent writer (openai/gpt-5)\n",
        "tries at most 2",
        "at least 1, at most 1 160 050",
        "at most 20 000: each-file",
    ] {
        assert!(tree.contains(text), "{text}\n{tree}");
    }
}

/// Every line of a Mermaid chart is one of these, and nothing of a label gets out of its quotes.
#[test]
fn a_chart_has_subgraphs_and_keeps_labels_in_their_quotes() {
    let chart = draw("mermaid");
    let (mut open, mut nodes) = (0, Vec::new());
    for line in chart.lines().skip(1).map(str::trim) {
        let name = |text: &str| {
            text.starts_with("s_") && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        };
        if line == "end" {
            open -= 1;
        } else if let Some((head, label)) = line.split_once("[\"") {
            open += i32::from(head.starts_with("subgraph "));
            let node = head.trim_start_matches("subgraph ");
            assert!(name(node), "{line}");
            nodes.push(node.to_owned());
            let label = label.strip_suffix("\"]").unwrap_or_else(|| panic!("{line}"));
            assert!(!label.contains(['"', '`']) && !label.replace("<br/>", "").contains(['<', '>']), "{line}");
        } else {
            let (from, to) =
                line.split_once(" --> ").or_else(|| line.split_once(" -.-> ")).unwrap_or_else(|| panic!("{line}"));
            assert!(nodes.contains(&from.to_owned()) && nodes.contains(&to.to_owned()), "{line}");
        }
    }
    assert_eq!(open, 0, "{chart}");
    assert_eq!(nodes, ["s_list", "s_each_D_file", "s_each_D_file_IN_end", "s_each_D_file_IN_sum_D_up", "s_last"]);
    assert!(chart.contains("  s_list -.-> s_each_D_file\n"), "{chart}");
}

#[test]
fn a_graph_has_clusters_that_edges_end_at() {
    let graph = draw("dot");
    for line in [
        "digraph \"nested \\\"name\\\" [x]\" {",
        "  subgraph cluster_s_each_D_file {",
        "  s_list -> s_each_D_file_IN_end [lhead=cluster_s_each_D_file, style=dashed]",
        "  s_each_D_file_IN_sum_D_up -> s_last [ltail=cluster_s_each_D_file]",
    ] {
        assert!(graph.lines().any(|drawn| drawn == line), "{line}\n{graph}");
    }
    let labels = graph.lines().filter(|line| line.contains("label="));
    for line in labels {
        let text = line.replace("\\\\", "").replace("\\\"", "");
        assert_eq!(text.matches('"').count(), 2, "{line}");
    }
}
