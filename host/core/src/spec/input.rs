//! Typed inputs: their declarations, and the values that a run is given.

use super::code::{self, Code};
use super::keys::INPUT;
use super::kind::{Fields, open};
use super::report::Report;
use super::suggest::did_you_mean;
use super::tree::{Entry, Node};
use super::workflow::{Include, Input, InputKind, Workflow};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::value::{self, Map};
use serde_json::Value;

/// A value for an input, as it was given.
#[derive(Clone, Debug, PartialEq)]
pub enum InputText {
    /// Text: `--input k=v`, or the content of a file. For an input that is no string, JSON.
    Text(String),
    /// A value: `--inputs file.json`, or the library.
    Value(Value),
}

/// What an input's name looks like: it is read as `inputs.NAME`.
const NAME: &str = "^[A-Za-z_][A-Za-z0-9_]{0,63}$";

fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn decode(report: &mut Report, entry: &Entry) -> Option<Input> {
    if !is_name(&entry.key) {
        let message = format!("input name `{}` must match {NAME}", entry.key);
        report.at(code::BAD_NAME, entry.spot, &entry.value.path, message).hint("it is read as `inputs.NAME`");
    }
    let fields = open(report, &entry.value, &INPUT)?;
    let kind = kind(fields.text("type")?)?;
    let default = fields.get("default").map(|node| checked(report, node, kind));
    let choices = fields.items("enum").iter().map(|node| checked(report, node, kind)).collect::<Vec<_>>();
    if let Some(node) = fields.get("enum").filter(|_| choices.is_empty()) {
        report.error(code::EMPTY, node, "no value is allowed").hint("list the values, or remove `enum`");
    }
    if let (Some(node), Some(value)) = (fields.get("default"), &default)
        && !choices.is_empty()
        && !choices.contains(value)
    {
        report.error(code::BAD_DEFAULT, node, "the default is none of the values in `enum`");
    }
    Some(finish(&entry.key, &fields, kind, (default, choices)))
}

fn finish(name: &str, fields: &Fields<'_>, kind: InputKind, (default, choices): (Option<Value>, Vec<Value>)) -> Input {
    let required = default.is_none() && fields.flag("required").unwrap_or(true);
    Input { name: name.to_owned(), kind, description: fields.owned("description"), default, choices, required }
}

fn checked(report: &mut Report, node: &Node, kind: InputKind) -> Value {
    let value = node.to_json();
    if !fits(kind, &value) {
        let message = format!("expected {}, found {}", describe(kind), value::describe(&value));
        report.error(code::BAD_DEFAULT, node, message);
    }
    value
}

fn kind(text: &str) -> Option<InputKind> {
    Some(match text {
        "string" => InputKind::String,
        "integer" => InputKind::Integer,
        "number" => InputKind::Number,
        "boolean" => InputKind::Boolean,
        "array" => InputKind::Array,
        "object" => InputKind::Object,
        _ => return None,
    })
}

/// Above this, a number with a fraction may stand for another whole number than was written.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn fits(kind: InputKind, value: &Value) -> bool {
    match kind {
        InputKind::String => value.is_string(),
        // As in JSON Schema, 1.0 is an integer.
        InputKind::Integer => {
            value.is_i64()
                || value.is_u64()
                || value.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() <= EXACT)
        }
        InputKind::Number => value.is_number(),
        InputKind::Boolean => value.is_boolean(),
        InputKind::Array => value.is_array(),
        InputKind::Object => value.is_object(),
    }
}

fn describe(kind: InputKind) -> &'static str {
    match kind {
        InputKind::String => "text",
        InputKind::Integer => "a whole number",
        InputKind::Number => "a number",
        InputKind::Boolean => "true or false",
        InputKind::Array => "a list",
        InputKind::Object => "an object",
    }
}

impl Workflow {
    /// The values of all inputs: given ones, defaults, and null for optional ones. Given twice, the last counts.
    ///
    /// # Errors
    /// Every unknown name, missing input and value that does not fit.
    pub fn bind_inputs(&self, given: &[(String, InputText)]) -> Result<Map, Diagnostics> {
        bind(&self.inputs, given)
    }
}

impl Include {
    /// The values of the included document's inputs, by the same rules.
    ///
    /// # Errors
    /// Every unknown name, missing input and value that does not fit.
    pub fn bind_inputs(&self, given: &[(String, InputText)]) -> Result<Map, Diagnostics> {
        bind(&self.inputs, given)
    }
}

fn bind(inputs: &[Input], given: &[(String, InputText)]) -> Result<Map, Diagnostics> {
    let mut faults = Diagnostics::default();
    for (name, _) in given.iter().filter(|(name, _)| !inputs.iter().any(|input| input.name == *name)) {
        let known = inputs.iter().map(|input| input.name.as_str());
        let hint = did_you_mean(name, known).unwrap_or_else(|| known_inputs(inputs));
        faults.push(fault(code::UNKNOWN_INPUT, name, format!("unknown input `{name}`"), Some(hint)));
    }
    let mut bound = Map::new();
    for input in inputs {
        let value = match given.iter().rev().find(|(name, _)| *name == input.name) {
            Some((_, text)) => input.read(text),
            None => input.absent(),
        };
        match value {
            Ok(value) => drop(bound.insert(input.name.clone(), value)),
            Err(diagnostic) => faults.push(diagnostic),
        }
    }
    if faults.is_empty() { Ok(bound) } else { Err(faults) }
}

fn known_inputs(inputs: &[Input]) -> String {
    if inputs.is_empty() {
        return "the document has no inputs".into();
    }
    let names: Vec<String> = inputs.iter().map(|input| format!("`{}`", input.name)).collect();
    format!("the document's inputs are {}", names.join(", "))
}

impl Input {
    fn absent(&self) -> Result<Value, Diagnostic> {
        match &self.default {
            Some(default) => Ok(default.clone()),
            None if !self.required => Ok(Value::Null),
            None => {
                let message = format!("input `{}` is missing", self.name);
                let mut hint = format!("give it with `--input {}=...`", self.name);
                if let Some(description) = &self.description {
                    hint = format!("{hint}: {description}");
                }
                Err(fault(code::MISSING_INPUT, &self.name, message, Some(hint)))
            }
        }
    }

    pub(super) fn read(&self, given: &InputText) -> Result<Value, Diagnostic> {
        let wrong = |message: String, hint: Option<String>| fault(code::BAD_INPUT, &self.name, message, hint);
        let value = match given {
            InputText::Value(value) => value.clone(),
            InputText::Text(text) if self.kind == InputKind::String => Value::String(text.clone()),
            InputText::Text(text) if self.kind == InputKind::Integer => integer(text).map_err(|why| {
                wrong(format!("input `{}`: `{text}` {why}", self.name), Some("write digits only: `42`".into()))
            })?,
            InputText::Text(text) => value::parse(text).map_err(|error| {
                let hint = format!("it takes {}, written as JSON", describe(self.kind));
                wrong(format!("input `{}`: {error}", self.name), Some(hint))
            })?,
        };
        if !fits(self.kind, &value) {
            let message =
                format!("input `{}` takes {}, not {}", self.name, describe(self.kind), value::describe(&value));
            return Err(wrong(message, None));
        }
        if !self.choices.is_empty() && !self.choices.contains(&value) {
            let choices: Vec<String> =
                self.choices.iter().map(|choice| format!("`{}`", value::to_text(choice))).collect();
            let message = format!("input `{}` cannot be `{}`", self.name, value::to_text(&value));
            return Err(wrong(message, Some(format!("it is one of {}", choices.join(", ")))));
        }
        Ok(value)
    }
}

/// A whole number as it was written: never rounded on its way.
fn integer(text: &str) -> Result<Value, &'static str> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number");
    }
    let value = text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from));
    value.map_err(|_| "does not fit 64 bits")
}

fn fault(code: Code, name: &str, message: String, hint: Option<String>) -> Diagnostic {
    Diagnostic { code: code.id, severity: Severity::Error, place: None, path: format!("inputs.{name}"), message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_exact_or_refused() {
        for (text, expected) in [
            ("42", Ok(Value::from(42))),
            (" -7 ", Ok(Value::from(-7))),
            ("18446744073709551615", Ok(Value::from(u64::MAX))),
            ("99999999999999999999", Err("does not fit 64 bits")),
            ("1e3", Err("is not a whole number")),
            ("1.0", Err("is not a whole number")),
            ("", Err("is not a whole number")),
            ("+1", Err("is not a whole number")),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
        assert!(!fits(InputKind::Integer, &Value::from(1e20)));
        assert!(fits(InputKind::Integer, &Value::from(2.0)));
    }
}
