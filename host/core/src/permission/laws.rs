//! Decisions about random calls and rules, held against a reading of the page for users that shares no code with them.

use super::*;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;
use std::path::{Component, Path};

/// A rule as it was made up: the tool, the argument that it looks at, the pattern.
#[derive(Clone, Debug)]
struct Made {
    tool: &'static str,
    argument: Option<(Option<&'static str>, &'static str)>,
}

impl Made {
    fn rule(&self) -> Rule {
        let text = match self.argument {
            None => self.tool.to_owned(),
            Some((None, pattern)) => format!("{}({pattern})", self.tool),
            Some((Some(name), pattern)) => format!("{}({name}={pattern})", self.tool),
        };
        let rule = Rule::parse(&text).unwrap();
        assert_eq!(rule.to_string(), text);
        rule
    }

    /// Whether it is about a call: of its texts one must match, or all.
    fn hits(&self, tool: &str, args: &Value, all: bool) -> bool {
        let Some((name, pattern)) = self.argument else { return like(self.tool, tool) };
        let looked_at = |args: &Value| {
            let texts = texts(name.map_or(args, |name| &args[name]));
            let mut hits = texts.iter().map(|text| like(pattern, text));
            if all { !texts.is_empty() && hits.all(|hit| hit) } else { hits.any(|hit| hit) }
        };
        let opened = opened(tool, args);
        let (written, opened) = (looked_at(args), looked_at(&opened));
        like(self.tool, tool) && if all { written && opened } else { written || opened }
    }
}

fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_at(pattern.len() - 1) {
        (head, "*") => text.get(..head.len()) == Some(head),
        _ => text == pattern || (pattern, text) == ("bash", "exec"),
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The arguments with their path as the native tools open it.
fn opened(tool: &str, args: &Value) -> Value {
    let mut args = args.clone();
    if let (true, Some(path)) = (["read", "write", "edit"].contains(&tool), args["path"].as_str()) {
        let (out, rest) = path.strip_prefix("out:").map_or(("", path), |rest| ("out:", rest));
        let parts = Path::new(rest).components().filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            Component::ParentDir => Some(".."),
            _ => None,
        });
        let plain = format!("{out}{}", parts.collect::<Vec<_>>().join("/"));
        args["path"] = json!(plain);
    }
    args
}

/// What the page for users says, from its first line to its last.
fn read_off(request: &Request<'_>, [deny, allow, ask]: &[Vec<Made>; 3], stance: Stance) -> (Outcome, &'static str) {
    let (tool, Effects { read_only, within_run, stays_within, .. }) = (request.tool.to_string(), request.effects);
    let any = |rules: &[Made], all| rules.iter().any(|rule| rule.hits(&tool, request.args, all));
    let strict = [Stance::Strict, Stance::StrictSandbox].contains(&stance);
    let sandbox = [Stance::Sandbox, Stance::StrictSandbox].contains(&stance) && !tool.contains('.') && stays_within;
    let lines = [
        (any(deny, false), Outcome::Deny, "deny "),
        (stance == Stance::Yolo, Outcome::Allow, "yolo"),
        (any(allow, true), Outcome::Allow, "allow "),
        (any(ask, false) && strict, Outcome::Deny, "strict, and ask "),
        (any(ask, false), Outcome::Ask, "ask "),
        (request.origin == Origin::Document, Outcome::Allow, "written in the document"),
        (read_only, Outcome::Allow, "only reads"),
        (within_run, Outcome::Allow, "changes only the run"),
        (sandbox, Outcome::Allow, "sandbox"),
        (strict, Outcome::Deny, "strict, and no rule"),
        (true, Outcome::Undecided, "no rule"),
    ];
    let (_, outcome, rule) = lines.into_iter().find(|(holds, ..)| *holds).unwrap();
    (outcome, rule)
}

const TOOLS: [&str; 6] = ["read", "write", "edit", "exec", "files.write", "files.read"];
const PATTERNS: [&str; 8] = ["*", "read", "write", "exec", "bash", "files.*", "files.write", "e*"];
const PATHS: [&str; 9] = ["a", "./a", "a/b", "a//b", "./a/./b/", "/a", "out:a", "out:./a", "../a"];
const TEXTS: [&str; 8] = ["a", "a*", "a/*", "out:*", "*", "./a", "x", "../*"];

fn made() -> impl Strategy<Value = Made> {
    let name = prop_oneof![Just(None), select(&["path", "content", "none"][..]).prop_map(Some)];
    let argument = prop::option::of((name, select(&TEXTS[..])));
    (select(&PATTERNS[..]), argument).prop_map(|(tool, argument)| Made { tool, argument })
}

fn args() -> impl Strategy<Value = Value> {
    let text = prop_oneof![select(&PATHS[..]), select(&["x", "xy", ""][..])];
    (prop::option::of(text.clone()), prop::option::of(text.clone()), prop::collection::vec(text, 0..2), any::<bool>())
        .prop_map(|(path, content, items, nested)| {
            let mut args = json!({ "count": 1, "items": if nested { json!({ "deep": items }) } else { json!(items) } });
            path.into_iter().for_each(|path| args["path"] = json!(path));
            content.into_iter().for_each(|content| args["content"] = json!(content));
            args
        })
}

proptest! {
    #[test]
    fn decisions_are_those_of_the_page_for_users(
        tool in select(&TOOLS[..]),
        args in args(),
        [read_only, within_run, stays_within] in any::<[bool; 3]>(),
        origin in select(&[Origin::Document, Origin::Model, Origin::Plugin][..]),
        rules in prop::array::uniform3(prop::collection::vec(made(), 0..3)),
        stance in any::<Index>(),
    ) {
        let stance = *stance.get(&[Stance::Ask, Stance::Strict, Stance::Sandbox, Stance::StrictSandbox, Stance::Yolo]);
        let tool = ToolName::parse(tool).unwrap();
        let effects = Effects { read_only, within_run, stays_within, ..Effects::default() };
        let request = Request { tool: &tool, args: &args, effects, origin };
        let [deny, allow, ask] = rules.each_ref().map(|rules| rules.iter().map(Made::rule).collect());
        let wanted = Rules { deny, allow, ask, stance };
        let decided = decide(&request, &wanted);
        let (outcome, rule) = read_off(&request, &rules, stance);
        prop_assert_eq!(decided.outcome, outcome);
        prop_assert!(decided.rule.starts_with(rule), "`{}` is not `{}`", decided.rule, rule);
        // A call of a plugin counts as one of a model.
        if origin == Origin::Plugin {
            prop_assert_eq!(decide(&Request { origin: Origin::Model, ..request }, &wanted), decided);
        }
    }
}
