//! Random runs: a workflow, and a world that says how each try, condition, check and question goes. The world is a
//! function of path and try alone, so that the order in which things end changes nothing that the text does not leave
//! open.

use crate::dice::Dice;
use cofferdam_core::expr::{Expr, Names};
use cofferdam_core::id::{Alias, StepId};
use cofferdam_core::spec::workflow::{
    AgentWork, AskWork, Condition, Defaults, FailurePolicy, ForEach, Include, ItemFailure, Items, Loop, LoopCheck,
    LoopKind, OnLimit, Options, OutputMode, PluginCondition, Repeat, Scheduler, Scope, Step, Wiring, Work, Workflow,
};
use cofferdam_core::template::Template;
use cofferdam_core::transform::{Transform, Transforms};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// One random run.
pub(crate) struct Plot {
    pub(crate) workflow: Arc<Workflow>,
    pub(crate) slots: usize,
    /// The run is cancelled after so many turns.
    pub(crate) cancel_after: Option<usize>,
    pub(crate) world: World,
    /// Orders what ends next.
    pub(crate) order: Dice,
}

/// How a try ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Try {
    Good,
    /// Fails in a way that another try may cure.
    Again,
    /// Fails for good.
    Broken,
}

/// What evaluating a check gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Yes,
    No,
    /// It reads a key that is missing.
    Missing,
    Fails,
}

/// What a plugin decides about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    Proceed,
    Skip,
    /// Ends the scope.
    Stop,
    Fails,
}

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    AtOnce,
    Later,
    Never,
    TimedOut,
}

pub(crate) struct World {
    seed: u64,
    /// How many out of a hundred tries fail.
    faults: usize,
    /// Steps that may end the loop around them, without the indices of iterations.
    signallers: BTreeSet<String>,
}

impl Plot {
    /// How many items of the loop at a path may be under way at once.
    pub(crate) fn bound_of(&self, path: &str) -> Option<usize> {
        let mut scope = &self.workflow.scope;
        let names = without_indices(path);
        let mut names = names.split('.').peekable();
        while let Some(name) = names.next() {
            let step = scope.steps.iter().find(|step| step.id.as_str() == name)?;
            match (names.peek(), step.repeat.as_ref().map(|repeat| &repeat.kind)) {
                (None, Some(LoopKind::ForEach(each))) => return each.max_concurrency,
                (None, Some(LoopKind::Repeat(_))) => return Some(1),
                _ => scope = step.inner()?,
            }
        }
        None
    }
}

impl World {
    fn dice(&self, what: &str, path: &str, number: u32) -> Dice {
        let mut hash = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in what.bytes().chain([0]).chain(path.bytes()).chain(number.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Dice::new(hash)
    }

    pub(crate) fn attempt(&self, path: &str, attempt: u32) -> Try {
        let mut dice = self.dice("try", path, attempt);
        match dice.percent(self.faults) {
            false => Try::Good,
            true if dice.percent(60) => Try::Again,
            true => Try::Broken,
        }
    }

    /// The data that a good try gives; null for most.
    pub(crate) fn data(&self, path: &str, attempt: u32) -> Value {
        let mut dice = self.dice("data", path, attempt);
        if is_judge(path) {
            return json!({ "done": dice.percent(30) });
        }
        if dice.percent(30) { json!({ "of": path, "try": attempt }) } else { Value::Null }
    }

    pub(crate) fn content(path: &str, attempt: u32) -> String {
        format!("{path} at try {attempt}")
    }

    /// Whether the try sets `loop_continue` to false.
    pub(crate) fn signals(&self, path: &str, attempt: u32) -> bool {
        self.signallers.contains(&without_indices(path)) && self.dice("signal", path, attempt).percent(15)
    }

    pub(crate) fn condition(&self, path: &str) -> Check {
        match self.dice("condition", path, 0).below(10) {
            0..=5 => Check::Yes,
            6 | 7 => Check::No,
            8 => Check::Missing,
            _ => Check::Fails,
        }
    }

    /// What a plugin without a label decides.
    pub(crate) fn ruling(&self, path: &str) -> Ruling {
        match self.dice("ruling", path, 0).below(10) {
            0..=4 => Ruling::Proceed,
            5 | 6 => Ruling::Skip,
            7 | 8 => Ruling::Stop,
            _ => Ruling::Fails,
        }
    }

    /// Which of so many steps a plugin chooses, by the path of the first of them; an error when it cannot.
    pub(crate) fn choice(&self, first: &str, count: usize) -> Result<Option<usize>, ()> {
        let mut dice = self.dice("choice", first, 0);
        match dice.below(10) {
            0 => Err(()),
            1 | 2 => Ok(None),
            _ => Ok(Some(dice.below(count))),
        }
    }

    pub(crate) fn goes_on(&self, path: &str, index: u32) -> Check {
        match self.dice("while", path, index).below(20) {
            0 => Check::Fails,
            1..=4 => Check::No,
            _ => Check::Yes,
        }
    }

    pub(crate) fn is_enough(&self, path: &str, index: u32) -> Check {
        match self.dice("until", path, index).below(20) {
            0 => Check::Fails,
            1..=5 => Check::Yes,
            _ => Check::No,
        }
    }

    /// The items of a loop over an expression; none when it cannot be evaluated.
    pub(crate) fn items(&self, path: &str) -> Option<Vec<Value>> {
        let mut dice = self.dice("items", path, 0);
        (!dice.percent(5)).then(|| (0..dice.below(5)).map(|item| json!({ "n": item })).collect())
    }

    pub(crate) fn answer(&self, path: &str) -> Answer {
        *self.dice("answer", path, 0).pick(&[
            Answer::AtOnce,
            Answer::AtOnce,
            Answer::Later,
            Answer::Later,
            Answer::TimedOut,
            Answer::Never,
        ])
    }
}

pub(crate) fn is_judge(path: &str) -> bool {
    path.rsplit_once('[').is_some_and(|(rest, _)| rest.ends_with(".judge"))
}

/// `a[2].b` as `a.b`.
fn without_indices(path: &str) -> String {
    let mut inside = false;
    let kept = |character: &char| {
        inside = (inside || *character == '[') && *character != ']';
        !inside && *character != ']'
    };
    path.chars().filter(kept).collect()
}

/// The run of a seed; `steps` bounds its size.
pub(crate) fn plot(seed: u64, steps: usize) -> Plot {
    let mut dice = Dice::new(seed);
    let faults = *dice.pick(&[0, 10, 25, 50]);
    let mut maker =
        Maker { dice: Dice::new(dice.next()), left: dice.between(1, steps), names: 0, signallers: BTreeSet::new() };
    let scope = maker.scope(0, "", None);
    let schedulers = [Scheduler::DependencyFirst, Scheduler::RoundRobin, Scheduler::LeastBusy];
    let options = Options { scheduler: *dice.pick(&schedulers), ..Options::default() };
    let workflow = Workflow { scope: Arc::new(scope), options, ..Workflow::of_steps("plot", Vec::new()) };
    Plot {
        workflow: Arc::new(workflow),
        slots: dice.between(1, 6),
        cancel_after: dice.percent(20).then(|| dice.below(40)),
        world: World { seed: dice.next(), faults, signallers: maker.signallers },
        order: dice,
    }
}

struct Maker {
    dice: Dice,
    /// Steps that may still be made.
    left: usize,
    names: usize,
    signallers: BTreeSet<String>,
}

/// The innermost loop around a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    Items,
    Rounds,
}

impl Maker {
    fn scope(&mut self, depth: usize, prefix: &str, around: Option<Around>) -> Scope {
        let most = if depth == 0 { self.left } else { self.left.clamp(1, 5) };
        let count = if depth == 0 { self.dice.between(1, most.max(1)) } else { self.dice.between(1, most) };
        let wiring = *self.dice.pick(&[Wiring::Dag, Wiring::Dag, Wiring::Sequential, Wiring::Parallel]);
        let policies =
            [FailurePolicy::Cascade, FailurePolicy::Cascade, FailurePolicy::SkipDependents, FailurePolicy::Continue];
        let defaults = Defaults { on_step_failure: *self.dice.pick(&policies), ..Defaults::default() };
        let mut order: Vec<usize> = (0..count).collect();
        if wiring == Wiring::Dag && self.dice.percent(30) {
            order.reverse();
        }
        self.left = self.left.saturating_sub(count);
        let mut steps = Vec::with_capacity(count);
        for index in 0..count {
            let mut step = self.step(depth, prefix, around);
            step.depends_on = match wiring {
                Wiring::Parallel => Vec::new(),
                Wiring::Sequential => index.checked_sub(1).into_iter().collect(),
                // In the reversed order steps depend on later ones.
                Wiring::Dag => {
                    let before: Vec<usize> = (0..count).filter(|&other| order[other] < order[index]).collect();
                    let count = if before.is_empty() { 0 } else { self.dice.below(4) };
                    (0..count).map(|_| *self.dice.pick(&before)).collect()
                }
            };
            step.depends_on.sort_unstable();
            step.depends_on.dedup();
            steps.push(step);
        }
        Scope { steps, wiring, defaults }
    }

    fn step(&mut self, depth: usize, prefix: &str, around: Option<Around>) -> Step {
        self.names += 1;
        let name = format!("s{}", self.names);
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let room = self.left > 0 && depth < 3;
        let mut step = match self.dice.below(100) {
            0..=5 => self.asking(),
            6..=15 if room => {
                let scope = Arc::new(self.scope(depth + 1, &path, around));
                Step { transform: self.shouting(), ..named(Work::Group(scope)) }
            }
            16..=21 if room => self.including(depth, &path, around),
            22..=40 => self.looping(depth, &path, room),
            _ => {
                if around == Some(Around::Rounds) {
                    self.signallers.insert(path);
                }
                named(Work::Agent(AgentWork::new("work")))
            }
        };
        step.id = StepId::parse(&name).unwrap();
        step.condition = self.condition(&name);
        step.retries = if matches!(step.work, Work::Ask(_)) { 0 } else { *self.dice.pick(&[0, 0, 1, 2]) };
        let policies =
            [FailurePolicy::Cascade, FailurePolicy::SkipDependents, FailurePolicy::Continue, FailurePolicy::Continue];
        step.on_failure = match self.dice.below(100) {
            0..=2 => Some(FailurePolicy::Abort),
            3..=40 => Some(*self.dice.pick(&policies)),
            _ => None,
        };
        step
    }

    fn condition(&mut self, name: &str) -> Option<Condition> {
        let by_plugin = |options: &str, label: Option<&str>| {
            Condition::Plugin(PluginCondition {
                plugin: Alias::parse("world").unwrap(),
                options: [("of".to_owned(), json!(options))].into_iter().collect(),
                label: label.map(str::to_owned),
            })
        };
        match self.dice.below(100) {
            0..=14 => Some(Condition::Native("world".into())),
            15..=19 => Some(by_plugin("one", None)),
            20..=27 => Some(by_plugin("one", Some(name))),
            28..=31 => Some(by_plugin("two", Some(name))),
            _ => None,
        }
    }

    fn asking(&mut self) -> Step {
        let prompt = Template::constant(json!("which?"));
        let work = AskWork { prompt, choices: Vec::new(), schema: None, default: None, timeout: None };
        named(Work::Ask(Box::new(work)))
    }

    fn including(&mut self, depth: usize, path: &str, around: Option<Around>) -> Step {
        let include = Include {
            name: "other".into(),
            path: "other.yaml".into(),
            scope: Arc::new(self.scope(depth + 1, path, around)),
            inputs: Arc::default(),
            with: Template::constant(json!({})),
            output: None,
            timeout: None,
        };
        named(Work::Include(Box::new(include)))
    }

    /// Upper case on the way out, for some steps that hold others.
    fn shouting(&mut self) -> Transforms {
        let output = if self.dice.percent(20) { vec![Transform::Upper] } else { Vec::new() };
        Transforms { output, ..Transforms::default() }
    }

    fn looping(&mut self, depth: usize, path: &str, room: bool) -> Step {
        let items = self.dice.percent(50);
        let around = if items { Around::Items } else { Around::Rounds };
        let kind = if items { LoopKind::ForEach(self.each()) } else { LoopKind::Repeat(Box::new(self.rounds())) };
        if room && self.dice.percent(70) {
            let body = Arc::new(self.scope(depth + 1, path, Some(around)));
            let repeat = Some(Loop { kind, body: Some(body) });
            return Step { repeat, transform: self.shouting(), ..named(Work::Body) };
        }
        if around == Around::Rounds {
            self.signallers.insert(path.into());
        }
        Step { repeat: Some(Loop { kind, body: None }), ..named(Work::Agent(AgentWork::new("work"))) }
    }

    fn each(&mut self) -> ForEach {
        let items = if self.dice.percent(50) {
            Items::List(Arc::new((0..self.dice.between(1, 4)).map(|item| json!(item)).collect()))
        } else {
            Items::Expr(expr("vars.items"))
        };
        ForEach {
            items,
            max_concurrency: *self.dice.pick(&[None, None, Some(1), Some(2)]),
            on_item_failure: *self.dice.pick(&[ItemFailure::Stop, ItemFailure::Continue, ItemFailure::Ignore]),
        }
    }

    fn rounds(&mut self) -> Repeat {
        let judge = Arc::new(Step::new(StepId::parse("judge").unwrap(), Work::Agent(AgentWork::new("judge"))));
        Repeat {
            max_iterations: u32::try_from(self.dice.between(1, 4)).unwrap(),
            go_on: self.dice.percent(40).then(|| LoopCheck::Native("world".into())),
            until: self.dice.percent(40).then(|| expr("vars.enough")),
            judge: self.dice.percent(30).then_some(judge),
            on_limit: *self.dice.pick(&[OnLimit::Complete, OnLimit::Fail]),
            delay: Duration::from_secs(*self.dice.pick(&[0, 0, 5])),
            output_mode: *self.dice.pick(&[OutputMode::Last, OutputMode::Cumulative]),
        }
    }
}

fn named(work: Work) -> Step {
    Step::new(StepId::parse("later").unwrap(), work)
}

fn expr(text: &str) -> Expr {
    Expr::parse(text, &Names { steps: &[], roots: &["vars"] }).unwrap()
}
