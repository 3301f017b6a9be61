//! The token pass that expressions and templates share: step ids with hyphens, paths, positions, bounds.
//!
//! It reads just enough of CEL and of the template language to find names, strings and brackets; whether the text
//! is well formed is for their parsers to say.

use crate::expr::{ExprError, Fault, Names};
use crate::limits;
use crate::spec::suggest;
use std::sync::Arc;

/// Which language is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Conditions, `forEach`, `output`.
    Cel,
    /// What stands between `{{` and `}}`, `{%` and `%}`.
    Template,
}

/// What the pass found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The text with `steps.<id>` written as `steps["<id>"]`.
    pub(crate) text: String,
    /// Where the rewritten text and the source drift apart: both offsets at the end of each change.
    pub(crate) shifts: Vec<(usize, usize)>,
    /// Every variable with what is read of it, in the order written.
    pub(crate) paths: Vec<Path>,
    /// Names after `|`: filters of templates.
    pub(crate) filters: Vec<(String, usize)>,
    /// Whether the text is one path and nothing else.
    pub(crate) is_path: bool,
}

/// A variable and the fixed part of what is read of it: `steps.build.result.files[0]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The variable.
    pub root: Arc<str>,
    /// Where it stands in the source, in bytes.
    pub offset: usize,
    /// Keys and indices after it.
    pub segments: Vec<Segment>,
}

/// One key or index of a path, with its place in the source in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What is read.
    pub key: Key,
    /// Where it stands.
    pub offset: usize,
}

/// What a segment reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A member of an object.
    Name(Arc<str>),
    /// An item of a list.
    Index(usize),
}

impl Path {
    /// The name of the segment at `index`, when it is a name.
    #[must_use]
    pub fn name(&self, index: usize) -> Option<&Arc<str>> {
        match &self.segments.get(index)?.key {
            Key::Name(name) => Some(name),
            Key::Index(_) => None,
        }
    }
}

impl Scan {
    /// The place in the source of an offset in the rewritten text.
    pub(crate) fn source_offset(&self, offset: usize) -> usize {
        match self.shifts.iter().rev().find(|(rewritten, _)| *rewritten <= offset) {
            Some((rewritten, source)) => source + (offset - rewritten),
            None => offset,
        }
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Number,
    Text,
    Symbol(u8),
}

/// A token with its place in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Words that look like variables and are not.
const CEL_WORDS: &[&str] = &["true", "false", "null", "in"];
const TEMPLATE_WORDS: &[&str] = &[
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "in",
    "is",
    "not",
    "and",
    "or",
    "if",
    "else",
    "elif",
    "endif",
    "for",
    "endfor",
    "set",
    "endset",
    "with",
    "endwith",
    "filter",
    "endfilter",
    "do",
    "recursive",
];

/// Reads the text.
///
/// # Errors
/// When it is too long, or `steps` is not followed by the id of a known step.
pub(crate) fn scan(source: &str, dialect: Dialect, names: &Names<'_>) -> Result<Scan, ExprError> {
    let chars = source.chars().count();
    if chars > limits::EXPRESSION_CHARS {
        let message =
            format!("the expression has {chars} characters, more than the limit of {}", limits::EXPRESSION_CHARS);
        return Err(ExprError::new(Fault::Limit, 0, message));
    }
    let tokens = tokenize(source, dialect);
    if let Some(token) = tokens.get(limits::EXPRESSION_TOKENS) {
        let message = format!("the expression has more than {} names, numbers and signs", limits::EXPRESSION_TOKENS);
        return Err(ExprError::new(Fault::Limit, token.start, message));
    }
    let mut pass = Pass { source, dialect, names, tokens: &tokens, scan: Scan::empty(source.len()), copied: 0 };
    pass.run()?;
    Ok(pass.scan)
}

impl Scan {
    fn empty(capacity: usize) -> Self {
        Self {
            text: String::with_capacity(capacity),
            shifts: Vec::new(),
            paths: Vec::new(),
            filters: Vec::new(),
            is_path: false,
        }
    }
}

struct Pass<'s> {
    source: &'s str,
    dialect: Dialect,
    names: &'s Names<'s>,
    tokens: &'s [Token],
    scan: Scan,
    /// How much of the source is in the rewritten text.
    copied: usize,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<(), ExprError> {
        let mut index = 0;
        while let Some(token) = self.tokens.get(index) {
            index = if token.kind == Kind::Name { self.name(index)? } else { index + 1 };
        }
        let rest = self.slice(self.copied, self.source.len()).to_owned();
        self.scan.text.push_str(&rest);
        Ok(())
    }

    /// Handles a name; gives the index of the token to go on with.
    fn name(&mut self, index: usize) -> Result<usize, ExprError> {
        let Some(token) = self.tokens.get(index).copied() else { return Ok(index + 1) };
        let name = self.slice(token.start, token.end).to_owned();
        if self.dialect == Dialect::Template && self.before(index) == Some(Kind::Symbol(b'|')) {
            self.scan.filters.push((name, token.start));
            return Ok(index + 1);
        }
        if !self.is_variable(index, &name) {
            return Ok(index + 1);
        }
        let mut path = Path { root: name.as_str().into(), offset: token.start, segments: Vec::new() };
        let mut next = index + 1;
        if name == "steps" {
            next = self.step(next, &mut path)?;
        }
        next = self.segments(next, &mut path);
        self.scan.is_path = index == 0 && next == self.tokens.len();
        self.scan.paths.push(path);
        Ok(next)
    }

    fn is_variable(&self, index: usize, name: &str) -> bool {
        let words = if self.dialect == Dialect::Cel { CEL_WORDS } else { TEMPLATE_WORDS };
        if words.contains(&name) || self.symbol(index + 1, b'(') {
            return false;
        }
        match self.dialect {
            Dialect::Cel => !self.is_member(index),
            // `name=value` is an argument by name; `is name` is a test.
            Dialect::Template => {
                let argument = self.symbol(index + 1, b'=') && !self.symbol(index + 2, b'=');
                let test = self.word(index, 1) == Some("is")
                    || (self.word(index, 1) == Some("not") && self.word(index, 2) == Some("is"));
                !self.is_member(index) && !argument && !test
            }
        }
    }

    /// Whether the token is what follows the dot in `x.y`.
    fn is_member(&self, index: usize) -> bool {
        let dot = self.before(index) == Some(Kind::Symbol(b'.'));
        let operand = index.checked_sub(2).and_then(|before| self.tokens.get(before)).map(|token| token.kind);
        dot && matches!(operand, Some(Kind::Name | Kind::Text | Kind::Number | Kind::Symbol(b')' | b']' | b'}')))
    }

    /// `.id` or `["id"]` after `steps`.
    fn step(&mut self, index: usize, path: &mut Path) -> Result<usize, ExprError> {
        let known = |id: &str| self.names.step(id);
        if let Some((key, offset)) = self.bracket(index) {
            let Key::Name(name) = key else { return Err(self.no_step(offset)) };
            let id = known(&name).ok_or_else(|| self.unknown_step(&name, offset))?;
            path.segments.push(Segment { key: Key::Name(id), offset });
            return Ok(index + 3);
        }
        let place = self.tokens.get(index).map_or(self.source.len(), |token| token.start);
        let start = match self.tokens.get(index + 1) {
            Some(token) if self.symbol(index, b'.') && token.kind == Kind::Name => token.start,
            _ => return Err(self.no_step(place)),
        };
        let rest = self.slice(start, self.source.len());
        let run_end = rest.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'));
        let run = rest.get(..run_end.unwrap_or(rest.len())).unwrap_or_default().trim_end_matches('-');
        let ends = std::iter::once(run.len()).chain(run.rmatch_indices('-').map(|(at, _)| at));
        let found = ends.filter_map(|end| run.get(..end)).find_map(known);
        let Some(id) = found else { return Err(self.unknown_step(run, start)) };
        let end = start + id.len();
        self.rewrite(place, end, &format!("[\"{id}\"]"));
        path.segments.push(Segment { key: Key::Name(id), offset: start });
        let next = self.tokens.iter().skip(index).position(|token| token.start >= end);
        Ok(next.map_or(self.tokens.len(), |skipped| index + skipped))
    }

    fn no_step(&self, offset: usize) -> ExprError {
        ExprError::new(Fault::UnknownStep, offset, "`steps` must be followed by the id of a step")
            .with_hint("write `steps.build.content` or `steps[\"build\"].content`")
    }

    fn unknown_step(&self, id: &str, offset: usize) -> ExprError {
        let error = ExprError::new(Fault::UnknownStep, offset, format!("unknown step `{id}`"));
        error.with_maybe(suggest::did_you_mean(
            id,
            self.names.steps.iter().flat_map(|scope| scope.iter()).map(AsRef::as_ref),
        ))
    }

    /// Members and indices for as long as they are fixed.
    fn segments(&self, mut index: usize, path: &mut Path) -> usize {
        loop {
            if let Some((key, offset)) = self.bracket(index) {
                path.segments.push(Segment { key, offset });
                index += 3;
                continue;
            }
            match self.tokens.get(index + 1) {
                Some(token)
                    if self.symbol(index, b'.') && token.kind == Kind::Name && !self.symbol(index + 2, b'(') =>
                {
                    let name = Key::Name(self.slice(token.start, token.end).into());
                    path.segments.push(Segment { key: name, offset: token.start });
                    index += 2;
                }
                _ => return index,
            }
        }
    }

    /// `["name"]` or `[0]`.
    fn bracket(&self, index: usize) -> Option<(Key, usize)> {
        let token = self.tokens.get(index + 1)?;
        if !self.symbol(index, b'[') || !self.symbol(index + 2, b']') {
            return None;
        }
        let text = self.slice(token.start, token.end);
        let key = match token.kind {
            Kind::Number => Key::Index(text.parse().ok()?),
            Kind::Text if !text.contains('\\') && text.len() >= 2 && text.starts_with(['"', '\'']) => {
                Key::Name(text.get(1..text.len() - 1)?.into())
            }
            _ => return None,
        };
        Some((key, token.start))
    }

    fn rewrite(&mut self, start: usize, end: usize, with: &str) {
        let kept = self.slice(self.copied, start).to_owned();
        self.scan.text.push_str(&kept);
        // Inside the replacement every offset means its start in the source.
        self.scan.shifts.push((self.scan.text.len(), start));
        self.scan.text.push_str(with);
        self.scan.shifts.push((self.scan.text.len(), end));
        self.copied = end;
    }

    fn slice(&self, start: usize, end: usize) -> &str {
        self.source.get(start..end).unwrap_or_default()
    }

    fn symbol(&self, index: usize, byte: u8) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind == Kind::Symbol(byte))
    }

    fn before(&self, index: usize) -> Option<Kind> {
        index.checked_sub(1).and_then(|before| self.tokens.get(before)).map(|token| token.kind)
    }

    fn word(&self, index: usize, back: usize) -> Option<&str> {
        let token = self.tokens.get(index.checked_sub(back)?)?;
        (token.kind == Kind::Name).then(|| self.slice(token.start, token.end))
    }
}

/// Splits a text into names, numbers, strings and signs; stops soon after the bound on tokens.
pub(crate) fn tokenize(source: &str, dialect: Dialect) -> Vec<Token> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let kind = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'/' if dialect == Dialect::Cel && bytes.get(at + 1) == Some(&b'/') => {
                at += bytes.iter().skip(at).position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' | b'\'' => {
                at = string_end(bytes, at, dialect, false);
                Kind::Text
            }
            b'0'..=b'9' => {
                at = number_end(bytes, at);
                Kind::Number
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                at += run(bytes, at, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let prefix = bytes.get(start..at).unwrap_or_default();
                let quoted = matches!(bytes.get(at), Some(b'"' | b'\'')) && dialect == Dialect::Cel;
                if quoted && prefix.len() <= 2 && prefix.iter().all(|byte| b"rRbB".contains(byte)) {
                    at = string_end(bytes, at, dialect, prefix.iter().any(|byte| b"rR".contains(byte)));
                    Kind::Text
                } else {
                    Kind::Name
                }
            }
            other => {
                // Never half a character: the rewriting of templates cuts the text between tokens.
                at = source.ceil_char_boundary(at + 1);
                Kind::Symbol(other)
            }
        };
        tokens.push(Token { kind, start, end: at });
        if tokens.len() > limits::EXPRESSION_TOKENS {
            break;
        }
    }
    tokens
}

fn run(bytes: &[u8], at: usize, wanted: impl Fn(u8) -> bool) -> usize {
    bytes.iter().skip(at).take_while(|byte| wanted(**byte)).count()
}

fn number_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + run(bytes, at, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end += 1;
        end += run(bytes, end, |byte| byte.is_ascii_alphanumeric());
    }
    end
}

/// The end of the string whose quote stands at `at`; the end of the text when it is not closed.
fn string_end(bytes: &[u8], at: usize, dialect: Dialect, raw: bool) -> usize {
    let quote = bytes.get(at).copied().unwrap_or_default();
    let triple = dialect == Dialect::Cel && bytes.get(at + 1) == Some(&quote) && bytes.get(at + 2) == Some(&quote);
    let width = if triple { 3 } else { 1 };
    let mut end = at + width;
    while let Some(&byte) = bytes.get(end) {
        if byte == b'\\' && !raw {
            end += 2;
        } else if bytes.iter().skip(end).take(width).filter(|byte| **byte == quote).count() == width {
            return end + width;
        } else {
            end += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn scan_with(text: &str, ids: &[&str], dialect: Dialect) -> Result<Scan, ExprError> {
        let steps: BTreeSet<Arc<str>> = ids.iter().map(|id| Arc::from(*id)).collect();
        scan(text, dialect, &Names { steps: &[&steps], roots: &["steps", "inputs", "item"] })
    }

    #[test]
    fn the_longest_known_id_is_taken() {
        let scan = scan_with("steps.a-b-c.result - steps.a-1 + steps.a", &["a", "a-b"], Dialect::Cel).unwrap();
        assert_eq!(scan.text, r#"steps["a-b"]-c.result - steps["a"]-1 + steps["a"]"#);
        let ids: Vec<_> = scan.paths.iter().map(|path| path.name(0).map(ToString::to_string)).collect();
        assert_eq!(ids, ["a-b", "result", "a", "a"].map(|id| Some(id.to_owned())));
    }

    #[test]
    fn an_offset_leads_back_to_the_source() {
        let source = "steps.a-b.result + x";
        let scan = scan_with(source, &["a-b"], Dialect::Cel).unwrap();
        assert_eq!(scan.text, r#"steps["a-b"].result + x"#);
        assert_eq!(scan.source_offset(scan.text.find('x').unwrap()), source.find('x').unwrap());
        assert_eq!(scan.source_offset(0), 0);
    }

    #[test]
    fn an_unknown_step_has_a_place_and_a_hint() {
        let error = scan_with("inputs.x && steps.buidl.content == ''", &["build"], Dialect::Cel).unwrap_err();
        assert_eq!(error.offset, 18);
        assert_eq!(error.message, "unknown step `buidl`");
        assert_eq!(error.hint.as_deref(), Some("did you mean `build`?"));
    }

    #[test]
    fn steps_alone_is_refused_and_text_is_not_read() {
        assert!(scan_with("size(steps)", &["a"], Dialect::Cel).is_err());
        assert!(scan_with("steps[item]", &["a"], Dialect::Cel).is_err());
        assert!(scan_with(r#"'steps.x' + "steps.y" + r'\' + '''steps''' // steps"#, &[], Dialect::Cel).is_ok());
        assert!(scan_with("item.steps.x", &[], Dialect::Cel).is_ok());
    }

    #[test]
    fn a_lone_path_is_recognised() {
        assert!(scan_with(" steps.a.result['x y'][0] ", &["a"], Dialect::Cel).unwrap().is_path);
        for text in ["steps.a + 1", "size(item)", "item.size()", "!item", "item[inputs.i]", "1", "true"] {
            assert!(!scan_with(text, &["a"], Dialect::Cel).unwrap().is_path, "{text}");
        }
    }

    #[test]
    fn filters_and_arguments_are_no_variables() {
        let scan = scan_with("item | join(sep=',') is defined", &[], Dialect::Template).unwrap();
        assert_eq!(scan.filters, [("join".to_owned(), 7)]);
        assert_eq!(scan.paths.len(), 1);
    }

    #[test]
    fn too_much_is_refused() {
        assert!(scan_with(&"x".repeat(1025), &[], Dialect::Cel).is_err());
        assert!(scan_with(&"-".repeat(1024), &[], Dialect::Cel).is_err());
    }
}
