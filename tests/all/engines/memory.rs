//! The memory that the agents of a run share, in the hands of an engine.

use super::{Doing, Drive, run, runtime};
use cofferdam::llm::Scripted;
use cofferdam::{EngineHandle, Orchestrator};
use std::sync::Mutex;

/// Handles of runs that have ended.
static KEPT: Mutex<Option<EngineHandle>> = Mutex::new(None);

#[test]
fn an_engine_shares_the_memory_of_the_agents_also_outside_of_steps() {
    runtime().block_on(async {
        let drive: Drive = |run| {
            Box::pin(async move {
                let revision = run.memory().write("plan", 1.into()).await?;
                let conflict = run.memory().write_if("plan", 2.into(), revision + 1).await.unwrap_err();
                assert_eq!(conflict.code, "memory_conflict");
                run.run_step("a", None).await?;
                let seen = run.memory().read("scout", "found").await?.unwrap();
                run.memory().write("seen", (*seen.value).clone()).await?;
                assert_eq!(run.memory().list().await?.len(), 3);
                run.run_step("b", None).await?;
                run.memory().delete("plan").await?;
                *KEPT.lock().unwrap() = Some(run);
                Ok(())
            })
        };
        let script = "chunk: 0
answers: [{ step: a, turn: 1, toolCalls: [{ tool: memory_write, args: { key: found, value: gold } }] }]
default: { text: '[{{prompt}}]' }";
        let model = Scripted::parse(script).unwrap();
        let engine = Doing::new(drive);
        let orchestrator = Orchestrator::builder().model(model).workflow_engine("default", engine).build().unwrap();
        let document = "name: w
agents: { scout: { description: S., memory: { read: true, write: true } } }
steps:
  - { id: a, agent: scout, input: 'plan {{ memory.workflow.plan }}' }
  - { id: b, input: 'seen {{ memory.workflow.seen }}', dependsOn: [a] }
output: '[steps.a.content, steps.b.content, has(memory.workflow.plan)]'";
        let result = run(&orchestrator, document).await;
        assert_eq!(result.output, serde_json::json!(["[plan 1]", "[seen gold]", false]), "{:?}", result.error);
        let page = orchestrator.runs().read(&result.run_id, 0, 1_000).await.unwrap();
        let of_run = page.records.iter().filter_map(|record| record.event()).filter(|event| event.path.is_root());
        let kinds: Vec<&str> =
            of_run.map(|event| event.body.kind()).filter(|kind| kind.starts_with("memory")).collect();
        assert_eq!(kinds, ["memory_written", "memory_written", "memory_deleted"]);
        orchestrator.replay(&result.run_id).await.unwrap();
        let kept = KEPT.lock().unwrap().take().unwrap();
        let late = kept.memory().write("late", 1.into()).await.unwrap_err();
        assert!(late.ends_try(), "{late}");
    });
}
