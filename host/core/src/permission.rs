//! Whether a tool call may run: `decide(request, rules)` gives the answer and the rule that made it.
//!
//! Pure, and the only place where this is decided. It must not ask anybody: asking is the gateway's.

#[cfg(test)]
mod laws;

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

    /// The argument that the rule names, if it names one.
    #[must_use]
    pub fn argument(&self) -> Option<&str> {
        self.argument.as_ref()?.name.as_deref()
    }

    /// Whether a `*` stands where it is a letter like others: not at the end.
    #[must_use]
    pub fn has_inner_star(&self) -> bool {
        let text = self.argument.as_ref().map(|pattern| pattern.pattern.trim_end_matches('*'));
        text.is_some_and(|text| text.contains('*'))
    }

    /// A path is looked at as it was written and as it is opened: of a rule that denies or asks, one of them must match, of one
    /// that allows, both.
    fn matches(&self, request: &Request<'_>, caution: Caution) -> bool {
        let Some(pattern) = &self.argument else { return self.names(request.tool) };
        if !self.names(request.tool) {
            return false;
        }
        let plain = plain_path(request);
        let mut forms = [Some(request.args), plain.as_ref()].into_iter().flatten();
        match caution {
            Caution::Any => forms.any(|args| pattern.matches(args, caution)),
            Caution::All => forms.all(|args| pattern.matches(args, caution)),
        }
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

/// Native tools that take the path of a file in the argument `path`.
const PATH_TOOLS: [&str; 3] = ["edit", "read", "write"];

/// The arguments with their path as it is opened: without `.` and empty parts. None where nothing changes.
fn plain_path(request: &Request<'_>) -> Option<Value> {
    if request.tool.alias().is_some() || !PATH_TOOLS.contains(&request.tool.to_string().as_str()) {
        return None;
    }
    let path = request.args.get("path")?.as_str()?;
    let (root, rest) = path.strip_prefix("out:").map_or(("", path), |rest| ("out:", rest));
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let plain = format!("{root}{}", parts.join("/"));
    if plain == path {
        return None;
    }
    let mut args = request.args.clone();
    *args.get_mut("path")? = Value::String(plain);
    Some(args)
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
    /// Before these calls a person is asked each time, also where the document makes them.
    pub ask: Vec<Rule>,
    /// What is done with calls of models that no rule is about.
    pub stance: Stance,
}

impl Rules {
    /// Whether the tool `exec` is there at all: somebody must have named it, or everything.
    #[must_use]
    pub fn run_commands(&self) -> bool {
        let is_exec = |rule: &Rule| pattern_matches(&rule.tool, "exec");
        let named = self.allow.iter().chain(&self.ask).any(is_exec);
        !self.stance.is_sandbox() && (named || self.stance == Stance::Yolo)
    }
}

/// What is done with calls of models that no rule is about, and that do not only read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stance {
    /// A person is asked; where nobody is there, they are denied.
    #[default]
    Ask,
    /// They are denied, also where somebody could be asked.
    Strict,
    /// Native tools that stay within the directories of their step run; about the rest a person is asked.
    Sandbox,
    /// The same, and the rest is denied.
    StrictSandbox,
    /// They run.
    Yolo,
}

impl Stance {
    /// Whether what stays within the directories of its step runs.
    #[must_use]
    pub fn is_sandbox(self) -> bool {
        matches!(self, Self::Sandbox | Self::StrictSandbox)
    }

    /// The same, asking nobody.
    #[must_use]
    pub fn strict(self) -> Self {
        match self {
            Self::Ask | Self::Strict => Self::Strict,
            Self::Sandbox | Self::StrictSandbox => Self::StrictSandbox,
            Self::Yolo => Self::Yolo,
        }
    }

    fn is_strict(self) -> bool {
        matches!(self, Self::Strict | Self::StrictSandbox)
    }
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
    /// Whether somebody gave that rule for this, or that everything runs; else it follows from what the call is.
    pub by_rule: bool,
}

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It runs.
    Allow,
    /// It does not.
    Deny,
    /// No rule decides: an earlier answer does, or a person, or, where nobody is there, it does not run.
    Undecided,
    /// A person is asked, whatever was allowed before.
    Ask,
}

/// Decides: deny rules, then yolo, allow rules, ask rules, the document, what only reads or changes only the run, the
/// sandbox, strictness.
#[must_use]
pub fn decide(request: &Request<'_>, rules: &Rules) -> Decided {
    let given = |outcome, rule: String| Decided { outcome, rule, by_rule: true };
    let by = |outcome, rule: String| Decided { outcome, rule, by_rule: false };
    if let Some(rule) = rules.deny.iter().find(|rule| rule.matches(request, Caution::Any)) {
        return given(Outcome::Deny, format!("deny {rule}"));
    }
    if rules.stance == Stance::Yolo {
        return given(Outcome::Allow, "yolo".to_owned());
    }
    if let Some(rule) = rules.allow.iter().find(|rule| rule.matches(request, Caution::All)) {
        return given(Outcome::Allow, format!("allow {rule}"));
    }
    if let Some(rule) = rules.ask.iter().find(|rule| rule.matches(request, Caution::Any)) {
        return match rules.stance.is_strict() {
            true => given(Outcome::Deny, format!("strict, and ask {rule}")),
            false => given(Outcome::Ask, format!("ask {rule}")),
        };
    }
    if request.origin == Origin::Document {
        return by(Outcome::Allow, "written in the document".to_owned());
    }
    if request.effects.read_only {
        return by(Outcome::Allow, "only reads".to_owned());
    }
    if request.effects.within_run {
        return by(Outcome::Allow, "changes only the run".to_owned());
    }
    if rules.stance.is_sandbox() && request.tool.alias().is_none() && request.effects.stays_within {
        return by(Outcome::Allow, "sandbox: stays within the step's directories".to_owned());
    }
    if rules.stance.is_strict() {
        return by(Outcome::Deny, "strict, and no rule".to_owned());
    }
    by(Outcome::Undecided, "no rule".to_owned())
}

/// What is decided of a model's calls of a tool before their arguments are known, and the rules that then may decide
/// otherwise.
#[must_use]
pub fn outlook(tool: &ToolName, effects: Effects, rules: &Rules) -> (Decided, Vec<String>) {
    let whole = |rules: &[Rule]| rules.iter().filter(|rule| rule.argument.is_none()).cloned().collect();
    let plain =
        Rules { deny: whole(&rules.deny), allow: whole(&rules.allow), ask: whole(&rules.ask), stance: rules.stance };
    let request = Request { tool, args: &Value::Null, effects, origin: Origin::Model };
    let kinds = [("deny", &rules.deny), ("allow", &rules.allow), ("ask", &rules.ask)];
    let looking = |rule: &&Rule| rule.argument.is_some() && rule.names(tool);
    let perhaps = kinds
        .into_iter()
        .flat_map(|(kind, rules)| rules.iter().filter(looking).map(move |rule| format!("{kind} {rule}")));
    (decide(&request, &plain), perhaps.collect())
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
        Rules { deny: parse(deny), allow: parse(allow), ..Rules::default() }
    }

    #[test]
    fn a_denial_wins_over_everything() {
        let rules = rules(&["files.*"], &["files.write"]);
        assert_eq!(outcome(Origin::Document, true, &rules), Outcome::Deny);
    }

    #[test]
    fn a_model_may_only_read_until_somebody_decides() {
        let none = Rules::default();
        assert_eq!(outcome(Origin::Model, true, &none), Outcome::Allow);
        assert_eq!(outcome(Origin::Document, false, &none), Outcome::Allow);
        assert_eq!(outcome(Origin::Model, false, &none), Outcome::Undecided);
        assert_eq!(outcome(Origin::Plugin, false, &none), Outcome::Undecided);
    }

    #[test]
    fn strict_asks_nobody() {
        let strict = Rules { stance: Stance::Strict, ..Rules::default() };
        assert_eq!(outcome(Origin::Model, false, &strict), Outcome::Deny);
        assert_eq!(outcome(Origin::Plugin, false, &strict), Outcome::Deny);
        assert_eq!(outcome(Origin::Model, true, &strict), Outcome::Allow);
        assert_eq!(outcome(Origin::Document, false, &strict), Outcome::Allow);
    }

    /// What is decided of a call that writes; the letters d, a and k are rules that deny, allow and ask.
    fn table(stance: Stance, letters: &str, origin: Origin, stays_within: bool) -> Outcome {
        let having = |letter: char| match letters.contains(letter) {
            true => vec![Rule::parse("exec").unwrap()],
            false => Vec::new(),
        };
        let rules = Rules { deny: having('d'), allow: having('a'), ask: having('k'), stance };
        let tool = ToolName::parse("exec").unwrap();
        let effects = Effects { stays_within, ..Effects::default() };
        decide(&Request { tool: &tool, args: &json!({ "command": "ls" }), effects, origin }, &rules).outcome
    }

    #[test]
    fn rules_decide_in_their_order() {
        use Outcome::{Allow, Ask, Deny, Undecided};
        let stances = [Stance::Yolo, Stance::Ask, Stance::Sandbox, Stance::Strict, Stance::StrictSandbox];
        // For each stance: a call of a model, the same of a tool that may reach outside, a call of the document.
        let rows: [(&str, [[Outcome; 3]; 5]); 5] = [
            ("dak", [[Deny; 3]; 5]),
            ("ak", [[Allow; 3]; 5]),
            ("a", [[Allow; 3]; 5]),
            ("k", [[Allow; 3], [Ask; 3], [Ask; 3], [Deny; 3], [Deny; 3]]),
            (
                "",
                [
                    [Allow; 3],
                    [Undecided, Undecided, Allow],
                    [Allow, Undecided, Allow],
                    [Deny, Deny, Allow],
                    [Allow, Deny, Allow],
                ],
            ),
        ];
        for (letters, by_stance) in rows {
            for (stance, expected) in stances.into_iter().zip(by_stance) {
                let calls = [(Origin::Model, true), (Origin::Model, false), (Origin::Document, false)];
                let found = calls.map(|(origin, stays_within)| table(stance, letters, origin, stays_within));
                assert_eq!(found, expected, "{stance:?} `{letters}`");
            }
        }
    }

    #[test]
    fn rules_that_look_at_arguments_are_named_before_there_are_any() {
        let tool = ToolName::parse("write").unwrap();
        let rules = rules(&["write(secrets/*)"], &["write(path=out:*)", "read"]);
        let (decided, perhaps) = outlook(&tool, Effects::default(), &rules);
        assert_eq!(decided.outcome, Outcome::Undecided);
        assert_eq!(perhaps, ["deny write(secrets/*)", "allow write(path=out:*)"]);
        let yolo = Rules { stance: Stance::Yolo, ..rules };
        assert_eq!(outlook(&tool, Effects::default(), &yolo).0.outcome, Outcome::Allow);
    }

    #[test]
    fn the_sandbox_believes_no_plugin() {
        let sandbox = Rules { stance: Stance::Sandbox, ..Rules::default() };
        let tool = ToolName::parse("files.write").unwrap();
        let effects = Effects { stays_within: true, ..Effects::default() };
        let request = Request { tool: &tool, args: &json!({}), effects, origin: Origin::Model };
        assert_eq!(decide(&request, &sandbox).outcome, Outcome::Undecided);
    }

    #[test]
    fn a_rule_may_look_at_the_arguments() {
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(path=out:*)"])), Outcome::Allow);
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(path=/etc/*)"])), Outcome::Undecided);
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(mode=out:*)"])), Outcome::Undecided);
        assert_eq!(outcome(Origin::Document, false, &rules(&["files.write(/etc/*)"], &[])), Outcome::Deny);
    }

    #[test]
    fn a_path_matches_however_it_is_written() {
        let decided = |path: &str, rules: &Rules| {
            let tool = ToolName::parse("read").unwrap();
            let effects = Effects { read_only: false, ..Effects::default() };
            decide(&Request { tool: &tool, args: &json!({ "path": path }), effects, origin: Origin::Model }, rules)
                .outcome
        };
        let (deny, allow) = (rules(&["read(secrets/*)"], &[]), rules(&[], &["read(path=docs/*)"]));
        for path in ["secrets/k", "./secrets/k", "secrets//k", ".//./secrets/./k"] {
            assert_eq!(decided(path, &deny), Outcome::Deny, "{path}");
        }
        for path in ["docs/a", "docs//a", "docs/./a"] {
            assert_eq!(decided(path, &allow), Outcome::Allow, "{path}");
        }
        assert_eq!(decided("out:secrets/k", &deny), Outcome::Undecided);
        assert_eq!(decided("out:./a", &rules(&["read(out:a)"], &[])), Outcome::Deny);
    }

    #[test]
    fn content_that_looks_like_a_path_allows_nothing() {
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(/etc/*)"])), Outcome::Undecided);
        assert_eq!(outcome(Origin::Model, false, &rules(&[], &["files.write(out:*)"])), Outcome::Undecided);
        for bad in ["", "a b", "write(", "(x)"] {
            assert!(Rule::parse(bad).is_err(), "{bad}");
        }
    }
}
