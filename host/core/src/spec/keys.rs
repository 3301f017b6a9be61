//! The language as tables: every key of every table, its kind, and whether zenflow has it too.
//!
//! Decoding, the rules of `compat: zenflow` and the JSON Schema for editors all come from here.

mod settings;
mod step;

pub(super) use settings::{
    AGENT_MEMORY, BUDGET, LIMITS, MCP_SERVER, MEMORY, MODEL_OPTIONS, OPTIONS, PLUGIN, RECALL, STEP_BUDGET,
};
pub(super) use step::{ASK, CONDITION, LINK, LOOP, LOOP_CHECK, STEP, TRANSFORMS};

use super::kind::{
    Key, Kind,
    Need::{Optional, Required},
    Table,
};
use super::workflow::IsolationMode;
use crate::id::IsolationName;
use crate::limits;

const STEP_NAME: &str = "^[a-z][a-z0-9_-]{0,63}$";
const ANY_WHOLE: Kind = Kind::Whole { min: 0, max: u32::MAX as u64 };
const FAILURE: Kind = Kind::Choice { words: &["cascade", "skip-dependents", "continue", "abort"], plus: &["continue"] };
const MODE: Kind = Kind::Choice { words: &["dag", "sequential", "parallel"], plus: &[] };
const ISOLATION: Kind = Kind::ChoiceOrName {
    words: &IsolationMode::WORDS,
    plus: &["workdir-per-step", "copy-per-step"],
    grammar: IsolationName::GRAMMAR,
};
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
            Kind::Choice { words: &["dag", "sequential", "parallel", "loop"], plus: &[] },
            "How steps are wired.",
        )
        .plus(),
        Key::new("loop", Optional, Kind::Table(|| &LOOP), "The loop of `mode: loop`, without `steps` and `mode`.")
            .plus(),
        Key::new("bodyMode", Optional, MODE, "How the body of `mode: loop` is wired; absent means `sequential`.")
            .plus(),
        Key::new(
            "inputs",
            Optional,
            Kind::Map(&Kind::Table(|| &INPUT)),
            "Typed inputs by name; read as `inputs.NAME`.",
        )
        .plus(),
        Key::new("vars", Optional, Kind::Object, "Initial variables; read as `vars.NAME`.").plus(),
        Key::new("agents", Optional, Kind::Map(&Kind::Table(|| &AGENT)), "Agents by name."),
        Key::new(
            "plugins",
            Optional,
            Kind::Map(&Kind::TextOr(&Kind::Table(|| &PLUGIN))),
            "Plugins by alias: a source, or a table.",
        )
        .plus(),
        Key::new(
            "mcpServers",
            Optional,
            Kind::Map(&Kind::Table(|| &MCP_SERVER)),
            "Servers of the Model Context Protocol by name.",
        )
        .plus(),
        Key::new("includes", Optional, Kind::Map(&Kind::Text), "Documents that steps include, by name: their paths."),
        Key::new("steps", Required, STEPS, "The steps: tables, or bare names of agents."),
        Key::new(
            "output",
            Optional,
            Kind::Expression,
            "What the run returns; absent means the output of its last steps.",
        )
        .plus(),
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
            Kind::Choice { words: &["string", "integer", "number", "boolean", "array", "object"], plus: &[] },
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
        Key::new("description", Required, Kind::Text, "What the agent is for."),
        Key::new("prompt", Optional, Kind::AnyText, "The system text, or `@file`."),
        Key::new("model", Optional, Kind::AnyText, "The model, `provider/name` or `plugin:alias/name`."),
        Key::new("tools", Optional, TEXTS, "The tools it may use; absent means all. A final `*` matches any rest."),
        Key::new("disallowedTools", Optional, TEXTS, "The tools it may not use, whatever `tools` says."),
        Key::new("maxTurns", Optional, ANY_WHOLE, "Most turns; 0 or absent means 50."),
        Key::new("temperature", Optional, Kind::Number { min: 0.0, max: 2.0 }, "Sampling temperature."),
        Key::new("topP", Optional, Kind::Number { min: 0.0, max: 1.0 }, "Nucleus sampling."),
        Key::new("maxTokens", Optional, Kind::Whole { min: 1, max: u32::MAX as u64 }, "Most tokens of one answer.")
            .plus(),
        Key::new("resultSchema", Optional, Kind::JsonSchema, "JSON Schema of the agent's result."),
        Key::new("memory", Optional, Kind::Table(|| &AGENT_MEMORY), "What it may read and write of the shared memory.")
            .plus(),
        Key::new("transform", Optional, Kind::Table(|| &TRANSFORMS), "What changes its input and output.").plus(),
        Key::new("budget", Optional, Kind::Table(|| &STEP_BUDGET), "What it may spend in a run, over all its steps.")
            .plus(),
        Key::new("modelOptions", Optional, Kind::Table(|| &MODEL_OPTIONS), "Options of its model.").plus(),
        Key::new("grants", Optional, Kind::Object, "Narrows what its plugins may do.").plus(),
        Key::new(
            "resumeOnMessage",
            Optional,
            Kind::Flag,
            "Whether a message for a step of its that has completed resumes its conversation.",
        )
        .plus(),
    ],
};

/// All tables, for the JSON Schema.
pub(super) static TABLES: &[&Table] = &[
    &ROOT,
    &INPUT,
    &AGENT,
    &PLUGIN,
    &MCP_SERVER,
    &STEP,
    &LOOP,
    &LOOP_CHECK,
    &ASK,
    &CONDITION,
    &TRANSFORMS,
    &LINK,
    &OPTIONS,
    &LIMITS,
    &BUDGET,
    &STEP_BUDGET,
    &MEMORY,
    &RECALL,
    &AGENT_MEMORY,
    &MODEL_OPTIONS,
];

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
