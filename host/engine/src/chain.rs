//! Chains of transforms: built-in ones at once, closures of the embedder by name, plugins by alias.

use crate::closure::guarded;
use cofferdam_core::event::{Body, StepOutput};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::Alias;
use cofferdam_core::port::{Natives, Outcome, PureContext, PurePlugins, RunContext};
use cofferdam_core::transform::{Transform, assemble, items};
use cofferdam_core::value::Map;
use std::sync::Arc;

/// Applies transforms for one step.
#[derive(Clone)]
pub(crate) struct Chains {
    pub(crate) natives: Arc<Natives>,
    pub(crate) plugins: Arc<PurePlugins>,
    pub(crate) run: Arc<dyn RunContext>,
    /// Where plugins work.
    pub(crate) pure: PureContext,
}

impl Chains {
    /// Applies a chain from left to right.
    pub(crate) async fn apply(&self, chain: &[Transform], mut value: StepOutput) -> Result<StepOutput, Fault> {
        for link in chain {
            value = match link.built_in(&value) {
                Some(changed) => changed?,
                None => self.named(link, value).await?,
            };
        }
        Ok(value)
    }

    /// Applies a chain to a text.
    pub(crate) async fn apply_to_text(&self, chain: &[Transform], text: String) -> Result<String, Fault> {
        if chain.is_empty() {
            return Ok(text);
        }
        let value = StepOutput { content: text.into(), ..StepOutput::default() };
        Ok(self.apply(chain, value).await?.content.to_string())
    }

    async fn named(&self, link: &Transform, value: StepOutput) -> Result<StepOutput, Fault> {
        match link {
            Transform::Native(name) => self.closure(name, value).await,
            Transform::Plugin { plugin, options } => self.plugin(plugin, options, value).await,
            _ => Err(Fault::bug("a built-in transform was not built in")),
        }
    }

    async fn closure(&self, name: &str, value: StepOutput) -> Result<StepOutput, Fault> {
        let Some(closure) = self.natives.transforms.get(name) else {
            return Err(Fault::bug(format!("the transform `{name}` was not looked for")));
        };
        let run = Arc::clone(&self.run);
        guarded(&format!("transform `{name}`"), async { closure.apply(run, value).await }).await
    }

    async fn plugin(&self, alias: &Alias, options: &Map, value: StepOutput) -> Result<StepOutput, Fault> {
        let Some(plugin) = self.plugins.transforms.get(alias) else {
            return Err(Fault::bug(format!("the transform plugin `{alias}` was not looked for")));
        };
        let given = items(&value);
        let count = given.len();
        let call = plugin.apply(self.pure.clone(), options, given);
        let outcomes = guarded(&format!("transform `{alias}`"), call).await?;
        if outcomes.len() != count {
            let message = format!("the transform `{alias}` gave {} outcomes for {count} items", outcomes.len());
            return Err(Fault::step("plugin_protocol", message));
        }
        self.tell_of_nothing(alias, &outcomes);
        assemble(&value, outcomes)
    }

    /// Says so when a transform leaves nothing.
    fn tell_of_nothing(&self, alias: &Alias, outcomes: &[Outcome]) {
        let dropped = |outcome: &Outcome| match outcome {
            Outcome::Drop(why) => Some(why.clone()),
            _ => None,
        };
        let reasons: Option<Vec<String>> = outcomes.iter().map(dropped).collect();
        if let Some(reason) = reasons.as_ref().and_then(|reasons| reasons.first()) {
            let message = format!("the transform `{alias}` left nothing: {reason}");
            self.pure.events.observe(Body::Warning { code: "transform_dropped".to_owned(), message });
        }
    }
}
