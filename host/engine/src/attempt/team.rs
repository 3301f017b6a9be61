//! The agents that work under a step for whoever starts the steps of the run.

use super::{Setting, within_bounds};
use crate::executor::Offered;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::AgentName;
use cofferdam_core::limits;
use cofferdam_core::port::{AgentFailure, AgentInput, AgentOutput, BoxFuture, Recorder, Team};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The agents of a run, by name, or why one cannot work.
pub(crate) type Members = BTreeMap<AgentName, Result<Offered, Fault>>;

impl Setting {
    pub(super) fn team(self: &Arc<Self>, members: Arc<Members>) -> AttemptTeam {
        let places = Semaphore::new(limits::ENGINE_AGENTS);
        AttemptTeam { setting: Arc::clone(self), members, places, turns: Arc::default() }
    }
}

/// The team of one try.
pub(super) struct AttemptTeam {
    setting: Arc<Setting>,
    members: Arc<Members>,
    places: Semaphore,
    /// Turns that anybody has begun.
    turns: Arc<AtomicU32>,
}

impl Team for AttemptTeam {
    fn names(&self) -> Vec<AgentName> {
        self.members.keys().cloned().collect()
    }

    fn run<'a>(&'a self, name: &'a str, input: AgentInput) -> BoxFuture<'a, Result<AgentOutput, AgentFailure>> {
        Box::pin(self.have_work(name, input))
    }
}

impl AttemptTeam {
    async fn have_work(&self, name: &str, input: AgentInput) -> Result<AgentOutput, AgentFailure> {
        let Offered { agent, terms, transform } = self.member(name)?;
        let _place = self.places.acquire().await.map_err(|_| Fault::cancelled())?;
        let setting = &self.setting;
        let message = setting.chains.apply_to_text(&transform.input, input.message.as_ref().to_owned()).await?;
        let message = within_bounds(message, setting.limits)?;
        if message.trim().is_empty() && input.attachments.is_empty() {
            return Err(Fault::step("message", format!("the agent `{name}` is asked nothing")).into());
        }
        let events = Numbered {
            recorder: Arc::clone(&setting.recorder) as _,
            begun: Arc::clone(&self.turns),
            own: Mutex::default(),
        };
        let ctx = setting.agent_context(&terms, Arc::new(events));
        let given = agent.run(ctx, AgentInput { message: message.into(), ..input }).await?;
        setting.checked(&terms, &transform.output, given).await
    }

    fn member(&self, name: &str) -> Result<Offered, Fault> {
        let found = self.members.iter().find(|(known, _)| known.as_str() == name);
        found.map_or_else(
            || {
                let names: Vec<&str> = self.members.keys().map(AgentName::as_str).collect();
                Err(Fault::step("unknown_agent", format!("there is no agent `{name}` in this run"))
                    .with_hint(format!("the agents are: {}", names.join(", "))))
            },
            |(_, member)| member.clone(),
        )
    }
}

/// Gives the turns of one agent numbers that no other agent of the try has.
struct Numbered {
    recorder: Arc<dyn Recorder>,
    begun: Arc<AtomicU32>,
    own: Mutex<HashMap<u32, u32>>,
}

impl Numbered {
    fn number(&self, mut body: Body) -> Body {
        if let Body::TurnStarted { turn, .. }
        | Body::TurnFinished { turn, .. }
        | Body::TurnFailed { turn, .. }
        | Body::OutputDelta { turn, .. }
        | Body::ThinkingDelta { turn, .. } = &mut body
        {
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            *turn = *own.entry(*turn).or_insert_with(|| self.begun.fetch_add(1, Ordering::Relaxed) + 1);
        }
        body
    }
}

impl Recorder for Numbered {
    fn record(&self, body: Body) -> BoxFuture<'_, Result<(), Fault>> {
        self.recorder.record(self.number(body))
    }

    fn is_crowded(&self) -> bool {
        self.recorder.is_crowded()
    }

    fn observe(&self, body: Body) {
        self.recorder.observe(self.number(body));
    }
}
