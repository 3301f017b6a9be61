//! Traces: what happens in a run as spans, each within the one around it.

use crate::library::{is_alone, quick};
use crate::support::{TestRuntime, close};
use cofferdam::core::id::RunId;
use cofferdam::llm::Scripted;
use cofferdam::{
    Coordinator, Error, Orchestrator, RunOptions, Span, SpanEnd, SpanEvent, SpanId, SpanKind, Tracer, Workflow,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Writes a line for each call, and checks that spans lie within each other.
#[derive(Default)]
struct Notes(Mutex<State>);

#[derive(Default)]
struct State {
    text: String,
    open: BTreeMap<SpanId, (Option<SpanId>, String, usize)>,
    spans: Vec<(Span, Option<u64>)>,
    tokens: u64,
}

impl Tracer for Notes {
    fn start(&self, span: &Span) {
        let mut state = self.0.lock().unwrap();
        let depth = span.parent.map_or(0, |parent| state.open.get(&parent).expect("the span around is open").2 + 1);
        let name = span.name.clone();
        writeln!(state.text, "{}{:?} {name}", "  ".repeat(depth), span.kind).unwrap();
        assert!(state.open.insert(span.id, (span.parent, name, depth)).is_none(), "a span begins once");
        state.spans.push((span.clone(), None));
    }

    fn event(&self, event: &SpanEvent) {
        let mut state = self.0.lock().unwrap();
        let depth = state.open.get(&event.span).expect("the span is open").2 + 1;
        writeln!(state.text, "{}- {}: {}", "  ".repeat(depth), event.name, event.message).unwrap();
    }

    fn end(&self, end: &SpanEnd) {
        let mut state = self.0.lock().unwrap();
        let (_, name, depth) = state.open.remove(&end.id).expect("a span ends once");
        assert!(state.open.values().all(|(parent, ..)| *parent != Some(end.id)), "`{name}` ends before what is in it");
        state.tokens = end.usage.total();
        let of = state.spans.iter_mut().find(|(span, _)| span.id == end.id).unwrap();
        of.1 = Some(end.usage.total());
        writeln!(state.text, "{}= {name} {}", "  ".repeat(depth), end.status).unwrap();
    }
}

const DOCUMENT: &str = "
name: traced
agents: { lead: { description: l, tools: [agent, context_set] } }
steps:
  - { id: find, agent: lead, instructions: Find. }
  - { id: each, dependsOn: [find], tool: context_set, args: { key: k, value: '{{ item }}' }, loop: { forEach: [1] } }
  - { id: not, dependsOn: [find], instructions: Not., condition: 'false' }
  - { id: bad, dependsOn: [each], instructions: Fail. }
";
const SCRIPT: &str = "
answers:
  - { step: find, turn: 1, toolCalls: [{ tool: agent, args: { task: look } }], usage: { input: 3, output: 1 } }
  - { step: find@1, text: there, usage: { input: 2, output: 1 } }
  - { step: find, turn: 2, text: found, usage: { input: 4, output: 1 } }
  - { step: bad, error: { code: broken, class: step, message: it broke } }
";

#[test]
fn a_run_is_a_tree_of_spans() {
    let notes = Arc::new(Notes::default());
    let builder = Orchestrator::builder().model(Scripted::parse(SCRIPT).unwrap());
    let orchestrator = builder.max_concurrency(1).tracer(Arc::clone(&notes) as Arc<dyn Tracer>).build().unwrap();
    let workflow = Workflow::parse(DOCUMENT, Path::new(".")).unwrap();
    quick().block_on(async {
        orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap();
        close(&orchestrator).await;
    });
    let state = notes.0.lock().unwrap();
    assert!(state.open.is_empty(), "all spans ended: {:?}", state.open);
    assert_eq!(state.tokens, 12, "the run ends last, with all tokens");
    let wanted = "Run traced
  Step find
    Turn scripted
    = scripted completed
    - permission_decided: agent allowed: changes only the run
    ToolCall agent
      Agent find@1
        Turn scripted
        = scripted completed
      = find@1 completed
    = agent completed
    Turn scripted
    = scripted completed
  = find completed
";
    assert!(state.text.starts_with(wanted), "{}", state.text);
    for part in ["  Loop each\n    Iteration each[0]\n", "  Step not\n  = not skipped\n", "  = bad failed\n"] {
        assert!(state.text.contains(part), "`{part}` is not in\n{}", state.text);
    }
    assert!(state.text.ends_with("\n= traced partial\n"), "{}", state.text);
}

const WIDE: &str = "
name: wide
agents: { lead: { description: l, tools: [agent] } }
steps:
  - { id: part, include: part.yaml }
  - { id: each, loop: { forEach: [1] }, tool: glob, args: { pattern: '*.none' } }
  - { id: flaky, instructions: Try., retries: 1 }
  - { id: lead, agent: lead, instructions: Lead. }
";
const WIDE_SCRIPT: &str = "
answers:
  - { step: lead, turn: 1, toolCalls: [{ tool: agent, args: { task: look } }], usage: { input: 3, output: 1 } }
  - { step: lead@1, text: there, usage: { input: 5, output: 1 } }
  - { step: flaky, attempt: 1, error: { code: busy, class: retry, message: not now } }
  - { step: '@coordinator', text: seen, usage: { input: 20, output: 1 } }
default: { text: done, usage: { input: 1, output: 1 } }
";

#[test]
fn spans_say_to_what_they_belong() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("wide.yaml"), WIDE).unwrap();
    std::fs::write(folder.path().join("part.yaml"), "name: part\nsteps: [{ id: within, instructions: Work. }]")
        .unwrap();
    let notes = Arc::new(Notes::default());
    let builder = Orchestrator::builder().model(Scripted::parse(WIDE_SCRIPT).unwrap());
    let on = builder.workdir(folder.path()).tracer(Arc::clone(&notes) as Arc<dyn Tracer>).build().unwrap();
    let workflow = Workflow::load(folder.path().join("wide.yaml")).unwrap();
    let run = RunId::parse("wide").unwrap();
    quick().block_on(async {
        let coordinator = Some(Coordinator::default().synthesize_only());
        let options = RunOptions { run_id: Some(run.clone()), coordinator, ..RunOptions::default() };
        assert!(on.run_flow(&workflow, options).await.unwrap().success());
        close(&on).await;
    });
    let state = notes.0.lock().unwrap();
    assert!(state.spans.iter().all(|(span, _)| span.run_id == run));
    let kinds: BTreeMap<SpanId, SpanKind> = state.spans.iter().map(|(span, _)| (span.id, span.kind)).collect();
    let line = |(span, tokens): &(Span, Option<u64>)| {
        let Span { kind, path, attempt, agent, model, tool, parent, .. } = span;
        let within = parent.map_or("nothing".to_owned(), |parent| format!("{:?}", kinds[&parent]));
        let attempt = attempt.map_or("-".to_owned(), |attempt| attempt.to_string());
        let names = [agent.as_deref(), model.as_deref(), tool.as_deref()].map(|name| name.unwrap_or("-"));
        format!("{kind:?} `{path}` in {within}, try {attempt}, {}, {} tokens", names.join(" "), tokens.unwrap())
    };
    let mut lines: Vec<String> = state.spans.iter().map(line).collect();
    lines.sort();
    let wanted = [
        "Agent `lead@1` in ToolCall, try 1, - - -, 6 tokens",
        "Coordinator `@coordinator` in Run, try 1, - - -, 21 tokens",
        "Include `part` in Run, try -, - - -, 0 tokens",
        "Iteration `each[0]` in Loop, try -, - - -, 0 tokens",
        "Loop `each` in Run, try -, - - -, 0 tokens",
        "Run `` in nothing, try -, - - -, 37 tokens",
        "Step `flaky` in Run, try 1, - - -, 2 tokens",
        "Step `lead` in Run, try 1, lead - -, 6 tokens",
        "Step `part.within` in Include, try 1, - - -, 2 tokens",
        "ToolCall `each[0]` in Iteration, try 1, - - glob, 0 tokens",
        "ToolCall `lead` in Step, try 1, - - agent, 0 tokens",
        "Turn `@coordinator` in Coordinator, try 1, - scripted -, 21 tokens",
        "Turn `flaky` in Step, try 1, - scripted -, 0 tokens",
        "Turn `flaky` in Step, try 2, - scripted -, 2 tokens",
        "Turn `lead@1` in Agent, try 1, - scripted -, 6 tokens",
        "Turn `lead` in Step, try 1, - scripted -, 2 tokens",
        "Turn `lead` in Step, try 1, - scripted -, 4 tokens",
        "Turn `part.within` in Step, try 1, - scripted -, 2 tokens",
    ];
    assert_eq!(lines, wanted, "{lines:#?}");
}

const PLAN: &str = r#"
answers:
  - { step: agent, contains: nonsense, error: { code: broken, class: step, message: it broke } }
  - { step: agent, text: "```yaml\nname: plan\nsteps: [{ id: only, instructions: Think. }]\n```", usage: { input: 30, output: 10 } }
  - { step: only, contains: wait, delay: 1h, text: too late }
  - { step: only, text: harbour, usage: { input: 3, output: 1 } }
"#;

/// What is noted of what somebody does with an orchestrator.
fn noted(work: impl AsyncFnOnce(&Orchestrator, &Notes)) -> String {
    let notes = Arc::new(Notes::default());
    let builder = Orchestrator::builder().model(Scripted::parse(PLAN).unwrap());
    let on = builder.tracer(Arc::clone(&notes) as Arc<dyn Tracer>).build().unwrap();
    TestRuntime::threads(2).block_on(async {
        work(&on, &notes).await;
        close(&on).await;
    });
    let state = notes.0.lock().unwrap();
    assert!(state.open.is_empty(), "all spans ended: {:?}", state.open);
    let goals: Vec<&Span> =
        state.spans.iter().map(|(span, _)| span).filter(|span| span.kind == SpanKind::Goal).collect();
    for goal in goals {
        let planned = state.spans.iter().find(|(span, _)| span.kind == SpanKind::Run && span.name == "planner");
        assert_eq!(goal.run_id, planned.unwrap().0.run_id, "it is named by the run that plans");
    }
    format!("{}tokens of the last: {}", state.text, state.tokens)
}

#[test]
fn a_goal_is_around_its_planning_and_the_run_of_its_plan() {
    let options = RunOptions::default;
    let planner = "  Run planner\n    Step agent\n      Turn scripted\n      = scripted completed\n    = agent completed\n  = planner completed\n";
    let plan = "  Run plan\n    Step only\n      Turn scripted\n      = scripted completed\n    = only completed\n  = plan completed\n";
    let whole = noted(async |on, _| drop(on.run_goal("Think.", options()).await.unwrap()));
    assert_eq!(whole, format!("Goal goal\n{planner}{plan}= goal completed\ntokens of the last: 44"));
    // Whoever looks at the plan in between pursues the goal in two spans.
    let halves = noted(async |on, _| {
        let plan = on.plan_goal("Think.", &options()).await.unwrap();
        on.run_plan("Think.", &plan, options()).await.unwrap();
    });
    assert_eq!(
        halves,
        format!("Goal goal\n{planner}= goal completed\nGoal goal\n{plan}= goal completed\ntokens of the last: 44")
    );
    let none = noted(async |on, _| {
        assert!(matches!(on.run_goal("nonsense", options()).await, Err(Error::NoPlan { .. })));
    });
    assert!(none.starts_with("Goal goal\n  Run planner\n") && none.contains("\n= goal failed\n"), "{none}");
    assert_eq!(noted(async |on, _| assert!(on.run_goal(" ", options()).await.is_err())), "tokens of the last: 0");
    // Nobody waits for it any more: it ends after its run.
    let cancelled = noted(async |on, notes| {
        let begun = async {
            while !notes.0.lock().unwrap().text.contains("  Run plan\n") {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = on.run_goal("wait", options()) => panic!("it cannot have ended"),
            () = begun => {}
        }
    });
    assert!(cancelled.starts_with(&format!("Goal goal\n{planner}  Run plan\n")), "{cancelled}");
    assert!(cancelled.contains("  = plan cancelled\n= goal cancelled\n"), "{cancelled}");
}

/// The spans of the `tracing` crate: the name of each, and of the one around it.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Lines {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let span = ctx.span(id).unwrap();
        let around = span.parent().map_or("nothing", |around| around.name());
        self.0.lock().unwrap().push(format!("{} in {around}", span.name()));
    }
}

#[test]
fn logs_lie_in_spans_of_what_they_are_about() {
    // What listens here would hear of other tests, and these would take its place.
    if !is_alone("tracer::logs_lie_in_spans_of_what_they_are_about") {
        return;
    }
    let lines = Lines::default();
    let script = PLAN.replace("text: harbour,", "toolCalls: [{ tool: glob, args: { pattern: '*.none' } }],");
    let script = script.replace(
        "  - { step: only, contains",
        "  - { step: '@coordinator', text: ok }\n  - { step: only, turn: 2, text: done }\n  - { step: only, contains",
    );
    let builder = Orchestrator::builder().model(Scripted::parse(&script).unwrap());
    let on = builder.coordinator(Coordinator::default()).build().unwrap();
    let _guard = tracing_subscriber::registry().with(lines.clone()).set_default();
    quick().block_on(async {
        let result = on.run_goal("Think.", RunOptions::default()).await.unwrap();
        assert!(result.success(), "{:?}", result.error);
        close(&on).await;
    });
    let mut lines = lines.0.lock().unwrap().clone();
    lines.sort();
    lines.dedup();
    let wanted = [
        "attempt in run",
        "coordinator in run",
        "goal in nothing",
        "run in goal",
        "tool_call in attempt",
        "turn in attempt",
        "turn in coordinator",
    ];
    assert_eq!(lines, wanted);
}
