//! The user message of an agent step.
//!
//! One rule: instructions plus what the step depends on; with no instructions just what it depends on; with no
//! dependencies the run's input. Sections in a fixed order, each only when not empty. `origin.rs` finds what a step
//! depends on, across groups, loops and includes.

use super::machine::Machine;
use super::node::{Kind, NodeId};
use super::origin::{Origin, Part, Place};
use super::transformed::{Reader, Transformed, Untransformed};
use crate::fault::Fault;
use crate::id::StepPath;
use crate::spec::workflow::{Wiring, Work};
use std::fmt::Write as _;

/// A message, and what had to be shortened in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// The text.
    pub text: String,
    /// Dependencies whose output was shortened.
    pub truncated: Vec<String>,
}

/// A message that is not put together yet: its context files are read by somebody else, and what they take is left to
/// the outputs of the steps that it depends on.
#[derive(Debug)]
pub struct Draft {
    fixed: Fixed,
    parts: Vec<Part>,
    /// The whole text, when it stands as it is.
    piped: Option<String>,
    /// Bytes.
    limit: usize,
}

impl Draft {
    /// Puts the message together. `files` is the section of the context files, empty when there are none; it is never
    /// cut. Outputs of steps are shortened, the largest first, until all fits.
    ///
    /// # Errors
    /// When there is nothing to send, or too much that may not be cut.
    pub fn assemble(self, files: &str) -> Result<Assembled, MessageError> {
        let Self { mut fixed, mut parts, piped, limit } = self;
        if let Some(text) = piped {
            return within(Assembled { text: with_files(text, files), truncated: Vec::new() }, limit);
        }
        fixed.files = files.to_owned();
        let sections = fixed.head.iter().chain(&fixed.tail).chain([&fixed.files]);
        let taken: usize = sections.map(|section| section.len() + 2).sum();
        let truncated = shorten_largest(&mut parts, limit.saturating_sub(taken + RESULTS.len()));
        within(Assembled { text: join(&fixed, &parts), truncated }, limit)
    }
}

/// A text with the section of its context files, which may be empty, under it.
#[must_use]
pub fn with_files(text: String, files: &str) -> String {
    match (text.trim().is_empty(), files.is_empty()) {
        (_, true) => text,
        (true, false) => files.to_owned(),
        (false, false) => format!("{text}\n\n{files}"),
    }
}

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MessageError {
    /// Nothing to say to the agent.
    #[error("the step would send an empty message")]
    Empty,
    /// An output cannot be changed as the document says.
    #[error("{0}")]
    Transform(Fault),
    /// Outputs are changed by plugins, and how is not known yet.
    #[error("outputs are not transformed yet")]
    Untransformed(Vec<Untransformed>),
    /// What may never be cut is too large.
    #[error("the message has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl Machine {
    /// What the message of the agent step at `path` is made of, besides its context files. `transformed` has the outputs
    /// that plugins change.
    ///
    /// # Errors
    /// When there is no such step, or an output cannot be changed as the document says; and with the outputs that
    /// `transformed` lacks.
    pub fn message(&self, path: &StepPath, transformed: &Transformed) -> Result<Draft, MessageError> {
        let Some(id) = self.find(path) else { return Err(MessageError::Empty) };
        let Work::Agent(work) = &self.step(id).work else { return Err(MessageError::Empty) };
        let limit = self.workflow.options.limits.message_bytes;
        let mut reader = Reader::new(transformed);
        if let Kind::Judge { of, index } = self.node(id).kind {
            let parts = self.judged_parts(of, index, &mut reader).map_err(MessageError::Transform)?;
            reader.complete().map_err(MessageError::Untransformed)?;
            let head = self.input_section().into_iter().chain([self.judge_task(of, index)]).collect();
            let fixed = Fixed { head, tail: self.item_section(id).into_iter().collect(), ..Fixed::default() };
            return Ok(Draft { fixed, parts, piped: None, limit });
        }
        let origin = self.origin(id, &mut reader).map_err(MessageError::Transform)?;
        reader.complete().map_err(MessageError::Untransformed)?;
        let piped = if work.instructions.is_empty() { self.piped(id, &origin) } else { None };
        let fixed = self.fixed_sections(id, &work.instructions, &origin);
        Ok(Draft { fixed, parts: origin.parts, piped, limit })
    }

    /// In a sequential scope, what a step without instructions gets as it is: the only thing that it depends on.
    fn piped(&self, id: NodeId, origin: &Origin) -> Option<String> {
        let sequential = self.scope(self.node(id).scope).scope.wiring == Wiring::Sequential;
        if !sequential || origin.feedback.is_some() || self.item_of(id).is_some() {
            return None;
        }
        let mut given = origin.parts.iter().filter(|part| part.is_given());
        let only = given.next();
        if given.next().is_some() {
            return None;
        }
        match only {
            Some(part) => Some(part.plain().to_owned()),
            None => self.input.as_deref().map(str::to_owned),
        }
    }

    fn fixed_sections(&self, id: NodeId, instructions: &str, origin: &Origin) -> Fixed {
        let input = self.input.as_deref().unwrap_or_default();
        let item = self.item_section(id);
        let feedback = origin.feedback.as_ref().map(|text| format!("## Feedback\n{text}"));
        let mut head = Vec::new();
        if !instructions.is_empty() {
            head.extend(self.input_section());
            head.push(format!("## Task\n{instructions}"));
        } else if origin.parts.is_empty() && item.is_none() && feedback.is_none() && !input.is_empty() {
            head.push(input.to_owned());
        }
        Fixed { head, tail: feedback.into_iter().chain(item).collect(), ..Fixed::default() }
    }

    /// The run's input, which stands before the instructions of every agent.
    fn input_section(&self) -> Option<String> {
        let input = self.input.as_deref().filter(|input| !input.is_empty())?;
        Some(format!("## Input\n{input}"))
    }

    /// The item of the innermost `forEach` around a step.
    fn item_section(&self, id: NodeId) -> Option<String> {
        let (item, index) = self.item_of(id)?;
        let text = serde_json::to_string_pretty(item).unwrap_or_default();
        Some(format!("## Item (index {index})\n{text}"))
    }

    /// What a judge is asked.
    fn judge_task(&self, of: NodeId, index: u32) -> String {
        let path = &self.node(of).path;
        format!(
            "## Task\nJudge iteration {index} of the loop `{path}`, whose results follow: say whether the work is done."
        )
    }
}

/// What stands above what the step depends on.
const RESULTS: &str = "## Results of earlier steps";

/// The sections that are never cut.
#[derive(Debug, Default)]
struct Fixed {
    /// Before the previous iteration.
    head: Vec<String>,
    /// After it.
    tail: Vec<String>,
    /// The context files, at the end.
    files: String,
}

fn within(message: Assembled, limit: usize) -> Result<Assembled, MessageError> {
    match message.text.len() {
        _ if message.text.trim().is_empty() => Err(MessageError::Empty),
        bytes if bytes > limit => Err(MessageError::TooLarge { bytes, limit }),
        _ => Ok(message),
    }
}

/// All sections in their order.
fn join(fixed: &Fixed, parts: &[Part]) -> String {
    let of = |place: Place| parts.iter().filter(move |part| part.place == place);
    let mut sections = fixed.head.clone();
    for part in of(Place::Previous) {
        let mut text = String::from("## Previous iteration");
        write_body(&mut text, part);
        sections.push(text);
    }
    sections.extend(fixed.tail.iter().cloned());
    if of(Place::Dependency).any(|part| part.is_given() || part.note.is_some()) {
        let mut text = String::from(RESULTS);
        for part in of(Place::Dependency) {
            write_part(&mut text, part);
        }
        sections.push(text);
    }
    if !fixed.files.is_empty() {
        sections.push(fixed.files.clone());
    }
    sections.join("\n\n")
}

fn write_body(text: &mut String, part: &Part) {
    let data = part.result.as_ref().map(|data| format!("```json\n{data}\n```"));
    for body in [Some(part.content.as_str()).filter(|text| !text.is_empty()), data.as_deref()].into_iter().flatten() {
        write!(text, "\n{body}").expect("writing to a string cannot fail");
    }
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
        part.shorten(cap);
        shortened.push(part.id.clone());
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: &str, bytes: usize) -> Part {
        Part { place: Place::Dependency, id: id.to_owned(), content: "ä".repeat(bytes / 2), result: None, note: None }
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
    fn text_and_data_of_one_step_are_both_shortened_and_fit() {
        let large = Part { result: Some("ä".repeat(500_000)), ..part("a", 1_000_000) };
        let message = draft(large).assemble("").unwrap();
        assert_eq!(message.truncated, ["a"]);
        assert_eq!(message.text.matches("shortened: ").count(), 2);
    }

    #[test]
    fn outputs_leave_room_for_context_files_which_are_never_cut() {
        let files = format!("## Files\n\n### a.md\n{}", "x".repeat(3_000));
        let message = draft(part("a", 4_000)).assemble(&files).unwrap();
        assert_eq!(message.truncated, ["a"]);
        assert!(message.text.ends_with(&files) && message.text.len() <= 5_000, "{}", message.text.len());
        let error = draft(part("a", 4_000)).assemble(&files.repeat(2)).unwrap_err();
        assert!(matches!(error, MessageError::TooLarge { bytes, limit: 5_000 } if bytes > 6_000), "{error}");
    }

    fn draft(part: Part) -> Draft {
        let fixed = Fixed { head: vec!["## Task\ndo it".to_owned()], ..Fixed::default() };
        Draft { fixed, parts: vec![part], piped: None, limit: 5_000 }
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert!(shorten_largest(&mut [part("a", 100), part("b", 100)], 400).is_empty());
    }
}
