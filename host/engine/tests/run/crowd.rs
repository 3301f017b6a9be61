//! Many agents that speak at once on one thread.

use crate::scene::{Scene, step, workflow};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream};
use cofferdam_core::spec::workflow::{AgentWork, Work};
use futures_util::stream;
use std::sync::Arc;

/// Says so many words and never waits.
struct Talkative(usize);

impl Model for Talkative {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "talkative".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, _: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let words = (0..self.0).map(|_| Ok(ModelEvent::Text("word ".to_owned())));
        let events = words.chain([Ok(ModelEvent::Finished(FinishReason::Stop))]);
        Box::pin(std::future::ready(Ok(Box::pin(stream::iter(events)) as ModelStream)))
    }
}

#[test]
fn what_many_say_at_once_is_lost_for_nobody_who_waits_for_it() {
    let (agents, words) = (200, 400);
    let models: Option<Arc<dyn Model>> = Some(Arc::new(Talkative(words)));
    let steps = (0..agents).map(|number| step(&format!("s{number}"), Work::Agent(AgentWork::new("Speak.")))).collect();
    let mut workflow = workflow(steps);
    workflow.options.max_concurrency = Some(agents);
    let seen = Scene { models, ..Scene::default() }.run(workflow);
    let told = seen.sink.iter().filter(|event| matches!(event.body, Body::OutputDelta { .. })).count();
    assert_eq!((told, seen.missed), (agents * words, 0));
}
