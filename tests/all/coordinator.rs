//! The coordinator at the command line: what people see of it, and what they must not.

use crate::support::Project;

const DOCUMENT: &str = "
name: review
agents: { writer: { description: Writes. } }
steps:
  - { id: draft, agent: writer, instructions: Write it. }
  - { id: check, agent: writer, instructions: Check it., dependsOn: [draft] }
";

/// The steps take a moment each, so that what the coordinator says finds them at work.
const SCRIPT: &str = r#"
answers:
  - { step: "@coordinator", turn: 1, text: ok }
  - { step: "@coordinator", contains: "step `draft` completed", times: 1, toolCalls: [{ tool: narrate, args: { text: the draft is there } }, { tool: forward_to_agent, args: { target_step_id: check, text: be strict } }] }
  - { step: "@coordinator", contains: "All steps have ended", times: 1, toolCalls: [{ tool: finalize, args: { summary: both were done } }] }
  - { step: "@coordinator", text: ok, usage: { input: 7, output: 1 } }
  - { step: draft, text: a fine draft }
  - { step: check, turn: 1, text: checked, delay: 300ms }
  - { step: check, turn: 2, text: "checked: {{prompt}}" }
"#;

fn project() -> Project {
    let project = Project::new();
    project.file("w.yaml", DOCUMENT).file("model.yaml", SCRIPT);
    project
}

#[test]
fn people_see_what_the_coordinator_says_and_what_it_came_to() {
    let project = project();
    // Long enough for a message to find the step at work, also where the disk is slow.
    project.file("model.yaml", SCRIPT.replace("300ms", "4s"));
    let done = project.run(&["run", "w.yaml", "--coordinator", "--model", "scripted/model.yaml"]).expect(0);
    assert_eq!(done.stdout, "checked: [message from the coordinator]\nbe strict\n");
    done.says(&["says       the draft is there", "to check: be strict", "both were done"]);
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    for part in ["@coordinator  completed", "told  the draft is there", "1 between agents", "summary\n  both were done"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let said = project.run(&["runs", "show", "last", "--transcript", "@coordinator"]).expect(0).stdout;
    assert!(said.contains("step `draft` completed and gave:") && said.contains("-> forward_to_agent"), "{said}");
    project.run(&["replay", "last"]).expect(0);
    // A fork has a coordinator of its own.
    let fork = project.run(&["fork", "last", "--from", "check"]).expect(0);
    assert!(fork.stdout.starts_with("checked"), "{}", fork.stdout);
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn a_step_that_has_ended_answers_where_its_agent_resumes_on_messages() {
    let project = project();
    let script = r#"
answers:
  - { step: "@coordinator", turn: 1, text: ok }
  - { step: "@coordinator", contains: "All steps have ended", times: 1, toolCalls: [{ tool: forward_to_agent, args: { target_step_id: draft, text: in a word? } }] }
  - { step: "@coordinator", contains: "message from step `draft`", times: 1, toolCalls: [{ tool: finalize, args: { summary: both were done } }] }
  - { step: "@coordinator", text: ok }
  - { step: draft, turn: 1, text: a fine draft, usage: { input: 10, output: 1 } }
  - { step: draft, turn: 2, text: ships, usage: { input: 20, output: 1 } }
  - { step: check, text: checked }
"#;
    project.file("model.yaml", script);
    project.file("w.yaml", DOCUMENT.replace("Writes.", "Writes., resumeOnMessage: true"));
    let done = project.run(&["run", "w.yaml", "--coordinator", "--model", "scripted/model.yaml"]).expect(0);
    assert_eq!(done.stdout, "checked\n");
    done.says(&["to draft: in a word?", "to the coordinator: ships", "both were done"]);
    let said = project.run(&["runs", "show", "last", "--transcript", "draft"]).expect(0).stdout;
    assert!(said.contains("a fine draft") && said.contains("in a word?") && said.contains("ships"), "{said}");
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.contains("2 between agents") && shown.contains("agent writer, 30 in, 2 out"), "{shown}");
    let json = project.run(&["runs", "show", "last", "--json"]).expect(0).stdout;
    assert_eq!(json.matches("\"in_reply_to\":1").count(), 1, "{json}");
    project.run(&["replay", "last"]).expect(0);
    let fork = project.run(&["fork", "last", "--from", "check"]).expect(0);
    assert!(fork.stdout.starts_with("checked"), "{}", fork.stdout);
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn the_coordinator_has_the_model_that_is_named_for_it() {
    let project = project();
    let other = SCRIPT.replace("both were done", "another said so");
    project.file("other.yaml", other);
    let flags = ["--model", "scripted/model.yaml"];
    let with = |flag: &'static str| [&["run", "w.yaml", flag][..], &flags].concat();
    project.run(&with("--coordinator=scripted/other.yaml")).expect(0).says(&["another said so"]);
    let unknown = project.run(&with("--coordinator=scripted/none.yaml"));
    assert!(unknown.stderr.contains("none.yaml"), "{}", unknown.stderr);
    project.run(&with("--coordinator=")).expect(3);
    project
        .run(&["run", "w.yaml", "--coordinator", "--dry-run", "--model", "scripted/model.yaml"])
        .expect(0)
        .says(&["a coordinator works beside the steps"]);
}

#[test]
fn nothing_of_a_coordinator_is_shown_beside_sensitive_steps() {
    let project = project();
    let long = format!("TOPSECRET {}", "x".repeat(3_000));
    let script = SCRIPT
        .replace("a fine draft", &long)
        .replace("the draft is there", "it begins with TOPSECRET")
        .replace("be strict", "think of TOPSECRET");
    project.file("model.yaml", script.replace("both were done", "TOPSECRET in short"));
    project.file("w.yaml", DOCUMENT.replace("id: draft,", "id: draft, sensitive: true,"));
    let flags = ["run", "w.yaml", "--coordinator", "--model", "scripted/model.yaml"];
    let lines = project.run(&[&flags[..], &["--json"]].concat()).expect(0);
    let mut seen = vec![lines.stdout, lines.stderr];
    for args in [
        &["runs", "show", "last"][..],
        &["runs", "show", "last", "--json"],
        &["runs", "show", "last", "--transcript", "@coordinator"],
    ] {
        let shown = project.run(args).expect(0);
        seen.extend([shown.stdout, shown.stderr]);
    }
    seen.push(project.run(&flags).expect(0).stderr);
    for text in seen.into_iter().filter(|text| !text.is_empty()) {
        // What a step that is not sensitive gave is its own affair, also where it gave it to the run.
        let own = |line: &&str| line.contains(r#""path":"check""#) || line.contains(r#""kind":"run_finished""#);
        let shown = text.split("\noutput").next().unwrap_or_default();
        let shown: Vec<&str> = shown.lines().filter(|line| !own(line)).collect();
        assert!(shown.len() > 3 && shown.iter().all(|line| !line.contains("TOPSECRET")), "{shown:#?}");
    }
}
