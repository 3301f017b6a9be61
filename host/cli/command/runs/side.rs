//! One of two runs that are compared: what it was started with, its steps, and where in the journal their outputs stand.
//!
//! It must not hold outputs: those that differ are read again.

use super::history::History;
use super::show::Shown;
use super::{each_event, refused};
use cofferdam::Journal;
use cofferdam::core::digest::sha256_hex;
use cofferdam::core::event::{Body, PluginPin, RunEvent, Source};
use cofferdam::core::id::RunId;
use cofferdam::core::port::RecordBody;
use cofferdam::core::value::Map;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// What stands in place of the run's own id, which is no difference.
const OWN_ID: &str = "RUN";

/// Ids that are shorter are not looked for; no number is as long.
const SHORTEST_ID: usize = 32;

/// A run as it is compared.
pub(super) struct Side {
    pub(super) history: History,
    pub(super) start: Start,
    shown: Shown,
    outputs: HashMap<String, Place>,
}

/// What a run was started with.
#[derive(Default)]
pub(super) struct Start {
    pub(super) sources: Vec<Source>,
    pub(super) inputs: Map,
    pub(super) input: Option<Arc<str>>,
    pub(super) plugins: Vec<PluginPin>,
    pub(super) settings: Map,
}

/// Where an output stands, and what it is.
struct Place {
    position: u64,
    digest: String,
}

impl Side {
    pub(super) async fn read(journal: &dyn Journal, run: &RunId, reveal: bool) -> anyhow::Result<Self> {
        let mut side = Self {
            history: History::new(run.clone()),
            start: Start::default(),
            shown: Shown::new(reveal),
            outputs: HashMap::new(),
        };
        each_event(journal, run, |position, event| {
            let public = side.shown.public(event);
            side.add(position, public.as_ref().unwrap_or(event))
        })
        .await?;
        Ok(side)
    }

    fn add(&mut self, position: u64, event: &RunEvent) -> anyhow::Result<()> {
        self.history.add(event);
        match &event.body {
            Body::RunStarted { sources, inputs, input, plugins, settings, .. } => {
                self.start = Start {
                    sources: sources.clone(),
                    inputs: inputs.clone(),
                    input: input.clone(),
                    plugins: plugins.clone(),
                    settings: settings.clone(),
                };
            }
            Body::StepFinished { .. } => {
                let text = self.plain(&output(event).unwrap_or_default())?;
                let digest = sha256_hex(text.as_bytes());
                self.outputs.insert(event.path.as_str().to_owned(), Place { position, digest });
            }
            _ => {}
        }
        Ok(())
    }

    /// What stands for the output of a step; none when it has none.
    pub(super) fn digest(&self, step: &str) -> Option<&str> {
        self.outputs.get(step).map(|place| place.digest.as_str())
    }

    /// The output of a step: `content` and `result`.
    pub(super) async fn output(&self, journal: &dyn Journal, step: &str) -> anyhow::Result<Value> {
        let Some(place) = self.outputs.get(step) else { return Ok(Value::Null) };
        let page = journal.read(&self.history.run, place.position.saturating_sub(1), 1).await;
        let page = page.map_err(|error| refused(&error))?;
        let Some(RecordBody::Event(event)) = page.records.into_iter().next().map(|record| record.body) else {
            return Ok(Value::Null);
        };
        let public = self.shown.again(&event);
        let output = output(public.as_ref().unwrap_or(&event)).unwrap_or_default();
        Ok(serde_json::from_str(&self.plain(&output)?)?)
    }

    /// A value as text, without the run's own id.
    fn plain(&self, value: &Value) -> serde_json::Result<String> {
        let (text, run) = (serde_json::to_string(value)?, self.history.run.as_str());
        // A short id of an embedder may stand anywhere, also in a number or a key.
        Ok(if run.len() < SHORTEST_ID { text } else { text.replace(run, OWN_ID) })
    }

    /// A value without the run's own id.
    pub(super) fn without_id(&self, value: &Value) -> Value {
        // Text that was made of a value is one, whatever stands in its strings.
        self.plain(value).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
    }
}

/// What a step gave to others: text and data.
fn output(event: &RunEvent) -> Option<Value> {
    match &event.body {
        Body::StepFinished { output, .. } => Some(json!({ "content": output.content, "result": output.result })),
        _ => None,
    }
}
