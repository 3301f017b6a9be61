//! Cost of a step: chains and fans of steps whose model answers at once, journal in memory.

use crate::measure::{best, count, micros, micros_each, row};
use anyhow::Result;
use cofferdam_core::id::{RunId, StepId};
use cofferdam_core::permission::Rules;
use cofferdam_core::port::{
    BoxFuture, DirHandle, Isolation, Model, Models, SourceError, SourceFile, Sources, StepDirs, StepEntry, TryEnd,
};
use cofferdam_core::spec::workflow::{AgentWork, Step, Work, Workflow};
use cofferdam_core::{event::Changes, fault::Fault};
use cofferdam_engine::{Executor, FixedRandomness, Gateway, Ports, RunRequest, RunSettings, TokioClock};
use cofferdam_llm::Scripted;
use cofferdam_store::Memory;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let (few, many) = (count(1_000, 2), count(10_000, 4));
    let floor = best(3, || runtime.block_on(async { drop(tokio::spawn(bare_chain(many)).await) }));
    row("floor: bare tokio, chain of 10 000 tasks, per task", &micros(floor, many), "0.3-0.7 us");
    let small = chain(runtime, few);
    let large = chain(runtime, many);
    row("chain of 1 000 steps, per step", &micros(small, few), "10 us");
    row("chain of 10 000 steps, per step", &micros(large, many), "10 us");
    let growth = large.as_secs_f64() / small.as_secs_f64();
    row("chain of 10 000 against 1 000", &format!("{growth:.1} x"), "12 x");
    let fan = fan(runtime, many);
    row("fan-out of 10 000 steps, per step", &micros(fan, many), "10 us");
    let ratio = micros_each(large, many) / micros_each(floor, many);
    row("chain of 10 000 against the floor", &format!("{ratio:.1} x"), "");
    Ok(())
}

async fn bare_chain(count: usize) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for step in 0..count {
        let sender = sender.clone();
        tokio::spawn(async move { sender.send(step).is_ok() });
        receiver.recv().await;
    }
}

fn chain(runtime: &Runtime, steps: usize) -> std::time::Duration {
    let steps = (0..steps).map(|index| step(index, index.checked_sub(1).into_iter().collect()));
    measure(runtime, steps.collect())
}

fn fan(runtime: &Runtime, steps: usize) -> std::time::Duration {
    measure(runtime, (0..steps).map(|index| step(index, Vec::new())).collect())
}

fn measure(runtime: &Runtime, steps: Vec<Step>) -> std::time::Duration {
    let workflow = workflow(steps);
    let model: Arc<dyn Model> = Arc::new(Scripted::answering("done"));
    best(3, || {
        let (ports, request) = (ports(Arc::clone(&model)), request(&workflow, 5));
        let outcome =
            runtime.block_on(async { tokio::spawn(async move { Executor::new().run(ports, request).await }).await });
        let result = outcome.expect("the task does not panic").expect("the run starts");
        assert!(result.success(), "the run completes");
    })
}

pub(crate) fn step(index: usize, depends_on: Vec<usize>) -> Step {
    let id = StepId::parse(&format!("s{index}")).expect("the name follows the grammar");
    Step { depends_on, ..Step::new(id, Work::Agent(AgentWork::new("go on"))) }
}

pub(crate) fn workflow(steps: Vec<Step>) -> Arc<Workflow> {
    Arc::new(Workflow::of_steps("bench", steps))
}

pub(crate) fn request(workflow: &Arc<Workflow>, max_concurrency: usize) -> RunRequest {
    RunRequest {
        run_id: RunId::parse("bench").expect("the name follows the grammar"),
        workflow: Arc::clone(workflow),
        inputs: serde_json::Map::new(),
        input: None,
        answers: BTreeMap::new(),
        approvals: Vec::new(),
        context_files: Vec::new(),
        plugins: Vec::new(),
        note: None,
        holder: None,
        settings: RunSettings {
            default_model: Some("bench".to_owned()),
            max_concurrency: Some(max_concurrency),
            ..RunSettings::default()
        },
        cancel: CancellationToken::new(),
    }
}

pub(crate) fn ports(model: Arc<dyn Model>) -> Ports {
    let clock = Arc::new(TokioClock::new());
    let gateway = Gateway::new([], Rules::default(), None, Arc::clone(&clock) as _).expect("no tools collide");
    Ports {
        clock,
        randomness: Arc::new(FixedRandomness(0.0)),
        journal: Arc::new(Memory::new()),
        models: Arc::new(One(model)),
        agents: BTreeMap::new(),
        natives: Arc::default(),
        plugins: Arc::default(),
        gateway: Arc::new(gateway),
        isolation: Arc::new(Nowhere),
        sources: Arc::new(Nowhere),
        starter: None,
        sinks: Vec::new(),
        drops: None,
        mailboxes: None,
        conversation: None,
        shared_memory: None,
        recall: None,
    }
}

/// One model under every name.
struct One(Arc<dyn Model>);

impl Models for One {
    fn resolve(&self, _: &str) -> Result<Arc<dyn Model>, Fault> {
        Ok(Arc::clone(&self.0))
    }
}

/// No files.
pub(crate) struct Nowhere;

impl Sources for Nowhere {
    fn read(&self, path: &str, _: usize) -> Result<SourceFile, SourceError> {
        Err(SourceError::Missing(path.to_owned()))
    }
}

impl Isolation for Nowhere {
    fn enter<'a>(&'a self, _: &'a StepEntry) -> BoxFuture<'a, Result<Arc<StepDirs>, Fault>> {
        Box::pin(async {
            let open = |_| Fault::bug("the temporary directory cannot be opened");
            let here = DirHandle::new(std::fs::File::open(std::env::temp_dir()).map_err(open)?);
            Ok(Arc::new(StepDirs { step: here.clone(), out: here }))
        })
    }

    fn leave<'a>(&'a self, _: &'a StepEntry, _: TryEnd) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(std::future::ready(None))
    }
}
