//! What decides whether a step runs, and what changes its texts: expressions, built-ins, closures.

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

    pub(super) fn authored(&self) -> Value {
        match &self.0 {
            ConditionKind::Expression(text) => json!(text),
            ConditionKind::Closure(name, _) | ConditionKind::Registered(name) => json!({ "native": &**name }),
        }
    }

    pub(super) fn code(&self) -> Option<(&Arc<str>, &Arc<dyn ConditionFn>)> {
        match &self.0 {
            ConditionKind::Closure(name, code) => Some((name, code)),
            ConditionKind::Expression(_) | ConditionKind::Registered(_) => None,
        }
    }
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

    pub(super) fn authored(&self) -> Value {
        use core::Transform as Of;
        match &self.0 {
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
            TransformKind::BuiltIn(_) => None,
        }
    }
}

/// A built-in transform.
impl From<core::Transform> for Transform {
    fn from(transform: core::Transform) -> Self {
        Self(TransformKind::BuiltIn(transform))
    }
}
