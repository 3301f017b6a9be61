//! Templates: JSON whose strings are rendered from a run's data.
//!
//! A string that is exactly one `{{ expression }}` becomes the value of the expression, of whatever type; in mixed
//! text, strings stand as they are and other values as compact JSON. What data contains is never read as a template.

mod cost;
mod dollar;
mod guard;
mod hole;
mod jinja;
mod room;

use crate::expr::scan::Path;
use crate::expr::{self, EvalError, ExprError, Names};
use crate::limits;
use crate::value::Map;
use hole::Text;
use room::Room;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A compiled template. Cheap to clone.
#[derive(Clone)]
pub struct Template {
    inner: Arc<Inner>,
}

struct Inner {
    source: Value,
    /// None when no string of it is a template: the source is the result.
    root: Option<Node>,
    steps: Vec<Arc<str>>,
    /// What each string reads, with the string's own path in the tree.
    reads: Vec<(Vec<Place>, Vec<Path>)>,
    /// Texts are marked as expressions by a sign before them, not by braces.
    signs: bool,
}

enum Node {
    Constant(Value),
    Text(Text),
    Dollar(dollar::Dollar),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Where in a tree a string stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under a key.
    Key(String),
    /// At an index.
    Index(usize),
}

/// A string that is no template, and where in the tree it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Error {
    /// The string's place.
    pub place: Vec<Place>,
    /// What is wrong with it; the offset counts from the start of the string.
    pub error: ExprError,
}

impl Template {
    /// Compiles all strings of a tree, once.
    ///
    /// # Errors
    /// All strings that do not compile.
    pub fn parse(source: &Value, names: &Names<'_>) -> Result<Self, Vec<Error>> {
        let (template, errors) = Self::compile(source, names);
        if errors.is_empty() { Ok(template) } else { Err(errors) }
    }

    /// Compiles what compiles, so that a loader can go on looking for other faults.
    pub(crate) fn compile(source: &Value, names: &Names<'_>) -> (Self, Vec<Error>) {
        let mut compiler = Compiler { names, place: Vec::new(), reads: Vec::new(), errors: Vec::new() };
        let root = has_templates(source).then(|| compiler.node(source));
        let steps = expr::steps_of(compiler.reads.iter().flat_map(|(_, paths)| paths));
        let inner = Inner { source: source.clone(), root, steps, reads: compiler.reads, signs: false };
        (Self { inner: Arc::new(inner) }, compiler.errors)
    }

    /// Compiles one text.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn text(source: &str, names: &Names<'_>) -> Result<Self, ExprError> {
        Self::parse(&Value::String(source.to_owned()), names).map_err(|errors| {
            let first = errors.into_iter().next().expect("a failed compilation names at least one fault");
            first.error
        })
    }

    /// A tree that is what it is: no string of it is read as a template.
    #[must_use]
    pub fn constant(source: Value) -> Self {
        Self { inner: Arc::new(Inner { source, root: None, steps: Vec::new(), reads: Vec::new(), signs: false }) }
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &Value {
        &self.inner.source
    }

    /// Whether rendering gives the source, whatever the variables are.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.inner.root.is_none()
    }

    /// The ids of the steps it reads, each once, in the order written.
    #[must_use]
    pub fn steps(&self) -> &[Arc<str>] {
        &self.inner.steps
    }

    /// What each string of the tree reads, with the string's place.
    pub fn paths(&self) -> impl Iterator<Item = (&[Place], &[Path])> {
        self.inner.reads.iter().map(|(place, paths)| (place.as_slice(), paths.as_slice()))
    }

    /// Whether it reads a root variable (`inputs`, `item`, ...).
    #[must_use]
    pub fn reads(&self, root: &str) -> bool {
        self.inner.reads.iter().flat_map(|(_, paths)| paths).any(|path| &*path.root == root)
    }

    /// The members that it reads of what the names lead to, such as `["steps", "build"]`; none = all of them.
    #[must_use]
    pub fn members(&self, names: &[&str]) -> Option<BTreeSet<&str>> {
        expr::members(self.inner.reads.iter().flat_map(|(_, paths)| paths), names)
    }

    /// Renders it over the given variables.
    ///
    /// # Errors
    /// When something that it reads is missing, or it costs too much.
    pub fn render(&self, variables: &Map) -> Result<Value, EvalError> {
        match &self.inner.root {
            None => Ok(self.inner.source.clone()),
            Some(root) => root.render(variables, &mut Room::new(limits::TEMPLATE_BYTES)),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.inner.source).finish()
    }
}

/// Whether any string of it is a template.
pub(crate) fn has_templates(value: &Value) -> bool {
    match value {
        Value::String(text) => hole::is_template(text),
        Value::Array(items) => items.iter().any(has_templates),
        Value::Object(map) => map.values().any(has_templates),
        _ => false,
    }
}

struct Compiler<'n> {
    names: &'n Names<'n>,
    place: Vec<Place>,
    reads: Vec<(Vec<Place>, Vec<Path>)>,
    errors: Vec<Error>,
}

impl Compiler<'_> {
    fn node(&mut self, value: &Value) -> Node {
        match value {
            Value::String(text) if hole::is_template(text) => match Text::parse(text, self.names) {
                Ok((text, paths)) => {
                    self.reads.push((self.place.clone(), paths));
                    Node::Text(text)
                }
                Err(error) => {
                    self.errors.push(Error { place: self.place.clone(), error });
                    Node::Constant(Value::Null)
                }
            },
            Value::Array(items) if has_templates(value) => {
                let item = |(index, item)| self.at(Place::Index(index), item);
                Node::List(items.iter().enumerate().map(item).collect())
            }
            Value::Object(map) if has_templates(value) => {
                let member = |(key, member): (&String, &Value)| (key.clone(), self.at(Place::Key(key.clone()), member));
                Node::Map(map.iter().map(member).collect())
            }
            constant => Node::Constant(constant.clone()),
        }
    }

    fn at(&mut self, place: Place, value: &Value) -> Node {
        self.place.push(place);
        let node = self.node(value);
        self.place.pop();
        node
    }
}

impl Node {
    fn render(&self, variables: &Map, room: &mut Room) -> Result<Value, EvalError> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Text(text) => text.render(variables, room)?,
            Self::Dollar(expression) => expression.render(variables, room)?,
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.render(variables, room)).collect::<Result<_, _>>()?)
            }
            Self::Map(members) => {
                let mut map = Map::new();
                for (key, member) in members {
                    map.insert(key.clone(), member.render(variables, room)?);
                }
                Value::Object(map)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Fault;
    use serde_json::json;

    fn parse(source: &Value) -> Result<Template, Vec<Error>> {
        let steps: BTreeSet<Arc<str>> = ["list", "a-b"].into_iter().map(Arc::from).collect();
        Template::parse(source, &Names { steps: &[&steps], roots: &["steps", "inputs", "item", "index"] })
    }

    fn render(source: &Value) -> Result<Value, EvalError> {
        let variables = json!({
            "steps": {
                "list": { "content": "two files", "result": { "files": ["a.rs", "b.rs"], "z": { "b": 1, "a": null } } },
                "a-b": { "content": "{{ inputs.secret }}", "result": 5 },
            },
            "inputs": { "dir": "src", "deep": true, "secret": "s", "n": 2.5 },
            "item": "x.md",
        });
        parse(source).map_err(|errors| EvalError::Failed(format!("{errors:?}")))?.render(variables.as_object().unwrap())
    }

    #[test]
    fn a_lone_expression_keeps_its_type() {
        for (source, expected) in [
            ("{{ steps.list.result.files }}", json!(["a.rs", "b.rs"])),
            ("{{steps.a-b.result}}", json!(5)),
            ("{{ inputs.deep }}", json!(true)),
            ("{{ steps.list.result.z }}", json!({ "b": 1, "a": null })),
            ("{{ steps.a-b.result + 1 }}", json!(6)),
            ("{{ inputs.n * 2 }}", json!(5.0)),
            ("{{ steps.list.result.files | length }}", json!(2)),
            ("{{ {'x': steps.a-b.result, 'y': [item]} }}", json!({ "x": 5, "y": ["x.md"] })),
            ("{{ steps.list.result.files[1] }}", json!("b.rs")),
            ("{{ none }}", json!(null)),
            ("{{ '}}' }}", json!("}}")),
        ] {
            assert_eq!(render(&json!(source)), Ok(expected), "{source}");
        }
    }

    #[test]
    fn mixed_text_has_strings_as_they_are_and_other_values_as_json() {
        for (source, expected) in [
            ("dir={{ inputs.dir }}", "dir=src"),
            ("{{ steps.list.result.z }} {{ inputs.deep }}", r#"{"b":1,"a":null} true"#),
            (" {{ steps.list.result.files }}", r#" ["a.rs","b.rs"]"#),
            ("{% for f in steps.list.result.files %}- {{ f }}\n{% endfor %}", "- a.rs\n- b.rs\n"),
            ("{% if inputs.deep %}{{ steps.list.result.z }}{% endif %}", r#"{"b":1,"a":null}"#),
            ("{# a remark #}x", "x"),
            ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
            ("a {{- inputs.dir }}", "asrc"),
            ("<{{ inputs.dir }}&>\n", "<src&>\n"),
        ] {
            assert_eq!(render(&json!(source)), Ok(json!(expected)), "{source}");
        }
    }

    #[test]
    fn data_is_never_read_as_a_template() {
        assert_eq!(render(&json!("{{ steps.a-b.content }}")), Ok(json!("{{ inputs.secret }}")));
        assert_eq!(render(&json!("<{{ steps.a-b.content }}>")), Ok(json!("<{{ inputs.secret }}>")));
        let block = "{% if true %}{{ steps.a-b.content }}{% endif %}";
        assert_eq!(render(&json!(block)), Ok(json!("{{ inputs.secret }}")));
    }

    #[test]
    fn a_tree_is_rendered_in_place() {
        let source = json!({ "path": "{{ item }}", "options": { "deep": "{{ inputs.deep }}", "n": 1 }, "list": ["a", "{{ item }}"] });
        let expected = json!({ "path": "x.md", "options": { "deep": true, "n": 1 }, "list": ["a", "x.md"] });
        let template = parse(&source).unwrap();
        assert_eq!(render(&source), Ok(expected));
        assert!(
            template.reads("inputs") && template.reads("item") && !template.reads("index") && !template.is_constant()
        );
        assert_eq!(template.paths().map(|(place, _)| place.len()).collect::<Vec<_>>(), [1, 2, 2]);
        assert!(parse(&json!({ "a": [1, "plain { text }"] })).unwrap().is_constant());
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let sources = [
            "{{ steps.list.result.nope }}",
            "x {{ steps.list.result.nope }}",
            "{{ steps.list.result.nope | upper }}",
            "{{ inputs.nope.deeper }}",
            "{{ index }}",
            "{{ inputs.nope ~ '' }}",
            "{% if true %}{{ inputs.nope }}{% endif %}",
            "{% for x in inputs.nope %}{% endfor %}",
        ];
        for source in sources {
            let rendered = render(&json!(source));
            assert!(matches!(rendered, Err(EvalError::Missing(_))), "{source}: {rendered:?}");
        }
        assert_eq!(render(&json!("{{ inputs.nope | default('d') }}")), Ok(json!("d")));
    }

    #[test]
    fn what_does_not_compile_has_a_place() {
        for (source, fault, offset) in [
            ("{{ steps.lst.content }}", Fault::UnknownStep, 9),
            ("ab {{ nope }}", Fault::UnknownName, 6),
            ("{{ item | shout }}", Fault::UnknownName, 10),
            ("{{ item", Fault::Syntax, 0),
            ("{{ 1 + }}", Fault::Syntax, 5),
            ("{{ }}", Fault::Syntax, 2),
            ("x {% if item %}", Fault::Syntax, 13),
            ("{% for f in steps.nope.result %}{% endfor %}", Fault::UnknownStep, 18),
            ("{% if nope %}{% endif %}", Fault::UnknownName, 6),
            ("{% include 'x' %}", Fault::Syntax, 3),
        ] {
            let errors = parse(&json!([source])).unwrap_err();
            let error = &errors[0].error;
            assert_eq!((error.fault, error.offset), (fault, offset), "{source}: {error:?}");
            assert_eq!(errors[0].place, [Place::Index(0)]);
        }
    }

    #[test]
    fn all_faults_of_a_tree_are_found() {
        assert_eq!(parse(&json!({ "a": "{{ x }}", "b": ["{{ y }}", "{{ item }}"] })).unwrap_err().len(), 2);
    }

    #[test]
    fn a_template_that_runs_for_long_is_stopped() {
        let source = "{% for a in range(9000) %}{% for b in range(9000) %}x{% endfor %}{% endfor %}";
        assert!(matches!(render(&json!(source)), Err(EvalError::Failed(_))));
    }

    #[test]
    fn no_template_outgrows_the_bound() {
        let doubling = |operator: &str| {
            let set = format!("{{% set x = x {operator} x %}}");
            format!("{{% set x = 'xxxxxxxx' %}}{}{{{{ x | length }}}}", set.repeat(40))
        };
        let nested = format!("{{% set x = ['xxxxxxxx'] %}}{}", "{% set x = [x, x] %}".repeat(40));
        let sources = [
            "{{ range(100000)|list|join('x'*400)|replace('x','y'*52)|replace('y','y'*52) }}".to_owned(),
            format!("{{{{ range(100000)|list|join('{}')|replace('x','{0}')|replace('x','{0}') }}}}", "x".repeat(100)),
            "{{ '%1000000000s'|format('x') }}".into(),
            "{{ '%*s'|format(1000000000, 'x') }}".into(),
            "{{ '%.1000000000f'|format(1.5) }}".into(),
            "{{ ('x'*10000000) ~ ('x'*100000000) }}".into(),
            "{{ 100000000 * 'x' }}".into(),
            "{{ [1] * 100000000 }}".into(),
            "{{ 2 * (100000000 * ('x')) }}".into(),
            "{{ (item|upper * 100000000)|length }}".into(),
            "{{ 'x'|indent(2000000000) }}".into(),
            "{{ 'x\n'|indent(width=2000000000, first=true) }}".into(),
            "{{ [1]|tojson(indent=2000000000) }}".into(),
            "{{ [1]|tojson(2000000000) }}".into(),
            "{{ [1]|batch(1000000000, 'x')|list|length }}".into(),
            "{{ [1]|slice(1000000000)|list|length }}".into(),
            "{{ range(100000)|map('indent', 100000)|list|length }}".into(),
            "{{ ['x']|map('__map', 'upper')|list }}".into(),
            "{{ range(100000)|map('string')|join('xxxxxxxxxx'|replace('x', 'yyyyyyyyyyyyyyyyyyyyyyyyyyyy')) }}".into(),
            format!("{{{{ [{}]|length }}}}", "range(100000)|list,".repeat(40)),
            format!("{{% for a in range(9000) %}}{}{{% endfor %}}", "x".repeat(10_000)),
            format!("{{% for a in range(9000) %}}{{{{ '{}' }}}}{{% endfor %}}", "x".repeat(1_000)).repeat(8),
            format!("{nested}{{{{ x }}}}"),
            format!("{nested}{{{{ x ~ '' }}}}"),
            format!("{nested}{{{{ x | string | length }}}}"),
            format!("{nested}{{{{ x | tojson | length }}}}"),
            doubling("~"),
            doubling("+"),
            doubling("|string ~"),
            doubling("[0:] ~"),
            "{% set ns = namespace(x='x') %}{% for a in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}".into(),
            "{% set x %}{% for a in range(90000) %}xxxxxxxx{% endfor %}{% endset %}{{ x | length }}".into(),
            "{% filter upper %}{% for a in range(90000) %}xxxxxxxx{% endfor %}{% endfilter %}".into(),
        ];
        for source in sources {
            let rendered = render(&json!(source));
            assert!(matches!(rendered, Err(EvalError::Failed(_))), "{source:.120}");
        }
    }

    #[test]
    fn many_copies_of_large_data_are_refused() {
        let variables = json!({ "item": "x".repeat(3_000_000) });
        for source in [
            json!("{{ item }} ".repeat(10)),
            json!(vec!["{{ item }}"; 10]),
            json!(format!("{{{{ [{}] }}}}", "item[0:],".repeat(30))),
            json!(format!("{{{{ [{}] | length }}}}", "item | upper,".repeat(30))),
            json!("{{ item | list | length }}"),
            json!("{{ item | split('') | length }}"),
        ] {
            let rendered = parse(&source).unwrap().render(variables.as_object().unwrap());
            assert!(matches!(rendered, Err(EvalError::Failed(_))), "{source:.60}");
        }
        let once = parse(&json!("{{ item | upper ~ '!' }}")).unwrap().render(variables.as_object().unwrap());
        assert_eq!(once.unwrap().as_str().map(str::len), Some(3_000_001));
    }

    #[test]
    fn operators_and_filters_still_compute() {
        for (source, expected) in [
            ("{{ (1 + 2 * 3) ~ 'x' ~ -inputs.n * 2 }}", json!("7x-5.0")),
            ("{{ 2 ** 3 * steps.a-b.result + 1 }}", json!(41)),
            ("{{ [1] + steps.list.result.files }}", json!([1, "a.rs", "b.rs"])),
            ("{{ (inputs.dir + '/' + item)[0:3] }}", json!("src")),
            ("{{ steps.list.result.files[0] ~ item[:1].y | default('d') }}", json!("a.rsd")),
            ("{{ steps.list.result.files | map('upper') | join(', ') }}", json!("A.RS, B.RS")),
            ("{{ 'a' 'b' ~ 'c' is string }}", json!("abTrue")),
            ("{{ steps.list.result.files | map('replace', '.', '-') | list }}", json!(["a-rs", "b-rs"])),
            ("{{ 'a\nb' | indent(width=2) }}", json!("a\n  b")),
            ("{{ '%s-%3d' | format(item, 5) }}", json!("x.md-  5")),
            ("{{ [3, 1, 2] | sort(reverse=true) | join }}", json!("321")),
            ("{%+ if inputs.n * 2 == 5 %}{{+ item +}}{% endif %}", json!("x.md")),
        ] {
            assert_eq!(render(&json!(source)), Ok(expected), "{source}");
        }
    }

    #[test]
    fn a_letter_outside_of_text_is_a_fault() {
        for source in ["{{ item*item | \u{e9}0.1join(', ') }}", "{{ item ~ \u{e9}[0:1] }}", "{{ \u{1f642} + item }}"] {
            assert!(parse(&json!(source)).is_err(), "{source}");
        }
    }

    #[test]
    fn deep_templates_do_not_overflow_a_small_stack() {
        let sources = [
            format!("{{{{ {}1 }}}}", "-".repeat(390)),
            format!("{{{{ {}true }}}}", "not ".repeat(250)),
            format!("{{{{ {}1{} }}}}", "(".repeat(190), ")".repeat(190)),
            format!("{{{{ {}1{} }}}}", "[".repeat(140), "]".repeat(140)),
            format!("{{{{ 1{} }}}}", "+1".repeat(190)),
            format!("{{{{ item{} }}}}", ".a".repeat(190)),
            format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(80)),
            format!("{}{}", "{% if true %}".repeat(60), "{% endif %}".repeat(60)),
            format!("{}{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000)),
            "{{ item }} ".repeat(20_000),
            "{{".repeat(100_000),
            "{%".repeat(100_000),
            "{#".repeat(100_000),
        ];
        let run = move || {
            for source in sources {
                let _ = render(&json!(source));
            }
        };
        std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(run).unwrap().join().unwrap();
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(words in proptest::collection::vec(proptest::sample::select(vec![
            "{{", "}}", "{%", "%}", "{#", "#}", " ", "steps.a-b", ".result", "item", "if ", "endif", "for x in ", "endfor", "'", "\"", "\\",
            "[", "]", "(", ")", "{", "}", "|", "upper", "join", "-", "+", "1", ":", ",", "is ", "not ", "raw", "endraw", "set ", "=", "é", "macro ",
        ]), 0..16)) {
            let _ = render(&json!(words.concat()));
        }
    }
}
