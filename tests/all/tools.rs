//! `tools list`: what agents would be offered, from where, and whether they might call it.

use crate::support::Project;
use serde_json::Value;

/// The tools by name: `from calls`.
fn listed(project: &Project, args: &[&str]) -> Vec<(String, String)> {
    let said = project.run(&[&["tools", "list", "--json"], args].concat()).expect(0);
    let line = |line: &str| {
        let tool: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| tool[key].as_str().unwrap().to_owned();
        (text("tool"), format!("{} {}", text("from"), text("calls")))
    };
    said.stdout.lines().map(line).collect()
}

fn names(listed: &[(String, String)]) -> Vec<&str> {
    listed.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn native_tools_are_listed_with_what_becomes_of_calls() {
    let project = Project::new();
    let found = listed(&project, &[]);
    assert_eq!(names(&found), ["edit", "glob", "grep", "read", "write"]);
    let calls =
        |found: &[(String, String)]| found.iter().map(|(_, calls)| calls.clone()).collect::<Vec<_>>().join(", ");
    assert_eq!(calls(&found), "native denied, native run, native run, native run, native denied");
    let found = listed(&project, &["--sandbox", "--deny", "grep"]);
    assert_eq!(calls(&found), "native run, native run, native denied, native run, native run");
    assert!(names(&listed(&project, &["--allow", "exec"])).contains(&"exec"));
    let table = project.run(&["tools", "list", "--deny", "write(path=secrets/*)"]).expect(0).stdout;
    assert!(table.starts_with("TOOL") && table.contains("perhaps deny") && table.contains("only reads"), "{table}");
}

#[test]
fn what_only_reads_is_told_from_what_changes_the_run() {
    let project = Project::new();
    project.file(
        "w.yaml",
        "name: w
agents: { keeper: { description: Keeps., memory: { read: true, write: true }, tools: ['context_*', agent] } }
steps: [{ id: a, agent: keeper, instructions: Keep. }]",
    );
    let said = project.run(&["tools", "list", "w.yaml", "--agent", "keeper", "--json"]).expect(0);
    let rule = |tool: &Value| format!("{}: {}", tool["tool"].as_str().unwrap(), tool["rule"].as_str().unwrap());
    let rules: Vec<_> = said.json_lines().iter().map(rule).collect();
    assert_eq!(
        rules,
        [
            "agent: changes only the run",
            "context_get: only reads",
            "context_set: changes only the run",
            "memory_delete: changes only the run",
            "memory_list: only reads",
            "memory_read: only reads",
            "memory_write: changes only the run",
        ]
    );
}

#[test]
fn an_agent_of_a_document_is_offered_what_it_says() {
    let project = Project::with_plugins();
    project.file(
        "w.yaml",
        "name: w
plugins: { text: builtin:text }
agents:
  reader: { description: Reads., tools: [read, 'text.w*'] }
  idle: { description: Talks., tools: [] }
steps: [{ id: a, agent: reader, instructions: Read. }, { id: b, agent: idle, instructions: Talk. }]",
    );
    let found = listed(&project, &["w.yaml", "--agent", "reader"]);
    let expected = [("read", "native run"), ("text.words", "builtin:text run")];
    assert_eq!(found, expected.map(|(name, calls)| (name.to_owned(), calls.to_owned())));
    assert_eq!(listed(&project, &["w.yaml", "--agent", "idle"]), []);
    assert!(listed(&project, &["w.yaml"]).len() > 6);
    let beside = listed(&project, &["--plugin", "t=builtin:text"]);
    assert!(names(&beside).contains(&"t.words"), "{beside:?}");
    let refused = project.run(&["tools", "list", "w.yaml", "--agent", "raeder"]).expect(2);
    assert!(refused.stderr.contains("`reader`"), "{}", refused.stderr);
    project.run(&["tools", "list", "--agent", "reader"]).expect(3);
    project.run(&["tools", "list", "gone.yaml"]).expect(3);
}
