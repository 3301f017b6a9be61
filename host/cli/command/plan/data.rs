//! A plan as data.

use super::estimate;
use super::words::{agent_of, decides, goes_on, item_failure_word, kind, mode, model_of, policy_word, what};
use super::{Planned, planned};
use cofferdam::core::expr::Expr;
use cofferdam::core::spec::duration;
use cofferdam::core::spec::workflow::{
    AgentSpec, AskWork, ForEach, Include, Items, LoopKind, OnLimit, OutputMode, Repeat, Step, Work, Workflow,
};
use serde_json::{Map, Value, json};

/// The plan as data.
pub(in crate::command) fn json(document: &Workflow) -> Value {
    let plugins = document.plugins.iter().map(
        |(alias, plugin)| json!({ "alias": alias, "source": plugin.source, "requests": plugin.requested.explain() }),
    );
    let servers = document
        .servers
        .iter()
        .map(|(alias, server)| json!({ "alias": alias, "place": server.place(), "requests": server.explain() }));
    let steps = planned(document);
    let mut open = Vec::new();
    find_open(&steps, &mut open);
    let calls = estimate::of_document(document);
    json!({
        "name": document.name,
        "description": document.description,
        "mode": mode(&document.scope),
        "inputs": document.inputs.iter().map(|input| json!({
            "name": input.name, "required": input.required, "default": input.default, "description": input.description,
        })).collect::<Vec<_>>(),
        "agents": document.agents.values().map(|agent| of_agent(document, agent)).collect::<Vec<_>>(),
        "plugins": plugins.collect::<Vec<_>>(),
        "mcp_servers": servers.collect::<Vec<_>>(),
        "steps": steps.iter().map(|step| of_step(document, step)).collect::<Vec<_>>(),
        "output": document.output.as_ref().map(Expr::source),
        "model_calls": {
            "at_least": calls.at_least,
            "at_most": calls.bound(),
            "open_loops": open,
            "items_of_open_loops": document.options.limits.for_each_items,
            "meaning": estimate::MEANING,
        },
        "not_built": document.unbuilt.iter().map(|part| json!({ "path": part.path, "what": part.what })).collect::<Vec<_>>(),
    })
}

/// The loops whose number of iterations is known only when they run.
pub(super) fn find_open(steps: &[Planned<'_>], open: &mut Vec<String>) {
    for planned in steps {
        if estimate::is_open(planned.step) {
            open.push(planned.path.clone());
        }
        if let Some(inner) = &planned.inner {
            find_open(&inner.steps, open);
        }
    }
}

fn of_agent(document: &Workflow, agent: &AgentSpec) -> Value {
    let turns = document.turns_of(Some(agent));
    let mut about = json!({
        "name": agent.name, "description": agent.description, "model": agent.model, "max_turns": turns,
        "tools": { "allow": agent.tools.allow, "deny": agent.tools.deny },
    });
    if let (Some(grants), Some(about)) = (&agent.grants, about.as_object_mut()) {
        about.insert("grants".to_owned(), json!(grants));
    }
    about
}

fn of_step(document: &Workflow, planned: &Planned<'_>) -> Value {
    let step = planned.step;
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            map.insert(key.to_owned(), value);
        }
    };
    put("id", json!(step.id));
    put("path", json!(planned.path));
    put("label", json!(step.label));
    put("kind", json!(kind(step)));
    put("does", json!(what(document, step)));
    put("layer", json!(planned.layer));
    put("depends_on", json!(planned.after.iter().map(|step| step.id.as_str()).collect::<Vec<_>>()));
    put("condition", json!(step.condition.as_ref().map(decides)));
    put("loop", step.repeat.as_ref().map(|repeat| of_loop(document, &repeat.kind)).unwrap_or_default());
    for (key, value) in of_work(document, step) {
        put(key, value);
    }
    put("tries", json!(u64::from(step.retries) + 1));
    put("timeout", json!(step.timeout.map(duration::format)));
    put("on_failure", json!(step.on_failure.map(policy_word)));
    put("grants", json!(step.grants));
    put("model_calls", json!(estimate::of_step(document, step)));
    if let Some(inner) = &planned.inner {
        put("mode", json!(mode(inner.scope)));
        put("steps", inner.steps.iter().map(|step| of_step(document, step)).collect());
    }
    Value::Object(map)
}

fn of_work(document: &Workflow, step: &Step) -> Vec<(&'static str, Value)> {
    match &step.work {
        Work::Agent(work) => {
            let agent = agent_of(document, work);
            vec![
                ("agent", json!(work.agent)),
                ("model", json!(model_of(document, work))),
                ("max_turns", json!(document.turns_of(agent))),
                (
                    "tools",
                    json!({
                        "allow": agent.and_then(|agent| agent.tools.allow.clone()),
                        "deny": agent.map(|agent| agent.tools.deny.clone()).unwrap_or_default(),
                    }),
                ),
                ("files", if work.context_files.is_empty() { Value::Null } else { json!(work.context_files) }),
            ]
        }
        Work::Tool(work) => vec![("tool", json!(work.tool)), ("args", work.args.source().clone())],
        Work::Ask(ask) => vec![("ask", of_ask(ask))],
        Work::Include(include) => vec![("include", of_include(include))],
        Work::Group(_) | Work::Body => Vec::new(),
    }
}

fn of_ask(ask: &AskWork) -> Value {
    json!({
        "prompt": ask.prompt.source(), "choices": ask.choices, "schema": ask.schema.as_deref(),
        "default": ask.default, "timeout": ask.timeout.map(duration::format),
    })
}

fn of_include(include: &Include) -> Value {
    json!({
        "name": include.name, "path": include.path, "with": include.with.source(),
        "output": include.output.as_ref().map(Expr::source),
    })
}

fn of_loop(document: &Workflow, kind: &LoopKind) -> Value {
    match kind {
        LoopKind::ForEach(each) => of_for_each(each),
        LoopKind::Repeat(repeat) => of_repeat(document, repeat),
    }
}

fn of_for_each(each: &ForEach) -> Value {
    let (items, count) = match &each.items {
        Items::Expr(expr) => (json!(expr.source()), Value::Null),
        Items::List(list) => (json!(list), json!(list.len())),
    };
    json!({
        "kind": "for_each", "items": items, "count": count, "max_concurrency": each.max_concurrency,
        "on_item_failure": item_failure_word(each.on_item_failure),
    })
}

fn of_repeat(document: &Workflow, repeat: &Repeat) -> Value {
    let judge = repeat.judge.as_deref().map(|judge| match &judge.work {
        Work::Agent(work) => json!({ "agent": work.agent, "model": model_of(document, work) }),
        _ => Value::Null,
    });
    json!({
        "kind": "repeat",
        "max_iterations": repeat.max_iterations,
        "while": repeat.go_on.as_ref().map(goes_on),
        "until": repeat.until.as_ref().map(Expr::source),
        "judge": judge,
        "on_limit": match repeat.on_limit { OnLimit::Complete => "complete", OnLimit::Fail => "fail" },
        "delay": (!repeat.delay.is_zero()).then(|| duration::format(repeat.delay)),
        "output_mode": match repeat.output_mode { OutputMode::Last => "last", OutputMode::Cumulative => "cumulative" },
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::everything;
    use super::*;

    #[test]
    fn the_plan_is_data() {
        let plan = json(&everything());
        let paths = |steps: &Value| -> Vec<String> {
            steps.as_array().unwrap().iter().map(|step| step["path"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(paths(&plan["steps"]), ["list", "scan", "refine", "both", "part", "ok"]);
        assert_eq!(paths(&plan["steps"][1]["steps"]), ["scan[i].look"]);
        assert_eq!(paths(&plan["steps"][4]["steps"]), ["part.inside"]);
        assert_eq!(plan["steps"][1]["depends_on"], json!(["list"]));
        assert_eq!((&plan["steps"][1]["layer"], &plan["steps"][0]["does"]), (&json!(1), &json!("tool glob")));
        assert_eq!(plan["steps"][1]["loop"]["kind"], "for_each");
        assert_eq!(plan["steps"][2]["loop"]["judge"]["agent"], "critic");
        assert_eq!(plan["steps"][3]["mode"], "parallel");
        assert_eq!(plan["model_calls"]["open_loops"], json!(["scan"]));
        assert_eq!(plan["model_calls"]["at_least"], 5);
    }
}
