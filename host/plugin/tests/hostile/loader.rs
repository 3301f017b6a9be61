//! What nobody wrote: random bytes, real components with random changes, random modules. The loader answers an error, or
//! loads; it never panics, hangs or blames itself.

use crate::guest::{assemble, echo};
use crate::scene::{Scene, nothing, reference};
use cofferdam_core::policy::PluginKind;
use cofferdam_plugin::builtin;
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// What may happen to bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
    Drop(usize, usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>();
    proptest::prop_oneof![
        8 => (at, 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => at.prop_map(Change::Cut),
        2 => (at, 1..64_usize).prop_map(|(at, size)| Change::Drop(at, size)),
        2 => (at, prop::collection::vec(any::<u8>(), 1..32)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (at, 1..256_usize).prop_map(|(at, size)| Change::Repeat(at, size)),
    ]
}

fn apply(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let place = |at: &usize| at % bytes.len().max(1);
        match change {
            Change::Flip(at, bits) => {
                let at = place(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Change::Cut(at) => bytes.truncate(place(at)),
            Change::Drop(at, size) => {
                let at = place(at);
                bytes.drain(at..(at + size).min(bytes.len()));
            }
            Change::Insert(at, more) => {
                let at = place(at);
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Repeat(at, size) => {
                let at = place(at);
                let again: Vec<u8> = bytes.iter().copied().skip(at).take(*size).collect();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

/// Loads it, calls it when it loads, and says whether it did.
async fn try_it(scene: &Scene, bytes: Vec<u8>) -> bool {
    let began = Instant::now();
    let mut reference = reference(bytes, &nothing());
    // A guest that was changed may well run for ever.
    reference.limits.wall = Some(Duration::from_millis(30));
    let outcome = scene.host.load(reference).await;
    let loads = match outcome {
        Ok(plugin) => {
            if let Err(fault) = scene.call(&plugin, json!({ "a": [1, 2] })).await {
                assert_ne!(fault.code, "internal", "{fault}");
            }
            true
        }
        Err(error) => {
            assert_ne!(error.to_fault().code, "internal", "{error}");
            assert!(error.to_string().len() < 10_000, "{error}");
            false
        }
    };
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    loads
}

/// So many values of a strategy, the same each time.
fn values<T: std::fmt::Debug>(count: usize, strategy: &impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test]
async fn random_bytes_are_refused() {
    let scene = Scene::new();
    let headers = Just(Vec::new()).boxed();
    let headers = headers.prop_union(Just(b"\0asm\x0d\0\x01\0".to_vec()).boxed()).or(Just(b"\0asm".to_vec()).boxed());
    let bytes = (headers, prop::collection::vec(any::<u8>(), 0..2000)).prop_map(|(head, rest)| [head, rest].concat());
    for bytes in values(1_000, &bytes) {
        assert!(!try_it(&scene, bytes).await, "random bytes were loaded");
    }
}

#[tokio::test]
async fn components_with_random_changes_load_or_do_not() {
    let scene = Scene::new();
    let changes = prop::collection::vec(change(), 1..4);
    let (mut loaded, mut refused) = (0, 0);
    for component in [echo(), assemble(PluginKind::Recall, ""), assemble(PluginKind::Sink, "")] {
        for changes in values(150, &changes) {
            let loads = try_it(&scene, apply(component.clone(), &changes)).await;
            *if loads { &mut loaded } else { &mut refused } += 1;
        }
    }
    assert!(loaded > 0 && refused > 0, "{loaded} loaded, {refused} refused");
    assert_eq!(scene.host.occupancy().free, scene.host.occupancy().slots);
}

#[tokio::test]
async fn shipped_plugins_with_random_changes_load_or_do_not() {
    let scene = Scene::new();
    let shipped = builtin::ALL.iter().min_by_key(|builtin| builtin.component.len()).unwrap();
    // Most changes of code still compile, and that takes its time.
    for changes in values(12, &prop::collection::vec(change(), 1..3)) {
        try_it(&scene, apply(shipped.component.to_vec(), &changes)).await;
    }
}

/// Modules of a generator of valid ones, inside of a component that says it is a tool.
#[tokio::test]
async fn random_modules_are_compiled_and_refused_for_what_they_are() {
    let scene = Scene::new();
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRunner::deterministic().new_rng());
    let seeds = prop::collection::vec(any::<u8>(), 500..3000);
    for _ in 0..60 {
        let seed = seeds.new_tree(&mut runner).unwrap().current();
        let config = wasm_smith::Config {
            max_memories: 1,
            threads_enabled: false,
            memory64_enabled: false,
            ..wasm_smith::Config::default()
        };
        let Ok(module) = wasm_smith::Module::new(config, &mut arbitrary::Unstructured::new(&seed)) else { continue };
        let module = module.to_bytes();
        assert!(!try_it(&scene, tool_around(&module)).await);
    }
}

/// A component with this module in it, which exports by name what a tool does.
fn tool_around(module: &[u8]) -> Vec<u8> {
    let rest = wat::parse_str(
        r#"(component (instance $i)
            (export "cofferdam:plugin/lifecycle@0.1.0" (instance $i)) (export "cofferdam:tool/tool@0.1.0" (instance $i)))"#,
    )
    .unwrap();
    let (header, exports) = rest.split_at(8);
    let (mut size, mut left) = (Vec::new(), module.len());
    while left > 0x7f {
        size.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    size.push(u8::try_from(left).unwrap());
    [header, &[1], &size, module, exports].concat()
}
