//! Goals that become plans: what a model wrote is repaired, approved, kept and run.

use crate::support::{Project, TestRuntime, close};
use cofferdam::core::event::RunStatus;
use cofferdam::core::message::Usage;
use cofferdam::core::port::{Answer, Approver, BoxFuture, Inquiry, Models, Question, RunFilter};
use cofferdam::llm::Scripted;
use cofferdam::{Builder, Error, GoalPlan, Orchestrator, RunOptions};
use std::fs;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The plan at the second attempt, and what its steps are answered.
const SCRIPT: &str = r#"
answers:
  - step: agent
    turn: 1
    text: "Here:\n```yaml\nname: ships\nsteps: [{ id: a, agent: nobody, instructions: A. }]\n```"
    usage: { input: 100, output: 20 }
  - step: agent
    turn: 2
    text: |
      ```yaml
      name: ships
      agents:
        thinker: { description: Thinks., model: other/model, tools: [] }
      steps:
        - { id: first, agent: thinker, instructions: Think of ships. }
        - { id: second, agent: thinker, instructions: Think of harbours., dependsOn: [first] }
      ```
    usage: { input: 200, output: 40 }
  - { step: first, text: a ship, usage: { input: 3, output: 1 } }
  - { step: second, text: a harbour, usage: { input: 4, output: 1 } }
"#;

fn block<T>(future: impl Future<Output = T>) -> T {
    TestRuntime::quick().block_on(future)
}

struct Only(Arc<Scripted>);

impl Models for Only {
    fn resolve(&self, _: &str) -> Result<Arc<dyn cofferdam::Model>, cofferdam::core::fault::Fault> {
        Ok(Arc::clone(&self.0) as _)
    }
}

fn builder(script: &str) -> (Builder, Arc<Scripted>) {
    let model = Arc::new(Scripted::parse(script).unwrap().recording());
    let builder = Orchestrator::builder().models(Arc::new(Only(Arc::clone(&model)))).default_model("scripted");
    (builder.storage(Arc::new(cofferdam::store::Memory::default())), model)
}

/// Requests by step.
fn asked(model: &Scripted, step: &str) -> usize {
    model.requests().iter().filter(|request| request.path.as_str() == step).count()
}

fn last_message(model: &Scripted, number: usize) -> String {
    model.requests()[number].messages.last().unwrap().text().to_owned()
}

#[test]
fn a_plan_is_repaired_and_run_and_its_tokens_count() {
    block(async {
        let (builder, model) = builder(SCRIPT);
        let orchestrator = builder.build().unwrap();
        let result = orchestrator.run_goal("Think of the sea.", RunOptions::default()).await.unwrap();
        assert_eq!((result.status, result.output.as_str()), (RunStatus::Completed, Some("a harbour")));
        assert_eq!(result.usage.total(), 100 + 20 + 200 + 40 + 4 + 5);
        assert_eq!(result.usage_by_model.values().map(Usage::total).sum::<u64>(), 369);
        assert_eq!(result.metadata["goal"], "Think of the sea.");
        // The model read what was wrong, what it can use, and how documents are written.
        assert_eq!(asked(&model, "agent"), 2);
        let repair = last_message(&model, 1);
        assert!(repair.contains("no valid plan") && repair.contains("nobody"), "{repair}");
        let first = &model.requests()[0];
        let (system, user) = (first.messages[0].text(), first.messages[1].text());
        assert!(system.contains("JSON Schema") && system.contains("dependsOn"), "{system}");
        assert!(user.contains("Think of the sea.") && user.contains("- `read`: "), "{user}");
        assert!(!user.contains("send_message") && first.tools.is_empty(), "{user}");
        // Both are recorded, and named.
        let rows = orchestrator.runs().list(RunFilter::default()).await.unwrap().rows;
        let names: Vec<&str> = rows.iter().map(|row| row.index.workflow.as_str()).collect();
        assert_eq!(names, ["ships", "planner"]);
        assert_eq!(result.metadata["planned_by"], rows[1].run_id.as_str());
        for row in &rows {
            orchestrator.replay(&row.run_id).await.unwrap();
        }
    });
}

#[test]
fn a_plan_is_a_document_without_what_the_host_decides() {
    block(async {
        let orchestrator = builder(SCRIPT).0.build().unwrap();
        let plan: GoalPlan = orchestrator.plan_goal("Think.", &RunOptions::default()).await.unwrap();
        assert_eq!((plan.repairs, plan.usage.total()), (1, 360));
        assert!(!plan.yaml.contains("model"), "{}", plan.yaml);
        let again = cofferdam::Workflow::parse(&plan.yaml, ".").unwrap();
        assert_eq!(again.document().scope.steps.len(), 2);
        let result = orchestrator.run_plan("Think.", &plan, RunOptions::default()).await.unwrap();
        assert_eq!(result.usage.total(), 369);
    });
}

#[test]
fn what_is_no_plan_is_answered_with_what_is_wrong_at_most_three_times() {
    let fenced = |text: &str| format!("```yaml\n{text}\n```");
    let cases = [
        // (replies, requests, what the last repair said, whether it is a plan then)
        (
            vec![
                String::new(),
                fenced("{ name"),
                fenced("{\"name\": \"w\", \"steps\": [{\"id\": \"a\", \"instructions\": \"x\"}]}"),
            ],
            3,
            "W001",
            true,
        ),
        (
            vec![
                fenced("name: w\nsteps: [{ id: a, tool: teleport, args: {} }]"),
                fenced("name: w\nsteps: [{ id: a, instructions: x }]"),
            ],
            2,
            "teleport",
            true,
        ),
        (
            vec![
                fenced("name: w\ninputs: { x: { type: string } }\nsteps: [{ id: a, instructions: x }]"),
                "name: w\nsteps: [{ id: a, instructions: x }]".to_owned(),
            ],
            2,
            "x",
            true,
        ),
        (vec!["I cannot.".to_owned(); 4], 4, "no valid plan", false),
    ];
    for (replies, requests, said, made) in cases {
        let answers: Vec<_> = replies
            .iter()
            .enumerate()
            .map(|(index, text)| serde_json::json!({ "step": "agent", "turn": index + 1, "text": text }))
            .collect();
        let script = serde_json::json!({ "answers": answers, "default": { "text": "done" } }).to_string();
        block(async {
            let (builder, model) = builder(&script);
            let orchestrator = builder.build().unwrap();
            let outcome = orchestrator.run_goal("Do it.", RunOptions::default()).await;
            assert_eq!(asked(&model, "agent"), requests, "{replies:?}");
            assert!(last_message(&model, requests - 1).contains(said), "{}", last_message(&model, requests - 1));
            match outcome {
                Ok(result) => assert!(made && result.success(), "{replies:?}"),
                Err(Error::NoPlan { fault, .. }) => {
                    assert!(!made && fault.code == "no_plan", "{fault}");
                    assert_eq!(model.requests().len(), requests, "nothing of it ran");
                }
                Err(other) => panic!("{other}"),
            }
        });
    }
}

/// Answers as it is told, or not at all.
struct Approves(Option<Answer>, Mutex<Vec<Question>>);

impl Approver for Approves {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer> {
        self.1.lock().unwrap().push(question);
        Box::pin(async {
            match &self.0 {
                Some(answer) => answer.clone(),
                None => std::future::pending().await,
            }
        })
    }

    fn answer(&self, _: Inquiry) -> BoxFuture<'_, Option<String>> {
        Box::pin(std::future::ready(None))
    }
}

struct Panics;

impl Approver for Panics {
    fn ask(&self, _: Question) -> BoxFuture<'_, Answer> {
        Box::pin(async { panic!("not today") })
    }

    fn answer(&self, _: Inquiry) -> BoxFuture<'_, Option<String>> {
        Box::pin(std::future::ready(None))
    }
}

#[test]
fn a_plan_that_is_not_approved_does_not_run() {
    let approves = |answer| Arc::new(Approves(answer, Mutex::default()));
    let no = approves(Some(Answer::No(Some("too dear".into()))));
    let cases: [(Arc<dyn Approver>, &str); 3] = [
        (Arc::clone(&no) as _, "too dear"),
        (approves(None), "nobody answered"),
        (Arc::new(Panics), "nobody answered"),
    ];
    for (approver, why) in cases {
        block(async {
            let (builder, model) = builder(SCRIPT);
            let orchestrator = builder.approval(approver, Duration::from_millis(20)).build().unwrap();
            let error = orchestrator.run_goal("Think.", RunOptions::default()).await.unwrap_err();
            assert!(matches!(error, Error::PlanDenied { .. }) && error.to_string().contains(why), "{error}");
            assert_eq!(model.requests().len(), 2, "only the planner was asked");
        });
    }
    let question = no.1.lock().unwrap()[0].clone();
    assert!(question.title.contains("2 steps") && question.detail.contains("Think of harbours."), "{question:?}");
    block(async {
        let (builder, model) = builder(SCRIPT);
        let orchestrator = builder.approval(approves(Some(Answer::Yes)), None).build().unwrap();
        assert!(orchestrator.run_goal("Think.", RunOptions::default()).await.unwrap().success());
        assert_eq!(model.requests().len(), 4);
        close(&orchestrator).await;
        assert!(matches!(orchestrator.run_goal("Think.", RunOptions::default()).await, Err(Error::Closed)));
        let nothing = builder_without_model().run_goal("Think.", RunOptions::default()).await;
        assert!(matches!(nothing, Err(Error::Refused(faults)) if faults[0].code == "no_model"));
    });
}

#[test]
fn who_is_named_for_a_goal_is_asked_about_its_plan() {
    block(async {
        let approves = |answer| Arc::new(Approves(Some(answer), Mutex::default()));
        let (everywhere, here) = (approves(Answer::Yes), approves(Answer::No(Some("not here".into()))));
        for builder in [builder(SCRIPT).0.approval(Arc::clone(&everywhere) as _, None), builder(SCRIPT).0] {
            let options = RunOptions { approver: Some(Arc::clone(&here) as _), ..RunOptions::default() };
            let error = builder.build().unwrap().run_goal("Think.", options).await.unwrap_err();
            assert!(error.to_string().contains("not here"), "{error}");
        }
        assert_eq!((everywhere.1.lock().unwrap().len(), here.1.lock().unwrap().len()), (0, 2));
    });
}

fn builder_without_model() -> Orchestrator {
    Orchestrator::builder().storage(Arc::new(cofferdam::store::Memory::default())).build().unwrap()
}

#[test]
fn a_goal_is_given_at_the_command_line_and_its_plan_is_kept() {
    let project = Project::new();
    project.file("model.yaml", SCRIPT);
    let model = ["--model", "scripted/model.yaml"];
    let with = |args: &[&'static str]| [&["goal", "Think."][..], args, &model].concat();
    let refused = project.run(&with(&[])).expect(3);
    assert!(
        refused.stderr.contains("nobody is there to approve") && refused.stderr.contains("--yes"),
        "{}",
        refused.stderr
    );
    assert!(!project.path(".cofferdam/runs.db").exists(), "nothing was spent");
    let done = project.run(&with(&["--yes"])).expect(0);
    assert_eq!(done.stdout, "a harbour\n");
    assert!(done.stderr.contains("plan: .cofferdam/plans/ships.yaml, repaired once"), "{}", done.stderr);
    let printed = project.run(&with(&["--dry-run", "--quiet"])).expect(0);
    assert_eq!(printed.stdout, fs::read_to_string(project.path(".cofferdam/plans/ships.yaml")).unwrap());
    assert_eq!(printed.stderr, "");
    project.run(&with(&["--yes", "--quiet"])).expect(0);
    assert!(project.path(".cofferdam/plans/ships-2.yaml").exists());
    let shown = project.run(&["runs", "show", "last", "--json"]).expect(0).stdout;
    assert!(shown.contains(r#""goal":"Think.""#) && shown.contains("planned_by"), "{shown}");
    project.file("plan.yaml", printed.stdout);
    assert_eq!(project.run(&[&["run", "plan.yaml"][..], &model].concat()).expect(0).stdout, "a harbour\n");
}

#[test]
fn a_plan_is_changed_before_it_runs() {
    let args = ["goal", "Think.", "--yes", "--edit", "--save", "plan.yaml", "--model", "scripted/model.yaml"];
    let edited_by = |editor: Option<&str>| {
        let project = Project::new();
        let project = editor.into_iter().fold(project, |project, editor| project.variable("EDITOR", editor));
        project
            .file("model.yaml", SCRIPT)
            .file("editor.sh", "sed -i s/harbours/piers/ \"$1\"\n")
            .file("spoil.sh", "echo x: 1 >> \"$1\"\n");
        project
    };
    let project = edited_by(Some("sh editor.sh"));
    project.run(&args).expect(0);
    assert!(project.read("plan.yaml").contains("piers"));
    let spoilt = edited_by(Some("sh spoil.sh")).run(&args).expect(2);
    let said = spoilt.stderr;
    assert!(said.contains("unknown key `x`") && said.contains("cofferdam run plan.yaml"), "{said}");
    let none = edited_by(None).run(&args).expect(3);
    assert!(none.stderr.contains("set `EDITOR`"), "{}", none.stderr);
}

#[test]
fn a_plan_is_kept_where_plans_are_whatever_a_model_calls_it() {
    let project = Project::new();
    let plan = "```yaml\nname: ../../escaped\nsteps: [{ id: a, instructions: x }]\n```";
    let script = serde_json::json!({ "answers": [{ "step": "agent", "text": plan }], "default": { "text": "done" } });
    project.file("model.yaml", script.to_string());
    let args = ["goal", "Think.", "--yes", "--model", "scripted/model.yaml"];
    let done = project.run(&args).expect(0);
    assert!(done.stderr.contains("plan: .cofferdam/plans/escaped.yaml"), "{}", done.stderr);
    assert!(project.path(".cofferdam/plans/escaped.yaml").exists() && !project.path("escaped.yaml").exists());
    // Nothing of the user's is written over, and that is known before anything is spent.
    project.file("mine.yaml", "mine");
    let refused = project.run(&[&args[..], &["--save", "mine.yaml"]].concat()).expect(3);
    assert!(refused.stderr.contains("exists already") && !refused.stderr.contains("started"), "{}", refused.stderr);
    assert_eq!(project.read("mine.yaml"), "mine");
    project.run(&[&args[..], &["--save", "no/plan.yaml"]].concat()).expect(3);
    // The run of a plan goes on like any other, with the script beside the goal.
    project.run(&["fork", "last", "--from", "a"]).expect(0);
    project.run(&["resume", "last"]).expect(0);
}

#[test]
fn a_run_that_came_to_no_plan_does_not_go_on_unchecked() {
    let project = Project::new();
    project.file("model.yaml", "default: { text: I cannot. }");
    let failed = project.run(&["goal", "Think.", "--yes", "--model", "scripted/model.yaml"]).expect(1);
    assert!(failed.stderr.contains("no plan came of the goal"), "{}", failed.stderr);
    for args in [&["resume", "last"][..], &["fork", "last", "--from", "agent"]] {
        let refused = project.run(args);
        assert!(refused.stderr.contains("give the goal again"), "{}", refused.stderr);
    }
    project.run(&["replay", "last"]).expect(0);
    // What is no language model is not asked.
    let none = project.run(&["goal", "Think.", "--yes", "--model", "builtin/extract"]);
    assert!(none.stderr.contains("is no language model, and cannot plan"), "{}", none.stderr);
    for empty in ["", " \n"] {
        project.run(&["goal", empty, "--yes"]).expect(3).says(&["there is no goal to plan for", "hint: write"]);
    }
}

#[test]
fn a_plan_that_leads_out_of_itself_or_was_cut_is_repaired() {
    let fenced = |text: &str| format!("```yaml\n{text}\n```");
    let good = fenced("name: w\nsteps: [{ id: a, instructions: x }]");
    for (reply, finish, said) in [
        (fenced("name: w\nsteps: [{ id: a, instructions: '@.env' }]"), "stop", "a plan reads no files"),
        (
            fenced("name: w\nplugins: { t: builtin:text }\nsteps: [{ id: a, instructions: x }]"),
            "stop",
            "a plan has no `plugins`",
        ),
        ("```yaml\nname: w\nsteps: [{ id: a, instr".to_owned(), "length", "W001"),
    ] {
        let script = serde_json::json!({
            "answers": [{ "step": "agent", "turn": 1, "text": reply, "finish": finish }, { "step": "agent", "text": good }],
            "default": { "text": "done" },
        });
        block(async {
            let (builder, model) = builder(&script.to_string());
            let orchestrator = builder.build().unwrap();
            let plan = orchestrator.plan_goal("Do it.", &RunOptions::default()).await;
            let repair = last_message(&model, 1);
            assert!(plan.is_ok() && repair.contains(said), "{repair}");
        });
    }
}
