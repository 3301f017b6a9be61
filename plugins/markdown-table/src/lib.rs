//! Shows data as a Markdown table: a list of objects, a list of lists, or one object.
//!
//! The data stays what it is; the text becomes the table.

mod cell;
mod table;

use cofferdam_sdk::{Item, Outcome, Payload, PureContext, Result, transform};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use table::Table;

/// How the table looks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The columns, in this order; by default all, in the order in which they come up.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The most rows that are shown; the rest is counted.
    #[serde(default = "all_rows", rename = "maxRows")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_rows: usize,
    /// Whether the text that was there before stays above the table.
    #[serde(default, rename = "keepText")]
    pub keep_text: bool,
}

fn all_rows() -> usize {
    1_000
}

/// Shows data as a Markdown table.
#[transform(batch)]
fn markdown_table(_ctx: &PureContext, options: &Options, items: Vec<Item>) -> Result<Vec<Outcome>> {
    let Some((source, table)) = items.iter().enumerate().find_map(|(index, item)| Some((index, table(item, options)?)))
    else {
        return Ok(items.into_iter().map(Outcome::Keep).collect());
    };
    let from_text = items.get(source).is_some_and(|item| item.as_text().is_some());
    let text = table.markdown(options.max_rows);
    let outcome = |(index, item): (usize, Item)| match &item.value {
        // What was JSON as text is a table as text.
        Payload::Text(_) if index == source => Outcome::Keep(item.with_text(text.clone())),
        Payload::Text(_) if from_text || options.keep_text => Outcome::Keep(item),
        Payload::Text(_) => Outcome::Drop("a table stands in its place".to_owned()),
        _ if index == source => Outcome::Replace(vec![Item::text("content", text.clone()), item]),
        _ => Outcome::Keep(item),
    };
    Ok(items.into_iter().enumerate().map(outcome).collect())
}

/// The table that an item can be shown as.
fn table(item: &Item, options: &Options) -> Option<Table> {
    match &item.value {
        Payload::Json(value) => Table::of(value, &options.columns),
        Payload::Text(text) if text.trim_start().starts_with(['[', '{']) => {
            let value: Value = serde_json::from_str(text.trim()).ok()?;
            Table::of(&value, &options.columns)
        }
        _ => None,
    }
}

cofferdam_sdk::plugin!(id = "cofferdam/markdown-table", transforms = [markdown_table]);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::{Transform as _, TransformPlugin};
    use serde_json::json;

    type Shown = <Plugin as TransformPlugin>::Transform;

    fn apply(options: &Value, items: Vec<Item>) -> Vec<Outcome> {
        Shown::apply(&PureContext::fake(), &options.to_string(), items)
    }

    const TABLE: &str = "| name | count |\n|---|---:|\n| a | 1 |\n| b | 2 |";

    fn rows() -> Value {
        json!([{ "name": "a", "count": 1 }, { "name": "b", "count": 2 }])
    }

    #[test]
    fn the_table_takes_the_place_of_the_text_and_the_data_stays() {
        let data = Item::json("result", rows());
        let outcomes = apply(&json!({}), vec![Item::text("content", rows().to_string()), data.clone()]);
        // The text says the same as the data, so it is what becomes the table.
        assert_eq!(outcomes, [Outcome::Keep(Item::text("content", TABLE)), Outcome::Keep(data.clone())]);
        let outcomes = apply(&json!({}), vec![Item::text("content", "2 rows"), data.clone()]);
        assert_eq!(
            outcomes,
            [
                Outcome::Drop("a table stands in its place".into()),
                Outcome::Replace(vec![Item::text("content", TABLE), data.clone()])
            ]
        );
        let kept = apply(&json!({ "keepText": true }), vec![Item::text("content", "2 rows"), data]);
        assert_eq!(kept[0], Outcome::Keep(Item::text("content", "2 rows")));
    }

    #[test]
    fn what_is_no_table_stays() {
        for item in [Item::text("content", "words"), Item::json("result", json!(3)), Item::text("content", "[1, 2")] {
            assert_eq!(apply(&json!({}), vec![item.clone()]), [Outcome::Keep(item)]);
        }
    }
}
