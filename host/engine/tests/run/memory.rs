//! The shared memory as code uses it.

use crate::scene::{Scene, agent, text, workflow};
use cofferdam_core::event::RunStatus;
use cofferdam_core::memory::MemoryChange;
use cofferdam_core::spec::workflow::Step;
use serde_json::json;
use std::sync::Arc;

#[test]
fn code_writes_as_its_agent_and_reads_what_others_wrote() {
    let document = workflow(vec![
        agent("first", "writing", "go"),
        Step { depends_on: vec![0], ..agent("second", "reading", "go") },
    ]);
    let scene = Scene::default()
        .agent("writing", |ctx, _| async move {
            let memory = ctx.run.memory();
            let first = memory.write("k", json!(1)).await?;
            let conflict = memory.write_if("k", json!(2), 0).await.unwrap_err();
            let second = memory.write_if("k", json!(2), first).await?;
            memory.write("gone", json!(3)).await?;
            memory.delete("gone").await?;
            Ok(text(&format!("{first} {} {second}", conflict.code)))
        })
        .agent("reading", |ctx, _| async move {
            let memory = ctx.run.memory();
            let entry = memory.read("writing", "k").await?.unwrap();
            let own = memory.read("reading", "k").await?;
            let listed: Vec<String> = memory.list().await?.iter().map(|item| item.key.to_string()).collect();
            Ok(text(&format!("{} {} {} {}", entry.value, entry.revision, own.is_none(), listed.join(","))))
        });
    let seen = scene.run(document);
    assert_eq!(seen.result.status, RunStatus::Completed, "{:?}", seen.result.error);
    assert_eq!((seen.content("first"), seen.content("second")), ("1 memory_conflict 2", "2 2 true k"));
}

#[test]
fn a_call_that_is_made_again_changes_nothing_more() {
    let document = workflow(vec![agent("only", "again", "go")]);
    let scene = Scene::default().agent("again", |ctx, _| async move {
        let memory = ctx.run.memory();
        let change = |value: i64, expected| MemoryChange {
            key: "k".to_owned(),
            value: Some(json!(value)),
            expected,
            call: Some(Arc::from("one call")),
        };
        let first = memory.make(change(1, Some(0))).await?;
        let other = memory.write("k", json!(2)).await?;
        let again = memory.make(change(1, Some(0))).await?;
        let now = memory.read("again", "k").await?.unwrap();
        Ok(text(&format!("{first} {other} {again} {}", now.value)))
    });
    let seen = scene.run(document);
    assert_eq!(seen.content("only"), "1 2 1 2");
    assert_eq!(seen.kinds("only").iter().filter(|kind| **kind == "memory_written").count(), 2);
}
