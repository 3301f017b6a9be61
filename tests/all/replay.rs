//! Recorded runs that are run again against their records, as people see it on the command line.

use crate::support::Project;
use rustix::process::Signal;

const TALKS: &str = "
name: talks
inputs: { word: { type: string, default: tulip } }
agents: { helper: { description: Helps., tools: [glob, read] } }
steps:
  - { id: list, tool: glob, args: { pattern: '*.txt' } }
  - { id: talk, agent: helper, input: 'Look for {{ inputs.word }}.', dependsOn: [list] }
  - id: each
    dependsOn: [list]
    loop: { forEach: steps.list.result.files, steps: [{ id: say, tool: read, args: { path: '{{ item }}' } }] }
  - { id: not, tool: read, args: { path: a.txt }, dependsOn: [talk], condition: 'steps.talk.content == \"x\"' }
  - { id: shout, instructions: Shout., dependsOn: [talk, each], transform: { output: [upper] } }
output: steps.shout.content
";
const MODEL: &str = "
answers: [{ step: talk, turn: 1, toolCalls: [{ tool: read, args: { path: a.txt } }] }]
default: { text: 'said by {{step}}', usage: { input: 3, output: 2 } }
";
const RUN: [&str; 4] = ["run", "talks.yaml", "--model", "scripted/model.yaml"];

fn project() -> Project {
    let project = Project::new();
    let document = TALKS.replace("transform: { output: [upper] }", "retries: 1");
    project.file("talks.yaml", document).file("model.yaml", MODEL).file("a.txt", "one\n").file("b.txt", "two\n");
    project
}

#[test]
fn a_run_is_replayed_without_its_model_its_files_and_its_folder() {
    let project = project();
    project.run(&RUN).expect(0);
    for gone in ["model.yaml", "a.txt", "b.txt", "talks.yaml"] {
        std::fs::remove_file(project.path(gone)).unwrap();
    }
    let before = project.run(&["runs", "show", "last", "--json"]).expect(0).stdout;
    let outcome = project.run(&["replay", "last"]).expect(0);
    let said = outcome.stdout + &outcome.stderr;
    assert!(said.contains("replayed") && said.contains("the same"), "{said}");
    assert_eq!(project.run(&["runs", "show", "last", "--json"]).expect(0).stdout, before, "nothing is recorded");
    let exported = project.run(&["runs", "export", "last"]).expect(0).stdout;
    let other = Project::new();
    other.run_reading(&["runs", "import", "-"], &exported).expect(0);
    other.run(&["replay", "last", "--json"]).expect(0);
}

#[test]
fn a_run_that_was_killed_resumed_and_forked_is_replayed() {
    let project = project();
    project.file("model.yaml", MODEL.replace("default: {", "default: { delay: 1h,"));
    let running = project.start(&RUN);
    running.until("started");
    running.signal(Signal::KILL);
    running.wait();
    project.run(&["replay", "last"]).expect(0);
    project.file("model.yaml", MODEL);
    project.run(&["resume", "last"]).expect(0);
    project.run(&["replay", "last"]).expect(0);
    project.run(&["fork", "last", "--from", "talk"]).expect(0);
    project.run(&["replay", "last"]).expect(0);
    project.run(&["replay", "nope"]).expect(3).says(&["no run is called `nope`"]);
}

#[test]
fn a_run_that_waits_and_one_that_failed_are_replayed() {
    let project = project();
    project.file(
        "w.yaml",
        "name: w\nsteps:\n  - { id: a, ask: { prompt: on? } }\n  - { id: b, tool: read, args: { path: none.txt } }\n",
    );
    project.run(&["run", "w.yaml"]).expect(4);
    project.run(&["replay", "last"]).expect(0);
    project.run(&["answer", "last", "a", "yes"]).expect(1);
    project.run(&["replay", "last"]).expect(0);
}
