//! Outputs as they enter prompts, where plugins change them: the machine runs no plugin, so it is told.
//!
//! Built-in chains are applied on the spot. A chain with a plugin in it is applied by the engine before a message is
//! assembled, once for each output, and kept beside the machine: what a pure plugin gave is no state of the run, it can
//! be had again.

use crate::event::StepOutput;
use crate::fault::Fault;
use crate::id::StepPath;
use crate::transform::Transform;
use std::collections::HashMap;
use std::sync::Arc;

/// What plugins made of outputs, by the step that gave them.
#[derive(Debug, Default)]
pub struct Transformed(HashMap<StepPath, (StepOutput, StepOutput)>);

impl Transformed {
    /// Keeps what became of an output.
    pub fn insert(&mut self, of: Untransformed, became: StepOutput) {
        self.0.insert(of.path, (of.output, became));
    }

    /// What became of this very output; a step that was tried again may have given another one since.
    fn get(&self, path: &StepPath, output: &StepOutput) -> Option<&StepOutput> {
        let (of, became) = self.0.get(path)?;
        let same = Arc::ptr_eq(&of.content, &output.content) && Arc::ptr_eq(&of.result, &output.result);
        same.then_some(became)
    }
}

/// An output that a plugin has to change before it enters a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Untransformed {
    /// The step that gave it.
    pub path: StepPath,
    /// What it gave.
    pub output: StepOutput,
    /// What changes it.
    pub chain: Vec<Transform>,
}

impl Untransformed {
    /// Whether both are the same change of the very same output.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let (one, two) = (&self.output, &other.output);
        let same = Arc::ptr_eq(&one.content, &two.content) && Arc::ptr_eq(&one.result, &two.result);
        same && self.path == other.path && self.chain == other.chain
    }
}

/// Reads outputs for one message and notes which of them are not transformed yet.
pub(super) struct Reader<'t> {
    transformed: &'t Transformed,
    missing: Vec<Untransformed>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(transformed: &'t Transformed) -> Self {
        Self { transformed, missing: Vec::new() }
    }

    /// An output after its chain; unchanged when it was noted as missing.
    pub(super) fn read(
        &mut self,
        path: &StepPath,
        output: &StepOutput,
        chain: &[Transform],
    ) -> Result<StepOutput, Fault> {
        if chain.iter().any(|link| matches!(link, Transform::Plugin { .. })) {
            if let Some(known) = self.transformed.get(path, output) {
                return Ok(known.clone());
            }
            self.missing.push(Untransformed { path: path.clone(), output: output.clone(), chain: chain.to_vec() });
            return Ok(output.clone());
        }
        let mut output = output.clone();
        for link in chain {
            // Closures never stand here: they are refused before a run starts.
            output = link.built_in(&output).unwrap_or_else(|| Ok(output.clone()))?;
        }
        Ok(output)
    }

    /// Whether all outputs that were read are as they enter a prompt.
    pub(super) fn complete(&self) -> Result<(), Vec<Untransformed>> {
        if self.missing.is_empty() { Ok(()) } else { Err(self.missing.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Alias;

    fn output(text: &str) -> StepOutput {
        StepOutput { content: text.into(), ..StepOutput::default() }
    }

    #[test]
    fn a_chain_of_built_in_transforms_is_applied_on_the_spot() {
        let known = Transformed::default();
        let mut reader = Reader::new(&known);
        let read = reader.read(&"a".into(), &output(" a "), &[Transform::Trim, Transform::Upper]).unwrap();
        assert_eq!(&*read.content, "A");
        assert!(reader.complete().is_ok());
    }

    #[test]
    fn what_a_plugin_changes_is_asked_for_until_it_is_known_and_when_it_is_another_output() {
        let plugin = Transform::Plugin { plugin: Alias::parse("p").unwrap(), options: crate::value::Map::new() };
        let (path, given, mut known) = (StepPath::from("a"), output("a"), Transformed::default());
        let missing = {
            let mut reader = Reader::new(&known);
            reader.read(&path, &given, std::slice::from_ref(&plugin)).unwrap();
            reader.complete().unwrap_err()
        };
        known.insert(missing[0].clone(), output("b"));
        let mut reader = Reader::new(&known);
        assert_eq!(&*reader.read(&path, &given, std::slice::from_ref(&plugin)).unwrap().content, "b");
        assert!(reader.complete().is_ok());
        reader.read(&path, &output("a"), std::slice::from_ref(&plugin)).unwrap();
        assert_eq!(reader.complete().unwrap_err().len(), 1);
    }
}
