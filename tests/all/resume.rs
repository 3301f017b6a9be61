//! Recorded runs that go on, as people see it on the command line: answered, resumed after a kill, refused.

use crate::crash::{chances, kills_or};
use crate::support::{Manner, Outcome, Project, Running, Server, repository};
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

const ASKS: &str = "
name: release
steps:
  - { id: notes, instructions: write the notes }
  - { id: approve, dependsOn: [notes], ask: { prompt: 'Publish {{ steps.notes.content }}?', choices: ['yes', 'no'] } }
  - { id: publish, dependsOn: [approve], tool: write, args: { path: 'out:said.txt', content: '{{ steps.approve.content }}' } }
output: steps.approve.content
";

const TALKS: &str = "
name: talks
agents: { helper: { description: Helps., tools: [glob] } }
steps:
  - { id: first, tool: glob, args: { pattern: '*.yaml' } }
  - { id: talk, agent: helper, instructions: Look., dependsOn: [first] }
";

/// The second turn never comes.
const SLOW: &str = "
answers:
  - { step: talk, turn: 1, toolCalls: [{ tool: glob, args: { pattern: '*.md' } }] }
  - { step: talk, turn: 2, delay: 1h, text: too late }
default: { text: words }
";
const QUICK: &str = "
answers: [{ step: talk, turn: 2, text: 'in the end' }]
default: { error: { code: asked_again, class: step, message: 'this was answered before' } }
";
const MODEL: [&str; 2] = ["--model", "scripted/model.yaml"];

fn project() -> Project {
    let project = Project::new();
    project.file("asks.yaml", ASKS).file("talks.yaml", TALKS).file("model.yaml", "default: { text: words }\n");
    project
}

fn waiting(project: &Project) -> Outcome {
    project.run(&[&["run", "asks.yaml"], &MODEL[..]].concat()).expect(4)
}

fn events(project: &Project) -> Vec<Value> {
    project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines()
}

fn count(project: &Project, kind: &str) -> usize {
    events(project).iter().filter(|event| event["kind"] == kind).count()
}

/// A run whose agent is in its second turn.
fn talking(project: &Project) -> Running {
    project.file("model.yaml", SLOW);
    let running = project.start(&[&["run", "talks.yaml", "--json"], &MODEL[..]].concat());
    while !project.path(".cofferdam/runs.db").exists() || !second_turn(project) {
        std::thread::yield_now();
    }
    running
}

fn second_turn(project: &Project) -> bool {
    let shown = project.run(&["runs", "show", "last", "--json"]);
    shown.code == Some(0)
        && shown.stdout.matches("\"turn_finished\"").count() == 1
        && shown.stdout.contains("\"call_id\":\"1\",\"tool\":\"glob\",\"result\"")
}

#[test]
fn a_question_is_answered_days_later() {
    let project = project();
    waiting(&project);
    project.run(&["answer", "last", "aprove", "yes"]).expect(3).says(&["did you mean `approve`?"]);
    project.run(&["answer", "last", "approve", "perhaps"]).expect(3).says(&["none of `yes`, `no`"]);
    // Without an answer it waits on.
    project.run(&["resume", "last"]).expect(4).says(&["resumed", "cofferdam resume", "--answer approve=..."]);
    let outcome = project.run(&["answer", "last", "approve", "yes"]).expect(0).says(&["completed", "said.txt"]);
    assert_eq!((outcome.stdout.as_str(), count(&project, "turn_started")), ("yes\n", 1), "the notes were written once");
    let kinds: Vec<_> = events(&project).iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "run_resumed").count(), 2);
    project.run(&["answer", "last", "approve", "no"]).expect(3).says(&["is completed; it asks nothing any more"]);
    project.run(&["resume", "last"]).expect(0).says(&["nothing was left to do"]);
    assert_eq!(project.run(&["resume", "last", "-q"]).expect(0).stdout, "yes\n");
    let result = project.run(&["resume", "last", "--json"]).expect(0).json_lines();
    assert_eq!((&result[0]["status"], &result[0]["output"]), (&"completed".into(), &"yes".into()));
}

#[test]
fn answers_come_from_files_and_several_at_once() {
    let project = project();
    let two = ASKS.replace("output:", "  - { id: name, ask: { prompt: 'Which name?' } }\noutput:");
    project.file("asks.yaml", two).file("name.txt", "Tulip");
    waiting(&project);
    let answers = ["resume", "last", "--answer", "approve=no", "--answer", "name=@name.txt"];
    assert_eq!(project.run(&answers).expect(0).stdout, "no\n");
    waiting(&project);
    project.run(&["answer", "last", "name", "@name.txt"]).expect(4).says(&["approve: Publish words?"]);
    project.run(&["answer", "last", "approve", "yes"]).expect(0);
}

#[test]
fn an_agent_goes_on_in_the_middle_of_its_conversation_after_a_kill() {
    let project = project();
    let running = talking(&project);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    // Whoever asks for the first turn again is refused by the script.
    project.file("model.yaml", QUICK);
    let outcome = project.run(&["resume", "last"]).expect(0).says(&["resumed", "talk", "completed  2 steps"]);
    assert_eq!(outcome.stdout, "in the end\n");
    assert_eq!((count(&project, "turn_finished"), count(&project, "tool_call_started")), (2, 2));
}

#[test]
fn an_agent_goes_on_in_the_middle_of_its_conversation_after_an_interrupt() {
    let project = project();
    let running = talking(&project);
    running.signal(Signal::INT);
    let outcome = running.wait().expect(130);
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.contains("cofferdam resume "), "the last line is what goes on: {last}");
    project.file("model.yaml", QUICK);
    assert_eq!(project.run(&["resume", "last"]).expect(0).stdout, "in the end\n");
    assert_eq!((count(&project, "turn_finished"), count(&project, "tool_call_started")), (2, 2));
}

#[test]
fn who_works_on_a_run_is_named_to_others() {
    let project = project();
    let running = talking(&project);
    let message = "works on the run";
    project.run(&["resume", "last"]).expect(1).says(&["process ", message, "wait for its end, or stop it"]);
    running.signal(Signal::KILL);
    running.wait();
    project.file("model.yaml", QUICK);
    project.run(&["resume", "last"]).expect(0);
}

/// Two answers at once: whichever counts, the other one says so. With a process that comes too late in each way.
#[test]
fn of_two_answers_one_counts_and_the_other_says_so() {
    for round in 0..6 {
        let project = project();
        waiting(&project);
        let start = |word: &str| project.start(&["answer", "last", "approve", word]);
        let (yes, no) = (start("yes"), start(if round < 5 { "no" } else { "yes" }));
        let outcomes = [yes.wait(), no.wait()];
        let said = count(&project, "question_answered");
        assert_eq!(said, 1, "exactly one answer counts");
        let result = project.run(&["resume", "last", "-q"]).expect(0).stdout;
        for (word, outcome) in ["yes\n", if round < 5 { "no\n" } else { "yes\n" }].iter().zip(outcomes) {
            match outcome.code {
                Some(0) => assert_eq!(*word, result, "who says that all is well was heard"),
                Some(1) => drop(outcome.says(&["works on the run"])),
                Some(3) => {
                    assert_ne!(*word, result);
                    let told = ["was answered already: `", "it asks nothing any more"];
                    assert!(told.iter().any(|text| outcome.stderr.contains(text)), "{}", outcome.stderr);
                }
                code => panic!("{code:?}: {}", outcome.stderr),
            }
        }
    }
}

#[test]
fn an_answer_that_comes_too_late_is_refused_unless_it_is_the_same() {
    let project = project();
    let two = ASKS.replace("output:", "  - { id: name, ask: { prompt: 'Which name?' } }\noutput:");
    project.file("asks.yaml", two);
    waiting(&project);
    project.run(&["answer", "last", "approve", "yes"]).expect(4);
    let before = events(&project).len();
    let late = project.run(&["answer", "last", "approve", "no"]).expect(3);
    late.says(&["the question of `approve` was answered already: `yes`", "cofferdam fork"]);
    assert_eq!(events(&project).len(), before, "nothing was recorded");
    let same = project.run(&["answer", "last", "approve", "yes"]).expect(4);
    assert!(!same.stderr.contains("not used"), "{}", same.stderr);
}

#[test]
fn an_answer_whose_question_has_not_come_is_told_to_be_given_again() {
    let project = project();
    let two =
        ASKS.replace("output:", "  - { id: name, dependsOn: [approve], ask: { prompt: 'Which name?' } }\noutput:");
    project.file("asks.yaml", two);
    let outcome = project.run(&[&["run", "asks.yaml", "--answer", "name=Tulip"], &MODEL[..]].concat()).expect(4);
    assert!(!outcome.stderr.contains("did not ask"), "{}", outcome.stderr);
    outcome.says(&["the answer for `name` was not used: its question has not come yet; give it again"]);
}

const READS: &str = "
name: reads
steps:
  - { id: before, instructions: Look., contextFiles: [a.md] }
  - { id: ok, dependsOn: [before], ask: { prompt: 'Go on?' } }
  - { id: after, dependsOn: [ok], instructions: Look again., contextFiles: [b.md] }
  - { id: beside, instructions: Nothing to read. }
";

#[test]
fn files_that_go_with_prompts_are_part_of_what_a_run_was_started_with() {
    let project = project();
    project.file("reads.yaml", READS).file("a.md", "one").file("b.md", "two");
    project.run(&[&["run", "reads.yaml"], &MODEL[..]].concat()).expect(4);
    let answer = ["answer", "last", "ok", "yes"];
    project.file("a.md", "another");
    let refused = project.run(&answer).expect(2).says(&["has changed", "a.md", "--accept-changes"]);
    assert!(!refused.stderr.contains("b.md"), "{}", refused.stderr);
    let accepted = ["resume", "last", "--answer", "ok=yes", "--accept-changes"];
    project.run(&accepted).expect(0).says(&["with the changed document", "reused: beside", "runs again: before"]);
    let started: Vec<_> = events(&project).into_iter().filter(|event| event["kind"] == "turn_started").collect();
    assert!(started.iter().any(|event| event["path"] == "before"), "it read what is another file now");
    // The new run was started with the files as they are.
    project.file("reads.yaml", READS.replace("Look again", "Look")).file("a.md", "third");
    project.run(&["resume", "last"]).expect(0);
}

#[test]
fn files_that_a_run_makes_or_lacks_do_not_keep_it_from_going_on() {
    let project = project();
    project.file("reads.yaml", READS).file("a.md", "one");
    project.run(&[&["run", "reads.yaml"], &MODEL[..]].concat()).expect(4);
    std::fs::remove_file(project.path("a.md")).unwrap();
    project.file("b.md", "made by a step");
    project.run(&["answer", "last", "ok", "yes"]).expect(0);
}

#[test]
fn a_call_of_a_plugin_that_the_user_vouches_for_is_made_again() {
    let project = Project::with_plugins();
    let server = Server::start(Manner::Stalls);
    let document = format!(
        "name: fetches\nplugins: {{ web: 'builtin:fetch' }}\nsteps: [{{ id: get, tool: web.get, args: {{ url: 'http://127.0.0.1:{}/' }} }}]\n",
        server.port
    );
    // What may write could lie about itself.
    let grants = format!(
        "[plugins.web.grants]\nhttp = [{{ host = \"127.0.0.1\", scheme = \"http\", port = {}, methods = [\"GET\", \"POST\"], cidrs = [\"127.0.0.1/32\"] }}]\n",
        server.port
    );
    project.file("fetches.yaml", document).file("cofferdam.toml", &grants);
    let until = |requests: usize| {
        while server.seen().len() < requests {
            std::thread::yield_now();
        }
    };
    let kill = |running: Running, requests: usize| {
        until(requests);
        running.signal(Signal::KILL);
        running.wait();
    };
    kill(project.start(&["run", "fetches.yaml"]), 1);
    project.run(&["resume", "last"]).expect(1).says(&["whether it had its effect is not known"]);
    assert_eq!(server.seen().len(), 1, "it was not called again");
    project.file("cofferdam.toml", format!("[plugins.web]\ntrust = [\"idempotnet\"]\n{grants}"));
    project
        .run(&["resume", "last"])
        .expect(3)
        .says(&["`idempotnet` is nothing to trust", "`read_only` and `idempotent`"]);
    project.file("cofferdam.toml", format!("[plugins.web]\ntrust = [\"idempotent\"]\n{grants}"));
    let inspected = project.run(&["plugin", "inspect", "builtin:fetch", "--alias", "web"]).expect(0).stdout;
    assert!(inspected.contains("be believed where it says that a call may be made twice"), "{inspected}");
    kill(project.start(&["resume", "last"]), 2);
    let events = events(&project);
    let of = |kind: &str| events.iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>();
    let decided = of("effect_decided");
    let [first, second] = decided.as_slice() else { panic!("{decided:?}") };
    assert_eq!((&first["decision"], &second["decision"]), (&"fail".into(), &"repeat".into()));
    assert_eq!(second["rule"], "the tool is idempotent");
    let calls: Vec<_> = of("tool_call_started").iter().map(|event| event["call_id"].clone()).collect();
    assert!(calls.iter().all(|call| *call == calls[0]), "one call, one key: {calls:?}");
}

#[test]
fn a_run_whose_record_is_gone_says_so() {
    let project = project();
    // In its second turn, since a run that begins makes directories.
    let running = talking(&project);
    std::fs::rename(project.path(".cofferdam"), project.path("gone")).unwrap();
    running.signal(Signal::INT);
    running.wait().expect(130).says(&["the record of this run is lost", "runs.db` was removed"]);
}

#[test]
fn a_document_that_has_changed_is_refused_with_what_changed() {
    let project = project();
    project.file("asks.yaml", ASKS.replace("write the notes", "'@notes.md'")).file("notes.md", "write\nthe\nnotes\n");
    waiting(&project);
    project.file("notes.md", "write\nlong\nnotes\n");
    let answer = ["answer", "last", "approve", "yes"];
    project.run(&answer).expect(2).says(&["has changed", "notes.md", "- the", "+ long"]);
    project.file("notes.md", "write\nthe\nnotes\n").file("asks.yaml", "no: document");
    project.run(&answer).expect(2).says(&["has changed", "- name: release", "+ no: document"]);
    // Without the file, the recorded copy is what counts.
    std::fs::remove_file(project.path("asks.yaml")).unwrap();
    assert_eq!(project.run(&answer).expect(0).stdout, "yes\n");
}

#[test]
fn a_run_is_found_from_another_folder_of_its_project() {
    let project = project();
    project.file("flows/asks.yaml", ASKS).file("flows/model.yaml", "default: { text: words }\n");
    project.run(&[&["run", "flows/asks.yaml"], &MODEL[..]].concat()).expect(4);
    let folder = project.path("flows");
    let mut command = project.command(&["answer", "last", "approve", "yes"]);
    let outcome = command.current_dir(folder).output().unwrap();
    assert_eq!(outcome.status.code(), Some(0), "{}", String::from_utf8_lossy(&outcome.stderr));
}

/// Agents of a few milliseconds each, some after others.
fn busy() -> (String, &'static str) {
    let step = |index: usize| {
        let after = if index < 3 { String::new() } else { format!(", dependsOn: [s{}]", index - 3) };
        format!("  - {{ id: s{index}, agent: helper, instructions: Look.{after} }}\n")
    };
    let agents = "name: busy\nagents: { helper: { description: Helps., tools: [glob] } }\nsteps:\n";
    let steps: String = (0..12).map(step).collect();
    let model = "delay: 6ms\nanswers: [{ turn: 1, toolCalls: [{ tool: glob, args: { pattern: '*' } }] }]\ndefault: { text: 'done {{step}}' }\n";
    (agents.to_owned() + &steps, model)
}

#[test]
fn an_interrupt_at_any_moment_ends_soon_and_leaves_a_run_that_goes_on() {
    let (document, model) = busy();
    let whole = Project::new();
    whole.file("busy.yaml", &document).file("model.yaml", model);
    let run = [&["run", "busy.yaml"], &MODEL[..]].concat();
    let started = Instant::now();
    let expected = whole.run(&run).expect(0).stdout;
    let takes = u64::try_from(started.elapsed().as_micros()).unwrap();
    let (mut chance, mut stopped) = (chances(), 0);
    for number in 0..kills_or(20) {
        let project = Project::new();
        project.file("busy.yaml", &document).file("model.yaml", model);
        let running = project.start(&run);
        std::thread::sleep(Duration::from_micros(chance(takes)));
        let (signal, code) = if number % 2 == 0 { (Signal::INT, 130) } else { (Signal::TERM, 143) };
        let sent = Instant::now();
        running.signal_if_there(signal);
        if number % 4 > 1 {
            // Somebody is in a hurry.
            std::thread::sleep(Duration::from_micros(chance(3_000)));
            running.signal_if_there(signal);
        }
        let outcome = running.wait();
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
        match outcome.code {
            Some(0) => continue,
            // It died before it could hear.
            None => {}
            other => assert_eq!(other, Some(code), "{}", outcome.stderr),
        }
        stopped += 1;
        let listed = project.run(&["runs", "list", "--json"]).expect(0).json_lines();
        if listed.is_empty() {
            continue;
        }
        assert_eq!(project.run(&["resume", "last"]).expect(0).stdout, expected);
        assert_eq!(count(&project, "turn_finished"), 24, "no turn was asked for twice that was answered");
    }
    assert!(stopped > 0);
}

#[test]
fn what_failed_runs_again_and_what_is_done_does_not() {
    let project = project();
    project.file("w.yaml", "name: w\nsteps:\n  - { id: a, instructions: a }\n  - { id: b, dependsOn: [a], tool: read, args: { path: late.txt } }\n");
    let outcome = project.run(&[&["run", "w.yaml"], &MODEL[..]].concat()).expect(1);
    assert!(outcome.stderr.lines().last().unwrap().contains("cofferdam resume "), "{}", outcome.stderr);
    project.file("late.txt", "here it is\n");
    assert!(project.run(&["resume", "last"]).expect(0).stdout.contains("here it is"));
    assert_eq!((count(&project, "turn_started"), count(&project, "tool_call_started")), (1, 2));
}

#[test]
fn a_pause_need_not_be_waited_for() {
    let project = project();
    let paused = "name: w\nsteps: [{ id: a, instructions: a, loop: { maxIterations: 2, delay: 1h } }]\n";
    project.file("w.yaml", paused);
    let outcome = project.run(&[&["run", "w.yaml", "--no-wait"], &MODEL[..]].concat()).expect(4);
    let outcome = outcome.says(&["waits      until ", "for the next iteration"]);
    assert!(outcome.stderr.lines().last().unwrap().contains("cofferdam resume "), "{}", outcome.stderr);
    project.run(&["resume", "last", "--no-wait"]).expect(4).says(&["waits      until "]);
    assert_eq!(count(&project, "turn_started"), 1);
}

#[test]
fn runs_that_are_not_there_are_named() {
    let project = project();
    project.run(&["resume", "last"]).expect(3).says(&["no run is recorded here"]);
    waiting(&project);
    project.run(&["resume", "nope"]).expect(3).says(&["no run is called `nope`"]);
    project.run(&["resume"]).expect(3);
    project.run(&["answer", "last", "approve"]).expect(3);
}

#[test]
fn runs_in_files_go_on_as_well() {
    let project = project();
    let stored = |args: &[&str]| project.run(&[args, &["--storage", "file"]].concat());
    stored(&[&["run", "asks.yaml"], &MODEL[..]].concat()).expect(4);
    assert!(!project.path(".cofferdam/runs.db").exists());
    assert_eq!(stored(&["answer", "last", "approve", "no"]).expect(0).stdout, "no\n");
    stored(&["runs", "show", "last"]).expect(0);
}

/// Runs of every released version, one that waits and one that failed, in each store: `tests/stores/VERSION`.
#[test]
fn runs_of_every_version_go_on() {
    let versions = std::fs::read_dir(repository().join("tests/stores")).unwrap();
    let mut count = 0;
    for version in versions.map(|entry| entry.unwrap().path()) {
        for store in ["sqlite", "file"] {
            let project = project();
            project.copy_to(&version.join(store), ".cofferdam");
            let stored = |args: &[&str]| project.run(&[args, &["--storage", store]].concat());
            let listed = stored(&["runs", "list", "--json"]).expect(0).json_lines();
            let find = |status: &str| {
                let row = listed.iter().find(|row| row["status"] == status).unwrap_or_else(|| panic!("{listed:?}"));
                row["run_id"].as_str().unwrap().to_owned()
            };
            assert_eq!(stored(&["answer", &find("waiting"), "approve", "yes"]).expect(0).stdout, "yes\n");
            // It waited since that version was made: nobody worked on it meanwhile.
            let result = stored(&["resume", &find("waiting"), "--json"]).expect(0).json_lines().remove(0);
            let [all, worked] = ["duration_ms", "worked_ms"].map(|key| result[key].as_u64().unwrap());
            assert!(all > 60_000 && worked < 60_000, "{worked} of {all}");
            let shown = stored(&["runs", "show", &find("waiting")]).expect(0).stdout;
            assert!(shown.contains(" of work within "), "{shown}");
            project.file("late.txt", "in time");
            assert!(stored(&["resume", &find("partial")]).expect(0).stdout.contains("in time"));
            count += 1;
        }
        let project = project();
        project.run(&["runs", "import", version.join("export.jsonl").to_str().unwrap()]).expect(0);
        assert_eq!(project.run(&["answer", "last", "approve", "no"]).expect(0).stdout, "no\n");
    }
    assert!(count >= 2);
}
