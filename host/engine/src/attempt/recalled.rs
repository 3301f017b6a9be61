//! What retrieval memory adds to the message of an agent step: found once for a try, and recorded before anybody is asked.

use super::Setting;
use crate::recollection::{OFF, Recollection};
use cofferdam_core::event::{Body, Recalled};
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{PastTry, Recorder as _, redact_text};
use cofferdam_core::recollect;
use cofferdam_core::spec::workflow::RecallKind;
use std::sync::Arc;

impl Setting {
    /// The message with what is found for it. A memory that fails adds nothing, and is told of.
    pub(super) async fn with_recalled(&self, message: String) -> Result<String, Fault> {
        let past: Option<&PastTry> = self.recorder.past();
        if let Some(recalled) = past.and_then(PastTry::recalled) {
            return Ok(recollect::joined(message, &recalled.text));
        }
        let Some(recollection) = &self.recollection else { return Ok(message) };
        // A conversation that goes on keeps the beginning that it had.
        if past.is_some_and(PastTry::has_turns) || message.trim().is_empty() {
            return Ok(message);
        }
        let recalled = self.recall(recollection, &message).await;
        let text = Arc::clone(&recalled.text);
        self.recorder.record(Body::MemoryRecalled(recalled)).await?;
        Ok(recollect::joined(message, &text))
    }

    async fn recall(&self, recollection: &Recollection, message: &str) -> Recalled {
        let settings = &recollection.settings;
        // First taken out, then cut: half of a secret is one, and nothing would find it.
        let mut told: Arc<str> = message.into();
        redact_text(self.gateway.redactor(), &mut told);
        let message = &*told;
        let (query, limit) = (recollect::query(message), settings.found());
        let mut recalled = match recollection.find(&self.path, (query, message), limit).await {
            Ok(found) => {
                let room = self.limits.message_bytes.saturating_sub(message.len() + 2);
                recollect::section(&found, settings.bytes().min(room))
            }
            Err(fault) => {
                if &*fault.code != OFF {
                    let message = format!("nothing was recalled: the retrieval memory failed: {}", fault.message);
                    self.recorder.observe(Body::Warning { code: "recall_failed".to_owned(), message });
                }
                Recalled::default()
            }
        };
        if settings.keeps(RecallKind::Inputs) {
            recalled.input = recollect::kept(message).into();
        }
        // As it will be recorded: a conversation that is held again must begin alike.
        redact_text(self.gateway.redactor(), &mut recalled.text);
        recalled
    }
}
