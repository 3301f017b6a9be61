//! Where in an event content stands: text and data that steps, models and tools have made.
//!
//! Names, positions, counts and states are no content.

use super::{
    Approved, Body, Changes, Delivered, Dropped, OpenApproval, OpenQuestion, Posted, Recalled, Seen, StepOutput, Told,
    Waiting,
};
use crate::fault::Fault;
use crate::message::{Message, ToolCall};
use crate::model_options::ModelOptions;
use crate::value::Map;
use serde_json::Value;
use std::sync::Arc;

/// Looks at content and says what shall stand in its place; none leaves it.
pub(crate) trait Change {
    fn text(&mut self, text: &str) -> Option<String>;
    /// Looks at why something failed.
    fn why(&mut self, fault: &Fault) -> Option<String> {
        self.text(&fault.message)
    }
    fn value(&mut self, value: &Value) -> Option<Value>;
}

/// Shows the names of changed files to `change`.
pub(crate) fn changes(of: &mut Changes, change: &mut dyn Change) {
    of.files.iter_mut().for_each(|file| text(&mut file.path, change));
    of.conflicts.iter_mut().for_each(|conflict| text(&mut conflict.path, change));
    of.incomplete.iter_mut().for_each(|why| text(why, change));
}

fn recalled(of: &mut Recalled, change: &mut dyn Change) {
    shared(&mut of.input, change);
    of.found.iter_mut().for_each(|found| text(&mut found.id, change));
    shared(&mut of.text, change);
}

/// Shows what a run waits with to `change`.
pub(crate) fn question(of: &mut OpenQuestion, change: &mut dyn Change) {
    asked(&mut of.question, &mut of.choices, change);
}

fn asked(question: &mut String, choices: &mut [String], change: &mut dyn Change) {
    text(question, change);
    choices.iter_mut().for_each(|choice| text(choice, change));
}

fn waiting(of: &mut Waiting, change: &mut dyn Change) {
    of.questions.iter_mut().for_each(|open| question(open, change));
    of.approvals.iter_mut().for_each(|open| approval(open, change));
}

fn resumed(settings: &mut Map, approved: &mut [Approved], change: &mut dyn Change) {
    map(settings, change);
    approved.iter_mut().flat_map(|said| &mut said.reason).for_each(|reason| text(reason, change));
}

/// The same of a call.
pub(crate) fn approval(of: &mut OpenApproval, change: &mut dyn Change) {
    shared_data(&mut of.args, change);
}

/// Shows all content of an event to `change`.
pub(crate) fn visit(body: &mut Body, change: &mut dyn Change) {
    match body {
        Body::RunStarted { sources, inputs, input, settings, .. } => {
            sources.iter_mut().for_each(|source| shared(&mut source.text, change));
            map(inputs, change);
            input.iter_mut().for_each(|input| shared(input, change));
            map(settings, change);
        }
        Body::RunResumed { settings, approved, .. } => resumed(settings, approved, change),
        Body::RunFinished { output, error, .. } => {
            data(output, change);
            fault(error.as_mut(), change);
        }
        Body::StepStarted { items, inputs, .. } => {
            for item in items.iter_mut().flat_map(Arc::make_mut) {
                data(item, change);
            }
            if let Some(inputs) = inputs {
                map(Arc::make_mut(inputs), change);
            }
        }
        Body::StepFinished { output: gave, error, .. } => {
            output(gave, change);
            fault(error.as_mut(), change);
        }
        Body::StepRetrying { error, .. } | Body::PluginFailed { error, .. } => fault(Some(error), change),
        Body::QuestionAsked { question, choices, .. } => asked(question, choices, change),
        Body::StepWaiting(waiting) => self::waiting(waiting, change),
        Body::QuestionAnswered { answer: value, .. } | Body::VariableSet { value, .. } => data(value, change),
        Body::MemorySeen(seen) => self::seen(seen, change),
        Body::MessagePosted(Posted { text: told, .. })
        | Body::MessageDelivered(Delivered { text: told, .. })
        | Body::MessageDropped(Dropped { text: told, .. })
        | Body::Told(Told { text: told, .. })
        | Body::Narrated { text: told, .. }
        | Body::Summarized { summary: told } => shared(told, change),
        Body::MemoryRecalled(of) => recalled(of, change),
        Body::TurnStarted { options, .. } => model_options(options, change),
        Body::TurnFinished { message, .. } => said(message, change),
        Body::MemoryWritten { value: held, .. }
        | Body::ToolCallStarted { args: held, .. }
        | Body::PermissionAsked { args: held, .. } => shared_data(held, change),
        Body::ToolCallFinished { result, content, error, .. } => {
            shared_data(result, change);
            shared(content, change);
            fault(error.as_mut(), change);
        }
        Body::StepSkipped { detail: told, .. }
        | Body::StepCancelled { detail: told }
        | Body::OutputDelta { text: told, .. }
        | Body::ThinkingDelta { text: told, .. }
        | Body::Progress { message: told, .. }
        | Body::PluginDenied { request: told, .. }
        | Body::Warning { message: told, .. } => text(told, change),
        Body::FilesChanged(changes) => self::changes(changes, change),
        Body::StepReady {}
        | Body::MemoryDeleted { .. }
        | Body::LoopIterationStarted { .. }
        | Body::LoopIterationFinished { .. }
        | Body::LoopFinished { .. }
        | Body::LoopPostponed { .. }
        | Body::BranchChosen { .. }
        | Body::TurnFailed { .. }
        | Body::Spent(_)
        | Body::BudgetWarning(_)
        | Body::BudgetExhausted(_)
        | Body::PermissionDecided { .. }
        | Body::EffectDecided { .. }
        | Body::Unknown => {}
        Body::Newer(fields) => map(Arc::make_mut(fields), change),
    }
}

fn output(output: &mut StepOutput, change: &mut dyn Change) {
    shared(&mut output.content, change);
    shared_data(&mut output.result, change);
    if !output.metadata.is_empty() {
        map(Arc::make_mut(&mut output.metadata), change);
    }
}

fn seen(seen: &mut Seen, change: &mut dyn Change) {
    let values = Arc::make_mut(&mut seen.entries).iter_mut().filter_map(|entry| entry.value.as_mut());
    values.for_each(|value| shared_data(value, change));
}

fn model_options(slot: &mut Arc<ModelOptions>, change: &mut dyn Change) {
    if slot.is_empty() {
        return;
    }
    let options = Arc::make_mut(slot);
    options.stop.iter_mut().flatten().chain(options.headers.values_mut()).for_each(|told| text(told, change));
    options.reasoning.iter_mut().for_each(|told| data(told, change));
    options.provider.values_mut().for_each(|body| map(body, change));
}

/// What somebody said.
pub(crate) fn said(message: &mut Message, change: &mut dyn Change) {
    match message {
        Message::System { text } | Message::User { text, .. } | Message::Tool { text, .. } => shared(text, change),
        Message::Assistant { text, tool_calls, opaque } => {
            shared(text, change);
            for ToolCall { name, arguments, .. } in tool_calls {
                // A model may make up any name.
                self::text(name, change);
                self::text(arguments, change);
            }
            opaque.iter_mut().for_each(|opaque| data(&mut opaque.data, change));
        }
    }
}

pub(crate) fn fault(fault: Option<&mut Fault>, change: &mut dyn Change) {
    let Some(fault) = fault else { return };
    if let Some(message) = change.why(fault) {
        fault.message = message;
    }
    fault.hint.iter_mut().for_each(|hint| text(hint, change));
    fault.detail.iter_mut().for_each(|detail| data(detail, change));
}

pub(crate) fn text(slot: &mut String, change: &mut dyn Change) {
    if let Some(new) = change.text(slot) {
        *slot = new;
    }
}

pub(crate) fn shared(slot: &mut Arc<str>, change: &mut dyn Change) {
    if let Some(new) = change.text(slot) {
        *slot = new.into();
    }
}

pub(crate) fn data(slot: &mut Value, change: &mut dyn Change) {
    if let Some(new) = change.value(slot) {
        *slot = new;
    }
}

pub(crate) fn shared_data(slot: &mut Arc<Value>, change: &mut dyn Change) {
    if let Some(new) = change.value(slot) {
        *slot = Arc::new(new);
    }
}

pub(crate) fn map(map: &mut Map, change: &mut dyn Change) {
    map.values_mut().for_each(|value| data(value, change));
}
