//! Hidden filters behind the operands of operators that build: `a ~ b` becomes `a|__text ~ b|__text`.
//!
//! The library evaluates operators without a hook, so the price of what they build is asked of their operands.
//! Precedence needs no care: a filter binds tighter than any operator, and every operand that is itself built by
//! an operator has paid already.

use super::cost;
use crate::expr::scan::{Dialect, Kind, Scan, Token, tokenize};
use crate::expr::{ExprError, Fault};
use std::collections::{BTreeMap, BTreeSet};

/// Puts the filters into the rewritten text of a scan.
///
/// # Errors
/// When an operator that builds has something else beside it than an operand.
pub(super) fn guard(scan: &mut Scan) -> Result<(), ExprError> {
    let tokens = tokenize(&scan.text, Dialect::Template);
    let text = std::mem::take(&mut scan.text);
    let walk = Walk { text: &text, tokens: &tokens };
    let mut marks: BTreeMap<usize, BTreeSet<&'static str>> = BTreeMap::new();
    let found = walk.marks(&mut marks);
    scan.text = text;
    found.map_err(|at| {
        let message = "an operator or `*` stands where a value is expected";
        ExprError::new(Fault::Syntax, scan.source_offset(at), message)
    })?;
    insert(scan, &marks);
    Ok(())
}

fn insert(scan: &mut Scan, marks: &BTreeMap<usize, BTreeSet<&'static str>>) {
    if marks.is_empty() {
        return;
    }
    let (mut text, mut shifts, mut copied) = (String::with_capacity(scan.text.len() * 2), Vec::new(), 0);
    let mut old = scan.shifts.iter().copied().peekable();
    for (at, names) in marks {
        let source = scan.source_offset(*at);
        while let Some((rewritten, source)) = old.next_if(|(rewritten, _)| rewritten <= at) {
            shifts.push((rewritten + (text.len() - copied), source));
        }
        text.push_str(scan.text.get(copied..*at).unwrap_or_default());
        copied = *at;
        for name in names {
            text.push('|');
            text.push_str(name);
        }
        shifts.push((text.len(), source));
    }
    shifts.extend(old.map(|(rewritten, source)| (rewritten + (text.len() - copied), source)));
    text.push_str(scan.text.get(copied..).unwrap_or_default());
    scan.text = text;
    scan.shifts = shifts;
}

struct Walk<'s> {
    text: &'s str,
    tokens: &'s [Token],
}

impl Walk<'_> {
    /// All places that need a filter; fails with the place of an operator without operands.
    fn marks(&self, marks: &mut BTreeMap<usize, BTreeSet<&'static str>>) -> Result<(), usize> {
        let mut index = 0;
        while let Some(token) = self.tokens.get(index) {
            let twice =
                self.tokens.get(index + 1).is_some_and(|next| next.kind == token.kind && next.start == token.end);
            let step = if twice && matches!(token.kind, Kind::Symbol(b'*' | b'=')) { 2 } else { 1 };
            match token.kind {
                // `{{+` and `+}}` are marks of the tag.
                Kind::Symbol(b'+') if index == 0 || index + 1 == self.tokens.len() => {}
                Kind::Symbol(b'*') if step == 2 && self.is_unpacking(index) => return Err(token.start),
                // Powers are of numbers only.
                Kind::Symbol(b'*') if step == 2 => {}
                Kind::Symbol(b'*') => self.both(index, cost::NUMBER, marks)?,
                Kind::Symbol(b'~') => self.both(index, cost::TEXT, marks)?,
                Kind::Symbol(b'+') => self.both(index, cost::PART, marks)?,
                Kind::Symbol(b'[') if self.is_slice(index) => {
                    let end = self.postfix_end(index);
                    self.mark(end, cost::PART, marks);
                }
                _ => {}
            }
            index += step;
        }
        Ok(())
    }

    fn both(
        &self,
        operator: usize,
        name: &'static str,
        marks: &mut BTreeMap<usize, BTreeSet<&'static str>>,
    ) -> Result<(), usize> {
        let place = self.tokens.get(operator).map_or(0, |token| token.start);
        if operator == 0 || !self.ends_operand(operator - 1) {
            return Err(place);
        }
        let mut start = operator + 1;
        while self.symbol(start, b'-') {
            start += 1;
        }
        let end = self.operand_end(start).ok_or(place)?;
        self.mark(operator, name, marks);
        self.mark(end, name, marks);
        Ok(())
    }

    /// The filter goes right behind the token before `end`.
    fn mark(&self, end: usize, name: &'static str, marks: &mut BTreeMap<usize, BTreeSet<&'static str>>) {
        if let Some(last) = end.checked_sub(1).and_then(|last| self.tokens.get(last)) {
            marks.entry(last.end).or_default().insert(name);
        }
    }

    fn ends_operand(&self, index: usize) -> bool {
        self.tokens.get(index).is_some_and(|token| match token.kind {
            Kind::Name | Kind::Number | Kind::Text => true,
            Kind::Symbol(byte) => matches!(byte, b')' | b']' | b'}'),
        })
    }

    fn is_unpacking(&self, index: usize) -> bool {
        index == 0 || !self.ends_operand(index - 1)
    }

    /// The token after an operand with its members, calls and filters.
    fn operand_end(&self, start: usize) -> Option<usize> {
        let mut index = match self.tokens.get(start)?.kind {
            Kind::Symbol(b'(' | b'[' | b'{') => self.closed(start),
            Kind::Text => {
                let more = self.tokens.iter().skip(start).take_while(|token| token.kind == Kind::Text).count();
                start + more
            }
            Kind::Name | Kind::Number => start + 1,
            Kind::Symbol(_) => return None,
        };
        index = self.postfix_end(index);
        while self.symbol(index, b'|') {
            index += 2;
            while self.symbol(index, b'.') {
                index += 2;
            }
            if self.symbol(index, b'(') {
                index = self.closed(index);
            }
        }
        Some(index.min(self.tokens.len()))
    }

    /// The token after members, items and calls.
    fn postfix_end(&self, mut index: usize) -> usize {
        loop {
            index = if self.symbol(index, b'.') {
                index + 2
            } else if self.symbol(index, b'[') || self.symbol(index, b'(') {
                self.closed(index)
            } else {
                return index.min(self.tokens.len());
            };
        }
    }

    /// The token after the bracket that closes the one at `index`.
    fn closed(&self, index: usize) -> usize {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(index) {
            match token.kind {
                Kind::Symbol(b'(' | b'[' | b'{') => depth += 1,
                Kind::Symbol(b')' | b']' | b'}') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        self.tokens.len()
    }

    /// Whether the bracket at `index` follows an operand and holds a `:` of its own.
    fn is_slice(&self, index: usize) -> bool {
        if index == 0 || !self.ends_operand(index - 1) {
            return false;
        }
        let mut depth = 0_usize;
        for token in self.tokens.iter().skip(index).take(self.closed(index) - index) {
            match token.kind {
                Kind::Symbol(b'(' | b'[' | b'{') => depth += 1,
                Kind::Symbol(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
                Kind::Symbol(b':') if depth == 1 => return true,
                _ => {}
            }
        }
        false
    }

    fn symbol(&self, index: usize, byte: u8) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind == Kind::Symbol(byte))
    }

    /// Refuses tags that catch text in a variable: what they catch is not bounded.
    fn catches(&self) -> Option<usize> {
        let word = |index: usize| {
            self.tokens
                .get(index)
                .filter(|token| token.kind == Kind::Name)
                .and_then(|token| self.text.get(token.start..token.end))
        };
        let first = self.tokens.iter().position(|token| token.kind == Kind::Name)?;
        let place = self.tokens.get(first).map(|token| token.start);
        match word(first)? {
            "filter" => place,
            "set" if !self.has_equals() => place,
            "for" => (first..self.tokens.len()).find(|index| word(*index) == Some("recursive")).and(place),
            _ => None,
        }
    }

    fn has_equals(&self) -> bool {
        let mut depth = 0_usize;
        self.tokens.iter().any(|token| {
            match token.kind {
                Kind::Symbol(b'(' | b'[' | b'{') => depth += 1,
                Kind::Symbol(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.kind == Kind::Symbol(b'=')
        })
    }
}

/// Refuses a `{% ... %}` that catches text in a variable: nothing bounds what it catches.
///
/// # Errors
/// With the place in the inside of the tag.
pub(super) fn check_tag(inside: &str) -> Result<(), ExprError> {
    let tokens = tokenize(inside, Dialect::Template);
    match (Walk { text: inside, tokens: &tokens }).catches() {
        None => Ok(()),
        Some(at) => {
            let message =
                "blocks that catch text (`{% set x %}`, `{% filter %}`, `recursive`) are not part of templates";
            Err(ExprError::new(Fault::Syntax, at, message)
                .with_hint("write `{% set x = ... %}`, or use a filter: `{{ x | upper }}`"))
        }
    }
}
