//! The walk over a syntax tree: which variables it reads, how deep its loops nest, what they will cost.
//!
//! An evaluation cannot be cancelled, so what it may cost is decided before it starts.

use super::{EvalError, ExprError, Fault, Names, check_root};
use crate::expr::scan::Scan;
use crate::limits;
use crate::value::Map;
use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};
use serde_json::Value;

/// Functions of the standard library, and operators in call form, that may be used.
const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
    "dyn",
    "min",
    "max",
    "has",
    "all",
    "exists",
    "exists_one",
    "existsOne",
    "map",
    "filter",
];

/// Functions of the standard library that a JSON value cannot give an argument to.
const NOT_OFFERED: &[&str] = &[
    "duration",
    "timestamp",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
];

/// What a checked tree is like.
pub(super) struct Shape {
    /// Whether it has a `map`, `filter`, `all` or `exists`.
    pub(super) loops: bool,
}

/// Checks variables, functions and the nesting of loops.
pub(super) fn check(expression: &IdedExpr, scan: &Scan, names: &Names<'_>) -> Result<Shape, ExprError> {
    let mut walk = Walk { scan, names, bound: Vec::new(), loops: false };
    walk.visit(expression, 0)?;
    Ok(Shape { loops: walk.loops })
}

struct Walk<'s> {
    scan: &'s Scan,
    names: &'s Names<'s>,
    /// Variables of the macros around the node.
    bound: Vec<String>,
    loops: bool,
}

impl Walk<'_> {
    fn visit(&mut self, node: &IdedExpr, nesting: usize) -> Result<(), ExprError> {
        match &node.expr {
            Expr::Ident(name) => self.variable(name),
            Expr::Call(call) => {
                self.function(&call.func_name)?;
                children(node).into_iter().try_for_each(|child| self.visit(child, nesting))
            }
            Expr::Comprehension(comprehension) => {
                self.loops = true;
                self.visit(&comprehension.iter_range, nesting)?;
                if nesting + 1 > limits::EXPRESSION_NESTED_RANGES {
                    let message =
                        format!("loops in an expression nest at most {} deep", limits::EXPRESSION_NESTED_RANGES);
                    return Err(ExprError::new(Fault::Limit, 0, message).with_hint("let a tool step do this work"));
                }
                if comprehension.iter_var == "steps" {
                    return Err(ExprError::new(Fault::UnknownName, 0, "`steps` cannot be the variable of a loop"));
                }
                let depth = self.bound.len();
                self.bound.push(comprehension.iter_var.clone());
                self.bound.extend(comprehension.iter_var2.clone());
                self.bound.push(comprehension.accu_var.clone());
                let inner = [
                    &comprehension.accu_init,
                    &comprehension.loop_cond,
                    &comprehension.loop_step,
                    &comprehension.result,
                ];
                inner.into_iter().try_for_each(|child| self.visit(child, nesting + 1))?;
                self.bound.truncate(depth);
                Ok(())
            }
            Expr::Struct(message) => {
                let text = format!("unknown type `{}`", message.type_name);
                Err(ExprError::new(Fault::UnknownName, 0, text).with_hint("write a map: `{'key': value}`"))
            }
            _ => children(node).into_iter().try_for_each(|child| self.visit(child, nesting)),
        }
    }

    fn variable(&self, name: &str) -> Result<(), ExprError> {
        let plain = name.trim_start_matches('.');
        if self.bound.iter().any(|bound| bound == plain) || is_type(plain) {
            return Ok(());
        }
        let place = self.scan.paths.iter().find(|path| &*path.root == plain).map_or(0, |path| path.offset);
        check_root(plain, place, self.names)
    }

    fn function(&self, name: &str) -> Result<(), ExprError> {
        let operator =
            name.contains(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_')) || name.starts_with('_');
        if operator || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let offset = self.scan.text.find(&format!("{name}(")).map_or(0, |at| self.scan.source_offset(at));
        let offered = || format!("the functions are {}", FUNCTIONS.join(", "));
        if NOT_OFFERED.contains(&name) {
            let message = format!("the function `{name}` of CEL is not offered here");
            return Err(ExprError::new(Fault::UnknownName, offset, message).with_hint(offered()));
        }
        let hint = crate::spec::suggest::did_you_mean(name, FUNCTIONS.iter().copied());
        let error = ExprError::new(Fault::UnknownName, offset, format!("unknown function `{name}`"));
        Err(error.with_hint(hint.unwrap_or_else(offered)))
    }
}

/// Names that stand for types, as in `type(x) == string`.
fn is_type(name: &str) -> bool {
    ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"].contains(&name)
}

/// Whether any variable but those of its own loops is read.
pub(super) fn reads_variables(node: &IdedExpr) -> bool {
    // A loop's own variables count too: a constant loop is too rare to matter.
    matches!(&node.expr, Expr::Ident(_)) || children(node).into_iter().any(reads_variables)
}

fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(inner) => {
            vec![&inner.iter_range, &inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_children(&entry.expr)).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(message) => message.entries.iter().flat_map(|entry| entry_children(&entry.expr)).collect(),
    }
}

fn entry_children(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// Refuses an evaluation that would take too long.
pub(super) fn affordable(expression: &IdedExpr, variables: &Map) -> Result<(), EvalError> {
    let mut estimate = Estimate { variables, longest: None };
    let work = estimate.work(expression);
    if work > limits::EXPRESSION_RANGE_PRODUCT {
        let most = limits::EXPRESSION_RANGE_PRODUCT;
        return Err(EvalError::Failed(format!(
            "too much work: about {work} evaluations, more than the limit of {most}"
        )));
    }
    Ok(())
}

struct Estimate<'v> {
    variables: &'v Map,
    /// The longest list anywhere in the variables, once somebody asked.
    longest: Option<u64>,
}

impl Estimate<'_> {
    /// How many loop bodies are evaluated.
    fn work(&mut self, node: &IdedExpr) -> u64 {
        if let Expr::Comprehension(comprehension) = &node.expr {
            let rounds = self.size(&comprehension.iter_range);
            let body = self.work(&comprehension.loop_step).saturating_add(1);
            return self.work(&comprehension.iter_range).saturating_add(rounds.saturating_mul(body));
        }
        children(node).into_iter().fold(0, |sum: u64, child| sum.saturating_add(self.work(child)))
    }

    /// At most how many items a node has, as far as that can be told.
    fn size(&mut self, node: &IdedExpr) -> u64 {
        match &node.expr {
            Expr::List(list) => count(list.elements.len()),
            Expr::Map(map) => count(map.entries.len()),
            Expr::Comprehension(comprehension) => self.size(&comprehension.iter_range),
            Expr::Call(call) if call.func_name == operators::ADD => {
                call.args.iter().fold(0, |sum: u64, term| sum.saturating_add(self.size(term)))
            }
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                call.args.iter().skip(1).map(|branch| self.size(branch)).max().unwrap_or_default()
            }
            _ => match lookup(node, self.variables) {
                Some(value) => items(value),
                None => self.longest(),
            },
        }
    }

    fn longest(&mut self) -> u64 {
        let variables = self.variables;
        *self.longest.get_or_insert_with(|| variables.values().map(longest_list).max().unwrap_or_default())
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

fn items(value: &Value) -> u64 {
    match value {
        Value::Array(items) => count(items.len()),
        Value::Object(map) => count(map.len()),
        _ => 0,
    }
}

fn longest_list(value: &Value) -> u64 {
    let inside = match value {
        Value::Array(items) => items.iter().map(longest_list).max(),
        Value::Object(map) => map.values().map(longest_list).max(),
        _ => None,
    };
    items(value).max(inside.unwrap_or_default())
}

/// The value that a chain of fixed members and indices leads to.
fn lookup<'v>(node: &IdedExpr, variables: &'v Map) -> Option<&'v Value> {
    match &node.expr {
        Expr::Ident(name) => variables.get(name.trim_start_matches('.')),
        Expr::Select(select) => lookup(&select.operand, variables)?.get(&select.field),
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let [operand, index] = call.args.as_slice() else { return None };
            let operand = lookup(operand, variables)?;
            match &index.expr {
                Expr::Literal(LiteralValue::String(key)) => operand.get(key.inner()),
                Expr::Literal(LiteralValue::Int(at)) => operand.get(usize::try_from(*at.inner()).ok()?),
                _ => None,
            }
        }
        _ => None,
    }
}
