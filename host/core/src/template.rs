//! Templates: JSON whose strings are rendered from a run's data.

use crate::expr::EvalError;
use crate::value::Map;
use serde_json::Value;
use std::sync::Arc;

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    source: Arc<Value>,
}

impl Template {
    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// The ids of the steps it reads.
    #[must_use]
    pub fn steps(&self) -> &[Arc<str>] {
        &[]
    }

    /// Whether it reads a root variable (`inputs`, `item`, ...).
    #[must_use]
    pub fn reads(&self, _root: &str) -> bool {
        false
    }

    /// Renders it over the given variables.
    ///
    /// # Errors
    /// When something that it reads is missing, or it costs too much.
    pub fn render(&self, _variables: &Map) -> Result<Value, EvalError> {
        Err(EvalError::Failed("not built".into()))
    }
}
