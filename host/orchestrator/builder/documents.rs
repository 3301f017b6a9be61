//! What holds for every document: defaults below its own words, and limits above them. A run keeps what it was started with.

use super::Builder;
use crate::error::Error;
use cofferdam_core::spec::{HostDefaults, RunLimits};
use cofferdam_core::transform::Transform;

impl Builder {
    /// Most turns of agents for which neither a document nor an [`AgentConfig`] says a number. Default:
    /// [`AGENT_TURNS`](cofferdam_core::limits::AGENT_TURNS).
    ///
    /// [`AgentConfig`]: crate::AgentConfig
    #[must_use]
    pub fn max_turns(mut self, turns: u32) -> Self {
        self.host.max_turns = Some(turns);
        self
    }

    /// Limits that no run exceeds; a document may lower them further with `options.limits`. Default: those of
    /// [`limits`](cofferdam_core::limits), which are the most there is.
    #[must_use]
    pub fn limits(mut self, limits: RunLimits) -> Self {
        self.host.limits = Some(limits);
        self
    }

    /// Changes what steps gave before it enters a prompt, in documents that have no `outputTransform`; for included documents
    /// their own counts. Built-in transforms only: what a closure or a plugin is called, a document says. Default: nothing.
    #[must_use]
    pub fn output_transform(mut self, chain: impl IntoIterator<Item = Transform>) -> Self {
        self.host.output_transform = chain.into_iter().collect();
        self
    }
}

/// Refuses what no document could run under.
pub(super) fn check(host: &HostDefaults) -> Result<(), Error> {
    let HostDefaults { max_turns, limits, output_transform } = host;
    let refuse = |message: &str| Err(Error::Settings(message.to_owned()));
    if *max_turns == Some(0) {
        return refuse("agents have no turn at all; the least is 1");
    }
    if limits.is_some_and(|limits| !limits.are_lowered()) {
        return refuse("a limit is above the most there is; `cofferdam limits` prints them");
    }
    if output_transform.iter().any(|link| matches!(link, Transform::Native(_) | Transform::Plugin { .. })) {
        return refuse(
            "the transform of all outputs has a closure or a plugin in it; only built-in ones can stand there",
        );
    }
    Ok(())
}
