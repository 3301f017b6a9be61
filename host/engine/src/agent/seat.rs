//! The place of an agent in a conversation that it shares with agents of other runs.
//!
//! It has the floor from its first request after it was woken until it has nothing more to do: what the others said by then stands
//! before what it was woken with, and what is said until then is theirs to read.

use super::Conversation;
use crate::shared_conversation::{Floor, SharedConversation};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::message::Message;
use std::sync::Arc;

pub(super) struct Seat {
    shared: Arc<SharedConversation>,
    /// Held while it speaks.
    floor: Option<Floor>,
    /// The first message of what the others do not know yet.
    begins: usize,
    /// What an earlier process said last, up to which turn: whether the others know it is not recorded in the run.
    owed: Option<(u32, Vec<Message>)>,
}

impl Seat {
    /// A place for a conversation that begins at a message; what stands before it is the agent's own.
    pub(super) fn new(shared: Arc<SharedConversation>, begins: usize) -> Self {
        Self { shared, floor: None, begins, owed: None }
    }
}

/// What the agent of a run reads, with the run that it is about.
pub(super) fn labelled(run: &RunId, text: &str) -> Arc<str> {
    format!("[run {run}]\n{text}").into()
}

impl Conversation<'_> {
    /// Waits for its turn in the shared conversation, if there is one, and reads what was said there.
    pub(super) async fn take_floor(&mut self) -> Result<(), Fault> {
        let Some(seat) = self.seat.as_mut().filter(|seat| seat.floor.is_none()) else { return Ok(()) };
        let mut floor = seat.shared.floor().await?;
        let run = &self.ctx.run_id;
        if let Some((turn, said)) = seat.owed.take()
            && !floor.has(run, turn).await?
        {
            floor.say(run, turn, said).await?;
        }
        let messages = Arc::make_mut(&mut self.messages);
        let own = messages.split_off(seat.begins);
        messages.retain(|message| matches!(message, Message::System { .. }));
        messages.extend(floor.messages());
        seat.begins = messages.len();
        messages.extend(own);
        seat.floor = Some(floor);
        Ok(())
    }

    /// It has nothing more to do after a turn: what was said is kept, and others may speak. The run's own record has it before, so
    /// that nothing is said that no run knows of.
    pub(super) async fn give_floor(&mut self, turn: u32) -> Result<(), Fault> {
        let Some(seat) = &mut self.seat else { return Ok(()) };
        let said = self.messages.get(seat.begins..).unwrap_or_default().to_vec();
        seat.begins = self.messages.len();
        match seat.floor.take() {
            Some(mut floor) => {
                self.ctx.events.flush().await?;
                floor.say(&self.ctx.run_id, turn, said).await?;
            }
            // All of it was recorded by an earlier process.
            None => seat.owed = Some((turn, said)),
        }
        Ok(())
    }

    /// It is not asked again: what an earlier process recorded last, and may not have said here, is said now.
    pub(super) async fn leave(&mut self) -> Result<(), Fault> {
        if self.seat.as_ref().is_some_and(|seat| seat.owed.is_some()) {
            self.take_floor().await?;
        }
        Ok(())
    }
}
