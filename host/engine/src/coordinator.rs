//! The coordinator of a run: an agent beside the steps, which hears of what happens, writes to agents, and says what it came to.

mod wake;

pub use wake::CoordinatorWake;
pub(crate) use wake::WakeContext;

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

/// What a coordinator is told besides that holds one conversation over several runs.
const SHARED_PROMPT: &str = "\
You coordinate several runs in this one conversation. What you are told begins with the run that it is about, as in `[run ID]`. What you \
do then is done in that run: only its steps can be written to, and its people read what you tell and sum up. Say nothing there of \
another run that its people need not know.";

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wakes: Option<u32>,
    #[serde(default, skip_serializing_if = "WakeContext::is_none")]
    context: WakeContext,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
    /// It shared a conversation where the run was started, and does not here.
    #[serde(skip)]
    set_apart: bool,
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

    /// How often news of the run wake it; from then on only messages do, and the end. Default: 100. However often it is woken, it has
    /// [`limits::COORDINATOR_TURNS`] turns in a run.
    #[must_use]
    pub fn wakes(mut self, most: u32) -> Self {
        self.wakes = Some(most);
        self
    }

    /// Gives it more to read at each wake, behind the news: what only the program knows. The function is called where the run is
    /// driven, and holds it up as long as it takes; a panic in it is a warning of the run. What it gives is recorded in the run and
    /// cut at [`limits::COORDINATOR_CONTEXT_BYTES`]. A run that is resumed has the function of the orchestrator's coordinator.
    #[must_use]
    pub fn context(mut self, function: impl Fn(&CoordinatorWake) -> Option<String> + Send + Sync + 'static) -> Self {
        self.context = WakeContext::Here(std::sync::Arc::new(function));
        self
    }

    /// Keeps one conversation over all runs of an orchestrator that share it, and over its restarts: what the coordinator is told and
    /// says in one run it knows in the others. Runs take turns. A run with sensitive steps has a conversation of its own.
    ///
    /// It is not the default since it lets runs see each other: what steps give, or people write, in one run may be told in another, also
    /// where these are run for somebody else.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// The same as a run has it that was recorded and goes on here: what is no data comes from the orchestrator's own coordinator.
    #[must_use]
    pub fn taken_up(mut self, own: Option<&Self>) -> Self {
        if let (WakeContext::Elsewhere, Some(own)) = (&self.context, own)
            && !own.context.is_none()
        {
            self.context = own.context.clone();
        }
        // A record may come from anywhere: whether others are told of it, and it of them, is decided here.
        self.set_apart = self.shared && !own.is_some_and(|own| own.shared);
        self
    }

    /// Whether it holds one conversation with the coordinators of other runs.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared && !self.set_apart
    }

    /// How often news of the run wake it.
    pub(crate) fn most_wakes(&self) -> u32 {
        self.wakes.unwrap_or(limits::COORDINATOR_WAKES)
    }

    pub(crate) fn wake_context(&self) -> &WakeContext {
        &self.context
    }

    /// What a run lacks here that it was started with.
    pub(crate) fn lacks(&self) -> Vec<&'static str> {
        let lacks_context = matches!(self.context, WakeContext::Elsewhere);
        let apart = "it shared its conversation with other runs, and here it has one of its own";
        let without = "what it was given at each wake comes from a function of another program, and is missing here";
        [(self.set_apart, apart), (lacks_context, without)]
            .into_iter()
            .filter_map(|(is, what)| is.then_some(what))
            .collect()
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

    /// The agent that it is, in a conversation of its own or in one with others.
    pub(crate) fn spec(&self, shares: bool) -> AgentSpec {
        let own = OF_COORDINATOR.into_iter().map(str::to_owned);
        let own_prompt = || match shares {
            true => format!("{COORDINATOR_PROMPT}\n\n{SHARED_PROMPT}"),
            false => COORDINATOR_PROMPT.to_owned(),
        };
        let prompt = match &self.prompt {
            Prompt::Default => own_prompt(),
            Prompt::Extended(more) => format!("{}\n\n{more}", own_prompt()),
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
