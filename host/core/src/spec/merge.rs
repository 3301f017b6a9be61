//! What the documents of one run share: agents, plugins, servers and variables, put together by name.
//!
//! A name that two documents define must mean the same in both.

use super::code;
use super::decode::Decoder;
use super::report::Report;
use super::tree::{Entry, Node};
use super::workflow::{AgentSpec, PluginReference, Unbuilt};
use crate::diagnostic::Place;
use crate::id::{AgentName, Alias};
use crate::limits;
use crate::server::ServerReference;
use crate::value::{self, Map};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Options that hold inside the document that has them; the others are those of the run.
const INSIDE: &[&str] = &["onStepFailure", "timeout", "stepTimeout", "outputTransform", "maxRetries"];

impl Decoder<'_> {
    /// Reports options of an included document that differ from those of the document that runs.
    pub(super) fn same_options(&mut self, options: &Node) {
        for entry in options.entries().iter().filter(|entry| !entry.key.starts_with("x-")) {
            let here = effective(&entry.key, Some(&entry.value.to_json()));
            let of_the_run = effective(&entry.key, self.documents.options.get(&entry.key));
            if INSIDE.contains(&entry.key.as_str()) || here == of_the_run {
                continue;
            }
            let says = match of_the_run {
                Value::Null => "the document that runs does not have it".to_owned(),
                other => format!("the document that runs has `{}`", value::to_text(&other)),
            };
            let message = format!("`{}` holds for the whole run, and {says}", entry.key);
            self.report
                .at(code::OPTION_CLASH, entry.spot, &entry.value.path, message)
                .hint("remove it, or say the same in the document that runs");
        }
    }
}

/// An option with what its absence means.
fn effective(key: &str, value: Option<&Value>) -> Value {
    let said = value.filter(|value| !value.is_null() && value.as_object().is_none_or(|table| !table.is_empty()));
    match (key, said) {
        ("maxConcurrency", Some(count)) if *count != 0 => count.clone(),
        ("maxConcurrency", _) => limits::RUN_CONCURRENCY.into(),
        (_, Some(value)) => value.clone(),
        ("isolation", None) => "none".into(),
        ("scheduler", None) => "dependency-first".into(),
        ("engine", None) => "default".into(),
        (_, None) => Value::Null,
    }
}

/// What one name means.
pub(super) enum Meaning {
    Agent(Arc<AgentSpec>),
    Plugin(Box<PluginReference>),
    Server(Box<ServerReference>),
    Variable(Value),
}

/// A name, what it means, and where that is written.
struct Definition {
    name: String,
    meaning: Meaning,
    place: Place,
    within: String,
}

/// Names that exclude each other: servers are called as plugins are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    Agents,
    Tools,
    Variables,
}

/// What one document says by itself.
#[derive(Default)]
pub(super) struct Own {
    definitions: Vec<Definition>,
    pub(super) unbuilt: Vec<Unbuilt>,
}

/// The documents of one run by path, and which of them the steps of each use.
#[derive(Default)]
pub(super) struct Shared {
    own: BTreeMap<String, Own>,
    used: BTreeMap<String, BTreeSet<String>>,
}

/// What holds in the whole run.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) agents: BTreeMap<AgentName, Arc<AgentSpec>>,
    pub(super) plugins: BTreeMap<Alias, PluginReference>,
    pub(super) servers: BTreeMap<Alias, ServerReference>,
    pub(super) vars: Map,
    pub(super) unbuilt: Vec<Unbuilt>,
}

impl Own {
    /// Adds what a document says of a name.
    pub(super) fn define(&mut self, report: &Report, entry: &Entry, meaning: Meaning) {
        let (place, within) = (report.place(entry.spot), entry.value.path.clone());
        self.definitions.push(Definition { name: entry.key.clone(), meaning, place, within });
    }
}

impl Shared {
    pub(super) fn add(&mut self, document: &str, own: Own) {
        self.own.insert(document.to_owned(), own);
    }

    /// A step of one document uses another one.
    pub(super) fn uses(&mut self, document: &str, other: &str) {
        match self.used.get_mut(document) {
            Some(used) => drop(used.insert(other.to_owned())),
            None => drop(self.used.insert(document.to_owned(), BTreeSet::from([other.to_owned()]))),
        }
    }

    /// Puts together what the documents say that the steps of a run can reach. Names with two meanings are reported
    /// at the second.
    pub(super) fn merge(mut self, root: &str, report: &mut Report, shown: impl Fn(&str) -> String) -> Merged {
        let mut merged = Merged::default();
        let mut first: BTreeMap<(Space, String), Definition> = BTreeMap::new();
        for document in self.reachable(root) {
            let Some(own) = self.own.remove(&document) else { continue };
            merged.unbuilt.extend(own.unbuilt.into_iter().map(|unbuilt| match document == root {
                true => unbuilt,
                false => Unbuilt { path: format!("{}: {}", shown(&document), unbuilt.path), ..unbuilt },
            }));
            for second in own.definitions {
                let key = (second.meaning.space(), second.name.clone());
                match first.get(&key) {
                    None => drop(first.insert(key, second)),
                    Some(first) if first.meaning.is_same(&second.meaning) => {}
                    Some(first) => clash(report, first, second),
                }
            }
        }
        for ((_, name), definition) in first {
            merged.take(name, definition.meaning);
        }
        // Of one document alone it was said at the place.
        if merged.vars.len() > limits::VARIABLES {
            let message = format!("the documents together have more than {} variables", limits::VARIABLES);
            report.whole(code::TOO_LONG, message).hint("keep what belongs together in one variable");
        }
        merged
    }

    fn reachable(&self, root: &str) -> Vec<String> {
        let mut order = vec![root.to_owned()];
        let mut seen = BTreeSet::from([root.to_owned()]);
        let mut next = 0;
        while let Some(document) = order.get(next) {
            let used = self.used.get(document).into_iter().flatten();
            let new: Vec<String> = used.filter(|other| seen.insert((*other).clone())).cloned().collect();
            order.extend(new);
            next += 1;
        }
        order
    }
}

fn clash(report: &mut Report, first: &Definition, second: Definition) {
    let at = format!("{}:{}:{}", first.place.file, first.place.line, first.place.column);
    let (name, what) = (&second.name, second.meaning.what());
    let message = if first.meaning.what() == what {
        format!("{what} `{name}` is defined in another way at {at}")
    } else {
        format!("{what} `{name}` has the name of the {} at {at}", first.meaning.what())
    };
    report
        .elsewhere(code::NAME_CLASH, second.place, &second.within, message)
        .hint("the documents of a run share these names; rename one of the two, or make them equal");
}

impl Merged {
    fn take(&mut self, name: String, meaning: Meaning) {
        match meaning {
            Meaning::Agent(agent) => drop(self.agents.insert(agent.name.clone(), agent)),
            Meaning::Plugin(plugin) => {
                if let Ok(alias) = Alias::parse(&name) {
                    self.plugins.insert(alias, *plugin);
                }
            }
            Meaning::Variable(value) => drop(self.vars.insert(name, value)),
            Meaning::Server(server) => {
                if let Ok(alias) = Alias::parse(&name) {
                    self.servers.insert(alias, *server);
                }
            }
        }
    }
}

impl Meaning {
    fn space(&self) -> Space {
        match self {
            Self::Agent(_) => Space::Agents,
            Self::Plugin(_) | Self::Server(_) => Space::Tools,
            Self::Variable(_) => Space::Variables,
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Plugin(_) => "plugin",
            Self::Server(_) => "MCP server",
            Self::Variable(_) => "variable",
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Agent(one), Self::Agent(two)) => one == two,
            // The same file may be written in many ways.
            (Self::Plugin(one), Self::Plugin(two)) => {
                plain(&one.source) == plain(&two.source)
                    && **one == PluginReference { source: one.source.clone(), ..(**two).clone() }
            }
            (Self::Server(one), Self::Server(two)) => one == two,
            (Self::Variable(one), Self::Variable(two)) => one == two,
            _ => false,
        }
    }
}

/// A path without what changes nothing in it.
fn plain(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn paths_to_the_same_file_are_equal() {
        assert_eq!(plain("./a/../b/./x.wasm"), plain("b/x.wasm"));
        assert_eq!(plain("../../x.wasm"), ["..", "..", "x.wasm"]);
        assert_ne!(plain("a/x.wasm"), plain("b/x.wasm"));
    }
}
