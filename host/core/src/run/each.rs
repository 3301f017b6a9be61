//! `forEach`: iterations begin as the loop's own limit allows, and end in one result by index.

use super::effect::Effect;
use super::loops::{LoopRun, kind};
use super::machine::Machine;
use super::node::NodeId;
use super::scopes::Given;
use crate::event::{LoopEnd, StepOutput, StepStatus};
use crate::fault::Fault;
use crate::spec::workflow::{ForEach, ItemFailure, LoopKind};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

impl Machine {
    /// Begins the next iteration if the loop may, or ends the loop if nothing is left.
    pub(super) fn advance_items(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        let LoopKind::ForEach(ForEach { max_concurrency, on_item_failure, .. }) = kind(self.step(id)) else { return };
        let (bound, on_failure) = (*max_concurrency, *on_item_failure);
        let (stopped, expired) = (self.is_halted(id), self.node(id).expired.is_some());
        let run = self.loop_of(id);
        let begun = run.announced == run.iterations.len();
        let open = bound.is_none_or(|bound| run.active < bound);
        let failed = run.failed.is_some() && on_failure == ItemFailure::Stop;
        let left = run.announced < run.items.len();
        // Without room the loop ends as well, but not before what has begun in it.
        let full = left && self.lack_of_room(id).is_some();
        let more = left && !(stopped || expired || failed || run.signalled || full);
        if more && open && begun {
            self.begin_iteration(id, effects);
        } else if !more && begun && run.active == 0 {
            let because = match (expired, stopped) {
                (true, _) => LoopEnd::Timeout,
                (_, true) if left || run.failed.is_some() => LoopEnd::Stopped,
                _ if failed => LoopEnd::Failed,
                _ if left && run.signalled => LoopEnd::Signal,
                _ if left => LoopEnd::Failed,
                _ => LoopEnd::Items,
            };
            self.announce_end(id, because, effects);
        }
    }

    /// Content: every completed item under `### L[i]`. Result: `{"iterations": [...]}`, by index.
    pub(super) fn items_given(&self, id: NodeId, run: &LoopRun, each: &ForEach) -> Given {
        let mut content = String::new();
        let mut entries = Vec::with_capacity(run.items.len());
        let mut failed: Option<Fault> = None;
        let mut failures = 0_usize;
        // A signal leaves items out that nobody asked for.
        let wanted = if run.ended == Some(LoopEnd::Signal) { run.iterations.len() } else { run.items.len() };
        for (index, item) in run.items.iter().take(wanted).enumerate() {
            let node = run.iterations.get(index).map(|&id| self.node(id));
            let status = node.and_then(|node| node.state.status()).unwrap_or(StepStatus::Cancelled);
            let path = self.node(id).path.iteration(u32::try_from(index).unwrap_or(u32::MAX));
            let output = node.map(|node| node.output.clone()).unwrap_or_default();
            if status == StepStatus::Completed {
                let gap = if content.is_empty() { "" } else { "\n\n" };
                write!(content, "{gap}### {path}\n{}", output.content).expect("writing to a string cannot fail");
            }
            if let (StepStatus::Failed, Some(node)) = (status, node) {
                failures += 1;
                failed = failed.or_else(|| Some(self.item_fault(node)));
            }
            entries.push(json!({
                "id": path.as_str(), "index": index, "item": item, "status": status.as_str(),
                "content": &*output.content, "result": &*output.result,
            }));
        }
        if failed.is_none() && run.failed.is_some() {
            failed = Some(Fault::step("item_cancelled", "an item of the loop was cancelled"));
        }
        if let Some(fault) = failed.as_mut().filter(|_| failures > 1) {
            write!(fault.message, " (and {} more failed)", failures - 1).expect("writing to a string cannot fail");
        }
        let tolerant = each.on_item_failure == ItemFailure::Ignore;
        let result = Arc::new(json!({ "iterations": entries }));
        let output = StepOutput { content: content.into(), result, ..StepOutput::default() };
        Given { output, error: failed.filter(|_| !tolerant) }
    }

    /// Why a list cannot be looped over, if it cannot.
    #[must_use]
    pub fn refuse_items(&self, items: &[Value]) -> Option<Fault> {
        let limit = self.workflow.options.limits.for_each_items;
        if items.len() > limit {
            let message = format!("forEach over {} items, more than the limit of {limit}", items.len());
            return Some(Fault::step("too_many_items", message));
        }
        self.too_many_instances(self.nodes.len().saturating_add(items.len()))
    }
}
