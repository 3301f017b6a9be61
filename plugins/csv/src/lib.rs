//! Tables: reads CSV, or rows that an earlier step returned, and filters, groups
//! and aggregates them.
//!
//! Every tool takes a table in one of three forms (`source`) and returns one
//! (`table`), so that tools can be chained and the output of any step that
//! returns a list of objects can be used.

mod condition;
mod parse;
mod shape;
mod source;
mod summary;
mod table;
mod value;

use cofferdam_sdk::{Context, Output, Result, tool};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::condition::{Condition, Join};
use crate::shape::Shape;
use crate::source::Source;
use crate::summary::Aggregate;
use crate::table::Table;

/// A table and how to return it.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ReadArgs {
    #[serde(flatten)]
    source: Source,
    #[serde(flatten)]
    shape: Shape,
}

/// Reads a table from CSV text, from a file, or from a list of objects; selects,
/// sorts and cuts it; returns rows, and on request CSV or a Markdown table.
#[tool(read_only, idempotent, example = r#"{"csv": "name,size\na,3\nb,1\n", "sort": ["-size"], "format": "markdown"}"#)]
fn read(ctx: &Context, args: ReadArgs) -> Result<Output<Table>> {
    args.shape.apply(args.source.load(ctx)?)
}

/// A table, conditions, and how to return what fulfils them.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct FilterArgs {
    #[serde(flatten)]
    source: Source,
    /// The conditions on a row.
    #[serde(rename = "where")]
    conditions: Vec<Condition>,
    /// Whether `all` conditions have to hold (the default) or `any` of them.
    #[serde(default, rename = "match")]
    join: Join,
    #[serde(flatten)]
    shape: Shape,
}

/// Keeps the rows that fulfil conditions on their columns.
#[tool(
    read_only,
    idempotent,
    example = r#"{"csv": "name,size\na,3\nb,1\n", "where": [{"column": "size", "op": "gt", "value": 2}]}"#
)]
fn filter(ctx: &Context, args: FilterArgs) -> Result<Output<Table>> {
    let mut rows = args.source.load(ctx)?;
    let conditions = condition::compile(&args.conditions)?;
    rows.rows.retain(|row| args.join.holds(&conditions, row));
    args.shape.apply(rows)
}

/// A table, the columns to group by, and what to compute for each group.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GroupArgs {
    #[serde(flatten)]
    source: Source,
    /// One group for each combination of these columns' values.
    by: Vec<String>,
    /// What to compute for each group. Default: how many rows it has, `count`.
    #[serde(default)]
    aggregates: Vec<Aggregate>,
    #[serde(flatten)]
    shape: Shape,
}

/// Groups rows by the values of columns and computes counts, sums, means,
/// extremes or lists for each group.
#[tool(
    read_only,
    idempotent,
    example = r#"{"rows": [{"kind": "a"}, {"kind": "b"}, {"kind": "a"}], "by": ["kind"], "sort": ["-count"]}"#
)]
fn group(ctx: &Context, args: GroupArgs) -> Result<Output<Table>> {
    let rows = args.source.load(ctx)?;
    args.shape.apply(summary::group(&rows, &args.by, &args.aggregates)?)
}

/// A table and what to compute over all of its rows.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AggregateArgs {
    #[serde(flatten)]
    source: Source,
    /// What to compute.
    aggregates: Vec<Aggregate>,
    #[serde(flatten)]
    shape: Shape,
}

/// Computes counts, sums, means, medians, extremes or lists over all rows of a
/// table; returns one row.
#[tool(read_only, idempotent, example = r#"{"csv": "size\n3\n1\n", "aggregates": [{"op": "sum", "column": "size"}]}"#)]
fn aggregate(ctx: &Context, args: AggregateArgs) -> Result<Output<Table>> {
    let rows = args.source.load(ctx)?;
    args.shape.apply(summary::all(&rows, &args.aggregates)?)
}

cofferdam_sdk::plugin!(id = "cofferdam/csv", tools = [read, filter, group, aggregate]);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::{Fake, Payload, Plugin as _};
    use serde_json::{Value, json};

    fn call(tool: &str, args: &Value) -> Result<Value> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
        let ctx = Fake::new().step(folder).context();
        match Plugin::call(&ctx, tool, &args.to_string())?.value {
            Payload::Json(value) => Ok(value),
            other => panic!("not JSON: {other:?}"),
        }
    }

    #[test]
    fn a_file_is_filtered_and_grouped() {
        let args = json!({
            "path": "orders.csv",
            "where": [{"column": "amount", "op": "gt", "value": 10}],
        });
        let filtered = call("filter", &args).unwrap();
        assert_eq!(filtered["count"], 3);
        let args = json!({
            "rows": filtered["rows"],
            "by": ["customer"],
            "aggregates": [{"op": "sum", "column": "amount", "as": "total"}],
            "sort": ["-total"],
            "format": "markdown",
        });
        let grouped = call("group", &args).unwrap();
        let expected = "| customer | total |\n| --- | ---: |\n| Smith, Ltd | 95.5 |\n| Jones | 20 |\n";
        assert_eq!(grouped["text"], expected);
    }

    #[test]
    fn every_example_is_a_valid_call() {
        for tool in Plugin::tools() {
            for example in tool.examples {
                let args = serde_json::from_str(example).unwrap();
                call(tool.name, &args).unwrap();
            }
        }
    }

    // The host checks arguments by the schema; serde cannot refuse unknown names
    // where structures are flattened.
    #[test]
    fn the_schemas_refuse_unknown_arguments() {
        for tool in Plugin::tools() {
            let schema = &tool.input_schema;
            let closed = [&schema["additionalProperties"], &schema["unevaluatedProperties"]];
            assert!(closed.contains(&&Value::Bool(false)), "{}: {schema}", tool.name);
        }
    }

    #[test]
    fn an_unknown_operation_is_named() {
        let args = json!({ "csv": "a\n1\n", "aggregates": [{"op": "avg", "column": "a"}] });
        let error = call("aggregate", &args).unwrap_err();
        assert!(error.message().contains("unknown variant `avg`"), "{error}");
    }
}
