//! Transforms and conditions: what the attribute macros implement, and what their functions take and give.
//!
//! Both are pure. The host calls them again after a crash and counts on the same answer: the clock stands, random
//! numbers are the same each time, and there is nothing to ask but the configuration.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[cfg(target_family = "wasm")]
use crate::component::Host;
use crate::context::{CallInfo, Level};
use crate::error::{Error, Result};
#[cfg(not(target_family = "wasm"))]
use crate::fake::{Fake, Host};
use crate::output::Payload;

/// A pure call's view of the host: log lines and the configuration, nothing else.
#[derive(Clone, Debug)]
pub struct PureContext {
    info: CallInfo,
    host: Host,
}

impl PureContext {
    pub(crate) fn new(info: CallInfo, host: Host) -> Self {
        Self { info, host }
    }

    /// A context for tests of a plugin's logic, with nothing configured. [`Fake::pure_context`] is one that has more.
    #[cfg(not(target_family = "wasm"))]
    pub fn fake() -> Self {
        Fake::new().pure_context()
    }

    /// Where in a run this call happens.
    pub fn info(&self) -> &CallInfo {
        &self.info
    }

    /// Writes a line to the log of the run.
    pub fn log(&self, level: Level, message: &str) {
        self.host.log(level, message, &[]);
    }

    /// The configuration of this plugin.
    ///
    /// # Errors
    ///
    /// A configuration that is not of the type `T`; the message names the field.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T> {
        crate::plugin::decode(&self.host.config()).map_err(|error| {
            let message = error.message().replace("argument", "configuration");
            Error::invalid_input(message).with_code("configuration")
        })
    }
}

/// Something on its way into a step or out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What it is of its batch: `content` is a text, `result` data.
    pub id: String,
    /// The text or the data.
    pub value: Payload,
}

impl Item {
    /// An item that is text.
    pub fn text(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), value: Payload::Text(text.into()) }
    }

    /// An item that is data.
    pub fn json(id: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { id: id.into(), value: Payload::Json(value.into()) }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Payload::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The data, if it is some.
    pub fn as_json(&self) -> Option<&Value> {
        match &self.value {
            Payload::Json(value) => Some(value),
            _ => None,
        }
    }

    /// The same item with this text.
    #[must_use]
    pub fn with_text(self, text: impl Into<String>) -> Self {
        Self { value: Payload::Text(text.into()), ..self }
    }

    /// The same item with this data.
    #[must_use]
    pub fn with_json(self, value: impl Into<Value>) -> Self {
        Self { value: Payload::Json(value.into()), ..self }
    }
}

/// What becomes of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It stays one item, perhaps a changed one.
    Keep(Item),
    /// These take its place.
    Replace(Vec<Item>),
    /// It is left out; the text says why.
    Drop(String),
    /// It cannot be changed, and the step fails.
    Fail(Error),
}

/// Whether a step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Proceed,
    /// It is skipped, for this reason.
    Skip(String),
    /// It is skipped, and with it all of its scope that has not begun.
    Stop(String),
}

/// A transform. Implemented by `#[transform]`.
pub trait Transform {
    /// JSON Schema of its options, if it takes any.
    fn options_schema() -> Option<Value>;

    /// One outcome for each item, in the same order.
    fn apply(ctx: &PureContext, options: &str, items: Vec<Item>) -> Vec<Outcome>;
}

/// A condition. Implemented by `#[condition]`.
///
/// ```
/// use cofferdam_sdk::{PureContext, Result, Verdict, condition};
/// use serde_json::{Value, json};
///
/// /// Lets a step run when the input asks for it, and picks the step whose label the input names.
/// #[condition(choose = pick)]
/// fn wanted(_ctx: &PureContext, view: &Value) -> Result<Verdict> {
///     match view["inputs"]["wanted"].as_bool() {
///         Some(true) => Ok(Verdict::Proceed),
///         _ => Ok(Verdict::Skip("nobody asked for it".into())),
///     }
/// }
///
/// fn pick(_ctx: &PureContext, labels: &[String], view: &Value) -> Result<Option<usize>> {
///     Ok(labels.iter().position(|label| view["inputs"]["label"] == json!(label)))
/// }
///
/// let ctx = PureContext::fake();
/// assert_eq!(wanted(&ctx, &json!({ "inputs": { "wanted": true } }))?, Verdict::Proceed);
/// let labels = ["bug".to_owned(), "question".to_owned()];
/// assert_eq!(pick(&ctx, &labels, &json!({ "inputs": { "label": "question" } }))?, Some(1));
/// # Ok::<(), cofferdam_sdk::Error>(())
/// ```
pub trait Condition {
    /// JSON Schema of its options, if it takes any.
    fn options_schema() -> Option<Value>;

    /// Decides about one step.
    ///
    /// # Errors
    ///
    /// Options or a view that do not fit, and whatever the function answers.
    fn decide(ctx: &PureContext, options: &str, view: &str) -> Result<Verdict>;

    /// Picks one of the labels by its index, or none.
    ///
    /// # Errors
    ///
    /// As [`Self::decide`].
    fn choose(ctx: &PureContext, options: &str, labels: Vec<String>, view: &str) -> Result<Option<usize>>;
}

/// What a function marked with `#[transform]` may return: an outcome for each item, or changed items.
pub trait IntoOutcome {
    /// The outcome.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl IntoOutcome for Item {
    fn into_outcome(self) -> Outcome {
        Outcome::Keep(self)
    }
}

impl<T: IntoOutcome> IntoOutcome for Result<T> {
    fn into_outcome(self) -> Outcome {
        self.map_or_else(Outcome::Fail, T::into_outcome)
    }
}

/// A function of one item, called for each.
#[doc(hidden)]
pub fn each<T: IntoOutcome>(items: Vec<Item>, mut function: impl FnMut(Item) -> T) -> Vec<Outcome> {
    items.into_iter().map(|item| function(item).into_outcome()).collect()
}

/// A function of the whole batch.
#[doc(hidden)]
pub fn all<T: IntoOutcome>(items: Vec<Item>, function: impl FnOnce(Vec<Item>) -> Result<Vec<T>>) -> Vec<Outcome> {
    let count = items.len();
    match function(items) {
        Ok(outcomes) => outcomes.into_iter().map(IntoOutcome::into_outcome).collect(),
        Err(error) => vec![Outcome::Fail(error); count],
    }
}

/// Decodes options; an error names the one that does not fit.
#[doc(hidden)]
pub fn options<T: DeserializeOwned>(text: &str) -> Result<T> {
    crate::plugin::decode(text)
        .map_err(|error| Error::invalid_input(error.message().replace("argument", "option")).with_code("options"))
}

/// Options that do not fit fail every item.
#[doc(hidden)]
pub fn refuse(error: &Error, items: &[Item]) -> Vec<Outcome> {
    vec![Outcome::Fail(error.clone()); items.len()]
}

/// The JSON Schema of options.
#[doc(hidden)]
pub fn options_schema<T: JsonSchema>() -> Option<Value> {
    Some(crate::definition::schema_of::<T>())
}

/// The answer of a condition that only decides.
#[doc(hidden)]
pub fn no_choice() -> Result<Option<usize>> {
    let message = "it decides about single steps and chooses between none: take the `label` away";
    Err(Error::new(crate::ErrorKind::Unsupported, message).with_code("no_choice"))
}

/// Decodes what a condition sees.
#[doc(hidden)]
pub fn view(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::internal(format!("the view is not JSON: {error}")))
}

/// The options of what takes none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[doc(hidden)]
pub struct NoOptions {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    struct Options {
        #[expect(dead_code, reason = "decoded to see it fail")]
        most: u32,
    }

    #[test]
    fn an_option_that_does_not_fit_is_named() {
        let error = options::<Options>(r#"{"most": "x"}"#).unwrap_err();
        assert_eq!(error.message(), "option `most`: invalid type: string \"x\", expected u32");
    }

    #[test]
    fn what_fails_for_the_batch_fails_for_each_item() {
        let items = vec![Item::text("a", "x"), Item::json("b", 1)];
        let outcomes = all(items, |_| Err::<Vec<Outcome>, _>(Error::invalid_input("no")));
        assert_eq!(outcomes, vec![Outcome::Fail(Error::invalid_input("no")); 2]);
    }
}
