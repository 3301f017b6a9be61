//! What a run says when it begins or goes on.

use super::Error;
use super::run::{Pass, Run};
use cofferdam_core::event::Body;
use cofferdam_core::id::StepPath;
use cofferdam_core::run::Emission;

impl Run {
    /// That it begins, what it has seen by then, and what a person should know.
    ///
    /// # Errors
    /// When the memory that it shares cannot be read.
    pub(super) async fn begin(&self, first: Body, warnings: Vec<String>) -> Result<Pass, Error> {
        if let Some(starter) = &self.ports.starter {
            starter.attach(self.context.of(StepPath::ROOT, None));
        }
        let mut pass = Pass::default();
        let lasting = self.look_at_lasting().await?;
        let begins = std::iter::once(first).chain(lasting);
        pass.queue.extend(begins.map(|body| Emission { path: StepPath::ROOT, attempt: None, body }));
        let isolation = warnings.into_iter().map(|message| ("isolation", message));
        let new = self.prepared.uncarried.iter().filter(|told| !self.machine.has_warned(told));
        let options = new.map(|message| ("model_option", message.clone()));
        let coordinator = self.prepared.of_coordinator.iter().map(|message| ("coordinator", message.clone()));
        for (code, message) in isolation.chain(coordinator).chain(options) {
            let body = Body::Warning { code: code.to_owned(), message };
            pass.queue.push_back(Emission { path: StepPath::ROOT, attempt: None, body });
        }
        Ok(pass)
    }
}
