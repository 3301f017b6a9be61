//! The tables of steps and of what stands in them.

use super::super::kind::{
    Key, Kind,
    Need::{Optional, Required},
    Table,
};
use super::{ANY_WHOLE, FAILURE, ISOLATION, MODE, STEP_BUDGET, STEP_NAME, STEPS, TEXTS};

/// A chain of transforms.
pub(super) const LINKS: Kind = Kind::List(&Kind::TextOr(&Kind::Table(|| &LINK)));

pub(in super::super) static STEP: Table = Table {
    name: "step",
    keys: &[
        Key::new("id", Required, Kind::Name(STEP_NAME), "The step's id, unique in its scope."),
        Key::new("label", Optional, Kind::Text, "A name for people.").plus(),
        Key::new("metadata", Optional, Kind::Object, "Carried in events and results, never interpreted.").plus(),
        Key::new("agent", Optional, Kind::AnyText, "The agent that works; absent means the default agent."),
        Key::new("instructions", Optional, Kind::AnyText, "The task, or `@file`."),
        Key::new("dependsOn", Optional, TEXTS, "Ids of steps of the same scope that run before."),
        Key::new("contextFiles", Optional, TEXTS, "Files that go with the message, relative to the document."),
        Key::new("model", Optional, Kind::AnyText, "Beats the agent's model."),
        Key::new("timeout", Optional, Kind::Duration, "The whole step, all attempts and iterations together."),
        Key::new("retries", Optional, ANY_WHOLE, "How often the whole step is tried again."),
        Key::new("maxRetries", Optional, ANY_WHOLE, "Retries of one model request."),
        Key::new(
            "condition",
            Optional,
            Kind::TextOr(&Kind::Table(|| &CONDITION)),
            "False skips the step: an expression, or a table that names who decides.",
        ),
        Key::new("include", Optional, Kind::Text, "Runs another document: a name in `includes`, or a path."),
        Key::new("with", Optional, Kind::Object, "The inputs of the included document; strings in it are templates.")
            .plus(),
        Key::new("loop", Optional, Kind::Table(|| &LOOP), "Repeats the step, or a body of steps."),
        Key::new("tool", Optional, Kind::Text, "Calls one tool without a model: `name`, or `alias.name`."),
        Key::new("args", Optional, Kind::Object, "The tool's arguments; strings in them are templates.").plus(),
        Key::new(
            "toolInput",
            Optional,
            Kind::Object,
            "The tool's arguments as in zenflow: texts that begin with `$` are expressions.",
        ),
        Key::new("steps", Optional, STEPS, "A group of steps; a repeated group is `loop.steps`.").plus(),
        Key::new("mode", Optional, MODE, "How a group is wired.").plus(),
        Key::new("ask", Optional, Kind::Table(|| &ASK), "Asks a person.").plus(),
        Key::new("input", Optional, Kind::Text, "The whole user message, a template; replaces the assembled one.")
            .plus(),
        Key::new("transform", Optional, Kind::Table(|| &TRANSFORMS), "What changes the step's input and output.")
            .plus(),
        Key::new("resultSchema", Optional, Kind::JsonSchema, "Beats the agent's schema.").plus(),
        Key::new("onFailure", Optional, FAILURE, "What a failure of the step does to others.").plus(),
        Key::new("isolation", Optional, ISOLATION, "Where the step's tools run.").plus(),
        Key::new("grants", Optional, Kind::Object, "Narrows what the step's plugins may do.").plus(),
        Key::new("budget", Optional, Kind::Table(|| &STEP_BUDGET), "What the step may spend, with all that is inside.").plus(),
        Key::new("sensitive", Optional, Kind::Flag, "Keeps the step's content out of sinks, traces and views; the run's output stays real, and parts of a text are not found.").plus(),
    ],
};

pub(in super::super) static LOOP: Table = Table {
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
            Kind::Choice { words: &["stop", "continue", "ignore"], plus: &[] },
            "What a failed item does.",
        )
        .plus(),
        Key::new("steps", Optional, STEPS, "The steps of one iteration; absent repeats the step itself."),
        Key::new("mode", Optional, MODE, "How the body is wired.").plus(),
        Key::new(
            "maxIterations",
            Optional,
            Kind::Whole { min: 1, max: u32::MAX as u64 },
            "Most iterations; required without `forEach`.",
        ),
        Key::new(
            "while",
            Optional,
            Kind::TextOr(&Kind::Table(|| &LOOP_CHECK)),
            "Checked before each iteration, also the first; false ends the loop.",
        )
        .plus(),
        Key::new("until", Optional, Kind::Expression, "Checked after each iteration; true ends the loop."),
        Key::new("untilAgent", Optional, Kind::Text, "An agent that says when it is enough: its result has `done`."),
        Key::new(
            "onLimit",
            Optional,
            Kind::Choice { words: &["fail", "complete"], plus: &[] },
            "What reaching `maxIterations` means; absent means `fail` when something else could have ended the loop.",
        )
        .plus(),
        Key::new("delay", Optional, Kind::Duration, "The pause between iterations."),
        Key::new(
            "outputMode",
            Optional,
            Kind::Choice { words: &["last", "cumulative", ""], plus: &[] },
            "Which iterations the output is made of; absent and empty mean `last`.",
        ),
    ],
};

pub(in super::super) static LOOP_CHECK: Table = Table {
    name: "loop-check",
    keys: &[Key::new("native", Required, Kind::Text, "A closure of the program that runs the document, by its name.")],
};

pub(in super::super) static ASK: Table = Table {
    name: "question",
    keys: &[
        Key::new("prompt", Required, Kind::Text, "What is asked; a template."),
        Key::new("choices", Optional, TEXTS, "The answers that may be given."),
        Key::new("schema", Optional, Kind::JsonSchema, "JSON Schema of the answer; absent means text."),
        Key::new("default", Optional, Kind::Any, "Taken at the timeout, and when nobody can be asked."),
        Key::new("timeout", Optional, Kind::Duration, "How long the person has."),
    ],
};

pub(in super::super) static CONDITION: Table = Table {
    name: "condition",
    keys: &[
        Key::new("native", Optional, Kind::Text, "A closure of the program that runs the document, by its name."),
        Key::new("plugin", Optional, Kind::Text, "A plugin that decides, by its alias."),
        Key::new("options", Optional, Kind::Object, "The plugin's options."),
        Key::new("label", Optional, Kind::Text, "What the step is called among those that the plugin chooses from."),
    ],
};

pub(in super::super) static TRANSFORMS: Table = Table {
    name: "transform",
    keys: &[
        Key::new("input", Optional, LINKS, "Applied to the message, from first to last."),
        Key::new("output", Optional, LINKS, "Applied to what the step gave, from first to last."),
    ],
};

pub(in super::super) static LINK: Table = Table {
    name: "transform-link",
    keys: &[
        Key::new("truncate", Optional, Kind::Whole { min: 1, max: u32::MAX as u64 }, "At most so many characters."),
        Key::new("native", Optional, Kind::Text, "A closure of the program that runs the document, by its name."),
        Key::new("plugin", Optional, Kind::Text, "A plugin that changes the text, by its alias."),
        Key::new("options", Optional, Kind::Object, "The plugin's options."),
    ],
};
