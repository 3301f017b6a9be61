//! JSON Schemas that stand in documents.

use super::code;
use super::decode::Decoder;
use super::kind::Fields;
use crate::{limits, schema};
use serde_json::Value;
use std::sync::Arc;

impl Decoder<'_> {
    /// The JSON Schema under a key, when it is one.
    pub(super) fn json_schema(&mut self, fields: &Fields<'_>, key: &str) -> Option<Arc<Value>> {
        let node = fields.get(key)?;
        let schema = node.to_json();
        let mut faults: Vec<(String, String)> = Vec::new();
        for error in jsonschema::draft202012::meta::validator().iter_errors(&schema).take(5) {
            faults.push((error.instance_path().to_string(), format!("not a JSON Schema: {error}")));
        }
        if faults.is_empty() {
            faults.extend(unusable(&schema));
        }
        for (pointer, message) in &faults {
            let message: String = message.chars().take(limits::EXPRESSION_ERROR_CHARS).collect();
            self.report.error(code::BAD_SCHEMA, node.at_pointer(pointer), message);
        }
        faults.is_empty().then(|| Arc::new(schema))
    }
}

/// Why a schema that is one cannot be used, and where.
fn unusable(schema: &Value) -> Option<(String, String)> {
    if let Err(error) = schema::check_bounds(schema) {
        return Some((String::new(), format!("the schema cannot be used: {error}")));
    }
    let error = schema::validator(schema).err()?;
    let message = match error.kind() {
        jsonschema::error::ValidationErrorKind::Referencing(_) => {
            "the schema refers to something that it does not have".to_owned()
        }
        _ => format!("not a JSON Schema: {error}"),
    };
    Some((error.instance_path().to_string(), message))
}
