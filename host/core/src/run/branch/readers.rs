//! Who reads inputs and variables: expressions and templates say so themselves, code and tools of the run may.
//!
//! It must not know values. What it cannot look into reads everything.

use super::changes::{agents_of, judge_of};
use super::plugins;
use crate::expr;
use crate::id::{AgentName, Alias, StepPath, ToolName};
use crate::memory;
use crate::run::Reads;
use crate::spec::workflow::{
    AgentSpec, Condition, Items, LoopCheck, LoopKind, PluginReference, Scope, Step, Work, Workflow, pattern_matches,
};
use crate::template::Template;
use crate::transform::Transform;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The tool that reads variables for a model or a document.
const READS_VARIABLES: &str = "context_get";

/// What may read the whole run and does not say what it reads: code of the embedder's, and plugins whose directories the
/// user named by inputs.
#[derive(Clone, Debug, Default)]
pub struct Opaque {
    /// Agents in code.
    pub agents: BTreeSet<AgentName>,
    /// Tools in code.
    pub tools: BTreeSet<ToolName>,
    /// Plugins that get other directories with other inputs, beyond what the document asks for.
    pub plugins: BTreeSet<Alias>,
    /// Tools that plugins may call in turn, beyond what the document asks for.
    pub callers: BTreeMap<Alias, BTreeSet<ToolName>>,
}

/// Names whose values are other ones.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Of inputs of the document.
    pub(super) inputs: BTreeSet<String>,
    /// Of variables, inputs among them.
    pub(super) vars: BTreeSet<String>,
    /// Of namespaces of the shared memory.
    pub(super) memory: BTreeSet<String>,
}

impl Names {
    fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.vars.is_empty() && self.memory.is_empty()
    }

    /// Whether a text reads one of them; the inputs of an included document are its own.
    fn read_by(&self, reader: &impl Reads, own_inputs: bool) -> bool {
        let reads = |root: &str, names: &BTreeSet<String>| {
            let all = || reader.members(&[root]);
            reader.reads(root)
                && !names.is_empty()
                && all().is_none_or(|read| read.into_iter().any(|name| names.contains(name)))
        };
        (!own_inputs && reads("inputs", &self.inputs)) || reads("vars", &self.vars) || reads("memory", &self.memory)
    }

    /// Whether the tool of this name may read one of them. Who writes to the memory may learn what is there.
    fn read_by_tool(&self, name: &str) -> bool {
        let variables = !self.inputs.is_empty() || !self.vars.is_empty();
        (name == READS_VARIABLES && variables) || (memory::is_tool_name(name) && !self.memory.is_empty())
    }

    /// Whether a directory of a plugin depends on one of the inputs.
    fn lead(&self, from: &str) -> bool {
        let roots = expr::Names { steps: &[], roots: &["inputs"] };
        Template::text(from, &roots).map_or(true, |template| self.read_by(&template, false))
    }
}

/// Whether the output of the run reads one of the names.
pub(super) fn output_reads(workflow: &Workflow, names: &Names) -> bool {
    workflow.output.as_ref().is_some_and(|output| names.read_by(output, false))
}

/// The places of the steps that read one of the names.
pub(super) fn readers(workflow: &Workflow, opaque: &Opaque, names: &Names) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if names.is_empty() {
        return found;
    }
    let mut mounted = opaque.plugins.clone();
    let by_input = |plugin: &PluginReference| plugin.requested.fs.also.iter().any(|mount| names.lead(&mount.from));
    mounted.extend(workflow.plugins.iter().filter(|(_, plugin)| by_input(plugin)).map(|(alias, _)| alias.clone()));
    if names.inputs.is_empty() {
        mounted.clear();
    }
    let reads = |tools: &BTreeSet<ToolName>| {
        tools.iter().any(|tool| tool.alias().is_none() && names.read_by_tool(tool.local().as_str()))
    };
    let asked = workflow.plugins.iter().map(|(alias, plugin)| (alias, &plugin.requested.tools));
    mounted.extend(asked.chain(&opaque.callers).filter(|(_, tools)| reads(tools)).map(|(alias, _)| alias.clone()));
    let walk = Walk { workflow, opaque, names, mounted };
    walk.scope(&workflow.scope, &StepPath::ROOT, false, &mut found);
    found
}

struct Walk<'w> {
    workflow: &'w Workflow,
    opaque: &'w Opaque,
    names: &'w Names,
    /// Plugins whose directories depend on one of the inputs, or that may call a tool that reads one of the names.
    mounted: BTreeSet<Alias>,
}

impl Walk<'_> {
    fn scope(&self, scope: &Arc<Scope>, at: &StepPath, own_inputs: bool, found: &mut BTreeSet<String>) {
        for step in &scope.steps {
            let path = at.child(&step.id);
            // Whoever starts the steps may read anything.
            if self.workflow.options.engine.is_some() || self.reads(step, scope, own_inputs) {
                found.insert(path.place());
            }
            if let Some(inner) = step.inner() {
                self.scope(inner, &path, own_inputs || matches!(step.work, Work::Include(_)), found);
            }
        }
    }

    fn reads(&self, step: &Step, scope: &Scope, own_inputs: bool) -> bool {
        self.texts_read(step, own_inputs)
            || self.is_opaque(step, scope)
            || self.mounted.iter().any(|alias| plugins::uses(self.workflow, (step, scope), alias))
    }

    fn texts_read(&self, step: &Step, own_inputs: bool) -> bool {
        let work = match &step.work {
            Work::Agent(work) => work.input.as_ref().is_some_and(|text| self.names.read_by(text, own_inputs)),
            Work::Tool(work) => self.names.read_by(&work.args, own_inputs),
            Work::Ask(work) => self.names.read_by(&work.prompt, own_inputs),
            Work::Include(include) => {
                let output = include.output.as_ref().is_some_and(|output| self.names.read_by(output, true));
                output || self.names.read_by(&include.with, own_inputs)
            }
            Work::Group(_) | Work::Body => false,
        };
        let condition = matches!(&step.condition, Some(Condition::Expr(expr)) if self.names.read_by(expr, own_inputs));
        let repeat = step.repeat.as_ref().is_some_and(|repeat| match &repeat.kind {
            LoopKind::ForEach(each) => matches!(&each.items, Items::Expr(expr) if self.names.read_by(expr, own_inputs)),
            LoopKind::Repeat(repeat) => {
                let go_on = repeat.go_on.as_ref().and_then(|check| match check {
                    LoopCheck::Expr(expr) => Some(expr),
                    LoopCheck::Native(_) => None,
                });
                go_on.into_iter().chain(&repeat.until).any(|expr| self.names.read_by(expr, own_inputs))
            }
        });
        work || condition || repeat || judge_of(step).is_some_and(|judge| self.texts_read(judge, own_inputs))
    }

    /// Whether something works on the step that may read what it likes.
    fn is_opaque(&self, step: &Step, scope: &Scope) -> bool {
        let condition = matches!(step.condition, Some(Condition::Native(_) | Condition::Plugin(_)));
        let check = step.repeat.as_ref().is_some_and(|repeat| match &repeat.kind {
            LoopKind::Repeat(repeat) => matches!(repeat.go_on, Some(LoopCheck::Native(_))),
            LoopKind::ForEach(_) => false,
        });
        let native = |links: &[Transform]| links.iter().any(|link| matches!(link, Transform::Native(_)));
        let links =
            native(&step.transform.input) || native(&step.transform.output) || native(&scope.defaults.output_transform);
        let tool = step.tool().is_some_and(|tool| {
            let own = tool.alias().is_none() && self.names.read_by_tool(tool.local().as_str());
            own || self.opaque.tools.contains(tool)
        });
        let agents = agents_of(step).any(|name| {
            let described = self.workflow.agents.get(name);
            self.opaque.agents.contains(name) || described.is_none_or(|agent| self.agent_is_opaque(agent))
        });
        let default_agent = matches!(&step.work, Work::Agent(work) if work.agent.is_none());
        condition || check || links || tool || agents || (default_agent && !self.opaque.tools.is_empty())
    }

    fn agent_is_opaque(&self, agent: &AgentSpec) -> bool {
        let native = |links: &[Transform]| links.iter().any(|link| matches!(link, Transform::Native(_)));
        // A model is offered the variables and the shared memory only where they are meant.
        let own = [READS_VARIABLES, memory::READ, memory::LIST, memory::WRITE, memory::DELETE];
        let meant = |pattern: &String| {
            pattern != "*" && own.iter().any(|tool| pattern_matches(pattern, tool) && self.names.read_by_tool(tool))
        };
        native(&agent.transform.input)
            || native(&agent.transform.output)
            || agent.tools.allow.iter().flatten().any(meant)
            || (agent.tools.memory.is_some() && !self.names.memory.is_empty())
            || self.opaque.tools.iter().any(|tool| agent.tools.admits(tool))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::branch::tests::workflow;
    use serde_json::{Value, json};

    fn found(document: &Value, inputs: &[&str], vars: &[&str]) -> Vec<String> {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let names = Names { inputs: set(inputs), vars: set(vars), memory: BTreeSet::new() };
        readers(&workflow(document), &Opaque::default(), &names).into_iter().collect()
    }

    fn document(steps: &Value) -> Value {
        json!({
            "name": "w",
            "inputs": { "x": { "type": "string", "default": "1" }, "y": { "type": "array", "default": [] } },
            "agents": { "sets": { "description": "sets", "tools": ["context_*"] } },
            "plugins": {
                "text": { "source": "builtin:text" },
            },
            "steps": steps,
        })
    }

    #[test]
    fn every_text_of_a_step_that_reads_an_input_counts() {
        for step in [
            json!({ "id": "a", "instructions": "a", "condition": "inputs.x == '1'" }),
            json!({ "id": "a", "tool": "read", "args": { "path": "{{ inputs.x }}" } }),
            json!({ "id": "a", "input": "{{ inputs.x }}" }),
            json!({ "id": "a", "ask": { "prompt": "{{ inputs.x }}?" } }),
            json!({ "id": "a", "instructions": "a", "loop": { "forEach": "[inputs.x]" } }),
            json!({ "id": "a", "instructions": "a", "loop": { "maxIterations": 2, "while": "inputs.x == '1'" } }),
            json!({ "id": "a", "instructions": "a", "loop": { "maxIterations": 2, "until": "inputs.x == '1'" } }),
        ] {
            let document = document(&json!([step, { "id": "b", "tool": "read", "args": { "path": "x" } }]));
            assert_eq!(found(&document, &["x"], &["x"]), ["a"], "{step}");
            assert!(found(&document, &["y"], &["y"]).is_empty(), "{step}");
        }
    }

    #[test]
    fn a_plugin_whose_directories_an_input_names_is_a_reader_wherever_it_may_be_used() {
        let also = json!([{ "from": "{{ inputs.x }}", "at": "/in", "read": true }]);
        let mut document = document(&json!([
            { "id": "a", "tool": "disk.words", "args": { "text": "x" } },
            { "id": "b", "instructions": "b" },
            { "id": "c", "tool": "read", "args": { "path": "x" } },
        ]));
        document["plugins"]["disk"] = json!({ "source": "builtin:text", "grants": { "fs": { "also": also } } });
        assert_eq!(found(&document, &["x"], &[]), ["a", "b"]);
        assert!(found(&document, &["y"], &[]).is_empty());
    }

    #[test]
    fn a_plugin_that_may_call_a_reader_is_one() {
        let mut document = document(&json!([
            { "id": "a", "tool": "caller.words", "args": { "text": "x" } },
            { "id": "b", "tool": "read", "args": { "path": "x" } },
        ]));
        document["plugins"]["caller"] =
            json!({ "source": "builtin:text", "grants": { "tools": ["context_get", "memory_read"] } });
        assert_eq!(found(&document, &[], &["x"]), ["a"]);
        let memory = Names { memory: BTreeSet::from(["scout".to_owned()]), ..Names::default() };
        let readers = |opaque: &Opaque, document: &Value| readers(&workflow(document), opaque, &memory);
        assert_eq!(readers(&Opaque::default(), &document), BTreeSet::from(["a".to_owned()]));
        document["plugins"]["caller"] = json!({ "source": "builtin:text" });
        assert!(readers(&Opaque::default(), &document).is_empty());
        let tools = BTreeSet::from([ToolName::parse("memory_list").unwrap()]);
        let callers = BTreeMap::from([(Alias::parse("caller").unwrap(), tools)]);
        let opaque = Opaque { callers, ..Opaque::default() };
        assert_eq!(readers(&opaque, &document), BTreeSet::from(["a".to_owned()]));
    }

    #[test]
    fn a_reader_inside_of_a_step_is_named_by_its_own_place() {
        let inner = json!([{ "id": "h", "input": "{{ vars.x }}" }, { "id": "i", "instructions": "i" }]);
        let document = document(&json!([{ "id": "g", "steps": inner }]));
        assert_eq!(found(&document, &["x"], &["x"]), ["g.h"]);
        assert_eq!(found(&document, &[], &["x"]), ["g.h"]);
        assert!(found(&document, &["x"], &[]).is_empty());
    }

    #[test]
    fn what_does_not_say_what_it_reads_reads_everything() {
        let document = document(&json!([
            { "id": "a", "agent": "sets", "instructions": "a" },
            { "id": "b", "tool": "context_get", "args": { "key": "z" } },
            { "id": "c", "instructions": "c", "condition": { "plugin": "text" } },
            { "id": "d", "tool": "read", "args": { "path": "x" } },
        ]));
        assert_eq!(found(&document, &[], &["x"]), ["a", "b", "c"]);
    }
}
