//! Finds where a document names what this machine lacks: a checked workflow does not know its places, so the documents
//! are read once more.

use cofferdam::core::diagnostic::Place;
use cofferdam::core::event::Source;
use cofferdam::core::fault::Fault;
use cofferdam::core::spec::authored::{Part, read};
use cofferdam::core::spec::workflow::Workflow;
use serde_json::Value;

/// A place that names a thing, and how.
pub(super) struct Culprit {
    pub(super) place: Place,
    /// `agents.a.tools[0]`.
    pub(super) path: String,
    pub(super) word: String,
}

/// What is looked for.
enum Wanted<'f> {
    Model(&'f str),
    ToolOfAgent {
        agent: &'f str,
        tool: &'f str,
    },
    ToolOfStep(&'f str),
    Isolation(&'f str),
    /// A plugin that is used as a `transform` or a `condition`.
    Plugin {
        alias: &'f str,
        used_as: &'f str,
    },
}

/// The first place that names what a fault is about.
pub(super) fn find(workflow: &Workflow, fault: &Fault) -> Option<Culprit> {
    let wanted = Wanted::of(fault.detail.as_deref()?)?;
    let documents = workflow.sources.iter().enumerate().filter(|(index, source)| *index == 0 || is_document(source));
    documents.into_iter().find_map(|(_, source)| {
        let (file, _) = read(&source.text, &source.path);
        let file = file?;
        let part =
            wanted.places(file.root()).into_iter().find(|part| part.text().is_some_and(|word| wanted.fits(word)))?;
        Some(Culprit {
            place: Place { file: source.path.as_str().into(), line: part.line(), column: part.column() },
            path: part.path().to_owned(),
            word: part.text()?.to_owned(),
        })
    })
}

/// Texts after `@` are sources too.
pub(super) fn is_document(source: &Source) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| source.path.ends_with(ending))
}

impl<'f> Wanted<'f> {
    fn of(about: &'f Value) -> Option<Self> {
        let word = |key: &str| about.get(key).and_then(Value::as_str);
        if let (Some(alias), Some(used_as)) = (word("plugin"), word("used_as")) {
            return Some(Self::Plugin { alias, used_as });
        }
        if let Some(mode) = word("isolation") {
            return Some(Self::Isolation(mode));
        }
        match (word("model"), word("tool"), word("agent")) {
            (Some(model), ..) => Some(Self::Model(model)),
            (None, Some(tool), Some(agent)) => Some(Self::ToolOfAgent { agent, tool }),
            (None, Some(tool), None) => Some(Self::ToolOfStep(tool)),
            (None, None, _) => None,
        }
    }

    fn fits(&self, word: &str) -> bool {
        match self {
            Self::Model(name)
            | Self::Isolation(name)
            | Self::ToolOfAgent { tool: name, .. }
            | Self::Plugin { alias: name, .. } => word == *name,
            // Zenflow calls it so.
            Self::ToolOfStep(name) => word == *name || word == "bash" && *name == "exec",
        }
    }

    /// Where such a thing can be named, in the order of the tables.
    fn places<'d>(&self, root: Part<'d>) -> Vec<Part<'d>> {
        let mut steps = Vec::new();
        collect(root, &mut steps);
        let agents = root.member("agents");
        match self {
            Self::Plugin { used_as: "condition", .. } => {
                let conditions = steps.into_iter().filter_map(|step| step.member("condition"));
                conditions.filter_map(|condition| condition.member("plugin")).collect()
            }
            Self::Plugin { .. } => {
                let agents = agents.and_then(Part::members).into_iter().flatten().map(|member| member.value);
                let transforms = agents.chain(steps).filter_map(|part| part.member("transform"));
                let chains = transforms.flat_map(|transform| ["input", "output"].map(|key| transform.member(key)));
                let of_options = root.member("options").and_then(|options| options.member("outputTransform"));
                let links = chains.chain([of_options]).flatten().filter_map(Part::items).flatten();
                links.filter_map(|link| link.member("plugin")).collect()
            }
            Self::ToolOfStep(_) => steps.into_iter().filter_map(|step| step.member("tool")).collect(),
            Self::Isolation(_) => {
                let options = root.member("options").into_iter();
                options.chain(steps).filter_map(|part| part.member("isolation")).collect()
            }
            Self::ToolOfAgent { agent, .. } => {
                let tools = agents.and_then(|agents| agents.member(agent)?.member("tools"));
                tools.and_then(Part::items).into_iter().flatten().collect()
            }
            Self::Model(_) => {
                let options = root.member("options");
                let agents = agents.and_then(Part::members).into_iter().flatten().map(|member| member.value);
                options.into_iter().chain(agents).chain(steps).filter_map(|part| part.member("model")).collect()
            }
        }
    }
}

/// All steps, those of groups and loops among them.
pub(super) fn collect<'d>(part: Part<'d>, steps: &mut Vec<Part<'d>>) {
    for step in part.member("steps").and_then(Part::items).into_iter().flatten() {
        steps.push(step);
        collect(step, steps);
        if let Some(repeat) = step.member("loop") {
            collect(repeat, steps);
        }
    }
}
