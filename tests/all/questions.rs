//! Steps that ask a person, and runs whose steps hold other steps, as people see them on the command line.

use crate::support::Project;

const RELEASE: &str = "
name: release
steps:
  - { id: notes, instructions: write the notes }
  - id: approve
    dependsOn: [notes]
    ask: { prompt: 'Publish {{ steps.notes.content }}?', choices: ['yes', 'no'] }
  - { id: other, instructions: do something else }
  - { id: publish, dependsOn: [approve], instructions: publish it }
";

const LOOPS: &str = "
name: loops
agents:
  judge:
    description: judges
    resultSchema: { type: object, required: [done], properties: { done: { type: boolean } } }
steps:
  - id: refine
    instructions: write
    loop: { maxIterations: 4, untilAgent: judge }
  - id: both
    mode: parallel
    steps:
      - { id: left, instructions: left }
      - { id: right, instructions: right }
";

const MODEL: &str = "
answers:
  - { step: 'refine.judge[0]', toolCalls: [{ tool: submit_result, args: { done: false } }] }
  - { step: 'refine.judge[1]', toolCalls: [{ tool: submit_result, args: { done: true } }] }
default: { text: words }
";

fn project() -> Project {
    let project = Project::new();
    project.file("release.yaml", RELEASE).file("loops.yaml", LOOPS).file("model.yaml", MODEL);
    project
}

fn run(project: &Project, document: &str, flags: &[&str], code: i32) -> crate::support::Outcome {
    project.run(&[&["run", document, "--model", "scripted/model.yaml"][..], flags].concat()).expect(code)
}

#[test]
fn a_question_that_nobody_answers_ends_the_run_waiting_and_names_its_flag() {
    let project = project();
    let outcome = run(&project, "release.yaml", &[], 4).says(&[
        "waiting",
        "nobody is there to answer: Publish words?",
        "approve: Publish words? (yes, no)",
        "cofferdam runs show",
    ]);
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.contains("cofferdam resume ") && last.ends_with(" --answer approve=..."), "{last}");
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.lines().any(|line| line.starts_with("other") && line.contains("completed")), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("approve") && line.contains("waiting")), "{shown}");
}

#[test]
fn an_answer_may_come_with_the_run() {
    let project = project();
    project.file("answer.txt", "yes");
    for answer in ["approve=yes", "approve=@answer.txt"] {
        run(&project, "release.yaml", &["--answer", answer], 0).says(&["yes (given with the run)", "publish"]);
    }
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.contains("answer: yes, given with the run"), "{shown}");
}

#[test]
fn an_answer_that_cannot_be_one_is_refused_before_anything_runs() {
    let project = project();
    for (answer, said) in [
        ("approve=perhaps", "perhaps"),
        ("aprove=yes", "did you mean `approve`?"),
        ("approve", "--answer approve=VALUE"),
        ("approve=@gone.txt", "gone.txt"),
    ] {
        run(&project, "release.yaml", &["--answer", answer], 3).says(&[said]);
    }
    run(&project, "release.yaml", &["--answer", "approve=yes", "--answer", "approve=no"], 3).says(&["twice"]);
    assert!(!project.path(".cofferdam/runs.db").exists() || project.run(&["runs", "list", "--json"]).stdout.is_empty());
}

#[test]
fn rounds_judges_and_groups_are_shown_while_they_run_and_afterwards() {
    let project = project();
    let outcome = run(&project, "loops.yaml", &[], 0).says(&[
        "1 of at most 4",
        "2 of at most 4",
        "not done yet",
        "2 iterations, its judge is satisfied",
        "refine: 2 iterations of at most 4, its judge is satisfied",
        "both.left",
    ]);
    assert!(!outcome.stderr.contains("3 of at most 4"), "{}", outcome.stderr);
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    let names: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains("completed"))
        .map(|line| line.split("  ").find(|part| !part.is_empty()).unwrap().trim())
        .collect();
    let place = |name: &str| names.iter().position(|found| *found == name).unwrap_or_else(|| panic!("{name}\n{shown}"));
    assert!(
        place("[0]") < place("judge[0]") && place("judge[0]") < place("[1]") && place("[1]") < place("judge[1]"),
        "{shown}"
    );
    assert!(place("both") < place("left"), "{shown}");
}

#[test]
fn every_template_of_init_runs() {
    let project = Project::bare();
    let listed = project.run(&["init", "--list"]).expect(0).stdout;
    for name in ["hello", "chain", "loop", "for-each", "tools"] {
        assert!(listed.lines().any(|line| line.trim_start().starts_with(name)), "{listed}");
        project.run(&["init", "--template", name]).expect(0);
        let document = format!("{name}.yaml");
        assert!(project.read(&document).starts_with("# yaml-language-server: $schema=cofferdam.schema.json\n"));
        project.run(&["validate", "--strict", &document]).expect(0);
    }
    assert!(project.path("cofferdam.schema.json").exists());
    let judge = "answers: [{ step: 'refine.judge[0]', toolCalls: [{ tool: submit_result, args: { done: true } }] }]\ndefault: { text: words }\n";
    project.file("script.yaml", judge);
    for name in ["chain", "loop", "for-each", "tools"] {
        let outcome = project.run(&["run", &format!("{name}.yaml"), "--model", "scripted/script.yaml"]).expect(0);
        assert!(!outcome.stdout.is_empty(), "{name}: {}", outcome.stderr);
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_told_at_the_end() {
    let project = project();
    let skipping = RELEASE.replace("    dependsOn: [notes]\n", "    dependsOn: [notes]\n    condition: 'false'\n");
    project.file("skipping.yaml", &skipping);
    let told = "the answer for `approve` was not used: this run did not ask for it";
    run(&project, "skipping.yaml", &["--answer", "approve=yes"], 0).says(&["warning", told]);
    let outcome = run(&project, "release.yaml", &["--answer", "approve=yes"], 0);
    assert!(!outcome.stderr.contains("not used"), "{}", outcome.stderr);
}
