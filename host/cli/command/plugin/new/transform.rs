//! A transform: changes texts and data between steps. It is pure, so that what it gave can be had again after a crash.

use cofferdam_sdk::{Item, PureContext, Result, transform};
use schemars::JsonSchema;
use serde::Deserialize;

/// The options, as a document writes them.
#[derive(Deserialize, JsonSchema)]
struct Options {
    /// What stands before each text.
    #[serde(default = "prefix")]
    prefix: String,
}

fn prefix() -> String {
    "> ".to_owned()
}

/// Puts a prefix before every text; data stays as it is.
#[transform]
fn prefixed(_ctx: &PureContext, options: &Options, item: Item) -> Result<Item> {
    let text = item.as_text().map(|text| format!("{}{text}", options.prefix));
    Ok(match text {
        Some(text) => item.with_text(text),
        None => item,
    })
}

cofferdam_sdk::plugin!(id = "acme/__NAME__", summary = "Prefixes texts", transforms = [prefixed]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gets_the_prefix() {
        let item = prefixed(&PureContext::fake(), &Options { prefix: "> ".into() }, Item::text("content", "hi")).unwrap();
        assert_eq!(item.as_text(), Some("> hi"));
    }
}
