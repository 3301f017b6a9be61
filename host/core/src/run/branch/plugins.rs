//! Who may use a plugin or a server of tools: as a tool, a model, a transform or a condition.
//!
//! It must not know what either may do. In doubt it says yes.

use super::changes::{has_agent, judge_of};
use crate::id::{Alias, PluginModelName};
use crate::spec::workflow::{AgentSpec, Condition, Scope, Step, ToolFilter, Work, Workflow};
use crate::transform::Transform;

/// Whether the step itself may use what the alias names; steps inside of it are not looked at.
pub(super) fn uses(workflow: &Workflow, (step, scope): (&Step, &Scope), alias: &Alias) -> bool {
    let tool = step.tool().and_then(|tool| tool.alias()) == Some(alias);
    let condition = matches!(&step.condition, Some(Condition::Plugin(condition)) if condition.plugin == *alias);
    let own = step.transform.input.iter().chain(&step.transform.output);
    let around = scope.defaults.output_transform.iter().filter(|_| has_agent(step));
    let transforms = own.chain(around).any(|link| Transform::plugin(link) == Some(alias));
    let works = std::iter::once(step).chain(judge_of(step));
    tool || condition || transforms || works.into_iter().any(|step| agent_uses(workflow, step, alias))
}

fn agent_uses(workflow: &Workflow, step: &Step, alias: &Alias) -> bool {
    let Work::Agent(work) = &step.work else { return false };
    let agent = work.agent.as_ref().and_then(|name| workflow.agents.get(name));
    let models =
        [work.model.as_deref(), agent.and_then(|agent| agent.model.as_deref()), workflow.options.model.as_deref()];
    let links = |agent: &AgentSpec| {
        agent.transform.input.iter().chain(&agent.transform.output).any(|link| link.plugin() == Some(alias))
    };
    models.into_iter().flatten().any(|model| is_model_of(model, alias))
        || agent.is_none_or(|agent| links(agent) || may_call(&agent.tools, alias))
}

fn is_model_of(model: &str, alias: &Alias) -> bool {
    matches!(PluginModelName::parse(model), Some(Ok(name)) if name.alias == *alias)
}

/// Whether some tool of the plugin could pass the filter.
fn may_call(filter: &ToolFilter, alias: &Alias) -> bool {
    let tools = format!("{alias}.");
    let reaches = |pattern: &String| {
        let stem = pattern.strip_suffix('*').unwrap_or(pattern);
        stem.starts_with(&tools) || (stem.len() < pattern.len() && tools.starts_with(stem))
    };
    filter.allow.as_ref().is_none_or(|patterns| patterns.iter().any(reaches))
}
