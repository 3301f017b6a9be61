//! Options of a document.

use super::keys::OPTIONS;
use super::kind::{Fields, open};
use super::report::Report;
use super::tree::Node;
use super::workflow::{Defaults, FailurePolicy, Options, Scheduler};
use std::time::Duration;

pub(super) fn decode(report: &mut Report, node: &Node) -> Option<(Options, Defaults)> {
    let fields = open(report, node, &OPTIONS)?;
    let limit = |name: &str| fields.duration(name).filter(|duration| *duration > Duration::ZERO);
    let defaults = Defaults {
        on_step_failure: failure(&fields, "onStepFailure").unwrap_or_default(),
        step_timeout: limit("stepTimeout"),
        ..Defaults::default()
    };
    let options = Options {
        model: fields.owned("model"),
        max_concurrency: fields
            .count("maxConcurrency")
            .filter(|count| *count > 0)
            .and_then(|count| usize::try_from(count).ok()),
        timeout: limit("timeout"),
        scheduler: match fields.text("scheduler") {
            Some("round-robin") => Scheduler::RoundRobin,
            Some("least-busy") => Scheduler::LeastBusy,
            _ => Scheduler::DependencyFirst,
        },
        max_retries: fields.count("maxRetries"),
        ..Options::default()
    };
    Some((options, defaults))
}

/// A failure policy.
pub(super) fn failure(fields: &Fields<'_>, name: &str) -> Option<FailurePolicy> {
    Some(match fields.text(name)? {
        "skip-dependents" => FailurePolicy::SkipDependents,
        "continue" => FailurePolicy::Continue,
        "abort" => FailurePolicy::Abort,
        _ => FailurePolicy::Cascade,
    })
}
