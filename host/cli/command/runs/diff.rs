//! `runs diff`: two runs beside each other, for people or as lines of JSON.

use super::compare::{Difference, What, compare, first_difference};
use super::side::Side;
use super::{find, print_lines};
use crate::args::DiffArgs;
use crate::exit::Exit;
use crate::terminal;
use crate::ui::{diff, paint};
use cofferdam::Journal;
use cofferdam::sink::{clean, duration};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// Characters before and after the place where two texts begin to differ.
const AROUND: usize = 30;

/// Most characters of a value.
const VALUE_CHARS: usize = 120;

pub(super) async fn run(journal: &dyn Journal, args: &DiffArgs) -> anyhow::Result<Exit> {
    let (a, b) = (find(journal, &args.a).await?, find(journal, &args.b).await?);
    let (a, b) = (Side::read(journal, &a, args.reveal).await?, Side::read(journal, &b, args.reveal).await?);
    let found = compare(journal, &a, &b).await?;
    if args.json {
        print_lines(&found)?;
    } else {
        terminal::print(&render(&a, &b, &found))?;
    }
    let decides = found.iter().any(Difference::decides);
    if !decides {
        terminal::tell("status and outputs are the same");
    }
    Ok(if decides { Exit::Failed } else { Exit::Done })
}

fn render(a: &Side, b: &Side, found: &[Difference]) -> String {
    let mut text = String::new();
    if found.is_empty() {
        return text;
    }
    for (sign, side) in [("a", a), ("b", b)] {
        let status = side.history.status.map_or("running", |status| status.as_str());
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{sign}  {}  {}  {status}", side.history.run, clean(&side.history.workflow, 60));
    }
    let mut step = None;
    for difference in found {
        if difference.step.as_ref() != step || difference.step.is_none() && step.is_none() {
            let head =
                difference.step.as_deref().map(|path| format!("\nstep {}{}\n", paint::strong(path), took(difference)));
            text.push_str(&head.unwrap_or_else(|| "\n".to_owned()));
        }
        step = difference.step.as_ref();
        push(&mut text, difference);
    }
    text
}

/// How long the step took, for whoever wonders.
fn took(difference: &Difference) -> String {
    match difference.took_ms {
        Some([Some(a), Some(b)]) => {
            let of = |millis| duration(Duration::from_millis(millis));
            paint::quiet(&format!("  took {} and {}", of(a), of(b)))
        }
        _ => String::new(),
    }
}

fn push(text: &mut String, difference: &Difference) {
    let (a, b) = (&difference.a, &difference.b);
    let margin = if difference.step.is_some() { "  " } else { "" };
    let name = difference.name.as_deref().map(|name| format!(" {}", clean(name, VALUE_CHARS))).unwrap_or_default();
    let label = format!("{margin}{}{name}", label(difference.what));
    match (difference.what, a, b) {
        (What::Step, a, Value::Null) => drop(writeln!(text, "{label} is only in a, {}", shown(a))),
        (What::Step, Value::Null, b) => drop(writeln!(text, "{label} is only in b, {}", shown(b))),
        (What::Output, Value::Object(a), Value::Object(b)) if difference.step.is_some() => {
            for (part, name) in [("content", "text"), ("result", "data")] {
                let (a, b) = (a.get(part).unwrap_or(&Value::Null), b.get(part).unwrap_or(&Value::Null));
                if a != b {
                    push_values(text, (&format!("{label}, {name}"), margin), (a, b));
                }
            }
        }
        (What::Tokens, a, b) => {
            let of = |tokens: &Value| format!("{} in, {} out", tokens["input"], tokens["output"]);
            let _ = writeln!(text, "{label}  {} / {}", of(a), of(b));
        }
        (What::Error, a, b) => {
            let of = |error: &Value| error["message"].as_str().map_or("none".into(), |text| clean(text, VALUE_CHARS));
            let _ = writeln!(text, "{label}  {} / {}", of(a), of(b));
        }
        (_, a, b) => push_values(text, (&label, margin), (a, b)),
    }
}

fn label(what: What) -> &'static str {
    match what {
        What::Workflow => "workflow",
        What::Document => "document",
        What::Input => "input",
        What::Plugin => "plugin",
        What::Setting => "setting",
        What::Step => "the step",
        What::Status => "status",
        What::Output => "output",
        What::Error => "error",
        What::Attempts => "attempts",
        What::Tokens => "tokens",
    }
}

/// Texts of several lines by their lines, other texts where they begin to differ, data where it does first.
fn push_values(text: &mut String, (label, margin): (&str, &str), (a, b): (&Value, &Value)) {
    match (a, b) {
        (Value::String(a), Value::String(b)) if a.contains('\n') || b.contains('\n') => {
            let _ = writeln!(text, "{label}");
            diff::push(text, &format!("{margin}  "), (a, b));
        }
        (Value::String(a), Value::String(b)) if a.chars().count().max(b.chars().count()) > 2 * AROUND => {
            let (place, a, b) = around(a, b);
            let _ = writeln!(
                text,
                "{label}  from character {place} on: {} / {}",
                clean(&a, VALUE_CHARS),
                clean(&b, VALUE_CHARS)
            );
        }
        _ => match first_difference(a, b) {
            Some((place, a, b)) if !place.is_empty() => {
                let label = format!("{label} at {}", clean(&place, VALUE_CHARS));
                push_values(text, (&label, margin), (a, b));
            }
            _ => drop(writeln!(text, "{label}  {} / {}", shown(a), shown(b))),
        },
    }
}

/// Where two texts begin to differ, from 1, and what stands there in each.
fn around(a: &str, b: &str) -> (usize, String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let skipped = same.saturating_sub(AROUND);
    let part = |text: &str| {
        let part: String = text.chars().skip(skipped).take(same - skipped + AROUND).collect();
        let before = if skipped > 0 { "…" } else { "" };
        let after = if text.chars().count() > same + AROUND { "…" } else { "" };
        format!("{before}{part}{after}")
    };
    (same + 1, part(a), part(b))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        value => clean(&value.to_string(), VALUE_CHARS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(a: &Value, b: &Value) -> String {
        let mut text = String::new();
        push_values(&mut text, ("output", ""), (a, b));
        text
    }

    #[test]
    fn values_are_shown_where_they_differ() {
        assert_eq!(values(&json!("a"), &json!("b")), "output  \"a\" / \"b\"\n");
        assert_eq!(values(&json!({ "n": [1, 2] }), &json!({ "n": [1, 3] })), "output at /n/1  2 / 3\n");
        let lines = values(&json!("one\ntwo\n"), &json!("one\nthree\n"));
        assert!(lines.contains("- two") && lines.contains("+ three"), "{lines}");
        let long = "same words again and again, ".repeat(9);
        let found = values(&json!(format!("{long}A{long}")), &json!(format!("{long}B{long}")));
        assert!(found.starts_with("output  from character 253 on: …") && found.len() < 200, "{found}");
    }
}
