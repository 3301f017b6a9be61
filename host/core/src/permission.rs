//! Whether a tool call may run: `decide(request, rules)` gives the answer and the rule that made it.
//!
//! Pure, and the only place where this is decided. It must not ask anybody: asking is the gateway's.

use crate::id::ToolName;
use crate::port::Effects;
use crate::spec::workflow::pattern_matches;
use serde_json::Value;
use std::fmt;

/// Who wants the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A `tool:` step, written in the document.
    Document,
    /// A model.
    Model,
    /// A plugin, by a grant of the user. It counts as a call of a model: the grant says that the plugin may ask, the
    /// rules say what may happen.
    Plugin,
}

/// A rule about calls: `tool`, `alias.*`, `tool(argument=pattern)` or `tool(pattern)`. A final `*` matches any rest.
///
/// A pattern without an argument's name is cautious: a deny rule matches when *any* string of the arguments does, an
/// allow rule only when *every* one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    tool: String,
    argument: Option<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// The argument that is looked at; none = all strings.
    name: Option<String>,
    pattern: String,
}

/// Which way a rule errs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caution {
    /// One match is enough to deny.
    Any,
    /// All must match to allow.
    All,
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a permission rule; write `tool`, `alias.tool`, `alias.*` or `tool(pattern)`")]
pub struct RuleError(String);

impl Rule {
    /// Parses a rule.
    ///
    /// # Errors
    /// When it is empty or its parenthesis is not closed.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let refuse = || RuleError(text.to_owned());
        let (tool, argument) = match text.split_once('(') {
            Some((tool, rest)) => (tool, Some(Pattern::parse(rest.strip_suffix(')').ok_or_else(refuse)?))),
            None => (text, None),
        };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'*');
        if tool.is_empty() || !tool.bytes().all(word) {
            return Err(refuse());
        }
        Ok(Self { tool: tool.to_owned(), argument })
    }

    /// Whether the rule is about this tool, whatever the arguments of a call.
    #[must_use]
    pub fn names(&self, tool: &ToolName) -> bool {
        pattern_matches(&self.tool, &tool.to_string())
    }

    fn matches(&self, request: &Request<'_>, caution: Caution) -> bool {
        self.names(request.tool) && self.argument.as_ref().is_none_or(|pattern| pattern.matches(request.args, caution))
    }
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match text.split_once('=').filter(|(name, _)| is_name(name)) {
            Some((name, pattern)) => Self { name: Some(name.to_owned()), pattern: pattern.to_owned() },
            None => Self { name: None, pattern: text.to_owned() },
        }
    }

    fn matches(&self, args: &Value, caution: Caution) -> bool {
        let value = match &self.name {
            Some(name) => args.get(name).unwrap_or(&Value::Null),
            None => args,
        };
        let mut strings = Vec::new();
        collect_strings(value, &mut strings);
        let mut hits = strings.iter().map(|text| pattern_matches(&self.pattern, text));
        match caution {
            Caution::Any => hits.any(|hit| hit),
            Caution::All => !strings.is_empty() && hits.all(|hit| hit),
        }
    }
}

fn collect_strings<'v>(value: &'v Value, strings: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => strings.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect_strings(item, strings)),
        Value::Object(map) => map.values().for_each(|item| collect_strings(item, strings)),
        _ => {}
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.argument {
            Some(Pattern { name: Some(name), pattern }) => write!(f, "{}({name}={pattern})", self.tool),
            Some(Pattern { name: None, pattern }) => write!(f, "{}({pattern})", self.tool),
            None => f.write_str(&self.tool),
        }
    }
}

/// The rules of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// These calls never run.
    pub deny: Vec<Rule>,
    /// These calls run.
    pub allow: Vec<Rule>,
    /// Whether somebody is there who can be asked.
    pub approver: Presence,
    /// Whether what no rule decides is denied, also where somebody could be asked.
    pub strict: bool,
}

/// Whether somebody is there who can be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Nobody: what no rule names is denied unless it only reads.
    #[default]
    Absent,
    /// Somebody.
    Present,
}

/// A call that is to be decided about.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The tool.
    pub tool: &'a ToolName,
    /// Its arguments.
    pub args: &'a Value,
    /// What it does to the world, as far as the host believes it.
    pub effects: Effects,
    /// Who wants it.
    pub origin: Origin,
}

/// What was decided, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What.
    pub outcome: Outcome,
    /// The rule, for people and the journal.
    pub rule: String,
}

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It runs.
    Allow,
    /// It does not.
    Deny,
    /// Somebody is asked.
    Ask,
}

/// Decides: deny rules, then allow rules, then the document, then what only reads, then a person, then no.
#[must_use]
pub fn decide(request: &Request<'_>, rules: &Rules) -> Decided {
    let by = |outcome, rule: String| Decided { outcome, rule };
    if let Some(rule) = rules.deny.iter().find(|rule| rule.matches(request, Caution::Any)) {
        return by(Outcome::Deny, format!("deny {rule}"));
    }
    if let Some(rule) = rules.allow.iter().find(|rule| rule.matches(request, Caution::All)) {
        return by(Outcome::Allow, format!("allow {rule}"));
    }
    match (request.origin, request.effects.read_only, rules.approver) {
        (Origin::Document, _, _) => by(Outcome::Allow, "written in the document".to_owned()),
        (Origin::Model | Origin::Plugin, true, _) => by(Outcome::Allow, "only reads".to_owned()),
        (Origin::Model | Origin::Plugin, false, _) if rules.strict => {
            by(Outcome::Deny, "strict, and no rule".to_owned())
        }
        (Origin::Model | Origin::Plugin, false, Presence::Present) => by(Outcome::Ask, "no rule".to_owned()),
        (Origin::Model | Origin::Plugin, false, Presence::Absent) => {
            by(Outcome::Deny, "no rule and nobody to ask".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(origin: Origin, read_only: bool, rules: &Rules) -> Outcome {
        let tool = ToolName::parse("files.write").unwrap();
        let args = json!({ "path": "out:report.md", "content": "/etc/passwd" });
        let effects = Effects { read_only, ..Effects::default() };
        decide(&Request { tool: &tool, args: &args, effects, origin }, rules).outcome
    }

    fn rules(deny: &[&str], allow: &[&str]) -> Rules {
        let parse = |texts: &[&str]| texts.iter().map(|text| Rule::parse(text).unwrap()).collect();
        Rules { deny: parse(deny), allow: parse(allow), approver: Presence::Absent, strict: false }
    }

    #[test]
    fn a_denial_wins_over_everything() {
        let rules = rules(&["files.*"], &["files.write"]);
        assert_eq!(outcome(Origin::Document, true, &rules), Outcome::Deny);
    }

    #[test]
    fn without_a_terminal_a_model_may_only_read() {
        let none = Rules::default();
        assert_eq!(outcome(Origin::Model, true, &none), Outcome::Allow);
        assert_eq!(outcome(Origin::Model, false, &none), Outcome::Deny);
        assert_eq!(outcome(Origin::Document, false, &none), Outcome::Allow);
        let asked = Rules { approver: Presence::Present, ..Rules::default() };
        assert_eq!(outcome(Origin::Model, false, &asked), Outcome::Ask);
        assert_eq!(outcome(Origin::Plugin, false, &asked), Outcome::Ask);
    }

    #[test]
    fn strict_asks_nobody() {
        let strict = Rules { approver: Presence::Present, strict: true, ..Rules::default() };
        assert_eq!(outcome(Origin::Model, false, &strict), Outcome::Deny);
        assert_eq!(outcome(Origin::Plugin, false, &strict), Outcome::Deny);
        assert_eq!(outcome(Origin::Model, true, &strict), Outcome::Allow);
        assert_eq!(outcome(Origin::Document, false, &strict), Outcome::Allow);
    }

    #[test]
    fn a_rule_may_look_at_the_arguments() {
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(path=out:*)"])), Outcome::Allow);
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(path=/etc/*)"])), Outcome::Deny);
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(mode=out:*)"])), Outcome::Deny);
        assert_eq!(outcome(Origin::Document, false, &rules(&["files.write(/etc/*)"], &[])), Outcome::Deny);
    }

    #[test]
    fn content_that_looks_like_a_path_allows_nothing() {
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(/etc/*)"])), Outcome::Deny);
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(out:*)"])), Outcome::Deny);
        for bad in ["", "a b", "write(", "(x)"] {
            assert!(Rule::parse(bad).is_err(), "{bad}");
        }
    }
}
