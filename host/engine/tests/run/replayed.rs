//! Replays of recorded runs: the same comes out, and what was changed in a record is found, with its place.
//!
//! `scene.rs` replays every run of the other tests as well.

use crate::resumed::{call, reading, stage, talk};
use crate::scene::{Scene, Seen, agent, ask, expr, group, step, template, text, workflow};
use cofferdam_core::event::{Body, RunEvent, RunStatus, StepOutput};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::ToolName;
use cofferdam_core::message::ToolCall;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::permission::Rules;
use cofferdam_core::port::{
    BoxFuture, ConditionFn, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream, Natives, RunContext,
    SourceError, SourceFile, Sources, Tool, TransformFn,
};
use cofferdam_core::schema;
use cofferdam_core::spec::workflow::{
    AgentWork, Condition, ForEach, Include, ItemFailure, Items, Loop, LoopCheck, LoopKind, OnLimit, OutputMode, Repeat,
    Scope, Step, ToolWork, Work, Workflow,
};
use cofferdam_core::template::Template;
use cofferdam_core::transform::{Transform, Transforms};
use cofferdam_engine::{Difference, Gateway, ReplayPorts, Replayed, TokioClock, replay};
use serde_json::{Value, json};
use std::sync::Arc;

/// A model that calls these tools, turn by turn.
struct Saying(Vec<Vec<(&'static str, Value)>>);

impl Model for Saying {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "saying".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let calls = self.0[request.turn as usize - 1].iter().enumerate();
        let call = |(index, (name, args)): (usize, &(&str, Value))| {
            let (id, name) = (format!("{}-{index}", request.turn), (*name).to_owned());
            Ok(ModelEvent::ToolCall(ToolCall { id, name, arguments: args.to_string() }))
        };
        let end = Ok(ModelEvent::Finished(FinishReason::ToolCalls));
        let events: Vec<_> = calls.map(call).chain([end]).collect();
        Box::pin(async { Ok(Box::pin(futures_util::stream::iter(events)) as ModelStream) })
    }
}

/// Says yes or no, and sets a variable as it does.
struct Wanted(bool);

impl ConditionFn for Wanted {
    fn decide(&self, ctx: Arc<dyn RunContext>) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(async move {
            let before = ctx.step("a".to_owned()).await.unwrap();
            ctx.set_variable("seen".to_owned(), json!(&*before.output.content)).await?;
            Ok(self.0)
        })
    }
}

struct Shout;

impl TransformFn for Shout {
    fn apply(&self, _: Arc<dyn RunContext>, value: StepOutput) -> BoxFuture<'_, Result<StepOutput, Fault>> {
        Box::pin(async move { Ok(StepOutput { content: format!("{}!", value.content).into(), ..value }) })
    }
}

fn natives(wanted: bool) -> Natives {
    let mut natives = Natives::default();
    natives.conditions.insert("wanted".into(), Arc::new(Wanted(wanted)));
    natives.transforms.insert("shout".into(), Arc::new(Shout));
    natives
}

struct NoFiles;

impl Sources for NoFiles {
    fn read(&self, path: &str, _: usize) -> Result<SourceFile, SourceError> {
        Err(SourceError::Missing(path.to_owned()))
    }
}

/// Replays where these tools and closures are.
fn again(
    workflow: Workflow,
    events: &[Arc<RunEvent>],
    tools: Vec<Arc<dyn Tool>>,
    natives: Natives,
) -> Result<Replayed, Box<Difference>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let tools = tools.into_iter().map(|tool| (None, tool));
        let gateway = Gateway::new(tools, Rules::default(), None, Arc::new(TokioClock::new())).unwrap();
        let ports = ReplayPorts {
            natives: Arc::new(natives),
            plugins: Arc::default(),
            agents: std::collections::BTreeSet::new(),
            gateway: Arc::new(gateway),
            sources: Arc::new(NoFiles),
            ordered_by_engine: false,
        };
        replay(ports, &Arc::new(workflow), events).await
    })
}

/// Replays as on another machine: without a tool or a closure.
pub(crate) fn elsewhere(workflow: Workflow, events: &[Arc<RunEvent>]) -> Result<Replayed, Box<Difference>> {
    again(workflow, events, Vec::new(), Natives::default())
}

/// The record with one event changed.
pub(crate) fn changed(seen: &Seen, change: impl Fn(&mut RunEvent) -> bool) -> Vec<Arc<RunEvent>> {
    let mut done = false;
    let events = seen.journal.iter().map(|event| {
        let mut event = (**event).clone();
        done |= !done && change(&mut event);
        Arc::new(event)
    });
    let events = events.collect();
    assert!(done, "nothing was changed");
    events
}

fn output(event: &mut RunEvent, path: &str, content: &str) -> bool {
    match &mut event.body {
        Body::StepFinished { output, .. } if event.path.as_str() == path => {
            *output = StepOutput { content: content.into(), ..output.clone() };
            true
        }
        _ => false,
    }
}

#[test]
fn a_conversation_with_tools_is_held_again_without_them() {
    let seen = stage(reading()).scene.run(workflow(vec![talk("a")]));
    let replayed = elsewhere(workflow(vec![talk("a")]), &seen.journal).unwrap();
    assert_eq!((replayed.turns, replayed.calls), (3, 3));
    assert_eq!(replayed.walked.status, Some(RunStatus::Completed));
    assert_eq!(replayed.unchecked, ["calls of `gone` in step `a` that left no record: it is not here"]);
    let difference = elsewhere(workflow(vec![talk("a")]), &changed(&seen, |event| output(event, "a", "forged")));
    let difference = difference.unwrap_err();
    assert_eq!((difference.path.as_str(), difference.what.as_str()), ("a", "`step_finished` is another one"));
    assert_eq!(difference.recorded.unwrap()["output"]["content"], "forged");
    assert_eq!(difference.replayed.unwrap()["output"]["content"], "done");
}

#[test]
fn a_turn_or_a_call_too_few_or_too_many_is_a_difference() {
    let document = || workflow(vec![talk("a")]);
    let seen = stage(reading()).scene.run(document());
    let without = |gone: &dyn Fn(&Body) -> bool| -> Vec<Arc<RunEvent>> {
        seen.journal.iter().filter(|event| !gone(&event.body)).cloned().collect()
    };
    let told = |events: &[Arc<RunEvent>]| {
        let tools = stage(reading()).scene.tools;
        again(document(), events, tools, Natives::default()).unwrap_err().what
    };
    assert_eq!(
        told(&without(&|body| matches!(body, Body::TurnFinished { turn: 3, .. }))),
        "turn 3 is asked for, and is not in the record"
    );
    let of = |body: &Body, id: &str| match body {
        Body::ToolCallStarted { call_id, .. } | Body::ToolCallFinished { call_id, .. } => call_id == id,
        Body::PermissionDecided { call_id, .. } => call_id == id,
        _ => false,
    };
    assert_eq!(told(&without(&|body| of(body, "3"))), "the call of `work` is not in the record");
    assert_eq!(
        told(&without(&|body| matches!(body, Body::ToolCallFinished { call_id, .. } if call_id == "3"))),
        "turn 3 follows a call without an end"
    );
    let more = changed(&seen, |event| match &mut event.body {
        Body::TurnFinished { turn: 2, message, .. } => {
            *message = cofferdam_core::message::Message::Assistant {
                text: "done".into(),
                tool_calls: Vec::new(),
                opaque: Vec::new(),
            };
            true
        }
        _ => false,
    });
    assert_eq!(told(&more), "the agent is asked once more, and was done");
    let other = changed(&seen, |event| match &mut event.body {
        Body::ToolCallStarted { call_id, args, .. } if call_id == "2" => {
            *args = Arc::new(json!({ "say": "else" }));
            true
        }
        _ => false,
    });
    assert_eq!(told(&other), "the arguments of `work` are others");
}

#[test]
fn the_call_of_a_step_is_rendered_again() {
    let document = || {
        let args = template(&json!({ "say": "{{ steps.a.content }}!" }), &["a"]);
        let second = step("b", Work::Tool(ToolWork { tool: ToolName::parse("work").unwrap(), args }));
        workflow(vec![call("a"), Step { depends_on: vec![0], ..second }])
    };
    let seen = stage(reading()).scene.run(document());
    assert_eq!(elsewhere(document(), &seen.journal).unwrap().unchecked, [""; 0]);
    let forged = changed(&seen, |event| match &mut event.body {
        Body::ToolCallStarted { args, .. } if event.path.as_str() == "b" => {
            *args = Arc::new(json!({ "say": "else" }));
            true
        }
        _ => false,
    });
    let difference = elsewhere(document(), &forged).unwrap_err();
    assert_eq!((difference.path.as_str(), difference.what.as_str()), ("b", "the arguments of `work` are others"));
    assert_eq!(difference.replayed.unwrap()["say"], "did \"a\"!");
    let forged = changed(&seen, |event| match &mut event.body {
        Body::ToolCallFinished { result, .. } if event.path.as_str() == "a" => {
            *result = Arc::new(json!("something else"));
            true
        }
        _ => false,
    });
    assert_eq!(elsewhere(document(), &forged).unwrap_err().what, "`step_finished` is another one");
}

fn repeat(until: &str, most: u32) -> LoopKind {
    LoopKind::Repeat(Box::new(Repeat {
        max_iterations: most,
        go_on: Some(LoopCheck::Expr(expr("iteration < 5", &[]))),
        until: Some(expr(until, &[])),
        judge: None,
        on_limit: OnLimit::Complete,
        delay: std::time::Duration::from_secs(1),
        output_mode: OutputMode::Last,
    }))
}

/// Conditions, loops, a group with transforms, an included document, a question, a retry.
fn everything() -> Workflow {
    let after = |on: &[usize], step: Step| Step { depends_on: on.to_vec(), ..step };
    let when = |source: &str, steps: &[&str], step: Step| Step {
        condition: Some(Condition::Expr(expr(source, steps))),
        ..step
    };
    let items = Items::Expr(expr("[1, 2, 3]", &[]));
    let each = ForEach { items, max_concurrency: Some(2), on_item_failure: ItemFailure::Stop };
    let body = Arc::new(Scope { steps: vec![call("w")], ..Scope::default() });
    let included = Scope { steps: vec![agent("in", "echo", "inside")], ..Scope::default() };
    let include = Include {
        name: "part".into(),
        path: "part.yaml".to_owned(),
        timeout: None,
        scope: Arc::new(included),
        inputs: Arc::new([]),
        with: Template::constant(json!({})),
        output: Some(expr("steps.in.content + '!'", &["in"])),
    };
    let upper = Transforms { output: vec![Transform::Upper], ..Transforms::default() };
    let steps = vec![
        call("a"),
        after(&[0], when("steps.a.status == 'completed'", &["a"], agent("yes", "echo", "yes"))),
        after(&[0], when("steps.a.status == 'failed'", &["a"], agent("no", "echo", "no"))),
        Step { repeat: Some(Loop { kind: LoopKind::ForEach(each), body: Some(body) }), ..step("each", Work::Body) },
        Step { repeat: Some(Loop { kind: repeat("iteration == 1", 4), body: None }), ..agent("again", "echo", "go") },
        Step { transform: upper, ..group("g", vec![agent("x", "echo", "x"), agent("y", "echo", "y")]) },
        step("part", Work::Include(Box::new(include))),
        ask("q", |work| work.choices = vec!["yes".into(), "no".into()]),
        Step { retries: 1, ..agent("flaky", "flaky", "try") },
        Step { depends_on: vec![1, 2, 3, 4, 5, 6, 7, 8], ..talk("z") },
    ];
    workflow(steps)
}

fn flaky(scene: Scene) -> Scene {
    scene.agent("flaky", |ctx, _| async move {
        if ctx.attempt == 1 { Err(Fault::retry("flaky", "once more")) } else { Ok(text("worked")) }
    })
}

#[test]
fn everything_is_walked_and_any_output_that_was_changed_is_found() {
    let scene = flaky(stage(reading()).scene).answer("q", "yes");
    let seen = scene.run(everything());
    assert_eq!(seen.result.status, RunStatus::Completed, "{:?}", seen.result.error);
    elsewhere(everything(), &seen.journal).unwrap();
    for end in 1..seen.journal.len() {
        let cut = &seen.journal[..end];
        assert_eq!(elsewhere(everything(), cut).unwrap().walked.status, None, "cut at {end}");
    }
    // What a program's own agents gave is believed; all else is not.
    for path in ["a", "each[1].w", "each", "again", "g", "part", "q", "z"] {
        let forged = changed(&seen, |event| output(event, path, "forged"));
        let difference = elsewhere(everything(), &forged).expect_err(path);
        assert_eq!(difference.path.as_str(), path, "{difference:?}");
    }
    let forged = changed(&seen, |event| match event.body {
        Body::StepSkipped { .. } => {
            event.body = Body::StepReady {};
            true
        }
        _ => false,
    });
    let difference = elsewhere(everything(), &forged).unwrap_err();
    assert_eq!(
        (difference.path.as_str(), difference.what.as_str()),
        ("no", "`step_ready` is recorded, and `step_skipped` came out")
    );
}

#[test]
fn an_event_that_was_left_out_is_found() {
    let scene = flaky(stage(reading()).scene).answer("q", "yes");
    let seen = scene.run(everything());
    for place in 0..seen.journal.len() - 1 {
        let gone = &seen.journal[place];
        // What was decided about a call, and that a turn began, stands in what came of it.
        let told_twice = matches!(gone.body, Body::TurnStarted { .. } | Body::PermissionDecided { .. });
        let mut events = seen.journal.clone();
        events.remove(place);
        let replayed = elsewhere(everything(), &events);
        // Whether `gone` left a record is not known where there is no such tool.
        let unknown = gone.path.as_str() == "z" && !matches!(gone.body, Body::TurnFinished { .. });
        assert!(replayed.is_err() || told_twice || unknown, "{gone:?} was left out");
    }
}

#[test]
fn a_result_with_a_schema_is_submitted_again() {
    let document = || {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        schema::check(&schema).unwrap();
        let work = AgentWork {
            model: Some("talker".into()),
            result_schema: Some(Arc::new(schema)),
            ..AgentWork::new("Count.")
        };
        workflow(vec![step("a", Work::Agent(work))])
    };
    let said = vec![vec![("submit_result", json!({ "n": "one" }))], vec![("submit_result", json!({ "n": 1 }))]];
    let models: Option<Arc<dyn Model>> = Some(Arc::new(Saying(said)) as Arc<dyn Model>);
    let seen = Scene { models, ..Scene::default() }.run(document());
    assert_eq!(*seen.result.step("a").unwrap().result, json!({ "n": 1 }));
    assert_eq!(elsewhere(document(), &seen.journal).unwrap().turns, 2);
    let forged = changed(&seen, |event| match &mut event.body {
        Body::StepFinished { output, .. } => {
            output.result = Arc::new(json!({ "n": 2 }));
            true
        }
        _ => false,
    });
    assert_eq!(elsewhere(document(), &forged).unwrap_err().replayed.unwrap()["output"]["result"], json!({ "n": 1 }));
}

#[test]
fn closures_are_called_again_where_they_are_and_named_where_not() {
    let document = || {
        let judged = Step { condition: Some(Condition::Native("wanted".into())), ..agent("b", "echo", "b") };
        let chain = Transforms { output: vec![Transform::Native("shout".into())], ..Transforms::default() };
        workflow(vec![Step { transform: chain, ..call("a") }, Step { depends_on: vec![0], ..judged }])
    };
    let scene = Scene { natives: natives(true), ..stage(reading()).scene };
    let seen = scene.run(document());
    let unchecked = ["the condition `wanted` of step `b`", "the transform `shout` of step `a`"];
    let mine = "the work of step `b`: agent `echo` is a program's own";
    assert_eq!(elsewhere(document(), &seen.journal).unwrap().unchecked, [unchecked[0], unchecked[1], mine]);
    let tools = || stage(reading()).scene.tools;
    assert_eq!(again(document(), &seen.journal, tools(), natives(true)).unwrap().unchecked, [mine]);
    let difference = again(document(), &seen.journal, tools(), natives(false)).unwrap_err();
    assert_eq!(difference.what, "`step_ready` is recorded, and `step_skipped` came out");
}

#[test]
fn a_replay_of_no_record_says_so() {
    assert_eq!(elsewhere(workflow(vec![call("a")]), &[]).unwrap().walked.events, 0);
    let lone = RunEvent {
        seq: 1,
        sub: None,
        at: cofferdam_core::time::Timestamp::default(),
        run_id: cofferdam_core::id::RunId::parse("r").unwrap(),
        path: "a".into(),
        attempt: None,
        body: Body::StepReady {},
    };
    let difference = elsewhere(workflow(vec![call("a")]), &[Arc::new(lone)]).unwrap_err();
    assert_eq!(difference.what, "the record does not begin with the start of a run");
    let _: Value = serde_json::to_value(&*difference).unwrap();
}

#[test]
fn requests_with_other_options_of_the_model_are_found() {
    let options = |seed| Arc::new(ModelOptions { seed: Some(seed), ..ModelOptions::default() });
    let document = |seed| {
        let work = AgentWork { model: Some("talker".into()), ..AgentWork::new("Say.") };
        let mut document = workflow(vec![step("a", Work::Agent(work))]);
        document.options.model_options = options(seed);
        document
    };
    let models: Option<Arc<dyn Model>> = Some(Arc::new(Saying(vec![Vec::new()])) as Arc<dyn Model>);
    let seen = Scene { models, ..Scene::default() }.run(document(1));
    elsewhere(document(1), &seen.journal).unwrap();
    let of_record = changed(&seen, |event| match &mut event.body {
        Body::TurnStarted { options: told, .. } => {
            *told = options(3);
            true
        }
        _ => false,
    });
    for (document, record, seeds) in [(document(2), &seen.journal, (1, 2)), (document(1), &of_record, (3, 1))] {
        let difference = elsewhere(document, record).unwrap_err();
        assert!(difference.what.contains("other options"), "{difference:?}");
        let (recorded, replayed) = (difference.recorded.unwrap(), difference.replayed.unwrap());
        assert_eq!((&recorded["seed"], &replayed["seed"]), (&json!(seeds.0), &json!(seeds.1)));
    }
}
