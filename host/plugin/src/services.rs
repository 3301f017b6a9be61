//! What the host has to offer to a plugin beyond computing: the network, values, blobs, secrets.
//!
//! It must not decide who gets any of it: each host function asks the rights of its call.

use crate::failure::Failure;
use crate::import::Network;
use crate::mount::Mounted;
use crate::share::Share;
use crate::tap::Observation;
use cofferdam_core::port::{Clock, Journal, NoRedactor, Redactor, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What calls of one plugin may be served with.
#[derive(Clone)]
pub(crate) struct Services {
    /// How granted requests leave; none refuses them all.
    pub(crate) network: Option<Network>,
    /// Where values of plugins are kept; none refuses them all.
    pub(crate) state: Option<Arc<dyn State>>,
    /// Where blobs are kept; none refuses them all.
    pub(crate) blobs: Option<Arc<dyn Journal>>,
    /// Knows what must not be written to a log.
    pub(crate) redactor: Arc<dyn Redactor>,
    /// The wall clock of runs.
    pub(crate) clock: Arc<dyn Clock>,
    /// The further directories of the plugin, opened when it was loaded.
    pub(crate) mounts: Arc<[Mounted]>,
    /// Whether any plugin of this host has kept a value that goes with its run.
    pub(crate) kept: Arc<AtomicBool>,
    /// Who watches, and whether calls give the same again.
    pub(crate) observation: Observation,
    /// How much of what all plugins share the plugin may take at once.
    pub(crate) share: Share,
}

impl Services {
    /// Nothing at all: for a plugin that describes itself.
    pub(crate) fn none(clock: Arc<dyn Clock>) -> Self {
        Self {
            network: None,
            state: None,
            blobs: None,
            redactor: Arc::new(NoRedactor),
            clock,
            mounts: Arc::new([]),
            kept: Arc::default(),
            observation: Observation::default(),
            share: Share::of(cofferdam_core::limits::PLUGIN_POOL_SLOTS),
        }
    }

    /// Notes that there is something to forget when a run is over.
    pub(crate) fn note_kept(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// The failure as it may be told. What a plugin says of itself is redacted before it is cut: half of a secret could not
    /// be found any more.
    pub(crate) fn told(&self, failure: Failure) -> Failure {
        let Failure::Own(mut error) = failure else { return failure };
        error.message = self.shown(error.message);
        error.code = error.code.map(|code| self.shown(code));
        Failure::Own(error)
    }

    /// The text as it may be written to a log.
    pub(crate) fn shown(&self, text: String) -> String {
        self.redactor.redact(&text).unwrap_or(text)
    }
}
