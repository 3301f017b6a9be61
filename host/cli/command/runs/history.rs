//! What happened in a run, folded from its records into what a person asks: which steps, how long, at what cost.
//!
//! It must not need the document: runs are shown wherever their journal is.

use cofferdam::core::budget::Money;
use cofferdam::core::event::{AnsweredBy, Body, Changes, PluginPin, RunEvent, RunStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{RunId, StepPath};
use cofferdam::core::mail;
use cofferdam::core::message::Usage;
use cofferdam::core::run::Waits;
use cofferdam::core::time::Timestamp;
use cofferdam::core::value::to_text;
use cofferdam::sink::{clean, iterations, loop_end};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

/// Most characters of a question or an answer.
const ANSWER_CHARS: usize = 200;

/// A run as it can be told.
pub(super) struct History {
    pub(super) run: RunId,
    /// Where it has its files, if it has any.
    pub(super) directory: PathBuf,
    pub(super) workflow: String,
    pub(super) started: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    /// How it ended; none while it has not, also when it goes on after an end.
    pub(super) status: Option<RunStatus>,
    /// Nobody works on it, though it has not ended.
    pub(super) interrupted: bool,
    /// Whether it is a copy that is not whole.
    pub(super) copying: bool,
    /// The time in which no process worked on it, before it was resumed.
    pub(super) rested: Duration,
    /// The same, also where what is recorded before was copied from another run.
    gaps: Duration,
    pub(super) usage: Usage,
    /// What that cost; none when it is not known.
    pub(super) cost: Option<Money>,
    pub(super) output: Value,
    /// What the coordinator says that it came to.
    pub(super) summary: Option<String>,
    /// What it told people meanwhile.
    pub(super) narrated: Vec<String>,
    coordinator_failed: bool,
    /// Messages between agents: how many were written, and how many of them reached nobody.
    pub(super) messages: (usize, usize),
    pub(super) error: Option<Fault>,
    pub(super) plugins: Vec<PluginPin>,
    pub(super) warnings: Vec<String>,
    /// Variables as they are at the end.
    pub(super) variables: BTreeMap<String, Value>,
    /// The shared memory, by `namespace.key`.
    pub(super) memory: BTreeMap<String, Value>,
    /// What it waits with.
    pub(super) waits: Waits,
    /// Steps in the order in which they are first heard of.
    pub(super) steps: Vec<Step>,
    by_path: HashMap<String, usize>,
    /// The sub-agents of a step, by its path.
    delegates: HashMap<StepPath, Vec<usize>>,
    /// The order of the document's own steps.
    plan: Vec<String>,
}

/// A step as it can be told.
pub(super) struct Step {
    pub(super) path: String,
    pub(super) status: &'static str,
    pub(super) what: String,
    pub(super) attempts: u32,
    /// When it began, and the time that had rested by then.
    started: Option<(Timestamp, Duration)>,
    /// How long it took, without the time in which no process worked on the run.
    pub(super) took: Option<Duration>,
    pub(super) usage: Usage,
    /// The try that ended last, and what was spent before it.
    counted: Option<(u32, Usage)>,
    pub(super) detail: String,
    /// What its last try changed in a directory of its own.
    pub(super) changes: Option<Changes>,
    pub(super) error: Option<Fault>,
}

impl History {
    pub(super) fn new(run: RunId) -> Self {
        Self {
            run,
            directory: PathBuf::new(),
            workflow: String::new(),
            started: None,
            last: None,
            status: None,
            interrupted: false,
            copying: false,
            rested: Duration::ZERO,
            gaps: Duration::ZERO,
            usage: Usage::default(),
            cost: None,
            output: Value::Null,
            summary: None,
            narrated: Vec::new(),
            coordinator_failed: false,
            messages: (0, 0),
            error: None,
            plugins: Vec::new(),
            warnings: Vec::new(),
            variables: BTreeMap::new(),
            memory: BTreeMap::new(),
            waits: Waits::default(),
            steps: Vec::new(),
            by_path: HashMap::new(),
            delegates: HashMap::new(),
            plan: Vec::new(),
        }
    }

    /// The steps: the document's in the order of its plan, those of a loop below it, as they were first heard of.
    pub(super) fn ordered(&self) -> Vec<&Step> {
        let mut ranks: HashMap<&str, usize> = HashMap::new();
        for name in self.plan.iter().map(String::as_str).chain(self.steps.iter().flat_map(|step| parts(&step.path))) {
            let next = ranks.len();
            ranks.entry(name).or_insert(next);
        }
        // `scan[10]` comes after `scan[9]`, and a step after the one that it needs.
        let rank = |part: &str| part.parse().unwrap_or_else(|_| ranks.get(part).copied().unwrap_or_default());
        let known: HashSet<&str> = self.steps.iter().map(|step| step.path.as_str()).collect();
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by_cached_key(|step| match judged(&step.path, &known) {
            // A judge comes after all that it judges.
            Some(iteration) => parts(&iteration).map(rank).chain([usize::MAX]).collect::<Vec<usize>>(),
            None => parts(&step.path).map(rank).collect(),
        });
        steps
    }

    /// How long processes worked on it.
    pub(super) fn worked(&self) -> Duration {
        let all = self.started.zip(self.last).map(|(started, last)| last.since(started));
        all.unwrap_or_default().saturating_sub(self.rested)
    }

    pub(super) fn add(&mut self, event: &RunEvent) {
        let before = self.last.replace(event.at);
        self.waits.note(event);
        match &event.body {
            Body::RunResumed { .. } => {
                self.status = None;
                let before = before.unwrap_or(event.at);
                self.gaps += event.at.since(before);
                // What a branch has from another run was before its own time.
                self.rested += event.at.since(self.started.map_or(before, |started| started.max(before)));
            }
            Body::RunStarted { workflow, plugins, plan, .. } => {
                self.started = Some(event.at);
                self.workflow.clone_from(workflow);
                self.plugins.clone_from(plugins);
                self.plan.clone_from(plan);
            }
            Body::RunFinished { status, output, usage, cost, error, .. } => {
                self.status = Some(*status);
                self.output.clone_from(output);
                self.usage = *usage;
                self.cost = *cost;
                self.error.clone_from(error);
                self.end_coordinator(event);
            }
            Body::Narrated { text, .. } => self.narrated.push(text.to_string()),
            Body::BudgetWarning(mark) | Body::BudgetExhausted(mark) => self.warnings.push(format!("budget: {mark}")),
            Body::Summarized { summary } => self.summary = Some(summary.to_string()),
            Body::MessagePosted(posted) => {
                self.messages.0 += 1;
                if posted.in_reply_to.is_some() {
                    self.leave_delegates(event, "cancelled");
                }
                if event.path.is_delegate() {
                    let failed = posted.failed.then(|| Fault::step("agent_failed", &*posted.text));
                    self.end_delegate(&event.path, failed, event);
                }
            }
            Body::MessageDropped(_) => self.messages.1 += 1,
            Body::Warning { code, message } if event.path.is_root() => {
                self.coordinator_failed |= ["coordinator_failed", "coordinator_overdue"].contains(&code.as_str());
                self.warnings.push(message.clone());
            }
            Body::Warning { message, .. } => self.warnings.push(format!("{}: {message}", event.path)),
            Body::VariableSet { key, value } => drop(self.variables.insert(key.clone(), value.clone())),
            Body::MemoryWritten { namespace, key, value, .. } => {
                self.memory.insert(format!("{namespace}.{key}"), (**value).clone());
            }
            Body::MemoryDeleted { namespace, key, .. } => drop(self.memory.remove(&format!("{namespace}.{key}"))),
            Body::MemorySeen(seen) => seen.entries.iter().for_each(|entry| {
                let name = format!("{}.{}", entry.namespace, entry.key);
                match &entry.value {
                    Some(value) => drop(self.memory.insert(name, (**value).clone())),
                    None => drop(self.memory.remove(&name)),
                }
            }),
            Body::FilesChanged(changes) => self.step(event).changes = Some(changes.clone()),
            _ if event.path.is_coordinator() => self.coordinate(event),
            Body::TurnFinished { usage, .. } | Body::TurnFailed { usage, .. }
                if !event.path.is_delegate() && !event.path.is_root() =>
            {
                self.step(event).count_behind(*usage);
            }
            _ if event.path.is_delegate() => self.delegate(event),
            body if !event.path.is_root() => {
                if matches!(body, Body::StepFinished { .. } | Body::StepCancelled { .. } | Body::StepRetrying { .. }) {
                    self.leave_delegates(event, "cancelled");
                }
                self.add_to_step(event);
            }
            _ => {}
        }
    }

    /// The coordinator stands among the steps: it is asked, and costs.
    fn coordinate(&mut self, event: &RunEvent) {
        let (at, rested) = (event.at, self.gaps);
        let step = self.step(event);
        match &event.body {
            Body::TurnStarted { .. } => {
                step.status = "running";
                step.what = "coordinates".to_owned();
                step.begin(at, rested);
            }
            Body::TurnFinished { usage, .. } | Body::TurnFailed { usage, .. } => step.usage += *usage,
            _ => {}
        }
    }

    /// A sub-agent stands among the steps, below its own: it is asked, and costs.
    fn delegate(&mut self, event: &RunEvent) {
        let (at, rested) = (event.at, self.gaps);
        let step = self.step(event);
        match &event.body {
            Body::TurnStarted { .. } => {
                step.status = "running";
                step.what = "sub-agent".to_owned();
                step.begin(at, rested);
            }
            Body::TurnFinished { usage, .. } => step.usage += *usage,
            Body::ToolCallFinished { .. } => self.end_call(event),
            _ => {}
        }
    }

    /// The call is over in which a sub-agent worked, if one did; one in the background works on.
    fn end_call(&mut self, event: &RunEvent) {
        let Body::ToolCallFinished { call_id, error, .. } = &event.body else { return };
        if !mail::sends_off(&event.body) {
            self.end_delegate(&event.path.delegate(call_id), error.clone(), event);
        }
    }

    fn end_delegate(&mut self, path: &StepPath, failed: Option<Fault>, event: &RunEvent) {
        let rested = self.gaps;
        let Some(step) = self.by_path.get(path.as_str()).and_then(|&index| self.steps.get_mut(index)) else { return };
        step.status = if failed.is_some() { "failed" } else { "completed" };
        step.error = failed;
        step.end(event.at, rested);
    }

    fn end_coordinator(&mut self, event: &RunEvent) {
        let rested = self.gaps;
        let path = StepPath::coordinator();
        let Some(step) = self.by_path.get(path.as_str()).and_then(|&index| self.steps.get_mut(index)) else { return };
        step.status = match self.status {
            _ if self.coordinator_failed => "failed",
            Some(RunStatus::Cancelled) => "cancelled",
            Some(RunStatus::Waiting) => "waiting",
            _ => "completed",
        };
        step.end(event.at, rested);
    }

    /// Sub-agents whose call has no end stopped with their step, or wait with it.
    fn leave_delegates(&mut self, event: &RunEvent, status: &'static str) {
        let rested = self.gaps;
        let Self { delegates, steps, .. } = self;
        for index in delegates.get(&event.path).into_iter().flatten() {
            if let Some(step) = steps.get_mut(*index).filter(|step| step.status == "running") {
                step.status = status;
                step.end(event.at, rested);
            }
        }
    }

    fn add_to_step(&mut self, event: &RunEvent) {
        let (at, rested) = (event.at, self.gaps);
        match &event.body {
            Body::StepReady {} => drop(self.step(event)),
            Body::ToolCallFinished { .. } => self.end_call(event),
            Body::StepStarted { agent, tool, items, .. } => {
                let step = self.step(event);
                step.run(at, rested);
                step.attempts = step.attempts.max(event.attempt.unwrap_or(1));
                step.changes = None;
                step.what = match (agent, tool, items) {
                    (_, _, Some(items)) => {
                        format!("{} {}", items.len(), if items.len() == 1 { "item" } else { "items" })
                    }
                    (Some(agent), _, _) => format!("agent {agent}"),
                    (_, Some(tool), _) => format!("tool {tool}"),
                    // A group, a loop, an included document has no tries of its own.
                    (None, None, None) => event.attempt.map_or("", |_| "default agent").to_owned(),
                };
            }
            Body::StepWaiting(_) => {
                self.step(event).status = "waiting";
                self.leave_delegates(event, "waiting");
            }
            Body::StepRetrying { error, usage, .. } => {
                let step = self.step(event);
                step.status = "retrying";
                step.usage += *usage;
                step.error = Some(error.clone());
            }
            Body::StepFinished { status, error, usage, .. } => {
                let step = self.step(event);
                step.status = status.as_str();
                step.count(event.attempt, *usage);
                step.error.clone_from(error);
                step.end(at, rested);
            }
            Body::StepSkipped { detail, .. } => {
                let step = self.step(event);
                step.status = "skipped";
                step.detail.clone_from(detail);
            }
            Body::StepCancelled { detail } => {
                let step = self.step(event);
                step.status = "cancelled";
                step.detail.clone_from(detail);
            }
            Body::LoopFinished { iterations: count, because } => {
                self.step(event).detail = format!("{}, {}", iterations(u64::from(*count)), loop_end(*because));
            }
            Body::QuestionAsked { question, deferred, .. } => {
                let step = self.step(event);
                step.status = if *deferred { "waiting" } else { "asking" };
                step.begin(at, rested);
                step.what = clean(question, ANSWER_CHARS);
            }
            Body::QuestionAnswered { answer, by } => {
                let how = match by {
                    AnsweredBy::Person => "",
                    AnsweredBy::Given => ", given with the run",
                    AnsweredBy::Default => ", the default",
                };
                self.step(event).detail = format!("answer: {}{how}", clean(&to_text(answer), ANSWER_CHARS));
            }
            Body::LoopIterationStarted { .. } => self.step(event).run(at, rested),
            Body::LoopIterationFinished { status, .. } => {
                let step = self.step(event);
                step.status = status.as_str();
                step.end(at, rested);
            }
            _ => {}
        }
    }

    fn step(&mut self, event: &RunEvent) -> &mut Step {
        let path = event.path.as_str();
        let index = match self.by_path.get(path) {
            Some(index) => *index,
            None => {
                self.steps.push(Step::new(path));
                let index = self.steps.len() - 1;
                self.by_path.insert(path.to_owned(), index);
                if event.path.is_delegate() {
                    self.delegates.entry(event.path.step()).or_default().push(index);
                }
                index
            }
        };
        self.steps.get_mut(index).expect("every known path has its step")
    }
}

impl Step {
    fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            status: "pending",
            what: String::new(),
            attempts: 0,
            started: None,
            took: None,
            usage: Usage::default(),
            counted: None,
            detail: String::new(),
            changes: None,
            error: None,
        }
    }

    fn run(&mut self, at: Timestamp, rested: Duration) {
        self.status = "running";
        self.begin(at, rested);
    }

    /// Counts what was spent behind the end of a step, whose agent has read a message; what came before is told by the end.
    fn count_behind(&mut self, usage: Usage) {
        if self.status == "completed" {
            self.usage += usage;
        }
    }

    /// Counts what a try spent. One that is taken up by another process tells all of it once more when it ends again.
    fn count(&mut self, attempt: Option<u32>, usage: Usage) {
        match self.counted {
            Some((counted, before)) if Some(counted) == attempt => self.usage = before,
            _ => self.counted = attempt.map(|attempt| (attempt, self.usage)),
        }
        self.usage += usage;
    }

    fn begin(&mut self, at: Timestamp, rested: Duration) {
        self.started.get_or_insert((at, rested));
    }

    fn end(&mut self, at: Timestamp, rested: Duration) {
        self.took = self.started.map(|(began, before)| at.since(began).saturating_sub(rested.saturating_sub(before)));
    }
}

/// The iteration that a judge judges: `refine[1]` for `refine.judge[1]`, unless there is a loop of that name.
pub(super) fn judged(path: &str, known: &HashSet<&str>) -> Option<String> {
    let (judge, index) = path.strip_suffix(']')?.rsplit_once('[')?;
    let iteration = format!("{}[{index}]", judge.strip_suffix(".judge")?);
    (!known.contains(judge) && known.contains(iteration.as_str())).then_some(iteration)
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']', '@']).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests;
