//! What a step gave as the items of a batch, and the answer put together again.
//!
//! A plugin sees two items at most: `content`, the text, and `result`, the data. Both go into one batch, so that what
//! must not be in the text is not left in the data.

use crate::event::StepOutput;
use crate::fault::Fault;
use crate::port::{Item, ItemValue, Outcome};
use serde_json::Value;
use std::sync::Arc;

/// The id of the item that is a text.
pub const CONTENT: &str = "content";
/// The id of the item that is data.
pub const RESULT: &str = "result";

/// The text of an output, and its data when there is some.
#[must_use]
pub fn items(output: &StepOutput) -> Vec<Item> {
    let text = Item { id: CONTENT.into(), value: ItemValue::Text(Arc::clone(&output.content)) };
    let data = || Item { id: RESULT.into(), value: ItemValue::Json(Arc::clone(&output.result)) };
    std::iter::once(text).chain((!output.result.is_null()).then(data)).collect()
}

/// The output that the outcomes make of `output`: its texts joined by a blank line; its data, a list when there are
/// several. Where only data is left, the text is the data as JSON.
///
/// # Errors
/// The first outcome that is a failure.
pub fn assemble(output: &StepOutput, outcomes: Vec<Outcome>) -> Result<StepOutput, Fault> {
    let (mut texts, mut data): (Vec<Arc<str>>, Vec<Arc<Value>>) = (Vec::new(), Vec::new());
    let mut take = |item: Item| match item.value {
        ItemValue::Text(text) => texts.push(text),
        ItemValue::Json(value) => data.push(value),
    };
    for outcome in outcomes {
        match outcome {
            Outcome::Keep(item) => take(item),
            Outcome::Replace(items) => items.into_iter().for_each(&mut take),
            Outcome::Drop(_) => {}
            Outcome::Fail(fault) => return Err(fault),
        }
    }
    let result = match data.len() {
        0 => Arc::default(),
        1 => data.swap_remove(0),
        _ => Arc::new(Value::Array(data.iter().map(|value| (**value).clone()).collect())),
    };
    let content = match texts.len() {
        0 if result.is_null() => Arc::from(""),
        0 => Arc::from(crate::value::to_text(&result)),
        1 => texts.swap_remove(0),
        _ => {
            let given: Vec<&str> = texts.iter().map(|text| &**text).filter(|text| !text.is_empty()).collect();
            Arc::from(given.join("\n\n"))
        }
    };
    Ok(StepOutput { content, result, ..output.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn output(content: &str, result: Value) -> StepOutput {
        StepOutput { content: content.into(), result: Arc::new(result), ..StepOutput::default() }
    }

    fn text(text: &str) -> Item {
        Item { id: CONTENT.into(), value: ItemValue::Text(text.into()) }
    }

    fn data(value: Value) -> Item {
        Item { id: RESULT.into(), value: ItemValue::Json(Arc::new(value)) }
    }

    #[test]
    fn what_is_kept_comes_back_as_it_was() {
        for output in [output("a", json!({ "b": 1 })), output("", Value::Null), output("a", Value::Null)] {
            let kept = items(&output).into_iter().map(Outcome::Keep).collect();
            assert_eq!(assemble(&output, kept).unwrap(), output);
        }
    }

    #[test]
    fn several_items_become_one_text_and_one_list() {
        let outcomes = vec![
            Outcome::Replace(vec![text("a"), text(""), text("b")]),
            Outcome::Replace(vec![data(json!(1)), data(json!(2))]),
        ];
        assert_eq!(assemble(&output("x", Value::Null), outcomes).unwrap(), output("a\n\nb", json!([1, 2])));
    }

    #[test]
    fn data_without_text_is_its_own_text() {
        let outcomes = vec![Outcome::Drop("no".into()), Outcome::Keep(data(json!({ "a": 1 })))];
        assert_eq!(assemble(&output("x", Value::Null), outcomes).unwrap(), output(r#"{"a":1}"#, json!({ "a": 1 })));
    }

    #[test]
    fn what_is_dropped_is_gone_and_what_fails_fails_all() {
        let gone = assemble(&output("x", Value::Null), vec![Outcome::Drop("no".into())]).unwrap();
        assert_eq!(gone, output("", Value::Null));
        let fault = Fault::step("plugin_error", "no");
        let failed = assemble(&output("x", Value::Null), vec![Outcome::Keep(text("a")), Outcome::Fail(fault.clone())]);
        assert_eq!(failed, Err(fault));
    }
}
