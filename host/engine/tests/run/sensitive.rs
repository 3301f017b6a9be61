//! Sensitive steps: the journal and the result keep their content, sinks never get it.

use crate::scene::{Scene, Seen, agent, ask, text, workflow};
use cofferdam_core::event::RunEvent;
use cofferdam_core::spec::workflow::{Step, Workflow};
use std::sync::Arc;

const SECRET: &str = "tangerine-4711";

fn written(events: &[Arc<RunEvent>]) -> String {
    events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect()
}

fn document(sensitive: bool) -> Workflow {
    workflow(vec![
        Step { sensitive, ..agent("fetch", "secretive", "Fetch it.") },
        Step { depends_on: vec![0], ..agent("use", "echo", "Use it.") },
        Step { sensitive, ..ask("pin", |_| ()) },
    ])
}

fn run(sensitive: bool) -> Seen {
    let scene = Scene::default().echo().agent("secretive", |_, _| async { Ok(text(SECRET)) });
    scene.answer("pin", "pin-0815").run(document(sensitive))
}

#[test]
fn sinks_get_digests_wherever_the_content_stands() {
    let seen = run(true);
    let told = written(&seen.sink);
    for secret in [SECRET, "4711", "pin-0815"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert!(told.contains("redacted") && told.contains("sha256"));
    let kept = written(&seen.journal);
    assert!(kept.contains(SECRET) && kept.contains("pin-0815"));
    assert!(seen.content("use").contains(SECRET), "the caller gets what the run gave");
    assert!(seen.result.final_output().contains(SECRET));
    let durable = |events: &[Arc<RunEvent>]| events.iter().filter(|event| event.sub.is_none()).count();
    assert_eq!(durable(&seen.sink), durable(&seen.journal), "no durable event is held back");
}

#[test]
fn pieces_of_other_steps_that_are_held_back_are_counted() {
    let transient = |seen: &Seen| seen.sink.iter().filter(|event| event.sub.is_some()).count();
    let (hidden, open) = (run(true), run(false));
    assert_eq!((transient(&hidden), hidden.missed), (0, 2), "the two pieces of `use`; those of `fetch` nobody misses");
    assert_eq!((transient(&open), open.missed), (4, 0));
}

#[test]
fn without_sensitive_steps_sinks_get_everything() {
    let told = written(&run(false).sink);
    assert!(told.contains(SECRET) && told.contains("pin-0815") && !told.contains("redacted"));
}
