//! The document's root: opens it, decodes its parts in the order in which they refer to each other.

use super::HostDefaults;
use super::code;
use super::compat;
use super::expression::Around;
use super::files::Files;
use super::include::{Documents, Inclusions};
use super::input;
use super::keys::ROOT;
use super::kind::{Fields, open};
use super::merge::{Meaning, Own};
use super::report::Report;
use super::scope::Known;
use super::tree::Node;
use super::workflow::{AgentSpec, Compat, Defaults, Input, Options, Scope, Unbuilt, Workflow};
use crate::digest::sha256_hex;
use crate::expr::{Expr, Names};
use crate::id::AgentName;
use crate::limits;
use crate::variable::{self, LOOP_CONTINUE};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What decoding knows of the document so far.
pub(super) struct Decoder<'s> {
    pub(super) report: Report,
    pub(super) files: Files<'s>,
    /// All documents of the run.
    pub(super) documents: Documents,
    /// What the document includes.
    pub(super) inclusions: Inclusions,
    pub(super) agents: BTreeMap<AgentName, Arc<AgentSpec>>,
    /// Names that are declared, also of agents, plugins and inputs with faults of their own.
    pub(super) agent_names: BTreeSet<String>,
    pub(super) plugin_names: BTreeSet<String>,
    pub(super) input_names: BTreeSet<String>,
    /// What holds in the scopes of the document that is being decoded.
    pub(super) defaults: Defaults,
    /// What was checked and cannot run.
    pub(super) unbuilt: Vec<Unbuilt>,
    /// One warning is enough for all agents that are allowed `*`.
    pub(super) warned_of_star: bool,
}

impl<'s> Decoder<'s> {
    pub(super) fn new(report: Report, files: Files<'s>, documents: Documents) -> Self {
        Self {
            report,
            files,
            documents,
            inclusions: Inclusions::default(),
            agents: BTreeMap::new(),
            agent_names: BTreeSet::new(),
            plugin_names: BTreeSet::new(),
            input_names: BTreeSet::new(),
            defaults: Defaults::default(),
            unbuilt: Vec::new(),
            warned_of_star: false,
        }
    }

    /// The workflow, when nothing is wrong with it and what it includes; the report in any case.
    pub(super) fn workflow(mut self, root: &Node) -> (Option<Workflow>, Report) {
        let Some(fields) = open(&mut self.report, root, &ROOT) else { return (None, self.report) };
        let parts = self.parts(&fields);
        self.unused_includes();
        let Self { mut report, files, documents, .. } = self;
        let root = documents.current().to_owned();
        let merged = documents.shared.merge(&root, &mut report, |path| files.shown(path));
        if report.has_errors() {
            return (None, report);
        }
        let sources = files.into_sources();
        // By content alone: where a document lies does not change what it is, and what it calls its files stands in it.
        let digests: String = sources.iter().map(|source| format!("{}\n", source.sha256)).collect();
        let workflow = Workflow {
            name: fields.owned("name").unwrap_or_default(),
            description: fields.owned("description"),
            inputs: parts.inputs,
            agents: merged.agents,
            plugins: merged.plugins,
            servers: merged.servers,
            vars: merged.vars,
            scope: Arc::new(parts.scope),
            output: parts.output,
            options: parts.options,
            hash: sha256_hex(digests.as_bytes()),
            sources,
            unbuilt: merged.unbuilt,
            host: HostDefaults::default(),
        };
        (Some(workflow), report)
    }

    /// A document that another one includes.
    pub(super) fn document(&mut self, root: &Node) -> Option<Document> {
        let fields = open(&mut self.report, root, &ROOT)?;
        let parts = self.parts(&fields);
        Some(Document {
            name: fields.text("name").unwrap_or_default().into(),
            scope: Arc::new(parts.scope),
            inputs: parts.inputs.into(),
            output: parts.output,
            timeout: parts.options.timeout,
        })
    }

    fn parts(&mut self, fields: &Fields<'_>) -> Parts {
        let mut own = Own::default();
        self.includes(fields);
        let inputs = self.inputs(fields);
        self.plugins(fields, &mut own);
        self.servers(fields, &mut own);
        self.agents(fields, &mut own);
        self.variables(fields, &mut own);
        let options = self.all_options(fields);
        self.options_together(fields);
        let (scope, known) = self.root_scope(fields);
        let output = fields.get("output").and_then(|node| self.output(node, &known));
        own.unbuilt = std::mem::take(&mut self.unbuilt);
        let path = self.documents.current().to_owned();
        self.documents.shared.add(&path, own);
        Parts { inputs, options, scope, output }
    }

    fn variables(&mut self, fields: &Fields<'_>, own: &mut Own) {
        for (index, entry) in fields.members("vars").enumerate() {
            if index == limits::VARIABLES {
                let message = format!("a run has at most {} variables", limits::VARIABLES);
                let hint = "keep what belongs together in one variable";
                self.report.at(code::TOO_LONG, entry.spot, &entry.value.path, message).hint(hint);
                break;
            }
            let value = entry.value.to_json();
            let (named, fits) = (variable::check_name(&entry.key), variable::check_value(&entry.key, &value));
            if let Err(fault) = named {
                self.report.at(code::BAD_NAME, entry.spot, &entry.value.path, fault.message).maybe(fault.hint);
            } else if let Err(fault) = fits {
                self.report.at(code::TOO_LONG, entry.spot, &entry.value.path, fault.message).maybe(fault.hint);
            } else if entry.key == LOOP_CONTINUE {
                let message =
                    format!("`{LOOP_CONTINUE}` is a signal to the loop around a step, and has no first value");
                let hint = "a step in the loop sets it, with `context_set`";
                self.report.at(code::NO_EFFECT, entry.spot, &entry.value.path, message).hint(hint);
            }
            own.define(&self.report, entry, Meaning::Variable(value));
        }
    }

    fn all_options(&mut self, fields: &Fields<'_>) -> Options {
        let node = fields.get("options");
        let (options, mut defaults) = node.and_then(|node| self.options(node)).unwrap_or_default();
        if self.documents.is_inner() {
            node.into_iter().for_each(|node| self.same_options(node));
            // The options of the run are those of the document that runs; these hold for the steps here.
            defaults.max_retries = options.max_retries;
        } else {
            self.documents.options = node.map(Node::to_map).unwrap_or_default();
            self.documents.model_options = Arc::clone(&options.model_options);
        }
        let of_the_run = self.documents.options.get("compat").and_then(Value::as_str);
        if options.compat == Some(Compat::Zenflow) || of_the_run == Some("zenflow") {
            compat::zenflow(&mut self.report, fields.node);
        }
        if options.compat == Some(Compat::Zenflow) && !self.documents.is_inner() {
            compat::most_steps(&mut self.report, fields.node);
        }
        self.defaults = defaults;
        options
    }

    fn inputs(&mut self, fields: &Fields<'_>) -> Vec<Input> {
        self.input_names = fields.members("inputs").map(|entry| entry.key.clone()).collect();
        fields.members("inputs").filter_map(|entry| input::decode(&mut self.report, entry)).collect()
    }

    fn plugins(&mut self, fields: &Fields<'_>, own: &mut Own) {
        self.plugin_names = fields.members("plugins").map(|entry| entry.key.clone()).collect();
        for entry in fields.members("plugins") {
            if let Some((_, plugin)) = self.plugin(entry) {
                own.define(&self.report, entry, Meaning::Plugin(Box::new(plugin)));
            }
        }
    }

    fn servers(&mut self, fields: &Fields<'_>, own: &mut Own) {
        for entry in fields.members("mcpServers") {
            self.plugin_names.insert(entry.key.clone());
            if let Some(server) = self.server(entry) {
                own.define(&self.report, entry, Meaning::Server(Box::new(server)));
            }
        }
    }

    fn agents(&mut self, fields: &Fields<'_>, own: &mut Own) {
        self.agent_names = fields.members("agents").map(|entry| entry.key.clone()).collect();
        for entry in fields.members("agents") {
            if let Some(agent) = self.agent(entry).map(Arc::new) {
                self.agents.insert(agent.name.clone(), Arc::clone(&agent));
                own.define(&self.report, entry, Meaning::Agent(agent));
            }
        }
    }

    fn output(&mut self, node: &Node, known: &Known) -> Option<Expr> {
        let expr = self.expression(node, &Names { steps: &[&known.ids], roots: &Around::default().roots() })?;
        for path in expr.paths() {
            if let Some(shape) = path.name(0).filter(|_| &*path.root == "steps").and_then(|id| known.shapes.get(id)) {
                self.check_shape(node, path, shape);
            }
        }
        Some(expr)
    }
}

struct Parts {
    inputs: Vec<Input>,
    options: Options,
    scope: Scope,
    output: Option<Expr>,
}

/// A document that steps include, without what all documents of the run share.
pub(super) struct Document {
    pub(super) name: Arc<str>,
    pub(super) scope: Arc<Scope>,
    pub(super) inputs: Arc<[Input]>,
    pub(super) output: Option<Expr>,
    pub(super) timeout: Option<Duration>,
}
