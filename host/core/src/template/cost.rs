//! What a template may build: every filter and operator pays before it allocates.
//!
//! The library bounds instructions, not sizes. So each filter is wrapped, and [`super::guard`] puts hidden filters
//! behind the operands of operators. It must not know what the data means.

use crate::limits;
use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value, filters};
use std::sync::LazyLock;

/// Filters that give back a part of their input, or a number.
const PARTS: &[&str] =
    &["length", "count", "first", "last", "default", "d", "abs", "round", "int", "float", "bool", "attr", "items"];
/// Filters that build something of the size that [`price`] says.
const BUILDERS: &[&str] = &[
    "lower",
    "upper",
    "title",
    "capitalize",
    "replace",
    "dictsort",
    "reverse",
    "trim",
    "join",
    "split",
    "lines",
    "min",
    "max",
    "sort",
    "list",
    "string",
    "batch",
    "slice",
    "sum",
    "indent",
    "groupby",
    "unique",
    "chain",
    "zip",
    "format",
    "tojson",
];
/// Filters that call others by name.
const CALLERS: &[&str] = &["map", "select", "reject", "selectattr", "rejectattr"];
/// Filters of the library that templates do not have: they quote for other languages, or print internals.
const REMOVED: &[&str] = &["safe", "escape", "e", "pprint"];

/// Behind an operand of `*`: a number.
pub(super) const NUMBER: &str = "__number";
/// Behind an operand of `~`: pays for its text.
pub(super) const TEXT: &str = "__text";
/// Behind an operand of `+`, and behind a slice: pays for its items, but not for what they hold.
pub(super) const PART: &str = "__part";

/// What an item of a list takes in memory.
const ITEM_BYTES: usize = 32;
/// More than any text is indented or padded.
const WIDTH: usize = 10_000;

/// The filters as the library has them, reached through prices only.
static RAW: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
});

/// Whether templates have the filter.
pub(super) fn has_filter(name: &str) -> bool {
    [PARTS, BUILDERS, CALLERS].iter().any(|names| names.contains(&name))
}

/// Puts a price on everything that builds.
pub(super) fn install(environment: &mut Environment<'static>) {
    for name in REMOVED {
        environment.remove_filter(name);
    }
    for name in BUILDERS.iter().copied() {
        environment.add_filter(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
            let args = args.into_values();
            charge(state, price(name, &args)?)?;
            RAW.empty_state().apply_filter(name, &args)
        });
    }
    environment.add_filter("__map", filters::map);
    environment.add_filter("__select", filters::select);
    environment.add_filter("__reject", filters::reject);
    environment.add_filter("__selectattr", filters::selectattr);
    environment.add_filter("__rejectattr", filters::rejectattr);
    for name in CALLERS.iter().copied() {
        environment.add_filter(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
            let args = args.into_values();
            let called = args.get(1).filter(|value| name == "map" && !value.is_kwargs()).and_then(Value::as_str);
            if let Some(called) = called.filter(|called| !has_filter(called)) {
                return Err(Error::new(ErrorKind::UnknownFilter, format!("filter `{called}` is unknown")));
            }
            charge(state, args.first().map_or(0, items).saturating_mul(ITEM_BYTES))?;
            state.apply_filter(&format!("__{name}"), &args)
        });
    }
    environment.add_filter(NUMBER, |value: Value| match value.kind() {
        ValueKind::Number | ValueKind::Bool => Ok(value),
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        other => Err(Error::new(ErrorKind::InvalidOperation, format!("`*` takes numbers, not a {other}"))),
    });
    environment.add_filter(TEXT, |state: &mut State<'_, '_>, value: Value| {
        let cost = deep(&value)?;
        charge(state, cost).map(|()| value)
    });
    environment.add_filter(PART, |state: &mut State<'_, '_>, value: Value| {
        let cost = match value.as_str() {
            Some(text) => text.len(),
            None if value.as_object().is_some() => items(&value).saturating_mul(ITEM_BYTES),
            None => 0,
        };
        charge(state, cost).map(|()| value)
    });
}

/// Takes from what one rendering may build.
pub(super) fn charge(state: &mut State<'_, '_>, cost: usize) -> Result<(), Error> {
    const SPENT: &str = "cofferdam.spent";
    let spent = state.get_temp(SPENT).and_then(|value| value.as_usize()).unwrap_or(0).saturating_add(cost);
    state.set_temp(SPENT, Value::from(spent));
    if spent > limits::TEMPLATE_WORK_BYTES {
        let message =
            format!("the template builds more than {} bytes on its way to a result", limits::TEMPLATE_WORK_BYTES);
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(())
}

/// About how many bytes a value takes as text.
///
/// # Errors
/// When that is more than [`limits::TEMPLATE_BYTES`], or it is nested too deep. A list that holds another one
/// twice counts it twice, as the text would; the walk ends at the bound.
pub(super) fn deep(value: &Value) -> Result<usize, Error> {
    fn walk(value: &Value, depth: usize, sum: &mut usize) -> Result<(), Error> {
        *sum = sum.saturating_add(value.as_str().map_or(8, str::len));
        if *sum > limits::TEMPLATE_BYTES {
            let message = format!("the template builds a value of more than {} bytes", limits::TEMPLATE_BYTES);
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        if value.as_object().is_none() {
            return Ok(());
        }
        if depth == 0 {
            return Err(Error::new(ErrorKind::InvalidOperation, crate::value::Error::Depth.to_string()));
        }
        let is_map = value.kind() == ValueKind::Map;
        let Ok(members) = value.try_iter() else { return Ok(()) };
        for member in members {
            walk(&member, depth - 1, sum)?;
            if is_map {
                walk(&value.get_item(&member)?, depth - 1, sum)?;
            }
        }
        Ok(())
    }
    let mut sum = 0;
    walk(value, limits::VALUE_DEPTH, &mut sum)?;
    Ok(sum)
}

/// How many items a list has; for a text, bytes: at least its characters.
fn items(value: &Value) -> usize {
    if let Some(text) = value.as_str() {
        return text.len();
    }
    value.len().unwrap_or_else(|| value.try_iter().map_or(0, Iterator::count))
}

/// The most that a filter builds.
fn price(name: &str, args: &[Value]) -> Result<usize, Error> {
    let Some(value) = args.first() else { return Ok(0) };
    let listed = items(value).saturating_mul(ITEM_BYTES);
    let text = value.as_str();
    Ok(match name {
        "string" if text.is_some() => 0,
        "reverse" | "list" | "chain" | "zip" => {
            args.iter().fold(0_usize, |sum, value| sum.saturating_add(items(value).saturating_mul(ITEM_BYTES)))
        }
        "sort" | "unique" | "min" | "max" | "groupby" | "dictsort" | "sum" => {
            deep(value)?.saturating_add(listed.saturating_mul(2))
        }
        "batch" | "slice" => listed.saturating_add(wide(args.get(1)).saturating_mul(ITEM_BYTES)),
        "replace" => {
            let (text, from) = (written(Some(value))?, written(args.get(1))?);
            let found = if from.is_empty() { text.len() + 1 } else { text.matches(&*from).count() };
            text.len().saturating_add(found.saturating_mul(written(args.get(2))?.len()))
        }
        "join" => {
            let mut joiner = written(args.get(1).filter(|value| !value.is_kwargs()))?.len();
            if let Some(given) = keyword(args, &["joiner", "d"]) {
                joiner = joiner.max(written(Some(&given))?.len());
            }
            deep(value)?.saturating_add(items(value).saturating_mul(joiner))
        }
        "split" => {
            let text = written(Some(value))?;
            let pieces = match args.get(1).and_then(Value::as_str) {
                Some("") => text.len() + 2,
                Some(separator) => text.matches(separator).count() + 1,
                None => text.split_whitespace().count(),
            };
            text.len().saturating_add(pieces.saturating_mul(ITEM_BYTES))
        }
        "lines" => {
            let text = written(Some(value))?;
            text.len().saturating_add(text.lines().count().saturating_mul(ITEM_BYTES))
        }
        "indent" => {
            let width = keyword(args, &["width"]).or_else(|| args.get(1).filter(|value| !value.is_kwargs()).cloned());
            let text = written(Some(value))?;
            text.len().saturating_add((text.split('\n').count() + 1).saturating_mul(wide(width.as_ref())))
        }
        "format" => format_price(value, args)?,
        "tojson" => {
            let indent = keyword(args, &["indent"]).or_else(|| args.get(1).filter(|value| !value.is_kwargs()).cloned());
            let size = deep(value)?;
            let lines = size.saturating_div(8).saturating_mul(wide(indent.as_ref()));
            size.saturating_mul(3).saturating_add(lines)
        }
        _ => deep(value)?.saturating_mul(2),
    })
}

/// Each place of the format takes at most the longest argument, padded as wide as the format says.
fn format_price(format: &Value, args: &[Value]) -> Result<usize, Error> {
    let format = written(Some(format))?;
    let mut widest = 0_usize;
    for digits in format.split(|character: char| !character.is_ascii_digit()).filter(|digits| !digits.is_empty()) {
        widest = widest.max(digits.parse().unwrap_or(usize::MAX));
    }
    let mut longest = 0;
    for value in args.iter().skip(1) {
        longest = longest.max(deep(value)?);
        if format.contains('*') {
            widest = widest
                .max(value.as_i64().map_or(0, |width| usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX)));
        }
    }
    if widest > WIDTH {
        let message = format!("a format cannot be wider than {WIDTH} characters");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let places = format.matches(['%', '{']).count();
    Ok(format.len().saturating_add(places.saturating_mul(longest.saturating_mul(2) + widest + 400)))
}

/// A value as the text that a filter makes of it.
fn written(value: Option<&Value>) -> Result<std::borrow::Cow<'_, str>, Error> {
    let Some(value) = value else { return Ok("".into()) };
    if let Some(text) = value.as_str() {
        return Ok(text.into());
    }
    deep(value)?;
    Ok(value.to_string().into())
}

/// A width or count; what is no number fails later, in the filter itself.
fn wide(value: Option<&Value>) -> usize {
    match value {
        None => 4,
        Some(value) => {
            value.as_usize().unwrap_or_else(|| if value.kind() == ValueKind::Number { usize::MAX } else { 4 })
        }
    }
}

fn keyword(args: &[Value], names: &[&str]) -> Option<Value> {
    let given = Kwargs::try_from(args.last().filter(|value| value.is_kwargs())?.clone()).ok()?;
    names.iter().find_map(|name| given.get::<Option<Value>>(name).ok().flatten())
}
