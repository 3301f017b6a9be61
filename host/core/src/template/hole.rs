//! One templated string: literal text and holes, or, when it has blocks, a whole template.

use super::{Room, cost, guard, jinja};
use crate::expr::scan::{self, Dialect, Path, Scan};
use crate::expr::{EvalError, ExprError, Fault, Names, check_root, path};
use crate::limits;
use crate::value::{self, Map};
use serde_json::Value;

/// A compiled string.
pub(super) enum Text {
    /// Exactly one expression: its value is the result.
    Lone(Hole),
    /// Text with expressions in it.
    Mixed(Vec<Piece>),
    /// Text with blocks, remarks or trimmed white space.
    Whole(jinja::Whole, Vec<Path>),
}

pub(super) enum Piece {
    Literal(String),
    Hole(Hole),
}

/// What stands between `{{` and `}}`.
pub(super) enum Hole {
    /// One path: read straight from the data.
    Path(Path),
    /// Anything else.
    Expression(jinja::Expression, Vec<Path>),
}

/// Whether the text has anything to render.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

impl Text {
    /// Compiles a string, and says what it reads (offsets count from its start).
    pub(super) fn parse(text: &str, names: &Names<'_>) -> Result<(Self, Vec<Path>), ExprError> {
        let trims = ["{%", "{#", "{{-", "-}}", "{{+", "+}}"].iter().any(|mark| text.contains(mark));
        if trims {
            return whole(text, names);
        }
        let mut pieces = Vec::new();
        let mut paths = Vec::new();
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| rest.find("{{")) {
            let start = at + found;
            if start > at {
                pieces.push(Piece::Literal(slice(text, at, start).to_owned()));
            }
            let end = hole_end(text, start + 2).ok_or_else(|| not_closed(start, "{{", "}}"))?;
            let (hole, read) =
                Hole::parse(slice(text, start + 2, end), names).map_err(|error| shift(error, start + 2))?;
            paths.extend(read.into_iter().map(|path| shift_path(path, start + 2)));
            pieces.push(Piece::Hole(hole));
            if pieces.len() > limits::TEMPLATE_PIECES {
                let message = format!("the text has more than {} expressions", limits::TEMPLATE_PIECES / 2);
                return Err(ExprError::new(Fault::Limit, start, message));
            }
            at = end + 2;
        }
        if at < text.len() {
            pieces.push(Piece::Literal(slice(text, at, text.len()).to_owned()));
        }
        Ok((Self::of(pieces), paths))
    }

    fn of(mut pieces: Vec<Piece>) -> Self {
        match pieces.pop() {
            Some(Piece::Hole(hole)) if pieces.is_empty() => Self::Lone(hole),
            last => {
                pieces.extend(last);
                Self::Mixed(pieces)
            }
        }
    }

    pub(super) fn render(&self, variables: &Map, room: &mut Room) -> Result<Value, EvalError> {
        match self {
            Self::Lone(hole) => hole.value(variables, room),
            Self::Mixed(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => {
                            room.take(literal.len())?;
                            text.push_str(literal);
                        }
                        Piece::Hole(hole) => text.push_str(&value::to_text(&hole.value(variables, room)?)),
                    }
                }
                Ok(Value::String(text))
            }
            Self::Whole(whole, paths) => {
                let text = whole.render(paths, variables)?;
                room.take(text.len())?;
                Ok(Value::String(text))
            }
        }
    }
}

impl Hole {
    fn parse(text: &str, names: &Names<'_>) -> Result<(Self, Vec<Path>), ExprError> {
        let mut scan = scan::scan(text, Dialect::Template, names)?;
        check_filters(&scan, names)?;
        guard::guard(&mut scan)?;
        let hole = match scan.paths.first() {
            Some(path) if scan.is_path => {
                check_root(&path.root, path.offset, names)?;
                Self::Path(path.clone())
            }
            _ => Self::Expression(jinja::Expression::compile(&scan, names)?, scan.paths.clone()),
        };
        Ok((hole, scan.paths))
    }

    fn value(&self, variables: &Map, room: &mut Room) -> Result<Value, EvalError> {
        match self {
            Self::Path(path) => room.copy(path::read(path, variables)?),
            Self::Expression(expression, paths) => {
                let value = expression.evaluate(paths, variables)?;
                room.take(value::size(&value).saturating_sub(2))?;
                Ok(value)
            }
        }
    }
}

fn check_filters(scan: &Scan, _names: &Names<'_>) -> Result<(), ExprError> {
    for (name, offset) in &scan.filters {
        if !cost::has_filter(name) {
            let hint = "the filters are those of Jinja: `length`, `join(', ')`, `default('x')`, `tojson`, `upper`, ...";
            return Err(ExprError::new(Fault::UnknownName, *offset, format!("unknown filter `{name}`")).with_hint(hint));
        }
    }
    Ok(())
}

/// Compiles a text with blocks: each tag goes through the token pass, the rest is left as it is.
fn whole(text: &str, names: &Names<'_>) -> Result<(Text, Vec<Path>), ExprError> {
    let mut rewritten = String::with_capacity(text.len());
    let mut shifts = Vec::new();
    let mut paths: Vec<Path> = Vec::new();
    let mut at = 0;
    let mut tags = 0;
    while let Some(start) = next_tag(text, at) {
        rewritten.push_str(slice(text, at, start));
        shifts.push((rewritten.len(), start));
        let opening = slice(text, start, start + 2);
        let (end, closing) = match opening {
            "{#" => (text.get(start..).and_then(|rest| rest.find("#}")).map(|found| start + found), "#}"),
            "{%" => (hole_end(text, start + 2), "%}"),
            _ => (hole_end(text, start + 2), "}}"),
        };
        let end = end.ok_or_else(|| not_closed(start, opening, closing))?;
        tags += 1;
        if tags > limits::TEMPLATE_BLOCKS {
            let message = format!("the text has more than {} tags", limits::TEMPLATE_BLOCKS);
            return Err(ExprError::new(Fault::Limit, start, message).with_hint("let a tool step build this text"));
        }
        if opening == "{#" {
            at = end + 2;
            continue;
        }
        let inside = slice(text, start + 2, end);
        let scan = tag(inside, opening, names).map_err(|error| shift(error, start + 2))?;
        rewritten.push_str(opening);
        rewritten.push_str(&scan.text);
        rewritten.push_str(closing);
        paths.extend(scan.paths.into_iter().map(|path| shift_path(path, start + 2)));
        at = end + 2;
        if opening == "{%" && inside.trim_matches(['-', '+', ' ']) == "raw" {
            let close = text.get(at..).and_then(raw_end).map_or(text.len(), |found| at + found);
            rewritten.push_str(slice(text, at, close));
            at = close;
        }
    }
    rewritten.push_str(slice(text, at, text.len()));
    shifts.push((rewritten.len(), text.len()));
    let whole = jinja::Whole::compile(rewritten, &shifts, &paths, names)?;
    Ok((Text::Whole(whole, paths.clone()), paths))
}

/// The token pass over the inside of a tag.
fn tag(inside: &str, opening: &str, names: &Names<'_>) -> Result<Scan, ExprError> {
    let mut scan = scan::scan(inside, Dialect::Template, names)?;
    check_filters(&scan, names)?;
    if opening == "{%" {
        guard::check_tag(inside)?;
    }
    guard::guard(&mut scan)?;
    Ok(scan)
}

fn next_tag(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    ["{{", "{%", "{#"].iter().filter_map(|mark| rest.find(mark)).min().map(|found| at + found)
}

/// Where `{% endraw %}` begins.
fn raw_end(rest: &str) -> Option<usize> {
    rest.match_indices("{%").map(|(at, _)| at).find(|at| {
        let tag = rest.get(at + 2..).unwrap_or_default();
        tag.trim_start_matches(['-', '+', ' ']).starts_with("endraw")
    })
}

/// Where the `}}` or `%}` begins that closes the tag whose inside starts at `at`.
fn hole_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let block = at >= 2 && bytes.get(at - 1) == Some(&b'%');
    let mut depth = 0_usize;
    let mut quote = None;
    let mut index = at;
    while let Some(&byte) = bytes.get(index) {
        match quote {
            Some(_) if byte == b'\\' => index += 1,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None => match byte {
                b'"' | b'\'' => quote = Some(byte),
                b'%' if block && depth == 0 && bytes.get(index + 1) == Some(&b'}') => return Some(index),
                b'}' if !block && depth == 0 && bytes.get(index + 1) == Some(&b'}') => return Some(index),
                b'{' | b'[' | b'(' => depth += 1,
                b'}' | b']' | b')' => depth = depth.saturating_sub(1),
                _ => {}
            },
        }
        index += 1;
        // The token pass refuses longer tags; looking further would make many open tags slow.
        if index - at > limits::EXPRESSION_CHARS * 4 {
            return None;
        }
    }
    None
}

fn not_closed(start: usize, opening: &str, closing: &str) -> ExprError {
    ExprError::new(Fault::Syntax, start, format!("`{opening}` is not closed"))
        .with_hint(format!("close it with `{closing}`, or write `{{{{ '{opening}' }}}}` for the text itself"))
}

fn shift(mut error: ExprError, by: usize) -> ExprError {
    error.offset += by;
    error
}

fn shift_path(mut path: Path, by: usize) -> Path {
    path.offset += by;
    path.segments.iter_mut().for_each(|segment| segment.offset += by);
    path
}

fn slice(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).unwrap_or_default()
}
