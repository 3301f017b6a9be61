//! The user message of an agent step.
//!
//! One rule: instructions plus what the step depends on; with no instructions just what it depends on; with no
//! dependencies the run's input. Sections in a fixed order, each only when not empty.

use super::machine::Machine;
use super::node::NodeId;
use crate::event::StepStatus;
use crate::id::StepPath;
use crate::limits;
use crate::spec::workflow::Work;
use std::fmt::Write as _;

/// A message, and what had to be shortened in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// The text.
    pub text: String,
    /// Dependencies whose output was shortened.
    pub truncated: Vec<String>,
}

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Nothing to say to the agent.
    #[error("the step would send an empty message")]
    Empty,
    /// What may never be cut is too large.
    #[error("the message has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// One dependency's part of a message.
struct Part {
    id: String,
    content: String,
    result: Option<String>,
    note: Option<String>,
}

impl Part {
    fn bytes(&self) -> usize {
        let note = self.note.as_ref().map_or(0, String::len);
        HEADING_BYTES + 2 * self.id.len() + note + self.data()
    }

    fn data(&self) -> usize {
        self.content.len() + self.result.as_ref().map_or(0, String::len)
    }

    /// Leaves at most about `bytes` of it, with a mark that says what is missing; the larger of its two parts first.
    fn shorten(&mut self, bytes: usize) {
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

fn cut(text: &mut String, bytes: usize) {
    if text.len() <= bytes {
        return;
    }
    let whole = text.len();
    text.truncate(text.floor_char_boundary(bytes));
    write!(text, "\n[... shortened: {} of {whole} bytes left out ...]", whole - text.len())
        .expect("writing to a string cannot fail");
}

impl Machine {
    /// The message of the agent step at `path`, without its context files.
    ///
    /// # Errors
    /// When there is nothing to send, or too much that may not be cut.
    pub fn message(&self, path: &StepPath) -> Result<Assembled, MessageError> {
        let Some(id) = self.find(path) else { return Err(MessageError::Empty) };
        let Work::Agent(work) = &self.step(id).work else { return Err(MessageError::Empty) };
        let mut parts = self.parts(id);
        let fixed = self.fixed_sections(id, &work.instructions, parts.is_empty());
        let room = limits::MESSAGE_BYTES.saturating_sub(fixed.iter().map(|section| section.len() + 2).sum());
        let truncated = shorten_largest(&mut parts, room);
        let text = join(fixed, &parts);
        if text.trim().is_empty() {
            return Err(MessageError::Empty);
        }
        if text.len() > limits::MESSAGE_BYTES {
            return Err(MessageError::TooLarge { bytes: text.len(), limit: limits::MESSAGE_BYTES });
        }
        Ok(Assembled { text, truncated })
    }

    /// The sections that are never cut.
    fn fixed_sections(&self, id: NodeId, instructions: &str, alone: bool) -> Vec<String> {
        let input = self.input.as_deref().unwrap_or_default();
        let item = self.item_of(id).map(|(item, index)| {
            let text = serde_json::to_string_pretty(item).unwrap_or_default();
            format!("## Item (index {index})\n{text}")
        });
        let mut before = Vec::new();
        if instructions.is_empty() {
            if alone && item.is_none() && !input.is_empty() {
                before.push(input.to_owned());
            }
        } else {
            if !input.is_empty() {
                before.push(format!("## Input\n{input}"));
            }
            before.push(format!("## Task\n{instructions}"));
        }
        before.extend(item);
        before
    }

    /// What the step depends on; an inner root also sees what its loop depends on.
    fn parts(&self, id: NodeId) -> Vec<Part> {
        let mut sources = Vec::new();
        let mut at = id;
        loop {
            let node = self.node(at);
            let dependencies = &self.step(at).depends_on;
            sources.extend(dependencies.iter().map(|&step| self.member(node.scope, step)));
            match self.scope(node.scope).parent {
                Some(parent) if dependencies.is_empty() => at = parent,
                _ => break,
            }
        }
        sources.into_iter().map(|id| self.part(id)).collect()
    }

    fn part(&self, id: NodeId) -> Part {
        let node = self.node(id);
        let completed = node.state.status() == Some(StepStatus::Completed);
        let text = node.output.content.to_string();
        let data = &*node.output.result;
        let result = (completed && !data.is_null()).then(|| data.to_string()).filter(|data| *data != text);
        let content = if completed { text } else { String::new() };
        Part { id: self.step(id).id.to_string(), content, result, note: Self::note_of(node) }
    }
}

/// The sections that are never cut, then what the step depends on.
fn join(mut sections: Vec<String>, parts: &[Part]) -> String {
    if !parts.is_empty() {
        let mut text = String::from("## Results of earlier steps");
        for part in parts {
            write_part(&mut text, part);
        }
        sections.push(text);
    }
    sections.join("\n\n")
}

fn write_part(text: &mut String, part: &Part) {
    let mut section = |title: &str, body: &str| {
        write!(text, "\n\n### {title}\n{body}").expect("writing to a string cannot fail");
    };
    if let Some(note) = &part.note {
        section(&part.id, note);
    }
    if !part.content.is_empty() {
        section(&part.id, &part.content);
    }
    if let Some(result) = &part.result {
        section(&format!("{} result", part.id), &format!("```json\n{result}\n```"));
    }
}

/// Shortens the largest parts first until all fit into `room`; gives the ids of those that were shortened.
fn shorten_largest(parts: &mut [Part], room: usize) -> Vec<String> {
    let mut sizes: Vec<usize> = parts.iter().map(Part::bytes).collect();
    if sizes.iter().sum::<usize>() <= room {
        return Vec::new();
    }
    sizes.sort_unstable();
    let mut left = room;
    let mut cap = 0;
    for (index, size) in sizes.iter().enumerate() {
        cap = left / (sizes.len() - index);
        if *size > cap {
            break;
        }
        left -= size;
    }
    let mut shortened = Vec::new();
    for part in parts.iter_mut().filter(|part| part.bytes() > cap) {
        part.shorten(cap.saturating_sub(80));
        shortened.push(part.id.clone());
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: &str, bytes: usize) -> Part {
        Part { id: id.to_owned(), content: "ä".repeat(bytes / 2), result: None, note: None }
    }

    #[test]
    fn only_the_largest_outputs_are_shortened_and_say_so() {
        let mut parts = [part("small", 100), part("large", 10_000), part("larger", 20_000)];
        assert_eq!(shorten_largest(&mut parts, 5_000), ["large", "larger"]);
        assert_eq!(parts[0].data(), 100);
        assert!(parts[1].content.contains("shortened: "));
        assert!(parts.iter().map(Part::bytes).sum::<usize>() <= 5_000);
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert!(shorten_largest(&mut [part("a", 100), part("b", 100)], 400).is_empty());
    }
}
