//! Options of models: from whom they come, that they arrive in every request, and what becomes of what cannot be sent.

use crate::library::quick;
use crate::support::{Answer, Project, Provider};
use cofferdam::core::event::{Body, RunEvent, RunStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::RunId;
use cofferdam::core::port::{Models, RecordBody};
use cofferdam::llm::Scripted;
use cofferdam::{
    AgentConfig, Builder, Coordinator, Error, Journal, Model, ModelOptions, Orchestrator, ResumeOptions, RunOptions,
    SecretSource, Step, Undecided, Workflow, WorkflowConfig,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One model under every name.
struct Only(Arc<Scripted>);

impl Models for Only {
    fn resolve(&self, _: &str) -> Result<Arc<dyn Model>, Fault> {
        Ok(Arc::clone(&self.0) as _)
    }
}

fn builder(script: &str) -> (Builder, Arc<Scripted>) {
    let model = Arc::new(Scripted::parse(script).unwrap().recording());
    let builder = Orchestrator::builder().models(Arc::new(Only(Arc::clone(&model)))).default_model("scripted");
    (builder, model)
}

fn options(value: &Value) -> ModelOptions {
    serde_json::from_value(value.clone()).unwrap()
}

/// The options of each request, by the path of its step.
fn told(model: &Scripted) -> Vec<(String, Value)> {
    let told = model.requests().into_iter();
    told.map(|request| (request.path.to_string(), json!(request.settings.options))).collect()
}

/// A value of each option, made of a number.
fn each(number: u64) -> Vec<(&'static str, Value)> {
    let text = number.to_string();
    vec![
        ("seed", json!(number)),
        ("stop", json!([text])),
        ("topK", json!(number)),
        ("frequencyPenalty", json!(number as f64 / 10.0)),
        ("presencePenalty", json!(number as f64 / 10.0)),
        ("reasoning", json!(text)),
        ("promptCache", json!(number.is_multiple_of(2))),
        ("headers", json!({ "x-of": text })),
        ("provider", json!({ "corp": { "of": number } })),
    ]
}

#[test]
fn the_run_beats_the_agent_which_beats_the_document_which_beats_the_host() {
    let levels = [each(1), each(2), each(3), each(4)];
    for (at, (name, _)) in each(0).into_iter().enumerate() {
        // Everything up to a level says something.
        for top in 0..levels.len() {
            let said = |level: usize| if level <= top { json!({ name: levels[level][at].1 }) } else { json!({}) };
            let table = |level: usize| match said(level) {
                Value::Object(map) if map.is_empty() => String::new(),
                said => format!("modelOptions: {said}"),
            };
            let text = format!(
                "name: w\nagents: {{ a: {{ description: A., {} }} }}\noptions: {{ {} }}\nsteps: [{{ id: s, agent: a, instructions: Go. }}]",
                table(2),
                table(1)
            );
            let (builder, model) = builder("default: { text: done }");
            let orchestrator = builder.model_options(options(&said(0))).build().unwrap();
            let run = RunOptions { model_options: options(&said(3)), ..RunOptions::default() };
            let workflow = Workflow::parse(&text, ".").unwrap();
            let result = quick().block_on(orchestrator.run_flow(&workflow, run)).unwrap();
            assert_eq!(result.warnings, [""; 0], "a script stands for any model");
            assert_eq!(told(&model), [("s".to_owned(), json!({ name: levels[top][at].1 }))], "{name}, level {top}");
            let again = Workflow::parse(&workflow.to_yaml(), ".").unwrap();
            assert_eq!(again.document().options.model_options, workflow.document().options.model_options);
            assert_eq!(again.document().agents, workflow.document().agents);
        }
    }
}

#[test]
fn tables_of_all_levels_are_merged() {
    let text = "name: w
agents: { a: { description: A., modelOptions: { headers: { x-agent: '1', x-both: agent }, provider: { corp: { a: 1 } } } } }
options: { modelOptions: { seed: 5, headers: { X-Both: document }, provider: { corp: { d: { kept: 1, lost: 1 } } } } }
steps: [{ id: s, agent: a, instructions: Go. }]";
    let (builder, model) = builder("default: { text: done }");
    let host = json!({ "stop": ["a"], "provider": { "corp": { "h": 1 }, "other": { "x": 1 } } });
    let orchestrator = builder.model_options(options(&host)).build().unwrap();
    let run = json!({ "topK": 3, "provider": { "corp": { "d": { "lost": 2 } } } });
    let run = RunOptions { model_options: options(&run), ..RunOptions::default() };
    quick().block_on(orchestrator.run_flow(&Workflow::parse(text, ".").unwrap(), run)).unwrap();
    let expected = json!({
        "seed": 5, "stop": ["a"], "topK": 3, "headers": { "x-agent": "1", "x-both": "agent" },
        "provider": { "corp": { "a": 1, "d": { "kept": 1, "lost": 2 }, "h": 1 }, "other": { "x": 1 } },
    });
    assert_eq!(told(&model)[0].1, expected);
}

const EVERYBODY: &str = r#"
name: everybody
agents:
  judge: { description: Judges., tools: [], resultSchema: { type: object, required: [done], properties: { done: { type: boolean } } } }
  boss: { description: Hands on., tools: [agent] }
steps:
  - { id: each, instructions: Go., loop: { maxIterations: 2, untilAgent: judge } }
  - { id: hands, agent: boss, instructions: Hand it on., dependsOn: [each] }
"#;

const ANSWERS: &str = r#"
answers:
  - { step: "each.judge[0]", toolCalls: [{ tool: submit_result, args: { done: true } }] }
  - { step: hands, turn: 1, toolCalls: [{ tool: agent, args: { task: Do it. } }] }
  - { step: "@coordinator", contains: "All steps have ended", times: 1, toolCalls: [{ tool: finalize, args: { summary: all done } }] }
default: { text: ok }
"#;

#[test]
fn whoever_asks_a_model_in_a_run_has_them() {
    let (builder, model) = builder(ANSWERS);
    let host = options(&json!({ "seed": 9 }));
    let orchestrator = builder.model_options(host).coordinator(Coordinator::default()).build().unwrap();
    let workflow = Workflow::parse(EVERYBODY, ".").unwrap();
    let result = quick().block_on(orchestrator.run_flow(&workflow, RunOptions::default())).unwrap();
    assert_eq!(result.status, RunStatus::Completed);
    let told = told(&model);
    assert!(told.iter().all(|(_, options)| *options == json!({ "seed": 9 })), "{told:?}");
    let has = |part: &str| told.iter().any(|(path, _)| path.contains(part));
    assert!(has("judge") && has("@coordinator") && has("each[0]"), "{told:?}");
    assert!(told.iter().any(|(path, _)| path.starts_with("hands") && path != "hands"), "a sub-agent: {told:?}");
}

#[test]
fn an_agent_alone_and_a_workflow_that_works_as_one_have_them() {
    let (builder, model) = builder("default: { text: ok }");
    let orchestrator = builder.model_options(options(&json!({ "seed": 1, "topK": 1 }))).build().unwrap();
    let agent = AgentConfig::new("a").model_options(&options(&json!({ "topK": 2, "stop": ["x"] })));
    let run = || RunOptions { model_options: options(&json!({ "stop": ["y"] })), ..RunOptions::default() };
    quick().block_on(orchestrator.run_agent(&agent, "Go.", run())).unwrap();
    assert_eq!(told(&model)[0].1, json!({ "seed": 1, "topK": 2, "stop": ["y"] }));
    let mut inner = orchestrator.dag(&WorkflowConfig::new("inner"));
    inner.add_step(Step::new("work")).unwrap();
    let mut outer = orchestrator.dag(&WorkflowConfig::new("outer"));
    outer.add_step(Step::new("s").agent(inner.into_agent("inner").unwrap())).unwrap();
    quick().block_on(outer.run_with(RunOptions { input: Some("Go.".to_owned()), ..run() })).unwrap();
    assert_eq!(told(&model).last().unwrap().1, json!({ "seed": 1, "topK": 1, "stop": ["y"] }));
}

#[test]
fn whoever_plans_has_them_and_the_steps_of_the_plan_too() {
    let plan = "```yaml\\nname: p\\nsteps: [{ id: s, instructions: Go. }]\\n```";
    let script = format!("answers: [{{ step: agent, text: \"{plan}\" }}]\ndefault: {{ text: ok }}");
    let (builder, model) = builder(&script);
    let orchestrator = builder.model_options(options(&json!({ "seed": 1 }))).build().unwrap();
    let run = RunOptions { model_options: options(&json!({ "topK": 2 })), ..RunOptions::default() };
    quick().block_on(orchestrator.run_goal("Go.", run)).unwrap();
    let expected = json!({ "seed": 1, "topK": 2 });
    assert_eq!(told(&model), [("agent".to_owned(), expected.clone()), ("s".to_owned(), expected)]);
}

/// What stands in the journal of a run.
fn events(journal: &dyn Journal, run: &RunId) -> Vec<Arc<RunEvent>> {
    let page = quick().block_on(journal.read(run, 0, 10_000)).unwrap();
    let event = |record: cofferdam::core::port::Record| match record.body {
        RecordBody::Event(event) => Some(event),
        RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
    };
    page.records.into_iter().filter_map(event).collect()
}

#[test]
fn a_run_goes_on_with_the_options_that_it_was_started_with() {
    let text = "name: w
steps:
  - { id: a, instructions: Go. }
  - { id: q, ask: { prompt: 'Sure?' }, dependsOn: [a] }
  - { id: b, instructions: Go., dependsOn: [q] }";
    let workflow = Workflow::parse(text, ".").unwrap();
    let store = Arc::new(cofferdam::store::Memory::default());
    let orchestrator = |host: Value| {
        let (builder, model) = builder("default: { text: ok }");
        let builder = builder.storage(Arc::clone(&store) as Arc<dyn Journal>).model_options(options(&host));
        (builder.build().unwrap(), model)
    };
    let (first, before) = orchestrator(json!({ "seed": 1, "topK": 1 }));
    let run = RunOptions { model_options: options(&json!({ "topK": 2 })), ..RunOptions::default() };
    let result = quick().block_on(first.run_flow(&workflow, run)).unwrap();
    assert_eq!(result.status, RunStatus::Waiting);
    let (second, after) = orchestrator(json!({ "seed": 7, "stop": ["other"] }));
    let answers = BTreeMap::from([("q".to_owned(), cofferdam::InputText::Text("yes".to_owned()))]);
    let changed = options(&json!({ "presencePenalty": 1.0 }));
    let resume = ResumeOptions { answers, model_options: changed, ..ResumeOptions::default() };
    quick().block_on(second.resume_flow(&result.run_id, Some(&workflow), resume)).unwrap();
    assert_eq!(told(&before)[0].1, json!({ "seed": 1, "topK": 2 }));
    assert_eq!(told(&after), [("b".to_owned(), json!({ "seed": 1, "topK": 2, "presencePenalty": 1.0 }))]);
    let recorded: Vec<Value> = events(&*store, &result.run_id)
        .iter()
        .filter_map(|event| match &event.body {
            Body::TurnStarted { options, .. } => Some(json!(options)),
            _ => None,
        })
        .collect();
    assert_eq!(recorded, [json!({ "seed": 1, "topK": 2 }), json!({ "seed": 1, "topK": 2, "presencePenalty": 1.0 })]);
    // Whatever host looks at it, the same comes out.
    quick().block_on(second.replay(&result.run_id)).unwrap();
}

#[test]
fn what_no_request_can_have_is_refused_wherever_it_comes_from() {
    let workflow = Workflow::parse("name: w\nsteps: [{ id: a, instructions: Go. }]", ".").unwrap();
    for (value, said) in [
        (json!({ "headers": { "Authorization": "Bearer x" } }), "carries a credential"),
        (json!({ "headers": { "X-Api-Key": "x" } }), "carries a credential"),
        (json!({ "headers": { "Cookie": "x" } }), "carries a credential"),
        (json!({ "headers": { "Host": "x" } }), "is the host's own"),
        (json!({ "provider": { "corp": { "max_tokens": 1 } } }), "`provider.corp.max_tokens`"),
        (json!({ "topK": 0 }), "at least 1"),
    ] {
        let (builder, _) = builder("default: { text: ok }");
        let error = builder.model_options(options(&value)).build().map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Settings(why) if why.contains(said)), "{error}");
        let (builder, model) = self::builder("default: { text: ok }");
        let orchestrator = builder.build().unwrap();
        let run = RunOptions { model_options: options(&value), ..RunOptions::default() };
        let error = quick().block_on(orchestrator.run_flow(&workflow, run)).unwrap_err();
        assert!(error.to_string().contains(said) && model.requests().is_empty(), "{error}");
        let agent = AgentConfig::new("a").model_options(&options(&value));
        let error = quick().block_on(orchestrator.run_agent(&agent, "Go.", RunOptions::default())).unwrap_err();
        assert!(model.requests().is_empty(), "{error}");
    }
}

#[test]
fn a_secret_in_them_is_refused_since_they_are_recorded() {
    let (builder, _) = builder("default: { text: ok }");
    let orchestrator = builder.secret("KEY", SecretSource::Value("canary-4711".into())).build().unwrap();
    let workflow = Workflow::parse("name: w\nsteps: [{ id: a, instructions: Go. }]", ".").unwrap();
    let run = json!({ "provider": { "corp": { "user": "canary-4711" } } });
    let run = RunOptions { model_options: options(&run), ..RunOptions::default() };
    let error = quick().block_on(orchestrator.run_flow(&workflow, run)).unwrap_err();
    assert!(error.to_string().contains("a secret stands in the options of models"), "{error}");
}

#[test]
fn what_a_model_cannot_be_told_is_a_warning_and_an_error_where_only_the_decided_runs() {
    let text = "name: w\nsteps: [{ id: a, instructions: Go. }, { id: b, instructions: Go. }]";
    let workflow = Workflow::parse(text, ".").unwrap();
    let run = || RunOptions {
        input: Some("Text.".to_owned()),
        model: Some("builtin/extract".to_owned()),
        model_options: options(&json!({ "seed": 1, "provider": { "openai": { "a": 1 } } })),
        ..RunOptions::default()
    };
    let said = "`modelOptions.seed` has no effect: `builtin/extract` cannot be told it";
    let orchestrator = Orchestrator::builder().build().unwrap();
    let result = quick().block_on(orchestrator.run_flow(&workflow, run())).unwrap();
    assert_eq!(result.warnings, [said]);
    let strict = Undecided { strict: true, ..Undecided::default() };
    let orchestrator = Orchestrator::builder().undecided(strict).build().unwrap();
    let error = quick().block_on(orchestrator.run_flow(&workflow, run())).unwrap_err();
    assert!(matches!(&error, Error::Refused(faults) if faults.len() == 1 && faults[0].message == said), "{error}");
}

const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[test]
fn a_request_on_the_wire_has_them() {
    let provider = Provider::start(vec![Answer::Http(200, "content-type: text/event-stream\r\n", STREAM.to_owned())]);
    let project = Project::new();
    let toml = format!(
        "[run]\nmodel = \"corp/small\"\n[models.providers.corp]\nbase_url = \"{}\"\nheaders = {{ x-team = \"settings\" }}\n",
        provider.url()
    );
    project.file("cofferdam.toml", toml).file(
        "w.yaml",
        "name: w
options:
  modelOptions:
    seed: 7
    stop: END
    topK: 4
    frequencyPenalty: 0.5
    presencePenalty: -0.5
    reasoning: low
    headers: { x-trace: abc, X-Team: document }
    provider: { corp: { service_tier: flex, logit_bias: { '5': -100 } }, other: { never: 1 } }
steps: [{ id: a, instructions: Go. }]
",
    );
    let outcome = project.run(&["run", "w.yaml"]).expect(0);
    outcome.says(&["`modelOptions.topK` has no effect", "`modelOptions.headers.X-Team` has no effect"]);
    let requests = provider.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("x-trace: abc") && head.contains("x-team: settings") && !head.contains("document"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    for (field, value) in [
        ("seed", json!(7)),
        ("stop", json!(["END"])),
        ("frequency_penalty", json!(0.5)),
        ("presence_penalty", json!(-0.5)),
        ("reasoning_effort", json!("low")),
        ("service_tier", json!("flex")),
        ("logit_bias", json!({ "5": -100 })),
    ] {
        assert_eq!(body[field], value, "{field} in {body}");
    }
    assert!(body.get("never").is_none() && body.get("top_k").is_none(), "{body}");
    project.run(&["run", "w.yaml", "--strict"]).expect(3).says(&["`modelOptions.topK` has no effect"]);
    assert_eq!(provider.requests().len(), 1);
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn what_all_levels_say_together_has_a_bound() {
    let body = |name: &str| json!({ "provider": { "corp": { name: "x".repeat(40 * 1024) } } });
    let document = |agent: &Value| {
        let text = format!(
            "name: w\nagents: {{ a: {{ description: A., modelOptions: {agent} }} }}\nsteps: [{{ id: s, agent: a, instructions: Go. }}]"
        );
        Workflow::parse(&text, ".").unwrap()
    };
    let refusal = |workflow: &Workflow, host: &Value, run: &Value| {
        let (builder, model) = builder("default: { text: done }");
        let orchestrator = builder.model_options(options(host)).build().unwrap();
        let run = RunOptions { model_options: options(run), ..RunOptions::default() };
        let outcome = quick().block_on(orchestrator.run_flow(workflow, run));
        assert_eq!(model.requests().is_empty(), outcome.is_err());
        match outcome {
            Ok(_) => None,
            Err(Error::Refused(faults)) => Some(faults[0].message.clone()),
            Err(other) => panic!("{other}"),
        }
    };
    let (small, none) = (json!({ "seed": 1 }), json!({}));
    let too_much = "the options take more than 65536 bytes, or are too deep";
    let of_agent = Some(format!("options of models, merged for agent `a`: {too_much}"));
    assert_eq!(refusal(&document(&body("a")), &none, &small), None);
    assert_eq!(refusal(&document(&body("a")), &none, &body("r")), of_agent);
    assert_eq!(refusal(&document(&body("a")), &body("h"), &none), of_agent);
    assert_eq!(refusal(&document(&body("a")), &none, &body("a")), None, "one in the place of the other");
    let of_all = Some(format!("options of models, merged: {too_much}"));
    assert_eq!(refusal(&document(&small), &body("h"), &body("r")), of_all);
}
