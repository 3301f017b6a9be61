//! The coordinator of a run: an agent beside the steps, which hears of what happens, writes to agents, and says what it came to.

use cofferdam_core::id::AgentName;
use cofferdam_core::limits;
use cofferdam_core::mail::OF_COORDINATOR;
use cofferdam_core::spec::workflow::{AgentSpec, ToolFilter};
use serde::{Deserialize, Serialize};

/// What the coordinator of a run is told that it is.
pub const COORDINATOR_PROMPT: &str = "\
You coordinate a run of a workflow. Its steps are worked on by other agents, in an order that is decided without you; you do not do \
their work.
You are told when the run starts, when steps begin and end, with the beginning of what they gave, and when all have ended. Agents may \
write to you. Whenever you hear of something, decide whether anybody needs to know it:
- `forward_to_agent` writes to the agent of a step that has not ended: what it needs from elsewhere, a correction, or `cancel`.
- `narrate` tells people in one sentence what matters to them. Most events do not.
- `finalize` gives the summary of the run, in the end, once.
When nothing is to be done, answer with one word and call no tool.";

/// How the coordinator's prompt is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Prompt {
    /// [`COORDINATOR_PROMPT`].
    #[default]
    Default,
    /// The same, and this behind it.
    Extended(String),
    /// This alone.
    Replaced(String),
}

/// The coordinator of a run: an agent that hears of what happens, writes to the agents of steps, and sums up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinator {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default)]
    prompt: Prompt,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tools: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    synthesize_only: bool,
}

impl Coordinator {
    /// A coordinator that this model drives. [`Coordinator::default`] takes the run's, the document's or the host's.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: Some(model.into()), ..Self::default() }
    }

    /// With this prompt alone, in the place of [`COORDINATOR_PROMPT`].
    #[must_use]
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Prompt::Replaced(prompt.into());
        self
    }

    /// With [`COORDINATOR_PROMPT`] and this behind it.
    #[must_use]
    pub fn extend_prompt(mut self, more: impl Into<String>) -> Self {
        self.prompt = Prompt::Extended(more.into());
        self
    }

    /// With more tools than its own, named as the `tools` of an agent in a document.
    #[must_use]
    pub fn tools(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tools.extend(names.into_iter().map(Into::into));
        self
    }

    /// It hears of the run only when all steps have ended, to say what that came to; nobody can write to it.
    #[must_use]
    pub fn synthesize_only(mut self) -> Self {
        self.synthesize_only = true;
        self
    }

    /// Whether it hears of the run only in the end.
    #[must_use]
    pub fn only_synthesizes(&self) -> bool {
        self.synthesize_only
    }

    /// The model that it asks for.
    #[must_use]
    pub fn model(&self) -> Option<&String> {
        self.model.as_ref()
    }

    pub(crate) fn spec(&self) -> AgentSpec {
        let own = OF_COORDINATOR.into_iter().map(str::to_owned);
        let prompt = match &self.prompt {
            Prompt::Default => COORDINATOR_PROMPT.to_owned(),
            Prompt::Extended(more) => format!("{COORDINATOR_PROMPT}\n\n{more}"),
            Prompt::Replaced(prompt) => prompt.clone(),
        };
        AgentSpec {
            name: AgentName::parse("coordinator").expect("`coordinator` follows the grammar"),
            description: "the coordinator of the run".to_owned(),
            prompt: Some(prompt.into()),
            tools: ToolFilter { allow: Some(own.chain(self.tools.iter().cloned()).collect()), ..ToolFilter::default() },
            max_turns: Some(limits::COORDINATOR_TURNS),
            ..crate::executor::default_agent()
        }
    }
}
