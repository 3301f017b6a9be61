//! Expressions: CEL inside a fence.

use crate::value::Map;
use serde_json::Value;
use std::sync::Arc;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expr {
    source: Arc<str>,
}

/// Why an evaluation gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A key or path is not there.
    #[error("{0}")]
    Missing(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Expr {
    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
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

    /// Evaluates it over the given variables.
    ///
    /// # Errors
    /// When a key is missing, or for any other fault of evaluation.
    pub fn evaluate(&self, _variables: &Map) -> Result<Value, EvalError> {
        Err(EvalError::Failed("not built".into()))
    }
}
