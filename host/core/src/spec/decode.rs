//! The document's root: opens it, decodes its parts in the order in which they refer to each other.

use super::code;
use super::expression::{STEP_ROOTS, Shape};
use super::files::Files;
use super::input;
use super::keys::ROOT;
use super::kind::{Fields, open};
use super::options;
use super::report::Report;
use super::scope::Outside;
use super::tree::Node;
use super::workflow::{AgentSpec, Defaults, Input, Options, PluginReference, Scope, Workflow};
use crate::digest::sha256_hex;
use crate::event::Source;
use crate::expr::{Expr, Names};
use crate::id::{AgentName, Alias};
use crate::limits;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What decoding knows of the document so far.
pub(super) struct Decoder<'s> {
    pub(super) report: Report,
    pub(super) files: Files<'s>,
    pub(super) agents: BTreeMap<AgentName, Arc<AgentSpec>>,
    /// Names that are declared, also of agents, plugins and inputs with faults of their own.
    pub(super) agent_names: BTreeSet<String>,
    pub(super) plugin_names: BTreeSet<String>,
    pub(super) input_names: BTreeSet<String>,
    /// What holds in the scopes of the document that is being decoded.
    pub(super) defaults: Defaults,
}

impl<'s> Decoder<'s> {
    pub(super) fn new(report: Report, files: Files<'s>) -> Self {
        Self {
            report,
            files,
            agents: BTreeMap::new(),
            agent_names: BTreeSet::new(),
            plugin_names: BTreeSet::new(),
            input_names: BTreeSet::new(),
            defaults: Defaults::default(),
        }
    }

    /// The workflow, when nothing is wrong with it; the report in any case.
    pub(super) fn document(mut self, root: &Node) -> (Option<Workflow>, Report) {
        let Some(fields) = open(&mut self.report, root, &ROOT) else { return (None, self.report) };
        let inputs = self.inputs(&fields);
        let plugins = self.plugins(&fields);
        self.agents(&fields);
        let (options, defaults) =
            fields.get("options").and_then(|node| options::decode(&mut self.report, node)).unwrap_or_default();
        self.defaults = defaults;
        let (scope, shapes) = match fields.get("steps") {
            Some(node) => self.scope(node, &Outside::NOTHING),
            None => (Scope::default(), BTreeMap::new()),
        };
        let output = fields.get("output").and_then(|node| self.output(node, &shapes));
        let parts = Parts { inputs, plugins, options, scope, output };
        if self.report.has_errors() {
            return (None, self.report);
        }
        let workflow = parts.finish(&fields, self.agents, self.files.into_sources());
        (Some(workflow), self.report)
    }

    fn inputs(&mut self, fields: &Fields<'_>) -> Vec<Input> {
        self.input_names = fields.members("inputs").map(|entry| entry.key.clone()).collect();
        fields.members("inputs").filter_map(|entry| input::decode(&mut self.report, entry)).collect()
    }

    fn plugins(&mut self, fields: &Fields<'_>) -> BTreeMap<Alias, PluginReference> {
        self.plugin_names = fields.members("plugins").map(|entry| entry.key.clone()).collect();
        fields.members("plugins").filter_map(|entry| self.plugin(entry)).collect()
    }

    fn agents(&mut self, fields: &Fields<'_>) {
        self.agent_names = fields.members("agents").map(|entry| entry.key.clone()).collect();
        for entry in fields.members("agents") {
            if let Some(agent) = self.agent(entry) {
                self.agents.insert(agent.name.clone(), Arc::new(agent));
            }
        }
    }

    fn output(&mut self, node: &Node, shapes: &BTreeMap<Arc<str>, Shape>) -> Option<Expr> {
        let ids: BTreeSet<Arc<str>> = shapes.keys().cloned().collect();
        let expr = self.expression(node, &Names { steps: &[&ids], roots: STEP_ROOTS })?;
        for path in expr.paths() {
            if let Some(shape) = path.name(0).filter(|_| &*path.root == "steps").and_then(|id| shapes.get(id)) {
                self.check_shape(node, path, shape);
            }
        }
        Some(expr)
    }

    /// A JSON Schema that is one.
    pub(super) fn result_schema(&mut self, fields: &Fields<'_>) -> Option<Arc<Value>> {
        let node = fields.get("resultSchema")?;
        let schema = node.to_json();
        let mut faults: Vec<(String, String)> = Vec::new();
        for error in jsonschema::draft202012::meta::validator().iter_errors(&schema).take(5) {
            faults.push((error.instance_path().to_string(), error.to_string()));
        }
        let options = || jsonschema::draft202012::options().with_pattern_options(jsonschema::PatternOptions::regex());
        if faults.is_empty()
            && let Err(error) = options().build(&schema)
        {
            let message = match error.kind() {
                jsonschema::error::ValidationErrorKind::Referencing(_) => {
                    "it refers to something outside itself".to_owned()
                }
                _ => error.to_string(),
            };
            faults.push((error.instance_path().to_string(), message));
        }
        for (pointer, message) in &faults {
            let message: String = message.chars().take(limits::EXPRESSION_ERROR_CHARS).collect();
            self.report.error(code::BAD_SCHEMA, node.at_pointer(pointer), format!("not a JSON Schema: {message}"));
        }
        faults.is_empty().then(|| Arc::new(schema))
    }
}

struct Parts {
    inputs: Vec<Input>,
    plugins: BTreeMap<Alias, PluginReference>,
    options: Options,
    scope: Scope,
    output: Option<Expr>,
}

impl Parts {
    fn finish(
        self,
        fields: &Fields<'_>,
        agents: BTreeMap<AgentName, Arc<AgentSpec>>,
        sources: Vec<Source>,
    ) -> Workflow {
        // By content alone: where a document lies does not change what it is, and what it calls its files stands in it.
        let digests: String = sources.iter().map(|source| format!("{}\n", source.sha256)).collect();
        Workflow {
            name: fields.owned("name").unwrap_or_default(),
            description: fields.owned("description"),
            inputs: self.inputs,
            agents,
            plugins: self.plugins,
            vars: crate::value::Map::new(),
            scope: Arc::new(self.scope),
            output: self.output,
            options: self.options,
            hash: sha256_hex(digests.as_bytes()),
            sources,
            unbuilt: Vec::new(),
        }
    }
}
