//! Expressions: CEL inside a fence.
//!
//! A text is bounded before it is parsed, and its cost is estimated before it is evaluated; the step ids and other
//! names that it reads are known from then on. It must not know the document that it stands in.

mod cel;
mod cost;
mod matching;
pub(crate) mod path;
pub(crate) mod scan;

pub use scan::{Key, Path, Segment};

use crate::value::Map;
use scan::Dialect;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A compiled expression. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Expr {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: Arc<str>,
    steps: Vec<Arc<str>>,
    paths: Vec<Path>,
    code: Code,
}

#[derive(Debug)]
enum Code {
    /// One path and nothing else: read straight from the data, with its order of keys.
    Path(Path),
    /// Anything else.
    Cel(cel::Program),
}

/// The names that an expression or template may read.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The ids of the steps, the nearest scope first.
    pub steps: &'a [&'a BTreeSet<Arc<str>>],
    /// The variables: `steps`, `inputs`, `item`, ...
    pub roots: &'a [&'a str],
}

impl Names<'_> {
    fn step(&self, id: &str) -> Option<Arc<str>> {
        self.steps.iter().find_map(|scope| scope.get(id)).cloned()
    }
}

/// What kind of fault an expression or template has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not parse.
    Syntax,
    /// A bound refuses it.
    Limit,
    /// It reads a step that is not known.
    UnknownStep,
    /// It reads a variable, or uses a function or filter, that is not known.
    UnknownName,
}

/// Why a text is no expression or template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// The kind.
    pub fault: Fault,
    /// Where, in bytes from the start of the text.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ExprError {
    pub(crate) fn new(fault: Fault, offset: usize, message: impl Into<String>) -> Self {
        Self { fault, offset, message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_maybe(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// Why an evaluation gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A key or path is not there.
    #[error("{0}")]
    Missing(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Expr {
    /// Compiles an expression.
    ///
    /// # Errors
    /// When it is too long or too deep, does not parse, or reads a name that is not known.
    pub fn parse(text: &str, names: &Names<'_>) -> Result<Self, ExprError> {
        let scan = scan::scan(text, Dialect::Cel, names)?;
        let steps = steps_of(&scan.paths);
        let code = match scan.paths.first() {
            Some(path) if scan.is_path => {
                check_root(&path.root, path.offset, names)?;
                Code::Path(path.clone())
            }
            _ => Code::Cel(cel::Program::compile(&scan, names)?),
        };
        Ok(Self { inner: Arc::new(Inner { source: text.into(), steps, paths: scan.paths, code }) })
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// The ids of the steps it reads, each once, in the order written.
    #[must_use]
    pub fn steps(&self) -> &[Arc<str>] {
        &self.inner.steps
    }

    /// What it reads, with the place of each part.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.inner.paths
    }

    /// Whether it reads a root variable (`inputs`, `item`, ...).
    #[must_use]
    pub fn reads(&self, root: &str) -> bool {
        self.inner.paths.iter().any(|path| &*path.root == root)
    }

    /// The members that it reads of what the names lead to, such as `["steps", "build"]`; none = all of them.
    #[must_use]
    pub fn members(&self, names: &[&str]) -> Option<BTreeSet<&str>> {
        members(&self.inner.paths, names)
    }

    /// The value, when the text is a constant such as `true` or `1 + 1`.
    #[must_use]
    pub fn constant(&self) -> Option<Value> {
        let reads_nothing = matches!(&self.inner.code, Code::Cel(program) if program.is_constant());
        if reads_nothing { self.evaluate(&Map::new()).ok() } else { None }
    }

    /// Evaluates it over the given variables. Objects that CEL itself has built come with sorted keys.
    ///
    /// # Errors
    /// When a key is missing, or for any other fault of evaluation.
    pub fn evaluate(&self, variables: &Map) -> Result<Value, EvalError> {
        match &self.inner.code {
            Code::Path(path) => path::read(path, variables).cloned(),
            Code::Cel(program) => program.evaluate(&self.inner.paths, variables),
        }
    }
}

/// The ids of the steps that the paths read, each once.
pub(crate) fn steps_of<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Vec<Arc<str>> {
    let mut steps: Vec<Arc<str>> = Vec::new();
    for id in paths.into_iter().filter(|path| &*path.root == "steps").filter_map(|path| path.name(0)) {
        if !steps.contains(id) {
            steps.push(Arc::clone(id));
        }
    }
    steps
}

/// The members that the paths read of what the names lead to; none when one of them reads the whole of it.
pub(crate) fn members<'p>(paths: impl IntoIterator<Item = &'p Path>, names: &[&str]) -> Option<BTreeSet<&'p str>> {
    let (root, inner) = names.split_first()?;
    let mut members = BTreeSet::new();
    for path in paths.into_iter().filter(|path| &*path.root == *root) {
        // What may lead there by another way than a name reads anything.
        let known = inner.iter().enumerate().map(|(at, name)| Some(&**path.name(at)? == *name));
        match known.collect::<Option<Vec<bool>>>() {
            Some(same) if same.contains(&false) => {}
            Some(_) => drop(members.insert(&**path.name(inner.len())?)),
            None => return None,
        }
    }
    Some(members)
}

/// Refuses a variable that is not there.
pub(crate) fn check_root(root: &str, offset: usize, names: &Names<'_>) -> Result<(), ExprError> {
    if names.roots.contains(&root) {
        return Ok(());
    }
    let known = names.roots.iter().map(|root| format!("`{root}`")).collect::<Vec<_>>().join(", ");
    let hint = crate::spec::suggest::did_you_mean(root, names.roots.iter().copied());
    let error = ExprError::new(Fault::UnknownName, offset, format!("unknown variable `{root}`"));
    Err(error.with_hint(hint.unwrap_or_else(|| format!("what can be read here: {known}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expr(text: &str) -> Result<Expr, ExprError> {
        let steps: BTreeSet<Arc<str>> = ["build", "a-b", "list"].into_iter().map(Arc::from).collect();
        Expr::parse(text, &Names { steps: &[&steps], roots: &["steps", "inputs", "item", "index"] })
    }

    fn variables() -> Map {
        let value = json!({
            "steps": {
                "build": { "content": "ok", "result": { "n": 3, "list": [3, 1, 2], "z": { "b": 1, "a": 2 } }, "status": "completed" },
                "a-b": { "content": "x", "result": null, "status": "failed" },
                "list": { "content": "", "result": (0..2000).collect::<Vec<u32>>() },
            },
            "inputs": { "dir": "src", "big": 18_446_744_073_709_551_615_u64 },
            "item": { "name": "n" },
            "index": 0,
        });
        value.as_object().cloned().unwrap_or_default()
    }

    fn evaluate(text: &str) -> Result<Value, EvalError> {
        expr(text).map_err(|error| EvalError::Failed(error.to_string()))?.evaluate(&variables())
    }

    #[test]
    fn json_goes_in_and_json_comes_out() {
        for (text, expected) in [
            ("steps.build.result.n + 1", json!(4)),
            ("steps.build.result.n == 3 && steps.a-b.status == 'failed'", json!(true)),
            ("steps.build.result.list.filter(x, x > 1).map(x, x * 2)", json!([6, 4])),
            ("size(steps.list.result)", json!(2000)),
            ("inputs.dir + '/' + item.name", json!("src/n")),
            ("steps.build.result.z", json!({ "b": 1, "a": 2 })),
            ("has(steps.build.result.nope)", json!(false)),
            ("steps['a-b'].result == null", json!(true)),
            ("{'k': [1, 2.5, null, true]}", json!({ "k": [1, 2.5, null, true] })),
            ("inputs.dir.matches('^s.c$')", json!(true)),
            ("inputs.big", json!(18_446_744_073_709_551_615_u64)),
            ("index == 0 ? 'first' : 'later'", json!("first")),
        ] {
            assert_eq!(evaluate(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_path_keeps_the_order_of_keys() {
        assert_eq!(evaluate("steps.build.result.z").unwrap().to_string(), r#"{"b":1,"a":2}"#);
    }

    #[test]
    fn a_missing_key_is_told_apart_from_other_faults() {
        for text in [
            "steps.build.result.nope",
            "steps.build.result.nope == 1",
            "steps.build.result.list[9]",
            "steps.build.result.list[9] == 1",
            "steps.a-b.result.x",
            "steps.a-b.result.x == 1",
            "steps.a-b.result['x'] == 1",
        ] {
            assert!(matches!(evaluate(text), Err(EvalError::Missing(_))), "{text}: {:?}", evaluate(text));
        }
        for text in ["inputs.dir + 1", "inputs.dir.x", "inputs.dir.x == 1", "1 / 0"] {
            assert!(matches!(evaluate(text), Err(EvalError::Failed(_))), "{text}: {:?}", evaluate(text));
        }
    }

    #[test]
    fn the_names_that_are_read_are_known() {
        let expr = expr("steps.build.content == inputs.dir || steps.build.status == steps.a-b.status").unwrap();
        assert_eq!(expr.steps(), [Arc::from("build"), Arc::from("a-b")]);
        assert!(expr.reads("inputs") && !expr.reads("item"));
    }

    #[test]
    fn the_members_that_are_read_are_known_unless_all_are() {
        let members = |text: &str, names: &[&str]| {
            let expr = expr(text).unwrap();
            expr.members(names).map(|names| names.into_iter().collect::<Vec<_>>().join(" "))
        };
        for (text, names, expected) in [
            ("inputs.dir + inputs.big.x", &["inputs"][..], Some("big dir")),
            ("inputs.dir in inputs", &["inputs"], None),
            ("inputs[item]", &["inputs"], None),
            ("steps.build.content == 'x' || steps.a-b.status == 'y'", &["steps", "build"], Some("content")),
            ("steps.build.content == 'x' || has(steps.a-b.result.z)", &["steps", "a-b"], Some("result")),
            ("size(steps.build) > 1 || steps.build.status == 'x'", &["steps", "build"], None),
            ("item", &["inputs"], Some("")),
        ] {
            assert_eq!(members(text, names).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_compile_has_a_place() {
        for (text, fault, offset) in [
            ("steps.build.content ==", Fault::Syntax, 22),
            ("1 +* 2", Fault::Syntax, 3),
            ("steps.a-b.status === 'x'", Fault::Syntax, 19),
            ("nope.x == 1", Fault::UnknownName, 0),
            ("nope", Fault::UnknownName, 0),
            ("true && inputs.x && itme.y", Fault::UnknownName, 20),
            ("frobnicate(inputs.x)", Fault::UnknownName, 0),
            ("", Fault::Syntax, 0),
            ("[1].map(steps, 1)", Fault::UnknownStep, 13),
        ] {
            let error = expr(text).unwrap_err();
            assert_eq!((error.fault, error.offset), (fault, offset), "{text}: {error:?}");
        }
    }

    #[test]
    fn a_variable_of_a_macro_is_no_unknown_name() {
        assert_eq!(evaluate("[1, 2].exists(x, x == 2)"), Ok(json!(true)));
        assert!(expr("[1, 2].exists(x, y == 2)").is_err());
    }

    #[test]
    fn cost_is_bounded_before_evaluation() {
        assert!(expr("[1].map(a, [1].map(b, [1].map(c, c)))").is_err());
        let square = "steps.list.result.map(a, steps.list.result.map(b, b))";
        assert!(matches!(evaluate(square), Err(EvalError::Failed(message)) if message.contains("too much work")));
        assert_eq!(evaluate("size(steps.list.result.map(a, a + 1))"), Ok(json!(2000)));
    }

    #[test]
    fn matching_is_bounded_before_it_begins() {
        let refused = |text: &str, item: Value| {
            let expr = Expr::parse(text, &Names { steps: &[], roots: &["item"] }).unwrap();
            let start = std::time::Instant::now();
            let outcome = expr.evaluate(json!({ "item": item }).as_object().unwrap());
            assert!(start.elapsed().as_secs() < 20, "{text}: {:?}", start.elapsed());
            outcome.map(|value| value.to_string()).map_err(|error| error.to_string())
        };
        let long = |count: usize| json!("a".repeat(count));
        for (text, item, what) in [
            ("item.matches(item)", long(100_000), "more than the limit of 4096"),
            ("item.matches('(a{100}){100}')", long(1_000_000), "too much work"),
            ("item.matches('(?:(?:a?){100}){100}b')", long(1_000_000), "too much work"),
            ("item.all(x, x.matches('^[a]*.*b?$'))", json!(vec!["a".repeat(200); 400_000]), "too much work"),
            (
                "item.exists(x, 'a'.matches(x + 'a?{50}'))",
                json!((0..50_000).map(|n| n.to_string()).collect::<Vec<_>>()),
                "too much work",
            ),
        ] {
            let error = refused(text, item).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
        assert_eq!(refused("item.matches('a[{(]?a{3,5}$')", long(1_000_000)), Ok("true".to_owned()));
        assert_eq!(refused("matches(item, '^b')", long(10)), Ok("false".to_owned()));
        let error = refused("item.matches('(secret')", long(10)).unwrap_err();
        assert!(error.contains("unclosed group") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_loop_over_a_long_list_takes_time_in_proportion() {
        let names = BTreeSet::new();
        let expr = Expr::parse("item.map(x, x + 1).filter(x, x > 5)", &Names { steps: &[&names], roots: &["item"] });
        let expr = expr.unwrap();
        let run = |count: u32| {
            let variables = json!({ "item": (0..count).collect::<Vec<u32>>() });
            let start = std::time::Instant::now();
            assert!(expr.evaluate(variables.as_object().unwrap()).is_ok());
            start.elapsed()
        };
        let (short, long) = (run(10_000), run(200_000));
        // Twenty times the items; a square would be four hundred times.
        assert!(long < (short + std::time::Duration::from_millis(2)) * 150, "{short:?} {long:?}");
    }

    #[test]
    fn deep_texts_are_refused_or_evaluated_on_a_small_stack() {
        let texts = [
            format!("1{}", "+1".repeat(190)),
            format!("{}true", "!".repeat(399)),
            format!("{}1{}", "(".repeat(190), ")".repeat(190)),
            format!("{}1{}", "[".repeat(190), "]".repeat(190)),
            format!("item{}", ".a".repeat(190)),
            format!("item{}", "[item".repeat(90) + &"]".repeat(90)),
            format!("{}1", "true?1:".repeat(90)),
            format!("1{}", "==1".repeat(190)),
            format!("{}1", "-".repeat(398)),
        ];
        let run = move || {
            for text in &texts {
                if let Ok(expr) = expr(text) {
                    let _ = expr.evaluate(&variables());
                }
            }
        };
        std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(run).unwrap().join().unwrap();
    }

    #[test]
    fn constants_are_known() {
        assert_eq!(expr("1 + 1").unwrap().constant(), Some(json!(2)));
        assert_eq!(expr("'yes'").unwrap().constant(), Some(json!("yes")));
        assert_eq!(expr("inputs.x == 1").unwrap().constant(), None);
        assert_eq!(expr("item").unwrap().constant(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~]{0,60}") {
            if let Ok(expr) = expr(&text) {
                let _ = expr.evaluate(&variables());
            }
        }

        #[test]
        fn no_mix_of_words_makes_it_panic(words in proptest::collection::vec(proptest::sample::select(vec![
            "steps.build", ".result", ".list", "[0]", "inputs", ".dir", "(", ")", "[", "]", "{", "}", "1", "-", "+", "!", "'a'", ",",
            "?", ":", "&&", "||", "==", "<", "in", ".map(x,", ".filter(x,", "x", "has(", "size(", "null", "true", "1.5", "%", "/", "*",
            ".exists(x,", ".all(x,", "\"", "'''", "\\", "`a`", "1u", "b'x'", "string(", "int(", "type(", "dyn(", "optional.of(", ".?a", "[?0]",
        ]), 0..14)) {
            if let Ok(expr) = expr(&words.concat()) {
                let _ = expr.evaluate(&variables());
            }
        }
    }
}
