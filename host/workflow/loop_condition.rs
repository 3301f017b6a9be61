//! What decides whether a loop goes on: conditions ready to use, closures, expressions.
//!
//! **True means: go on.** A condition is asked before each iteration, also the first, and is stateless: what has
//! happened comes in as a [`LoopView`]. So `output_contains("APPROVED")` goes on *until* the output contains it.

use super::closure::GoesOn;
use super::context::WorkflowContext;
use super::distance::change;
use crate::error::Error;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, LoopFn, LoopView, RunContext};
use regex::Regex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Decides whether a loop goes on. Conditions that are ready to use are named after themselves and their arguments, since
/// the name stands for the code in the document: another argument is another version of the workflow.
#[derive(Clone)]
pub struct LoopCondition {
    name: Arc<str>,
    check: Arc<dyn LoopFn>,
}

/// Goes on until an iteration's output contains the text.
#[must_use]
pub fn output_contains(text: impl Into<String>) -> LoopCondition {
    let text = text.into();
    let name = format!("output_contains({text:?})");
    on_view(name, move |view| last(view).is_none_or(|output| !output.contains(&text)))
}

/// Goes on until an iteration's output matches the regular expression.
///
/// # Errors
/// When it is not a regular expression.
pub fn output_matches(pattern: &str) -> Result<LoopCondition, Error> {
    let regex = Regex::new(pattern)
        .map_err(|error| Error::Settings(format!("`{pattern}` is not a regular expression: {error}")))?;
    let name = format!("output_matches({pattern:?})");
    Ok(on_view(name, move |view| last(view).is_none_or(|output| !regex.is_match(output))))
}

/// Goes on while the iterations have taken fewer tokens than this. The iteration that reaches the number is the last.
#[must_use]
pub fn max_tokens(tokens: u64) -> LoopCondition {
    on_view(format!("max_tokens({tokens})"), move |view| view.usage.total() < tokens)
}

/// Goes on while the loop has taken less time than this. An iteration under way is not stopped.
#[must_use]
pub fn max_duration(most: Duration) -> LoopCondition {
    on_view(format!("max_duration({most:?})"), move |view| view.elapsed < most)
}

/// Goes on until an iteration's output differs from that of the one before it in no more than this part of its length,
/// by edit distance: with 0.1, until at most a tenth changed. Long outputs that differ in many places are compared by the
/// words that they have, wherever they stand.
#[must_use]
pub fn convergence(threshold: f64) -> LoopCondition {
    on_view(format!("convergence({threshold})"), move |view| match view.outputs.as_slice() {
        [.., before, last] => change(&before.content, &last.content) > threshold,
        _ => true,
    })
}

/// Goes on while both do; the second is asked only if the first goes on.
#[must_use]
pub fn and(first: LoopCondition, second: LoopCondition) -> LoopCondition {
    LoopCondition {
        name: format!("and({}, {})", first.name, second.name).into(),
        check: Arc::new(Both { first: first.check, second: second.check, when: true }),
    }
}

/// Goes on while one of them does; the second is asked only if the first does not go on.
#[must_use]
pub fn or(first: LoopCondition, second: LoopCondition) -> LoopCondition {
    LoopCondition {
        name: format!("or({}, {})", first.name, second.name).into(),
        check: Arc::new(Both { first: first.check, second: second.check, when: false }),
    }
}

/// Goes on while the other does not.
#[must_use]
pub fn not(condition: LoopCondition) -> LoopCondition {
    LoopCondition { name: format!("not({})", condition.name).into(), check: Arc::new(Not(condition.check)) }
}

/// A closure: true = go on.
pub fn custom<F, R>(name: impl Into<Arc<str>>, go_on: F) -> LoopCondition
where
    F: Fn(WorkflowContext, LoopView) -> R + Send + Sync + 'static,
    R: Future<Output = Result<bool, Fault>> + Send + 'static,
{
    LoopCondition { name: name.into(), check: Arc::new(GoesOn(go_on)) }
}

fn on_view(name: String, check: impl Fn(&LoopView) -> bool + Send + Sync + 'static) -> LoopCondition {
    LoopCondition { name: name.into(), check: Arc::new(OnView(check)) }
}

fn last(view: &LoopView) -> Option<&str> {
    view.outputs.last().map(|output| &*output.content)
}

struct OnView<F>(F);

impl<F: Fn(&LoopView) -> bool + Send + Sync> LoopFn for OnView<F> {
    fn go_on(&self, _: Arc<dyn RunContext>, so_far: LoopView) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(std::future::ready(Ok((self.0)(&so_far))))
    }
}

/// Two conditions; the second is asked when the first says `when`.
struct Both {
    first: Arc<dyn LoopFn>,
    second: Arc<dyn LoopFn>,
    when: bool,
}

impl LoopFn for Both {
    fn go_on(&self, ctx: Arc<dyn RunContext>, so_far: LoopView) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(async move {
            let first = self.first.go_on(Arc::clone(&ctx), so_far.clone()).await?;
            if first == self.when { self.second.go_on(ctx, so_far).await } else { Ok(first) }
        })
    }
}

struct Not(Arc<dyn LoopFn>);

impl LoopFn for Not {
    fn go_on(&self, ctx: Arc<dyn RunContext>, so_far: LoopView) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(async move { self.0.go_on(ctx, so_far).await.map(|goes_on| !goes_on) })
    }
}

/// What [`super::Flow::set_loop_condition`] takes: a [`LoopCondition`], or the text of an expression.
#[derive(Clone)]
pub struct LoopCheck(CheckKind);

#[derive(Clone)]
enum CheckKind {
    Expression(String),
    Condition(LoopCondition),
    Registered(Arc<str>),
}

impl LoopCheck {
    /// A condition that [`crate::Builder::loop_condition`] has under this name.
    pub fn registered(name: impl Into<Arc<str>>) -> Self {
        Self(CheckKind::Registered(name.into()))
    }

    pub(super) fn authored(&self) -> Value {
        match &self.0 {
            CheckKind::Expression(text) => json!(text),
            CheckKind::Condition(LoopCondition { name, .. }) | CheckKind::Registered(name) => {
                json!({ "native": &**name })
            }
        }
    }

    pub(super) fn code(&self) -> Option<(&Arc<str>, &Arc<dyn LoopFn>)> {
        match &self.0 {
            CheckKind::Condition(condition) => Some((&condition.name, &condition.check)),
            CheckKind::Expression(_) | CheckKind::Registered(_) => None,
        }
    }
}

impl From<LoopCondition> for LoopCheck {
    fn from(condition: LoopCondition) -> Self {
        Self(CheckKind::Condition(condition))
    }
}

impl From<&str> for LoopCheck {
    fn from(expression: &str) -> Self {
        Self(CheckKind::Expression(expression.to_owned()))
    }
}

impl LoopCondition {
    pub(crate) fn into_check(self) -> Arc<dyn LoopFn> {
        self.check
    }
}
