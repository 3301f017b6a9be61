//! The authored document as one tree in which every node and key knows its place.
//!
//! It must not know the workflow language: only YAML, JSON and their dangers.

use super::code;
use super::report::{Report, Spot};
use super::safety;
use crate::limits;
use crate::value::Map;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_yaml::options::DuplicateKeyPolicy;
use serde_yaml::{NonFiniteFloatPolicy, Options, Spanned};
use std::fmt;
use std::ops::Range;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) spot: Spot,
    /// The bytes of the document that it was read from; none for what an alias repeats.
    pub(super) bytes: Option<Range<usize>>,
    /// `steps[2].dependsOn[0]`; empty for the document.
    pub(super) path: String,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Int(i64),
    /// Above what `Int` holds.
    Large(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its place, and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Numbers, `true` and the like are keys in YAML, and here a mistake.
    pub(super) is_text: bool,
    pub(super) spot: Spot,
    pub(super) value: Node,
}

/// Parses a document. None when it is not YAML or JSON; the report then says why.
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    if text.len() > limits::DOCUMENT_BYTES {
        let message =
            format!("the document has {} bytes, more than the limit of {}", text.len(), limits::DOCUMENT_BYTES);
        report.whole(code::TOO_LARGE, message);
        return None;
    }
    let is_blank = |line: &str| matches!(line.trim(), "" | "---" | "...") || line.trim_start().starts_with('#');
    if text.trim_start_matches('\u{FEFF}').lines().all(is_blank) {
        empty(report);
        return None;
    }
    if report.is_json() && !is_json(text, report) {
        return None;
    }
    match serde_yaml::from_str_with_options::<Node>(text, options()) {
        Ok(node) if matches!(node.content, Content::Null) => {
            empty(report);
            None
        }
        Ok(mut node) => {
            settle(&mut node, String::new(), report);
            Some(node)
        }
        Err(error) => {
            syntax(error.without_snippet(), report);
            None
        }
    }
}

fn empty(report: &mut Report) {
    report.whole(code::EMPTY, "the document is empty").hint("`cofferdam init` writes one to begin with");
}

/// YAML takes more than JSON; a file that says that it is JSON is read by other programs too.
fn is_json(text: &str, report: &mut Report) -> bool {
    let plain = text.trim_start_matches('\u{FEFF}');
    let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(plain) else { return true };
    let line = plain.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let before = line.get(..line.floor_char_boundary(error.column().saturating_sub(1))).unwrap_or_default();
    let spot = Spot::new(error.line().max(1) as u64, before.chars().count() as u64 + 1);
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    report
        .at(code::SYNTAX, spot, "", format!("not JSON: {message}"))
        .hint("mend it, or call the file `.yaml`: YAML takes comments, single quotes and final commas");
    false
}

fn options() -> Options {
    let mut budget = serde_yaml::Budget::default();
    budget.max_depth = limits::DOCUMENT_DEPTH;
    budget.flow_nesting_limit = limits::DOCUMENT_DEPTH;
    budget.max_nodes = limits::DOCUMENT_NODES;
    budget.max_events = limits::DOCUMENT_NODES * 3;
    budget.max_aliases = limits::DOCUMENT_ALIASES;
    budget.max_anchors = limits::DOCUMENT_ALIASES;
    budget.max_merge_keys = limits::DOCUMENT_ALIASES;
    budget.max_recorded_anchor_events = limits::DOCUMENT_NODES * 3;
    budget.max_recorded_anchor_bytes = limits::DOCUMENT_BYTES * 4;
    budget.max_total_scalar_bytes = limits::DOCUMENT_BYTES * 4;
    budget.max_documents = 1;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = limits::DOCUMENT_NODES * 3;
    options.alias_limits.max_replay_stack_depth = limits::DOCUMENT_DEPTH;
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.strict_booleans = true;
    options.reject_unsupported_tags = true;
    // They are found with their place, among everything else.
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options.with_snippet = false;
    options
}

fn syntax(error: &serde_yaml::Error, report: &mut Report) {
    use serde_yaml::Error;
    let spot = error.location().map_or(Spot::START, |location| Spot::new(location.line(), location.column()));
    let rendered = error.to_string();
    let first = rendered.lines().next().unwrap_or_default();
    // The place is a field of its own, and has other words in front of it in each kind of error.
    let first =
        first.strip_prefix("error: line ").and_then(|rest| rest.split_once(": ")).map_or(first, |(_, rest)| rest);
    let first = first.split(" at line ").next().unwrap_or(first);
    if let Error::DuplicateMappingKey { key, .. } = error {
        let key = key.as_deref().map_or_else(String::new, |key| format!(" `{key}`"));
        report
            .at(code::DUPLICATE_KEY, spot, "", format!("the key{key} is written twice"))
            .hint("keep one of the two; the rest of the document is checked when this is mended");
    } else if let Some(message) = breach(first) {
        report.at(code::TOO_LARGE, spot, "", message);
    } else {
        let found = report.at(code::SYNTAX, spot, "", plain(first));
        if first.contains("tabs") {
            found.hint("indent with spaces");
        }
    }
}

/// What a bound of the parser means; its errors have lost their types on the way through serde.
fn breach(message: &str) -> Option<String> {
    let bounds = [
        ("Documents {", "more than one document".to_owned()),
        ("Nodes {", format!("more than {} values", limits::DOCUMENT_NODES)),
        ("Events {", format!("more than {} values", limits::DOCUMENT_NODES)),
        ("Aliases {", format!("more than {} aliases", limits::DOCUMENT_ALIASES)),
        ("Anchors {", format!("more than {} anchors", limits::DOCUMENT_ALIASES)),
        ("recursion limit", format!("nested deeper than {} levels", limits::DOCUMENT_DEPTH)),
        ("Depth {", format!("nested deeper than {} levels", limits::DOCUMENT_DEPTH)),
    ];
    let known = bounds.into_iter().find(|(mark, _)| message.contains(mark)).map(|(_, meaning)| meaning);
    let other = || message.contains("budget") || message.contains("limit exceeded");
    known.or_else(|| other().then(|| "the document repeats or holds more than a workflow needs".to_owned()))
}

/// The parser's words, where they speak of its own settings.
fn plain(message: &str) -> &str {
    if message.contains("recursive references") {
        return "an alias stands inside what it repeats";
    }
    if message.is_empty() { "not a YAML document" } else { message }
}

/// Gives every node its path, and makes its texts safe.
fn settle(node: &mut Node, path: String, report: &mut Report) {
    node.path = path;
    if node.spot.line == 0 {
        node.spot = Spot::START;
    }
    let own = node.path.clone();
    match &mut node.content {
        Content::Text(text) => {
            if let Some(clean) = safety::clean(text, report, node.spot, &own) {
                *text = clean;
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                settle(item, format!("{own}[{index}]"), report);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                if !entry.is_text {
                    let message = format!("the key `{}` is not text", entry.key);
                    report
                        .at(code::SYNTAX, entry.spot, &own, message)
                        .hint(format!("write it in quotes: `\"{}\"`", entry.key));
                }
                let path = if own.is_empty() { entry.key.clone() } else { format!("{own}.{}", entry.key) };
                if let Some(clean) = safety::clean(&entry.key, report, entry.spot, &path) {
                    entry.key = clean;
                }
                settle(&mut entry.value, path, report);
            }
        }
        Content::Float(number) if !number.is_finite() => {
            let what =
                if number.is_nan() { "`.nan` is not a number" } else { "the number has no end, or is too large" };
            let found = report.at(code::SYNTAX, node.spot, &own, what.to_owned());
            found.hint("write another number, or leave the key out; in quotes it is text");
        }
        Content::Null | Content::Bool(_) | Content::Int(_) | Content::Large(_) | Content::Float(_) => {}
    }
}

impl Node {
    /// The value without places.
    pub(super) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Int(value) => Value::from(*value),
            Content::Large(value) => Value::from(*value),
            Content::Float(value) => Value::from(*value),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Content::Map(_) => Value::Object(self.to_map()),
        }
    }

    /// The members without places; empty when it is no map.
    pub(super) fn to_map(&self) -> Map {
        self.entries().iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        if let Content::Map(entries) = &self.content { entries } else { &[] }
    }

    pub(super) fn items(&self) -> &[Self] {
        if let Content::List(items) = &self.content { items } else { &[] }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Content::Text(text) = &self.content { Some(text) } else { None }
    }

    pub(super) fn member(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    pub(super) fn item(&self, index: usize) -> Option<&Self> {
        self.items().get(index)
    }

    /// The node at a path such as `http[0].host`, or the nearest one around it.
    pub(super) fn nearest(&self, path: &str) -> &Self {
        let mut node = self;
        for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
            let next = match part.strip_suffix(']') {
                Some(index) => index.parse().ok().and_then(|index| node.item(index)),
                None => node.member(part),
            };
            match next {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node
    }

    /// The node at a JSON pointer, or the nearest one around it.
    pub(super) fn at_pointer(&self, pointer: &str) -> &Self {
        let mut node = self;
        for part in pointer.split('/').skip(1) {
            let key = part.replace("~1", "/").replace("~0", "~");
            let Some(next) = node.member(&key).or_else(|| node.item(key.parse().ok()?)) else { break };
            node = next;
        }
        node
    }

    /// What it is, for messages.
    pub(super) fn describe(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "true or false",
            Content::Int(_) | Content::Large(_) => "a whole number",
            Content::Float(_) => "a number",
            Content::Text(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a table",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        let spot = Spot::new(spanned.referenced.line(), spanned.referenced.column());
        let span = spanned.defined.span();
        let range = (spanned.referenced == spanned.defined).then(|| (span.byte_offset(), span.byte_len()));
        let bytes = match range {
            Some((Some(start), Some(length))) => usize::try_from(start)
                .ok()
                .zip(usize::try_from(length).ok())
                .map(|(start, length)| start..start + length),
            _ => None,
        };
        Ok(Self { content: spanned.value, spot, bytes, path: String::new() })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(i64::try_from(value).map_or(Content::Large(value), Content::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Content, E> {
        Ok(Content::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<Content>>()? {
            let spot = Spot::new(key.referenced.line(), key.referenced.column());
            let (key, is_text) = match key.value {
                Content::Text(text) => (text, true),
                Content::Int(number) => (number.to_string(), false),
                Content::Large(number) => (number.to_string(), false),
                Content::Float(number) => (number.to_string(), false),
                Content::Bool(value) => (value.to_string(), false),
                Content::Null => ("null".to_owned(), false),
                Content::List(_) | Content::Map(_) => {
                    return Err(A::Error::custom("a list or table cannot be a key"));
                }
            };
            entries.push(Entry { key, is_text, spot, value: access.next_value()? });
        }
        Ok(Content::Map(entries))
    }
}
