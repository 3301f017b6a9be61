//! Chains of transforms: built-in ones at once, closures of the embedder by name.

use crate::closure::guarded;
use cofferdam_core::event::StepOutput;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{Natives, RunContext};
use cofferdam_core::transform::Transform;
use std::sync::Arc;

/// Applies transforms for one step.
#[derive(Clone)]
pub(crate) struct Chains {
    pub(crate) natives: Arc<Natives>,
    pub(crate) run: Arc<dyn RunContext>,
}

impl Chains {
    /// Applies a chain from left to right.
    pub(crate) async fn apply(&self, chain: &[Transform], mut value: StepOutput) -> Result<StepOutput, Fault> {
        for link in chain {
            value = match link.built_in(&value) {
                Some(changed) => changed?,
                None => self.closure(link, value).await?,
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

    async fn closure(&self, link: &Transform, value: StepOutput) -> Result<StepOutput, Fault> {
        let Transform::Native(name) = link else { return Err(Fault::bug("a transform that is not built was started")) };
        let Some(closure) = self.natives.transforms.get(name) else {
            return Err(Fault::bug(format!("the transform `{name}` was not looked for")));
        };
        let run = Arc::clone(&self.run);
        guarded(&format!("transform `{name}`"), async { closure.apply(run, value).await }).await
    }
}
