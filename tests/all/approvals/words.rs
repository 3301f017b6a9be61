//! What people say about calls counts, whatever rules the next process has and whatever else is at work.

use super::{FLAGS, count, events};
use crate::support::Project;

const CALLS: &str = "
name: calls
steps:
  - { id: one, tool: write, args: { path: one.txt, content: t } }
  - { id: two, tool: write, args: { path: two.txt, content: t } }
";

#[test]
fn what_was_asked_about_is_not_made_since_another_process_has_other_rules() {
    let project = Project::new();
    project.file("calls.yaml", CALLS);
    project.run(&["run", "calls.yaml", "--defer-approvals", "--ask", "write"]).expect(4);
    // Without the rule that asks, calls that stand in the document would be made.
    project.run(&["approve", "last", "one", "--deny", "--reason", "never"]).expect(4);
    project.run(&["resume", "last"]).expect(4);
    assert!(!project.path("one.txt").exists() && !project.path("two.txt").exists());
    project.run(&["approve", "last", "one"]).expect(3).says(&["was denied already"]);
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.contains("two"), "{shown}");
    // Somebody who says so by a rule is somebody who says so.
    project.run(&["resume", "last", "--allow", "write"]).expect(1);
    assert!(!project.path("one.txt").exists() && project.path("two.txt").exists());
    project.run(&["replay", "last"]).expect(0);
}

const SENDS: &str = "
name: sends
agents: { scribe: { description: Writes., tools: [write, glob, agent] } }
steps: [{ id: main, agent: scribe, instructions: Go. }]
output: steps.main.content
";

/// One sub-agent has something to do when its agent waits for a person, the other waits for a person itself.
const MODEL: &str = "
answers:
  - step: main
    turn: 1
    toolCalls:
      - { tool: agent, args: { task: looks, background: true } }
      - { tool: agent, args: { task: writes, background: true } }
      - { tool: write, args: { path: a.txt, content: a } }
  - { step: 'main@1', turn: 1, delay: 100ms, toolCalls: [{ tool: glob, args: { pattern: '*.none' } }] }
  - { step: 'main@1', turn: 2, delay: 100ms, text: looked }
  - { step: 'main@2', turn: 1, toolCalls: [{ tool: write, args: { path: b.txt, content: b } }] }
default: { text: 'done {{step}}' }
";

#[test]
fn sub_agents_in_the_background_finish_beside_what_waits() {
    for first in ["3", "@2/1"] {
        let project = Project::new();
        project.file("sends.yaml", SENDS).file("model.yaml", MODEL);
        project.run(&[&["run", "sends.yaml"], &FLAGS[..]].concat()).expect(4);
        let begun = events(&project);
        assert_eq!(count(&begun, "message_posted", "main@1"), 1, "it finished");
        assert_eq!(count(&begun, "permission_asked", "main@2"), 1);
        assert!(begun.iter().all(|event| event["kind"] != "warning"), "nobody was stopped");
        project.run(&["replay", "last"]).expect(0);
        project.run(&["approve", "last", "main", "--call", first]).expect(4);
        project.run(&["replay", "last"]).expect(0);
        let made = (project.path("a.txt").exists(), project.path("b.txt").exists());
        assert_eq!(made, (first == "3", first != "3"));
        let rest = if first == "3" { "@2/1" } else { "3" };
        let outcome = project.run(&["approve", "last", "main", "--call", rest]).expect(0);
        assert_eq!(outcome.stdout, "done main\n");
        let all = events(&project);
        assert_eq!((count(&all, "tool_call_started", "main@2"), count(&all, "message_delivered", "main")), (1, 2));
        project.run(&["replay", "last"]).expect(0);
    }
}
