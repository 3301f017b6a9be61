//! Memory over many calls: of guests that crash, and of good ones.

use crate::guest::{echo, tool};
use crate::scene::{Scene, nothing};
use crate::watch::{Alone, descriptors, resident_bytes};
use cofferdam_plugin::{Allocation, LoadedPlugin};
use serde_json::json;

const LEFT_BYTES: u64 = 20 << 20;
const TRAPS: usize = 1_000;
const CALLS: usize = 10_000;

/// Takes memory until there is no more, touches it, and crashes.
const BOMB: &str = "(func $attack (param i32 i32) (result i32) (local $page i32)
  (loop $more
    (local.set $page (memory.grow (i32.const 16)))
    (if (i32.eq (local.get $page) (i32.const -1)) (then unreachable))
    (memory.fill (i32.mul (local.get $page) (i32.const 65536)) (i32.const 1) (i32.const 1048576))
    (br $more))
  unreachable)";

async fn crash(scene: &Scene, plugin: &LoadedPlugin, count: usize) {
    for _ in 0..count {
        scene.call(plugin, json!({})).await.unwrap_err();
    }
}

async fn answer(scene: &Scene, plugin: &LoadedPlugin, count: usize) {
    for number in 0..count {
        let output = scene.call(plugin, json!({ "n": number })).await.unwrap();
        assert_eq!(*output.result, json!({ "n": number }));
    }
}

#[tokio::test]
async fn memory_comes_back_after_a_thousand_crashes_and_stays_over_ten_thousand_calls() {
    let _alone = Alone::new();
    for allocation in [Allocation::Pooled { slots: 8 }, Allocation::OnDemand { slots: 8 }] {
        let scene = Scene::allocating(allocation, |_| {});
        let bomb = scene.load(tool(BOMB), nothing()).await.unwrap();
        let trap =
            scene.load(tool("(func $attack (param i32 i32) (result i32) unreachable)"), nothing()).await.unwrap();
        let good = scene.load(echo(), nothing()).await.unwrap();
        crash(&scene, &bomb, 20).await;
        answer(&scene, &good, 200).await;
        scene.heard.take();
        let (bytes, open) = (resident_bytes(), descriptors());
        // A bomb writes all of its sixteen megabytes; a hundred of them would be seen.
        crash(&scene, &bomb, 100).await;
        crash(&scene, &trap, TRAPS - 100).await;
        scene.heard.take();
        let crashed = resident_bytes().saturating_sub(bytes);
        assert!(crashed < LEFT_BYTES, "{allocation:?}: {} KiB more after the crashes", crashed >> 10);
        answer(&scene, &good, CALLS).await;
        let served = resident_bytes().saturating_sub(bytes);
        assert!(served < LEFT_BYTES, "{allocation:?}: {} KiB more after the calls", served >> 10);
        assert!(descriptors() <= open, "{allocation:?}: {} descriptors, {open} before", descriptors());
    }
}
