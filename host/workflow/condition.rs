//! What decides whether a step runs, and what changes its texts: expressions, built-ins, closures, plugins.

use super::closure::{Changes, Decides};
use super::context::WorkflowContext;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{ConditionFn, TransformFn};
use cofferdam_core::transform as core;
use serde_json::{Value, json};
use std::sync::Arc;

/// Decides whether a step runs. A text is an expression: `.condition("steps.scan.content != ''")`.
#[derive(Clone)]
pub struct Condition(ConditionKind);

#[derive(Clone)]
enum ConditionKind {
    Expression(String),
    Closure(Arc<str>, Arc<dyn ConditionFn>),
    Registered(Arc<str>),
    Plugin { alias: String, options: Value, label: Option<String> },
}

impl Condition {
    /// A closure. Its name, not its code, stands in the document.
    pub fn closure<F, R>(name: impl Into<Arc<str>>, decide: F) -> Self
    where
        F: Fn(WorkflowContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<bool, Fault>> + Send + 'static,
    {
        Self(ConditionKind::Closure(name.into(), Arc::new(Decides(decide))))
    }

    /// A closure that [`crate::Builder::condition`] has under this name.
    pub fn registered(name: impl Into<Arc<str>>) -> Self {
        Self(ConditionKind::Registered(name.into()))
    }

    /// A plugin of the workflow, by its alias, with its options: an object, or null for none.
    ///
    /// ```
    /// use cofferdam::{Condition, Step};
    /// use serde_json::json;
    ///
    /// Step::new("refund").condition(Condition::plugin("route", json!({})).label("refunds"));
    /// ```
    #[must_use]
    pub fn plugin(alias: impl Into<String>, options: Value) -> Self {
        Self(ConditionKind::Plugin { alias: alias.into(), options, label: None })
    }

    /// What the step is called among those that the plugin chooses from: all steps of the same plugin and options that
    /// have a label. Other conditions have none.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let ConditionKind::Plugin { label, .. } = &mut self.0 {
            *label = Some(text.into());
        }
        self
    }

    pub(super) fn authored(&self) -> Value {
        match &self.0 {
            ConditionKind::Expression(text) => json!(text),
            ConditionKind::Plugin { alias, options, label } => {
                let mut table = by_plugin(alias, options);
                if let (Some(label), Value::Object(table)) = (label, &mut table) {
                    table.insert("label".to_owned(), json!(label));
                }
                table
            }
            ConditionKind::Closure(name, _) | ConditionKind::Registered(name) => json!({ "native": &**name }),
        }
    }

    pub(super) fn code(&self) -> Option<(&Arc<str>, &Arc<dyn ConditionFn>)> {
        match &self.0 {
            ConditionKind::Closure(name, code) => Some((name, code)),
            ConditionKind::Expression(_) | ConditionKind::Registered(_) | ConditionKind::Plugin { .. } => None,
        }
    }
}

fn by_plugin(alias: &str, options: &Value) -> Value {
    let mut table = json!({ "plugin": alias });
    if let (false, Value::Object(table)) = (options.is_null(), &mut table) {
        table.insert("options".to_owned(), options.clone());
    }
    table
}

impl From<&str> for Condition {
    fn from(expression: &str) -> Self {
        Self(ConditionKind::Expression(expression.to_owned()))
    }
}

impl From<String> for Condition {
    fn from(expression: String) -> Self {
        Self(ConditionKind::Expression(expression))
    }
}

/// Changes a text on its way into a step or out of it.
#[derive(Clone)]
pub struct Transform(TransformKind);

#[derive(Clone)]
enum TransformKind {
    BuiltIn(core::Transform),
    Closure(Arc<str>, Arc<dyn TransformFn>),
    Plugin { alias: String, options: Value },
}

impl Transform {
    /// A closure. Its name, not its code, stands in the document. It may run again when a step is tried again.
    pub fn closure<F, R>(name: impl Into<Arc<str>>, change: F) -> Self
    where
        F: Fn(WorkflowContext, String) -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, Fault>> + Send + 'static,
    {
        Self(TransformKind::Closure(name.into(), Arc::new(Changes(change))))
    }

    /// A closure that [`crate::Builder::transform`] has under this name.
    pub fn registered(name: impl Into<Arc<str>>) -> Self {
        Self(TransformKind::BuiltIn(core::Transform::Native(name.into())))
    }

    /// A plugin of the workflow, by its alias, with its options: an object, or null for none.
    #[must_use]
    pub fn plugin(alias: impl Into<String>, options: Value) -> Self {
        Self(TransformKind::Plugin { alias: alias.into(), options })
    }

    pub(super) fn authored(&self) -> Value {
        use core::Transform as Of;
        match &self.0 {
            TransformKind::Plugin { alias, options } => by_plugin(alias, options),
            TransformKind::Closure(name, _) | TransformKind::BuiltIn(Of::Native(name)) => json!({ "native": &**name }),
            TransformKind::BuiltIn(Of::Trim) => json!("trim"),
            TransformKind::BuiltIn(Of::Upper) => json!("upper"),
            TransformKind::BuiltIn(Of::Lower) => json!("lower"),
            TransformKind::BuiltIn(Of::Truncate(most)) => json!({ "truncate": most }),
            TransformKind::BuiltIn(Of::Json) => json!("json"),
            TransformKind::BuiltIn(Of::FirstLine) => json!("first-line"),
            TransformKind::BuiltIn(Of::Plugin { plugin, options }) => {
                json!({ "plugin": plugin.as_str(), "options": options })
            }
        }
    }

    pub(super) fn code(&self) -> Option<(&Arc<str>, &Arc<dyn TransformFn>)> {
        match &self.0 {
            TransformKind::Closure(name, code) => Some((name, code)),
            TransformKind::BuiltIn(_) | TransformKind::Plugin { .. } => None,
        }
    }
}

/// A built-in transform.
impl From<core::Transform> for Transform {
    fn from(transform: core::Transform) -> Self {
        Self(TransformKind::BuiltIn(transform))
    }
}
