//! The message of an agent step, once more. It stands in no record: what can be found out is whether it can be made, and
//! what of it was shortened.

use super::Replayer;
use crate::attempt::{message_fault, template_fault, within_bounds};
use crate::context_files;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::AgentInput;
use cofferdam_core::run::{Draft, Machine, MessageError, with_files};
use cofferdam_core::spec::workflow::AgentWork;
use cofferdam_core::transform::Transform;
use cofferdam_core::value;

/// A message that was made again.
pub(super) enum Made {
    /// With the inputs that were shortened; none when nobody here knows.
    Message(AgentInput, Option<Vec<String>>),
    Fault(Box<Fault>),
}

impl From<Fault> for Made {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl Replayer {
    /// Makes the message again. What is not here to make it of is named, and an empty one takes its place.
    pub(super) async fn message(
        &mut self,
        machine: &Machine,
        (path, attempt): (&StepPath, u32),
        work: &AgentWork,
        input: &[Transform],
    ) -> Made {
        let unknown = || Made::Message(AgentInput::default(), None);
        let Ok(files) = context_files::read(&work.context_files, &self.ports.sources).await else {
            self.take(format!("the message of step `{path}`: its context files are not here"));
            return unknown();
        };
        let bounds = self.workflow.options.limits;
        let attached = !files.attachments.is_empty();
        let (text, shortened) = match &work.input {
            Some(template) => match template.render(&machine.variables(path, template)) {
                Err(error) => return template_fault("input", &error).into(),
                Ok(rendered) => match within_bounds(with_files(value::to_text(&rendered), &files.section), bounds) {
                    Err(fault) => return fault.into(),
                    Ok(text) => (text, Vec::new()),
                },
            },
            None => match self.draft(machine, path).await {
                Ok(None) => return unknown(),
                Err(fault) => return fault.into(),
                Ok(Some(draft)) => match draft.assemble(&files.section) {
                    Ok(assembled) => (assembled.text, assembled.truncated),
                    Err(MessageError::Empty) if attached => (String::new(), Vec::new()),
                    Err(error) => return message_fault(&error).into(),
                },
            },
        };
        if let Some(missing) = self.missing(input, path) {
            self.take(missing);
            return unknown();
        }
        let chains = self.scope.chains(&self.ports, machine, path, Some(attempt));
        let changed = self.scope.wait_for(machine, chains.apply_to_text(input, text)).await;
        // Files may be others than they were, and take other room.
        let shortened = work.context_files.is_empty().then_some(shortened);
        match changed.and_then(|text| within_bounds(text, bounds)) {
            Err(fault) => fault.into(),
            Ok(text) if text.trim().is_empty() && !attached => message_fault(&MessageError::Empty).into(),
            Ok(text) => Made::Message(AgentInput { message: text.into(), attachments: files.attachments }, shortened),
        }
    }

    /// What the message is made of, with the outputs that plugins change; none when one of them is not here.
    async fn draft(&mut self, machine: &Machine, path: &StepPath) -> Result<Option<Draft>, Fault> {
        loop {
            let outputs = match machine.message(path, &self.transformed) {
                Ok(draft) => return Ok(Some(draft)),
                Err(MessageError::Untransformed(outputs)) => outputs,
                Err(error) => return Err(message_fault(&error)),
            };
            for of in outputs {
                if let Some(missing) = self.missing(&of.chain, &of.path) {
                    self.take(missing);
                    return Ok(None);
                }
                let chains = self.scope.chains(&self.ports, machine, &of.path, None);
                let work = chains.apply(&of.chain, of.output.clone());
                let became = self.scope.wait_for(machine, work).await.map_err(|fault| {
                    let message = format!("what step `{}` gave cannot be transformed: {}", of.path, fault.message);
                    Fault { message, ..fault }
                })?;
                self.transformed.insert(of, became);
            }
        }
    }
}
