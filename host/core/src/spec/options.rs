//! Options of a document.

use super::code;
use super::decode::Decoder;
use super::keys::{LIMITS, OPTIONS};
use super::kind::{Fields, open};
use super::run_limits::RunLimits;
use super::tree::Node;
use super::workflow::{Compat, Defaults, FailurePolicy, IsolationMode, Options, Scheduler, UnknownEffect};
use std::time::Duration;

impl Decoder<'_> {
    pub(super) fn options(&mut self, node: &Node) -> Option<(Options, Defaults)> {
        let fields = open(&mut self.report, node, &OPTIONS)?;
        let (memory_scope, recall) = self.memory(&fields);
        let model_options = self.model_options(&fields);
        let limit = |name: &str| fields.duration(name).filter(|duration| *duration > Duration::ZERO);
        let defaults = Defaults {
            on_step_failure: failure(&fields, "onStepFailure").unwrap_or_default(),
            step_timeout: limit("stepTimeout"),
            output_transform: self.chain(&fields, "outputTransform"),
            ..Defaults::default()
        };
        let most = fields.count("maxConcurrency").filter(|count| *count > 0);
        let options = Options {
            model: fields.get("model").and_then(|node| self.model_name(node)),
            max_concurrency: most.and_then(|count| usize::try_from(count).ok()),
            timeout: limit("timeout"),
            isolation: fields.text("isolation").and_then(IsolationMode::of_word).unwrap_or_default(),
            scheduler: match fields.text("scheduler") {
                Some("round-robin") => Scheduler::RoundRobin,
                Some("least-busy") => Scheduler::LeastBusy,
                _ => Scheduler::DependencyFirst,
            },
            max_retries: fields.count("maxRetries"),
            on_unknown_effect: fields.text("onUnknownEffect").map(|word| match word {
                "retry" => UnknownEffect::Retry,
                "fail" => UnknownEffect::Fail,
                _ => UnknownEffect::Ask,
            }),
            compat: fields.text("compat").map(|_| Compat::Zenflow),
            engine: fields.owned("engine").filter(|engine| engine != "default"),
            memory_scope,
            recall,
            model_options,
            budget: self.run_budget(&fields),
            limits: fields.get("limits").and_then(|node| self.run_limits(node)).unwrap_or_default(),
        };
        Some((options, defaults))
    }

    /// `limits`: each may be lowered only.
    fn run_limits(&mut self, node: &Node) -> Option<RunLimits> {
        let fields = open(&mut self.report, node, &LIMITS)?;
        let host = RunLimits::default();
        let mut lowered = |key: &str, most: usize| self.lowered(&fields, key, most);
        Some(RunLimits {
            step_instances: lowered("stepInstances", host.step_instances),
            for_each_items: lowered("forEachItems", host.for_each_items),
            message_bytes: lowered("messageBytes", host.message_bytes),
            step_output_bytes: lowered("stepOutputBytes", host.step_output_bytes),
            tool_result_bytes: lowered("toolResultBytes", host.tool_result_bytes),
            tool_argument_bytes: lowered("toolArgumentBytes", host.tool_argument_bytes),
            tool_calls_per_turn: lowered("toolCallsPerTurn", host.tool_calls_per_turn),
            conversation_bytes: lowered("conversationBytes", host.conversation_bytes),
        })
    }

    fn lowered(&mut self, fields: &Fields<'_>, key: &str, most: usize) -> usize {
        let Some((node, size)) = fields.get(key).zip(fields.size(key)) else { return most };
        match usize::try_from(size) {
            Ok(size) if size <= most => size,
            _ => {
                let message = format!("{size} is above the host's limit of {most}");
                self.report.error(code::ABOVE_THE_HOST, node, message).hint("a document can only lower it");
                most
            }
        }
    }
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
