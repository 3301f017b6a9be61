//! Where two requests differ, and how much.
//!
//! It must not take longer than its bound, and quotes no more than a line.

use serde_json::{Map, Value};

/// Values that are compared of two requests; what is beyond is not looked at.
const VALUES: usize = 100_000;
/// Characters of a value that are quoted.
const QUOTED_CHARS: usize = 60;
/// Characters before the first one that differs that are quoted.
const LEAD_CHARS: usize = 20;

/// What two requests have in common, and what they have not.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// How many values differ.
    pub(super) differences: usize,
    /// How many are the same.
    pub(super) same: usize,
    /// The first that differs, in the order of the sorted bodies.
    pub(super) first: Option<Difference>,
    seen: usize,
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Where: `messages[2].content`.
    pub(super) at: String,
    /// What was recorded, shortened.
    pub(super) recorded: String,
    /// What is asked, shortened.
    pub(super) asked: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: recorded {}, asked {}", self.at, self.recorded, self.asked)
    }
}

/// Compares two requests, each a path and a body with sorted members.
pub(super) fn compare(recorded: (&str, &Value), asked: (&str, &Value)) -> Comparison {
    let mut comparison = Comparison::default();
    if recorded.0 != asked.0 {
        comparison.differ("path", Some(&recorded.0.into()), Some(&asked.0.into()));
    }
    comparison.walk("", Some(recorded.1), Some(asked.1));
    comparison
}

impl Comparison {
    /// How near the two are: the less the nearer.
    pub(super) fn distance(&self) -> (usize, std::cmp::Reverse<usize>) {
        (self.differences, std::cmp::Reverse(self.same))
    }

    /// Recursion is as deep as the bodies are, which the parser of JSON bounds.
    fn walk(&mut self, at: &str, recorded: Option<&Value>, asked: Option<&Value>) {
        self.seen += 1;
        if self.seen > VALUES {
            return;
        }
        match (recorded, asked) {
            (Some(Value::Object(recorded)), Some(Value::Object(asked))) => {
                for name in names(recorded, asked) {
                    let below = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
                    self.walk(&below, recorded.get(name), asked.get(name));
                }
            }
            (Some(Value::Array(recorded)), Some(Value::Array(asked))) => {
                for number in 0..recorded.len().max(asked.len()) {
                    self.walk(&format!("{at}[{number}]"), recorded.get(number), asked.get(number));
                }
            }
            (recorded, asked) if recorded == asked => self.same += 1,
            (recorded, asked) => self.differ(at, recorded, asked),
        }
    }

    fn differ(&mut self, at: &str, recorded: Option<&Value>, asked: Option<&Value>) {
        self.differences += 1;
        if self.first.is_none() {
            let (recorded, asked) = quoted(recorded, asked);
            let at = if at.is_empty() { "the body".to_owned() } else { at.to_owned() };
            self.first = Some(Difference { at, recorded, asked });
        }
    }
}

/// The names of both, each once, in their order.
fn names<'a>(one: &'a Map<String, Value>, other: &'a Map<String, Value>) -> std::collections::BTreeSet<&'a str> {
    one.keys().chain(other.keys()).map(String::as_str).collect()
}

/// Both values, texts from shortly before the place where they part.
fn quoted(recorded: Option<&Value>, asked: Option<&Value>) -> (String, String) {
    match (recorded, asked) {
        (Some(Value::String(recorded)), Some(Value::String(asked))) => {
            let common = recorded.chars().zip(asked.chars()).take_while(|(one, other)| one == other).count();
            let from = common.saturating_sub(LEAD_CHARS);
            (excerpt(recorded, from), excerpt(asked, from))
        }
        (recorded, asked) => (shown(recorded), shown(asked)),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => excerpt(text, 0),
        Some(value) => {
            let text = value.to_string();
            let mut short: String = text.chars().take(QUOTED_CHARS).collect();
            short.push_str(if short.len() < text.len() { "…" } else { "" });
            short
        }
    }
}

/// A text from this character on, as JSON writes it: on one line, without control characters.
fn excerpt(text: &str, from: usize) -> String {
    let mut rest = text.chars().skip(from);
    let mut short: String = rest.by_ref().take(QUOTED_CHARS).collect();
    if rest.next().is_some() {
        short.push('…');
    }
    if from > 0 {
        short.insert(0, '…');
    }
    Value::from(short).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn first(recorded: &Value, asked: &Value) -> String {
        compare(("/p", recorded), ("/p", asked)).first.unwrap().to_string()
    }

    #[test]
    fn the_first_difference_is_named_by_its_place_with_both_values() {
        let recorded = json!({ "a": 1, "messages": [{ "content": "hello Paris", "role": "user" }], "z": 1 });
        let mut asked = recorded.clone();
        asked["messages"][0]["content"] = json!("hello Oslo");
        asked["z"] = json!(2);
        assert_eq!(first(&recorded, &asked), r#"`messages[0].content`: recorded "hello Paris", asked "hello Oslo""#);
        assert_eq!(compare(("/p", &recorded), ("/p", &asked)).differences, 2);
        asked = recorded.clone();
        asked["messages"].as_array_mut().unwrap().push(json!({ "role": "tool" }));
        assert_eq!(first(&recorded, &asked), r#"`messages[1]`: recorded nothing, asked {"role":"tool"}"#);
        asked = recorded.clone();
        asked.as_object_mut().unwrap().remove("a");
        assert_eq!(first(&recorded, &asked), "`a`: recorded 1, asked nothing");
        assert_eq!(first(&json!("x"), &json!(1)), "`the body`: recorded \"x\", asked 1");
        assert!(compare(("/p", &recorded), ("/p", &recorded)).first.is_none());
        assert_eq!(compare(("/p", &recorded), ("/q", &recorded)).first.unwrap().at, "path");
    }

    #[test]
    fn long_texts_are_quoted_where_they_part() {
        let text = |end: &str| json!(format!("{}{end}", "äb".repeat(500)));
        let told = first(&text(&format!("Paris\n{}", "x".repeat(500))), &text("Oslo"));
        let lead = "äb".repeat(10);
        assert_eq!(told, format!(r#"`the body`: recorded "…{lead}Paris\n{}…", asked "…{lead}Oslo""#, "x".repeat(34)));
    }

    #[test]
    fn a_comparison_ends_after_its_bound() {
        let long = |last: u32| Value::from((0..200_000).map(|_| 0).chain([last]).collect::<Vec<u32>>());
        let comparison = compare(("/p", &long(1)), ("/p", &long(2)));
        assert!(comparison.differences == 0 && comparison.same < 200_000, "{}", comparison.same);
    }
}
