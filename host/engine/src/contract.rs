//! The laws that every transform, condition, mailbox store and sink must hold, as suites that any implementation can run: a component, ours,
//! an embedder's.
//!
//! An implementation is held against them by options that say what it shall do: [`Mirror`] is a native one, and the
//! guest `mirror` of the tests is the same as a component. A broken law is told by its name.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! cofferdam_engine::contract::transform(&cofferdam_engine::contract::Mirror).await?;
//! cofferdam_engine::contract::condition(&cofferdam_engine::contract::Mirror).await
//! # }).unwrap();
//! ```

mod condition;
mod mailbox;
mod mirror;
mod sample_run;
mod sink;
mod transform;

pub use mirror::Mirror;

use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::port::{BoxFuture, Condition, MailboxStore, PureContext, Recorder, Sink, Transform};
use cofferdam_core::time::Timestamp;
use cofferdam_core::value::Map;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::sync::Arc;

/// What a law found: nothing to say, or what is wrong.
type Verdict = Result<(), String>;

/// A law with the sentence that it is.
struct Law<T: ?Sized + 'static> {
    sentence: &'static str,
    holds: for<'a> fn(&'a T) -> BoxFuture<'a, Verdict>,
}

/// Runs all laws of transforms.
///
/// # Errors
/// The first law that does not hold, and what was found instead.
pub async fn transform(transform: &(dyn Transform + 'static)) -> Result<(), String> {
    for law in transform::LAWS {
        (law.holds)(transform).await.map_err(|found| format!("{}: {found}", law.sentence))?;
    }
    Ok(())
}

/// Runs all laws of conditions.
///
/// # Errors
/// The first law that does not hold, and what was found instead.
pub async fn condition(condition: &(dyn Condition + 'static)) -> Result<(), String> {
    for law in condition::LAWS {
        (law.holds)(condition).await.map_err(|found| format!("{}: {found}", law.sentence))?;
    }
    Ok(())
}

/// Runs all laws of mailbox stores against one that is empty.
///
/// # Errors
/// The first law that does not hold, and what was found instead.
pub async fn mailbox(store: &(dyn MailboxStore + 'static)) -> Result<(), String> {
    for law in mailbox::LAWS {
        (law.holds)(store).await.map_err(|found| format!("{}: {found}", law.sentence))?;
    }
    Ok(())
}

/// Runs all laws of sinks, each on a sink of its own that `make` gives. It is offered a run in which everything happens that can
/// happen; what becomes of the events is for whoever runs the suite to look at.
///
/// ```
/// # use std::sync::Arc;
/// # use cofferdam_core::{fault::Fault, port::{Ack, Batch, BoxFuture, Pressure, Sink, Want}};
/// struct Nowhere;
///
/// impl Sink for Nowhere {
///     fn want(&self) -> Want {
///         Want::new(vec!["step_*".to_owned()], Pressure::Drop)
///     }
///
///     fn deliver(&self, _: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
///         Box::pin(async { Ok(Ack::All) })
///     }
///
///     fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
///         Box::pin(async { Ok(()) })
///     }
/// }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// cofferdam_engine::contract::sink(|| Arc::new(Nowhere)).await
/// # }).unwrap();
/// ```
///
/// # Errors
/// The first law that does not hold, and what was found instead.
pub async fn sink(make: impl Fn() -> Arc<dyn Sink>) -> Result<(), String> {
    for law in sink::LAWS {
        (law.holds)(&*make()).await.map_err(|found| format!("{}: {found}", law.sentence))?;
    }
    Ok(())
}

/// What was found must be what was wanted.
fn same<T: PartialEq + Debug>(found: &T, wanted: &T) -> Verdict {
    if found == wanted { Ok(()) } else { Err(format!("found {found:?} instead of {wanted:?}")) }
}

fn told(fault: &Fault) -> String {
    format!("failed: {} ({})", fault.message, fault.code)
}

/// What shall be done.
fn act(act: &str, text: &str) -> Map {
    let Value::Object(options) = json!({ "do": act, "text": text }) else { return Map::new() };
    options
}

/// A step of a run.
fn at(path: &str) -> PureContext {
    PureContext {
        run_id: RunId::parse("r1").expect("it follows the grammar"),
        path: StepPath::from(path),
        attempt: 1,
        now: Timestamp::from_millis(1_700_000_000_000),
        events: Arc::new(Unheard),
    }
}

/// Nobody hears of what fails here.
struct Unheard;

impl Recorder for Unheard {
    fn record(&self, _: Body) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn observe(&self, _: Body) {}
}
