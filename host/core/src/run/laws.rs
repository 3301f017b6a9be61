//! Laws of the machine, for any graph and any failures: nothing is lost, nothing runs twice, slots are kept, and
//! the recorded events give the same result again.

mod branched;
mod newer;
mod plot;
mod replayed;
mod resumed;

use super::node::{Node, NodeState};
use super::{Effect, Emission, Machine, Settings, Stop, Verdict};
use crate::event::{Body, LoopEnd, RunEvent, RunStatus, StepOutput, StepStatus, Waiting};
use crate::fault::Fault;
use crate::id::{RunId, StepPath};
use crate::message::Usage;
use crate::spec::workflow::{ForEach, Items, LoopKind};
use crate::time::Timestamp;
use plot::{Form, Plot, Shape, plot, workflow};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A sequential engine: performs effects, ends tries in an order that chance decides.
struct Engine {
    machine: Machine,
    events: Vec<RunEvent>,
    running: Vec<(StepPath, u32)>,
    resting: Vec<StepPath>,
    chances: VecDeque<u8>,
    /// Answers about loops that are on their way: each finds the run settled, as it finds the executor.
    answers: VecDeque<(StepPath, Option<Body>)>,
    started: BTreeSet<(StepPath, u32)>,
    most_at_once: usize,
    /// Nothing fails, and what is decided follows from the place.
    calm: bool,
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
        self.empty(VecDeque::from([first]));
    }

    fn empty(&mut self, mut queue: VecDeque<Emission>) {
        loop {
            while !queue.is_empty() {
                let deferred = self.settle(&mut queue);
                self.perform(deferred, &mut queue);
            }
            match self.answers.pop_front() {
                None => return,
                Some((path, _)) if !self.machine.admits(&path, None) => {}
                Some((path, Some(body))) => queue.push_back(Emission { path, attempt: None, body }),
                Some((path, None)) => {
                    let effects = self.machine.go_on(&path);
                    self.perform(effects, &mut queue);
                }
            }
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
                Effect::Resume { path, .. } => panic!("no message comes to {path} here"),
                Effect::Expand(path) => {
                    let Some(LoopKind::ForEach(ForEach { items: Items::List(items), .. })) =
                        self.machine.step_at(&path).and_then(|step| step.repeat.clone()).map(|repeat| repeat.kind)
                    else {
                        panic!("only lists are expanded here")
                    };
                    let items = Some(items);
                    let body = Body::StepStarted { agent: None, tool: None, items, inputs: None, narrowed: vec![] };
                    queue.push_back(Emission { path, attempt: None, body });
                }
                Effect::Ask(path) => self.answer(&path, queue),
                Effect::While { path, index } => self.decide(&path, (index, LoopEnd::While)),
                Effect::Until { path, index } => self.decide(&path, (index, LoopEnd::Until)),
                Effect::Gather(_) => panic!("nothing is gathered here"),
                Effect::Wait { path, .. } => self.resting.push(path),
                Effect::Cancel(path) => {
                    let Some(place) = self.running.iter().position(|(running, _)| *running == path) else { continue };
                    self.running.remove(place);
                    let body = Body::StepCancelled { detail: String::new() };
                    queue.push_back(Emission { path, attempt: None, body });
                }
                Effect::Conclude => {
                    let (status, reason) = self.machine.verdict();
                    let body = Body::RunFinished {
                        status,
                        reason,
                        output: Value::Null,
                        usage: Usage::default(),
                        cost: None,
                        error: None,
                    };
                    queue.push_back(Emission { path: StepPath::ROOT, attempt: None, body });
                }
                Effect::Decide(_) | Effect::Watch { .. } => panic!("no conditions and no timeouts here"),
            }
        }
    }

    /// Answers a question, or says that nobody is there.
    fn answer(&mut self, path: &StepPath, queue: &mut VecDeque<Emission>) {
        let deferred = if self.calm { path.as_str().len().is_multiple_of(2) } else { self.chance().is_multiple_of(3) };
        let asked = Body::QuestionAsked { question: "which".into(), choices: Vec::new(), schema: None, deferred };
        queue.push_back(Emission { path: path.clone(), attempt: None, body: asked });
        if !deferred {
            let (status, output) = (StepStatus::Completed, StepOutput::default());
            let (usage, truncated_inputs) = (Usage::default(), Vec::new());
            let body = Body::StepFinished { status, output, error: None, usage, truncated_inputs };
            queue.push_back(Emission { path: path.clone(), attempt: None, body });
        }
    }

    /// Decides by chance whether a loop goes on.
    fn decide(&mut self, path: &StepPath, (index, because): (u32, LoopEnd)) {
        let calm = if index > 1 { 0 } else { 7 };
        let body = match if self.calm { calm } else { self.chance() % 8 } {
            0 | 1 => Some(Body::LoopFinished { iterations: index, because }),
            2 => Some(Body::StepFinished {
                status: StepStatus::Failed,
                output: StepOutput::default(),
                error: Some(Fault::step("until", "no")),
                usage: Usage::default(),
                truncated_inputs: Vec::new(),
            }),
            _ => None,
        };
        self.answers.push_back((path.clone(), body));
    }

    /// Now and then the time of a loop or group is over.
    fn expire_something(&mut self) {
        if !self.chance().is_multiple_of(9) {
            return;
        }
        let open = |node: &&Node| node.is_member() && matches!(node.state, NodeState::Open | NodeState::Resting);
        let Some(path) = self.machine.nodes.iter().find(open).map(|node| node.path.clone()) else { return };
        let effects = self.machine.expire(&path, Fault::step("timeout", "too late"));
        self.follow(effects);
    }

    /// What happened and how the steps stand, for people.
    fn story(&self) -> String {
        let events = self.events.iter().map(|event| format!("{} {}", event.path, event.body.kind()));
        let nodes = self.machine.nodes.iter().map(|node| format!("{} is {:?}", node.path, node.state));
        events.chain(nodes).collect::<Vec<_>>().join("\n")
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
        if !self.calm && chance % 7 == 5 {
            return Body::StepWaiting(Waiting::default());
        }
        let (output, usage) = (StepOutput { content: path.as_str().into(), ..StepOutput::default() }, Usage::default());
        let fault = match if self.calm { 2 } else { chance % 5 } {
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
        self.empty(queue);
    }
}

fn engine(plot: &Plot) -> Engine {
    let settings = Settings { max_concurrency: Some(plot.slots) };
    Engine {
        machine: Machine::new(workflow(plot), &settings),
        events: Vec::new(),
        running: Vec::new(),
        resting: Vec::new(),
        chances: plot.chances.iter().copied().collect(),
        answers: VecDeque::new(),
        started: BTreeSet::new(),
        most_at_once: 0,
        calm: false,
    }
}

fn run(plot: &Plot) -> Engine {
    begin(engine(plot), plot)
}

fn begin(mut engine: Engine, plot: &Plot) -> Engine {
    let started = Body::RunStarted {
        schema_version: 1,
        workflow: "plot".to_owned(),
        hash: String::new(),
        sources: Vec::new(),
        inputs: serde_json::Map::new(),
        input: None,
        context_files: std::sync::Arc::default(),
        plugins: Vec::new(),
        settings: serde_json::Map::new(),
        plan: Vec::new(),
        sensitive: Vec::new(),
        branched_from: None,
    };
    engine.feed(Emission { path: StepPath::ROOT, attempt: None, body: started });
    drive(engine, plot)
}

fn drive(mut engine: Engine, plot: &Plot) -> Engine {
    for turn in 0..10_000 {
        if plot.stop_after == Some(turn) {
            let effects = engine.machine.stop(Stop::Cancelled);
            engine.follow(effects);
        }
        if !engine.calm {
            engine.expire_something();
        }
        if engine.machine.is_finished() {
            return engine;
        }
        assert!(!engine.running.is_empty() || !engine.resting.is_empty(), "the run is stuck:\n{}", engine.story());
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
        let waits = engine.machine.verdict().0 == RunStatus::Waiting;
        for index in 0..plot.steps.len() {
            let path = StepPath::from(format!("s{index}").as_str());
            let count = ends.get(&path).copied().unwrap_or_default();
            prop_assert!(count == 1 || (waits && count == 0), "{}", path);
        }
        // What is inside a loop or a group ends once in each try of it.
        let tries = |path: &StepPath| {
            let owner = path.as_str().split(['[', '.']).next().and_then(|name| name.strip_prefix('s'));
            owner.and_then(|index| index.parse::<usize>().ok()).map_or(1, |index| plot.steps[index].retries as usize + 1)
        };
        prop_assert!(ends.iter().all(|(path, &count)| count <= tries(path)), "{:?}", ends);
        prop_assert!(engine.running.is_empty(), "tries outlive the run: {:?}\n{}", engine.running, engine.story());
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
