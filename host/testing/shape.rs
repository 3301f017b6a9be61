//! Expectations as a tree: tables of known keys, and matchers at the leaves. One table says for each kind of thing what
//! can be expected of it; the decoder, the check and the documentation follow it.

use super::matcher::{Matcher, is_operators};
use super::reader::{Fields, items, members, wrong};
use super::verdict::Miss;
use cofferdam_core::policy::PluginLimits;
use cofferdam_core::spec::authored::{Findings, Member, Part};
use cofferdam_core::spec::code;
use cofferdam_core::value;
use serde_json::{Value, json};

/// What can be expected of one kind of thing.
pub(super) struct Shape {
    /// The keys, and what each takes.
    pub(super) keys: &'static [(&'static str, Form)],
    /// The key that is meant when no table of keys is given.
    pub(super) short: &'static str,
}

/// What a key takes.
pub(super) enum Form {
    /// Any value, or operators.
    Value,
    /// A number, or operators.
    Number,
    /// One of these words, or operators.
    Words(&'static [&'static str]),
    /// A table of its own.
    Table(&'static Shape),
    /// A list of such things, each for the one at its place; or operators about the list.
    List(&'static Shape),
    /// A table by names, of which each must be as said; others do not matter.
    Members,
    /// At most this number of units: `{max: 1000}`.
    Most,
    /// At most this size: `{max: 4MiB}`.
    MostBytes,
}

use Form::{Number, Table, Value as Any, Words};

const STEP_STATUS: &[&str] = &["completed", "failed", "skipped", "cancelled"];
pub(super) const RUN_STATUS: &[&str] = &["completed", "partial", "failed", "cancelled", "waiting"];
const REASON: &[&str] = &["timeout", "budget", "aborted"];
const SKIPPED: &[&str] = &["condition", "upstream", "stop"];
const LOOP_END: &[&str] = &["items", "until", "judge", "while", "limit", "signal", "failed", "timeout", "stopped"];

/// Of a step.
pub(super) const STEP: Shape = Shape {
    short: "status",
    keys: &[
        ("status", Words(STEP_STATUS)),
        ("content", Any),
        ("result", Any),
        ("error", Table(&FAULT)),
        ("attempts", Number),
        ("skippedBecause", Words(SKIPPED)),
        ("truncated", Any),
        ("usage", Table(&USAGE)),
        ("cost", Any),
        ("durationMs", Number),
        ("metadata", Any),
    ],
};

/// Of a failure.
pub(super) const FAULT: Shape =
    Shape { short: "code", keys: &[("code", Any), ("message", Any), ("class", Any), ("step", Any)] };

/// Of the run as a whole.
pub(super) const RUN: Shape = Shape {
    short: "status",
    keys: &[
        ("status", Words(RUN_STATUS)),
        ("reason", Words(REASON)),
        ("output", Any),
        ("error", Table(&FAULT)),
        ("usage", Table(&USAGE)),
        ("cost", Any),
        ("budget", Any),
        ("warnings", Any),
        ("durationMs", Number),
        ("summary", Any),
        ("narrated", Any),
        ("mail", Table(&MAIL)),
    ],
};

/// Of messages between agents.
pub(super) const MAIL: Shape =
    Shape { short: "posted", keys: &[("posted", Number), ("delivered", Number), ("dropped", Any)] };

/// Of tokens.
pub(super) const USAGE: Shape =
    Shape { short: "total", keys: &[("total", Number), ("input", Number), ("output", Number), ("requests", Number)] };

/// Of a loop.
pub(super) const LOOP: Shape = Shape {
    short: "iterations",
    keys: &[("iterations", Number), ("because", Words(LOOP_END)), ("items", Number), ("completed", Number)],
};

/// Of what a model was sent.
pub(super) const MESSAGE: Shape = Shape {
    short: "user",
    keys: &[
        ("user", Any),
        ("system", Any),
        ("conversation", Any),
        ("model", Any),
        ("tools", Any),
        ("attachments", Any),
        ("maxTokens", Number),
        ("modelOptions", Any),
        ("attempt", Number),
        ("turn", Number),
    ],
};

/// Of the calls of a tool.
pub(super) const CALLS: Shape = Shape { short: "times", keys: &[("times", Number), ("args", Any), ("result", Any)] };

/// Of what keeps a document from running.
pub(super) const REFUSAL: Shape = Shape {
    short: "code",
    keys: &[("code", Any), ("message", Any), ("hint", Any), ("line", Number), ("column", Number), ("path", Any)],
};

/// What is expected of one thing.
#[derive(Debug)]
pub(super) enum Want {
    /// The value at this key.
    Match(Matcher),
    /// These keys of a table.
    Table(Vec<(&'static str, Want)>),
    /// These members of a table.
    Members(Vec<(String, Want)>),
    /// Exactly these things.
    List(Vec<Want>),
    /// It must not be there.
    Nothing,
}

impl Want {
    /// Reads what is expected of a thing of this shape.
    pub(super) fn decode(part: Part<'_>, shape: &'static Shape, findings: &mut Findings) -> Self {
        if part.to_json().is_null() {
            return Self::Nothing;
        }
        if part.members().is_none() || is_operators(part) {
            let form = shape.keys.iter().find(|(key, _)| *key == shape.short);
            return Self::Table(form.map(|(key, form)| (*key, of_form(part, form, findings))).into_iter().collect());
        }
        let mut wants = Vec::new();
        let known: Vec<&str> = shape.keys.iter().map(|(key, _)| *key).collect();
        for member in members(part, findings).unwrap_or_default() {
            match shape.keys.iter().find(|(key, _)| *key == member.key) {
                Some((key, form)) => wants.push((*key, of_form(member.value, form, findings))),
                None => findings.unknown_key(member, &known),
            }
        }
        Self::Table(wants)
    }

    /// Reads what is expected of one key of a shape.
    pub(super) fn of_key(shape: &'static Shape, key: &str, part: Part<'_>, findings: &mut Findings) -> Option<Self> {
        let (_, form) = shape.keys.iter().find(|(known, _)| *known == key)?;
        Some(of_form(part, form, findings))
    }

    /// Exactly this word.
    pub(super) fn exactly(word: &str) -> Self {
        Self::Match(Matcher::exactly(word.into()))
    }

    /// What does not hold of a value; `about` is where it stands.
    pub(super) fn misses(&self, about: &str, found: &Value) -> Vec<Miss> {
        match self {
            Self::Nothing if found.is_null() => Vec::new(),
            Self::Nothing => vec![Miss::new(about, "nothing", value::to_text(found))],
            Self::Match(matcher) => {
                let shown = value::to_text(found);
                matcher.misses(found).into_iter().map(|expected| Miss::new(about, expected, shown.clone())).collect()
            }
            Self::Table(wants) => {
                let inner = |(key, want): &(&str, Self)| {
                    let about = if about.is_empty() { (*key).to_owned() } else { format!("{about}.{key}") };
                    want.misses(&about, found.get(key).unwrap_or(&Value::Null))
                };
                wants.iter().flat_map(inner).collect()
            }
            Self::Members(wants) => {
                let inner = |(key, want): &(String, Self)| {
                    want.misses(&format!("{about}.{key}"), found.get(key).unwrap_or(&Value::Null))
                };
                wants.iter().flat_map(inner).collect()
            }
            Self::List(wants) => {
                let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
                if wants.len() != found.len() {
                    let shown: Vec<String> = found.iter().map(value::to_text).collect();
                    let shown = format!("{}: {}", shown.len(), shown.join("; "));
                    return vec![Miss::new(about, format!("{} of them", wants.len()), shown)];
                }
                let each = wants.iter().zip(found).enumerate();
                each.flat_map(|(index, (want, found))| want.misses(&format!("{about}[{index}]"), found)).collect()
            }
        }
    }

    /// What is expected of a member of that name.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Table(wants) => wants.iter().find(|(key, _)| *key == name).map(|(_, want)| want),
            Self::Members(wants) => wants.iter().find(|(key, _)| key == name).map(|(_, want)| want),
            Self::Match(_) | Self::List(_) | Self::Nothing => None,
        }
    }
}

fn of_form(part: Part<'_>, form: &'static Form, findings: &mut Findings) -> Want {
    match form {
        Table(shape) => return Want::decode(part, shape, findings),
        Form::List(shape) if part.items().is_some() => {
            let items = items(part, findings).into_iter();
            return Want::List(items.map(|item| Want::decode(item, shape, findings)).collect());
        }
        Form::List(_) if !is_operators(part) => {
            wrong(part, "a list, or a table of operators", findings);
            return Want::Nothing;
        }
        Form::Members => {
            let members = members(part, findings).unwrap_or_default().into_iter();
            let one = |member: Member<'_>| (member.key.to_owned(), of_form(member.value, &Any, findings));
            return Want::Members(members.map(one).collect());
        }
        Form::Most | Form::MostBytes => return most(part, form, findings),
        _ => {}
    }
    let matcher = Matcher::decode(part, findings);
    match (form, matcher.exact()) {
        (Number, Some(value)) if !value.is_number() && !value.is_null() => {
            let message = format!("expected a number or a table of operators, found {}", part.describe());
            findings.at(part, code::WRONG_TYPE, message, Some("for instance `{ atMost: 100 }`".to_owned()));
        }
        (Words(words), Some(value)) if !value.is_null() => check_word(part, value, words, findings),
        _ => {}
    }
    Want::Match(matcher)
}

/// `{max: N}`.
fn most(part: Part<'_>, form: &Form, findings: &mut Findings) -> Want {
    const KEYS: [&str; 1] = ["max"];
    let Some(fields) = Fields::open(part, &KEYS, findings) else { return Want::Nothing };
    let Some(max) = fields.get("max") else {
        let hint = Some("write `{ max: ... }`".to_owned());
        findings.at(part, code::MISSING_KEY, "the key `max` is missing", hint);
        return Want::Nothing;
    };
    if matches!(form, Form::Most) {
        return Want::Match(Matcher::at_most(fields.number("max", findings).unwrap_or_default()));
    }
    match PluginLimits::parse(&json!({ "memory": max.to_json() })) {
        Ok(limits) => Want::Match(Matcher::at_most(limits.memory_bytes.unwrap_or_default())),
        Err(errors) => {
            for error in errors {
                findings.at(max, code::WRONG_TYPE, error.message, error.hint);
            }
            Want::Nothing
        }
    }
}

fn check_word(part: Part<'_>, value: &Value, words: &[&str], findings: &mut Findings) {
    if value.as_str().is_some_and(|text| words.contains(&text)) {
        return;
    }
    let given = value::to_text(value);
    let near = findings.did_you_mean(&given, words);
    let hint = near.unwrap_or_else(|| format!("one of: {}", words.join(", ")));
    findings.at(part, code::UNKNOWN_CHOICE, format!("`{given}` can never be found here"), Some(hint));
}
