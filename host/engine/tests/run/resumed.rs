//! Runs that go on from what another process recorded: conversations, calls, pauses, times.

use crate::scene::{Scene, Seen, agent, ask, group, step, text, workflow};
use cofferdam_core::event::{Body, EffectDecision, RunEvent, RunStatus, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{LocalName, ToolName};
use cofferdam_core::message::{Message, ToolCall, Usage};
use cofferdam_core::permission::{Rule, Rules};
use cofferdam_core::port::{
    BoxFuture, Effects, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream, RecordBody, Tool,
    ToolContext, ToolDefinition, ToolOutput,
};
use cofferdam_core::run::LOOP_CONTINUE;
use cofferdam_core::spec::workflow::{
    AgentWork, ForEach, ItemFailure, Items, Loop, LoopKind, OnLimit, OutputMode, Repeat, Scope, Step, ToolWork,
    UnknownEffect, Work, Workflow,
};
use cofferdam_core::template::Template;
use cofferdam_core::time::Timestamp;
use cofferdam_engine::Pauses;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A model that calls tools in its first two turns, then speaks; it keeps what it was sent.
#[derive(Default)]
struct Talker {
    asked: Mutex<Vec<ModelRequest>>,
}

impl Model for Talker {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "talker".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let turn = request.turn;
        self.asked.lock().unwrap().push(request);
        let call = |id: &str, tool: &str| {
            ModelEvent::ToolCall(ToolCall {
                id: id.into(),
                name: tool.into(),
                arguments: format!("{{\"say\":\"{id}\"}}"),
            })
        };
        let mut events = match turn {
            1 => vec![call("a", "work"), call("b", "gone"), call("c", "work")],
            2 => vec![call("d", "work")],
            _ => vec![ModelEvent::Text("done".into())],
        };
        events.push(ModelEvent::Usage(Usage { input: 10, output: u64::from(turn), ..Usage::default() }));
        events.push(ModelEvent::Finished(if turn < 3 { FinishReason::ToolCalls } else { FinishReason::Stop }));
        let stream: ModelStream = Box::pin(futures_util::stream::iter(events.into_iter().map(Ok)));
        Box::pin(std::future::ready(Ok(stream)))
    }
}

/// A tool that keeps the keys of its calls.
struct Working {
    definitions: Vec<ToolDefinition>,
    keys: Arc<Mutex<Vec<String>>>,
}

fn work(effects: Effects) -> (Arc<dyn Tool>, Arc<Mutex<Vec<String>>>) {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let definition = ToolDefinition {
        name: LocalName::parse("work").unwrap(),
        title: None,
        description: "Works.".into(),
        input_schema: Arc::new(json!({ "type": "object" })),
        output_schema: None,
        effects,
        examples: Vec::new(),
    };
    (Arc::new(Working { definitions: vec![definition], keys: Arc::clone(&keys) }), keys)
}

impl Tool for Working {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        _: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        self.keys.lock().unwrap().push(ctx.idempotency_key.to_string());
        Box::pin(
            async move { Ok(ToolOutput { result: Arc::new(json!(format!("did {}", args["say"]))), content: None }) },
        )
    }
}

pub(crate) fn reading() -> Effects {
    Effects { read_only: true, ..Effects::default() }
}

/// A step that a model drives, with all tools.
pub(crate) fn talk(id: &str) -> Step {
    step(id, Work::Agent(AgentWork { model: Some("talker".into()), ..AgentWork::new("Talk.") }))
}

pub(crate) fn call(id: &str) -> Step {
    let args = Template::constant(json!({ "say": id }));
    step(id, Work::Tool(ToolWork { tool: ToolName::parse("work").unwrap(), args }))
}

pub(crate) struct Stage {
    talker: Arc<Talker>,
    keys: Arc<Mutex<Vec<String>>>,
    pub(crate) scene: Scene,
}

pub(crate) fn stage(effects: Effects) -> Stage {
    let (tool, keys) = work(effects);
    let talker = Arc::new(Talker::default());
    let models = Some(Arc::clone(&talker) as Arc<dyn Model>);
    let rules = Rules { allow: vec![Rule::parse("work").unwrap()], ..Rules::default() };
    Stage { talker, keys, scene: Scene { tools: vec![tool], models, rules, ..Scene::default() }.echo() }
}

/// What is recorded up to the event that this chooses, the event included.
fn until(seen: &Seen, is_last: impl Fn(&RunEvent) -> bool) -> Vec<Arc<RunEvent>> {
    let end = seen.journal.iter().position(|event| is_last(event)).unwrap();
    seen.journal[..=end].to_vec()
}

fn turns(stage: &Talker) -> Vec<u32> {
    stage.asked.lock().unwrap().iter().map(|request| request.turn).collect()
}

#[test]
fn a_conversation_goes_on_where_it_was() {
    let first = stage(reading());
    let seen = first.scene.run(workflow(vec![talk("a")]));
    assert_eq!((turns(&first.talker), first.keys.lock().unwrap().len()), (vec![1, 2, 3], 3));
    let recorded = until(&seen, |event| matches!(event.body, Body::TurnFinished { turn: 2, .. }));
    let second = stage(reading());
    let again = second.scene.resume(workflow(vec![talk("a")]), &recorded);
    // The second turn was answered; its call had not been made.
    assert_eq!((turns(&second.talker), second.keys.lock().unwrap().clone()), (vec![3], vec!["r/a/1/3".to_owned()]));
    let sent = |talker: &Talker| talker.asked.lock().unwrap().last().unwrap().messages.clone();
    assert_eq!(sent(&second.talker), sent(&first.talker), "the model is sent the whole conversation");
    let step = again.result.step("a").unwrap();
    assert_eq!((&*step.content, step.attempts, step.usage), ("done", 1, seen.result.step("a").unwrap().usage));
    assert_eq!(again.result.usage_by_model, seen.result.usage_by_model);
    assert!(matches!(again.journal[recorded.len()].body, Body::RunResumed { .. }));
}

#[test]
fn any_prefix_of_a_conversation_leads_to_the_same_end() {
    let document = || {
        let body = Scope { steps: vec![talk("t"), Step { depends_on: vec![0], ..call("w") }], ..Scope::default() };
        let each = ForEach {
            items: Items::List(Arc::new(vec![json!(1), json!(2)])),
            max_concurrency: None,
            on_item_failure: ItemFailure::Stop,
        };
        let repeat = Some(Loop { kind: LoopKind::ForEach(each), body: Some(Arc::new(body)) });
        let each = Step { repeat, ..step("each", Work::Body) };
        workflow(vec![
            group("g", vec![talk("a"), call("b")]),
            each,
            ask("q", |_| {}),
            Step { depends_on: vec![0, 1, 2], ..call("z") },
        ])
    };
    let whole = stage(Effects { idempotent: true, ..Effects::default() });
    let seen = whole.scene.answer("q", "yes").run(document());
    assert_eq!(seen.result.status, RunStatus::Completed);
    let gave = |seen: &Seen| {
        let steps = seen.result.steps.iter();
        let of = |step: &cofferdam_core::run::StepResult| {
            json!([step.path, step.status, step.content, step.result, step.attempts, step.usage])
        };
        steps.map(of).collect::<Vec<_>>()
    };
    for end in 1..=seen.journal.len() {
        let second = stage(Effects { idempotent: true, ..Effects::default() });
        let again = second.scene.answer("q", "yes").resume(document(), &seen.journal[..end]);
        assert_eq!(gave(&again), gave(&seen), "cut at {end}");
        assert_eq!(again.result.usage, seen.result.usage, "cut at {end}");
        let mut keys = [whole.keys.lock().unwrap().clone(), second.keys.lock().unwrap().clone()].concat();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), whole.keys.lock().unwrap().len(), "the keys are the same, cut at {end}");
    }
}

/// A run of some thousand events: loops, conversations, calls, variables.
fn long() -> Workflow {
    let body = Scope { steps: vec![talk("t"), Step { depends_on: vec![0], ..call("w") }], ..Scope::default() };
    let each = ForEach {
        items: Items::List(Arc::new((0..80).map(|item| json!(item)).collect())),
        max_concurrency: None,
        on_item_failure: ItemFailure::Stop,
    };
    let repeat = Some(Loop { kind: LoopKind::ForEach(each), body: Some(Arc::new(body)) });
    let each = Step { repeat, ..step("each", Work::Body) };
    let chain = (0..150).map(|index: usize| Step {
        depends_on: index.checked_sub(1).into_iter().map(|before| before + 1).collect(),
        ..call(&format!("c{index}"))
    });
    workflow([each].into_iter().chain(chain).collect())
}

#[test]
fn few_records_of_a_long_run_are_read_and_it_ends_as_it_would_have() {
    let whole = stage(reading());
    let seen = whole.scene.run(long());
    let digests: Vec<usize> = seen
        .records
        .iter()
        .enumerate()
        .filter_map(|(place, record)| matches!(&record.body, RecordBody::Note { .. }).then_some(place))
        .collect();
    assert!(digests.len() >= 2 && seen.journal.len() > 2_500, "{digests:?} of {}", seen.journal.len());
    let gave = |seen: &Seen| {
        let steps = seen
            .result
            .steps
            .iter()
            .map(|step| json!([step.path, step.status, step.content, step.result, step.attempts, step.usage]));
        steps.collect::<Vec<_>>()
    };
    let last = seen.records.len() - 1;
    let around = digests.iter().flat_map(|&place| [place - 1, place, place + 1, place + 700]);
    for end in around.chain([40, last - 1]).map(|end| end.min(last)) {
        let second = stage(reading());
        let again = second.scene.resume_from(long(), &seen.records[..end]);
        assert_eq!((again.result.status, gave(&again)), (RunStatus::Completed, gave(&seen)), "cut at {end}");
        assert_eq!(again.result.usage_by_model, seen.result.usage_by_model, "cut at {end}");
        let before = digests.iter().filter(|&&place| place < end).count();
        let most = if before > 0 { 1_550 } else { end as u64 + 10 };
        assert!(again.read <= most, "{} records of {end} were read", again.read);
        // What was made of it has digests as well, and goes on too.
        let third = stage(reading()).scene.resume_from(long(), &again.records[..again.records.len() - 2]);
        assert_eq!((third.result.status, gave(&third)), (RunStatus::Completed, gave(&seen)), "cut at {end} and again");
    }
}

#[test]
fn the_same_run_twice_is_recorded_the_same() {
    let record = || {
        let seen = stage(reading()).scene.run(long());
        let still = |event: &Arc<RunEvent>| RunEvent { at: Timestamp::default(), ..(**event).clone() };
        seen.journal.iter().map(still).collect::<Vec<_>>()
    };
    let first = record();
    for _ in 0..4 {
        assert!(record() == first, "the events differ");
    }
}

#[test]
fn a_call_whose_effect_is_not_known_is_decided_about_and_that_is_recorded() {
    let seen = stage(Effects::default()).scene.run(workflow(vec![call("a")]));
    let recorded = until(&seen, |event| matches!(event.body, Body::ToolCallStarted { .. }));
    let idempotent = Effects { idempotent: true, ..Effects::default() };
    for (effects, policy, calls, rule) in [
        (Effects::default(), None, 0, "nobody to ask"),
        (Effects::default(), Some(UnknownEffect::Ask), 0, "nobody to ask"),
        (Effects::default(), Some(UnknownEffect::Fail), 0, "`onUnknownEffect: fail`"),
        (Effects::default(), Some(UnknownEffect::Retry), 1, "`onUnknownEffect: retry`"),
        (idempotent, Some(UnknownEffect::Fail), 1, "the tool is idempotent"),
        (reading(), None, 1, "the tool only reads"),
    ] {
        let mut second = stage(effects);
        second.scene.unknown_effect = policy;
        let again = second.scene.resume(workflow(vec![call("a")]), &recorded);
        assert_eq!(*second.keys.lock().unwrap(), vec!["r/a".to_owned(); calls], "{rule}");
        let decided = again.journal.iter().find_map(|event| match &event.body {
            Body::EffectDecided { decision, rule, .. } => Some((*decision, rule.clone())),
            _ => None,
        });
        let decision = if calls == 1 { EffectDecision::Repeat } else { EffectDecision::Fail };
        assert_eq!(decided, Some((decision, rule.to_owned())));
        let step = again.result.step("a").unwrap();
        let code = step.error.as_ref().map(|fault| fault.code.to_string());
        let failed = (StepStatus::Failed, Some("effect_unknown".to_owned()));
        assert_eq!((step.status, code), if calls == 1 { (StepStatus::Completed, None) } else { failed });
    }
}

#[test]
fn a_call_that_was_left_undecided_is_decided_about_again() {
    let seen = stage(Effects::default()).scene.run(workflow(vec![talk("a")]));
    let recorded = until(&seen, |event| matches!(event.body, Body::ToolCallStarted { .. }));
    let second = stage(Effects::default());
    let failed = second.scene.resume(workflow(vec![talk("a")]), &recorded);
    assert_eq!(failed.result.status, RunStatus::Failed);
    let mut third = stage(Effects::default());
    third.scene.unknown_effect = Some(UnknownEffect::Retry);
    let done = third.scene.resume(workflow(vec![talk("a")]), &failed.journal);
    assert_eq!((done.result.status, turns(&third.talker)), (RunStatus::Completed, vec![2, 3]));
    // The same try went on, and its first call has the key that it always had.
    assert_eq!(third.keys.lock().unwrap()[0], "r/a/1/1");
    assert_eq!(done.result.step("a").unwrap().attempts, 1);
}

#[test]
fn a_call_with_other_arguments_is_not_the_recorded_one() {
    let seen = stage(reading()).scene.run(workflow(vec![call("a")]));
    let mut recorded = until(&seen, |event| matches!(event.body, Body::ToolCallStarted { .. }));
    let mut last = (*recorded.pop().unwrap()).clone();
    if let Body::ToolCallStarted { args, .. } = &mut last.body {
        *args = Arc::new(json!({ "say": "something else" }));
    }
    recorded.push(Arc::new(last));
    let scene = Scene { forged: true, ..stage(reading()).scene };
    let again = scene.resume(workflow(vec![call("a")]), &recorded);
    let error = again.result.step("a").unwrap().error.clone().unwrap();
    assert_eq!(&*error.code, "conversation_changed");
    assert!(again.replayed.is_none(), "a replay finds that the record was changed");
}

#[test]
fn what_failed_runs_again_and_what_is_done_does_not() {
    let flaky = |fails: bool| {
        Scene::default().echo().agent("flaky", move |_, _| async move {
            if fails { Err(Fault::step("broken", "no")) } else { Ok(text("now it works")) }
        })
    };
    let document = || {
        let after = |on: usize, step: Step| Step { depends_on: vec![on], ..step };
        workflow(vec![agent("a", "echo", "a"), after(0, agent("b", "flaky", "b")), after(1, agent("c", "echo", "c"))])
    };
    let seen = flaky(true).run(document());
    assert_eq!(seen.result.status, RunStatus::Partial);
    let again = flaky(false).resume(document(), &seen.journal);
    assert_eq!(again.result.status, RunStatus::Completed);
    assert_eq!(again.kinds("a"), ["step_ready", "step_started", "step_finished"]);
    assert_eq!((again.content("b"), again.result.step("b").unwrap().attempts), ("now it works", 2));
    assert!(again.result.error.is_none() && again.result.steps.iter().all(|step| step.error.is_none()));
}

#[test]
fn a_completed_run_gives_its_result_and_records_nothing() {
    let seen = stage(reading()).scene.run(workflow(vec![talk("a"), call("b")]));
    let second = stage(reading());
    let again = second.scene.resume(workflow(vec![talk("a"), call("b")]), &seen.journal);
    assert_eq!((again.journal.len(), turns(&second.talker).len()), (seen.journal.len(), 0));
    let json = |seen: &Seen| serde_json::to_value(&seen.result).unwrap();
    assert_eq!(json(&again), json(&seen));
}

/// The same events, that much earlier.
fn earlier(events: &[Arc<RunEvent>], by: Duration) -> Vec<Arc<RunEvent>> {
    let shift = i64::try_from(by.as_millis()).unwrap();
    let moved = |at: Timestamp| Timestamp::from_millis(at.as_millis() - shift);
    let body = |body: &Body| match body {
        Body::LoopPostponed { until } => Body::LoopPostponed { until: moved(*until) },
        body => body.clone(),
    };
    let event = |event: &RunEvent| RunEvent { at: moved(event.at), body: body(&event.body), ..event.clone() };
    events.iter().map(|recorded| Arc::new(event(recorded))).collect()
}

#[test]
fn the_time_in_which_a_run_was_no_process_s_counts_in_no_limit() {
    let slow = || {
        Scene::default().agent("slow", |_, _| async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(text("done"))
        })
    };
    let document = || {
        let slow = Step { timeout: Some(Duration::from_secs(10)), ..agent("a", "slow", "a") };
        workflow(vec![Step { timeout: Some(Duration::from_secs(12)), ..group("g", vec![slow]) }])
    };
    let scene = || Scene { timeout: Some(Duration::from_secs(15)), ..slow() };
    let seen = scene().run(document());
    let recorded = until(&seen, |event| event.path.as_str() == "g.a" && matches!(event.body, Body::StepStarted { .. }));
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let again = scene().resume(document(), &earlier(&recorded, week));
    assert_eq!((again.result.status, again.took), (RunStatus::Completed, Duration::from_secs(5)));
}

fn pausing(delay: Duration) -> Workflow {
    let repeat = Repeat {
        max_iterations: 3,
        go_on: None,
        until: None,
        judge: None,
        on_limit: OnLimit::Complete,
        delay,
        output_mode: OutputMode::Cumulative,
    };
    let repeat = Some(Loop { kind: LoopKind::Repeat(Box::new(repeat)), body: None });
    workflow(vec![Step { repeat, ..agent("again", "echo", "Hello.") }, agent("other", "echo", "other")])
}

#[test]
fn a_pause_that_nobody_waits_for_ends_the_run_waiting_until_it_is_over() {
    let hour = Duration::from_secs(60 * 60);
    let scene = |pauses| Scene { pauses, ..Scene::default().echo() };
    let seen = scene(Pauses::Postpone).run(pausing(hour));
    assert_eq!((seen.result.status, seen.took), (RunStatus::Waiting, Duration::ZERO));
    assert!(seen.content("other").ends_with("other"), "all else is done");
    let ended = |events: &[Arc<RunEvent>]| {
        let end = |event: &&Arc<RunEvent>| matches!(event.body, Body::LoopIterationFinished { .. });
        events.iter().rev().find(end).unwrap().at
    };
    assert_eq!(seen.result.resume_at, Some(ended(&seen.journal).after(hour)));
    // Half an hour later it is too early; that half an hour is waited for, or not.
    let half = earlier(&seen.journal, hour / 2);
    let early = scene(Pauses::Postpone).resume(pausing(hour), &half);
    assert_eq!((early.result.status, early.result.resume_at), (RunStatus::Waiting, Some(ended(&half).after(hour))));
    let waited = scene(Pauses::Wait).resume(pausing(hour), &half);
    assert_eq!(waited.result.status, RunStatus::Completed);
    let took = waited.took;
    assert!(took > hour + hour / 2 - Duration::from_secs(1) && took <= hour + hour / 2, "{took:?}");
    assert_eq!(waited.result.loops[0].iterations, 3);
    // A day later it goes on at once, and waits again for the next one.
    let late = scene(Pauses::Postpone).resume(pausing(hour), &earlier(&seen.journal, hour * 24));
    assert_eq!(
        (late.result.status, late.took, late.result.loops[0].iterations),
        (RunStatus::Waiting, Duration::ZERO, 2)
    );
}

#[test]
fn variables_are_what_they_were() {
    let setting = || {
        Scene::default().echo().agent("setting", |ctx, _| async move {
            ctx.run.set_variable("mood".into(), json!("glad")).await?;
            Ok(text("set"))
        })
    };
    let document = || {
        let template = crate::scene::template(&json!("{{ vars.mood }}"), &[]);
        let mut second = agent("b", "echo", "b");
        if let Work::Agent(work) = &mut second.work {
            work.input = Some(template);
        }
        workflow(vec![agent("a", "setting", "a"), Step { depends_on: vec![0], ..second }])
    };
    let seen = setting().run(document());
    assert_eq!((seen.content("b"), seen.result.steps.len()), ("glad", 2));
    let recorded = until(&seen, |event| event.path.as_str() == "a" && matches!(event.body, Body::StepFinished { .. }));
    let again = setting().resume(document(), &recorded);
    assert_eq!(again.content("b"), "glad");
    assert!(
        !again.journal.iter().any(|event| matches!(&event.body, Body::VariableSet { key, .. } if key == LOOP_CONTINUE))
    );
}

#[test]
fn a_message_of_an_earlier_process_is_found_in_the_next() {
    let seen = stage(reading()).scene.run(workflow(vec![talk("a")]));
    let recorded = until(&seen, |event| matches!(event.body, Body::TurnFinished { turn: 1, .. }));
    let second = stage(reading());
    second.scene.resume(workflow(vec![talk("a")]), &recorded);
    let asked = second.talker.asked.lock().unwrap();
    let refused = asked[0].messages.iter().find(|message| matches!(message, Message::Tool { is_error: true, .. }));
    assert!(refused.is_some_and(|message| message.text().contains("there is no tool `gone`")));
}
