//! How long runs take when nothing but their steps takes time.

use crate::scene::{Scene, agent, group, text, workflow};
use cofferdam_core::fault::Fault;
use cofferdam_core::spec::workflow::{Step, Workflow};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Four steps of 50 ms: one, two after it, one after both.
fn diamond() -> Workflow {
    let after = |name: &str, depends_on: Vec<usize>| Step { depends_on, ..agent(name, "slow", "go on") };
    workflow(vec![after("a", vec![]), after("b", vec![0]), after("c", vec![0]), after("d", vec![1, 2])])
}

fn took(workflow: Workflow) -> u128 {
    let slow = Scene::default().agent("slow", |_, _| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(text("done"))
    });
    let seen = slow.run(workflow);
    assert!(seen.result.success());
    seen.took.as_millis()
}

#[test]
fn steps_that_do_not_wait_for_each_other_run_side_by_side() {
    let time = took(diamond());
    assert!((150..160).contains(&time), "{time} ms");
}

#[test]
fn with_room_for_one_they_run_one_after_the_other() {
    let mut narrow = diamond();
    narrow.options.max_concurrency = Some(1);
    let time = took(narrow);
    assert!((200..210).contains(&time), "{time} ms");
}

#[test]
fn what_is_tried_again_inside_a_larger_step_has_its_whole_time_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let scene = Scene::default().agent("late", move |_, _| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            tokio::time::sleep(Duration::from_secs(8)).await;
            if first { Err(Fault::retry("flaky", "try again")) } else { Ok(text("done")) }
        }
    });
    let inner = Step { timeout: Some(Duration::from_secs(10)), ..group("inner", vec![agent("a", "late", "go on")]) };
    let seen = scene.run(workflow(vec![Step { retries: 1, ..group("outer", vec![inner]) }]));
    assert_eq!(seen.result.error.map(|error| error.fault.message), None);
}
