//! Traces: what happens in a run as spans, each within the one around it.

use crate::library::quick;
use crate::support::close;
use cofferdam::llm::Scripted;
use cofferdam::{Orchestrator, RunOptions, Span, SpanEnd, SpanEvent, SpanId, Tracer, Workflow};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Writes a line for each call, and checks that spans lie within each other.
#[derive(Default)]
struct Notes(Mutex<State>);

#[derive(Default)]
struct State {
    text: String,
    open: BTreeMap<SpanId, (Option<SpanId>, String, usize)>,
    tokens: u64,
}

impl Tracer for Notes {
    fn start(&self, span: &Span) {
        let mut state = self.0.lock().unwrap();
        let depth = span.parent.map_or(0, |parent| state.open.get(&parent).expect("the span around is open").2 + 1);
        let name = span.name.clone();
        writeln!(state.text, "{}{:?} {name}", "  ".repeat(depth), span.kind).unwrap();
        assert!(state.open.insert(span.id, (span.parent, name, depth)).is_none(), "a span begins once");
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
