//! What a run must give, by the text of the language: a walk over the document that does one thing after the other.
//!
//! It knows nothing of the machine. Where the text leaves the outcome to the order in which things end (which of two
//! failures came first, how many items had begun), it looks that up in what was recorded, and says when what was
//! recorded is not a possible order.

use crate::history::History;
use crate::plot::{Answer, Check, Try, World};
use cofferdam_core::event::{RunStatus, StepStatus};
use cofferdam_core::spec::workflow::{
    FailurePolicy, ForEach, ItemFailure, Items, LoopKind, OnLimit, OutputMode, Repeat, Scope, Step, Work,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a step gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Output {
    pub(crate) content: String,
    pub(crate) result: Value,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) status: StepStatus,
    pub(crate) output: Output,
    /// Another try may cure it.
    curable: bool,
    /// It was skipped because of a failure before it, and not by its condition.
    upstream: bool,
    policy: FailurePolicy,
}

impl End {
    pub(crate) fn new(status: StepStatus, output: Output) -> Self {
        Self { status, output, curable: false, upstream: false, policy: FailurePolicy::Cascade }
    }

    fn failed(output: Output, curable: bool) -> Self {
        Self { curable, ..Self::new(StepStatus::Failed, output) }
    }

    fn counts_as_failed(&self) -> bool {
        self.status == StepStatus::Failed && self.policy != FailurePolicy::Continue
    }

    /// What becomes of the steps that depend on it; none when they may run.
    fn dooms(&self) -> Option<StepStatus> {
        match (self.status, self.policy) {
            (StepStatus::Failed, FailurePolicy::Continue) | (StepStatus::Completed, _) => None,
            (StepStatus::Failed, FailurePolicy::SkipDependents) => Some(StepStatus::Skipped),
            (StepStatus::Skipped, _) => self.upstream.then_some(StepStatus::Skipped),
            (StepStatus::Failed | StepStatus::Cancelled, _) => Some(StepStatus::Cancelled),
        }
    }
}

/// The walk.
pub(crate) struct Reference<'w> {
    pub(crate) world: &'w World,
    pub(crate) history: &'w History,
    tries: HashMap<String, u32>,
    openings: HashMap<String, usize>,
    /// Loops that a try inside has ended.
    signalled: BTreeSet<String>,
    /// How each step ended, each time that it did.
    pub(crate) ends: BTreeMap<String, Vec<End>>,
    /// How each step ended in the last try of what is around it.
    pub(crate) last: BTreeMap<String, End>,
    pub(crate) tries_made: u64,
    /// Failures with the policy `abort`, as path and number of the end.
    pub(crate) aborts: Vec<(String, usize)>,
}

/// A dependency, and how it ended if it has.
type Before = (String, Option<End>);

/// Where a step is.
struct Place<'p> {
    path: &'p str,
    /// The loop around it that a try may end.
    rounds: Option<&'p str>,
}

/// What a scope gave; no status when it waits for an answer.
struct Gave {
    status: Option<StepStatus>,
    output: Output,
    curable: bool,
    steps: Vec<Option<End>>,
}

impl<'w> Reference<'w> {
    /// Walks the document; gives the run's status and output.
    pub(crate) fn walk(world: &'w World, history: &'w History, scope: &Scope) -> (Self, RunStatus, Value) {
        let mut walk = Self {
            world,
            history,
            tries: HashMap::new(),
            openings: HashMap::new(),
            signalled: BTreeSet::new(),
            ends: BTreeMap::new(),
            last: BTreeMap::new(),
            tries_made: 0,
            aborts: Vec::new(),
        };
        let gave = walk.scope(scope, "", None);
        let ends: Vec<&End> = gave.steps.iter().flatten().collect();
        let bad = ends.iter().any(|end| end.counts_as_failed() || end.status == StepStatus::Cancelled);
        let good = ends.iter().any(|end| end.status == StepStatus::Completed);
        let status = match (gave.status, bad, good) {
            (None, ..) => RunStatus::Waiting,
            (_, false, _) => RunStatus::Completed,
            (_, true, true) => RunStatus::Partial,
            (_, true, false) => RunStatus::Failed,
        };
        (walk, status, run_output(scope, &gave))
    }

    /// The steps of a scope, each after what it depends on. `rounds` is the loop around it that a try may end.
    fn scope(&mut self, scope: &Scope, prefix: &str, rounds: Option<&str>) -> Gave {
        let mut steps: Vec<Option<Option<End>>> = vec![None; scope.steps.len()];
        while let Some(index) = (0..steps.len()).find(|&index| {
            steps[index].is_none() && scope.steps[index].depends_on.iter().all(|&before| steps[before].is_some())
        }) {
            let step = &scope.steps[index];
            let before = step.depends_on.iter().map(|&before| (child(prefix, &scope.steps[before]), &steps[before]));
            let before: Vec<Before> = before.map(|(path, end)| (path, end.clone().flatten())).collect();
            let path = child(prefix, step);
            let policy = step.on_failure.unwrap_or(scope.defaults.on_step_failure);
            let place = Place { path: &path, rounds };
            steps[index] = Some(match self.stopped(step, scope, &path, prefix) {
                Some(end) => Some(end),
                None => self.step(step, &place, policy, (&before, self.check(step, scope, &path, prefix))),
            });
        }
        let steps: Vec<Option<End>> = steps.into_iter().map(Option::unwrap).collect();
        let failed: Vec<usize> =
            (0..steps.len()).filter(|&step| steps[step].as_ref().is_some_and(End::counts_as_failed)).collect();
        let first = failed.into_iter().min_by_key(|&step| self.ended_at(&child(prefix, &scope.steps[step])));
        let status = match first {
            _ if steps.iter().any(Option::is_none) => None,
            Some(_) => Some(StepStatus::Failed),
            None => Some(StepStatus::Completed),
        };
        let curable = first.is_some_and(|step| steps[step].as_ref().is_some_and(|end| end.curable));
        Gave { status, output: scope_output(scope, &steps), curable, steps }
    }

    /// One step with its policy; none when it waits, or waits for what waits.
    fn step(
        &mut self,
        step: &Step,
        at: &Place<'_>,
        policy: FailurePolicy,
        (before, check): (&[Before], Check),
    ) -> Option<End> {
        let Place { path, rounds } = *at;
        let dooms = before.iter().filter_map(|(path, end)| Some((self.ended_at(path), end.as_ref()?.dooms()?)));
        // What ends first decides; a step is not asked twice.
        let doom = dooms.min_by_key(|(at, _)| *at).map(|(_, doom)| doom);
        let mut end = match doom {
            Some(doom) => End { upstream: doom == StepStatus::Skipped, ..End::new(doom, Output::default()) },
            None if before.iter().any(|(_, end)| end.is_none()) => return None,
            None => match check {
                Check::Yes => self.work(step, path, rounds)?,
                Check::No | Check::Missing => End::new(StepStatus::Skipped, Output::default()),
                Check::Fails => End::failed(Output::default(), false),
            },
        };
        end.policy = policy;
        let number = self.note(path, end.clone());
        if end.status == StepStatus::Failed && policy == FailurePolicy::Abort {
            self.aborts.push((path.to_owned(), number));
        }
        Some(end)
    }

    /// The whole step, tried again as often as it may.
    fn work(&mut self, step: &Step, path: &str, rounds: Option<&str>) -> Option<End> {
        for left in (0..=step.retries).rev() {
            let end = match (&step.repeat, &step.work) {
                (Some(repeat), _) => self.repeated(step, path, &repeat.kind)?,
                (None, Work::Group(scope)) => self.group(scope, step, path, rounds)?,
                (None, Work::Include(include)) => self.group(&include.scope, step, path, rounds)?,
                (None, Work::Ask(_)) => return self.ask(path),
                (None, _) => self.attempt(path, rounds),
            };
            if left == 0 || end.status != StepStatus::Failed || !end.curable {
                return Some(end);
            }
        }
        unreachable!("the last try returns");
    }

    fn attempt(&mut self, path: &str, rounds: Option<&str>) -> End {
        let number = self.tries.entry(path.to_owned()).or_default();
        *number += 1;
        self.tries_made += 1;
        if let Some(rounds) = rounds.filter(|_| self.world.signals(path, *number)) {
            self.signalled.insert(rounds.to_owned());
        }
        match self.world.attempt(path, *number) {
            Try::Good => {
                let output = Output { content: World::content(path, *number), result: self.world.data(path, *number) };
                End::new(StepStatus::Completed, output)
            }
            fault => End::failed(Output::default(), fault == Try::Again),
        }
    }

    fn ask(&self, path: &str) -> Option<End> {
        let answer = format!("answer of {path}");
        match self.world.answer(path) {
            Answer::Never => None,
            Answer::TimedOut => Some(End::failed(Output::default(), false)),
            Answer::AtOnce | Answer::Later => {
                Some(End::new(StepStatus::Completed, Output { result: json!(answer), content: answer }))
            }
        }
    }

    fn group(&mut self, scope: &Scope, step: &Step, path: &str, rounds: Option<&str>) -> Option<End> {
        self.open(path);
        let gave = self.scope(scope, path, rounds);
        Some(finished(step, End { curable: gave.curable, ..End::new(gave.status?, gave.output) }))
    }

    fn repeated(&mut self, step: &Step, path: &str, kind: &LoopKind) -> Option<End> {
        let end = match kind {
            LoopKind::ForEach(each) => {
                let items = match &each.items {
                    Items::List(items) => Some((**items).clone()),
                    Items::Expr(_) => self.world.items(path),
                };
                match items {
                    Some(items) => self.items(step, path, each, &items)?,
                    None => return Some(End::failed(Output::default(), false)),
                }
            }
            LoopKind::Repeat(repeat) => self.rounds(step, path, repeat)?,
        };
        Some(if step.repeat.as_ref().is_some_and(|repeat| repeat.body.is_some()) { finished(step, end) } else { end })
    }

    /// One iteration: the body, or the step itself, which has one try.
    fn iteration(&mut self, step: &Step, path: &str, rounds: Option<&str>) -> Option<End> {
        let body = step.repeat.as_ref().and_then(|repeat| repeat.body.as_ref());
        let end = match body {
            Some(body) => {
                let gave = self.scope(body, path, rounds);
                End { curable: gave.curable, ..End::new(gave.status?, gave.output) }
            }
            None => self.attempt(path, rounds),
        };
        self.note(path, end.clone());
        Some(end)
    }

    fn items(&mut self, step: &Step, path: &str, each: &ForEach, items: &[Value]) -> Option<End> {
        let opening = self.open(path);
        let begun = self.history.iterations(path, opening);
        let (mut ends, mut waiting, mut failed_at) = (Vec::new(), 0, None);
        for index in 0..items.len() {
            let inner = format!("{path}[{index}]");
            let full = each.max_concurrency.is_some_and(|most| waiting >= most);
            if full || (index >= begun && failed_at.is_some()) {
                break;
            }
            let number = self.ends.get(&inner).map_or(0, Vec::len);
            let end = self.iteration(step, &inner, None);
            waiting += usize::from(end.is_none());
            let bad = end.as_ref().is_some_and(|end| end.status != StepStatus::Completed);
            if bad && each.on_item_failure == ItemFailure::Stop {
                let at = self.history.ended_at(&inner, number);
                failed_at = failed_at.into_iter().chain([at]).min();
            }
            ends.push(end);
        }
        if let Some(failed_at) = failed_at {
            let late = (0..begun).find(|&index| self.history.began_at(path, opening, index) > failed_at);
            assert_eq!(late, None, "an item of {path} began after one had failed");
        }
        if ends.iter().any(Option::is_none) {
            return None;
        }
        Some(items_end(path, each, items, &ends.into_iter().flatten().collect::<Vec<_>>()))
    }

    fn rounds(&mut self, step: &Step, path: &str, repeat: &Repeat) -> Option<End> {
        self.open(path);
        self.signalled.remove(path);
        let mut ends = Vec::new();
        let (status, curable) = self.all_rounds(step, path, repeat, &mut ends)?;
        Some(End { curable, ..End::new(status, rounds_output(repeat, &ends)) })
    }

    /// Goes round until something ends the loop; says how, and whether another try may cure it.
    fn all_rounds(
        &mut self,
        step: &Step,
        path: &str,
        repeat: &Repeat,
        ends: &mut Vec<End>,
    ) -> Option<(StepStatus, bool)> {
        let done = Some((StepStatus::Completed, false));
        for index in 0.. {
            match repeat.go_on.as_ref().map(|_| self.world.goes_on(path, index)) {
                None | Some(Check::Yes) => {}
                Some(Check::No | Check::Missing) => return done,
                Some(Check::Fails) => return Some((StepStatus::Failed, false)),
            }
            if index >= repeat.max_iterations {
                break;
            }
            let end = self.iteration(step, &format!("{path}[{index}]"), Some(path))?;
            ends.push(end.clone());
            if end.status != StepStatus::Completed {
                return Some((StepStatus::Failed, end.curable));
            }
            if self.signalled.contains(path) {
                return done;
            }
            match repeat.until.as_ref().map(|_| self.world.is_enough(path, index)) {
                Some(Check::Yes) => return done,
                Some(Check::Fails) => return Some((StepStatus::Failed, false)),
                _ => {}
            }
            if repeat.judge.is_some() && self.judge(&format!("{path}.judge[{index}]")) {
                return done;
            }
        }
        Some(match repeat.on_limit {
            OnLimit::Complete => (StepStatus::Completed, false),
            OnLimit::Fail => (StepStatus::Failed, true),
        })
    }

    /// Whether the judge says that it is enough; one that fails does not.
    fn judge(&mut self, path: &str) -> bool {
        let end = self.attempt(path, None);
        self.note(path, End { policy: FailurePolicy::Continue, ..end.clone() });
        end.status == StepStatus::Completed && end.output.result["done"] == json!(true)
    }

    /// A step that holds others begins, perhaps again: what its last try left does not count any more.
    fn open(&mut self, path: &str) -> usize {
        let inside = |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']));
        self.last.retain(|other, _| !inside(other));
        let opening = self.openings.entry(path.to_owned()).or_default();
        *opening += 1;
        *opening - 1
    }

    pub(crate) fn note(&mut self, path: &str, end: End) -> usize {
        self.last.insert(path.to_owned(), end.clone());
        let ends = self.ends.entry(path.to_owned()).or_default();
        ends.push(end);
        ends.len() - 1
    }

    /// Where the last end of a step stands among what was recorded.
    fn ended_at(&self, path: &str) -> usize {
        let number = self.ends.get(path).map_or(0, Vec::len);
        number.checked_sub(1).map_or(usize::MAX, |number| self.history.ended_at(path, number))
    }
}

pub(crate) fn child(prefix: &str, step: &Step) -> String {
    if prefix.is_empty() { step.id.to_string() } else { format!("{prefix}.{}", step.id) }
}

/// What leaves a step that holds others: changed when it completed.
fn finished(step: &Step, mut end: End) -> End {
    if end.status == StepStatus::Completed && !step.transform.output.is_empty() {
        end.output.content = end.output.content.to_uppercase();
    }
    end
}

/// The steps whose outputs are the scope's: completed ones on which nothing depends; a skipped one is replaced by what
/// it depends on.
fn output_steps(scope: &Scope, steps: &[Option<End>]) -> BTreeSet<usize> {
    let has_dependents = |index: usize| scope.steps.iter().any(|step| step.depends_on.contains(&index));
    let mut open: Vec<usize> = (0..steps.len()).filter(|&index| !has_dependents(index)).collect();
    let mut chosen = BTreeSet::new();
    let mut seen = BTreeSet::new();
    while let Some(index) = open.pop() {
        match steps[index].as_ref().map(|end| end.status) {
            Some(StepStatus::Completed) => drop(chosen.insert(index)),
            Some(StepStatus::Skipped) if seen.insert(index) => open.extend(&scope.steps[index].depends_on),
            _ => {}
        }
    }
    chosen
}

fn scope_output(scope: &Scope, steps: &[Option<End>]) -> Output {
    let chosen: Vec<usize> = output_steps(scope, steps).into_iter().collect();
    let output = |index: usize| steps[index].as_ref().map(|end| end.output.clone()).unwrap_or_default();
    match chosen.as_slice() {
        [] => Output::default(),
        [only] => output(*only),
        several => {
            let contents: Vec<String> = several.iter().map(|&index| output(index).content).collect();
            let contents: Vec<String> = contents.into_iter().filter(|content| !content.is_empty()).collect();
            let results = several.iter().map(|&index| (scope.steps[index].id.to_string(), output(index).result));
            Output { content: contents.join("\n\n"), result: Value::Object(results.collect()) }
        }
    }
}

/// Data where there is data, else text. A scope whose steps gave only text has none, though it has a map of them.
fn run_output(scope: &Scope, gave: &Gave) -> Value {
    let chosen: Vec<usize> = output_steps(scope, &gave.steps).into_iter().collect();
    let has_data = |index: usize, output: &Output| {
        let holds_others = scope.steps[index].inner().is_some();
        let silent = output.result.as_object().is_some_and(|map| !map.is_empty() && map.values().all(Value::is_null));
        !(output.result.is_null() || (holds_others && silent))
    };
    let given = |index: usize| {
        let output = gave.steps[index].clone().map(|end| end.output).unwrap_or_default();
        let data = has_data(index, &output);
        (scope.steps[index].id.to_string(), if data { output.result } else { json!(output.content) }, data)
    };
    let given: Vec<(String, Value, bool)> = chosen.into_iter().map(given).collect();
    match given.as_slice() {
        [(_, only, _)] => only.clone(),
        several if several.iter().any(|(_, _, data)| *data) => {
            Value::Object(given.into_iter().map(|(id, value, _)| (id, value)).collect::<Map<_, _>>())
        }
        _ => json!(gave.output.content),
    }
}

fn items_end(path: &str, each: &ForEach, items: &[Value], ends: &[End]) -> End {
    let mut contents = Vec::new();
    let mut entries = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let end = ends.get(index).cloned().unwrap_or(End::new(StepStatus::Cancelled, Output::default()));
        if end.status == StepStatus::Completed {
            contents.push(format!("### {path}[{index}]\n{}", end.output.content));
        }
        entries.push(json!({
            "id": format!("{path}[{index}]"), "index": index, "item": item, "status": end.status.as_str(),
            "content": end.output.content, "result": end.output.result,
        }));
    }
    let output = Output { content: contents.join("\n\n"), result: json!({ "iterations": entries }) };
    match ends.iter().find(|end| end.status != StepStatus::Completed) {
        Some(failed) if each.on_item_failure != ItemFailure::Ignore => End::failed(output, failed.curable),
        _ => End::new(StepStatus::Completed, output),
    }
}

/// What the last iteration gave that completed, else the last one; or the texts of all, with its data.
fn rounds_output(repeat: &Repeat, ends: &[End]) -> Output {
    let completed = ends.iter().rev().find(|end| end.status == StepStatus::Completed);
    let last = completed.or(ends.last()).map(|end| end.output.clone()).unwrap_or_default();
    if repeat.output_mode == OutputMode::Last {
        return last;
    }
    let contents = ends.iter().map(|end| end.output.content.as_str()).filter(|content| !content.is_empty());
    Output { content: contents.collect::<Vec<_>>().join("\n\n---\n\n"), ..last }
}
