//! Transforms: small changes of a text on its way into a step or out of it.
//!
//! The built-in ones are here; a closure of the embedder's or a plugin stands as its name. Nothing here runs those.

mod items;

pub use items::{CONTENT, RESULT, assemble, items};

use crate::event::StepOutput;
use crate::fault::Fault;
use crate::id::Alias;
use crate::value::Map;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What changes a step's input and its output; each chain is applied from left to right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transforms {
    /// Applied to the message before the agent gets it.
    pub input: Vec<Transform>,
    /// Applied to what the step gave.
    pub output: Vec<Transform>,
}

/// One link of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// Takes white space off both ends.
    Trim,
    /// Upper case.
    Upper,
    /// Lower case.
    Lower,
    /// At most so many characters, the mark of the cut among them.
    Truncate(usize),
    /// The text must be JSON; of an output it becomes the result as well.
    Json,
    /// The first line that is not blank.
    FirstLine,
    /// A closure of the embedder's, by its name.
    Native(Arc<str>),
    /// A plugin.
    Plugin {
        /// The plugin.
        plugin: Alias,
        /// Its options.
        options: Map,
    },
}

/// What stands at the end of a text that was cut.
const CUT: char = '\u{2026}';

impl Transform {
    /// The plugin that it needs.
    #[must_use]
    pub fn plugin(&self) -> Option<&Alias> {
        match self {
            Self::Plugin { plugin, .. } => Some(plugin),
            _ => None,
        }
    }

    /// Applies a built-in transform; none for those that are not.
    #[must_use]
    pub fn built_in(&self, output: &StepOutput) -> Option<Result<StepOutput, Fault>> {
        let text = &*output.content;
        let text = match self {
            Self::Trim => text.trim().to_owned(),
            Self::Upper => text.to_uppercase(),
            Self::Lower => text.to_lowercase(),
            Self::Truncate(most) => truncate(text, *most),
            Self::FirstLine => text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned(),
            Self::Json => return Some(parse(output)),
            Self::Native(_) | Self::Plugin { .. } => return None,
        };
        Some(Ok(StepOutput { content: text.into(), ..output.clone() }))
    }
}

fn truncate(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain((most > 0).then_some(CUT)).collect(),
    }
}

fn parse(output: &StepOutput) -> Result<StepOutput, Fault> {
    let text = unfenced(output.content.trim());
    let value = crate::value::parse(text).map_err(|error| {
        Fault::step("transform", format!("the transform `json` got text that is not JSON: {error}"))
    })?;
    Ok(StepOutput { result: Arc::new(value), ..output.clone() })
}

/// What stands in a fenced block, when the whole text is one.
fn unfenced(text: &str) -> &str {
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inner.and_then(|inner| inner.split_once('\n')).map_or(text, |(_, body)| body.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(transform: &Transform, text: &str) -> Result<StepOutput, Fault> {
        transform.built_in(&StepOutput { content: text.into(), ..StepOutput::default() }).unwrap()
    }

    #[test]
    fn built_in_transforms_change_text() {
        let cases = [
            (Transform::Trim, " a b \n", "a b"),
            (Transform::Upper, "stra\u{df}e", "STRASSE"),
            (Transform::Lower, "ABC", "abc"),
            (Transform::Truncate(4), "abcdef", "abc\u{2026}"),
            (Transform::Truncate(6), "abcdef", "abcdef"),
            (Transform::Truncate(0), "abc", ""),
            (Transform::FirstLine, "\n \nfirst\nsecond", "first"),
        ];
        for (transform, before, wanted) in cases {
            assert_eq!(&*after(&transform, before).unwrap().content, wanted, "{transform:?}");
        }
    }

    #[test]
    fn json_becomes_the_result_also_from_a_fenced_block() {
        for text in ["{\"a\": 1}", "```json\n{\"a\": 1}\n```", " {\"a\":1} "] {
            assert_eq!(*after(&Transform::Json, text).unwrap().result, serde_json::json!({ "a": 1 }));
        }
        assert_eq!(after(&Transform::Json, "no json").unwrap_err().code, "transform");
    }
}
