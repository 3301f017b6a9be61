//! The tables of options, of plugins and servers, and of what bounds a run.

use super::super::kind::{
    Key, Kind,
    Need::{Optional, Required},
    Table,
};
use super::{ANY_WHOLE, FAILURE, ISOLATION, TEXTS};
use crate::limits;

const AT_LEAST_ONE: Kind = Kind::Whole { min: 1, max: u32::MAX as u64 };
const ANY_COST: Kind = Kind::Number { min: 0.0, max: 1e12 };
const PENALTY: Kind = Kind::Number { min: -2.0, max: 2.0 };

pub(in super::super) static PLUGIN: Table = Table {
    name: "plugin",
    keys: &[
        Key::new(
            "source",
            Required,
            Kind::Text,
            "`builtin:NAME`, `oci://HOST/REPOSITORY:TAG`, or a path to a component, relative to the document.",
        ),
        Key::new("digest", Optional, Kind::Text, "The digest that the component must have: `sha256:...`."),
        Key::new("config", Optional, Kind::Object, "Its configuration."),
        Key::new(
            "grants",
            Optional,
            Kind::Object,
            "What it asks for: `http`, `fs`, `kv`, `secrets`, `tools`. Always a request.",
        ),
        Key::new("limits", Optional, Kind::Object, "Limits lower than the host's: `memory`, `wall`, `fuel`."),
        Key::new(
            "permissions",
            Optional,
            Kind::Map(&Kind::Choice { words: &["allow", "ask", "deny"], plus: &[] }),
            "What happens before one of its tools is called, by the tool's name.",
        ),
    ],
};

pub(in super::super) static OPTIONS: Table = Table {
    name: "options",
    keys: &[
        Key::new("model", Optional, Kind::Text, "The default model.").plus(),
        Key::new("maxConcurrency", Optional, ANY_WHOLE, "Attempts running at once in the whole run; 0 means unset."),
        Key::new("onStepFailure", Optional, FAILURE, "What a failed step does to others."),
        Key::new("timeout", Optional, Kind::Duration, "The run."),
        Key::new("stepTimeout", Optional, Kind::Duration, "Default for agent and tool steps."),
        Key::new("isolation", Optional, ISOLATION, "Where tools run."),
        Key::new(
            "scheduler",
            Optional,
            Kind::Choice { words: &["dependency-first", "round-robin", "least-busy"], plus: &[] },
            "Which ready step gets a free slot.",
        ),
        Key::new("maxRetries", Optional, ANY_WHOLE, "Retries of one model request."),
        Key::new("outputTransform", Optional, super::step::LINKS, "What changes outputs before they enter a prompt.")
            .plus(),
        Key::new("budget", Optional, Kind::Table(|| &BUDGET), "What the run may spend.").plus(),
        Key::new("memory", Optional, Kind::Table(|| &MEMORY), "What is kept between steps and runs.").plus(),
        Key::new("modelOptions", Optional, Kind::Table(|| &MODEL_OPTIONS), "Options of every model.").plus(),
        Key::new(
            "onUnknownEffect",
            Optional,
            Kind::Choice { words: &["ask", "retry", "fail"], plus: &[] },
            "What happens to a call whose outcome is not known.",
        )
        .plus(),
        Key::new("limits", Optional, Kind::Table(|| &LIMITS), "Lowers the host's limits.").plus(),
        Key::new(
            "compat",
            Optional,
            Kind::Choice { words: &["zenflow"], plus: &[] },
            "Forbids what another language forbids.",
        ),
        Key::new("engine", Optional, Kind::Text, "The engine that runs the document, by its registered name.").plus(),
    ],
};

pub(in super::super) static MCP_SERVER: Table = Table {
    name: "mcp-server",
    keys: &[
        Key::new("command", Optional, Kind::Text, "The program that is started and spoken to."),
        Key::new("args", Optional, Kind::List(&Kind::AnyText), "The program's arguments."),
        Key::new("env", Optional, Kind::Foreign(&Kind::AnyText), "The program's environment variables."),
        Key::new("url", Optional, Kind::Text, "The address of a server that runs already."),
        Key::new("headers", Optional, Kind::Foreign(&Kind::AnyText), "Headers of each request."),
    ],
};

/// Each has the name of a field of `RunLimits`, in camel case.
pub(in super::super) static LIMITS: Table = Table {
    name: "limits",
    keys: &[
        Key::new("stepInstances", Optional, AT_LEAST_ONE, "Step instances of the run, iterations counted."),
        Key::new("forEachItems", Optional, AT_LEAST_ONE, "Items of one `forEach`."),
        Key::new("messageBytes", Optional, Kind::Size, "An assembled message."),
        Key::new("stepOutputBytes", Optional, Kind::Size, "What a step gives."),
        Key::new("toolResultBytes", Optional, Kind::Size, "What a model reads of a tool's answer."),
        Key::new("toolArgumentBytes", Optional, Kind::Size, "The arguments of a tool call."),
        Key::new("toolCallsPerTurn", Optional, AT_LEAST_ONE, "Tool calls of one turn."),
        Key::new("conversationBytes", Optional, Kind::Size, "A conversation, before what is old in it gives way."),
    ],
};

pub(in super::super) static BUDGET: Table = Table {
    name: "budget",
    keys: &[
        Key::new("tokens", Optional, AT_LEAST_ONE, "Most tokens, input and output together."),
        Key::new("cost", Optional, ANY_COST, "Most money, in the currency of the price table."),
        Key::new("toolCalls", Optional, ANY_WHOLE, "Most tool calls."),
        Key::new("wall", Optional, Kind::Duration, "Most time; waiting for a person does not count."),
        Key::new(
            "onExceed",
            Optional,
            Kind::Choice { words: &["fail", "pause"], plus: &[] },
            "What happens when it is used up.",
        ),
    ],
};

/// The budget of an agent or a step: what happens when it is used up is the run's to say.
pub(in super::super) static STEP_BUDGET: Table = Table {
    name: "step-budget",
    keys: &[
        Key::new("tokens", Optional, AT_LEAST_ONE, "Most tokens, input and output together."),
        Key::new("cost", Optional, ANY_COST, "Most money, in the currency of the price table."),
        Key::new("toolCalls", Optional, ANY_WHOLE, "Most tool calls."),
        Key::new("wall", Optional, Kind::Duration, "Most time, that of all its tries together."),
    ],
};

pub(in super::super) static MEMORY: Table = Table {
    name: "memory",
    keys: &[
        Key::new(
            "scope",
            Optional,
            Kind::Choice { words: &["run", "shared"], plus: &[] },
            "Whether other runs see it too.",
        ),
        Key::new("recall", Optional, Kind::Table(|| &RECALL), "What is found again and put into messages."),
    ],
};

pub(in super::super) static RECALL: Table = Table {
    name: "recall",
    keys: &[
        Key::new("provider", Optional, Kind::Text, "`builtin`, or the alias of a plugin; absent means `builtin`."),
        Key::new(
            "store",
            Optional,
            Kind::List(&Kind::Choice { words: &["inputs", "outputs"], plus: &[] }),
            "What is stored of each agent step; absent means both.",
        ),
        Key::new(
            "limit",
            Optional,
            Kind::Whole { min: 1, max: limits::RECALL_FOUND_MAX as u64 },
            "Most entries that are found; absent means 5.",
        ),
        Key::new("minScore", Optional, Kind::Number { min: 0.0, max: 1.0 }, "The least likeness of what is found."),
        Key::new(
            "tokens",
            Optional,
            Kind::Whole { min: 1, max: limits::RECALL_TOKENS_MAX as u64 },
            "Most tokens that are put into a message; absent means 800.",
        ),
        Key::new(
            "session",
            Optional,
            Kind::Text,
            "Runs of the same session find what the others stored; absent means that each run finds its own alone.",
        ),
    ],
};

pub(in super::super) static AGENT_MEMORY: Table = Table {
    name: "agent-memory",
    keys: &[
        Key::new("read", Optional, Kind::FlagOr(&TEXTS), "Whether it may read, or of which agents."),
        Key::new("write", Optional, Kind::Flag, "Whether it may write."),
    ],
};

pub(in super::super) static MODEL_OPTIONS: Table = Table {
    name: "model-options",
    keys: &[
        Key::new("seed", Optional, Kind::Whole { min: 0, max: i64::MAX as u64 }, "Where sampling begins."),
        Key::new("stop", Optional, Kind::TextOr(&Kind::List(&Kind::AnyText)), "Texts at which an answer ends."),
        Key::new("topK", Optional, AT_LEAST_ONE, "Sampling from so many tokens only."),
        Key::new("frequencyPenalty", Optional, PENALTY, "Makes words that were used often less likely."),
        Key::new("presencePenalty", Optional, PENALTY, "Makes words that were used at all less likely."),
        Key::new("reasoning", Optional, Kind::Any, "How much the model thinks, in the provider's words."),
        Key::new("promptCache", Optional, Kind::Flag, "Whether the provider may keep the beginning of a prompt."),
        Key::new("headers", Optional, Kind::Foreign(&Kind::AnyText), "Headers of each request, credentials excepted."),
        Key::new("provider", Optional, Kind::Foreign(&Kind::Object), "Parts of the request's body, by provider."),
    ],
};
