//! What becomes of a call that an earlier process made: its recorded answer, or, where the answer is missing, a decision.
//!
//! A call whose effect is not known is never made again silently.

use super::{Call, Entry, Gateway, denial_reply};
use crate::person;
use cofferdam_core::event::{Body, EffectDecision};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::ToolName;
use cofferdam_core::port::{Answer, PastCall, Question, ToolReply, redact_value};
use cofferdam_core::spec::workflow::UnknownEffect;
use serde_json::Value;
use std::sync::Arc;

/// How a call goes on that may have been made before.
pub(super) enum Before {
    /// It has its answer.
    Answered(ToolReply),
    /// It is made, for the first time or again.
    Make,
}

impl Gateway {
    /// Looks at what is recorded of a call.
    ///
    /// # Errors
    /// What ends the attempt: the conversation is another one, or the effect is unknown and nobody says that the call may be
    /// made again.
    pub(super) async fn before(&self, entry: &Entry, call: &Call) -> Result<Before, Fault> {
        let past = call.ctx.events.past().and_then(|past| past.call(&call.ctx.call_id));
        match past {
            None | Some(PastCall::Asked { .. }) => Ok(Before::Make),
            Some(PastCall::Denied(rule)) => {
                self.asking.note_denied(&call.tool, &call.args, rule);
                Ok(Before::Answered(denial_reply(&call.tool, rule)))
            }
            Some(PastCall::Answered { tool, args, reply }) => {
                self.same(call, tool, args)?;
                Ok(Before::Answered(reply.clone()))
            }
            Some(PastCall::Open { tool, args }) => {
                self.same(call, tool, args)?;
                self.decide_effect(entry, call).await.map(|()| Before::Make)
            }
        }
    }

    /// A key must not stand for two calls.
    fn same(&self, call: &Call, tool: &ToolName, args: &Value) -> Result<(), Fault> {
        if self.is_recorded(call, tool, args) {
            return Ok(());
        }
        let message = format!(
            "call {} of step `{}` was `{tool}` with other arguments before the run was taken up; it cannot go on from there",
            call.ctx.call_id, call.ctx.path
        );
        Err(Fault::step("conversation_changed", message)
            .with_hint("a step that fails begins anew when the run is resumed again"))
    }

    /// Whether a call is the one that is recorded so; secrets are not in the record.
    pub(super) fn is_recorded(&self, call: &Call, tool: &ToolName, args: &Value) -> bool {
        let mut now = Arc::new(call.args.clone());
        redact_value(self.redactor(), &mut now);
        call.tool == *tool && *now == *args
    }

    /// Whether a call whose effect is not known is made again.
    async fn decide_effect(&self, entry: &Entry, call: &Call) -> Result<(), Fault> {
        let effects = entry.definition.effects;
        let (decision, rule) = if effects.read_only {
            (EffectDecision::Repeat, "the tool only reads".to_owned())
        } else if effects.idempotent {
            (EffectDecision::Repeat, "the tool is idempotent".to_owned())
        } else {
            self.ask_about_effect(call).await
        };
        let body = Body::EffectDecided {
            call_id: call.ctx.call_id.to_string(),
            tool: call.tool.clone(),
            decision,
            rule: rule.clone(),
        };
        call.ctx.events.record(body).await?;
        match decision {
            EffectDecision::Repeat => Ok(()),
            EffectDecision::Fail => Err(Fault::step(
                "effect_unknown",
                format!(
                    "`{}` had begun when the run was stopped, and whether it had its effect is not known ({rule})",
                    call.tool
                ),
            )
            .with_hint("look whether it had, then resume with `--on-unknown-effect retry` to make the call again")),
        }
    }

    async fn ask_about_effect(&self, call: &Call) -> (EffectDecision, String) {
        let says = |word: &str| format!("`onUnknownEffect: {word}`");
        match (self.unknown_effect, self.approver()) {
            (Some(UnknownEffect::Retry), _) => (EffectDecision::Repeat, says("retry")),
            (Some(UnknownEffect::Fail), _) => (EffectDecision::Fail, says("fail")),
            (Some(UnknownEffect::Ask) | None, None) => (EffectDecision::Fail, "nobody to ask".to_owned()),
            (Some(UnknownEffect::Ask) | None, Some(approver)) => {
                let question = Question {
                    run_id: Some(call.ctx.run_id.clone()),
                    path: call.ctx.path.clone(),
                    title: format!("`{}` had begun and may have had its effect; make the call again?", call.tool),
                    detail: call.args.to_string(),
                    always: None,
                };
                let _open = self.person.ask(call.ctx.path.clone(), &self.clock, person::Presence::Here);
                match approver.ask(question).await {
                    Answer::Yes | Answer::Always => (EffectDecision::Repeat, "a person allowed it".to_owned()),
                    Answer::No(_) => (EffectDecision::Fail, "a person denied it".to_owned()),
                    Answer::Nobody => (EffectDecision::Fail, "nobody answered".to_owned()),
                }
            }
        }
    }
}
