//! Cuts texts at a number of tokens, with a mark where something is missing. Data stays as it is.
//!
//! Tokens are estimated, since each model counts its own way: see `estimate`.

mod estimate;

use cofferdam_sdk::{Error, Item, PureContext, Result, transform};
use schemars::JsonSchema;
use serde::Deserialize;

use estimate::{Piece, cost, pieces};

/// Where and how a text is cut.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The most tokens that are left, the mark among them. Where the mark alone has more, only it is left.
    #[schemars(range(min = 1))]
    pub tokens: usize,
    /// Which part stays.
    #[serde(default)]
    pub keep: Keep,
    /// What stands where something is missing; `{cut}` becomes the estimate of how many tokens are.
    #[serde(default = "mark")]
    pub mark: String,
}

/// Which part of a text stays.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The beginning.
    #[default]
    Head,
    /// The end.
    Tail,
    /// Both ends.
    Ends,
}

fn mark() -> String {
    "[... about {cut} tokens cut ...]".to_owned()
}

/// Cuts a text at a number of tokens.
#[transform]
fn truncate_tokens(_ctx: &PureContext, options: &Options, item: Item) -> Result<Item> {
    if options.tokens == 0 {
        return Err(Error::invalid_input("option `tokens`: a text of no tokens is none"));
    }
    match item.as_text().and_then(|text| cut(text, options)) {
        Some(text) => Ok(item.with_text(text)),
        None => Ok(item),
    }
}

/// The text with less in it; none when it is short enough.
fn cut(text: &str, options: &Options) -> Option<String> {
    let pieces: Vec<Piece> = pieces(text).collect();
    let total = cost(&pieces);
    if total <= options.tokens {
        return None;
    }
    // What the mark will say is not known yet; as many digits as there can be.
    let mark = |cut: usize| options.mark.replace("{cut}", &cut.to_string());
    let taken = cost(&estimate::pieces(&mark(total)).collect::<Vec<_>>());
    let room = options.tokens.saturating_sub(taken);
    let (head, tail) = match options.keep {
        Keep::Head => (room, 0),
        Keep::Tail => (0, room),
        Keep::Ends => (room.div_ceil(2), room / 2),
    };
    let head = estimate::longest_within(pieces.iter(), head);
    let tail = estimate::longest_within(pieces.iter().skip(head).rev(), tail);
    let kept = |range: &[Piece]| match (range.first(), range.last()) {
        (Some(first), Some(last)) => text.get(first.from..last.to).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let before = kept(pieces.get(..head).unwrap_or_default());
    let after = kept(pieces.get(pieces.len() - tail..).unwrap_or_default());
    let missing = cost(pieces.get(head..pieces.len() - tail).unwrap_or_default());
    let parts = [before.trim_end(), &mark(missing), after.trim_start()].map(str::to_owned);
    Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
}

cofferdam_sdk::plugin!(id = "cofferdam/truncate-tokens", transforms = [truncate_tokens]);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(options: serde_json::Value) -> Options {
        serde_json::from_value(options).unwrap()
    }

    fn tokens(text: &str) -> usize {
        cost(&pieces(text).collect::<Vec<_>>())
    }

    #[test]
    fn a_short_text_stays_and_a_long_one_is_cut_between_words() {
        let text = "one two three four five six seven eight nine ten";
        assert_eq!(cut(text, &options(json!({ "tokens": 100 }))), None);
        let cut_text = |keep: &str| cut(text, &options(json!({ "tokens": 6, "mark": "#", "keep": keep }))).unwrap();
        assert_eq!(cut_text("head"), "one two three four #");
        assert_eq!(cut_text("tail"), "# eight nine ten");
        assert_eq!(cut_text("ends"), "one two # nine ten");
    }

    #[test]
    fn what_is_left_is_within_the_bound_and_the_mark_says_how_much_is_missing() {
        for text in ["word ".repeat(500), "\u{6f22}\u{5b57}".repeat(300), "a".repeat(9_000), "1, 2; 3! ".repeat(200)] {
            for most in [20, 50, 99] {
                let cut = cut(&text, &options(json!({ "tokens": most }))).unwrap();
                assert!(tokens(&cut) <= most, "{} of {most}: {cut}", tokens(&cut));
                assert!(cut.contains("tokens cut ...]"), "{cut}");
            }
        }
    }

    #[test]
    fn data_stays() {
        let item = Item::json("result", json!(["word ".repeat(100)]));
        let cut = truncate_tokens(&PureContext::fake(), &options(json!({ "tokens": 1 })), item.clone()).unwrap();
        assert_eq!(cut, item);
    }
}
