//! Laws of the machine, for any graph and any failures: nothing is lost, nothing runs twice, slots are kept, and
//! the recorded events give the same result again.

use super::{Effect, Emission, Machine, Settings, Stop, Verdict};
use crate::event::{Body, RunEvent, RunStatus, StepOutput, StepStatus};
use crate::fault::Fault;
use crate::id::{RunId, StepId, StepPath};
use crate::message::Usage;
use crate::spec::workflow::{
    AgentWork, FailurePolicy, ForEach, ItemFailure, Items, Loop, LoopKind, Options, Scheduler, Scope, Step, Work,
    Workflow,
};
use crate::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// One random step: which earlier steps it depends on, its policy, retries, items if it loops, a body in the loop.
#[derive(Clone, Debug)]
struct Shape {
    depends_on: Vec<usize>,
    policy: u8,
    retries: u32,
    items: Option<usize>,
    bound: Option<usize>,
    on_item: u8,
    body: usize,
}

#[derive(Clone, Debug)]
struct Plot {
    steps: Vec<Shape>,
    slots: usize,
    scheduler: u8,
    /// Decides which try fails and which ends next.
    chances: Vec<u8>,
    stop_after: Option<usize>,
}

fn shape(index: usize) -> impl Strategy<Value = Shape> {
    (
        prop::collection::btree_set(0..index.max(1), 0..3),
        0..4_u8,
        0..3_u32,
        prop::option::weighted(0.3, 0..5_usize),
        prop::option::of(1..3_usize),
        0..3_u8,
        0..3_usize,
    )
        .prop_map(move |(depends_on, policy, retries, items, bound, on_item, body)| Shape {
            depends_on: depends_on.into_iter().filter(|&dependency| dependency < index).collect(),
            policy,
            retries,
            items,
            bound,
            on_item,
            body,
        })
}

fn plot() -> impl Strategy<Value = Plot> {
    let steps = (1..14_usize).prop_flat_map(|count| (0..count).map(shape).collect::<Vec<_>>());
    (steps, 1..5_usize, 0..3_u8, prop::collection::vec(any::<u8>(), 64), prop::option::weighted(0.2, 0..20_usize))
        .prop_map(|(steps, slots, scheduler, chances, stop_after)| Plot {
            steps,
            slots,
            scheduler,
            chances,
            stop_after,
        })
}

fn step(name: &str, depends_on: Vec<usize>) -> Step {
    Step { depends_on, ..Step::new(StepId::parse(name).unwrap(), Work::Agent(AgentWork::new("do it"))) }
}

fn step_of(index: usize, shape: &Shape) -> Step {
    let policies =
        [FailurePolicy::Cascade, FailurePolicy::SkipDependents, FailurePolicy::Continue, FailurePolicy::Abort];
    let on_item = [ItemFailure::Stop, ItemFailure::Continue, ItemFailure::Ignore];
    let body = (shape.body > 0).then(|| {
        let inner = (0..shape.body).map(|inner| step(&format!("i{inner}"), (0..inner).collect()));
        Arc::new(Scope { steps: inner.collect(), ..Scope::default() })
    });
    Step {
        retries: shape.retries,
        on_failure: Some(policies[usize::from(shape.policy)]),
        repeat: shape.items.map(|count| {
            let each = ForEach {
                items: Items::List(Arc::new((0..count).map(|item| json!(item)).collect())),
                max_concurrency: shape.bound,
                on_item_failure: on_item[usize::from(shape.on_item)],
            };
            Loop { kind: LoopKind::ForEach(each), body }
        }),
        ..step(&format!("s{index}"), shape.depends_on.clone())
    }
}

fn workflow(plot: &Plot) -> Arc<Workflow> {
    let schedulers = [Scheduler::DependencyFirst, Scheduler::RoundRobin, Scheduler::LeastBusy];
    let steps = plot.steps.iter().enumerate().map(|(index, shape)| step_of(index, shape)).collect();
    let options = Options { scheduler: schedulers[usize::from(plot.scheduler)], ..Options::default() };
    Arc::new(Workflow { options, ..Workflow::of_steps("plot", steps) })
}

/// A sequential engine: performs effects, ends tries in an order that chance decides.
struct Engine {
    machine: Machine,
    events: Vec<RunEvent>,
    running: Vec<(StepPath, u32)>,
    resting: Vec<StepPath>,
    chances: VecDeque<u8>,
    started: BTreeSet<(StepPath, u32)>,
    most_at_once: usize,
}

impl Engine {
    fn chance(&mut self) -> u8 {
        let chance = self.chances.pop_front().unwrap_or(7);
        self.chances.push_back(chance.wrapping_mul(31).wrapping_add(17));
        chance
    }

    /// Feeds an event and all that follow from it, then performs what was asked for meanwhile: as the executor does,
    /// which performs nothing before all of it is in the journal.
    fn feed(&mut self, first: Emission) {
        let mut queue = VecDeque::from([first]);
        while !queue.is_empty() {
            let deferred = self.settle(&mut queue);
            self.perform(deferred, &mut queue);
        }
    }

    fn settle(&mut self, queue: &mut VecDeque<Emission>) -> Vec<Effect> {
        let mut deferred = Vec::new();
        while let Some(emission) = queue.pop_front() {
            if !self.machine.expects(&emission.path, emission.attempt, &emission.body) {
                continue;
            }
            let event = RunEvent {
                seq: self.events.len() as u64 + 1,
                sub: None,
                at: Timestamp::from_millis(self.events.len() as i64),
                run_id: RunId::parse("r").unwrap(),
                path: emission.path,
                attempt: emission.attempt,
                body: emission.body,
            };
            let effects = self.machine.on(&event);
            self.events.push(event);
            for effect in effects {
                match effect {
                    Effect::Emit(emission) => queue.push_back(*emission),
                    other => deferred.push(other),
                }
            }
        }
        deferred
    }

    fn perform(&mut self, effects: Vec<Effect>, queue: &mut VecDeque<Emission>) {
        for effect in effects {
            match effect {
                Effect::Emit(emission) => queue.push_back(*emission),
                Effect::Start { path, attempt } => {
                    assert!(self.started.insert((path.clone(), attempt)), "{path} started twice");
                    if self.chance().is_multiple_of(11) {
                        let body = self.end_of_try(&path, 1);
                        queue.push_back(Emission { path, attempt: Some(attempt), body });
                        continue;
                    }
                    self.running.push((path, attempt));
                    self.most_at_once = self.most_at_once.max(self.running.len());
                }
                Effect::Expand(path) => {
                    let Some(LoopKind::ForEach(ForEach { items: Items::List(items), .. })) =
                        self.machine.step_at(&path).and_then(|step| step.repeat.clone()).map(|repeat| repeat.kind)
                    else {
                        panic!("only lists are expanded here")
                    };
                    let body = Body::StepStarted { agent: None, tool: None, items: Some(items), inputs: None };
                    queue.push_back(Emission { path, attempt: None, body });
                }
                Effect::Ask(_) | Effect::While { .. } | Effect::Until { .. } | Effect::Gather(_) => {}
                Effect::Wait { path, .. } => self.resting.push(path),
                Effect::Cancel(path) => {
                    let Some(place) = self.running.iter().position(|(running, _)| *running == path) else { continue };
                    self.running.remove(place);
                    let body = Body::StepCancelled { detail: String::new() };
                    queue.push_back(Emission { path, attempt: None, body });
                }
                Effect::Conclude => {
                    let (status, reason) = self.machine.verdict();
                    let body =
                        Body::RunFinished { status, reason, output: Value::Null, usage: Usage::default(), error: None };
                    queue.push_back(Emission { path: StepPath::ROOT, attempt: None, body });
                }
                Effect::Decide(_) | Effect::Watch { .. } => panic!("no conditions and no timeouts here"),
            }
        }
    }

    /// Ends one try, or the rest before one.
    fn advance(&mut self) {
        let chance = self.chance();
        if !self.resting.is_empty() && (self.running.is_empty() || chance.is_multiple_of(3)) {
            let path = self.resting.remove(usize::from(chance) % self.resting.len());
            let effects = self.machine.due(&path);
            return self.follow(effects);
        }
        let (path, attempt) = self.running.remove(usize::from(chance) % self.running.len());
        let body = self.end_of_try(&path, self.chances.front().copied().unwrap_or(0));
        self.feed(Emission { path, attempt: Some(attempt), body });
    }

    fn end_of_try(&self, path: &StepPath, chance: u8) -> Body {
        let (output, usage) = (StepOutput { content: path.as_str().into(), ..StepOutput::default() }, Usage::default());
        let fault = match chance % 5 {
            0 => Fault::retry("flaky", "try again"),
            1 => Fault::step("broken", "no"),
            _ => {
                return Body::StepFinished {
                    status: StepStatus::Completed,
                    output,
                    error: None,
                    usage,
                    truncated_inputs: Vec::new(),
                };
            }
        };
        match self.machine.judge(path, &fault) {
            Verdict::Retry { .. } => Body::StepRetrying { error: fault, delay_ms: 0, usage },
            Verdict::Fail => Body::StepFinished {
                status: StepStatus::Failed,
                output,
                error: Some(fault),
                usage,
                truncated_inputs: Vec::new(),
            },
        }
    }

    fn follow(&mut self, effects: Vec<Effect>) {
        let mut queue = VecDeque::new();
        self.perform(effects, &mut queue);
        while !queue.is_empty() {
            let deferred = self.settle(&mut queue);
            self.perform(deferred, &mut queue);
        }
    }
}

fn run(plot: &Plot) -> Engine {
    let settings = Settings { max_concurrency: Some(plot.slots) };
    let mut engine = Engine {
        machine: Machine::new(workflow(plot), &settings),
        events: Vec::new(),
        running: Vec::new(),
        resting: Vec::new(),
        chances: plot.chances.iter().copied().collect(),
        started: BTreeSet::new(),
        most_at_once: 0,
    };
    let started = Body::RunStarted {
        schema_version: 1,
        workflow: "plot".to_owned(),
        hash: String::new(),
        sources: Vec::new(),
        inputs: serde_json::Map::new(),
        input: None,
        plugins: Vec::new(),
        settings: serde_json::Map::new(),
        plan: Vec::new(),
    };
    engine.feed(Emission { path: StepPath::ROOT, attempt: None, body: started });
    for turn in 0..10_000 {
        if plot.stop_after == Some(turn) {
            let effects = engine.machine.stop(Stop::Cancelled);
            engine.follow(effects);
        }
        if engine.machine.is_finished() {
            return engine;
        }
        assert!(!engine.running.is_empty() || !engine.resting.is_empty(), "the run is stuck: {:#?}", engine.machine);
        engine.advance();
    }
    panic!("the run does not end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(512), ..ProptestConfig::default() })]

    #[test]
    fn every_step_ends_exactly_once(plot in plot()) {
        let engine = run(&plot);
        let mut ends: BTreeMap<&StepPath, usize> = BTreeMap::new();
        for event in &engine.events {
            let ended = matches!(
                event.body,
                Body::StepFinished { .. } | Body::StepSkipped { .. } | Body::StepCancelled { .. }
            );
            *ends.entry(&event.path).or_default() += usize::from(ended);
        }
        for index in 0..plot.steps.len() {
            let path = StepPath::from(format!("s{index}").as_str());
            prop_assert_eq!(ends.get(&path).copied(), Some(1), "{}", path);
        }
        // What is inside a loop ends once in each try of the loop.
        let tries = |path: &StepPath| {
            let owner = path.as_str().split('[').next().and_then(|name| name.strip_prefix('s'));
            owner.and_then(|index| index.parse::<usize>().ok()).map_or(1, |index| plot.steps[index].retries as usize + 1)
        };
        prop_assert!(ends.iter().all(|(path, &count)| count <= tries(path)), "{:?}", ends);
        let last = engine.events.last().map(|event| event.body.kind());
        prop_assert_eq!(last, Some("run_finished"));
    }

    #[test]
    fn slots_are_never_exceeded(plot in plot()) {
        prop_assert!(run(&plot).most_at_once <= plot.slots);
    }

    #[test]
    fn a_step_begins_after_what_it_depends_on(plot in plot()) {
        let engine = run(&plot);
        let at = |path: &str, kinds: &[&str]| engine.events.iter().position(|event| {
            event.path.as_str() == path && kinds.contains(&event.body.kind())
        });
        for (index, shape) in plot.steps.iter().enumerate() {
            let Some(began) = at(&format!("s{index}"), &["step_started"]) else { continue };
            for dependency in &shape.depends_on {
                let ended = at(&format!("s{dependency}"), &["step_finished", "step_skipped"]);
                prop_assert!(ended.is_some_and(|ended| ended < began), "s{} began before s{} ended", index, dependency);
            }
        }
    }

    #[test]
    fn the_recorded_events_give_the_same_result(plot in plot()) {
        let engine = run(&plot);
        let mut again = Machine::new(workflow(&plot), &Settings { max_concurrency: Some(plot.slots) });
        for event in &engine.events {
            again.fold(event);
        }
        let run_id = RunId::parse("r").unwrap();
        let text = |machine: &Machine| serde_json::to_string(&machine.result(&run_id)).unwrap();
        prop_assert_eq!(text(&again), text(&engine.machine));
    }

    #[test]
    fn the_status_tells_what_happened(plot in plot()) {
        let engine = run(&plot);
        let result = engine.machine.result(&RunId::parse("r").unwrap()).unwrap();
        let top: Vec<_> = result.steps.iter().filter(|step| !step.path.as_str().contains(['[', '.'])).collect();
        if result.status == RunStatus::Completed {
            let fine = |step: &&&super::StepResult| {
                matches!(step.status, StepStatus::Completed | StepStatus::Skipped) || step.error.is_some()
            };
            prop_assert!(top.iter().all(|step| fine(&step)));
        }
        if result.status == RunStatus::Partial {
            prop_assert!(top.iter().any(|step| step.status == StepStatus::Completed));
        }
    }
}
