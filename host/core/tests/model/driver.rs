//! A small engine with a clock of its own: it performs what the machine asks for, late, in batches and in an order that
//! dice decide, and writes down what happened.

use crate::dice::Dice;
use crate::plot::{Answer, Check, Plot, Ruling, Try, World};
use cofferdam_core::event::{AnsweredBy, Body, LoopEnd, RunEvent, SkippedBecause, StepOutput, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::message::Usage;
use cofferdam_core::run::{Effect, Emission, Machine, NodeState, Settings, Stop, Verdict};
use cofferdam_core::spec::export;
use cofferdam_core::spec::workflow::{ForEach, Items, LoopKind};
use cofferdam_core::time::Timestamp;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A run that has ended.
pub(crate) struct Ran {
    pub(crate) machine: Machine,
    pub(crate) events: Vec<RunEvent>,
    /// How many events there were when the run was cancelled.
    pub(crate) cancelled_at: Option<usize>,
}

/// Something that will end by itself.
enum Task {
    Try {
        path: StepPath,
        attempt: u32,
    },
    Rest(StepPath),
    Question(StepPath, Answer),
    /// An evaluation that the engine's threads do.
    Evaluation(Effect),
}

struct Driver<'p> {
    plot: &'p Plot,
    dice: Dice,
    machine: Machine,
    events: Vec<RunEvent>,
    tasks: Vec<Task>,
    started: BTreeSet<(StepPath, u32)>,
}

/// Runs the plot to its end.
pub(crate) fn run(plot: &Plot) -> Ran {
    let machine = Machine::new(Arc::clone(&plot.workflow), &settings(plot));
    let (tasks, started) = (Vec::new(), BTreeSet::new());
    let mut driver = Driver { plot, dice: plot.order.clone(), machine, events: Vec::new(), tasks, started };
    let body = Body::RunStarted {
        schema_version: 1,
        workflow: "plot".to_owned(),
        hash: String::new(),
        sources: Vec::new(),
        inputs: Map::new(),
        input: None,
        context_files: Arc::default(),
        plugins: Vec::new(),
        settings: Map::new(),
        plan: Vec::new(),
        sensitive: Vec::new(),
        branched_from: None,
    };
    driver.feed(VecDeque::from([Emission { path: StepPath::ROOT, attempt: None, body }]));
    let mut cancelled_at = None;
    for turn in 0..200_000 {
        if driver.machine.is_finished() {
            return Ran { machine: driver.machine, events: driver.events, cancelled_at };
        }
        if plot.cancel_after == Some(turn) {
            cancelled_at = Some(driver.events.len());
            let effects = driver.machine.stop(Stop::Cancelled);
            driver.follow(effects);
        } else {
            driver.turn();
        }
    }
    panic!("the run does not end");
}

pub(crate) fn settings(plot: &Plot) -> Settings {
    Settings { max_concurrency: Some(plot.slots) }
}

impl Driver<'_> {
    /// Lets one to three things end together.
    fn turn(&mut self) {
        if self.tasks.is_empty() {
            panic!("nothing is under way and the run has not ended{}", story(self.plot, &self.events));
        }
        self.assert_no_slot_is_wasted();
        let mut queue = VecDeque::new();
        for _ in 0..self.dice.between(1, 3) {
            if self.tasks.is_empty() {
                break;
            }
            let task = self.tasks.swap_remove(self.dice.below(self.tasks.len()));
            self.end(task, &mut queue);
        }
        self.feed(queue);
    }

    /// A step that waits for a slot while one is free would be an idle machine.
    fn assert_no_slot_is_wasted(&self) {
        let running = self.tasks.iter().filter(|task| matches!(task, Task::Try { .. })).count();
        if running >= self.plot.slots || self.events.len() > 400 {
            return;
        }
        for event in &self.events {
            assert_ne!(
                self.machine.state_of(&event.path),
                Some(NodeState::Queued),
                "{} waits for a free slot",
                event.path
            );
        }
    }

    fn feed(&mut self, mut queue: VecDeque<Emission>) {
        while !queue.is_empty() {
            let effects = self.settle(&mut queue);
            self.perform(effects, &mut queue);
        }
    }

    fn follow(&mut self, effects: Vec<Effect>) {
        let mut queue = VecDeque::new();
        self.perform(effects, &mut queue);
        self.feed(queue);
    }

    /// Records events until nothing follows; what else is asked for comes after all of them.
    fn settle(&mut self, queue: &mut VecDeque<Emission>) -> Vec<Effect> {
        let mut deferred = Vec::new();
        while let Some(emission) = queue.pop_front() {
            let within = matches!(emission.body, Body::VariableSet { .. });
            let (path, attempt) = (&emission.path, emission.attempt);
            if !self.machine.expects(path, attempt, &emission.body) || within && !self.machine.admits(path, attempt) {
                continue;
            }
            let event = RunEvent {
                seq: self.events.len() as u64 + 1,
                sub: None,
                at: Timestamp::from_millis(i64::try_from(self.events.len()).unwrap()),
                run_id: RunId::parse("r").unwrap(),
                path: emission.path,
                attempt: emission.attempt,
                body: emission.body,
            };
            for effect in self.machine.on(&event) {
                match effect {
                    Effect::Emit(emission) => queue.push_back(*emission),
                    other => deferred.push(other),
                }
            }
            self.events.push(event);
        }
        deferred
    }

    fn perform(&mut self, effects: Vec<Effect>, queue: &mut VecDeque<Emission>) {
        for effect in effects {
            match effect {
                Effect::Emit(emission) => queue.push_back(*emission),
                Effect::Start { path, attempt } => {
                    assert!(self.started.insert((path.clone(), attempt)), "try {attempt} of {path} began twice");
                    self.tasks.push(Task::Try { path, attempt });
                    let running = self.tasks.iter().filter(|task| matches!(task, Task::Try { .. })).count();
                    assert!(running <= self.plot.slots, "{running} tries at once");
                }
                Effect::Wait { path, .. } => self.tasks.push(Task::Rest(path)),
                Effect::Cancel(path) => self.cancel(path, queue),
                Effect::Watch { path, .. } => panic!("{path} has no timeout"),
                Effect::Ask(path) => self.ask(path, queue),
                Effect::Conclude => {
                    let (status, reason) = self.machine.verdict();
                    let (output, usage) = (self.machine.default_output().unwrap_or_default(), self.machine.usage());
                    queue.push_back(of(
                        StepPath::ROOT,
                        Body::RunFinished { status, reason, output, usage, cost: None, error: None },
                    ));
                }
                evaluation if self.dice.percent(50) => self.evaluate(evaluation, queue),
                evaluation => self.tasks.push(Task::Evaluation(evaluation)),
            }
        }
    }

    fn cancel(&mut self, path: StepPath, queue: &mut VecDeque<Emission>) {
        let is_it = |task: &Task| matches!(task, Task::Try { path: of, .. } | Task::Question(of, _) if *of == path);
        if let Some(place) = self.tasks.iter().position(is_it) {
            self.tasks.remove(place);
            queue.push_back(of(path, Body::StepCancelled { detail: "stopped".into() }));
        }
    }

    fn ask(&mut self, path: StepPath, queue: &mut VecDeque<Emission>) {
        let answer = self.plot.world.answer(path.as_str());
        let deferred = answer == Answer::Never;
        let body = Body::QuestionAsked { question: "which?".into(), choices: Vec::new(), schema: None, deferred };
        queue.push_back(of(path.clone(), body));
        match answer {
            Answer::Never => {}
            Answer::AtOnce => self.end(Task::Question(path, answer), queue),
            Answer::Later | Answer::TimedOut => self.tasks.push(Task::Question(path, answer)),
        }
    }

    fn end(&mut self, task: Task, queue: &mut VecDeque<Emission>) {
        match task {
            Task::Try { path, attempt } => self.end_try(path, attempt, queue),
            Task::Rest(path) => {
                let effects = self.machine.due(&path);
                self.perform(effects, queue);
            }
            Task::Question(path, Answer::TimedOut) => {
                queue.push_back(of(path, failed(Fault::step("ask_timeout", "nobody answered"), StepOutput::default())));
            }
            Task::Question(path, _) => {
                let answer = Value::String(format!("answer of {path}"));
                let output = StepOutput {
                    content: answer.as_str().unwrap().into(),
                    result: Arc::new(answer.clone()),
                    ..StepOutput::default()
                };
                queue.push_back(of(path.clone(), Body::QuestionAnswered { answer, by: AnsweredBy::Given }));
                queue.push_back(of(path, completed(output, Usage::default())));
            }
            Task::Evaluation(effect) => self.evaluate(effect, queue),
        }
    }

    fn end_try(&mut self, path: StepPath, attempt: u32, queue: &mut VecDeque<Emission>) {
        let (world, name) = (&self.plot.world, path.as_str());
        if world.signals(name, attempt) {
            let body = Body::VariableSet { key: "loop_continue".into(), value: Value::Bool(false) };
            queue.push_back(Emission { path: path.clone(), attempt: Some(attempt), body });
        }
        let usage = Usage { output: 1, ..Usage::default() };
        let fault = match world.attempt(name, attempt) {
            Try::Good => {
                let (content, result) = (World::content(name, attempt).into(), Arc::new(world.data(name, attempt)));
                let body = completed(StepOutput { content, result, ..StepOutput::default() }, usage);
                return queue.push_back(Emission { path, attempt: Some(attempt), body });
            }
            Try::Again => Fault::retry("again", "try again"),
            Try::Broken => Fault::step("broken", "no"),
        };
        let body = match self.machine.judge(&path, &fault) {
            Verdict::Retry { .. } => Body::StepRetrying { error: fault, delay_ms: 1_000, usage },
            Verdict::Fail => Body::StepFinished {
                status: StepStatus::Failed,
                output: StepOutput::default(),
                error: Some(fault),
                usage,
                truncated_inputs: Vec::new(),
            },
        };
        queue.push_back(Emission { path, attempt: Some(attempt), body });
    }

    fn evaluate(&mut self, effect: Effect, queue: &mut VecDeque<Emission>) {
        let world = &self.plot.world;
        let wrong = || failed(Fault::step("evaluation", "no value"), StepOutput::default());
        match effect {
            Effect::Decide(path) if self.plugin_decides(&path) => {
                let bodies = self.ruled(&path);
                queue.extend(bodies.into_iter().map(|body| of(path.clone(), body)));
            }
            Effect::Decide(path) => {
                let skipped = Body::StepSkipped { because: SkippedBecause::Condition, detail: "false".into() };
                let body = match world.condition(path.as_str()) {
                    Check::Yes => Body::StepReady {},
                    Check::No => skipped,
                    Check::Missing => {
                        let body = Body::Warning { code: "missing".into(), message: "a key is missing".into() };
                        queue.push_back(of(path.clone(), body));
                        skipped
                    }
                    Check::Fails => wrong(),
                };
                queue.push_back(of(path, body));
            }
            Effect::Expand(path) => {
                let body = self.expanded(&path).unwrap_or_else(wrong);
                queue.push_back(of(path, body));
            }
            Effect::While { path, index } => {
                let check = world.goes_on(path.as_str(), index);
                self.checked(path, (check, Check::Yes), (index, LoopEnd::While), queue);
            }
            Effect::Until { path, index } => {
                let check = world.is_enough(path.as_str(), index);
                self.checked(path, (check, Check::No), (index + 1, LoopEnd::Until), queue);
            }
            Effect::Gather(path) => {
                let output = self.machine.gathered(&path);
                let content = output.content.to_uppercase().into();
                queue.push_back(of(path, completed(StepOutput { content, ..output }, Usage::default())));
            }
            other => panic!("{other:?} is no evaluation"),
        }
    }

    fn plugin_decides(&self, path: &StepPath) -> bool {
        let step = self.machine.step_at(path).unwrap();
        matches!(step.condition, Some(cofferdam_core::spec::workflow::Condition::Plugin(_)))
    }

    /// What a plugin decides; a choice is recorded before it is acted upon, and made once.
    fn ruled(&self, path: &StepPath) -> Vec<Body> {
        let world = &self.plot.world;
        let wrong = || failed(Fault::step("evaluation", "no value"), StepOutput::default());
        let skipped = |because| Body::StepSkipped { because, detail: "no".into() };
        let Some(branch) = self.machine.branch(path) else {
            return vec![match world.ruling(path.as_str()) {
                Ruling::Proceed => Body::StepReady {},
                Ruling::Skip => skipped(SkippedBecause::Condition),
                Ruling::Stop => skipped(SkippedBecause::Stop),
                Ruling::Fails => wrong(),
            }];
        };
        let verdict = |chosen| if chosen { Body::StepReady {} } else { skipped(SkippedBecause::Condition) };
        if let Some(chosen) = branch.chosen {
            return vec![verdict(chosen)];
        }
        let Ok(chosen) = world.choice(branch.first.as_str(), branch.steps.len()) else { return vec![wrong()] };
        let step = chosen.map(|index| branch.steps[index].0.clone());
        let own = self.machine.step_at(path).unwrap().id.clone();
        let runs = step.as_ref() == Some(&own);
        vec![Body::BranchChosen { plugin: "world".into(), label: None, step }, verdict(runs)]
    }

    /// What a check of a loop gave: it goes on when it is as wanted.
    fn checked(
        &mut self,
        path: StepPath,
        (is, wanted): (Check, Check),
        end: (u32, LoopEnd),
        queue: &mut VecDeque<Emission>,
    ) {
        if is == wanted {
            let effects = self.machine.go_on(&path);
            return self.perform(effects, queue);
        }
        let (iterations, because) = end;
        let body = match is {
            Check::Fails => failed(Fault::step("evaluation", "no value"), self.machine.gathered(&path)),
            _ => Body::LoopFinished { iterations, because },
        };
        queue.push_back(of(path, body));
    }

    fn expanded(&self, path: &StepPath) -> Option<Body> {
        let started =
            |items, inputs| Body::StepStarted { agent: None, tool: None, items, inputs, narrowed: Vec::new() };
        let step = self.machine.step_at(path).unwrap();
        let Some(LoopKind::ForEach(ForEach { items, .. })) = step.repeat.as_ref().map(|repeat| &repeat.kind) else {
            return Some(started(None, Some(Arc::default())));
        };
        let items = match items {
            Items::List(items) => Arc::clone(items),
            Items::Expr(_) => Arc::new(self.plot.world.items(path.as_str())?),
        };
        Some(started(Some(items), None))
    }
}

/// What happened, for who looks at one seed.
pub(crate) fn story(plot: &Plot, events: &[RunEvent]) -> String {
    if std::env::var_os("SEED").is_none() {
        return String::new();
    }
    let (slots, after, workflow) = (plot.slots, plot.cancel_after, export::to_yaml(&plot.workflow));
    let mut text = format!("\nslots {slots}, cancelled after {after:?}\n{workflow}");
    for (at, event) in events.iter().enumerate() {
        let mut value = serde_json::to_value(event).unwrap();
        let object = value.as_object_mut().unwrap();
        for key in ["seq", "at", "run_id", "usage", "output"] {
            object.remove(key);
        }
        text.push_str(&format!("\n{at} {value}"));
    }
    text
}

fn of(path: StepPath, body: Body) -> Emission {
    Emission { path, attempt: None, body }
}

fn completed(output: StepOutput, usage: Usage) -> Body {
    Body::StepFinished { status: StepStatus::Completed, output, error: None, usage, truncated_inputs: Vec::new() }
}

fn failed(error: Fault, output: StepOutput) -> Body {
    let (status, usage) = (StepStatus::Failed, Usage::default());
    Body::StepFinished { status, output, error: Some(error), usage, truncated_inputs: Vec::new() }
}
