//! What a case does with a plugin: one call of a tool, one batch of a transform, one decision or choice of a condition.
//!
//! It must not run any of it.

use super::want::{APPLIED, CALLED, CHOSEN, DECIDED};
use crate::testing::reader::{Fields, items, members, text};
use crate::testing::shape::Shape;
use cofferdam_core::id::LocalName;
use cofferdam_core::policy::PluginKind;
use cofferdam_core::port::{Item, ItemValue};
use cofferdam_core::spec::authored::{Findings, Part};
use cofferdam_core::spec::code;
use cofferdam_core::transform::{CONTENT, RESULT};
use cofferdam_core::value::Map;
use serde_json::Value;
use std::sync::Arc;

/// The keys of a case of which it has one, and those of their tables.
pub(in crate::testing) const ACTS: [&str; 4] = ["call", "apply", "decide", "choose"];
pub(in crate::testing) const ACT_KEYS: [&[&str]; 4] =
    [&["tool", "args"], &["options", "items"], &["options", "view"], &["options", "labels", "view"]];

/// What is done.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A tool is called.
    Call { tool: LocalName, args: Map },
    /// A transform gets a batch.
    Apply { options: Map, items: Vec<Item> },
    /// A condition decides about a step.
    Decide { options: Map, view: Map },
    /// A condition chooses one of several.
    Choose { options: Map, labels: Vec<String>, view: Map },
}

impl Act {
    /// What can be expected of it.
    pub(super) fn shape(&self) -> &'static Shape {
        match self {
            Self::Call { .. } => &CALLED,
            Self::Apply { .. } => &APPLIED,
            Self::Decide { .. } => &DECIDED,
            Self::Choose { .. } => &CHOSEN,
        }
    }

    /// What a plugin must be for it.
    pub(super) fn kind(&self) -> PluginKind {
        match self {
            Self::Call { .. } => PluginKind::Tool,
            Self::Apply { .. } => PluginKind::Transform,
            Self::Decide { .. } | Self::Choose { .. } => PluginKind::Condition,
        }
    }

    /// The key that it stands under.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Call { .. } => "call",
            Self::Apply { .. } => "apply",
            Self::Decide { .. } => "decide",
            Self::Choose { .. } => "choose",
        }
    }

    /// Reads the one thing that a case does.
    pub(super) fn decode(part: Part<'_>, fields: Fields<'_>, findings: &mut Findings) -> Option<Self> {
        let mut given = ACTS.into_iter().filter_map(|key| Some((key, fields.get(key)?)));
        let Some((key, what)) = given.next() else {
            let hint = "a case has one of `call: { tool, args }`, `apply: { options, items }`, `decide: { options, view }` \
                        and `choose: { options, labels, view }`; sinks, storages, models and recalls have no cases";
            findings.at(part, code::MISSING_KEY, "the case does nothing", Some(hint.to_owned()));
            return None;
        };
        if let Some((other, second)) = given.next() {
            let message = format!("a case does one thing, and this one has `{key}` and `{other}`");
            findings.at(second, code::CONFLICT, message, None);
        }
        match key {
            "call" => call(what, findings),
            "apply" => apply(what, findings),
            "decide" => decide(what, findings),
            _ => choose(what, findings),
        }
    }
}

fn call(part: Part<'_>, findings: &mut Findings) -> Option<Act> {
    let fields = Fields::open(part, ACT_KEYS[0], findings)?;
    let name = fields.required("tool", findings)?;
    let args = table(fields, "args", findings);
    match LocalName::parse(name) {
        Ok(tool) => Some(Act::Call { tool, args }),
        Err(error) => {
            findings.at(part.nearest("tool"), code::BAD_NAME, error.to_string(), None);
            None
        }
    }
}

fn apply(part: Part<'_>, findings: &mut Findings) -> Option<Act> {
    let fields = Fields::open(part, ACT_KEYS[1], findings)?;
    let Some(list) = fields.get("items") else {
        let hint = Some("`items` is a list of texts and data".to_owned());
        findings.at(part, code::MISSING_KEY, "the key `items` is missing", hint);
        return None;
    };
    let given = items(list, findings).into_iter().map(item).collect();
    Some(Act::Apply { options: table(fields, "options", findings), items: given })
}

/// A text is the content of a step, anything else its data.
fn item(part: Part<'_>) -> Item {
    match part.text() {
        Some(text) => Item { id: CONTENT.into(), value: ItemValue::Text(text.into()) },
        None => Item { id: RESULT.into(), value: ItemValue::Json(Arc::new(part.to_json())) },
    }
}

fn decide(part: Part<'_>, findings: &mut Findings) -> Option<Act> {
    let fields = Fields::open(part, ACT_KEYS[2], findings)?;
    Some(Act::Decide { options: table(fields, "options", findings), view: table(fields, "view", findings) })
}

fn choose(part: Part<'_>, findings: &mut Findings) -> Option<Act> {
    let fields = Fields::open(part, ACT_KEYS[3], findings)?;
    let Some(list) = fields.get("labels") else {
        findings.at(part, code::MISSING_KEY, "the key `labels` is missing", None);
        return None;
    };
    let labels: Vec<String> =
        items(list, findings).into_iter().filter_map(|part| text(part, findings)).map(str::to_owned).collect();
    if labels.is_empty() {
        findings.at(list, code::EMPTY, "there is nothing to choose from", None);
    }
    Some(Act::Choose { options: table(fields, "options", findings), labels, view: table(fields, "view", findings) })
}

fn table(fields: Fields<'_>, key: &str, findings: &mut Findings) -> Map {
    fields.get(key).and_then(|part| object(part, findings)).unwrap_or_default()
}

/// A table as data.
pub(super) fn object(part: Part<'_>, findings: &mut Findings) -> Option<Map> {
    members(part, findings)?;
    match part.to_json() {
        Value::Object(map) => Some(map),
        _ => None,
    }
}
