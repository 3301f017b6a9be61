//! What a key takes, checked once for all tables.
//!
//! A check reports every fault and lets the decoder go on; what does not fit is invisible to the decoder.

use super::code;
use super::duration;
use super::report::Report;
use super::suggest::did_you_mean;
use super::tree::{Content, Entry, Node};
use crate::id::IsolationName;
use std::collections::BTreeMap;
use std::time::Duration;

/// A table of the language.
pub(super) struct Table {
    /// What it describes: `step`.
    pub(super) name: &'static str,
    pub(super) keys: &'static [Key],
}

/// One key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) need: Need,
    pub(super) kind: Kind,
    /// Whether zenflow does not have it.
    pub(super) plus: bool,
    /// One sentence, for editors.
    pub(super) about: &'static str,
}

impl Key {
    pub(super) const fn new(name: &'static str, need: Need, kind: Kind, about: &'static str) -> Self {
        Self { name, need, kind, plus: false, about }
    }

    /// A key that zenflow does not have.
    pub(super) const fn plus(self) -> Self {
        Self { plus: true, ..self }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
}

/// What a value must be.
pub(super) enum Kind {
    Any,
    Flag,
    Whole {
        min: u64,
        max: u64,
    },
    Number {
        min: f64,
        max: f64,
    },
    /// Text that is not empty.
    Text,
    /// Text, also empty.
    AnyText,
    /// Text of at most so many characters.
    TextUpTo(usize),
    /// Text of a grammar, which the decoder checks.
    Name(&'static str),
    Duration,
    /// `64MiB`, or bytes; at least one.
    Size,
    Expression,
    /// One of a few words; `plus` are those of them that zenflow does not have.
    Choice {
        words: &'static [&'static str],
        plus: &'static [&'static str],
    },
    /// One of a few words, or a name that the program which runs the document knows.
    ChoiceOrName {
        words: &'static [&'static str],
        plus: &'static [&'static str],
        grammar: &'static str,
    },
    List(&'static Kind),
    /// A table with names of the document's own.
    Map(&'static Kind),
    /// A table with names that somebody else gave: one that begins with `x-` is a name as any other.
    Foreign(&'static Kind),
    Object,
    JsonSchema,
    /// A function, because the tables refer to each other in circles.
    Table(fn() -> &'static Table),
    /// Text, or something else.
    TextOr(&'static Kind),
    /// True or false, or something else.
    FlagOr(&'static Kind),
}

/// A table of the document whose keys were checked.
pub(super) struct Fields<'n> {
    pub(super) node: &'n Node,
    fit: Vec<(&'static str, &'n Node)>,
}

/// Opens a table: unknown and missing keys are reported, and values of the wrong type.
pub(super) fn open<'n>(report: &mut Report, node: &'n Node, table: &'static Table) -> Option<Fields<'n>> {
    let Content::Map(entries) = &node.content else {
        wrong_type(report, node, "a table");
        return None;
    };
    let mut fit = Vec::with_capacity(entries.len());
    for entry in entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
        match table.keys.iter().find(|key| key.name == entry.key) {
            Some(key) => {
                if fits(report, &entry.value, &key.kind) {
                    fit.push((key.name, &entry.value));
                }
            }
            None => unknown(report, entry, table),
        }
    }
    for key in table.keys.iter().filter(|key| key.need == Need::Required) {
        if node.member(key.name).is_none() {
            let message = format!("{} lacks `{}`", with_article(table.name), key.name);
            report.error(code::MISSING_KEY, node, message).hint(lower(key.about));
        }
    }
    Some(Fields { node, fit })
}

fn unknown(report: &mut Report, entry: &Entry, table: &Table) {
    let names = table.keys.iter().map(|key| key.name);
    let hint = report.did_you_mean(&entry.key, names).or_else(|| elsewhere(&entry.key, table));
    let message = format!("unknown key `{}` in {}", entry.key, with_article(table.name));
    report.at(code::UNKNOWN_KEY, entry.spot, &entry.value.path, message).maybe(hint);
}

/// The key stands in the wrong table.
fn elsewhere(name: &str, table: &Table) -> Option<String> {
    let owner = super::keys::TABLES
        .iter()
        .find(|other| other.name != table.name && other.keys.iter().any(|key| key.name == name))?;
    Some(format!("`{name}` is a key of {}", with_article(owner.name)))
}

fn with_article(name: &str) -> String {
    match name {
        "document" => "the document".into(),
        "options" | "limits" => format!("`{name}`"),
        "model-options" => "`modelOptions`".into(),
        "mcp-server" => "an MCP server".into(),
        "input" | "agent" | "agent-memory" => format!("an {}", name.replace('-', " ")),
        _ => format!("a {}", name.replace('-', " ")),
    }
}

/// A sentence as part of another one.
fn lower(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

pub(super) fn wrong_type(report: &mut Report, node: &Node, wanted: &str) {
    let scalar = matches!(node.content, Content::Int(_) | Content::Large(_) | Content::Float(_) | Content::Bool(_));
    let hint = match node.content {
        Content::Null => Some("remove the key, or give it a value"),
        _ if scalar && wanted.starts_with("text") => Some("write it in quotes"),
        _ => None,
    };
    let message = format!("expected {wanted}, found {}", node.describe());
    report.error(code::WRONG_TYPE, node, message).maybe(hint.map(str::to_owned));
}

/// Whether the value is of the kind; if not, the report says so.
fn fits(report: &mut Report, node: &Node, kind: &Kind) -> bool {
    match (kind, &node.content) {
        // It was reported when the document was read.
        (_, Content::Float(number)) if !number.is_finite() => false,
        (Kind::Any, _) | (Kind::Flag, Content::Bool(_)) | (Kind::Object | Kind::Table(_), Content::Map(_)) => true,
        (Kind::JsonSchema, Content::Map(_) | Content::Bool(_)) | (Kind::Name(_), Content::Text(_)) => true,
        (Kind::TextUpTo(most), Content::Text(text)) => within(report, node, text, *most),
        (Kind::Text | Kind::Expression, Content::Text(text)) => filled(report, node, text),
        (Kind::AnyText, Content::Text(_)) => true,
        (Kind::Duration, _) => fits_duration(report, node),
        (Kind::Size, Content::Text(_) | Content::Int(_) | Content::Large(_)) => fits_size(report, node),
        (Kind::Choice { words, .. }, Content::Text(text)) => fits_choice(report, node, text, words),
        (Kind::ChoiceOrName { words, grammar, .. }, Content::Text(text)) => {
            fits_choice_or_name(report, node, (text, words), grammar)
        }
        (Kind::Whole { min, max }, Content::Int(_) | Content::Large(_) | Content::Float(_)) => {
            fits_whole(report, node, (*min, *max))
        }
        (Kind::Number { min, max }, Content::Int(_) | Content::Large(_) | Content::Float(_)) => {
            let inside = number(node).is_some_and(|value| (*min..=*max).contains(&value));
            if !inside {
                report.error(code::OUT_OF_RANGE, node, format!("expected a number from {min} to {max}"));
            }
            inside
        }
        // A list stays visible when some item of it does not fit; tables inside are opened by their decoders.
        (Kind::List(of), Content::List(items)) => {
            if !of.is_opened() {
                for item in items {
                    fits(report, item, of);
                }
            }
            true
        }
        (Kind::Map(of), Content::Map(entries)) => {
            if !of.is_opened() {
                for entry in entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
                    fits(report, &entry.value, of);
                }
            }
            true
        }
        (Kind::Foreign(of), Content::Map(entries)) => {
            for entry in entries {
                fits(report, &entry.value, of);
            }
            true
        }
        (Kind::FlagOr(_), Content::Bool(_)) => true,
        (Kind::FlagOr(other), Content::List(_)) => fits(report, node, other),
        (Kind::TextOr(_), Content::Text(text)) => filled(report, node, text),
        (Kind::TextOr(other), Content::Map(_) | Content::List(_)) => fits(report, node, other),
        _ => {
            wrong_type(report, node, kind.describe());
            false
        }
    }
}

fn filled(report: &mut Report, node: &Node, text: &str) -> bool {
    if text.trim().is_empty() {
        report.error(code::EMPTY, node, "the text is empty");
    }
    !text.trim().is_empty()
}

fn within(report: &mut Report, node: &Node, text: &str, most: usize) -> bool {
    let letters = text.chars().count();
    if letters > most {
        report.error(code::TOO_LONG, node, format!("the text has {letters} characters, more than the limit of {most}"));
    }
    letters <= most
}

fn fits_duration(report: &mut Report, node: &Node) -> bool {
    let hint = "write `90s`, `1h30m` or `500ms`";
    let Some(text) = node.text() else {
        let message = format!("expected a duration with units, found {}", node.describe());
        report.error(code::BAD_DURATION, node, message).hint(hint);
        return false;
    };
    let parsed = duration::parse(text);
    if parsed.is_none() {
        report.error(code::BAD_DURATION, node, format!("`{text}` is not a duration")).hint(hint);
    }
    if parsed == Some(Duration::ZERO) {
        let message = format!("`{text}` means no limit");
        report.error(code::NO_LIMIT, node, message).warning().hint("remove the key if that is meant");
    }
    parsed.is_some()
}

fn fits_choice(report: &mut Report, node: &Node, text: &str, words: &[&str]) -> bool {
    if words.contains(&text) {
        return true;
    }
    let hint = match words {
        [only] => format!("it can only be `{only}`"),
        _ => did_you_mean(text, words.iter().copied()).unwrap_or_else(|| format!("it is one of {}", quoted(words))),
    };
    report.error(code::UNKNOWN_CHOICE, node, format!("unknown value `{text}`")).hint(hint);
    false
}

/// A word that is nearly one of those that are known is a slip of the pen.
fn fits_choice_or_name(report: &mut Report, node: &Node, (text, words): (&str, &[&str]), grammar: &str) -> bool {
    if words.contains(&text) {
        return true;
    }
    let near = did_you_mean(text, words.iter().copied());
    if near.is_none() && IsolationName::parse(text).is_ok() {
        return true;
    }
    let hint = near.unwrap_or_else(|| {
        format!("it is one of {}, or a name of the program that runs the document: {grammar}", quoted(words))
    });
    report.error(code::UNKNOWN_CHOICE, node, format!("unknown value `{text}`")).hint(hint);
    false
}

fn fits_size(report: &mut Report, node: &Node) -> bool {
    let fits = size(node).is_some_and(|size| size > 0);
    if !fits {
        let message = format!(
            "expected a size, found `{}`",
            node.text().map_or_else(|| node.to_json().to_string(), str::to_owned)
        );
        report.error(code::OUT_OF_RANGE, node, message).hint("write bytes, or `64KiB`, `16MiB`");
    }
    fits
}

/// A size in bytes.
fn size(node: &Node) -> Option<u64> {
    let Some(text) = node.text() else { return node.to_json().as_u64() };
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split)?;
    let factor = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn fits_whole(report: &mut Report, node: &Node, (min, max): (u64, u64)) -> bool {
    let value = match node.content {
        Content::Int(value) => u64::try_from(value).ok(),
        Content::Large(value) => Some(value),
        _ => {
            wrong_type(report, node, "a whole number");
            return false;
        }
    };
    let inside = value.is_some_and(|value| (min..=max).contains(&value));
    if !inside {
        let wanted = match value {
            _ if min == max => format!("{min}"),
            Some(value) if value > max => format!("a whole number of at most {max}"),
            _ => format!("a whole number of at least {min}"),
        };
        report.error(code::OUT_OF_RANGE, node, format!("expected {wanted}, found `{}`", node.to_json()));
    }
    inside
}

fn number(node: &Node) -> Option<f64> {
    node.to_json().as_f64()
}

fn quoted(words: &[&str]) -> String {
    words.iter().filter(|word| !word.is_empty()).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

impl Kind {
    /// Whether a decoder opens the values of this kind by itself.
    fn is_opened(&self) -> bool {
        matches!(self, Self::Table(_) | Self::TextOr(Self::Table(_)))
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Flag => "true or false",
            Self::Whole { .. } => "a whole number",
            Self::Number { .. } => "a number",
            Self::Duration => "a duration",
            Self::Text
            | Self::AnyText
            | Self::TextUpTo(_)
            | Self::Name(_)
            | Self::Choice { .. }
            | Self::ChoiceOrName { .. } => "text",
            Self::Size => "a size (bytes, or `64MiB`)",
            Self::Expression => "text (an expression)",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Foreign(_) | Self::Object | Self::Table(_) => "a table",
            Self::JsonSchema => "a table (a JSON Schema)",
            Self::TextOr(Self::List(_)) => "text or a list",
            Self::TextOr(_) => "text or a table",
            Self::FlagOr(_) => "true, false or a list",
        }
    }
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.fit.iter().find(|(key, _)| *key == name).map(|(_, node)| *node)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'n str> {
        self.get(name)?.text()
    }

    /// A text that says something; an empty one is as if it were left out.
    pub(super) fn filled(&self, name: &str) -> Option<&'n Node> {
        self.get(name).filter(|node| node.text().is_none_or(|text| !text.trim().is_empty()))
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)?.content {
            Content::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn count(&self, name: &str) -> Option<u32> {
        u32::try_from(self.get(name)?.to_json().as_u64()?).ok()
    }

    /// A size in bytes.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        size(self.get(name)?)
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        number(self.get(name)?)
    }

    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        duration::parse(self.text(name)?)
    }

    pub(super) fn items(&self, name: &str) -> &'n [Node] {
        self.get(name).map_or(&[], Node::items)
    }

    /// The members of a table with names of the document's own, `x-` keys left out.
    pub(super) fn members(&self, name: &str) -> impl Iterator<Item = &'n Entry> + use<'n> {
        let entries = self.get(name).map_or(&[][..], Node::entries);
        entries.iter().filter(|entry| !entry.key.starts_with("x-"))
    }

    /// The members of a table with names that somebody else gave, all of them.
    pub(super) fn all_members(&self, name: &str) -> &'n [Entry] {
        self.get(name).map_or(&[], Node::entries)
    }

    /// The texts of such a table.
    pub(super) fn texts(&self, name: &str) -> BTreeMap<String, String> {
        let entries = self.all_members(name).iter();
        entries.filter_map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned()))).collect()
    }

    /// Whether nothing is written in the table.
    pub(super) fn is_empty(&self) -> bool {
        self.node.entries().iter().all(|entry| entry.key.starts_with("x-"))
    }

    /// The key and its value as they stand in the document, also with a value that does not fit.
    pub(super) fn entry(&self, name: &str) -> Option<&'n Entry> {
        self.node.entries().iter().find(|entry| entry.key == name)
    }

    /// Whether the document has the key here, also with a value that does not fit.
    pub(super) fn mentions(&self, name: &str) -> bool {
        self.node.member(name).is_some()
    }
}
