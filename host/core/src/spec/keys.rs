//! The language as tables: every key of every table, its kind, and whether this version can do it.
//!
//! Decoding and the JSON Schema for editors both come from here. To build a key that was refused before, change its
//! `Later` to `Optional` and read it in the decoder.

use super::kind::{
    Key, Kind,
    Need::{Later, Optional, Required},
    Table,
};
use crate::limits;

const STEP_NAME: &str = "^[a-z][a-z0-9_-]{0,63}$";
const ANY_WHOLE: Kind = Kind::Whole { min: 0, max: u32::MAX as u64 };
const FAILURE: Kind = Kind::Choice { now: &["cascade", "skip-dependents", "continue", "abort"], later: &[] };
const MODE: Kind = Kind::Choice { now: &["dag"], later: &["sequential", "parallel"] };
const TEXTS: Kind = Kind::List(&Kind::Text);

pub(super) static ROOT: Table = Table {
    name: "document",
    keys: &[
        Key::new("name", Required, Kind::Text, "The workflow's name."),
        Key::new("version", Optional, Kind::Whole { min: 1, max: 1 }, "The version of the language; absent means 1."),
        Key::new("description", Optional, Kind::TextUpTo(limits::DESCRIPTION_CHARS), "What the workflow is for."),
        Key::new(
            "mode",
            Optional,
            Kind::Choice { now: &["dag"], later: &["sequential", "parallel", "loop"] },
            "How steps are wired.",
        ),
        Key::new("loop", Later, Kind::Any, "The loop of `mode: loop`."),
        Key::new("bodyMode", Later, Kind::Any, "How the body of `mode: loop` is wired."),
        Key::new(
            "inputs",
            Optional,
            Kind::Map(&Kind::Table(|| &INPUT)),
            "Typed inputs by name; read as `inputs.NAME`.",
        ),
        Key::new("vars", Later, Kind::Any, "Initial variables."),
        Key::new("agents", Optional, Kind::Map(&Kind::Table(|| &AGENT)), "Agents by name."),
        Key::new(
            "plugins",
            Optional,
            Kind::Map(&Kind::TextOr(&Kind::Table(|| &PLUGIN))),
            "Plugins by alias: a source, or a table.",
        ),
        Key::new("mcpServers", Later, Kind::Any, "Servers of the Model Context Protocol by name."),
        Key::new("includes", Later, Kind::Any, "Documents that steps include, by name."),
        Key::new("steps", Required, STEPS, "The steps: tables, or bare names of agents."),
        Key::new(
            "output",
            Optional,
            Kind::Expression,
            "What the run returns; absent means the output of its last steps.",
        ),
        Key::new("options", Optional, Kind::Table(|| &OPTIONS), "Defaults and bounds of the run."),
    ],
};

pub(super) const STEPS: Kind = Kind::List(&Kind::TextOr(&Kind::Table(|| &STEP)));

pub(super) static INPUT: Table = Table {
    name: "input",
    keys: &[
        Key::new(
            "type",
            Required,
            Kind::Choice { now: &["string", "integer", "number", "boolean", "array", "object"], later: &[] },
            "Its type.",
        ),
        Key::new("description", Optional, Kind::TextUpTo(limits::DESCRIPTION_CHARS), "What it is for."),
        Key::new("default", Optional, Kind::Any, "Taken when none is given."),
        Key::new("enum", Optional, Kind::List(&Kind::Any), "The values it may have."),
        Key::new(
            "required",
            Optional,
            Kind::Flag,
            "Whether a run without it is refused; true unless there is a default.",
        ),
    ],
};

pub(super) static AGENT: Table = Table {
    name: "agent",
    keys: &[
        Key::new("description", Required, Kind::TextUpTo(limits::DESCRIPTION_CHARS), "What the agent is for."),
        Key::new("prompt", Optional, Kind::Text, "The system text, or `@file`."),
        Key::new("model", Optional, Kind::Text, "The model, `provider/name`."),
        Key::new("tools", Optional, TEXTS, "The tools it may use; absent means all. A final `*` matches any rest."),
        Key::new("disallowedTools", Optional, TEXTS, "The tools it may not use, whatever `tools` says."),
        Key::new("maxTurns", Optional, ANY_WHOLE, "Most turns; 0 or absent means 50."),
        Key::new("temperature", Optional, Kind::Number { min: 0.0, max: 2.0 }, "Sampling temperature."),
        Key::new("topP", Optional, Kind::Number { min: 0.0, max: 1.0 }, "Nucleus sampling."),
        Key::new("maxTokens", Optional, Kind::Whole { min: 1, max: u32::MAX as u64 }, "Most tokens of one answer."),
        Key::new("resultSchema", Optional, Kind::JsonSchema, "JSON Schema of the agent's result."),
        Key::new("memory", Later, Kind::Any, "What it may read and write of the shared memory."),
        Key::new("transform", Later, Kind::Any, "What changes its input and output."),
        Key::new("budget", Later, Kind::Any, "What it may spend."),
        Key::new("modelOptions", Later, Kind::Any, "Options that go to the provider as they are."),
        Key::new("grants", Later, Kind::Any, "Narrows what its plugins may do."),
        Key::new("resumeOnMessage", Later, Kind::Any, "Whether a late message starts it again."),
    ],
};

pub(super) static PLUGIN: Table = Table {
    name: "plugin",
    keys: &[
        Key::new("source", Required, Kind::Text, "`builtin:NAME`, or a path to a component, relative to the document."),
        Key::new("digest", Optional, Kind::Text, "The digest that the component must have: `sha256:...`."),
        Key::new("config", Optional, Kind::Object, "Its configuration."),
        Key::new(
            "grants",
            Optional,
            Kind::Object,
            "What it asks for: `http`, `fs`, `kv`, `secrets`, `tools`. Always a request.",
        ),
        Key::new("limits", Optional, Kind::Object, "Limits lower than the host's: `memory`, `wall`, `fuel`."),
        Key::new("permissions", Later, Kind::Any, "What is asked before one of its tools is called."),
    ],
};

pub(super) static STEP: Table = Table {
    name: "step",
    keys: &[
        Key::new("id", Required, Kind::Name(STEP_NAME), "The step's id, unique in its scope."),
        Key::new("label", Optional, Kind::Text, "A name for people."),
        Key::new("metadata", Optional, Kind::Object, "Carried in events and results, never interpreted."),
        Key::new("agent", Optional, Kind::Text, "The agent that works; absent means the default agent."),
        Key::new("instructions", Optional, Kind::Text, "The task, or `@file`."),
        Key::new("dependsOn", Optional, TEXTS, "Ids of steps of the same scope that run before."),
        Key::new("contextFiles", Optional, TEXTS, "Files that go with the message, relative to the document."),
        Key::new("model", Optional, Kind::Text, "Beats the agent's model."),
        Key::new("timeout", Optional, Kind::Duration, "The whole step, all attempts and iterations together."),
        Key::new("retries", Optional, ANY_WHOLE, "How often the whole step is tried again."),
        Key::new("maxRetries", Optional, ANY_WHOLE, "Retries of one model request."),
        Key::new("condition", Optional, Kind::Expression, "False skips the step."),
        Key::new("include", Later, Kind::Any, "Runs another document."),
        Key::new("with", Later, Kind::Any, "The inputs of an included document."),
        Key::new("loop", Optional, Kind::Table(|| &LOOP), "Repeats the step, or a body of steps."),
        Key::new("tool", Optional, Kind::Text, "Calls one tool without a model: `name`, or `alias.name`."),
        Key::new("args", Optional, Kind::Object, "The tool's arguments; strings in them are templates."),
        Key::new("steps", Later, Kind::Any, "A group of steps; a repeated group is `loop.steps`."),
        Key::new("mode", Later, Kind::Any, "How a group is wired."),
        Key::new("ask", Later, Kind::Any, "Asks a person."),
        Key::new("input", Optional, Kind::Text, "The whole user message, a template; replaces the assembled one."),
        Key::new("transform", Later, Kind::Any, "What changes the step's input and output."),
        Key::new("resultSchema", Optional, Kind::JsonSchema, "Beats the agent's schema."),
        Key::new("onFailure", Optional, FAILURE, "What a failure of the step does to others."),
        Key::new("isolation", Later, Kind::Any, "Where the step's tools run."),
        Key::new("grants", Later, Kind::Any, "Narrows what the step's plugins may do."),
        Key::new("sensitive", Later, Kind::Any, "Keeps the step's content out of sinks and traces."),
    ],
};

pub(super) static LOOP: Table = Table {
    name: "loop",
    keys: &[
        Key::new(
            "forEach",
            Optional,
            Kind::TextOr(&Kind::List(&Kind::Any)),
            "An expression that gives a list, or a list.",
        ),
        Key::new("maxConcurrency", Optional, ANY_WHOLE, "Most items at once; 0 or absent means the run's limit alone."),
        Key::new(
            "onItemFailure",
            Optional,
            Kind::Choice { now: &["stop", "continue", "ignore"], later: &[] },
            "What a failed item does.",
        ),
        Key::new("steps", Optional, STEPS, "The steps of one iteration; absent repeats the step itself."),
        Key::new("mode", Optional, MODE, "How the body is wired."),
        Key::new("maxIterations", Later, Kind::Any, "How often the work is repeated."),
        Key::new("while", Later, Kind::Any, "Checked before each iteration."),
        Key::new("until", Later, Kind::Any, "Checked after each iteration."),
        Key::new("untilAgent", Later, Kind::Any, "An agent that says when it is enough."),
        Key::new("onLimit", Later, Kind::Any, "What reaching `maxIterations` means."),
        Key::new("delay", Later, Kind::Any, "The pause between iterations."),
        Key::new("outputMode", Later, Kind::Any, "Which iterations the output is made of."),
    ],
};

pub(super) static OPTIONS: Table = Table {
    name: "options",
    keys: &[
        Key::new("model", Optional, Kind::Text, "The default model."),
        Key::new("maxConcurrency", Optional, ANY_WHOLE, "Attempts running at once in the whole run; 0 means unset."),
        Key::new("onStepFailure", Optional, FAILURE, "What a failed step does to others."),
        Key::new("timeout", Optional, Kind::Duration, "The run."),
        Key::new("stepTimeout", Optional, Kind::Duration, "Default for agent and tool steps."),
        Key::new(
            "isolation",
            Optional,
            Kind::Choice { now: &["none"], later: &["workdir-per-step", "copy-per-step", "worktree-per-step"] },
            "Where tools run.",
        ),
        Key::new(
            "scheduler",
            Optional,
            Kind::Choice { now: &["dependency-first", "round-robin", "least-busy"], later: &[] },
            "Which ready step gets a free slot.",
        ),
        Key::new("maxRetries", Optional, ANY_WHOLE, "Retries of one model request."),
        Key::new("outputTransform", Later, Kind::Any, "What changes outputs before they enter a prompt."),
        Key::new("budget", Later, Kind::Any, "What the run may spend."),
        Key::new("memory", Later, Kind::Any, "The shared memory."),
        Key::new("modelOptions", Later, Kind::Any, "Options that go to the provider as they are."),
        Key::new("onUnknownEffect", Later, Kind::Any, "What happens to a call whose outcome is not known."),
        Key::new("limits", Later, Kind::Any, "Lowers the host's limits."),
        Key::new("compat", Later, Kind::Any, "Forbids what another language forbids."),
        Key::new("engine", Later, Kind::Any, "The engine that runs the document."),
    ],
};

/// All tables, for the JSON Schema.
pub(super) static TABLES: &[&Table] = &[&ROOT, &INPUT, &AGENT, &PLUGIN, &STEP, &LOOP, &OPTIONS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_has_a_key_twice() {
        for table in TABLES {
            let mut names: Vec<_> = table.keys.iter().map(|key| key.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), table.keys.len(), "{}", table.name);
            assert!(table.keys.iter().all(|key| key.about.ends_with('.')), "{}", table.name);
        }
    }
}
