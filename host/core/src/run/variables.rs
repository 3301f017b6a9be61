//! Variables of the run and its shared memory: set by tools, agents and code, read by expressions and templates.

use super::machine::Machine;
use super::node::{Kind, NodeId};
use crate::event::{Seen, SeenEntry};
use crate::id::{StepPath, ToolName};
use crate::memory::{self, Memory, MemoryAccess, MemoryCalls, MemoryScope};
use crate::spec::workflow::Work;
use crate::value::Map;
use crate::variable::LOOP_CONTINUE;
use serde_json::Value;
use std::sync::Arc;

/// What steps share, as it was at some time.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    vars: Arc<Map>,
    memory: Arc<Memory>,
}

/// Who changed an entry of the shared memory.
pub(super) struct Change<'e> {
    pub(super) by: &'e StepPath,
    pub(super) call: Option<&'e Arc<str>>,
    /// In a memory that outlives the run.
    pub(super) revision: Option<u64>,
}

impl Machine {
    /// What steps share, as it is now.
    pub(super) fn shared(&self) -> Shared {
        Shared { vars: Arc::clone(&self.vars), memory: Arc::clone(&self.memory) }
    }

    /// Takes what steps share from another time.
    pub(super) fn share(&mut self, shared: Shared) {
        (self.vars, self.memory) = (shared.vars, shared.memory);
    }

    /// The variables as they are now.
    #[must_use]
    pub fn vars(&self) -> &Arc<Map> {
        &self.vars
    }

    /// The shared memory as it is now.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// What the shared memory knows of calls that changed it.
    #[must_use]
    pub fn memory_calls(&self) -> &MemoryCalls {
        &self.memory_calls
    }

    /// A step begins anew, and all within it.
    pub(super) fn forget_memory_calls(&mut self, step: &StepPath) {
        self.memory_calls.forget(step);
        if self.workflow.options.memory_scope == MemoryScope::Shared {
            self.memory_calls.begin_anew(step);
        }
    }

    pub(super) fn change_memory(&mut self, entry: (&str, &str), value: Option<&Arc<Value>>, change: &Change<'_>) {
        let memory = Arc::make_mut(&mut self.memory);
        if let Some(call) = change.call {
            self.memory_calls.note(call, change.revision.unwrap_or(memory.next_revision()), change.by);
        }
        memory.apply(entry, value, change.revision);
    }

    /// Takes over what was read of a memory that outlives the run.
    pub(super) fn see_memory(&mut self, seen: &Seen) {
        let memory = Arc::make_mut(&mut self.memory);
        for SeenEntry { namespace, key, value, revision } in &*seen.entries {
            memory.apply((namespace, key), value.as_ref(), Some(*revision));
        }
    }

    /// Whose entries the code at `path` writes, and what it may do: a step's agent what its document says, all else
    /// everything.
    #[must_use]
    pub fn memory_rights(&self, path: &StepPath) -> (Arc<str>, MemoryAccess) {
        if path.is_coordinator() {
            return (memory::OF_COORDINATOR.into(), MemoryAccess::ALL);
        }
        let work = self.step_at(path).map(|step| &step.work);
        let Some(Work::Agent(work)) = work else { return (memory::OF_WORKFLOW.into(), MemoryAccess::ALL) };
        let Some(name) = &work.agent else { return (memory::OF_DEFAULT.into(), MemoryAccess::ALL) };
        let access = self.workflow.agents.get(name).and_then(|agent| agent.tools.memory.clone());
        (name.as_str().into(), access.unwrap_or(MemoryAccess::ALL))
    }

    /// The namespace to which the step at a path may write by a tool; none where it cannot.
    pub(super) fn may_write_memory(&self, path: &StepPath) -> Option<Arc<str>> {
        let writes = [memory::WRITE, memory::DELETE];
        let may = match &self.step_at(path)?.work {
            Work::Tool(work) => work.tool.alias().is_none() && writes.contains(&work.tool.local().as_str()),
            Work::Agent(work) => {
                work.agent.as_ref().and_then(|name| self.workflow.agents.get(name)).is_some_and(|agent| {
                    let filter = &agent.tools;
                    writes
                        .iter()
                        .any(|tool| ToolName::parse(tool).is_ok_and(|tool| filter.admits(&tool) && filter.means(&tool)))
                })
            }
            _ => false,
        };
        may.then(|| self.memory_rights(path).0)
    }

    pub(super) fn set_variable(&mut self, by: &StepPath, key: &str, value: &Value) {
        Arc::make_mut(&mut self.vars).insert(key.to_owned(), value.clone());
        if key == LOOP_CONTINUE
            && let Some(id) = self.find(by).and_then(|id| self.loop_around(id))
        {
            let stop = *value == Value::Bool(false);
            self.loop_mut(id).signalled = stop;
        }
    }

    /// The innermost loop around a node.
    fn loop_around(&self, id: NodeId) -> Option<NodeId> {
        let mut at = self.around(id);
        while let Some(around) = at {
            if matches!(self.node(around).kind, Kind::Loop(_)) {
                return Some(around);
            }
            at = self.around(around);
        }
        None
    }

    /// The signal counts for the loop that has ended, and for no other.
    pub(super) fn unsignal(&mut self, id: NodeId) {
        if matches!(&self.node(id).kind, Kind::Loop(run) if run.signalled) {
            Arc::make_mut(&mut self.vars).remove(LOOP_CONTINUE);
        }
    }
}
