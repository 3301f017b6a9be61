//! What is answered: from a mode and a request to an answer in no protocol's words. It must not know any protocol.

use crate::answer::{Answer, Call, End, Kind, Part, Text, Usage};
use crate::asked::{Asked, Kept};
use crate::limits::HUGE_LINE_BYTES;
use crate::media;
use crate::mode::{Content, Delivery, Does, Quirk};
use crate::schema::fitting;
use serde_json::{Value, json};

/// Umlauts and an emoji: one to four bytes a character.
const TEXT: &[&str] = &["Grüße, ", "Wörld 😀"];
const THOUGHT: &[&str] = &["Let me ", "think."];
const REFUSAL: &[&str] = &["I cannot ", "help with that."];
const TOKEN: &str = "tok ";

/// What signs reasoning: base64 without the letters that two alphabets write differently.
pub(crate) const SIGNATURE: &str = "c2lnbmF0dXJlIG9mIHRoZSBtb2RlbCBzZXJ2ZXI=";

/// The reasoning that was signed, for those who check that it came back.
pub(crate) fn thought() -> String {
    THOUGHT.concat()
}

/// A request as it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) does: &'a Does,
    /// The number in the mode's name.
    pub(crate) count: u64,
    pub(crate) asked: &'a Asked,
    pub(crate) body: &'a Value,
    pub(crate) model: &'a str,
    /// Of the request.
    pub(crate) number: u64,
}

/// The answer; the reason if the request does not deserve one.
pub(crate) fn answer(order: &Order<'_>) -> Result<Answer, String> {
    let content = match order.does {
        Does::Say(content) => *content,
        Does::Bend(Quirk::Unknown) => Content::Text,
        Does::Bend(_) | Does::Deliver(Delivery::CutCall) => Content::Calls,
        Does::Deliver(_) | Does::Fail(_) | Does::Flaky | Does::Redirect => Content::Text,
    };
    let mut parts = parts(content, order)?;
    if *order.does == Does::Deliver(Delivery::HugeLine) {
        parts = vec![said(&["x".repeat(HUGE_LINE_BYTES).as_str()])];
    }
    let has_calls = parts.iter().any(|part| matches!(part, Part::Call(_)));
    let end = match content {
        Content::CutShort => End::Length,
        Content::Filtered => End::Filtered,
        Content::Refusal => End::Refused,
        _ if has_calls => End::Calls,
        _ => End::Stop,
    };
    let quirk = if let Does::Bend(quirk) = order.does { Some(*quirk) } else { None };
    let usage = usage(content, order);
    Ok(Answer {
        number: order.number,
        model: order.model.to_owned(),
        parts,
        end,
        usage,
        quirk,
        usage_asked: order.asked.usage,
        sealed: order.asked.sealed,
    })
}

fn parts(content: Content, order: &Order<'_>) -> Result<Vec<Part>, String> {
    let asked = order.asked;
    Ok(match content {
        Content::Text | Content::NoUsage | Content::CachedUsage => vec![said(TEXT)],
        Content::Echo => vec![said(&[order.body.to_string().as_str()])],
        Content::Attachments => vec![said(&[media::described(order.body).as_str()])],
        Content::Schema => vec![said(&crate::answer::halves(&structured(asked)))],
        Content::Call => vec![call(asked, 0)],
        Content::Calls => vec![call(asked, 0), call(asked, 1)],
        Content::CallThenText => match asked.results.last() {
            Some(result) => vec![said(&["The tool said: ", result])],
            None => vec![call(asked, 0)],
        },
        Content::Thought => vec![thinking(None), said(TEXT)],
        Content::SignedCall => match (asked.results.last(), asked.kept) {
            (None, _) => vec![thinking(Some(SIGNATURE)), call(asked, 0)],
            (Some(_), Kept::Untouched) => vec![said(&["signature ", "kept"])],
            (Some(_), Kept::Nothing) => vec![said(&["no signature ", "to keep"])],
            (Some(_), Kept::Lost) => {
                return Err("the signed reasoning of the previous turn is missing or was changed".to_owned());
            }
        },
        Content::Refusal => vec![Part::Text(Text::new(Kind::Refusal, REFUSAL))],
        Content::CutShort | Content::Filtered => vec![said(TEXT.get(..1).unwrap_or_default())],
        Content::BrokenArguments => {
            let (name, _) = tool(asked);
            vec![Part::Call(Call { id: "a".to_owned(), name, arguments: r#"{"city": oops"#.to_owned() })]
        }
        Content::Tokens => {
            vec![Part::Text(Text { times: order.count, ..Text::new(Kind::Said, &[TOKEN]) })]
        }
        Content::Empty => Vec::new(),
    })
}

fn said(pieces: &[&str]) -> Part {
    Part::Text(Text::new(Kind::Said, pieces))
}

fn thinking(signature: Option<&'static str>) -> Part {
    Part::Text(Text { signature, ..Text::new(Kind::Thought, THOUGHT) })
}

fn structured(asked: &Asked) -> String {
    asked.schema.as_ref().map_or_else(|| json!({"answer": "forty-two"}), |schema| fitting(schema, "text")).to_string()
}

/// The first tool offered, and the schema of its arguments; without any, one that takes a city.
fn tool(asked: &Asked) -> (String, Value) {
    let city = || json!({"type": "object", "properties": {"city": {"type": "string"}}});
    asked.tools.first().cloned().unwrap_or_else(|| ("get_weather".to_owned(), city()))
}

/// The n-th call; its strings are a city of its own.
fn call(asked: &Asked, nth: usize) -> Part {
    let (name, schema) = tool(asked);
    let (letter, city) = if nth == 0 { ("a", "Paris") } else { ("b", "Oslo") };
    // Later turns of a conversation have ids of their own.
    let turn = asked.results.len();
    let id = if turn == 0 { letter.to_owned() } else { format!("{letter}{turn}") };
    let arguments = match fitting(&schema, city) {
        Value::Object(object) => Value::Object(object),
        _ => json!({}),
    };
    Part::Call(Call { id, name, arguments: arguments.to_string() })
}

fn usage(content: Content, order: &Order<'_>) -> Option<Usage> {
    let plain = Usage { input: 20, read: 0, written: 0, output: 9, reasoning: 0 };
    match content {
        Content::NoUsage => None,
        Content::CachedUsage => Some(Usage { read: 12, written: 4, ..plain }),
        Content::Thought | Content::SignedCall => Some(Usage { reasoning: 5, ..plain }),
        Content::Tokens => Some(Usage { output: order.count, ..plain }),
        _ => Some(plain),
    }
}
