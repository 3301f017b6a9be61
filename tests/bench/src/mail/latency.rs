//! How long a message is under way, from the call that writes it to the request that its reader's model gets.

use super::{coordinated, finish, writers};
use crate::graph::{ports, request};
use crate::measure::{count, row, spread};
use anyhow::Result;
use cofferdam_core::event::MessageKind;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::AgentName;
use cofferdam_core::message::Usage;
use cofferdam_core::port::{
    Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture, FinishReason, Model, ModelEvent, ModelInfo,
    ModelRequest, ModelStream, Post,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// Messages of one run: less than the turns that a coordinator has.
const EACH: usize = 400;

pub(super) fn run(runtime: &Runtime) -> Result<()> {
    let (runs, each) = (count(25, 1), count(EACH, 3));
    let mut times = Vec::with_capacity(runs * each);
    for _ in 0..runs {
        let reader = Arc::new(Reader::default());
        let mut ports = ports(Arc::clone(&reader) as Arc<dyn Model>);
        ports.agents.insert(AgentName::parse("writer")?, Arc::new(OneByOne(Arc::clone(&reader), each)));
        finish(runtime, ports, coordinated(request(&writers(1), 2), true));
        let mut seen = reader.seen.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(seen.len(), each, "every message is read");
        times.append(&mut seen);
    }
    let spread = spread(times);
    row("a message from its writer to its reader's model, median", &spread.median(), "");
    row("the same, p99", &spread.p99(), "100 us");
    Ok(())
}

/// The coordinator's model: sees when a message is there.
#[derive(Default)]
struct Reader {
    sent: Mutex<Option<Instant>>,
    seen: Mutex<Vec<Duration>>,
    read: Notify,
}

impl Reader {
    /// The message that is under way, if there is one, has come.
    fn note(&self) {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sent) = sent {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(sent.elapsed());
            self.read.notify_one();
        }
    }
}

impl Model for Reader {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "reader".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        // News of the run are no message.
        if request.messages.last().is_some_and(|last| last.text().contains("[message from step")) {
            self.note();
        }
        let events = [
            ModelEvent::Text("ok".to_owned()),
            ModelEvent::Usage(Usage { input: 1, output: 1, ..Usage::default() }),
            ModelEvent::Finished(FinishReason::Stop),
        ];
        Box::pin(async move { Ok(Box::pin(futures_util::stream::iter(events.map(Ok))) as ModelStream) })
    }
}

/// Writes so many messages, each when the one before was read.
struct OneByOne(Arc<Reader>, usize);

impl Agent for OneByOne {
    fn name(&self) -> &'static str {
        "writer"
    }

    fn run(&self, ctx: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            let Self(reader, count) = self;
            for number in 0..*count {
                *reader.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                let (text, key) = (format!("message {number}"), format!("{}/{number}", ctx.path).into());
                ctx.run.post(Post { to: None, kind: MessageKind::Info, text, key, failed: false }).await?;
                reader.read.notified().await;
            }
            Ok(AgentOutput::default())
        })
    }
}
