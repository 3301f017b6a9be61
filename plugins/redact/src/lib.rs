//! Takes personal data and secrets out of texts and data: what is recognised is replaced, the rest stays as it is.
//!
//! Recognition errs on the side of the rules that have check digits or fixed shapes; names and addresses of people have
//! neither and stay. In data all texts are looked at, also keys, and numbers that are card numbers.

mod account;
mod address;
mod card;
mod find;
mod mail;
mod phone;
mod secret;

use cofferdam_sdk::{Item, Level, Payload, PureContext, Result, transform};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use find::spans;

/// What is taken out, and what stands in its place.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What is taken out; by default all kinds.
    #[serde(default = "all_kinds")]
    pub kinds: Vec<Kind>,
    /// What stands in its place; `{kind}` becomes the kind.
    #[serde(default = "replacement")]
    pub replacement: String,
}

/// A kind of data.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Keys and tokens in their usual shapes, private keys, passwords in addresses.
    Secret,
    /// Addresses of mail.
    Email,
    /// International account numbers whose check digits are right.
    Iban,
    /// Numbers of payment cards whose check digit is right.
    Card,
    /// Addresses of machines, IPv4 and IPv6.
    Ip,
    /// Telephone numbers.
    Phone,
}

impl Kind {
    /// In this order they are looked for: what is certain comes before what is likely.
    const ALL: [Self; 6] = [Self::Secret, Self::Email, Self::Iban, Self::Card, Self::Ip, Self::Phone];

    fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Email => "email",
            Self::Iban => "iban",
            Self::Card => "card",
            Self::Ip => "ip",
            Self::Phone => "phone",
        }
    }
}

fn all_kinds() -> Vec<Kind> {
    Kind::ALL.to_vec()
}

fn replacement() -> String {
    "[{kind} removed]".to_owned()
}

/// Takes personal data and secrets out of texts and data.
#[transform]
fn redact(ctx: &PureContext, options: &Options, item: Item) -> Result<Item> {
    let mut redaction = Redaction { options, count: 0 };
    let value = match item.value {
        Payload::Text(text) => Payload::Text(redaction.text(&text)),
        Payload::Json(value) => Payload::Json(redaction.value(value)),
        other => other,
    };
    if redaction.count > 0 {
        ctx.log(Level::Info, &format!("{} places were redacted", redaction.count));
    }
    Ok(Item { id: item.id, value })
}

/// One item on its way.
struct Redaction<'o> {
    options: &'o Options,
    count: usize,
}

impl Redaction<'_> {
    fn text(&mut self, text: &str) -> String {
        let found = spans(text, &self.options.kinds);
        self.count += found.len();
        let (mut clean, mut from) = (String::with_capacity(text.len()), 0);
        for span in found {
            clean.push_str(text.get(from..span.from).unwrap_or_default());
            clean.push_str(&self.options.replacement.replace("{kind}", span.kind.as_str()));
            from = span.to;
        }
        clean.push_str(text.get(from..).unwrap_or_default());
        clean
    }

    fn value(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(list) => Value::Array(list.into_iter().map(|value| self.value(value)).collect()),
            Value::Object(table) => Value::Object(self.table(table)),
            Value::Number(number) => {
                let text = number.to_string();
                let is_card = self.options.kinds.contains(&Kind::Card) && card::is_card(&text);
                if is_card { Value::String(self.text(&text)) } else { Value::Number(number) }
            }
            other => other,
        }
    }

    /// Keys that become equal get a number, so that nothing is lost.
    fn table(&mut self, table: Map<String, Value>) -> Map<String, Value> {
        let mut clean = Map::new();
        for (key, value) in table {
            let key = self.text(&key);
            let value = self.value(value);
            let names = std::iter::once(key.clone()).chain((2..).map(|number| format!("{key} {number}")));
            if let Some(free) = names.into_iter().find(|name| !clean.contains_key(name)) {
                clean.insert(free, value);
            }
        }
        clean
    }
}

cofferdam_sdk::plugin!(id = "cofferdam/redact", transforms = [redact]);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::{Fake, Outcome, Transform as _, TransformPlugin};
    use serde_json::json;

    fn clean(options: &Value, item: Item) -> Item {
        let ctx = PureContext::fake();
        let outcomes = <Plugin as TransformPlugin>::Transform::apply(&ctx, &options.to_string(), vec![item]);
        match outcomes.into_iter().next() {
            Some(Outcome::Keep(item)) => item,
            other => panic!("{other:?}"),
        }
    }

    fn text(text: &str) -> String {
        clean(&json!({}), Item::text("content", text)).as_text().unwrap().to_owned()
    }

    #[test]
    fn all_kinds_are_taken_out_of_a_text() {
        let before = "Write ada@example.com or +49 (0)30 901820, pay DE89 3704 0044 0532 0130 00 or \
                      4111 1111 1111 1111, from 192.168.1.20 with ghp_abcdefghijklmnopqrstuvwxyz0123456789.";
        assert_eq!(
            text(before),
            "Write [email removed] or [phone removed], pay [iban removed] or [card removed], from [ip removed] with \
             [secret removed]."
        );
    }

    #[test]
    fn what_only_looks_alike_stays() {
        for harmless in [
            "order 4111 1111 1111 1112 of 2024-01-31",
            "DE89 3704 0044 0532 0130 01",
            "version 1.2.3, at 10:20:30, ratio 16:9",
            "std::vec::Vec and a::b",
            "me@home, @handle, a@b",
            "0.5 to 100.25 in 12 months",
            "sk-short, ghp_short",
            "0123-45",
        ] {
            assert_eq!(text(harmless), harmless);
        }
    }

    #[test]
    fn only_the_chosen_kinds_are_taken_out_with_the_chosen_words() {
        let options = json!({ "kinds": ["email"], "replacement": "<{kind}>" });
        let item = clean(&options, Item::text("content", "ada@example.com 10.0.0.1"));
        assert_eq!(item.as_text(), Some("<email> 10.0.0.1"));
    }

    #[test]
    fn data_is_cleaned_in_texts_keys_and_card_numbers() {
        let before = json!({ "a@b.example": ["10.0.0.1", 7], "c@d.example": { "card": 4111111111111111u64 } });
        let after = clean(&json!({}), Item::json("result", before));
        assert_eq!(
            after.as_json(),
            Some(&json!({
                "[email removed]": ["[ip removed]", 7],
                "[email removed] 2": { "card": "[card removed]" },
            }))
        );
    }

    #[test]
    fn what_was_found_is_counted_in_the_log_and_not_named() {
        let fake = Fake::new();
        let options = Options { kinds: all_kinds(), replacement: replacement() };
        redact(&fake.pure_context(), &options, Item::text("content", "ada@example.com")).unwrap();
        assert_eq!(fake.logs()[0].message, "1 places were redacted");
    }
}
