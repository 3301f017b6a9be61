//! What an answer to a step's question must be.

use cofferdam_core::fault::Fault;
use cofferdam_core::schema::{self, Checker};
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::workflow::AskWork;
use cofferdam_core::value;
use serde_json::Value;

/// What answers must be.
pub(crate) struct Form<'w> {
    choices: &'w [String],
    schema: Option<(&'w Value, Checker)>,
}

impl<'w> Form<'w> {
    /// What this question's answers must be.
    ///
    /// # Errors
    /// When the schema is none.
    pub(crate) fn of(work: &'w AskWork) -> Result<Self, Fault> {
        let schema = match work.schema.as_deref() {
            None => None,
            Some(schema) => {
                let checker = schema::check(schema).map_err(|error| {
                    Fault::user("result_schema", format!("the schema of the answer cannot be used: {error}"))
                })?;
                Some((schema, checker))
            }
        };
        Ok(Self { choices: &work.choices, schema })
    }

    /// The answer as a value, or what is wrong with it.
    pub(crate) fn read(&self, given: &InputText) -> Result<Value, String> {
        let value = match given {
            InputText::Value(value) => value.clone(),
            InputText::Text(text) if self.is_text() => Value::from(text.trim()),
            InputText::Text(text) => value::parse(text.trim()).map_err(|error| error.to_string())?,
        };
        self.check(&value)?;
        Ok(value)
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        value::check_depth(value).map_err(|error| error.to_string())?;
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| value.as_str() == Some(choice)) {
            let choices: Vec<String> = self.choices.iter().map(|choice| format!("`{choice}`")).collect();
            let shown: String = value::to_text(value).chars().take(80).collect();
            return Err(format!("`{shown}` is none of {}", choices.join(", ")));
        }
        match &self.schema {
            Some((_, checker)) => checker.check(value),
            None if value.as_str().is_some_and(|text| text.trim().is_empty()) => Err("the answer is empty".to_owned()),
            None => Ok(()),
        }
    }

    /// Whether a text is the answer as it is; otherwise it is JSON.
    fn is_text(&self) -> bool {
        let string = |schema: &Value| schema.get("type").and_then(Value::as_str) == Some("string");
        self.schema.as_ref().is_none_or(|(schema, _)| string(schema))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::template::Template;
    use serde_json::json;
    use std::sync::Arc;

    fn work(choices: &[&str], schema: Option<Value>) -> AskWork {
        AskWork {
            prompt: Template::constant(json!("Well?")),
            choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
            schema: schema.map(Arc::new),
            default: None,
            timeout: None,
        }
    }

    fn read(work: &AskWork, text: &str) -> Result<Value, String> {
        Form::of(work).unwrap().read(&InputText::Text(text.to_owned()))
    }

    #[test]
    fn a_text_is_any_text_but_none() {
        let any = work(&[], None);
        assert_eq!(read(&any, " yes, do \n"), Ok(json!("yes, do")));
        assert_eq!(read(&any, " \n"), Err("the answer is empty".to_owned()));
    }

    #[test]
    fn a_choice_is_one_of_those_that_are_offered() {
        let choice = work(&["ship", "wait"], None);
        assert_eq!(read(&choice, "ship"), Ok(json!("ship")));
        assert_eq!(read(&choice, "Ship"), Err("`Ship` is none of `ship`, `wait`".to_owned()));
        assert!(Form::of(&choice).unwrap().read(&InputText::Value(json!(1))).is_err());
    }

    #[test]
    fn an_answer_with_a_schema_is_json_unless_it_is_a_string() {
        let number = work(&[], Some(json!({ "type": "integer", "minimum": 1 })));
        assert_eq!(read(&number, "3"), Ok(json!(3)));
        assert!(read(&number, "three").unwrap_err().contains("not valid JSON"));
        assert!(read(&number, "0").unwrap_err().contains("minimum"));
        let text = work(&[], Some(json!({ "type": "string", "maxLength": 3 })));
        assert_eq!(read(&text, "abc"), Ok(json!("abc")));
        assert!(read(&text, "abcd").is_err());
    }
}
