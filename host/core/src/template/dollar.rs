//! Tables in which a text that begins with `$` is an expression that gives text, and everything else is what it is:
//! the arguments of tools as zenflow writes them.

use super::{Compiler, Error, Inner, Node, Place, Room, Template};
use crate::expr::{self, EvalError, Expr, ExprError, Fault, Names};
use crate::value::{self, Map};
use serde_json::Value;
use std::sync::Arc;

/// An expression that gives text.
pub(super) struct Dollar(Expr);

impl Template {
    /// Whether a `$` before a text marks it as an expression.
    #[must_use]
    pub fn has_signs(&self) -> bool {
        self.inner.signs
    }

    /// Compiles the members of a table; what is nested deeper is no template.
    pub(crate) fn compile_dollar(source: &Value, names: &Names<'_>) -> (Self, Vec<Error>) {
        let mut compiler = Compiler { names, place: Vec::new(), reads: Vec::new(), errors: Vec::new() };
        let members = source.as_object().into_iter().flatten();
        let root = members.map(|(key, value)| (key.clone(), compiler.dollar(key, value))).collect();
        let steps = expr::steps_of(compiler.reads.iter().flat_map(|(_, paths)| paths));
        let inner =
            Inner { source: source.clone(), root: Some(Node::Map(root)), steps, reads: compiler.reads, signs: true };
        (Self { inner: Arc::new(inner) }, compiler.errors)
    }
}

impl Compiler<'_> {
    fn dollar(&mut self, key: &str, value: &Value) -> Node {
        let text = value.as_str().and_then(|text| text.strip_prefix('$'));
        let Some(text) = text else { return Node::Constant(value.clone()) };
        // Two signs are one, and what follows is no expression.
        if text.starts_with('$') {
            return Node::Constant(text.into());
        }
        let place = vec![Place::Key(key.to_owned())];
        match Expr::parse(text, self.names).map_err(behind_the_sign).and_then(gives_text) {
            Ok(expression) => {
                let mut paths = expression.paths().to_vec();
                for path in &mut paths {
                    path.offset += 1;
                    path.segments.iter_mut().for_each(|segment| segment.offset += 1);
                }
                self.reads.push((place, paths));
                Node::Dollar(Dollar(expression))
            }
            Err(error) => {
                self.errors.push(Error { place, error });
                Node::Constant(Value::Null)
            }
        }
    }
}

fn behind_the_sign(mut error: ExprError) -> ExprError {
    error.offset += 1;
    error
}

fn gives_text(expression: Expr) -> Result<Expr, ExprError> {
    match expression.constant() {
        Some(value) if !value.is_string() => {
            let message = format!("the expression gives {}, and text is needed", value::describe(&value));
            Err(ExprError::new(Fault::Syntax, 1, message).with_hint("write other values without `$`"))
        }
        _ => Ok(expression),
    }
}

impl Dollar {
    pub(super) fn render(&self, variables: &Map, room: &mut Room) -> Result<Value, EvalError> {
        let value = self.0.evaluate(variables)?;
        let Some(text) = value.as_str() else {
            let message = format!("`${}` gives {}, and text is needed", self.0.source(), value::describe(&value));
            return Err(EvalError::Failed(message));
        };
        room.take(text.len())?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn compile(source: &Value) -> (Template, Vec<Error>) {
        let steps: BTreeSet<Arc<str>> = [Arc::from("find-config")].into();
        Template::compile_dollar(source, &Names { steps: &[&steps], roots: &["steps"] })
    }

    #[test]
    fn texts_behind_the_sign_are_expressions_and_nothing_else_is() {
        let (template, errors) = compile(&json!({
            "path": "$steps[\"find-config\"].content", "same": "$steps.find-config.content + '!'",
            "plain": "{{ no template }}", "price": "$$5 $x", "number": 5, "nested": { "text": "$steps.x" },
        }));
        assert_eq!(errors, []);
        assert_eq!(template.steps(), [Arc::from("find-config")]);
        let variables = json!({ "steps": { "find-config": { "content": "a.toml", "result": 5 } } });
        let rendered = template.render(variables.as_object().unwrap());
        let wanted = json!({
            "path": "a.toml", "same": "a.toml!", "plain": "{{ no template }}", "price": "$5 $x", "number": 5, "nested": { "text": "$steps.x" },
        });
        assert_eq!(rendered, Ok(wanted));
        let (template, _) = compile(&json!({ "path": "$steps.find-config.result" }));
        let failed = template.render(variables.as_object().unwrap());
        assert!(matches!(failed, Err(EvalError::Failed(message)) if message.contains("text is needed")));
    }

    #[test]
    fn mistakes_have_their_places() {
        for (text, fault, offset) in
            [("$nope", Fault::UnknownName, 1), ("$1 + 1", Fault::Syntax, 1), ("$", Fault::Syntax, 1)]
        {
            let (_, errors) = compile(&json!({ "path": text }));
            assert_eq!((errors[0].error.fault, errors[0].error.offset), (fault, offset), "{text}");
        }
    }
}
