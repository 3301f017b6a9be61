//! What a step's message is made of: the steps that it depends on, across the groups, loops and includes around it.

use super::loops::kind;
use super::machine::Machine;
use super::node::{Kind, Node, NodeId, ScopeId};
use super::transformed::Reader;
use crate::event::{StepOutput, StepStatus};
use crate::fault::Fault;
use crate::spec::workflow::{LoopKind, Wiring};
use std::fmt::Write as _;
use std::sync::Arc;

/// What a step's message is made of, besides its own words and its item.
#[derive(Debug, Default)]
pub(super) struct Origin {
    pub(super) parts: Vec<Part>,
    /// What the judge of the iteration before said.
    pub(super) feedback: Option<Arc<str>>,
}

/// Where a part stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Under the results of earlier steps.
    Dependency,
    /// Under the previous iteration.
    Previous,
}

/// One part of a message that may be shortened: the output of a step, or of the iteration before.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) place: Place,
    pub(super) id: String,
    pub(super) content: String,
    pub(super) result: Option<String>,
    pub(super) note: Option<String>,
}

impl Part {
    /// Whether it says more than that there is nothing.
    pub(super) fn is_given(&self) -> bool {
        !self.content.is_empty() || self.result.is_some()
    }

    /// The text as it is, or the data when there is no text.
    pub(super) fn plain(&self) -> &str {
        match &self.result {
            Some(result) if self.content.is_empty() => result,
            _ => &self.content,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let note = self.note.as_ref().map_or(0, String::len);
        HEADING_BYTES + 2 * self.id.len() + note + self.data()
    }

    pub(super) fn data(&self) -> usize {
        self.content.len() + self.result.as_ref().map_or(0, String::len)
    }

    /// Leaves at most about `bytes` of it, with marks that say what is missing; the larger of its two parts first.
    pub(super) fn shorten(&mut self, bytes: usize) {
        let bytes = bytes.saturating_sub(self.bytes() - self.data());
        let Some(result) = &mut self.result else { return cut(&mut self.content, bytes) };
        let smaller = self.content.len().min(result.len()).min(bytes / 2);
        let larger = bytes - smaller;
        let (content, data) = if self.content.len() <= result.len() { (smaller, larger) } else { (larger, smaller) };
        cut(&mut self.content, content);
        cut(result, data);
    }
}

/// About what headings, fences and line ends take around a part.
const HEADING_BYTES: usize = 64;
/// About what the mark of a cut takes.
const MARK_BYTES: usize = 80;

/// Leaves at most about `bytes`, the mark of the cut among them.
fn cut(text: &mut String, bytes: usize) {
    if text.len() <= bytes {
        return;
    }
    let whole = text.len();
    text.truncate(text.floor_char_boundary(bytes.saturating_sub(MARK_BYTES)));
    write!(text, "\n[... shortened: {} of {whole} bytes left out ...]", whole - text.len())
        .expect("writing to a string cannot fail");
}

impl Machine {
    /// What the step depends on. A step that depends on nothing in its scope also gets what the step around it gets:
    /// its dependencies, the iteration before, the judge's word.
    pub(super) fn origin(&self, id: NodeId, reader: &mut Reader<'_>) -> Result<Origin, Fault> {
        let mut origin = Origin::default();
        let mut at = Some(id);
        while let Some(id) = at {
            if let Kind::Repeat { of, index } | Kind::Body { of, index, .. } = self.node(id).kind {
                self.add_iteration((of, index), &mut origin, reader)?;
                at = Some(of);
                continue;
            }
            if self.add_dependencies(id, &mut origin, reader)? {
                break;
            }
            at = self.scope(self.node(id).scope).parent;
        }
        Ok(origin)
    }

    /// Adds what the step depends on in its own scope; says whether there is something.
    fn add_dependencies(&self, id: NodeId, origin: &mut Origin, reader: &mut Reader<'_>) -> Result<bool, Fault> {
        let (scope, step) = (self.node(id).scope, self.node(id).step);
        let run = self.scope(scope);
        if run.scope.wiring == Wiring::Sequential {
            return self.add_previous_step((scope, step), origin, reader);
        }
        let Some(step) = run.scope.steps.get(step) else { return Ok(false) };
        for &dependency in &step.depends_on {
            let part = self.part(Place::Dependency, self.member(scope, dependency), reader)?;
            origin.parts.push(part);
        }
        Ok(!step.depends_on.is_empty())
    }

    /// In a sequential scope: the nearest completed step before, and what was passed over on the way.
    fn add_previous_step(
        &self,
        (scope, step): (ScopeId, usize),
        origin: &mut Origin,
        reader: &mut Reader<'_>,
    ) -> Result<bool, Fault> {
        let mut found = Vec::new();
        for before in (0..step).rev() {
            let id = self.member(scope, before);
            found.push(self.part(Place::Dependency, id, reader)?);
            if self.node(id).state.status() == Some(StepStatus::Completed) {
                break;
            }
        }
        let completed = found.last().is_some_and(|part| part.note.is_none());
        origin.parts.extend(found.into_iter().rev());
        Ok(completed)
    }

    /// Adds what the iteration before gave, and what its judge said; of the innermost loop that has one.
    fn add_iteration(
        &self,
        (of, index): (NodeId, u32),
        origin: &mut Origin,
        reader: &mut Reader<'_>,
    ) -> Result<(), Fault> {
        let known = origin.parts.iter().any(|part| part.place == Place::Previous);
        if known || !matches!(kind(self.step(of)), LoopKind::Repeat(_)) {
            return Ok(());
        }
        let run = self.loop_of(of);
        let before = index.checked_sub(1).and_then(|before| run.iterations.get(before as usize));
        if let Some(&before) = before {
            let part = self.part(Place::Previous, before, reader)?;
            if part.is_given() {
                origin.parts.push(part);
            }
        }
        origin.feedback = origin.feedback.take().or_else(|| run.feedback.clone());
        Ok(())
    }

    /// What a judge reads: every step of the iteration, or the repeated step itself.
    pub(super) fn judged_parts(&self, of: NodeId, index: u32, reader: &mut Reader<'_>) -> Result<Vec<Part>, Fault> {
        let Some(&iteration) = self.loop_of(of).iterations.get(index as usize) else { return Ok(Vec::new()) };
        match self.node(iteration).kind {
            Kind::Body { scope, .. } => {
                let steps = 0..self.scope(scope).scope.steps.len();
                steps.map(|step| self.part(Place::Dependency, self.member(scope, step), reader)).collect()
            }
            _ => Ok(vec![self.part(Place::Dependency, iteration, reader)?]),
        }
    }

    fn part(&self, place: Place, id: NodeId, reader: &mut Reader<'_>) -> Result<Part, Fault> {
        let node = self.node(id);
        let completed = node.state.status() == Some(StepStatus::Completed);
        let output = if completed { self.as_prompted(node, reader)? } else { StepOutput::default() };
        let text = output.content.to_string();
        let data = &*output.result;
        let has_data =
            if completed { self.has_data(id) || !Arc::ptr_eq(&output.result, &node.output.result) } else { false };
        let same = data.as_str() == Some(text.as_str());
        let result = (has_data && !same && !data.is_null()).then(|| data.to_string()).filter(|data| *data != text);
        let id = match place {
            Place::Dependency => self.step(id).id.to_string(),
            Place::Previous => "previous iteration".to_owned(),
        };
        Ok(Part { place, id, content: text, result, note: Self::note_of(node) })
    }

    /// An output as it enters a prompt: through the `outputTransform` that holds where its step stands.
    fn as_prompted(&self, node: &Node, reader: &mut Reader<'_>) -> Result<StepOutput, Fault> {
        let own = &self.scope(node.scope).scope.defaults.output_transform;
        let chain = if own.is_empty() { &self.workflow().host.output_transform } else { own };
        reader.read(&node.path, &node.output, chain)
    }
}
