//! Options of a document.

use super::keys::OPTIONS;
use super::kind::{Fields, open};
use super::report::Report;
use super::tree::Node;
use super::workflow::{FailurePolicy, Options, Scheduler};
use std::time::Duration;

pub(super) fn decode(report: &mut Report, node: &Node) -> Option<Options> {
    let fields = open(report, node, &OPTIONS)?;
    let limit = |name: &str| fields.duration(name).filter(|duration| *duration > Duration::ZERO);
    Some(Options {
        model: fields.owned("model"),
        max_concurrency: fields
            .count("maxConcurrency")
            .filter(|count| *count > 0)
            .and_then(|count| usize::try_from(count).ok()),
        on_step_failure: failure(&fields, "onStepFailure").unwrap_or_default(),
        timeout: limit("timeout"),
        step_timeout: limit("stepTimeout"),
        scheduler: match fields.text("scheduler") {
            Some("round-robin") => Scheduler::RoundRobin,
            Some("least-busy") => Scheduler::LeastBusy,
            _ => Scheduler::DependencyFirst,
        },
        max_retries: fields.count("maxRetries"),
    })
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
