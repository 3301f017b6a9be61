//! Who decides about a call that no rule is about: somebody who is asked, what was answered before, or nobody.

use crate::support::{Doing, Project, TestRuntime, close, gave, user_directory};
use cofferdam::core::event::{Body, Decision, RunStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::permission::{Rule, Rules, Stance};
use cofferdam::core::port::{
    Ack, Answer, Approver, Batch, BoxFuture, Effects, Inquiry, Pressure, Question, RecordBody, Want,
};
use cofferdam::llm::Scripted;
use cofferdam::{
    Builder, Orchestrator, PermissionAnswer, PermissionRequest, ResumeOptions, RunOptions, Sink, Step, Undecided,
    UserDirs, Workflow, WorkflowConfig,
};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// Four calls of a model: twice the same, another one, and another tool.
const SCRIPT: &str = "
answers:
  - { turn: 1, toolCalls: [{ tool: write, args: { path: 'out:a', content: x } }] }
  - { turn: 2, toolCalls: [{ tool: write, args: { content: x, path: 'out:a' } }] }
  - { turn: 3, toolCalls: [{ tool: write, args: { path: 'out:b', content: x } }] }
  - { turn: 4, toolCalls: [{ tool: edit, args: { path: 'out:a', old: x, new: y } }] }
  - { turn: 5, text: done }
";

const WRITER: &str = "name: w\nsteps: [{ id: a, instructions: Write. }]";

/// A call of the document, and one of a model.
const BOTH: &str = "name: w
steps:
  - { id: own, tool: write, args: { path: 'out:own', content: x } }
  - { id: a, dependsOn: [own], instructions: Write. }";

/// Gives answers one after another, the last one from then on, and keeps what it was asked.
pub(crate) struct Person {
    answers: Mutex<VecDeque<Said>>,
    asked: Mutex<Vec<String>>,
}

#[derive(Clone)]
pub(crate) enum Said {
    This(Answer),
    Nothing,
    Panic,
}

impl Person {
    pub(crate) fn new(answers: impl IntoIterator<Item = Said>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Approver for Person {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer> {
        self.asked.lock().unwrap().push(format!("{} {}", question.title, question.detail));
        let mut answers = self.answers.lock().unwrap();
        let said = if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
        Box::pin(async move {
            // Whoever else wants to ask comes that far meanwhile.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            match said {
                Said::This(answer) => answer,
                Said::Nothing => std::future::pending().await,
                Said::Panic => panic!("a person fell over"),
            }
        })
    }
}

/// Keeps what was decided: the tool, whether it ran, and by which rule.
#[derive(Default)]
struct Decisions(Mutex<Vec<(String, bool, String)>>);

impl Sink for Decisions {
    fn want(&self) -> Want {
        Want::new(vec!["permission_decided".into()], Pressure::Wait)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let mut kept = self.0.lock().unwrap();
        for event in &batch.events {
            let Body::PermissionDecided { tool, decision, rule, .. } = &event.body else { continue };
            kept.push((tool.to_string(), *decision == Decision::Allow, rule.clone()));
        }
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Runs a document and gives what was decided.
fn decided(builder: Builder, document: &str) -> Vec<(String, bool, String)> {
    decided_by(builder, document, SCRIPT)
}

pub(crate) fn decided_by(builder: Builder, document: &str, script: &str) -> Vec<(String, bool, String)> {
    let decisions = Arc::new(Decisions::default());
    let builder = builder.model(Scripted::parse(script).unwrap()).sink(Arc::clone(&decisions) as Arc<dyn Sink>);
    TestRuntime::quick().block_on(async {
        let orchestrator = builder.build().unwrap();
        let workflow = Workflow::parse(document, ".").unwrap();
        let result = orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap();
        assert!(result.success(), "{:?}", result.error);
        close(&orchestrator).await;
    });
    std::mem::take(&mut *decisions.0.lock().unwrap())
}

/// Whether each call ran.
fn ran(decided: &[(String, bool, String)]) -> Vec<bool> {
    decided.iter().map(|(_, ran, _)| *ran).collect()
}

#[test]
fn a_call_that_was_denied_is_denied_again_without_a_question() {
    for said in [Said::This(Answer::No(Some("not here".into()))), Said::Nothing, Said::Panic] {
        let person = Person::new([said, Said::This(Answer::Yes)]);
        let builder = Orchestrator::builder().approval(Arc::clone(&person) as _, Duration::from_secs(60));
        let decided = decided(builder, WRITER);
        assert_eq!(ran(&decided), [false, false, true, true], "{decided:?}");
        assert_eq!(person.asked(), 3, "{:?}", person.asked.lock().unwrap());
        assert_eq!(decided[1].2, "the same call was denied before");
    }
}

#[test]
fn an_answer_for_good_is_about_one_tool_one_project_and_one_user() {
    let (project, other, mine, theirs) =
        (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let questions = |folder: &Path, state: Option<&Path>, strict: bool| {
        let person = Person::new([Said::This(Answer::Always)]);
        let mut builder =
            Orchestrator::builder().project(folder.join(".cofferdam")).approval(Arc::clone(&person) as _, None);
        if let Some(state) = state {
            let cache = user_directory().join("cache/cofferdam");
            builder = builder.user_dirs(UserDirs { cache, state: state.into() });
        }
        if strict {
            builder = builder.permissions(Rules { stance: Stance::Strict, ..Rules::default() });
        }
        let decided = decided(builder, WRITER);
        assert_eq!(ran(&decided), [!strict; 4], "{decided:?}");
        person.asked()
    };
    assert_eq!(questions(project.path(), Some(mine.path()), false), 2, "once for each tool");
    assert_eq!(questions(project.path(), Some(mine.path()), false), 0, "asked again");
    assert_eq!(questions(project.path(), Some(mine.path()), true), 0);
    assert_eq!(questions(other.path(), Some(mine.path()), false), 2, "another project");
    assert_eq!(questions(project.path(), Some(theirs.path()), false), 2, "another user");
    assert_eq!(questions(project.path(), None, false), 2, "nobody to remember for");
}

#[test]
fn a_remembered_answer_holds_where_nobody_is_there() {
    let (project, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let builder = || {
        let dirs = UserDirs { cache: user_directory().join("cache/cofferdam"), state: state.path().into() };
        Orchestrator::builder().project(project.path().join(".cofferdam")).user_dirs(dirs)
    };
    assert_eq!(ran(&decided(builder(), WRITER)), [false; 4]);
    decided(builder().approval(Person::new([Said::This(Answer::Always)]), None), WRITER);
    let decided = decided(builder(), WRITER);
    assert_eq!(ran(&decided), [true; 4]);
    assert!(decided.iter().all(|(.., rule)| rule == "an earlier answer: always"), "{decided:?}");
}

#[test]
fn an_ask_rule_asks_each_time_and_also_about_the_document() {
    let rules = || Rules { ask: vec![Rule::parse("write").unwrap()], ..Rules::default() };
    let person = Person::new([Said::This(Answer::Always)]);
    let builder = Orchestrator::builder().permissions(rules()).approval(Arc::clone(&person) as _, None);
    let decided_by_person = decided(builder, BOTH);
    assert_eq!(ran(&decided_by_person), [true; 5]);
    assert_eq!(person.asked(), 5, "{:?}", person.asked.lock().unwrap());
    let nobody = decided(Orchestrator::builder().permissions(rules()), WRITER);
    assert_eq!((ran(&nobody), nobody[0].2.as_str()), (vec![false; 4], "ask write: nobody to ask"));
    let alone = Orchestrator::builder().permissions(Rules { allow: vec![Rule::parse("write").unwrap()], ..rules() });
    assert_eq!(ran(&decided(alone, BOTH)), [true, true, true, true, false], "an allow rule comes first");
}

#[test]
fn an_answer_to_a_rule_that_asks_is_not_kept() {
    let (project, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let builder = || {
        let dirs = UserDirs { cache: user_directory().join("cache/cofferdam"), state: state.path().into() };
        Orchestrator::builder().project(project.path().join(".cofferdam")).user_dirs(dirs)
    };
    let asking = builder().permissions(Rules { ask: vec![Rule::parse("*").unwrap()], ..Rules::default() });
    decided(asking.approval(Person::new([Said::This(Answer::Always)]), None), BOTH);
    assert_eq!(ran(&decided(builder(), WRITER)), [false; 4]);
}

#[test]
fn calls_that_wait_hear_of_an_answer_for_good() {
    let script = "answers:
  - turn: 1
    toolCalls: [{ tool: write, args: { path: 'out:a', content: x } }, { tool: write, args: { path: 'out:b', content: x } }]
  - { turn: 2, text: done }";
    let person = Person::new([Said::This(Answer::Always), Said::This(Answer::No(None))]);
    let builder = Orchestrator::builder().approval(Arc::clone(&person) as _, None);
    assert_eq!(ran(&decided_by(builder, WRITER, script)), [true, true]);
    assert_eq!(person.asked(), 1);
}

#[test]
fn a_question_shows_each_argument_and_what_is_not_seen() {
    let long = "x".repeat(5_000);
    let script = format!(
        "answers:
  - {{ turn: 1, toolCalls: [{{ tool: write, args: {{ content: {long}, path: \"out:Make\\u202efile\" }} }}] }}
  - {{ turn: 2, text: done }}"
    );
    let person = Person::new([Said::This(Answer::Yes)]);
    decided_by(Orchestrator::builder().approval(Arc::clone(&person) as _, None), WRITER, &script);
    let asked = person.asked.lock().unwrap()[0].clone();
    assert!(asked.starts_with("allow `write`? path: \"out:Make\\u{202e}file\"\ncontent: \"xxx"), "{asked}");
    assert!(asked.len() < 500 && asked.ends_with("(5002 bytes)"), "{asked}");
}

#[test]
fn the_stance_decides_where_no_rule_does() {
    for (stance, expected) in [
        (Stance::Ask, [true, false, false, false, false]),
        (Stance::Strict, [true, false, false, false, false]),
        (Stance::Sandbox, [true; 5]),
        (Stance::StrictSandbox, [true; 5]),
        (Stance::Yolo, [true; 5]),
    ] {
        let builder = Orchestrator::builder().permissions(Rules { stance, ..Rules::default() });
        assert_eq!(ran(&decided(builder, BOTH)), expected, "{stance:?}");
    }
    let rules = Rules { deny: vec![Rule::parse("write").unwrap()], stance: Stance::Yolo, ..Rules::default() };
    let document = BOTH.replace("dependsOn: [own], ", "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let orchestrator =
        Orchestrator::builder().permissions(rules).model(Scripted::parse(SCRIPT).unwrap()).build().unwrap();
    let workflow = Workflow::parse(&document, ".").unwrap();
    let result = runtime.block_on(orchestrator.run_flow(&workflow, RunOptions::default())).unwrap();
    assert_eq!(result.step("own").unwrap().error.as_ref().unwrap().code, "tool_denied", "a denial beats yolo");
}

/// A model's calls: of a tool that only reads, one that changes the run, one that stays within the step, and one of which nobody knows.
const FOUR: &str = "
answers:
  - turn: 1
    toolCalls:
      - { tool: glob, args: { pattern: '*.none' } }
      - { tool: context_set, args: { key: k, value: 1 } }
      - { tool: write, args: { path: 'out:a', content: x } }
      - { tool: far, args: {} }
default: { text: done }
";
const FOUR_CALLS: &str = "
name: w
agents: { a: { description: Calls., tools: [glob, context_set, write, far] } }
steps: [{ id: a, agent: a, instructions: Call. }]
";

/// What a run says of its permissions at its start, which calls of a model ran, and what its result says of the others.
fn told(builder: Builder) -> (Option<String>, Vec<bool>, Vec<String>) {
    let far = Doing::new("far", Effects::default(), |_, _| async { gave(1.into()) });
    let decisions = Arc::new(Decisions::default());
    let builder = builder.model(Scripted::parse(FOUR).unwrap()).tool(far);
    let on = builder.sink(Arc::clone(&decisions) as Arc<dyn Sink>).build().unwrap();
    let workflow = Workflow::parse(FOUR_CALLS, ".").unwrap();
    let (said, warnings) = TestRuntime::quick().block_on(async {
        let result = on.run_flow(&workflow, RunOptions::default()).await.unwrap();
        let first = on.runs().read(&result.run_id, 0, 1).await.unwrap().records.remove(0);
        let RecordBody::Event(event) = first.body else { panic!("a run begins with an event") };
        let Body::RunStarted { settings, .. } = &event.body else { panic!("a run begins with its start") };
        let said = settings.get("permissions").map(|said| said.as_str().unwrap().to_owned());
        close(&on).await;
        (said, result.warnings)
    });
    let mut decided = decisions.0.lock().unwrap().clone();
    decided.sort_by_key(|(tool, ..)| ["glob", "context_set", "write", "far"].iter().position(|known| known == tool));
    assert_eq!(decided.len(), 4, "{decided:?}");
    (said, ran(&decided), warnings)
}

#[test]
fn a_run_says_what_models_may_do_where_not_every_question_is_put() {
    let nobody = "nobody to ask: tools that only read run, others are denied unless a rule allows them";
    let strict = "strict: tools that only read run, others are denied unless a rule allows them";
    let both = "strict sandbox: tools that stay within the step's directories run, others are denied unless a rule allows them";
    let sandbox = "sandbox: tools that stay within the step's directories run";
    let alone = "sandbox, and nobody to ask: tools that stay within the step's directories run, others are denied unless a rule allows them";
    let yolo = "yolo: every tool runs unless a rule denies it";
    // With nobody there, and with somebody who says yes: what is said, and which of the four calls run.
    let rows = [
        (Stance::Ask, (Some(nobody), [true, true, false, false]), (None, [true; 4])),
        (Stance::Strict, (Some(strict), [true, true, false, false]), (Some(strict), [true, true, false, false])),
        (Stance::Sandbox, (Some(alone), [true, true, true, false]), (Some(sandbox), [true; 4])),
        (Stance::StrictSandbox, (Some(both), [true, true, true, false]), (Some(both), [true, true, true, false])),
        (Stance::Yolo, (Some(yolo), [true; 4]), (Some(yolo), [true; 4])),
    ];
    for (stance, alone, asked) in rows {
        let rules = || Orchestrator::builder().permissions(Rules { stance, ..Rules::default() });
        let person = Person::new([Said::This(Answer::Yes)]);
        for (builder, (said, runs)) in [
            (rules(), alone),
            (rules().approval(person, None), asked),
            (rules().permission_handler(|_| PermissionAnswer::Allow), asked),
        ] {
            let (start, ran, warnings) = told(builder);
            assert_eq!((start.as_deref(), &ran[..]), (said, &runs[..]), "{stance:?}");
            let denied: Vec<&str> = ["glob", "context_set", "write", "far"]
                .into_iter()
                .zip(runs)
                .filter_map(|(tool, ran)| (!ran).then_some(tool))
                .collect();
            assert_eq!(warnings.len(), denied.len(), "{stance:?}: {warnings:?}");
            let names = |tool: &&str| {
                let says = format!("the call of `{tool}` was denied");
                warnings.iter().any(|said| said.contains(&says) && said.contains(&format!("`--allow {tool}` would")))
            };
            assert!(denied.iter().all(names), "{stance:?}: {warnings:?}");
        }
    }
    // `strict` beside the rules is the same.
    let undecided = Undecided { strict: true, ..Undecided::default() };
    for (stance, wanted) in [(Stance::Ask, strict), (Stance::Sandbox, both)] {
        let builder = Orchestrator::builder().permissions(Rules { stance, ..Rules::default() });
        assert_eq!(told(builder.undecided(undecided)).0.as_deref(), Some(wanted));
    }
}

#[test]
fn a_program_decides_before_a_person_is_asked_and_after_the_rules() {
    let person = Person::new([Said::This(Answer::Yes)]);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&asked);
    let decide = move |request: &PermissionRequest| {
        hears.lock().unwrap().push(request.clone());
        match (request.tool.to_string().as_str(), request.args["path"].as_str()) {
            ("write", Some("out:a")) => PermissionAnswer::Allow,
            ("write", _) => PermissionAnswer::Deny("only `a` is ours".to_owned()),
            _ => PermissionAnswer::Ask,
        }
    };
    let builder = Orchestrator::builder().permission_handler(decide.clone());
    let made = decided(builder.approval(Arc::clone(&person) as _, None), WRITER);
    assert_eq!(ran(&made), [true, true, false, true], "{made:?}");
    assert_eq!(made[2].2, "the program denied it: only `a` is ours");
    assert_eq!(person.asked(), 1, "about `edit` alone");
    let seen = asked.lock().unwrap().clone();
    assert_eq!(seen.len(), 4);
    assert_eq!((seen[0].step.as_str(), seen[0].agent.as_deref()), ("a", Some("default")));
    // Without a person what it leaves to one is denied; a deny rule is beyond it; a panic is a no.
    assert_eq!(
        ran(&decided(Orchestrator::builder().permission_handler(decide.clone()), WRITER)),
        [true, true, false, false]
    );
    let rules = Rules { deny: vec![Rule::parse("write").unwrap()], ..Rules::default() };
    assert_eq!(
        ran(&decided(Orchestrator::builder().permissions(rules).permission_handler(decide), WRITER)),
        [false; 4]
    );
    let panics = Orchestrator::builder().permission_handler(|_| panic!("not today"));
    assert_eq!(ran(&decided(panics, WRITER)), [false; 4]);
}

#[test]
fn flags_and_settings_that_contradict_each_other_are_refused() {
    let project = Project::new();
    project.file("w.yaml", WRITER).file("model.yaml", SCRIPT).file("cofferdam.toml", "strict = true\n");
    let run = ["run", "w.yaml", "--model", "scripted/model.yaml"];
    let refused = project.run(&[&run[..], &["--yolo"]].concat()).expect(3);
    assert!(refused.stderr.contains("strict = true"), "{}", refused.stderr);
    project.file("cofferdam.toml", "[permissions]\nask = [\"write\"]\nallow = [\"edit\"]\n");
    let said = project.run(&[&run[..], &["--deny", "write(pfad=x)", "--deny", "read(*.md)"]].concat()).expect(0);
    for part in ["(ask write: nobody to ask)", "names an argument that its tool does not have", "only a `*` at the end"]
    {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
}

/// Answers every question of a step with the same word, and keeps how often it was asked.
struct Says(&'static str, Mutex<usize>);

impl Approver for Says {
    fn ask(&self, _: Question) -> BoxFuture<'_, Answer> {
        *self.1.lock().unwrap() += 1;
        Box::pin(std::future::ready(Answer::No(Some(self.0.to_owned()))))
    }

    fn answer(&self, _: Inquiry) -> BoxFuture<'_, Option<String>> {
        *self.1.lock().unwrap() += 1;
        Box::pin(std::future::ready(Some(self.0.to_owned())))
    }
}

#[test]
fn who_is_named_for_a_run_is_asked_in_it_and_nobody_else() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (everywhere, here) = (Person::new([Said::This(Answer::Yes)]), Person::new([Said::This(Answer::No(None))]));
        for of_builder in [Some(&everywhere), None] {
            let decisions = Arc::new(Decisions::default());
            let mut builder = Orchestrator::builder().model(Scripted::parse(SCRIPT).unwrap());
            if let Some(person) = of_builder {
                builder = builder.approval(Arc::clone(person) as _, None);
            }
            let orchestrator = builder.sink(Arc::clone(&decisions) as _).build().unwrap();
            let asked = here.asked();
            let options = RunOptions { approver: Some(Arc::clone(&here) as _), ..RunOptions::default() };
            let workflow = Workflow::parse(WRITER, ".").unwrap();
            let result = orchestrator.run_flow(&workflow, options).await.unwrap();
            assert!(here.asked() > asked && everywhere.asked() == 0);
            assert!(decisions.0.lock().unwrap().iter().all(|(_, ran, _)| !ran));
            let first = orchestrator.runs().read(&result.run_id, 0, 1).await.unwrap().records.remove(0);
            let said = format!("{:?}", first.body);
            assert!(!said.contains("nobody to ask"), "what the run says of itself: {said}");
        }
    });
}

#[test]
fn who_is_named_when_a_run_is_taken_up_is_asked_in_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let everywhere = Arc::new(Says("everywhere", Mutex::default()));
        let here = Arc::new(Says("here", Mutex::default()));
        let journal = Arc::new(cofferdam::store::Memory::new());
        let builder = || Orchestrator::builder().storage(Arc::clone(&journal) as _);
        let workflow = Workflow::parse("name: w\nsteps: [{ id: a, ask: { prompt: Which? } }]", ".").unwrap();
        let alone = builder().build().unwrap();
        let waits = alone.run_flow(&workflow, RunOptions::default()).await.unwrap();
        assert_eq!(waits.status, RunStatus::Waiting);
        let orchestrator = builder().approval(Arc::clone(&everywhere) as _, None).build().unwrap();
        let options = ResumeOptions { approver: Some(Arc::clone(&here) as _), ..ResumeOptions::default() };
        let result = orchestrator.resume_flow(&waits.run_id, None, options).await.unwrap();
        assert_eq!(result.final_output(), "here");
        assert_eq!((*everywhere.1.lock().unwrap(), *here.1.lock().unwrap()), (0, 1));
    });
}

#[test]
fn who_is_named_for_a_run_is_asked_in_the_runs_inside_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let here = Person::new([Said::This(Answer::No(None))]);
        let orchestrator = Orchestrator::builder().model(Scripted::parse(SCRIPT).unwrap()).build().unwrap();
        let mut inner = orchestrator.dag(&WorkflowConfig::new("inner"));
        inner.add_step(Step::new("a")).unwrap();
        let mut outer = orchestrator.dag(&WorkflowConfig::new("outer"));
        outer.add_step(Step::new("work").agent(inner.into_agent("inner").unwrap())).unwrap();
        let (input, approver) = (Some("go".to_owned()), Some(Arc::clone(&here) as _));
        let result = outer.run_with(RunOptions { input, approver, ..RunOptions::default() }).await.unwrap();
        assert!(result.success() && here.asked() > 0, "{:?}", result.error);
    });
}
