//! JSON Schemas that stand in documents.

use super::code;
use super::decode::Decoder;
use super::kind::Fields;
use crate::limits;
use serde_json::Value;
use std::sync::Arc;

impl Decoder<'_> {
    /// The JSON Schema under a key, when it is one.
    pub(super) fn json_schema(&mut self, fields: &Fields<'_>, key: &str) -> Option<Arc<Value>> {
        let node = fields.get(key)?;
        let schema = node.to_json();
        let mut faults: Vec<(String, String)> = Vec::new();
        for error in jsonschema::draft202012::meta::validator().iter_errors(&schema).take(5) {
            faults.push((error.instance_path().to_string(), error.to_string()));
        }
        let options = || jsonschema::draft202012::options().with_pattern_options(jsonschema::PatternOptions::regex());
        if faults.is_empty()
            && let Err(error) = options().build(&schema)
        {
            let message = match error.kind() {
                jsonschema::error::ValidationErrorKind::Referencing(_) => {
                    "it refers to something outside itself".to_owned()
                }
                _ => error.to_string(),
            };
            faults.push((error.instance_path().to_string(), message));
        }
        for (pointer, message) in &faults {
            let message: String = message.chars().take(limits::EXPRESSION_ERROR_CHARS).collect();
            self.report.error(code::BAD_SCHEMA, node.at_pointer(pointer), format!("not a JSON Schema: {message}"));
        }
        faults.is_empty().then(|| Arc::new(schema))
    }
}
