//! Slots of the pool: nothing of one guest is seen by the next, who is given up frees his, and nobody keeps all.

use crate::guest::{LOOP, assemble, echo, tool};
use crate::peer::Peer;
use crate::scene::{Scene, WALL, nothing};
use cofferdam_core::event::Body;
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::LocalName;
use cofferdam_core::policy::PluginKind;
use cofferdam_core::port::{BoxFuture, Invoke, Nested, Recall as _, Tool as _, ToolContext, ToolReply};
use cofferdam_plugin::{Allocation, LoadedPlugin};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ALLOCATIONS: [Allocation; 2] = [Allocation::Pooled { slots: 1 }, Allocation::OnDemand { slots: 1 }];

/// What both have; so that they are laid out alike.
const PARTS: &str = r#"(table $table 1000 funcref)
(global $number (mut i32) (i32.const 0)) (global $wide (mut i64) (i64.const 0)) (global $float (mut f64) (f64.const 0))
(func $mine) (elem declare func $mine)"#;

/// Writes into everything that it has.
const FILLS: &str = r#"(func $attack (param $args i32) (param $len i32) (result i32)
  (drop (memory.grow (i32.const 30)))
  (memory.fill (i32.const 70000) (i32.const 0x61) (i32.const 1900000))
  (table.fill $table (i32.const 0) (ref.func $mine) (i32.const 1000))
  (drop (table.grow $table (ref.func $mine) (i32.const 5000)))
  (global.set $number (i32.const 0x61616161)) (global.set $wide (i64.const 0x6161616161616161)) (global.set $float (f64.const 1.5))
  (i32.const 320))"#;

/// Crashes where it finds anything that it did not write.
const LOOKS: &str = r#"(func $attack (param $args i32) (param $len i32) (result i32) (local $at i32)
  (drop (memory.grow (i32.const 30)))
  (local.set $at (i32.const 80000))
  (loop $next
    (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then unreachable))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $next (i32.lt_u (local.get $at) (i32.const 1900000))))
  (if (i32.ne (table.grow $table (ref.null func) (i32.const 5000)) (i32.const 1000)) (then unreachable))
  (local.set $at (i32.const 0))
  (loop $next
    (if (i32.eqz (ref.is_null (table.get $table (local.get $at)))) (then unreachable))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $at) (i32.const 6000))))
  (if (i32.or (global.get $number) (i64.ne (global.get $wide) (i64.const 0))) (then unreachable))
  (if (f64.ne (global.get $float) (f64.const 0)) (then unreachable))
  (i32.const 320))"#;

#[tokio::test]
async fn no_byte_of_one_guest_is_seen_by_the_next_in_its_slot() {
    for allocation in ALLOCATIONS {
        let scene = Scene::allocating(allocation, |_| {});
        let load = |kind, code: &str| scene.load(assemble(kind, &format!("{PARTS}{code}")), nothing());
        let fill = load(PluginKind::Tool, FILLS).await.unwrap();
        let look = load(PluginKind::Tool, LOOKS).await.unwrap();
        let warm_fill = load(PluginKind::Recall, FILLS).await.unwrap();
        let warm_look = load(PluginKind::Recall, LOOKS).await.unwrap();
        for _ in 0..10 {
            scene.call(&fill, json!({})).await.unwrap();
            scene.call(&look, json!({})).await.unwrap();
            // What stays up has the slot until it is let go.
            warm_fill.recall().await.unwrap().upsert("x", Vec::new()).await.unwrap();
            warm_look.recall().await.unwrap().upsert("x", Vec::new()).await.unwrap();
        }
    }
}

/// The look finds what a fill leaves, where it is there: in the same instance.
#[tokio::test]
async fn the_look_is_not_blind() {
    let scene = Scene::new();
    let both = format!(
        "{PARTS}{}{}
         (func $attack (param i32 i32) (result i32)
           (drop (call $fills (i32.const 0) (i32.const 0))) (call $looks (i32.const 0) (i32.const 0)))",
        FILLS.replace("$attack", "$fills"),
        LOOKS.replace("$attack", "$looks")
    );
    let plugin = scene.load(tool(&both), nothing()).await.unwrap();
    assert_eq!(scene.call(&plugin, json!({})).await.unwrap_err().code, "plugin_trap");
}

/// Waits until all slots are free and nothing runs.
async fn assert_free(scene: &Scene, what: &str) {
    let began = Instant::now();
    loop {
        let now = scene.host.occupancy();
        if now.free == now.slots && now.tasks == 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{what}: {now:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

const SLEEP: &str = r#"
(import "wasi:clocks/monotonic-clock@WASI" "subscribe-duration" (func $subscribe (param i64) (result i32)))
(import "wasi:io/poll@WASI" "[method]pollable.block" (func $block (param i32)))
(func $attack (param i32 i32) (result i32) (call $block (call $subscribe (i64.const 3600000000000))) (i32.const 320))"#;

#[tokio::test]
async fn who_is_given_up_leaves_nothing_behind() {
    for allocation in ALLOCATIONS {
        let scene = Scene::allocating(allocation, |_| {});
        let peer = Peer::start().await;
        let good = scene.load(echo(), nothing()).await.unwrap();
        let grants = json!({ "http": [{ "host": "a.example", "scheme": "http", "port": peer.port, "cidrs": ["127.0.0.1/32"] }] });
        let fetch = scene.load(crate::guest::component("fetch_url"), grants).await.unwrap();
        let slow = json!(format!("http://a.example:{}/slow", peer.port));
        let computing = scene.load(tool(LOOP), nothing()).await.unwrap();
        let sleeping = scene.load(tool(SLEEP), nothing()).await.unwrap();
        for (what, plugin, args) in
            [("compute", &computing, json!({})), ("a host call", &sleeping, json!({})), ("a request", &fetch, slow)]
        {
            for _ in 0..10 {
                // The second waits for the slot of the first.
                let calls = join_all([scene.call(plugin, args.clone()), scene.call(plugin, args.clone())]);
                assert!(tokio::time::timeout(Duration::from_millis(10), calls).await.is_err(), "{what} ended");
            }
            assert_free(&scene, what).await;
            assert_eq!(*scene.call(&good, json!(1)).await.unwrap().result, json!(1), "{what}");
        }
        let warm = scene.load(assemble(PluginKind::Recall, LOOP), nothing()).await.unwrap();
        let recall = warm.recall().await.unwrap();
        let call = recall.upsert("x", Vec::new());
        assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
        assert_free(&scene, "a warm instance").await;
        // Being given up is no failure of the plugin.
        recall.upsert("", Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn who_takes_all_slots_has_them_for_his_time_only() {
    let scene = Scene::allocating(Allocation::Pooled { slots: 4 }, |_| {});
    let hog = scene.load(tool(SLEEP), nothing()).await.unwrap();
    let good = scene.load(echo(), nothing()).await.unwrap();
    let began = Instant::now();
    let hogs = join_all((0..12).map(|_| scene.call(&hog, json!({}))));
    let goods = join_all((0..12).map(|number| scene.call(&good, json!(number))));
    let (hogs, goods) = tokio::join!(hogs, goods);
    assert!(began.elapsed() < WALL * 20, "{:?}", began.elapsed());
    for fault in hogs.into_iter().map(Result::unwrap_err) {
        assert!(fault.code == "plugin_limit" || fault.code == "plugin_busy", "{fault}");
    }
    for (number, answer) in goods.into_iter().enumerate() {
        match answer {
            Ok(output) => assert_eq!(*output.result, json!(number)),
            Err(fault) => assert_eq!((&*fault.code, fault.class), ("plugin_busy", Class::Retry), "{fault}"),
        }
    }
    let digest = good.digest().hex();
    let blamed = |body: &Body| matches!(body, Body::PluginFailed { digest: of, .. } if *of == digest);
    assert!(!scene.heard.all().iter().any(blamed), "the good one is blamed");
    assert_free(&scene, "hogs").await;
}

#[tokio::test]
async fn more_calls_than_slots_wait_for_their_turn() {
    let scene = Scene::allocating(Allocation::Pooled { slots: 2 }, |_| {});
    let mut reference = crate::scene::reference(echo(), &nothing());
    reference.limits.wall = Some(Duration::from_secs(20));
    let good = scene.host.load(reference).await.unwrap();
    let calls = (0..300).map(|index| scene.call(&good, json!({ "index": index })));
    for (index, answer) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(*answer.unwrap().result, json!({ "index": index }));
    }
}

/// The way to another plugin, and to itself: without any bound of depth, which is the engine's.
struct Way(Arc<LoadedPlugin>);

impl Invoke for Way {
    fn invoke<'a>(&'a self, from: &'a ToolContext, call: Nested) -> BoxFuture<'a, Result<ToolReply, Fault>> {
        Box::pin(async move {
            let context = ToolContext { depth: from.depth + 1, deadline: Some(call.deadline), ..from.clone() };
            let answer = self.0.call(context, &LocalName::parse("run").unwrap(), Arc::new(call.args)).await;
            Ok(match answer {
                Ok(output) => ToolReply { text: Arc::from(""), result: output.result, error: None },
                Err(fault) => ToolReply { text: Arc::from(""), result: Arc::default(), error: Some(fault) },
            })
        })
    }
}

/// Calls the tool `other`, and gives back what it says.
const INVOKES: &str = r#"
(import "cofferdam:host/tools@0.1.0" "invoke" (func $invoke (param i32 i32 i32 i32 i32)))
(data (i32.const 2048) "other")
(func $attack (param $args i32) (param $len i32) (result i32)
  (call $invoke (i32.const 2048) (i32.const 5) (local.get $args) (local.get $len) (i32.const 1024))
  (select (i32.const 1024) (i32.const 320) (i32.load8_u (i32.const 1024))))"#;

#[tokio::test]
async fn plugins_that_call_each_other_share_one_time_and_give_back_their_slots() {
    for slots in [1, 2, 8] {
        for allocation in [Allocation::Pooled { slots }, Allocation::OnDemand { slots }] {
            let scene = Scene::allocating(allocation, |_| {});
            let grants = json!({ "tools": ["other"] });
            let caller = scene.load(tool(INVOKES), grants).await.unwrap();
            let good = scene.load(echo(), nothing()).await.unwrap();
            // Itself, without end: each level holds a slot and waits for the next.
            let itself = ToolContext { tools: Some(Arc::new(Way(Arc::clone(&caller)))), ..scene.context() };
            let began = Instant::now();
            let fault = scene.call_as(itself, &caller, json!({})).await.unwrap_err();
            assert!(began.elapsed() < WALL * 10, "{allocation:?}: {:?}", began.elapsed());
            assert!(matches!(&*fault.code, "plugin_error" | "plugin_limit"), "{fault}");
            assert_free(&scene, "recursion").await;
            // Another: there is a slot for it, or there is none.
            let other = ToolContext { tools: Some(Arc::new(Way(good))), ..scene.context() };
            let answer = scene.call_as(other, &caller, json!({})).await;
            assert_eq!(answer.is_ok(), slots > 1, "{allocation:?}: {answer:?}");
            assert_free(&scene, "another").await;
        }
    }
}

#[tokio::test]
async fn calls_that_wait_for_deeper_ones_leave_them_slots() {
    for allocation in [Allocation::Pooled { slots: 16 }, Allocation::OnDemand { slots: 16 }] {
        let scene = Scene::allocating(allocation, |_| {});
        let load = |component: Vec<u8>, grants: serde_json::Value| {
            let mut reference = crate::scene::reference(component, &grants);
            reference.limits.wall = Some(Duration::from_secs(20));
            scene.host.load(reference)
        };
        // Two components, since one alone never gets all slots.
        let callers = [tool(INVOKES), tool(&INVOKES.replace("2048", "2056"))];
        let [one, two] = callers.map(|component| load(component, json!({ "tools": ["other"] })));
        let (one, two, good) = (one.await.unwrap(), two.await.unwrap(), load(echo(), nothing()).await.unwrap());
        let way: Arc<dyn Invoke> = Arc::new(Way(good));
        let calls = (0..60).map(|index| {
            let context = ToolContext { tools: Some(Arc::clone(&way)), ..scene.context() };
            scene.call_as(context, if index % 2 == 0 { &one } else { &two }, json!({ "index": index }))
        });
        for answer in join_all(calls).await {
            answer.unwrap();
        }
        assert_free(&scene, "nested calls").await;
    }
}
