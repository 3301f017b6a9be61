//! minijinja inside a fence: strict, with fuel, without loading anything, and with our own way of printing values.

use super::cost;
use crate::expr::scan::{Path, Scan};
use crate::expr::{EvalError, ExprError, Fault, Names, check_root};
use crate::limits;
use crate::value::{self, Map};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value as JinjaValue};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

static STANDARD: LazyLock<Environment<'static>> = LazyLock::new(environment);

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(false);
    environment.set_fuel(Some(limits::TEMPLATE_FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // The context holds data of the run, which an error message must not print.
    environment.remove_global("debug");
    // Variables that loops can change could grow from one turn to the next.
    environment.remove_global("namespace");
    cost::install(&mut environment);
    environment.set_formatter(|out, state, value| {
        if value.is_undefined() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        cost::charge(state, cost::deep(value)?)?;
        let json = to_json(value)?;
        out.write_str(&value::to_text(&json)).map_err(|_| Error::from(ErrorKind::WriteFailure))
    });
    environment
}

/// A compiled expression.
pub(super) struct Expression(minijinja::Expression<'static, 'static>);

impl Expression {
    pub(super) fn compile(scan: &Scan, names: &Names<'_>) -> Result<Self, ExprError> {
        let environment: &'static Environment<'static> = &STANDARD;
        let expression = environment
            .compile_expression_owned(scan.text.clone())
            .map_err(|error| syntax(&error, &scan.text, |offset| scan.source_offset(offset)))?;
        check_variables(expression.undeclared_variables(false), &scan.paths, names)?;
        Ok(Self(expression))
    }

    pub(super) fn evaluate(&self, paths: &[Path], variables: &Map) -> Result<Value, EvalError> {
        let value = self.0.eval(context(paths, variables)).map_err(|error| fault(&error))?;
        if value.is_undefined() {
            return Err(EvalError::Missing("the value of the expression is missing".into()));
        }
        to_json(&value).map_err(|error| fault(&error))
    }
}

/// A compiled text with blocks.
pub(super) struct Whole(Arc<Environment<'static>>);

const NAME: &str = "template";

impl Whole {
    /// Compiles the text; `shifts` lead from places in it to places in its source.
    pub(super) fn compile(
        text: String,
        shifts: &[(usize, usize)],
        paths: &[Path],
        names: &Names<'_>,
    ) -> Result<Self, ExprError> {
        let to_source = |offset: usize| match shifts.iter().rev().find(|(rewritten, _)| *rewritten <= offset) {
            Some((rewritten, source)) => source + (offset - rewritten),
            None => offset,
        };
        // A final line break would be dropped.
        let text = text + "\n";
        let mut environment = STANDARD.clone();
        environment.add_template_owned(NAME, text.clone()).map_err(|error| syntax(&error, &text, to_source))?;
        let template = environment.get_template(NAME).map_err(|error| syntax(&error, &text, to_source))?;
        check_variables(template.undeclared_variables(false), paths, names)?;
        Ok(Self(Arc::new(environment)))
    }

    pub(super) fn render(&self, paths: &[Path], variables: &Map) -> Result<String, EvalError> {
        let template = self.0.get_template(NAME).map_err(|error| fault(&error))?;
        let mut text = Bounded(Vec::new());
        let rendered = template.render_captured_to(context(paths, variables), &mut text);
        if text.0.len() > limits::TEMPLATE_BYTES {
            return Err(EvalError::Failed(too_long()));
        }
        rendered.map(drop).map_err(|error| fault(&error))?;
        String::from_utf8(text.0).map_err(|error| EvalError::Failed(error.to_string()))
    }
}

/// Text that ends the rendering when it is too long.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() > limits::TEMPLATE_BYTES {
            return Err(std::io::Error::other(too_long()));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn too_long() -> String {
    format!("the result of the template has more than {} bytes", limits::TEMPLATE_BYTES)
}

fn check_variables(read: impl IntoIterator<Item = String>, paths: &[Path], names: &Names<'_>) -> Result<(), ExprError> {
    let globals: BTreeSet<&str> = STANDARD.globals().map(|(name, _)| name).collect();
    let mut unknown: Vec<String> = read.into_iter().filter(|name| !globals.contains(name.as_str())).collect();
    // The library answers with a set in no order.
    unknown.sort_unstable();
    for name in unknown {
        let offset = paths.iter().find(|path| *path.root == *name).map_or(0, |path| path.offset);
        check_root(&name, offset, names)?;
    }
    Ok(())
}

/// Only what is read enters the library: the rest may be large.
fn context(paths: &[Path], variables: &Map) -> JinjaValue {
    let mut roots: Vec<(Arc<str>, JinjaValue)> = Vec::new();
    for path in paths {
        if roots.iter().any(|(name, _)| *name == path.root) {
            continue;
        }
        let Some(value) = variables.get(&*path.root) else { continue };
        let value = if &*path.root == "steps" { steps_read(paths, value) } else { JinjaValue::from(Serde(value)) };
        roots.push((Arc::clone(&path.root), value));
    }
    JinjaValue::from_pairs(roots)
}

/// Of the steps only those members that some path reads.
fn steps_read(paths: &[Path], steps: &Value) -> JinjaValue {
    let of_steps: Vec<&Path> = paths.iter().filter(|path| &*path.root == "steps").collect();
    let ids: BTreeSet<&Arc<str>> = of_steps.iter().filter_map(|path| path.name(0)).collect();
    let step = |id: &Arc<str>| {
        let step = steps.get(&**id)?;
        let read: Vec<Option<&Arc<str>>> =
            of_steps.iter().filter(|path| path.name(0) == Some(id)).map(|path| path.name(1)).collect();
        let value = match step.as_object() {
            Some(members) if read.iter().all(Option::is_some) => {
                let wanted =
                    members.iter().filter(|(name, _)| read.iter().flatten().any(|read| ***read == *name.as_str()));
                JinjaValue::from_pairs(wanted.map(|(name, value)| (name.clone(), JinjaValue::from(Serde(value)))))
            }
            _ => JinjaValue::from(Serde(step)),
        };
        Some((Arc::clone(id), value))
    };
    JinjaValue::from_pairs(ids.into_iter().filter_map(step))
}

fn to_json(value: &JinjaValue) -> Result<Value, Error> {
    cost::deep(value)?;
    let json =
        serde_json::to_value(value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    value::check_depth(&json).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(json)
}

fn syntax(error: &Error, text: &str, to_source: impl Fn(usize) -> usize) -> ExprError {
    let mut message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    if error.kind() != ErrorKind::SyntaxError {
        message = error.kind().to_string();
    }
    let at = error.range().map_or_else(|| line_start(text, error.line()), |range| range.start);
    ExprError::new(Fault::Syntax, to_source(at), message)
}

fn line_start(text: &str, line: Option<usize>) -> usize {
    let before = line.unwrap_or(1).saturating_sub(1);
    text.split_inclusive('\n').take(before).map(str::len).sum()
}

fn fault(error: &Error) -> EvalError {
    let mut message =
        error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let _ = write!(message, ": {inner}");
        cause = inner.source();
    }
    let undefined = error.kind() == ErrorKind::UndefinedError;
    if message.chars().count() > limits::EXPRESSION_ERROR_CHARS {
        message = message.chars().take(limits::EXPRESSION_ERROR_CHARS).collect::<String>() + " ...";
    }
    if undefined { EvalError::Missing(message) } else { EvalError::Failed(message) }
}
