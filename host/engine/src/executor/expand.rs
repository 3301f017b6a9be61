//! What a step begins with: the items of a loop, the inputs of an included document.

use super::Answer;
use super::perform::failed;
use super::run::Run;
use cofferdam_core::event::Body;
use cofferdam_core::expr::EvalError;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::run::Emission;
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::workflow::{Include, Items, LoopKind, Work};
use cofferdam_core::value::{self, Map};
use serde_json::Value;
use std::sync::Arc;

impl Run {
    pub(super) fn expand(&mut self, path: StepPath) -> Option<Emission> {
        let step = self.machine.step_at(&path)?;
        let items = match step.repeat.as_ref().map(|repeat| &repeat.kind) {
            Some(LoopKind::ForEach(each)) => Some(each.items.clone()),
            Some(LoopKind::Repeat(_)) | None => None,
        };
        match (items, &step.work) {
            (Some(Items::List(items)), _) => {
                let body = self.checked(started(Some(items), None));
                Some(Emission { path, attempt: None, body })
            }
            (Some(Items::Expr(expr)), _) => {
                let variables = self.machine.variables(&path, &expr);
                self.evaluate(&path, move || expr.evaluate(&variables), items_of);
                None
            }
            (None, Work::Include(include)) => {
                if include.with.is_constant() {
                    let body = inputs_of(include, include.with.render(&Map::new()));
                    return Some(Emission { path, attempt: None, body });
                }
                let include = Box::clone(include);
                let variables = self.machine.variables(&path, &include.with);
                let with = include.with.clone();
                // A template may work for a while, so it does not stand in the way of the loop.
                self.evaluate(
                    &path,
                    move || with.render(&variables),
                    move |outcome| inputs_of(&include, outcome).into(),
                );
                None
            }
            (None, _) => Some(Emission { path, attempt: None, body: started(None, None) }),
        }
    }
}

pub(crate) fn started(items: Option<Arc<Vec<Value>>>, inputs: Option<Arc<Map>>) -> Body {
    Body::StepStarted { agent: None, tool: None, items, inputs, narrowed: Vec::new() }
}

pub(crate) fn items_of(outcome: Result<Value, EvalError>) -> Answer {
    let body = match outcome {
        Ok(Value::Array(items)) => started(Some(Arc::new(items)), None),
        Ok(other) => {
            failed(Fault::step("for_each", format!("forEach gave {} instead of a list", value::describe(&other))))
        }
        Err(error) => failed(Fault::step("for_each", format!("cannot evaluate forEach: {error}"))),
    };
    body.into()
}

/// The values of a document's inputs: what `with` gives, defaults for the rest.
pub(crate) fn inputs_of(include: &Include, rendered: Result<Value, EvalError>) -> Body {
    let rendered = match rendered {
        Ok(rendered) => rendered,
        Err(error) => return failed(Fault::step("template", format!("cannot render `with`: {error}"))),
    };
    let given = match rendered {
        Value::Object(given) => given,
        Value::Null => Map::new(),
        other => {
            let message = format!("`with` gave {} instead of an object", value::describe(&other));
            return failed(Fault::step("include_inputs", message));
        }
    };
    let given: Vec<_> = given.into_iter().map(|(name, value)| (name, InputText::Value(value))).collect();
    match include.bind_inputs(&given) {
        Ok(inputs) => started(None, Some(Arc::new(inputs))),
        Err(faults) => {
            let messages: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
            let message = format!("the inputs of `{}` do not fit: {}", include.name, messages.join("; "));
            failed(Fault::step("include_inputs", message))
        }
    }
}
