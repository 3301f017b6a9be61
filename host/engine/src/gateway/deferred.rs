//! Calls that nobody is there to allow, and that wait: what was said about them since, and that they are asked about.

use super::asking::Unanswered;
use super::{Call, Gateway};
use cofferdam_core::event::{Approved, Body, Decision, OpenApproval, Waiting, call_name};
use cofferdam_core::fault::Fault;
use cofferdam_core::permission::Origin;
use cofferdam_core::port::{PastCall, ToolReply};
use std::sync::Arc;

impl Gateway {
    /// What becomes of a call that nobody answers for.
    pub(super) fn without_answer(&self, call: &Call) -> Unanswered {
        match call.origin {
            _ if !self.defers() => Unanswered::Denied,
            _ if call.ctx.path.is_coordinator() => Unanswered::CannotWait("a coordinator does not wait"),
            _ if call.ctx.events.past().is_some_and(|past| past.ended().is_some()) => {
                Unanswered::CannotWait("a step that has ended does not wait")
            }
            // The plugin is in the middle of a call of its own, which nobody could take up.
            Origin::Plugin => Unanswered::CannotWait("what a plugin calls cannot wait"),
            Origin::Model | Origin::Document => Unanswered::Waits,
        }
    }

    /// What a person said about this call, when the run waited with it.
    pub(super) fn word_about(&self, call: &Call) -> Option<&(OpenApproval, Approved)> {
        let said = self.asking.said.get()?;
        let (step, name) = (call.ctx.path.step(), call_name(&call.ctx.path, &call.ctx.call_id));
        let own = |(open, _): &&(OpenApproval, Approved)| {
            open.step == step && open.attempt == call.ctx.attempt && open.call == name
        };
        // Of other arguments nobody has said anything; the very same call is denied in later tries of its step as well.
        let same = |(open, _): &&(OpenApproval, Approved)| self.is_recorded(call, &open.tool, &open.args);
        let again = |(open, word): &&(OpenApproval, Approved)| open.step == step && word.decision == Decision::Deny;
        said.iter().find(own).filter(same).or_else(|| said.iter().filter(again).find(same))
    }

    /// The rule by which a person was asked about exactly this call, if that was so: the run may have been started with other rules
    /// than those of now.
    pub(super) fn held(&self, call: &Call, word: Option<&(OpenApproval, Approved)>) -> Option<Option<String>> {
        if let Some((open, _)) = word {
            return Some(open.rule.clone());
        }
        match call.ctx.events.past().and_then(|past| past.call(&call.ctx.call_id)) {
            Some(PastCall::Asked { tool, args, rule }) if self.defers() && self.is_recorded(call, tool, args) => {
                Some(rule.clone())
            }
            _ => None,
        }
    }

    /// Has a person asked who is not there: the call waits, and its try with it.
    ///
    /// # Errors
    /// Always: what ends the try.
    pub(super) async fn defer(&self, call: &Call, rule: Option<String>) -> Result<ToolReply, Fault> {
        let past = call.ctx.events.past().and_then(|past| past.call(&call.ctx.call_id));
        let known = match past {
            Some(PastCall::Asked { tool, args, .. }) => self.is_recorded(call, tool, args),
            _ => false,
        };
        if !known {
            let body = Body::PermissionAsked {
                call_id: call.ctx.call_id.to_string(),
                tool: call.tool.clone(),
                args: Arc::new(call.args.clone()),
                agent: call.agent.clone(),
                rule,
            };
            call.ctx.events.record(body).await?;
        }
        Err(Waiting::default().to_fault())
    }
}

/// Whether a person said no.
pub(super) fn denies(word: Option<&(OpenApproval, Approved)>) -> bool {
    word.is_some_and(|(_, word)| word.decision == Decision::Deny)
}
