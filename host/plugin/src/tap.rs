//! What a plugin asks of its host, told to somebody who watches: an author who wants to see what a call does.
//!
//! It carries names, sizes and outcomes, cleaned and cut; never a value of a secret, and no body. It must not change
//! what a call may do, and costs nothing where nobody watches.

use crate::bindings::cofferdam::types::common::{ErrorKind, PluginError};
use crate::failure::kind_name;
use crate::instance::{Call, Identity};
use cofferdam_core::limits;
use cofferdam_core::text::clean_to;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hears what plugins ask of their host. Called on the threads of the guests, which wait for it: it must be quick, and
/// may be called by several of them at once.
pub trait HostCalls: Send + Sync {
    /// A function of the host was called and has answered.
    fn called(&self, call: HostCall);

    /// A call into a plugin has ended.
    fn ended(&self, spent: Spent) {
        let _ = spent;
    }
}

/// Somebody who watches. Clones are the same one.
#[derive(Clone)]
pub struct Tap(pub Arc<dyn HostCalls>);

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// How closely a host's plugins are looked at.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Who is told what they ask of the host, and what they spend.
    pub tap: Option<Tap>,
    /// Whether every call gives the same again, tools included: their clocks stand at the host's clock, their random
    /// numbers are those of the run and the step, and all are metered. For tests.
    pub exact: bool,
}

/// A call of a function of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// What documents call the plugin.
    pub plugin: String,
    /// The interface: `http`, `kv`, `log`, `secrets`, `secrets-reveal`, `tools`, `blobs`, `config`, `files`.
    pub interface: &'static str,
    /// Its function: `fetch`, `commit`.
    pub function: &'static str,
    /// What it was called for, in one line: `GET https://example.com/`. Cleaned, cut, without secrets.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// What came of a call of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered; with a word about the answer, perhaps none.
    Answered(String),
    /// It was not granted.
    Denied,
    /// It failed, and why.
    Failed(String),
}

/// What one call into a plugin took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Units of fuel: about one an instruction. The same on every machine, for the same component and the same answers
    /// of the host. None on an engine that does not count.
    pub fuel: Option<u64>,
    /// Linear memory at its largest, summed over all memories, in bytes.
    pub memory_bytes: u64,
}

/// A call of the host that has begun; none where nobody watches.
pub(crate) struct Begun(Option<(Instant, String)>);

impl Call {
    /// Notes that a function of the host begins. `what` is only made where somebody watches.
    pub(crate) fn begin(&self, what: impl FnOnce() -> String) -> Begun {
        Begun(self.plugin.services.observation.tap.as_ref().map(|_| (Instant::now(), what())))
    }

    /// Tells what came of it.
    pub(crate) fn end<T>(
        &self,
        begun: Begun,
        (interface, function): (&'static str, &'static str),
        answer: &wasmtime::Result<Result<T, PluginError>>,
        word: impl FnOnce(&T) -> String,
    ) {
        self.end_with(begun, (interface, function), || match answer {
            Ok(Ok(answer)) => Outcome::Answered(word(answer)),
            Ok(Err(error)) => failed(error),
            Err(error) => Outcome::Failed(error.to_string()),
        });
    }

    /// Tells what came of it, in another form.
    pub(crate) fn end_with(
        &self,
        begun: Begun,
        (interface, function): (&'static str, &'static str),
        outcome: impl FnOnce() -> Outcome,
    ) {
        if let Begun(Some(begun)) = begun {
            tell(&self.plugin, (interface, function), begun, outcome());
        }
    }
}

/// What an error of the host means to whoever watches.
fn failed(error: &PluginError) -> Outcome {
    match error.kind {
        ErrorKind::Denied => Outcome::Denied,
        kind => Outcome::Failed(format!("{}: {}", kind_name(kind), error.message)),
    }
}

fn tell(
    plugin: &Identity,
    (interface, function): (&'static str, &'static str),
    (at, what): (Instant, String),
    outcome: Outcome,
) {
    let services = &plugin.services;
    let Some(Tap(tap)) = &services.observation.tap else { return };
    // Redacted before it is cut: half of a secret could not be found any more.
    let shown = |text: String| clean_to(&services.shown(text), limits::PLUGIN_TOLD_BYTES);
    let outcome = match outcome {
        Outcome::Answered(word) => Outcome::Answered(shown(word)),
        Outcome::Denied => Outcome::Denied,
        Outcome::Failed(why) => Outcome::Failed(shown(why)),
    };
    let (plugin, what) = (plugin.alias.to_string(), shown(what));
    tap.called(HostCall { plugin, interface, function, what, outcome, took: at.elapsed() });
}
