//! Guests that take, lie, loop and flood. Each ends with its own kind of failure, in time, and harms nobody.

use crate::guest::{assemble, component, echo};
use crate::scene::{Scene, nothing};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use serde_json::json;
use std::time::{Duration, Instant};

/// The wall limit of these tests, and what a guest may exceed it by.
const IN_TIME: Duration = Duration::from_millis(500);

/// Calls a hostile guest while an honest one works, and gives its fault.
async fn attack(name: &str) -> Fault {
    attack_with(component(name)).await
}

async fn attack_with(component: Vec<u8>) -> Fault {
    let scene = Scene::new();
    let hostile = scene.load(component, nothing()).await.unwrap();
    let good = scene.load(echo(), nothing()).await.unwrap();
    let begun = Instant::now();
    let (fault, answer) = tokio::join!(scene.call(&hostile, json!({"n": 1})), scene.call(&good, json!({"n": 2})));
    assert!(begun.elapsed() < IN_TIME, "it took {:?}", begun.elapsed());
    assert_eq!(*answer.unwrap().result, json!({"n": 2}));
    let fault = fault.unwrap_err();
    assert!(fault.message.contains("plugin `guest` (") && fault.message.contains("`run`"), "{fault}");
    assert_clean(&scene, &fault);
    let told = scene
        .heard
        .all()
        .into_iter()
        .any(|body| matches!(body, Body::PluginFailed { plugin, .. } if plugin == "guest"));
    assert!(told, "the run heard nothing");
    fault
}

/// Nothing of the host is in a message.
fn assert_clean(scene: &Scene, fault: &Fault) {
    let whole = serde_json::to_string(fault).unwrap();
    let directory = scene.scratch.path().to_str().unwrap();
    for secret in [directory, "/root", "/home", "/proc", "wasm backtrace"] {
        assert!(!whole.contains(secret), "{whole}");
    }
    assert!(whole.len() < 10_000 && !whole.contains('\u{1b}'));
}

fn limit_of(fault: &Fault) -> String {
    assert_eq!(fault.code, "plugin_limit", "{fault}");
    fault.detail.as_ref().unwrap()["limit"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_loop_ends_at_its_wall_limit() {
    let fault = attack("loop_in_call").await;
    assert_eq!(limit_of(&fault), "wall");
    assert!(fault.message.contains("ran longer than its 300ms"), "{fault}");
}

#[tokio::test]
async fn a_sleeper_ends_at_its_wall_limit() {
    assert_eq!(limit_of(&attack("sleeper").await), "wall");
}

#[tokio::test]
async fn a_loop_before_the_call_ends_too() {
    for name in ["loop_in_list_tools", "loop_in_start"] {
        let scene = Scene::new();
        drop(scene.load(echo(), nothing()).await.unwrap());
        let begun = Instant::now();
        let error = scene.load(component(name), nothing()).await.unwrap_err();
        // Compiling counts here, the deadline of describing is that of the reference: 300 ms.
        assert!(begun.elapsed() < IN_TIME + Duration::from_millis(500), "{:?}", begun.elapsed());
        assert_eq!(error.to_fault().code, "plugin_describe");
        assert!(error.to_string().contains("ran longer than its 300ms"), "{error}");
        assert_clean(&scene, &error.to_fault());
    }
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let fault = attack("memory_bomb").await;
    assert_eq!(limit_of(&fault), "memory");
    assert!(fault.message.contains("more than its 16 MiB of memory"), "{fault}");
    let scene = Scene::new();
    let error = scene.load(component("memory_bomb_at_once"), nothing()).await.unwrap_err();
    assert!(error.to_string().contains("64 MiB of memory"), "{error}");
}

#[tokio::test]
async fn a_table_ends_at_its_limit() {
    assert_eq!(limit_of(&attack("table_bomb").await), "table_elements");
}

#[tokio::test]
async fn recursion_ends_at_the_stack_limit() {
    assert_eq!(limit_of(&attack("stack_overflow").await), "stack");
}

#[tokio::test]
async fn handles_end_at_their_limit() {
    assert_eq!(limit_of(&attack("handle_bomb").await), "handles");
}

#[tokio::test]
async fn lies_are_told_apart_from_crashes() {
    for (name, what) in [
        ("lying_string", "out of bounds"),
        ("invalid_utf8", "utf-8"),
        ("not_json", "not valid JSON"),
        ("deep_json", "nested deeper than 128 levels"),
    ] {
        let fault = attack(name).await;
        assert_eq!(fault.code, "plugin_protocol", "{name}: {fault}");
        assert!(fault.message.contains(what), "{name}: {fault}");
    }
    let scene = Scene::new();
    let error = scene.load(component("lying_list"), nothing()).await.unwrap_err();
    assert!(error.to_string().contains("broke the plugin contract"), "{error}");
}

#[tokio::test]
async fn too_large_a_result_is_a_limit() {
    let fault = attack("huge_result").await;
    assert_eq!(limit_of(&fault), "result");
    assert!(fault.message.contains("returned more than 4 MiB"), "{fault}");
}

#[tokio::test]
async fn crashes_say_so() {
    let code = r#"(func (export "cofferdam:tool/tool@0.1.0#call")
        (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)"#;
    let fault = attack_with(assemble(code)).await;
    assert_eq!(fault.code, "plugin_trap");
    assert!(fault.message.contains("`unreachable` instruction"), "{fault}");
    assert_eq!(attack("trap_in_post_return").await.code, "plugin_trap");
}

#[tokio::test]
async fn floods_are_kept_to_a_bound() {
    let before = resident_bytes();
    assert_eq!(limit_of(&attack("stdout_flood").await), "wall");
    assert!(resident_bytes() < before + (32 << 20));
    let scene = Scene::new();
    let logger = scene.load(component("log_flood"), nothing()).await.unwrap();
    assert_eq!(*scene.call(&logger, json!({})).await.unwrap().result, json!({"ok": true}));
}

#[tokio::test]
async fn memory_comes_back_after_many_bombs() {
    let scene = Scene::new();
    let bomb = scene.load(component("memory_bomb"), nothing()).await.unwrap();
    let good = scene.load(echo(), nothing()).await.unwrap();
    scene.call(&bomb, json!({})).await.unwrap_err();
    let before = resident_bytes();
    for _ in 0..100 {
        scene.call(&bomb, json!({})).await.unwrap_err();
        scene.call(&good, json!({})).await.unwrap();
    }
    assert!(resident_bytes() < before + (20 << 20), "{before} -> {}", resident_bytes());
}

#[tokio::test]
async fn no_byte_of_one_guest_is_seen_by_the_next() {
    // The first fills its memory; the second, in the same slot, looks for what is not zero.
    let fill = r#"(func (export "cofferdam:tool/tool@0.1.0#call")
        (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        (drop (memory.grow (i32.const 30)))
        (memory.fill (i32.const 4096) (i32.const 0x61) (i32.const 1500000))
        (i32.const 320))"#;
    let look = r#"(func (export "cofferdam:tool/tool@0.1.0#call")
        (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        (local $at i32)
        (drop (memory.grow (i32.const 30)))
        (local.set $at (i32.const 70000))
        (loop $next
          (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x61)) (then unreachable))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $at) (i32.const 1500000))))
        (i32.const 320))"#;
    let scene = Scene::new();
    let (fill, look) = (assemble(fill), assemble(look));
    let fill = scene.load(fill, nothing()).await.unwrap();
    let look = scene.load(look, nothing()).await.unwrap();
    for _ in 0..20 {
        scene.call(&fill, json!({})).await.unwrap();
        scene.call(&look, json!({})).await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_call_ends_within_a_few_ticks() {
    let scene = Scene::new();
    let looper = scene.load(component("loop_in_call"), nothing()).await.unwrap();
    for _ in 0..20 {
        let call = scene.call(&looper, json!({}));
        assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
    }
    // All twenty would hold both threads for 300 ms each if they still ran.
    let good = scene.load(echo(), nothing()).await.unwrap();
    let begun = Instant::now();
    scene.call(&good, json!({})).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn more_calls_than_slots_wait_for_their_turn() {
    let scene = Scene::new();
    let good = scene.load(echo(), nothing()).await.unwrap();
    let calls = (0..300).map(|index| scene.call(&good, json!({"index": index})));
    for (index, answer) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(*answer.unwrap().result, json!({"index": index}));
    }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
