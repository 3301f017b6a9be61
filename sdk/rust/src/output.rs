//! What a tool returns, and how a plain value becomes it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::definition::schema_of_result;
use crate::error::{Error, Result};

/// A result value as it crosses to the host.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// Structured data.
    Json(Value),
    /// Plain text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// The id of bytes that the host keeps.
    Blob(String),
}

/// A finished call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOutput {
    /// The result.
    pub value: Payload,
    /// What a model reads in its place.
    pub summary: Option<String>,
}

/// A value with a summary: return it where a model should not read the value
/// itself, because it is long or because one line says it all.
#[derive(Clone, Debug, PartialEq)]
pub struct Output<T> {
    /// The result: what later steps see.
    pub value: T,
    /// What a model reads in its place.
    pub summary: Option<String>,
}

impl<T> Output<T> {
    /// A value without a summary.
    pub fn new(value: T) -> Self {
        Self { value, summary: None }
    }

    /// Adds the summary.
    #[must_use]
    pub fn with_summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }
}

/// A result that is text and not a JSON string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

/// What a function marked with `#[tool]` may return: any serialisable value,
/// [`Text`], a [`Payload`], or one of these in an [`Output`].
pub trait IntoOutput {
    /// The JSON Schema of the result, if it is structured.
    fn output_schema() -> Option<Value>;

    /// The result as it crosses to the host.
    ///
    /// # Errors
    ///
    /// When the value cannot be expressed as JSON, such as a map whose keys are
    /// not strings.
    fn into_output(self) -> Result<ToolOutput>;
}

impl<T: Serialize + JsonSchema> IntoOutput for T {
    fn output_schema() -> Option<Value> {
        schema_of_result::<T>()
    }

    fn into_output(self) -> Result<ToolOutput> {
        let value =
            serde_json::to_value(self).map_err(|error| Error::internal(format!("the result is not JSON: {error}")))?;
        Ok(ToolOutput { value: Payload::Json(value), summary: None })
    }
}

impl IntoOutput for Text {
    fn output_schema() -> Option<Value> {
        None
    }

    fn into_output(self) -> Result<ToolOutput> {
        Ok(ToolOutput { value: Payload::Text(self.0), summary: None })
    }
}

impl IntoOutput for Payload {
    fn output_schema() -> Option<Value> {
        None
    }

    fn into_output(self) -> Result<ToolOutput> {
        Ok(ToolOutput { value: self, summary: None })
    }
}

impl<T: IntoOutput> IntoOutput for Output<T> {
    fn output_schema() -> Option<Value> {
        T::output_schema()
    }

    fn into_output(self) -> Result<ToolOutput> {
        let inner = self.value.into_output()?;
        Ok(ToolOutput { value: inner.value, summary: self.summary.or(inner.summary) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_value_becomes_json() {
        let output = vec![1, 2].into_output().unwrap();
        assert_eq!(output.value, Payload::Json(Value::from(vec![1, 2])));
        assert_eq!(output.summary, None);
    }

    #[test]
    fn a_summary_goes_along_with_any_kind_of_value() {
        let output = Output::new(Text("long".into())).with_summary("short").into_output().unwrap();
        assert_eq!(output.value, Payload::Text("long".into()));
        assert_eq!(output.summary.as_deref(), Some("short"));
    }
}
