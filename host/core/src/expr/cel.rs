//! CEL itself: parse, evaluate, and convert values both ways.
//!
//! JSON integers become CEL's signed ones: the library takes them for unsigned, and `n + 1` would fail.

use super::{EvalError, ExprError, Fault, Names, Path, cost, matching};
use crate::expr::scan::Scan;
use crate::limits;
use crate::value::Map;
use ::cel::objects::{Key, Map as CelMap};
use ::cel::parser::{ParseError, PrattParser};
use ::cel::{Context, Env, ExecutionError, IdedExpr, Value as CelValue};
use serde_json::{Number, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    matching::declare(&mut environment);
    Arc::new(environment)
});

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Program {
    expression: IdedExpr,
    /// Whether evaluation must look at the sizes of lists first.
    loops: bool,
}

impl Program {
    pub(super) fn compile(scan: &Scan, names: &Names<'_>) -> Result<Self, ExprError> {
        let expression = PrattParser::new().parse(&scan.text).map_err(|errors| match errors.errors.first() {
            Some(first) => syntax(first, scan),
            None => ExprError::new(Fault::Syntax, 0, "not an expression"),
        })?;
        let shape = cost::check(&expression, scan, names)?;
        Ok(Self { expression, loops: shape.loops })
    }

    pub(super) fn is_constant(&self) -> bool {
        !cost::reads_variables(&self.expression)
    }

    pub(super) fn evaluate(&self, paths: &[Path], variables: &Map) -> Result<Value, EvalError> {
        if self.loops {
            cost::affordable(&self.expression, variables)?;
        }
        matching::begin();
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        for (name, value) in variables {
            if paths.iter().any(|path| *path.root == **name) {
                let value = if name == "steps" { steps_read(paths, value) } else { from_json(value) };
                context.add_variable_from_value(name.as_str(), value);
            }
        }
        let value = CelValue::resolve(&self.expression, &context).map_err(|error| fault(&error))?;
        to_json(&value, &mut Room { nodes: limits::EXPRESSION_RESULT_NODES, bytes: limits::EXPRESSION_RESULT_BYTES })
    }
}

fn syntax(error: &ParseError, scan: &Scan) -> ExprError {
    let (line, column) = error.pos;
    let message = error.msg.lines().next().unwrap_or_default().trim_start_matches("Syntax error: ");
    let message = match message {
        "" => "not an expression".to_owned(),
        _ => message
            .replace("'<EOF>'", "end")
            .replace("<EOF>", "end")
            .replace("mismatched input ", "unexpected ")
            .replace(" expecting ", ", expected ")
            .replace('\'', "`"),
    };
    let Ok(line) = usize::try_from(line) else { return ExprError::new(Fault::Syntax, 0, message) };
    let before: usize = scan.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let column = usize::try_from(column).unwrap_or_default().saturating_sub(1);
    let row = scan.text.split_inclusive('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let inside = row.char_indices().nth(column).map_or(row.len(), |(at, _)| at);
    ExprError::new(Fault::Syntax, scan.source_offset(before + inside), message)
}

/// Of the steps only those members that some path reads: their contents may be large.
fn steps_read(paths: &[Path], steps: &Value) -> CelValue {
    let mut read: HashMap<Key, CelValue> = HashMap::new();
    let mut ids: Vec<&Arc<str>> = Vec::new();
    for id in paths.iter().filter(|path| &*path.root == "steps").filter_map(|path| path.name(0)) {
        let Some(step) = steps.get(&**id).filter(|_| !ids.contains(&id)) else { continue };
        ids.push(id);
        let of_step = || paths.iter().filter(|path| &*path.root == "steps" && path.name(0) == Some(id));
        let value = match step.as_object() {
            Some(members) if of_step().all(|path| path.name(1).is_some()) => {
                let wanted = members
                    .iter()
                    .filter(|(name, _)| of_step().any(|path| path.name(1).is_some_and(|read| **read == **name)));
                map(wanted)
            }
            _ => from_json(step),
        };
        read.insert(Key::String(Arc::new(id.to_string())), value);
    }
    CelValue::Map(CelMap { map: Arc::new(read) })
}

fn map<'v>(entries: impl Iterator<Item = (&'v String, &'v Value)>) -> CelValue {
    let map = entries.map(|(key, value)| (Key::String(Arc::new(key.clone())), from_json(value))).collect();
    CelValue::Map(CelMap { map: Arc::new(map) })
}

fn from_json(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => from_number(number),
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(from_json).collect())),
        Value::Object(entries) => map(entries.iter()),
    }
}

fn from_number(number: &Number) -> CelValue {
    if let Some(int) = number.as_i64() {
        CelValue::Int(int)
    } else if let Some(uint) = number.as_u64() {
        CelValue::UInt(uint)
    } else {
        CelValue::Float(number.as_f64().unwrap_or(f64::NAN))
    }
}

/// What a result may still grow by.
struct Room {
    nodes: usize,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), EvalError> {
        let nodes = self.nodes.checked_sub(1);
        let left = self.bytes.checked_sub(bytes);
        let (Some(nodes), Some(left)) = (nodes, left) else {
            return Err(EvalError::Failed("the result of the expression is too large".into()));
        };
        (self.nodes, self.bytes) = (nodes, left);
        Ok(())
    }
}

fn to_json(value: &CelValue, room: &mut Room) -> Result<Value, EvalError> {
    room.take(if let CelValue::String(text) = value { text.len() } else { 0 })?;
    Ok(match value {
        CelValue::Null => Value::Null,
        CelValue::Bool(value) => Value::Bool(*value),
        CelValue::Int(int) => Value::from(*int),
        CelValue::UInt(uint) => Value::from(*uint),
        CelValue::Float(float) => match Number::from_f64(*float) {
            Some(number) => Value::Number(number),
            None => return Err(EvalError::Failed(format!("`{float}` is no JSON number"))),
        },
        CelValue::String(text) => Value::String(text.to_string()),
        CelValue::List(items) => Value::Array(items.iter().map(|item| to_json(item, room)).collect::<Result<_, _>>()?),
        CelValue::Map(entries) => {
            let mut sorted: Vec<(String, &CelValue)> =
                entries.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            let mut map = Map::new();
            for (key, value) in sorted {
                room.take(key.len())?;
                map.insert(key, to_json(value, room)?);
            }
            Value::Object(map)
        }
        other => {
            return Err(EvalError::Failed(format!("the result is a {}, which JSON does not have", other.type_of())));
        }
    })
}

fn fault(error: &ExecutionError) -> EvalError {
    match error {
        ExecutionError::NoSuchKey(key) => EvalError::Missing(format!("key `{key}` is missing")),
        ExecutionError::IndexOutOfBounds(index) => EvalError::Missing(format!("there is no item {}", brief(index))),
        ExecutionError::UndeclaredReference(name) => EvalError::Missing(format!("`{name}` is missing")),
        ExecutionError::NoSuchOverload(overload)
            if matches!(overload.function(), "_._" | "_[_]")
                && overload.argument_types().first().is_some_and(|kind| kind == "null_type") =>
        {
            EvalError::Missing("a key is read of null".into())
        }
        ExecutionError::FunctionError { function, message } if function == "matches" => {
            EvalError::Failed(shorten(&format!("`{function}`: {message}")))
        }
        // Other messages print whole values; those may be large, or secret.
        other => EvalError::Failed(shorten(&other.to_string())),
    }
}

fn brief(value: &CelValue) -> String {
    match value {
        CelValue::Int(int) => int.to_string(),
        CelValue::UInt(uint) => uint.to_string(),
        other => other.type_of().to_string(),
    }
}

fn shorten(message: &str) -> String {
    let mut short: String = message.chars().take(limits::EXPRESSION_ERROR_CHARS).collect();
    if short.len() < message.len() {
        short.push_str(" ...");
    }
    short
}
