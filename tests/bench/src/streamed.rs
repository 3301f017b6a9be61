//! What a workflow around an agent costs a stream: one step against its agent alone, through the library.

use crate::measure::{count, micros, processor_time, row};
use anyhow::Result;
use cofferdam::core::fault::Fault;
use cofferdam::core::port::{BoxFuture, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream};
use cofferdam::{AgentConfig, Orchestrator, RunOptions, StreamOptions, Workflow};
use futures_util::StreamExt as _;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    for tokens in [100, count(20_000, 200)] {
        let pair = Pair::of(tokens, Duration::ZERO)?;
        let processor = pair.compare(count(200, 2).div_ceil(tokens.div_ceil(100)).max(3), |work| {
            let before = processor_time();
            runtime.block_on(work);
            processor_time() - before
        });
        row(&format!("one step streamed against its agent, {tokens} tokens"), &dearer(processor), "+15 %");
        row("a token from the model to whoever reads the stream", &micros(processor.1, tokens), "");
    }
    let tokens = count(100, 2);
    let pair = Pair::of(tokens, Duration::from_millis(10))?;
    let wall = pair.compare(1, |work| {
        let started = Instant::now();
        runtime.block_on(work);
        started.elapsed()
    });
    row("the same, 100 tokens a second, wall time", &dearer(wall), "+1 %");
    Ok(())
}

fn dearer((agent, workflow): (Duration, Duration)) -> String {
    format!("{:+.1} %", (workflow.as_secs_f64() / agent.as_secs_f64() - 1.0) * 100.0)
}

/// The same model, asked by an agent alone and by a workflow of one step; the words of both are read as they come.
struct Pair {
    orchestrator: Orchestrator,
    agent: Workflow,
    workflow: Workflow,
    tokens: usize,
}

impl Pair {
    fn of(tokens: usize, pace: Duration) -> Result<Self> {
        let workflow = Workflow::parse("name: one\nsteps: [{ id: speak, instructions: Speak. }]", ".")?;
        let orchestrator = Orchestrator::builder().model(Talkative { tokens, pace }).build()?;
        let agent = Workflow::from_agent(&AgentConfig::new("speaker"), ".")?;
        Ok(Self { orchestrator, agent, workflow, tokens })
    }

    /// The agent's and the workflow's figure, measured in turns.
    fn compare(&self, rounds: usize, mut measure: impl FnMut(BoxFuture<'_, ()>) -> Duration) -> (Duration, Duration) {
        let (mut agent, mut workflow) = (Duration::MAX, Duration::MAX);
        for _ in 0..rounds {
            agent = agent.min(measure(Box::pin(self.stream(&self.agent))));
            workflow = workflow.min(measure(Box::pin(self.stream(&self.workflow))));
        }
        (agent, workflow)
    }

    async fn stream(&self, workflow: &Workflow) {
        let options = StreamOptions { text_only: true, ..StreamOptions::default() };
        let asked = RunOptions { input: Some("Speak.".to_owned()), ..RunOptions::default() };
        let mut stream = self.orchestrator.run_stream(workflow, asked, options);
        let mut words = 0;
        while let Some(chunk) = stream.next().await {
            words += chunk.delta.as_deref().map_or(0, |delta| delta.matches("word ").count());
        }
        assert!(stream.wait().await.expect("it runs").success(), "the workflow completes");
        assert_eq!(words, self.tokens, "every word is heard");
    }
}

/// Says one word so often, at its pace.
struct Talkative {
    tokens: usize,
    pace: Duration,
}

impl Model for Talkative {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "talkative".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, _: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let pace = self.pace;
        let words = (0..self.tokens).map(|_| Ok(ModelEvent::Text("word ".to_owned())));
        let events = words.chain([Ok(ModelEvent::Finished(FinishReason::Stop))]).enumerate();
        let paced = futures_util::stream::iter(events).then(move |(index, event)| async move {
            match pace {
                // Gives way as a stream that comes over a network does.
                Duration::ZERO if index % 16 == 0 => tokio::task::yield_now().await,
                Duration::ZERO => {}
                pace => tokio::time::sleep(pace).await,
            }
            event
        });
        Box::pin(std::future::ready(Ok(Box::pin(paced) as ModelStream)))
    }
}
