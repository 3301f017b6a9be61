//! What the macros implement: a tool is a name, a definition and a call, a
//! plugin is a list of tools, a transform, a condition, or several of these. Calls arrive here as JSON text.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::definition::{Definition, Description};
use crate::error::{Error, Result};
use crate::output::{IntoOutput, ToolOutput};
use crate::pure::{Condition, Transform};

/// One tool. Implemented by `#[tool]`.
pub trait Tool {
    /// Its name within the plugin.
    const NAME: &'static str;

    /// How it describes itself.
    fn definition() -> Definition;

    /// Decodes the arguments and runs the function.
    ///
    /// # Errors
    ///
    /// Arguments that do not fit, and whatever the function answers.
    fn call(ctx: &Context, args: &str) -> Result<ToolOutput>;
}

/// A plugin. Implemented by [`plugin!`](crate::plugin!) for a type of that name,
/// so that native tests can call it just as the host does.
pub trait Plugin {
    /// Who it says it is.
    fn describe() -> Description;

    /// All tools, in the order of their listing.
    fn tools() -> Vec<Definition>;

    /// Runs the tool `name` with arguments as JSON text.
    ///
    /// # Errors
    ///
    /// An unknown name, and whatever the tool answers.
    fn call(ctx: &Context, name: &str, args: &str) -> Result<ToolOutput>;
}

/// A plugin that is a transform. Implemented by [`plugin!`](crate::plugin!) for the same type.
pub trait TransformPlugin: Plugin {
    /// The transform.
    type Transform: Transform;
}

/// A plugin that is a condition. Implemented by [`plugin!`](crate::plugin!) for the same type.
pub trait ConditionPlugin: Plugin {
    /// The condition.
    type Condition: Condition;
}

/// The return type of a function that `#[tool]` marks, so that the macro need
/// not take the type `Result<T>` apart, whatever alias it is written as.
#[doc(hidden)]
pub trait Returned {
    /// See [`IntoOutput::output_schema`].
    fn output_schema() -> Option<serde_json::Value>;
    /// See [`IntoOutput::into_output`].
    fn into_output(self) -> Result<ToolOutput>;
}

impl<T: IntoOutput> Returned for Result<T> {
    fn output_schema() -> Option<serde_json::Value> {
        T::output_schema()
    }

    fn into_output(self) -> Result<ToolOutput> {
        self?.into_output()
    }
}

/// The arguments of a tool that takes none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[doc(hidden)]
pub struct NoArguments {}

/// Decodes arguments; an error names the field that does not fit.
#[doc(hidden)]
pub fn decode<T: DeserializeOwned>(args: &str) -> Result<T> {
    let mut decoder = serde_json::Deserializer::from_str(args);
    let value = serde_path_to_error::deserialize(&mut decoder).map_err(|error| {
        let path = error.path().to_string();
        let text = error.inner().to_string();
        // A place in text that the caller never saw as text helps nobody.
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        if path == "." {
            Error::invalid_input(format!("arguments: {reason}"))
        } else {
            Error::invalid_input(format!("argument `{path}`: {reason}"))
        }
    })?;
    decoder.end().map_err(|_| Error::invalid_input("arguments: something follows the JSON object"))?;
    Ok(value)
}

/// The answer to a call of a tool that is not listed.
#[doc(hidden)]
pub fn unknown_tool(name: &str, known: &[&str]) -> Error {
    Error::not_found(format!("no tool `{name}` here, there is {}", known.join(", "))).with_code("unknown_tool")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[derive(Deserialize, Debug)]
    struct Args {
        #[expect(dead_code, reason = "decoded to see it fail")]
        rows: Vec<Row>,
    }

    #[derive(Deserialize, Debug)]
    struct Row {
        #[expect(dead_code, reason = "decoded to see it fail")]
        count: u32,
    }

    #[test]
    fn an_argument_that_does_not_fit_is_named_with_its_path() {
        let error = decode::<Args>(r#"{"rows": [{"count": 1}, {"count": "x"}]}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.message(), "argument `rows[1].count`: invalid type: string \"x\", expected u32");
    }

    #[test]
    fn a_missing_argument_is_named() {
        let error = decode::<Args>("{}").unwrap_err();
        assert_eq!(error.message(), "arguments: missing field `rows`");
    }

    #[test]
    fn text_after_the_arguments_is_refused() {
        let error = decode::<NoArguments>("{} {}").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
