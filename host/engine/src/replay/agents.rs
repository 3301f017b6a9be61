//! The tries of agent steps, once more: the agent holds its conversation against the recorded turns and replies.

use super::Replayer;
use super::calls::is_from_outside;
use super::conversation::Past;
use super::messages::Made;
use super::tries::{Held, failure};
use crate::agent::LlmAgent;
use crate::attempt::Terms;
use crate::executor::{compile, default_agent, root_step};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{
    Agent as _, AgentContext, AgentFailure, AgentInput, AgentOutput, Approvals, CancelFlag, Model, Toolbox, Unlimited,
};
use cofferdam_core::recollect;
use cofferdam_core::run::Machine;
use cofferdam_core::run::replay::{Asked, Difference};
use cofferdam_core::spec::workflow::{AgentSpec, AgentWork};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Replayer {
    pub(super) async fn hold_agent(
        &mut self,
        machine: &Machine,
        (path, attempt): (&StepPath, u32),
        work: &AgentWork,
        asked: &Asked<'_>,
    ) -> Held {
        let spec = match self.spec(path, work, asked) {
            Ok(spec) => spec,
            Err(why) => {
                self.take(why);
                return Held::Taken;
            }
        };
        if let Some(difference) = self.other_options((path, attempt), &spec, asked) {
            return difference.into();
        }
        let terms = match self.terms(path, work, &spec) {
            Ok(terms) => terms,
            Err(fault) => return fault.into(),
        };
        let own = machine.step_at(path).map(|step| step.transform.clone()).unwrap_or_default();
        let input: Vec<_> = own.input.iter().chain(&spec.transform.input).cloned().collect();
        let (message, shortened) = match self.message(machine, (path, attempt), work, &input).await {
            Made::Message(message, shortened) => (message, shortened),
            Made::Fault(fault) => return (*fault).into(),
        };
        let message = with_recalled(message, asked);
        let past = self.past(asked, &terms);
        let output: Vec<_> = spec.transform.output.iter().chain(&own.output).cloned().collect();
        let spoken = self.speak(machine, (path, attempt), (spec, message), (&terms, &past)).await;
        if let Some(held) = self.compare(path, asked, &past) {
            return held;
        }
        let given = match spoken {
            Ok(given) => given,
            Err(failure) => return Held::Ended(Err(Box::new(failure)), Vec::new()),
        };
        if let Some(fault) = terms.refuse(&given.output.result) {
            return Held::Ended(Err(Box::new(AgentFailure { fault, ..failure_of(given) })), Vec::new());
        }
        if let Some(missing) = self.missing(&output, path) {
            self.take(missing);
            return Held::Taken;
        }
        let chains = self.scope.chains(&self.ports, machine, path, Some(attempt));
        let changed = self.scope.wait_for(machine, chains.apply(&output, given.output.clone())).await;
        let outcome = match changed {
            Ok(output) => Ok(AgentOutput { output, usage: given.usage }),
            Err(fault) => Err(Box::new(AgentFailure { fault, ..failure_of(given) })),
        };
        Held::Ended(outcome, shortened.unwrap_or_else(|| recorded_shortened(asked)))
    }

    /// What the agent works with.
    pub(super) fn terms(&self, path: &StepPath, work: &AgentWork, spec: &AgentSpec) -> Result<Terms, Fault> {
        let schema = work.result_schema.as_ref().or(spec.result_schema.as_ref());
        let compiled = schema.map(|schema| compile(&format!("step `{path}`"), schema).map(|made| (schema, made)));
        let result = compiled.transpose()?.map(|(schema, checker)| (Arc::clone(schema), checker));
        let (agent, tools) = (spec.name.as_str().into(), self.ports.gateway.specs(&spec.tools));
        Ok(Terms { agent, tools, model: None, options: Arc::default(), result, delegate: None })
    }

    /// What the agent meets.
    pub(super) fn past(&self, asked: &Asked<'_>, terms: &Terms) -> Arc<Past> {
        let (limits, gateway) = (self.workflow.options.limits, Arc::clone(&self.ports.gateway));
        Arc::new(Past::new(asked, Arc::clone(&terms.tools), limits, gateway))
    }

    /// Has the agent hold its conversation.
    pub(super) async fn speak(
        &mut self,
        machine: &Machine,
        (path, attempt): (&StepPath, u32),
        (spec, message): (Arc<AgentSpec>, AgentInput),
        (terms, past): (&Terms, &Arc<Past>),
    ) -> Result<AgentOutput, AgentFailure> {
        let model = Arc::clone(past) as Arc<dyn Model>;
        let agent = LlmAgent::new(spec, model, terms.result.clone(), 0).within(self.workflow.options.limits);
        let ctx = self.agent_context(machine, (path, attempt), terms, past);
        self.scope.wait_for(machine, agent.run(ctx, message)).await
    }

    /// The description of the agent that worked, or why nobody here can do its work again.
    pub(super) fn spec(&self, path: &StepPath, work: &AgentWork, asked: &Asked<'_>) -> Result<Arc<AgentSpec>, String> {
        if self.ports.ordered_by_engine && root_step(path).is_some() {
            return Err(format!("the work of step `{path}`: the workflow engine may have done it itself"));
        }
        let Some(name) = &work.agent else { return Ok(Arc::new(default_agent())) };
        let foreign = format!("the work of step `{path}`: agent `{name}` is a program's own");
        let own = self.ports.agents.contains(name);
        let Some(spec) = self.workflow.agents.get(name).filter(|_| !own) else { return Err(foreign) };
        // Whoever a model drives has asked it, unless the try failed before.
        let asks =
            asked.before.iter().any(|event| matches!(event.body, Body::TurnStarted { .. } | Body::TurnFinished { .. }));
        if asks || failure(asked).is_some() { Ok(Arc::clone(spec)) } else { Err(foreign) }
    }

    fn agent_context(
        &self,
        machine: &Machine,
        (path, attempt): (&StepPath, u32),
        terms: &Terms,
        past: &Arc<Past>,
    ) -> AgentContext {
        AgentContext {
            run_id: self.scope.run_id().clone(),
            path: path.clone(),
            attempt,
            earlier: Vec::new(),
            kept: Arc::default(),
            deadline: None,
            model: None,
            model_options: Arc::default(),
            result_schema: terms.result.as_ref().map(|(schema, _)| Arc::clone(schema)),
            answers: BTreeMap::new(),
            approvals: Approvals::default(),
            tools: Arc::clone(past) as Arc<dyn Toolbox>,
            mail: Arc::clone(past) as _,
            purse: Arc::new(Unlimited),
            narrowings: Arc::new(machine.narrowings(path)),
            events: Arc::clone(past) as _,
            run: self.scope.context(path, Some(attempt)),
            cancel: CancelFlag::default(),
        }
    }

    /// Whether the conversation is the recorded one; what it gave is looked at afterwards.
    pub(super) fn compare(&mut self, path: &StepPath, asked: &Asked<'_>, past: &Past) -> Option<Held> {
        let (difference, unknown, beyond, cut) = {
            let mut findings = past.findings();
            (findings.difference.take(), std::mem::take(&mut findings.unknown), findings.beyond, findings.cut)
        };
        for tool in unknown {
            self.unchecked.insert(format!("calls of `{tool}` in step `{path}` that left no record: it is not here"));
        }
        if let Some(difference) = difference.or_else(|| past.left_over()) {
            return Some(difference.into());
        }
        if beyond.is_none() && !cut {
            return None;
        }
        // The model, a tool or the time failed there.
        if failure(asked).is_some_and(is_from_outside) {
            return Some(Held::Taken);
        }
        let what = match beyond {
            Some(turn) => format!("turn {turn} is asked for, and is not in the record"),
            None => "a call has no end in the record".to_owned(),
        };
        Some(Difference::at(asked.recorded, what).into())
    }
}

/// The message with what retrieval memory had found for it.
fn with_recalled(input: AgentInput, asked: &Asked<'_>) -> AgentInput {
    let recalled = asked.before.iter().rev().find_map(|event| match &event.body {
        Body::MemoryRecalled(recalled) => Some(&recalled.text),
        _ => None,
    });
    match recalled {
        Some(text) => AgentInput { message: recollect::joined(input.message.to_string(), text).into(), ..input },
        None => input,
    }
}

fn failure_of(given: AgentOutput) -> AgentFailure {
    AgentFailure { fault: Fault::cancelled(), output: given.output, usage: given.usage }
}

/// The inputs that were shortened, as they are recorded.
fn recorded_shortened(asked: &Asked<'_>) -> Vec<String> {
    match &asked.recorded.body {
        Body::StepFinished { truncated_inputs, .. } => truncated_inputs.clone(),
        _ => Vec::new(),
    }
}
