//! First-party text plugin.
use cofferdam_sdk::{Context, Result, tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
struct Args { text: String }

#[derive(Serialize, JsonSchema)]
struct Counts { words: usize }

/// Counts words.
#[tool(read_only, idempotent)]
fn words(_ctx: &Context, args: Args) -> Result<Counts> {
    Ok(Counts { words: args.text.split_whitespace().count() })
}
cofferdam_sdk::plugin!(id = "cofferdam/text", tools = [words]);
