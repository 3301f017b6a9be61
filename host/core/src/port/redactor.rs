//! What must not be written anywhere: values of secrets, wherever they come up.

use crate::event::Body;
use crate::event::slots::{self, Change};
use crate::fault::Fault;
use crate::message::Message;
use crate::value::Map;
use serde_json::Value;
use std::sync::Arc;

/// Knows the values that nobody may see, and finds them in texts. It may learn more of them at any time.
///
/// Cheap to ask while it knows nothing. It finds values as they are and in the forms that text takes on its way
/// (base64, percent, inside of JSON); it cannot find what was changed otherwise.
pub trait Redactor: Send + Sync {
    /// The text without what must not be seen; none when there is nothing of it.
    fn redact(&self, text: &str) -> Option<String>;

    /// Whether it knows nothing yet, so that nothing need be looked at.
    fn is_idle(&self) -> bool {
        false
    }
}

/// Knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRedactor;

impl Redactor for NoRedactor {
    fn redact(&self, _text: &str) -> Option<String> {
        None
    }

    fn is_idle(&self) -> bool {
        true
    }
}

/// Redacts what an event contains.
pub fn redact_event(redactor: &dyn Redactor, body: &mut Body) {
    if !redactor.is_idle() {
        slots::visit(body, &mut Redacting(redactor));
    }
}

/// Redacts a message of a conversation.
pub fn redact_message(redactor: &dyn Redactor, message: &mut Message) {
    if !redactor.is_idle() {
        slots::said(message, &mut Redacting(redactor));
    }
}

/// Redacts why something failed.
pub fn redact_fault(redactor: &dyn Redactor, fault: &mut Fault) {
    slots::fault(Some(fault), &mut Redacting(redactor));
}

/// Redacts data in place.
pub fn redact_value(redactor: &dyn Redactor, value: &mut Arc<Value>) {
    slots::shared_data(value, &mut Redacting(redactor));
}

/// Redacts what data by name contains.
pub fn redact_map(redactor: &dyn Redactor, map: &mut Map) {
    if !redactor.is_idle() {
        slots::map(map, &mut Redacting(redactor));
    }
}

/// Redacts text in place.
pub fn redact_text(redactor: &dyn Redactor, text: &mut Arc<str>) {
    slots::shared(text, &mut Redacting(redactor));
}

struct Redacting<'r>(&'r dyn Redactor);

impl Change for Redacting<'_> {
    fn text(&mut self, text: &str) -> Option<String> {
        self.0.redact(text)
    }

    fn value(&mut self, value: &Value) -> Option<Value> {
        match value {
            Value::Null | Value::Bool(_) => None,
            Value::Number(number) => self.0.redact(&number.to_string()).map(Value::from),
            Value::String(text) => self.0.redact(text).map(Value::from),
            Value::Array(items) => {
                let changed: Vec<Option<Value>> = items.iter().map(|item| self.value(item)).collect();
                let item = |(new, old): (Option<Value>, &Value)| new.unwrap_or_else(|| old.clone());
                changed.iter().any(Option::is_some).then(|| changed.into_iter().zip(items).map(item).collect())
            }
            Value::Object(map) => {
                let changed: Vec<_> = map.iter().map(|(key, item)| (self.0.redact(key), self.value(item))).collect();
                changed.iter().any(|(key, item)| key.is_some() || item.is_some()).then(|| {
                    let entries = changed.into_iter().zip(map).map(|((key, item), (old_key, old))| {
                        (key.unwrap_or_else(|| old_key.clone()), item.unwrap_or_else(|| old.clone()))
                    });
                    Value::Object(entries.collect())
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Canary;

    impl Redactor for Canary {
        fn redact(&self, text: &str) -> Option<String> {
            let found = ["canary", "4711"].iter().any(|secret| text.contains(secret));
            found.then(|| text.replace("canary", "[redacted]").replace("4711", "[redacted]"))
        }
    }

    #[test]
    fn texts_keys_and_numbers_are_redacted_wherever_they_stand() {
        let mut value = Arc::new(json!({ "a": [1, { "canary": "a canary" }], "n": 4711, "left": true }));
        redact_value(&Canary, &mut value);
        assert_eq!(*value, json!({ "a": [1, { "[redacted]": "a [redacted]" }], "n": "[redacted]", "left": true }));
    }

    #[test]
    fn why_something_failed_is_redacted_with_its_hint_and_detail() {
        let mut fault = Fault::step("x", "canary").with_hint("the canary").with_detail(json!({ "code": "canary" }));
        redact_fault(&Canary, &mut fault);
        assert!(!format!("{fault:?}").contains("canary"), "{fault:?}");
    }

    #[test]
    fn an_event_without_a_secret_is_left_alone() {
        let mut body = Body::Warning { code: "x".into(), message: "nothing".into() };
        let before = body.clone();
        redact_event(&Canary, &mut body);
        assert_eq!(body, before);
    }
}
