//! A complete plugin, as short as one gets: the example of the documentation.

use cofferdam_sdk::{Context, Result, tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// Whom to greet.
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct Greeting {
    text: String,
}

/// Greets someone by name.
#[tool(read_only, idempotent, example = r#"{"name": "Ada"}"#)]
fn greet(_ctx: &Context, args: Args) -> Result<Greeting> {
    Ok(Greeting { text: format!("Hello, {}!", args.name) })
}

cofferdam_sdk::plugin!(id = "acme/greet", tools = [greet]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_names_the_greeted() {
        let greeting = greet(&Context::fake(), Args { name: "Ada".into() }).unwrap();
        assert_eq!(greeting.text, "Hello, Ada!");
    }
}
