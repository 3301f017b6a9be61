//! What was said to the models of a recorded run besides: it must be what its settings and its document say.

use super::Replayer;
use crate::executor::RunSettings;
use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::id::StepPath;
use cofferdam_core::run::replay::{Asked, Difference, values_agree};
use cofferdam_core::spec::workflow::AgentSpec;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The settings of a run, and what its sub-agents asked.
#[derive(Default)]
pub(super) struct Requests {
    /// From which event on they held, the first first; none where they cannot be read.
    settings: Vec<(u64, Option<RunSettings>)>,
    /// Requests of sub-agents, by the step that they worked for.
    delegated: BTreeMap<StepPath, Vec<Arc<RunEvent>>>,
}

impl Requests {
    pub(super) fn of(events: &[Arc<RunEvent>]) -> Self {
        let mut requests = Self::default();
        for event in events {
            match &event.body {
                Body::RunStarted { settings, .. } | Body::RunResumed { settings, .. } => {
                    requests.settings.push((event.seq, RunSettings::recorded_options(settings)));
                }
                Body::TurnStarted { .. } if event.path.is_delegate() => {
                    requests.delegated.entry(event.path.step()).or_default().push(Arc::clone(event));
                }
                _ => {}
            }
        }
        requests
    }

    /// The settings that held at an event.
    fn settings_at(&self, seq: u64) -> Option<&RunSettings> {
        let held = self.settings.iter().rev().find(|(from, _)| *from <= seq);
        held.and_then(|(_, settings)| settings.as_ref())
    }
}

impl Replayer {
    /// The first request of a try, or of a sub-agent in it, that was made with other options than come out here.
    pub(super) fn other_options(
        &mut self,
        (path, attempt): (&StepPath, u32),
        agent: &Arc<AgentSpec>,
        asked: &Asked<'_>,
    ) -> Option<Difference> {
        let delegated = self.requests.delegated.get(path).into_iter().flatten();
        let of_try = |event: &&Arc<RunEvent>| event.attempt == Some(attempt) && event.seq < asked.recorded.seq;
        let mut unread = false;
        let found = asked.before.iter().chain(delegated.filter(of_try)).find_map(|event| {
            let Body::TurnStarted { turn, options, .. } = &event.body else { return None };
            let Some(settings) = self.requests.settings_at(event.seq) else {
                unread = true;
                return None;
            };
            let agent = settings.with_options(Arc::clone(agent), &self.workflow.options);
            let (now, recorded) = (agent.settings.options.to_map(), options.to_map());
            let (now, recorded) = (Value::Object(now), Value::Object(recorded));
            let what = format!("turn {turn} was asked for with other options of the model");
            let differ = !values_agree(&now, &recorded);
            differ.then(|| Difference::at(event, what).recorded(recorded).replayed(now))
        });
        if unread {
            self.unchecked.insert("the options of models: they cannot be read in the settings of the run".to_owned());
        }
        found
    }
}
