//! Where answers come from: the provider, the provider with a recording beside it, or a recording alone.
//!
//! It must not retry, and must not touch the network where recordings are replayed.

use super::Prepared;
use crate::provider::Provider;
use crate::tape::{Question, Tape};
use cofferdam_core::fault::Fault;
use cofferdam_core::port::Clock;
use cofferdam_core::time::Timestamp;
use cofferdam_egress::{EgressError, ProviderClient, StreamingResponse};
use std::sync::Arc;

/// Where answers come from.
pub(super) enum Source {
    /// The provider.
    Sent(ProviderClient),
    /// The provider, and what it says is recorded.
    Recorded(ProviderClient, Arc<Tape>),
    /// Recordings. There is nothing here that could reach a provider.
    Replayed(Arc<Tape>),
}

/// Why there is no response.
pub(super) enum Silence {
    /// The network's affair, or what a recording knows of it.
    Transport(EgressError),
    /// The tape's.
    Tape(Fault),
}

impl Source {
    /// The same with a tape.
    pub(super) fn taped(self, tape: Arc<Tape>) -> Self {
        match self {
            _ if tape.replays() => Self::Replayed(tape),
            Self::Sent(client) | Self::Recorded(client, _) => Self::Recorded(client, tape),
            Self::Replayed(before) => Self::Replayed(before),
        }
    }

    /// Whether nobody is asked, so that nobody needs to be waited for.
    pub(super) fn is_replayed(&self) -> bool {
        matches!(self, Self::Replayed(_))
    }

    /// Who answers, for people.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Sent(client) | Self::Recorded(client, _) => client.origin(),
            Self::Replayed(tape) => tape.place(),
        }
    }

    /// The moment that waits are counted from. What is replayed has no dates in it, and must not depend on when it is.
    pub(super) fn now(&self, clock: &dyn Clock) -> Timestamp {
        if self.is_replayed() { Timestamp::from_millis(0) } else { clock.now() }
    }

    /// The head of a response, and its body as it comes.
    pub(super) async fn ask(
        &self,
        provider: &Provider,
        prepared: &Prepared,
        clock: &dyn Clock,
    ) -> Result<StreamingResponse, Silence> {
        match self {
            Self::Sent(client) => send(client, provider, prepared).await.map_err(Silence::Transport),
            Self::Recorded(client, tape) => {
                let question = prepared.question(provider).map_err(Silence::Tape)?;
                let recorder = tape.begin(&question, provider, &prepared.headers).map_err(Silence::Tape)?;
                match send(client, provider, prepared).await {
                    Ok(response) => Ok(recorder.heard(response, clock.now())),
                    Err(error) => {
                        recorder.failed(&error);
                        Err(Silence::Transport(error))
                    }
                }
            }
            Self::Replayed(tape) => {
                let question = prepared.question(provider).map_err(Silence::Tape)?;
                tape.answer(&question).map_err(Silence::Tape)?.map_err(Silence::Transport)
            }
        }
    }
}

impl Prepared {
    fn question(&self, provider: &Provider) -> Result<Question, Fault> {
        Question::of(provider, &self.asked.model, &self.body)
    }
}

async fn send(
    client: &ProviderClient,
    provider: &Provider,
    prepared: &Prepared,
) -> Result<StreamingResponse, EgressError> {
    let Prepared { url, headers, body, .. } = prepared;
    client.post_stream(url, headers.clone(), body.clone(), provider.timeouts).await
}
