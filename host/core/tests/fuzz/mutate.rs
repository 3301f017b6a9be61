//! Changes that make bad input of good input, and pieces that bad input is made of.

use crate::dice::Dice;
use serde_json::{Value, json};

pub(crate) const DOCUMENT: &[&str] = &[
    "name: w\n",
    "steps:\n",
    "  - id: a\n",
    "    instructions: x\n",
    "  - {id: b, dependsOn: [a]}\n",
    "loop: ",
    "forEach",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "  ",
    "\t",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "!x ",
    "---\n",
    "...\n",
    "? ",
    "| ",
    ">-\n",
    "'",
    "\"",
    "#",
    "%",
    "\\u00e9",
    "\\ud800",
    "~",
    "null",
    "1e999",
    "-0",
    "0x7f",
    ".nan",
    "true",
    "@prompt.md",
    "@@",
    "{{ steps.a.content }}",
    "{% if ",
    "steps.a.status == 'x'",
    "condition: ",
    "include: two.json\n",
    "ask: {prompt: x}",
    "mode: loop\n",
    "\u{feff}",
    "\u{202e}",
    "\u{0}",
    "\u{e9}",
    "x-y: ",
    "agents: {j: {description: d}}\n",
];
pub(crate) const EXPRESSION: &[&str] = &[
    "steps.build",
    "steps.a-b",
    ".result",
    ".content",
    ".n",
    ".list",
    "['a-b']",
    "[0]",
    "[-1]",
    "inputs.dir",
    "inputs.big",
    "inputs.low",
    "item",
    "index",
    "content",
    " == ",
    " != ",
    " < ",
    " >= ",
    " && ",
    " || ",
    "!",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " in ",
    " ? ",
    " : ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "size(",
    "has(",
    ".contains('",
    ".matches('(a+)+$')",
    ".startsWith(",
    ".map(x, ",
    ".filter(x, ",
    ".all(x, ",
    ".exists(x, ",
    "x",
    "'text'",
    "\"t\\n\"",
    "r'\\'",
    "b'x'",
    "0",
    "1",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615u",
    "1.5e308",
    "null",
    "true",
    "int(",
    "uint(",
    "double(",
    "string(",
    "duration('1h')",
    "timestamp('2026-11-20T08:00:00Z')",
    "type(",
    "dyn(",
    "\u{e9}",
    "'",
    "\\",
    ".",
    "..",
    "//",
];
pub(crate) const TEMPLATE: &[&str] = &[
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{#",
    "#}",
    "{{-",
    "-}}",
    "text ",
    "steps.build.content",
    "steps.a-b.result",
    "inputs.dir",
    "item",
    "index",
    " | ",
    "upper",
    "join(', ')",
    "tojson",
    "default('x')",
    "length",
    "replace('a', 'bb')",
    "list",
    "sort",
    "batch(3)",
    "range(99)",
    "if ",
    "elif ",
    "else",
    "endif",
    "for x in ",
    "endfor",
    "set y = ",
    "raw",
    "endraw",
    "macro m()",
    "endmacro",
    "'",
    "\"",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "+",
    "~",
    "*",
    "**",
    "-",
    "1",
    "99999999999",
    "0.1",
    ".",
    ",",
    ":",
    "is defined",
    " not ",
    "loop.index",
    "\n",
    "\u{e9}",
];
pub(crate) const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"path\"",
    "\"a\"",
    "\"\\u00e9\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "1",
    "-1",
    "1.5",
    "1e999",
    "1E-400",
    "true",
    "false",
    "null",
    "\"",
    "\\",
    " ",
    "\n",
    "[[[[[[[[",
    "{\"a\":{\"a\":",
    "]]]]",
    "}}",
    "\u{e9}",
    "NaN",
    "01",
    "18446744073709551616",
    "\u{0}",
];
pub(crate) const GRANT: &[&str] = &[
    "text",
    ":",
    "http",
    "GET",
    "https://",
    "*.example.com",
    "/a/**",
    "fs",
    "read",
    "write",
    "(",
    ")",
    "=",
    "*",
    "?",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    " ",
    "secret",
    "KEY",
    "kv",
    "run",
    "tools",
    "a.b",
    "__",
    "-",
    "1h",
    "30m",
    "5s",
    "7ms",
    "\u{e9}",
    "\\",
    "..",
    "/",
];

/// Some pieces in a row.
pub(crate) fn pieces(dice: &mut Dice, pieces: &[&str], most: usize) -> String {
    (0..dice.between(0, most)).map(|_| *dice.pick(pieces)).collect()
}

/// Cuts, repeats, moves and inserts.
pub(crate) fn text(dice: &mut Dice, text: &str, pieces: &[&str]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..dice.between(1, 4) {
        let start = dice.below(letters.len() + 1);
        let end = letters.len().min(start + dice.below(40));
        match dice.below(4) {
            0 => drop(letters.drain(start..end)),
            1 => {
                let part: Vec<char> = letters[start..end].to_vec();
                let at = dice.below(letters.len() + 1);
                letters.splice(at..at, part);
            }
            _ => {
                let piece: Vec<char> = dice.pick(pieces).chars().collect();
                letters.splice(start..start, piece);
            }
        }
    }
    letters.into_iter().collect()
}

/// Puts odd values into some places of a tree, takes some out, moves some.
pub(crate) fn value(dice: &mut Dice, root: &mut Value) {
    for _ in 0..dice.between(1, 3) {
        let taken = place(dice, root).clone();
        let put = match dice.below(4) {
            0 => taken,
            1 => json!([taken]),
            _ => scalar(dice),
        };
        match place(dice, root) {
            Value::Object(map) if dice.percent(50) => {
                let keys: Vec<String> = map.keys().cloned().collect();
                match (dice.below(3), keys.is_empty()) {
                    (0, false) => drop(map.shift_remove(dice.pick(&keys))),
                    (1, false) => drop(map.insert(dice.pick(&keys).clone(), put)),
                    _ => {
                        let key = *dice.pick(&["id", "loop", "steps", "x", "\u{e9}", "", "mode"]);
                        drop(map.insert(key.to_owned(), put));
                    }
                }
            }
            Value::Array(items) if dice.percent(50) => items.push(put),
            other => *other = put,
        }
    }
}

/// Any value of a tree.
fn place<'v>(dice: &mut Dice, value: &'v mut Value) -> &'v mut Value {
    let inner = match value {
        Value::Object(map) => map.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if inner == 0 || dice.percent(20) {
        return value;
    }
    let at = dice.below(inner);
    match value {
        Value::Object(map) => place(dice, map.values_mut().nth(at).unwrap()),
        Value::Array(items) => place(dice, &mut items[at]),
        _ => unreachable!("only lists and tables have inner values"),
    }
}

/// A value that few expect.
pub(crate) fn scalar(dice: &mut Dice) -> Value {
    dice.pick(&[
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("a"),
        json!("steps.a.content"),
        json!("{{ item }}"),
        json!("{{"),
        json!("@"),
        json!("@prompt.md"),
        json!("1h"),
        json!("../../x"),
        json!("\u{202e}"),
        json!("\u{0}"),
        json!([]),
        json!({}),
        json!([[[[[]]]]]),
        json!({ "native": "x" }),
        json!({ "forEach": [1], "steps": ["a"] }),
        json!({ "id": "a", "steps": [{ "id": "a" }] }),
    ])
    .clone()
}
