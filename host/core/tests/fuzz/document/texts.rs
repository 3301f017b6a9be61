//! What stands in random documents: odd texts, values, expressions, templates.

use super::{Sight, Writer};
use serde_json::{Map, Value, json};

const PIECES: &[&str] = &[
    "a",
    "word ",
    " ",
    "\n",
    "\n\n",
    "\t",
    ": ",
    "- ",
    "#",
    " #",
    "@",
    "@@",
    "`",
    "%",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&x",
    "*x",
    "!t",
    "|",
    ">",
    "'",
    "\"",
    "\\",
    "\\n",
    "---",
    "...",
    "\u{e9}",
    "\u{6f22}",
    "\u{1f642}",
    "?",
    "? ",
    "=",
    "<<",
    "~",
    "null",
    "true",
    "yes",
    "no",
    "on",
    "y",
    "0x1",
    "1e3",
    "1_000",
    ".5",
    "-1",
    "12:30",
    "2026-11-20",
    "0o7",
    "+1",
    ".inf",
    ".nan",
    "\u{a0}",
    "\u{2028}",
    "e\u{301}",
    "\r\n",
    "\u{7}",
    "\u{200b}",
    "\u{feff}",
    "\u{85}",
    "$ref",
    "x-",
    "\0",
];

impl Writer<'_> {
    pub(super) fn turn_check(&mut self, sight: &Sight) -> String {
        let own = ["iteration < 3", "content.contains('done')", "status == 'completed' && result != null"];
        if self.dice.percent(60) { (*self.dice.pick(&own)).to_owned() } else { self.condition(sight) }
    }

    pub(super) fn condition(&mut self, sight: &Sight) -> String {
        let read = self.read(sight);
        match self.dice.below(4) {
            0 => "true".into(),
            1 => format!("{read} != null"),
            2 => format!("has(inputs.dir) && inputs.flag || !({read} == \"a: b # c\")"),
            _ => format!("{read} in ['x', 'yes',\n  '- y']"),
        }
    }

    pub(super) fn expression(&mut self, sight: &Sight) -> String {
        let read = self.read(sight);
        match self.dice.below(3) {
            0 => read,
            1 => format!("[{read}, 1, \"#: \"]"),
            _ => format!("{{'k': {read}}}"),
        }
    }

    /// Something that can be read here.
    pub(super) fn read(&mut self, sight: &Sight) -> String {
        let mut choices = vec!["inputs.dir".to_owned(), "vars.count".into(), "input".into(), "inputs.depth".into()];
        if sight.item {
            choices.extend(["item".into(), "index".into()]);
        }
        for id in &sight.steps {
            choices.extend([format!("steps.{id}.content"), format!("steps['{id}'].status")]);
        }
        self.dice.pick(&choices).clone()
    }

    pub(super) fn template(&mut self, sight: &Sight) -> String {
        let read = self.read(sight);
        match self.dice.below(4) {
            0 => format!("{{{{ {read} }}}}"),
            1 => format!("{} {{{{ {read} }}}}{}", unbraced(&self.text()), unbraced(&self.text())),
            2 => format!("{{% if {read} %}}{}{{% endif %}}", unbraced(&self.text())),
            _ => format!("x{}", unbraced(&self.text())),
        }
    }

    pub(super) fn arguments(&mut self, sight: &Sight) -> Value {
        let mut args = Map::new();
        for _ in 0..self.dice.between(0, 3) {
            let key = self.text();
            let value = match self.dice.below(3) {
                0 => json!(self.template(sight)),
                1 => json!([self.template(sight), { "deep": self.template(sight) }]),
                _ => json!(self.dice.below(1000)),
            };
            args.insert(key, value);
        }
        Value::Object(args)
    }

    pub(super) fn instructions(&mut self) -> Value {
        match self.dice.below(5) {
            0 => json!("@prompt.md"),
            1 => json!("@@literally"),
            2 => json!("@at.md"),
            _ => json!(format!("do {}", self.text())),
        }
    }

    pub(super) fn text(&mut self) -> String {
        (0..self.dice.between(0, 7)).map(|_| *self.dice.pick(PIECES)).collect()
    }

    /// A text that is not blank.
    pub(super) fn filled(&mut self) -> String {
        format!("{}w{}", self.text(), self.text())
    }

    pub(super) fn value(&mut self, depth: usize) -> Value {
        match self.dice.below(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.dice.percent(50)),
            2 => json!(self.dice.next() as i64),
            3 => json!(u64::MAX - self.dice.next() % 5),
            4 => json!(f64::from_bits(self.dice.next())).as_f64().map_or(json!(0.1), |number| json!(number)),
            5 => json!(self.text()),
            6 => (0..self.dice.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => self.object(depth - 1),
        }
    }

    pub(super) fn object(&mut self, depth: usize) -> Value {
        let count = self.dice.below(4);
        Value::Object((0..count).map(|_| (self.text(), self.value(depth))).collect())
    }
}

/// Text without the marks of templates.
fn unbraced(text: &str) -> String {
    text.replace('{', "(").replace('}', ")")
}
