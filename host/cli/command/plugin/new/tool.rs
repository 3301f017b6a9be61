//! A tool: what models and steps call. Each call has a fresh instance.

use cofferdam_sdk::{Context, Result, tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The arguments. The types are the schema: what does not fit never arrives.
#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The text to count in.
    text: String,
}

/// The result.
#[derive(Serialize, JsonSchema)]
struct Counts {
    words: usize,
}

/// Counts the words of a text.
// The comment above is all that a model reads about the tool.
#[tool(read_only, idempotent, example = r#"{"text": "two words"}"#)]
fn count(_ctx: &Context, args: Args) -> Result<Counts> {
    Ok(Counts { words: args.text.split_whitespace().count() })
}

cofferdam_sdk::plugin!(id = "acme/__NAME__", summary = "Counts words", tools = [count]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted() {
        let counts = count(&Context::fake(), Args { text: "two words".into() }).unwrap();
        assert_eq!(counts.words, 2);
    }
}
