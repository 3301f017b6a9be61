//! A goal becomes a plan: a document that a model writes, checked like every other, and run when somebody approves it.

mod planner;
mod reply;

use super::plugins::Loaded;
use super::recall::RecallChoice;
use super::{Lineage, Orchestrator, RunOptions, launch};
use crate::error::Error;
use crate::tracer::GoalSpan;
use crate::workflow::{AgentConfig, Workflow};
use cofferdam_core::budget::{Cost, Spent};
use cofferdam_core::event::RunStatus;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, RunId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::message::Usage;
use cofferdam_core::port::{Answer, Model, Question};
use cofferdam_core::run::RunResult;
use cofferdam_core::spec;
use planner::Planner;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

/// The tables of the language that a plan needs.
const TABLES: [&str; 9] =
    ["document", "input", "agent", "step", "loop", "loop-check", "question", "condition", "options"];

/// What a planner is told that it does; the schema and the tools come behind it.
const PROMPT: &str = "\
You write a workflow that reaches a goal. A workflow is a YAML document: agents, each with a description, a prompt and the tools it may \
use, and steps that depend on each other. Each step gets what the steps gave that it depends on, and nothing else.
Answer with the document alone, in one block of ```yaml. Rules:
- `name` is short, in small letters with hyphens. Ids of steps are short words.
- As few steps as the goal needs. Steps that need nothing of each other do not depend on each other: they run side by side.
- `instructions` say all that an agent needs to know: it does not see the goal.
- Use only the tools that are listed, and give each agent only those that it needs: `tools: []` for one that only thinks or writes.
- No inputs without a default, no models, temperatures or time limits: the host decides them.
- What the workflow gives is `output`, an expression like `steps.summary.content`, or what its last step gives.";

/// A plan for a goal.
#[derive(Clone)]
pub struct GoalPlan {
    /// The checked document.
    pub workflow: Workflow,
    /// The same as text: saved in a file, it can be run again.
    pub yaml: String,
    /// The recorded run in which it was made.
    pub run_id: RunId,
    /// Tokens that it cost.
    pub usage: Usage,
    /// The same by model.
    pub usage_by_model: BTreeMap<Arc<str>, Usage>,
    /// What that cost.
    pub cost: Cost,
    /// How long it took.
    pub took: Duration,
    /// How often a reply had to be repaired.
    pub repairs: u32,
}

impl GoalPlan {
    /// What whoever approves plans is asked.
    #[must_use]
    pub fn question(&self) -> Question {
        let steps = self.workflow.document().scope.steps.len();
        Question {
            run_id: Some(self.run_id.clone()),
            path: StepPath::ROOT,
            title: format!("Run this plan of {steps} step{}?", if steps == 1 { "" } else { "s" }),
            detail: self.yaml.clone(),
            always: None,
        }
    }

    /// What a run of the plan is given: the goal as its input, in its metadata who planned it, and what planning left of the
    /// budget.
    #[must_use]
    pub fn options(&self, goal: &str, mut options: RunOptions) -> RunOptions {
        options.input.get_or_insert_with(|| goal.to_owned());
        options.budget.most = options.budget.most.less(&self.spent());
        options.metadata.insert("goal".to_owned(), json!(goal));
        options.metadata.insert("planned_by".to_owned(), json!(self.run_id.as_str()));
        options
    }
}

impl GoalPlan {
    fn spent(&self) -> Spent {
        let (priced, unpriced) = (self.cost.total.unwrap_or_default(), u64::from(self.cost.total.is_none()));
        Spent { usage: self.usage, priced, unpriced, wall: self.took, ..Spent::default() }
    }
}

impl Orchestrator {
    /// The agent that plans, and the name of its runs.
    pub const PLANNER: &str = "planner";

    /// Makes a plan for a goal, and runs nothing of it: a model writes a document against the published schema, and repairs
    /// what is wrong with it, at most [`limits::PLAN_REPAIRS`] times. The model is that of the options, of the
    /// orchestrator's coordinator, or the default. Making it is a recorded run.
    ///
    /// # Errors
    /// [`Error::NoPlan`] when no reply was a valid plan; else when the model cannot be asked, or nothing can be recorded.
    pub async fn plan_goal(&self, goal: &str, options: &RunOptions) -> Result<GoalPlan, Error> {
        self.refuse_goal(goal)?;
        let run = launch::new_run_id();
        let span = self.goal_span(&run);
        let planned = self.plan_as(goal, options, (run, &span)).await;
        let usage = planned.as_ref().map(|plan| plan.usage).unwrap_or_default();
        span.end(status_of(&planned, |_| RunStatus::Completed), fault_of(&planned), usage);
        planned
    }

    fn refuse_goal(&self, goal: &str) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if goal.trim().is_empty() {
            return Err(Error::Refused(vec![Fault::user("empty_goal", "there is no goal to plan for")]));
        }
        Ok(())
    }

    /// Makes a plan in a run with this id.
    async fn plan_as(
        &self,
        goal: &str,
        options: &RunOptions,
        (run_id, span): (RunId, &GoalSpan),
    ) -> Result<GoalPlan, Error> {
        let base = &self.shared.settings.workdir;
        let agent = AgentConfig::new(Orchestrator::PLANNER).description("plans how a goal is reached");
        let agent = agent.prompt(&system_prompt()).tools([] as [&str; 0]).max_turns(limits::PLAN_REPAIRS + 1);
        let workflow = Workflow::from_agent(&agent, base)?;
        let model = self.planning_model(&workflow, options).await?;
        let settings =
            self.run_settings(workflow.document(), options, self.shared.settings.model_options.clone(), None);
        self.refuse_model_options(&settings, workflow.document())?;
        let run = RunOptions { input: Some(goal.to_owned()), ..options.clone() };
        let planner = Arc::new(Planner::new(self.without_handle(), &workflow, (model, &settings), run)?);
        let name = AgentName::parse(Orchestrator::PLANNER).expect("`planner` follows the grammar");
        let workflow = workflow.with_agent(name, Arc::clone(&planner) as _);
        let mut metadata = options.metadata.clone();
        metadata.insert("goal".to_owned(), json!(goal));
        span.holds(&run_id);
        let asked = RunOptions {
            run_id: Some(run_id),
            input: Some(self.request(goal).await?),
            model: options.model.clone(),
            model_options: options.model_options.clone(),
            timeout: options.timeout,
            budget: options.budget,
            session: options.session.clone(),
            sinks: options.sinks.clone(),
            recall: RecallChoice::Exactly(None),
            metadata,
            ..RunOptions::default()
        };
        let lineage = Lineage::outermost(workflow.name(), workflow.shared(), None);
        let result = self.run_within(&workflow, asked, lineage, Vec::new()).await?;
        let RunResult { run_id, usage, usage_by_model, cost, worked_ms, .. } = result;
        let took = Duration::from_millis(worked_ms);
        match (planner.take(), result.status) {
            (Some((workflow, repairs)), RunStatus::Completed) => {
                let yaml = workflow.to_yaml();
                Ok(GoalPlan { workflow, yaml, run_id, usage, usage_by_model, cost, took, repairs })
            }
            _ => {
                let fault = result.error.map_or_else(Fault::cancelled, |error| error.fault);
                Err(Error::NoPlan { run: run_id, fault: Box::new(fault) })
            }
        }
    }

    /// Makes a plan for a goal, has it approved, and runs it with the goal as its input. Without an approver it runs at once.
    /// The tokens of the planning are in the result; its run is named there, as `planned_by` in the metadata.
    ///
    /// # Errors
    /// As of [`Self::plan_goal`] and [`Self::run_flow`]; [`Error::PlanDenied`] when the plan was not approved, also when nobody
    /// answered in time.
    pub async fn run_goal(&self, goal: &str, options: RunOptions) -> Result<RunResult, Error> {
        self.refuse_goal(goal)?;
        let run = launch::new_run_id();
        let span = self.goal_span(&run);
        let outcome = Box::pin(self.pursue(goal, options, (run, &span))).instrument(tracing::info_span!("goal")).await;
        end_span(span, &outcome);
        outcome
    }

    /// Makes a plan in a run with this id, has it approved, and runs it.
    async fn pursue(
        &self,
        goal: &str,
        options: RunOptions,
        (run, span): (RunId, &GoalSpan),
    ) -> Result<RunResult, Error> {
        let plan = self.plan_as(goal, &options, (run, span)).await?;
        if let Some(approver) = self.approver_of(&options) {
            match approver.ask(plan.question()).await {
                Answer::Yes | Answer::Always => {}
                Answer::No(why) => return Err(Error::PlanDenied { run: plan.run_id, why }),
                Answer::Nobody => {
                    let why = Some("nobody answered".to_owned());
                    return Err(Error::PlanDenied { run: plan.run_id, why });
                }
            }
        }
        self.run_plan_within(goal, &plan, (options, span)).await
    }

    /// Runs a plan that was made for a goal, with the goal as its input, whoever approved it.
    ///
    /// # Errors
    /// As of [`Self::run_flow`].
    pub async fn run_plan(&self, goal: &str, plan: &GoalPlan, options: RunOptions) -> Result<RunResult, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let span = self.goal_span(&plan.run_id);
        let outcome = self.run_plan_within(goal, plan, (options, &span)).await;
        end_span(span, &outcome);
        outcome
    }

    async fn run_plan_within(
        &self,
        goal: &str,
        plan: &GoalPlan,
        (options, span): (RunOptions, &GoalSpan),
    ) -> Result<RunResult, Error> {
        let mut options = plan.options(goal, options);
        span.holds(options.run_id.get_or_insert_with(launch::new_run_id));
        let mut result = self.run_flow(&plan.workflow, options).await?;
        result.usage += plan.usage;
        result.cost.add(&plan.cost);
        for (model, usage) in &plan.usage_by_model {
            *result.usage_by_model.entry(Arc::clone(model)).or_default() += *usage;
        }
        Ok(result)
    }

    async fn planning_model(&self, workflow: &Workflow, options: &RunOptions) -> Result<Arc<dyn Model>, Error> {
        let settings = &self.shared.settings;
        let coordinator = options.coordinator.as_ref().or(settings.coordinator.as_ref());
        let own = coordinator.and_then(|coordinator| coordinator.model().cloned());
        let name = options.model.clone().or(own).or_else(|| settings.default_model.clone());
        let name = name.ok_or_else(|| {
            let fault = Fault::user("no_model", "the planner has no model");
            Error::Refused(vec![fault.with_hint("name one with `--model`, or as the default model")])
        })?;
        let asked = RunOptions { model: Some(name.clone()), ..RunOptions::default() };
        let models = self.models_for(workflow, &asked, &Loaded::default()).await.models;
        let model = models.resolve(&name).map_err(|fault| Error::Refused(vec![fault]))?;
        if model.info().name.starts_with("builtin/") {
            let fault = Fault::user("no_model", format!("`{name}` is no language model, and cannot plan"));
            return Err(Error::Refused(vec![fault.with_hint("name one with `--model`, or as the default model")]));
        }
        Ok(model)
    }

    /// The goal, and the tools that agents of a plan could have.
    async fn request(&self, goal: &str) -> Result<String, Error> {
        let bare = Workflow::from_agent(&AgentConfig::new(Orchestrator::PLANNER), &self.shared.settings.workdir)?;
        let tools = self.tools(&bare, None).await?.tools;
        let mut text = format!("The goal:\n{}\n\nThe tools:", goal.trim());
        for tool in &tools {
            // Writing into a string cannot fail.
            let _ = write!(text, "\n- `{}`: {}", tool.listed.name, tool.listed.description);
        }
        Ok(text)
    }

    fn goal_span(&self, run: &RunId) -> GoalSpan {
        GoalSpan::begin(&self.shared.settings.tracers, self.clock(), run)
    }

    /// What keeps no orchestrator from ending with its last clone.
    pub(super) fn without_handle(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), _handle: None }
    }
}

fn end_span(span: GoalSpan, outcome: &Result<RunResult, Error>) {
    let usage = outcome.as_ref().map(|result| result.usage).unwrap_or_default();
    span.end(status_of(outcome, |result| result.status), fault_of(outcome), usage);
}

fn status_of<T>(outcome: &Result<T, Error>, status: impl Fn(&T) -> RunStatus) -> &'static str {
    outcome.as_ref().map_or(RunStatus::Failed, status).as_str()
}

/// Why there is no plan: the only fault of a goal that is not one of its runs.
fn fault_of<T>(outcome: &Result<T, Error>) -> Option<&Fault> {
    match outcome {
        Err(Error::NoPlan { fault, .. }) => Some(fault),
        _ => None,
    }
}

fn system_prompt() -> String {
    let mut schema = spec::schema();
    if let Some(Value::Object(tables)) = schema.get_mut("$defs") {
        tables.retain(|name, _| TABLES.contains(&name.as_str()));
    }
    format!("{PROMPT}\n\nThe JSON Schema of a document:\n{schema}")
}
