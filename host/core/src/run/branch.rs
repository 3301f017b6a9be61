//! A branch of a recorded run: the events of a new run that has done all that need not be done again.
//!
//! It is a copy of what is recorded, without the steps that run again, and is taken up as every recorded run is. Nothing
//! here is started or stored, and nothing tells whether a result would have been the same: what cannot be shown to be
//! unaffected runs again.

mod affected;
mod changes;
mod copy;
mod plugins;
mod readers;

pub use readers::Opaque;

use super::machine::{Machine, Settings};
use super::node::{Kind, NodeId, NodeState, ScopeId};
use crate::event::{Body, BranchedFrom, ContextFile, RunEvent, Sensitive, StepStatus};
use crate::fault::Fault;
use crate::id::{RunId, StepPath};
use crate::plan::Plan;
use crate::spec::suggest::did_you_mean;
use crate::spec::workflow::Workflow;
use crate::time::Timestamp;
use crate::value::Map;
use affected::Affected;
use changes::Changes;
use readers::Names;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A run that a branch is made of.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'r> {
    /// Its document.
    pub workflow: &'r Arc<Workflow>,
    /// Its events, from the first.
    pub events: &'r [Arc<RunEvent>],
}

/// What is different in a branch.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Steps that run again.
    pub from: Vec<StepPath>,
    /// The inputs, defaults filled in.
    pub inputs: Map,
    /// The document; that of the run, or what became of it.
    pub workflow: Arc<Workflow>,
    /// What does not say what it reads.
    pub opaque: Opaque,
    /// The files that go with prompts, as they are now.
    pub context_files: Vec<ContextFile>,
}

/// The run that a branch becomes.
#[derive(Clone, Debug)]
pub struct Branched {
    /// Its events, up to where it is taken up.
    pub events: Vec<RunEvent>,
    /// Steps that keep what they gave, without those inside of them.
    pub reused: Vec<StepPath>,
    /// Steps that had begun and run again, without those inside of them.
    pub again: Vec<StepPath>,
}

/// Makes the events of a branch, which begins as `run` at `now`.
///
/// # Errors
/// `unknown_step` when a step is not in the record, `no_difference` when nothing would be different, `no_run` when
/// the events are not those of a run.
pub fn branch(recorded: Recorded<'_>, wish: &Wish, (run, now): (&RunId, Timestamp)) -> Result<Branched, Fault> {
    let Some(Body::RunStarted { inputs: before, context_files, .. }) = recorded.events.first().map(|first| &first.body)
    else {
        return Err(Fault::user("no_run", "the record does not begin as a run"));
    };
    let mut machine = Machine::new(Arc::clone(recorded.workflow), &Settings { max_concurrency: None });
    recorded.events.iter().for_each(|event| machine.fold(event));
    let same = recorded.workflow.hash == wish.workflow.hash;
    let changes = if same { Changes::default() } else { changes::between(recorded.workflow, &wish.workflow) };
    let mut names = changed_names(recorded.workflow, before, wish);
    names.inputs.extend(changes.inputs.iter().cloned());
    names.vars.extend(changes.inputs.iter().cloned());
    let mut affected = Affected::new(&machine);
    for path in &wish.from {
        if !affected.mark_path(path) {
            return Err(unknown(&machine, path));
        }
    }
    affected.mark_places(&changes.steps, |_| true);
    affected.reopen_places(&changes.holders);
    let stale = stale_readers(context_files, wish);
    affected.mark_places(&stale, |_| true);
    let output = readers::output_reads(&wish.workflow, &names);
    spread(&mut affected, recorded.events, wish, &names);
    let again = affected.again();
    if same && stale.is_empty() && again.is_empty() && !output {
        let fault = Fault::user("no_difference", "nothing would be different from the recorded run");
        return Err(fault.with_hint("name a step that runs again, or an input that a step reads with another value"));
    }
    let kept = copy::positions(recorded.events, &affected);
    let (reused, mut rest) =
        (machine.standing(&affected, Standing::Reused), machine.standing(&affected, Standing::Again));
    rest.retain(|path| is_step(&wish.workflow, path));
    let copied = kept.iter().filter_map(|&position| recorded.events.get(position)).map(|event| (**event).clone());
    let events = beginning(recorded.events, wish, (again, now)).into_iter().chain(copied).zip(1_u64..);
    let events = events.map(|(event, seq)| RunEvent { seq, sub: None, run_id: run.clone(), ..event }).collect();
    Ok(Branched { events, reused, again: rest })
}

/// Whether the document still has the step of a path.
fn is_step(workflow: &Workflow, path: &StepPath) -> bool {
    let place = path.place();
    let mut scope = Some(&workflow.scope);
    for id in place.split('.') {
        let Some(step) = scope.and_then(|scope| scope.steps.get(scope.position(id)?)) else {
            // The judge of a loop is no step of its scope.
            return id == "judge";
        };
        scope = step.inner();
    }
    true
}

/// The places of steps that read files which are not what they were.
fn stale_readers(before: &[ContextFile], wish: &Wish) -> BTreeSet<String> {
    let mut files = wish.workflow.context_files();
    let stale = changed_files(before, &wish.context_files);
    stale.filter_map(|file| files.remove(&file.path)).flatten().collect()
}

/// The files that are there as they were before, with another content.
pub fn changed_files<'f>(before: &'f [ContextFile], now: &'f [ContextFile]) -> impl Iterator<Item = &'f ContextFile> {
    let is_other = |file: &&ContextFile| before.iter().any(|old| old.path == file.path && old.sha256 != file.sha256);
    now.iter().filter(is_other)
}

/// The names whose values are others at the beginning.
fn changed_names(old: &Workflow, before: &Map, wish: &Wish) -> Names {
    let different = |one: &Map, other: &Map| -> BTreeSet<String> {
        one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
    };
    Names {
        inputs: different(before, &wish.inputs),
        vars: different(&old.first_variables(before), &wish.workflow.first_variables(&wish.inputs)),
        memory: BTreeSet::new(),
    }
}

/// Finds all that runs again: who reads what is different, who depends on it, who reads the variables that these set.
fn spread(affected: &mut Affected<'_>, events: &[Arc<RunEvent>], wish: &Wish, names: &Names) {
    affected.mark_places(&readers::readers(&wish.workflow, &wish.opaque, names), |_| true);
    let last: BTreeMap<&StepPath, usize> =
        events.iter().enumerate().map(|(position, event)| (&event.path, position)).collect();
    let mut begun: BTreeMap<&StepPath, usize> = BTreeMap::new();
    for (position, event) in events.iter().enumerate() {
        begun.entry(&event.path).or_insert(position);
    }
    let machine = affected.machine();
    loop {
        affected.close();
        let known = affected.count();
        let mut first = usize::MAX;
        let mut set = Names::default();
        for (position, event) in events.iter().enumerate() {
            if found_again(&event.body, affected) {
                affected.mark_path(&event.path.step());
            }
            let (names, name) = match &event.body {
                Body::VariableSet { key, .. } => (&mut set.vars, key.as_str()),
                Body::MemoryWritten { namespace, .. } | Body::MemoryDeleted { namespace, .. } => {
                    (&mut set.memory, &**namespace)
                }
                _ => continue,
            };
            // A branch has a coordinator of its own.
            if affected.covers(&event.path) || event.path.is_coordinator() {
                first = first.min(position);
                names.insert(name.to_owned());
            }
        }
        // What runs again may write for the first time.
        for id in machine.ids().filter(|&id| affected.covers(&machine.node(id).path)) {
            let path = &machine.node(id).path;
            if let Some(namespace) = machine.may_write_memory(path) {
                set.memory.insert(namespace.to_string());
                first = first.min(begun.get(path).copied().unwrap_or(first));
            }
        }
        // Who had ended before has read none of it.
        let read = |path: &StepPath| last.get(path).is_some_and(|&position| position > first);
        affected.mark_places(&readers::readers(&wish.workflow, &wish.opaque, &set), read);
        if affected.count() == known {
            return;
        }
    }
}

/// Whether a step has found what a step that runs again gave, or may have looked for it by itself.
fn found_again(body: &Body, affected: &Affected<'_>) -> bool {
    match body {
        // The id of a text is the run, the step and the kind.
        Body::MemoryRecalled(recalled) => recalled.found.iter().any(|found| {
            let step = found.id.split('/').nth(1).map(StepPath::from);
            step.is_some_and(|step| affected.covers(&step))
        }),
        Body::ToolCallStarted { tool, .. } => {
            affected.count() > 0 && tool.alias().is_none() && tool.local().as_str() == "memory_search"
        }
        _ => false,
    }
}

fn unknown(machine: &Machine, path: &StepPath) -> Fault {
    let known = machine.ids().map(|id| machine.node(id).path.as_str());
    let fault = Fault::user("unknown_step", format!("the run has no step `{path}`"));
    match did_you_mean(path.as_str(), known) {
        Some(hint) => fault.with_hint(hint),
        None => fault,
    }
}

/// The first event of the branch.
fn beginning(events: &[Arc<RunEvent>], wish: &Wish, (again, now): (BTreeSet<StepPath>, Timestamp)) -> Option<RunEvent> {
    let mut first = (**events.first()?).clone();
    let of = first.run_id.clone();
    let document = &wish.workflow;
    if let Body::RunStarted { workflow, hash, sources, inputs, context_files, plan, sensitive, branched_from, .. } =
        &mut first.body
    {
        *context_files = Arc::new(wish.context_files.clone());
        workflow.clone_from(&document.name);
        hash.clone_from(&document.hash);
        sources.clone_from(&document.sources);
        inputs.clone_from(&wish.inputs);
        let order = Plan::new(&document.scope);
        let steps = order.order().iter().filter_map(|&step| document.scope.steps.get(step));
        *plan = steps.map(|step| step.id.to_string()).collect();
        // What was hidden before stays hidden: it is copied.
        let marked = Sensitive::of(document).map(|sensitive| sensitive.places()).unwrap_or_default();
        let all: BTreeSet<String> = std::mem::take(sensitive).into_iter().chain(marked).collect();
        *sensitive = all.into_iter().collect();
        *branched_from = Some(BranchedFrom { run_id: of, steps: again.into_iter().collect() });
    }
    first.at = now;
    Some(first)
}

/// What becomes of a step in a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Reused,
    Again,
}

impl Machine {
    /// The steps of one standing, without those inside of them.
    fn standing(&self, affected: &Affected<'_>, wanted: Standing) -> Vec<StepPath> {
        let mut found = Vec::new();
        if !self.scopes.is_empty() {
            let reopened = affected.reopened();
            let members: Vec<NodeId> = self.members(ScopeId(0)).collect();
            members.into_iter().for_each(|id| self.stand(id, (affected, &reopened), wanted, &mut found));
        }
        found
    }

    fn stand(
        &self,
        id: NodeId,
        (affected, reopened): (&Affected<'_>, &BTreeSet<StepPath>),
        wanted: Standing,
        found: &mut Vec<StepPath>,
    ) {
        let node = self.node(id);
        let settled = node.state.status() == Some(StepStatus::Completed) && !reopened.contains(&node.path);
        if affected.covers(&node.path) {
            if wanted == Standing::Again && self.has_begun(id) {
                found.push(node.path.clone());
            }
        } else if settled {
            if wanted == Standing::Reused {
                found.push(node.path.clone());
            }
        } else {
            let inside: Vec<NodeId> = match &node.kind {
                Kind::Group(Some(scope)) | Kind::Body { scope, .. } => self.members(*scope).collect(),
                Kind::Loop(run) => run.iterations.iter().chain(&run.judges).copied().collect(),
                _ => Vec::new(),
            };
            let failed = matches!(node.state.status(), Some(StepStatus::Failed | StepStatus::Cancelled));
            if inside.is_empty() && failed && self.has_begun(id) && wanted == Standing::Again {
                found.push(node.path.clone());
            }
            inside.into_iter().for_each(|id| self.stand(id, (affected, reopened), wanted, found));
        }
    }

    fn has_begun(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let ended =
            matches!(node.state, NodeState::Done(StepStatus::Completed | StepStatus::Failed | StepStatus::Skipped));
        node.started.is_some() || ended
    }
}

#[cfg(test)]
mod tests;
