//! A step's question at the terminal: what is asked, the choices by number, what an empty line means.
//!
//! Whether an answer fits is not decided here; one that does not comes back with what was wrong with it.

use crate::terminal;
use crate::ui::paint;
use cofferdam::core::port::Inquiry;
use cofferdam::core::value::to_text;
use cofferdam::sink::clean;
use tokio::sync::mpsc::UnboundedReceiver;

/// Most lines of a question that are shown.
const LINES: usize = 60;

/// Most characters of a line.
const LINE_CHARS: usize = 400;

/// Most characters of a schema.
const SCHEMA_CHARS: usize = 600;

/// The answer; none when nobody types any more.
pub(super) async fn put(inquiry: &Inquiry, lines: &mut UnboundedReceiver<String>) -> Option<String> {
    terminal::tell(&shown(inquiry));
    let typed = lines.recv().await?;
    Some(chosen(&inquiry.choices, typed))
}

fn shown(inquiry: &Inquiry) -> String {
    let mut text = match &inquiry.problem {
        Some(problem) => format!("  {}", paint::warn(&clean(problem, LINE_CHARS))),
        None => asked(inquiry),
    };
    for (index, choice) in inquiry.choices.iter().enumerate() {
        text.push_str(&format!("\n  {}  {}", index + 1, clean(choice, LINE_CHARS)));
    }
    if let (Some(schema), None) = (&inquiry.schema, &inquiry.problem) {
        text.push_str(&format!("\n  as JSON, by the schema {}", clean(&schema.to_string(), SCHEMA_CHARS)));
    }
    text.push_str(if inquiry.choices.is_empty() { "\n  your answer" } else { "\n  a number or its text" });
    if let Some(default) = &inquiry.default {
        text.push_str(&format!("; an empty line is `{}`", clean(&to_text(default), LINE_CHARS)));
    }
    text + ":"
}

fn asked(inquiry: &Inquiry) -> String {
    let mut lines = inquiry.prompt.lines();
    let first = clean(lines.next().unwrap_or_default(), LINE_CHARS);
    let mut text = format!("{}{}", paint::strong(&first), paint::quiet(&format!(" (step {})", inquiry.path)));
    for line in lines.by_ref().take(LINES) {
        text.push_str(&format!("\n  {}", clean(line, LINE_CHARS)));
    }
    match lines.count() {
        0 => text,
        more => text + &paint::quiet(&format!("\n  and {more} more lines")),
    }
}

/// A choice may be named by its number, unless that number is itself a choice.
fn chosen(choices: &[String], typed: String) -> String {
    let answer = typed.trim();
    if choices.is_empty() {
        return typed;
    }
    let by_number = || answer.parse::<usize>().ok().and_then(|number| choices.get(number.checked_sub(1)?));
    match choices.iter().find(|choice| *choice == answer).or_else(by_number) {
        Some(choice) => choice.clone(),
        None => answer.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam::core::id::RunId;

    fn inquiry(choices: &[&str]) -> Inquiry {
        Inquiry {
            run_id: RunId::parse("r1").unwrap(),
            path: "ok".into(),
            prompt: "Publish it?\nIt is \u{1b}[2Jlong.".into(),
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            schema: None,
            default: None,
            problem: None,
        }
    }

    #[test]
    fn a_question_shows_its_choices_and_its_default() {
        let plain = |inquiry: &Inquiry| anstream::adapter::strip_str(&shown(inquiry)).to_string();
        let asked = Inquiry { default: Some("no".into()), ..inquiry(&["yes", "no"]) };
        assert_eq!(
            plain(&asked),
            "Publish it? (step ok)\n  It is [2Jlong.\n  1  yes\n  2  no\n  a number or its text; an empty line is `no`:"
        );
        let again = Inquiry { problem: Some("`perhaps` is none of the choices".into()), ..inquiry(&[]) };
        assert_eq!(plain(&again), "  `perhaps` is none of the choices\n  your answer:");
    }

    #[test]
    fn a_choice_is_its_text_before_it_is_a_number() {
        let choose = |choices: &[&str], typed: &str| chosen(&inquiry(choices).choices, typed.to_owned());
        assert_eq!(choose(&["yes", "no"], " 2 "), "no");
        assert_eq!(choose(&["2", "1"], "2"), "2");
        assert_eq!(choose(&["yes", "no"], "3"), "3");
        assert_eq!(choose(&[], " free text"), " free text");
    }

    #[tokio::test]
    async fn nobody_answers_when_nobody_types() {
        let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
        sender.send("1".to_owned()).unwrap();
        drop(sender);
        assert_eq!(put(&inquiry(&["yes"]), &mut lines).await.as_deref(), Some("yes"));
        assert_eq!(put(&inquiry(&["yes"]), &mut lines).await, None);
    }
}
