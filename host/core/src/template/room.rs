//! What a rendering may still grow by.

use crate::expr::EvalError;
use crate::limits;
use crate::value;
use serde_json::Value;

/// How many bytes the result may still grow by.
pub(super) struct Room(usize);

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| {
            EvalError::Failed(format!("the result of the template has more than {} bytes", limits::TEMPLATE_BYTES))
        })?;
        Ok(())
    }

    /// A copy of a value of the data, when there is room for it.
    pub(super) fn copy(&mut self, value: &Value) -> Result<Value, EvalError> {
        self.take(value::size(value).saturating_sub(2))?;
        Ok(value.clone())
    }
}
