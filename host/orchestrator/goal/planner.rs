//! The agent that plans: a model whose replies are held against the validator, and which hears of what is wrong.
//!
//! What is wrong comes into the conversation like a message of another agent; so the whole is one conversation, recorded and
//! bounded like every other.

use super::reply;
use crate::error::Error;
use crate::orchestrator::{Orchestrator, RunOptions};
use crate::workflow::Workflow;
use cofferdam_core::event::{Body, Told};
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::port::{
    Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture, Mailbox, Model, PastTry, Recorder,
};
use cofferdam_core::spec::workflow::AgentSpec;
use cofferdam_engine::{LlmAgent, RunSettings, uncarried};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Plans once.
pub(super) struct Planner {
    checks: Arc<Checks>,
    spec: Arc<AgentSpec>,
    model: Arc<dyn Model>,
    /// What the model cannot be told of the options that hold for it.
    uncarried: Vec<String>,
}

/// How plans are checked, and what came of it.
struct Checks {
    orchestrator: Orchestrator,
    /// What the plan will be run with.
    options: RunOptions,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    plan: Option<Workflow>,
    /// What was wrong with the last reply.
    wrong: String,
    repairs: u32,
}

impl Planner {
    /// # Errors
    /// When the model cannot be told something, and only what was decided runs.
    pub(super) fn new(
        orchestrator: Orchestrator,
        workflow: &Workflow,
        (model, settings): (Arc<dyn Model>, &RunSettings),
        options: RunOptions,
    ) -> Result<Self, Error> {
        let spec = workflow.document().agents.values().next().expect("the planner's document has an agent");
        let spec = settings.with_options(Arc::clone(spec), &workflow.document().options);
        let uncarried = uncarried(model.as_ref(), &spec.settings.options);
        if settings.strict && !uncarried.is_empty() {
            let hint = "leave it out, or name a model that knows it";
            let fault = |told: String| Fault::user("model_option", told).with_hint(hint);
            return Err(Error::Refused(uncarried.into_iter().map(fault).collect()));
        }
        let checks = Checks { orchestrator, options, found: Mutex::default() };
        Ok(Self { checks: Arc::new(checks), spec, model, uncarried })
    }

    /// The plan, if there is one, and how often it had to be repaired.
    pub(super) fn take(&self) -> Option<(Workflow, u32)> {
        let mut found = self.checks.found();
        found.plan.take().map(|plan| (plan, found.repairs))
    }
}

impl Agent for Planner {
    fn name(&self) -> &str {
        Orchestrator::PLANNER
    }

    fn run(&self, ctx: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            let heard = Arc::new(Heard { inner: Arc::clone(&ctx.events), last: Mutex::default() });
            let critic = Critic { checks: Arc::clone(&self.checks), heard: Arc::clone(&heard) };
            let ctx = AgentContext { events: heard, mail: Arc::new(critic), ..ctx };
            for message in &self.uncarried {
                ctx.events.observe(Body::Warning { code: "model_option".to_owned(), message: message.clone() });
            }
            let agent = LlmAgent::new(Arc::clone(&self.spec), Arc::clone(&self.model), None, limits::MODEL_RETRIES);
            let given = agent.run(ctx, input).await?;
            let found = self.checks.found();
            if found.plan.is_some() {
                return Ok(given);
            }
            let message = format!("no reply was a valid plan; the last one: {}", found.wrong);
            Err(AgentFailure { fault: Fault::step("no_plan", message), output: given.output, usage: given.usage })
        })
    }
}

impl Checks {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a reply against all that a plan must be; gives what is wrong with it.
    async fn look(&self, reply: &str) -> Result<Workflow, String> {
        let document = reply::document_of(reply);
        if document.is_empty() {
            return Err("the answer has no document".to_owned());
        }
        let base = &self.orchestrator.shared.settings.workdir;
        if let Some(why) = reply::refused(document) {
            return Err(why);
        }
        // As it stands, so that lines are those of the reply; then without what it has no say in.
        Workflow::parse(document, base).map_err(|error| error.to_string())?;
        let stripped = reply::stripped(document).ok_or("the document cannot be read")?;
        let plan = Workflow::parse(&stripped, base).map_err(|error| error.to_string())?;
        // What is checked is what is shown, kept and run.
        let plan = Workflow::parse(&plan.to_yaml(), base).map_err(|error| error.to_string())?;
        match self.orchestrator.check(&plan, &self.options).await {
            Ok(_) => Ok(plan),
            Err(Error::Refused(faults)) => Err(faults.iter().map(with_hint).collect::<Vec<_>>().join("\n")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What the model hears of its reply; nothing when that is a plan, or was its last.
    async fn judge(&self, reply: &str) -> Option<Arc<str>> {
        match self.look(reply).await {
            Ok(plan) => {
                self.found().plan = Some(plan);
                None
            }
            Err(wrong) => {
                let mut found = self.found();
                let most = limits::PLAN_FINDINGS_BYTES;
                found.wrong = wrong.get(..wrong.floor_char_boundary(most)).unwrap_or_default().to_owned();
                if found.repairs >= limits::PLAN_REPAIRS {
                    return None;
                }
                found.repairs += 1;
                Some(
                    format!("That is no valid plan. Answer with the whole document again, repaired:\n{}", found.wrong)
                        .into(),
                )
            }
        }
    }
}

fn with_hint(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("{fault} ({hint})"),
        None => fault.to_string(),
    }
}

/// Hears what the model said last.
struct Heard {
    inner: Arc<dyn Recorder>,
    last: Mutex<Arc<str>>,
}

impl Recorder for Heard {
    fn record(&self, body: Body) -> BoxFuture<'_, Result<(), Fault>> {
        self.inner.record(body)
    }

    fn observe(&self, body: Body) {
        if let Body::TurnFinished { message, .. } = &body {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = message.text().into();
        }
        self.inner.observe(body);
    }

    fn past(&self) -> Option<&PastTry> {
        self.inner.past()
    }
}

/// Reads what the model said, and writes what is wrong with it.
struct Critic {
    checks: Arc<Checks>,
    heard: Arc<Heard>,
}

impl Critic {
    /// What the model said in the turn before, which an earlier process may have heard.
    fn said_before(&self, turn: u32) -> Arc<str> {
        let recorded = self.heard.past().and_then(|past| past.turn(turn.saturating_sub(1)));
        let said = recorded.map(|turn| turn.message.text().into());
        said.unwrap_or_else(|| Arc::clone(&self.heard.last.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Mailbox for Critic {
    fn read(&self, _: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn close(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(async move {
            let Some(wrong) = self.checks.judge(&self.said_before(turn)).await else { return Ok(Vec::new()) };
            // An earlier process may have said the same.
            if self.heard.past().is_none_or(|past| past.mail(turn).is_empty()) {
                let told = Told { turn, upto: 0, text: Arc::clone(&wrong) };
                self.heard.record(Body::Told(told)).await?;
            }
            Ok(vec![wrong])
        })
    }

    /// Also a reply that was cut off is answered.
    fn listens_on(&self) -> bool {
        true
    }
}
