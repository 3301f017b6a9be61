//! Components that bring an interpreter along: their instance serves the calls of one try of a step, and no other.

use crate::guest::component;
use crate::scene::{Scene, nothing, reference};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{LocalName, StepPath};
use cofferdam_core::port::{Tool as _, ToolContext};
use cofferdam_plugin::{Interpreter, Lifetime, LoadedPlugin};
use serde_json::{Value, json};
use std::sync::Arc;

/// The counter, marked as what componentize-js makes.
fn counter() -> Vec<u8> {
    let mut bytes = component("counter");
    let name = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let (field, tool, version) = (name("processed-by"), name("ComponentizeJS"), name("0.0.0"));
    let section = [name("producers"), vec![1], field, vec![1], tool, version].concat();
    // A custom section may stand anywhere, so also at the end.
    bytes.extend([0, u8::try_from(section.len()).unwrap()]);
    bytes.extend(section);
    bytes
}

async fn call(plugin: &LoadedPlugin, ctx: &ToolContext, args: Value) -> Result<Value, Fault> {
    let name = LocalName::parse("run").unwrap();
    Ok(plugin.call(ctx.clone(), &name, Arc::new(args)).await?.result.get("n").cloned().unwrap_or_default())
}

/// A try of a step with nothing kept yet.
fn attempt(scene: &Scene, path: &str) -> ToolContext {
    ToolContext { path: StepPath::from(path), kept: Arc::default(), ..scene.context() }
}

#[tokio::test]
async fn the_calls_of_a_step_share_an_instance_and_another_step_has_its_own() {
    let scene = Scene::new();
    let plugin = scene.load(counter(), nothing()).await.unwrap();
    let (one, other) = (attempt(&scene, "one"), attempt(&scene, "other"));
    for expected in 1..=3 {
        assert_eq!(call(&plugin, &one, json!({})).await.unwrap(), expected);
    }
    assert_eq!(call(&plugin, &other, json!({})).await.unwrap(), 1);
    assert_eq!(call(&plugin, &one, json!({})).await.unwrap(), 4);
    // Another try of the same step.
    assert_eq!(call(&plugin, &attempt(&scene, "one"), json!({})).await.unwrap(), 1);
    let seen = scene.host.inspect(reference(counter(), &nothing())).await.unwrap();
    assert_eq!((seen.interpreter, seen.instance), (Some(Interpreter::JavaScript), Lifetime::Step));
}

#[tokio::test]
async fn without_an_interpreter_each_call_is_fresh() {
    let scene = Scene::new();
    let plugin = scene.load(component("counter"), nothing()).await.unwrap();
    let step = attempt(&scene, "one");
    for _ in 0..2 {
        assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_trap_and_a_timeout_end_the_instance_and_the_next_call_has_a_fresh_one() {
    let scene = Scene::new();
    let plugin = scene.load(counter(), nothing()).await.unwrap();
    let step = attempt(&scene, "one");
    for (args, code) in [(json!("trap"), "plugin_trap"), (json!("loop!"), "plugin_limit")] {
        assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 1);
        assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 2);
        let fault = call(&plugin, &step, args).await.unwrap_err();
        assert_eq!(fault.code, code, "{fault}");
    }
    assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 1);
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_its_instance_along() {
    let scene = Scene::new();
    let plugin = scene.load(counter(), nothing()).await.unwrap();
    let step = attempt(&scene, "one");
    assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 1);
    // Polled once, so that the call is under way, and dropped.
    let given_up = futures_util::FutureExt::now_or_never(call(&plugin, &step, json!("loop!")));
    assert!(given_up.is_none());
    let next = call(&plugin, &step, json!({})).await.unwrap();
    // The task that was given up may not even have begun.
    assert!(next == 1 || next == 2, "{next}");
    let ended = call(&plugin, &step, json!("loop!")).await.unwrap_err();
    assert_eq!(ended.code, "plugin_limit");
    assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 1);
}

#[tokio::test]
async fn calls_at_the_same_time_and_calls_of_tools_have_instances_of_their_own() {
    let scene = Scene::new();
    let plugin = scene.load(counter(), nothing()).await.unwrap();
    let step = attempt(&scene, "one");
    let later = async {
        // Once the first has its instance; before that it could find the one that the second leaves.
        while scene.host.occupancy().free == scene.host.occupancy().slots {
            tokio::task::yield_now().await;
        }
        call(&plugin, &step, json!({})).await
    };
    let both = futures_util::future::join(call(&plugin, &step, json!("loop!")), later).await;
    assert!(both.0.is_err());
    assert_eq!(both.1.unwrap(), 1);
    assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 2);
    let nested = ToolContext { depth: 1, ..step.clone() };
    assert_eq!(call(&plugin, &nested, json!({})).await.unwrap(), 1);
    assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 3);
}

#[tokio::test]
async fn instances_that_wait_leave_slots_to_those_that_work() {
    let scene = Scene::new();
    let plugin = scene.load(counter(), nothing()).await.unwrap();
    // More steps than there are slots, none of which ends.
    let steps: Vec<ToolContext> = (0..100).map(|number| attempt(&scene, &format!("s{number}"))).collect();
    for step in &steps {
        assert_eq!(call(&plugin, step, json!({})).await.unwrap(), 1);
    }
    // The first ones were kept; a later one found no place, and is fresh again.
    assert_eq!(call(&plugin, &steps[0], json!({})).await.unwrap(), 2);
    assert_eq!(call(&plugin, &steps[99], json!({})).await.unwrap(), 1);
    drop(steps);
    let step = attempt(&scene, "after");
    assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 1);
    assert_eq!(call(&plugin, &step, json!({})).await.unwrap(), 2);
}
