//! An orchestrator with parts of one's own: a tool, a model and a sink, each a small type behind a trait.
//!
//! `cargo run --example own_parts` needs no network and no key.

use cofferdam::core::event::Body;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::LocalName;
use cofferdam::core::message::{Message, ToolCall};
use cofferdam::core::port::{
    Ack, Batch, BoxFuture, Effects, FinishReason, ModelEvent, ModelInfo, ModelRequest, ModelStream, Pressure,
    ToolContext, ToolDefinition, ToolOutput, Want,
};
use cofferdam::{Model, Orchestrator, RunOptions, Sink, Tool, Workflow};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A tool: how high the water stands at a place. It only reads, and says so: it runs without asking.
struct Levels {
    definitions: [ToolDefinition; 1],
}

impl Levels {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let schema = json!({
            "type": "object", "required": ["place"], "additionalProperties": false,
            "properties": { "place": { "type": "string" } },
        });
        let level = ToolDefinition {
            name: LocalName::parse("level")?,
            title: None,
            description: "How high the water stands, in centimetres.".to_owned(),
            input_schema: Arc::new(schema),
            output_schema: None,
            effects: Effects { read_only: true, ..Effects::default() },
            examples: vec![json!({ "place": "north lock" })],
        };
        Ok(Self { definitions: [level] })
    }
}

impl Tool for Levels {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        _: ToolContext,
        _: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move {
            // The arguments fit the schema: the gateway has checked them.
            match args.get("place").and_then(Value::as_str).unwrap_or_default() {
                "north lock" => Ok(ToolOutput { result: Arc::new(json!({ "cm": 412 })), content: None }),
                place => Err(Fault::step("unknown_place", format!("there is no gauge at the {place}"))),
            }
        })
    }
}

/// A model: it asks the tool once, and then says what that said.
struct Keeper;

impl Model for Keeper {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "house/keeper".into(), is_language_model: false, summary: "knows one thing".to_owned() }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let said = match request.messages.last() {
            Some(Message::Tool { text, .. }) => ModelEvent::Text(format!("The gauge says {text}.")),
            _ => {
                let arguments = json!({ "place": "north lock" }).to_string();
                ModelEvent::ToolCall(ToolCall { id: "1".into(), name: "level".to_owned(), arguments })
            }
        };
        let events = [said, ModelEvent::Finished(FinishReason::Stop)];
        Box::pin(async move { Ok(Box::pin(futures_util::stream::iter(events.map(Ok))) as ModelStream) })
    }
}

/// A sink: it keeps which steps ended how, and counts the rest.
#[derive(Default)]
struct Ends {
    seen: Mutex<Vec<String>>,
    others: AtomicUsize,
}

impl Sink for Ends {
    fn want(&self) -> Want {
        Want { durable_only: true, ..Want::new(Vec::new(), Pressure::Drop) }
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        for event in &batch.events {
            if let (Body::StepFinished { status, .. }, Ok(mut seen)) = (&event.body, self.seen.lock()) {
                seen.push(format!("{} {}", event.path, status.as_str()));
            } else {
                self.others.fetch_add(1, Ordering::Relaxed);
            }
        }
        Box::pin(async { Ok(Ack::All) })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(&mut std::io::stdout()).await
}

pub(crate) async fn run(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let ends = Arc::new(Ends::default());
    let orchestrator =
        Orchestrator::builder().model(Keeper).tool(Levels::new()?).sink(Arc::clone(&ends) as Arc<dyn Sink>).build()?;
    let document = "
name: gauge
agents: { keeper: { description: Watches the water., tools: [level] } }
steps:
  - { id: ask, agent: keeper, instructions: How high is the water? }
  - { id: south, tool: level, args: { place: south lock }, onFailure: continue }
";
    let workflow = Workflow::parse(document, ".")?;
    let result = orchestrator.run_flow(&workflow, RunOptions::default()).await?;
    let error = result.step("south").and_then(|step| step.error.clone());
    let answer = result.step("ask").map(|step| step.content.to_string()).unwrap_or_default();
    writeln!(out, "{answer}")?;
    writeln!(out, "south: {}", error.map(|error| error.message).unwrap_or_default())?;
    // Sinks are told beside the run; closing waits for them.
    orchestrator.close().await;
    let mut seen = ends.seen.lock().map(|seen| seen.clone()).unwrap_or_default();
    seen.sort_unstable();
    writeln!(out, "ended: {}", seen.join(", "))?;
    writeln!(out, "other events: {}", ends.others.load(Ordering::Relaxed) > 0)?;
    Ok(())
}
