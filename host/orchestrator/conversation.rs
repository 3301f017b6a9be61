//! The conversation that coordinators of several runs share, as the orchestrator keeps it.

use super::Orchestrator;
use super::builder::Settings;
use super::recorded::RecordedRun;
use crate::error::Error;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::port::Redactor;
use cofferdam_engine::{Coordinator, SharedConversation, SharedMessage};
use std::sync::Arc;

/// The shared conversation of an orchestrator: it stands where its runs do.
pub(super) fn of(settings: &Settings) -> Arc<SharedConversation> {
    let (journal, clock) = (Arc::clone(&settings.journal), Arc::clone(&settings.clock));
    Arc::new(SharedConversation::new(journal, clock, Arc::clone(&settings.vault) as Arc<dyn Redactor>))
}

/// Refuses what is to be done with a run of the name of the shared conversation.
pub(super) fn refuse_reserved(run: &RunId) -> Result<(), Error> {
    if !run.is_reserved() {
        return Ok(());
    }
    let message = format!("no run is called `{run}`: the conversation that coordinators share has that name");
    let hint = "`forget_conversation` deletes that; a run takes any other id";
    Err(Error::Refused(vec![Fault::user("reserved_run_id", message).with_hint(hint)]))
}

impl Orchestrator {
    /// What the coordinators that share a conversation read and said, the oldest first: as much of the end of it as the next of them
    /// would find there. Waits while one of them speaks.
    ///
    /// # Errors
    /// When the orchestrator is closed, or the conversation cannot be read.
    pub async fn conversation(&self) -> Result<Vec<SharedMessage>, Error> {
        self.open_for_conversation().await?;
        Ok(self.shared.conversation.read().await?)
    }

    /// Deletes what the coordinators that share a conversation said; runs that are under way go on in a new one. Waits while one of
    /// them speaks. The records of the runs keep what each said in it.
    ///
    /// # Errors
    /// When the orchestrator is closed, or the store fails.
    pub async fn forget_conversation(&self) -> Result<(), Error> {
        self.open_for_conversation().await?;
        Ok(self.shared.conversation.forget().await?)
    }

    async fn open_for_conversation(&self) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        self.open_storage().await
    }

    /// The coordinator of a recorded run that goes on here.
    pub(super) fn coordinator_of(&self, recorded: &RecordedRun) -> Result<Option<Coordinator>, Error> {
        let own = self.shared.settings.coordinator.as_ref();
        Ok(recorded.coordinator()?.map(|coordinator| coordinator.taken_up(own)))
    }
}
