//! What stays up and fails each time, by crashing or by lying, is not started for ever; and what is only busy is not
//! taken for failed.

use crate::guest::assemble;
use crate::scene::{Scene, nothing, reference};
use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::policy::PluginKind;
use cofferdam_core::port::{
    Append, Batch, BlobId, Durability, Journal as _, JournalError, LeaseRequest, Owner, Recall as _, Record,
    RecordBody, RunFilter, Search, Sink as _,
};
use cofferdam_core::time::Timestamp;
use cofferdam_core::value::Map;
use cofferdam_plugin::{Allocation, LoadedPlugin, PluginRecall, PluginSink, PluginStorage};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const STRIKES: usize = 3;
const ENDED: &str = "failed 3 times in a row and is not started again";

/// A function of an interface that gives the address of this answer.
fn answering(export: &str, params: &str, data: &str) -> String {
    format!(
        r#"(data (i32.const 2048) "{data}") (func (export "{export}") (param {params}) (result i32) (i32.const 2048))"#
    )
}

async fn loaded(scene: &Scene, kind: PluginKind, code: &str) -> Arc<LoadedPlugin> {
    scene.load(assemble(kind, code), nothing()).await.unwrap()
}

fn batch() -> Batch {
    let event = |seq: u64| {
        Arc::new(RunEvent {
            seq,
            sub: None,
            at: Timestamp::from_millis(1),
            run_id: RunId::parse("r").unwrap(),
            path: StepPath::from("a"),
            attempt: None,
            body: Body::StepReady {},
        })
    };
    Batch { events: vec![event(1), event(2)], dropped_before: 0 }
}

/// Three failures of this code, and then no more tries.
async fn ends_after_three(mut call: impl AsyncFnMut() -> Fault, code: &str, says: &str) {
    for _ in 0..STRIKES {
        let fault = call().await;
        assert!(fault.code == code && fault.message.contains(says), "{says}: {} {fault}", fault.code);
    }
    let fault = call().await;
    assert!(fault.code == "plugin_refused" && fault.message.contains(ENDED), "{says}: {} {fault}", fault.code);
}

async fn sink(scene: &Scene, code: &str) -> PluginSink {
    loaded(scene, PluginKind::Sink, code).await.sink().await.unwrap()
}

#[tokio::test]
async fn a_sink_that_lies_or_crashes_each_time_is_not_started_for_ever() {
    let deliver = "cofferdam:sink/sink@0.1.0#deliver";
    let params = "i32 i32 i32 i32 i32 i64";
    let crash = format!(r#"(func (export "{deliver}") (param {params}) (result i32) unreachable)"#);
    let more = answering(deliver, params, r"\00\00\00\00\00\00\00\00\01\00\00\00\03\00\00\00");
    // except([{index: 2, reason: ""}])
    let other = answering(deliver, params, r"\00\00\00\00\00\00\00\00\02\00\00\00\40\08\00\00\01\00\00\00")
        + r#"(data (i32.const 2112) "\02\00\00\00\00\00\00\00\00\00\00\00")"#;
    for (code, kind, says) in [
        (crash, "plugin_trap", "crashed in `deliver`"),
        (more, "plugin_protocol", "it took 3 events of a batch of 2"),
        (other, "plugin_protocol", "it refused event 2 of a batch of 2"),
    ] {
        let scene = Scene::new();
        let sink = sink(&scene, &code).await;
        ends_after_three(async || sink.deliver(batch()).await.unwrap_err(), kind, says).await;
        assert_eq!(scene.host.occupancy().free, scene.host.occupancy().slots, "a dead instance keeps its slot");
    }
}

#[tokio::test]
async fn a_sink_that_only_says_that_it_fails_is_not_counted_out() {
    let code = r#"(data (i32.const 2048) "later")
        (func (export "cofferdam:sink/sink@0.1.0#deliver") (param i32 i32 i32 i32 i32 i64) (result i32)
          (call $fail (i32.const 7) (i32.const 2048) (i32.const 5)))"#;
    let scene = Scene::new();
    let sink = sink(&scene, code).await;
    for _ in 0..STRIKES * 2 {
        let fault = sink.deliver(batch()).await.unwrap_err();
        assert_eq!((&*fault.code, fault.class), ("plugin_error", Class::Retry), "{fault}");
    }
}

async fn recall(scene: &Scene, code: &str) -> PluginRecall {
    loaded(scene, PluginKind::Recall, code).await.recall().await.unwrap()
}

async fn search(recall: &PluginRecall) -> Fault {
    let search = Search { query: "x".to_owned(), limit: 1, filter: Map::new() };
    recall.search("space", search).await.unwrap_err()
}

/// Two hits where one was asked; one of a score that is none; one whose data is no object.
const HITS: [(&str, &str); 3] = [
    (r"\00\00\00\00\00\00\00\00\40\08\00\00\02\00\00\00", "it found 2 texts where at most 1"),
    (r"\00\00\00\00\00\00\00\00\40\08\00\00\01\00\00\00", "the score 2 is not between 0 and 1"),
    (r"\00\00\00\00\00\00\00\00\80\08\00\00\01\00\00\00", "no JSON object"),
];

#[tokio::test]
async fn a_recall_that_lies_each_time_is_not_started_for_ever() {
    let found = r#"(data (i32.const 2112) "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\10\09\00\00\02\00\00\00\00\00\00\40")
        (data (i32.const 2320) "{}")
        (data (i32.const 2176) "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\20\09\00\00\02\00\00\00\00\00\00\3f")
        (data (i32.const 2336) "[]")"#;
    for (data, says) in HITS {
        let scene = Scene::new();
        let code = answering("cofferdam:recall/recall@0.1.0#search", "i32", data) + found;
        let recall = recall(&scene, &code).await;
        ends_after_three(async || search(&recall).await, "plugin_protocol", says).await;
    }
    let forget = "i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32";
    let scene = Scene::new();
    let data = r"\00\00\00\00\00\00\00\00\05\00\00\00";
    let recall = recall(&scene, &answering("cofferdam:recall/recall@0.1.0#forget", forget, data)).await;
    let call = async || recall.forget("space", vec!["a".to_owned()]).await.unwrap_err();
    ends_after_three(call, "plugin_protocol", "it forgot 5 texts of 1").await;
}

#[tokio::test]
async fn an_honest_answer_between_lies_is_a_new_beginning() {
    let scene = Scene::new();
    let recall = recall(&scene, &answering("cofferdam:recall/recall@0.1.0#search", "i32", HITS[0].0)).await;
    for _ in 0..STRIKES {
        assert_eq!(search(&recall).await.code, "plugin_protocol");
        recall.upsert("space", Vec::new()).await.unwrap();
    }
}

/// Growth that was refused in an earlier call does not explain how a later one ends.
#[tokio::test]
async fn a_crash_is_not_taken_for_a_bound_of_an_earlier_call() {
    let code = r"(global $called (mut i32) (i32.const 0))
        (func $attack (param $args i32) (param $len i32) (result i32)
          (if (global.get $called) (then unreachable))
          (global.set $called (i32.const 1))
          (drop (memory.grow (i32.const 65000)))
          (i32.const 60000))";
    let scene = Scene::new();
    let recall = recall(&scene, code).await;
    recall.upsert("space", Vec::new()).await.unwrap();
    assert_eq!(recall.upsert("space", Vec::new()).await.unwrap_err().code, "plugin_trap");
}

async fn storage(scene: &Scene, function: &str, params: &str, data: &str) -> PluginStorage {
    let code = answering(&format!("cofferdam:storage/storage@0.1.0#{function}"), params, data);
    loaded(scene, PluginKind::Storage, &code).await.storage().await.unwrap()
}

fn append() -> Append {
    let record =
        Record { at: Timestamp::from_millis(1), body: RecordBody::Note { kind: "test".to_owned(), data: Map::new() } };
    Append {
        run: RunId::parse("r").unwrap(),
        expected_head: 0,
        records: vec![record],
        index: None,
        durability: Durability::Written,
    }
}

async fn unavailable_until_it_ends<T: std::fmt::Debug>(
    mut call: impl AsyncFnMut() -> Result<T, JournalError>,
    says: &str,
) {
    for _ in 0..STRIKES {
        let JournalError::Unavailable(message) = call().await.unwrap_err() else { panic!("{says}") };
        assert!(message.contains(says) && message.contains("plugin `guest` ("), "{message}");
    }
    let JournalError::Unavailable(message) = call().await.unwrap_err() else { panic!("{says}") };
    assert!(message.contains(ENDED), "{message}");
}

#[tokio::test]
async fn a_storage_that_lies_in_every_answer_is_not_started_for_ever() {
    let (scene, run) = (Scene::new(), RunId::parse("r").unwrap());
    let none = storage(&scene, "commit", "i32 i32", r"\00\00\00\00\00\00\00\00").await;
    unavailable_until_it_ends(async || none.append(append()).await, "it gave 0 answers to 1 commits").await;
    // [ok({head: 7, replayed: false})]
    let receipt = r"\10\08\00\00\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\07";
    let ahead = storage(&scene, "commit", "i32 i32", receipt).await;
    unavailable_until_it_ends(async || ahead.append(append()).await, "the head after a commit is 1, and it said 7")
        .await;
    let many = storage(&scene, "read", "i32 i32 i64 i32", r"\00\00\00\00\00\00\00\00\40\08\00\00\09\00\00\00").await;
    unavailable_until_it_ends(async || many.read(&run, 0, 1).await, "it gave 9 records where at most 1").await;
    let params = "i32 i32 i32 i32 i32 i32 i32 i32 i32";
    let rows = storage(&scene, "list-runs", params, r"\00\00\00\00\00\00\00\00\40\08\00\00\01\00\00\00").await;
    unavailable_until_it_ends(async || rows.list(RunFilter::default()).await, "broke the plugin contract").await;
    let lease = storage(&scene, "lease", "i32 i32 i32 i32 i64 i64 i64 i32", r"\00").await;
    let request = || LeaseRequest {
        run: run.clone(),
        owner: Owner { host: "h".to_owned(), boot_id: "b".to_owned(), pid: 1, process_started: 1 },
        epoch: 0,
        now: Timestamp::from_millis(1),
        hold: Duration::from_secs(1),
        owner_is_gone: false,
    };
    unavailable_until_it_ends(async || lease.lease(request()).await, "the owner of a lease cannot be read").await;
    let id = BlobId::of(b"something");
    let blob = storage(&scene, "get-blob", "i32 i32 i64 i32", r"\00").await;
    unavailable_until_it_ends(async || blob.get_blob(&id).await, "the bytes of a blob are not those of its id").await;
}

/// Takes a fifth of a second for each call, and would answer well.
const SLOW: &str = r#"
(import "wasi:clocks/monotonic-clock@WASI" "subscribe-duration" (func $subscribe (param i64) (result i32)))
(import "wasi:io/poll@WASI" "[method]pollable.block" (func $block (param i32)))
(func $attack (param $args i32) (param $len i32) (result i32)
  (call $block (call $subscribe (i64.const 200000000))) (i32.const 60000))"#;

#[tokio::test]
async fn whoever_waits_for_a_busy_instance_is_told_so_and_the_plugin_is_not_blamed() {
    let scene = Scene::new();
    let mut reference = reference(assemble(PluginKind::Recall, SLOW), &nothing());
    reference.limits.wall = Some(Duration::from_millis(500));
    let recall = scene.host.load(reference).await.unwrap().recall().await.unwrap();
    for _ in 0..2 {
        let answers = join_all((0..12).map(|_| recall.upsert("space", Vec::new()))).await;
        let busy: Vec<Fault> = answers.into_iter().filter_map(Result::err).collect();
        assert!((1..12).contains(&busy.len()), "{}", busy.len());
        for fault in busy {
            assert_eq!((&*fault.code, fault.class), ("plugin_busy", Class::Retry), "{fault}");
            assert!(fault.message.contains("plugin `guest` (") && fault.message.contains("is busy"), "{fault}");
        }
    }
    recall.upsert("", Vec::new()).await.unwrap();
}

#[tokio::test]
async fn a_plugin_that_finds_no_slot_is_busy_and_has_not_failed() {
    let scene = Scene::allocating(Allocation::Pooled { slots: 1 }, |_| {});
    let other = loaded(&scene, PluginKind::Recall, "(func $other)").await;
    let tool = loaded(&scene, PluginKind::Tool, "").await;
    let hog = recall(&scene, "").await;
    for _ in 0..STRIKES + 1 {
        let fault = other.recall().await.err().unwrap();
        assert_eq!((&*fault.code, fault.class), ("plugin_busy", Class::Retry), "{fault}");
    }
    let fault = scene.call(&tool, json!({})).await.unwrap_err();
    assert_eq!((&*fault.code, fault.class), ("plugin_busy", Class::Retry), "{fault}");
    assert!(!scene.heard.all().iter().any(|body| matches!(body, Body::PluginFailed { .. })), "it is blamed");
    drop(hog);
    let recall = other.recall().await.unwrap();
    recall.upsert("", Vec::new()).await.unwrap();
}
