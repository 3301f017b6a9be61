//! Branches of runs, as the executor goes on with them.

use crate::scene::{Scene, Seen, agent, expr, group, text, workflow};
use cofferdam_core::event::{Body, RunEvent, RunStatus};
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::run::branch::{Opaque, Recorded, Wish, branch};
use cofferdam_core::spec::workflow::{Condition, Step, Workflow};
use cofferdam_core::time::Timestamp;
use serde_json::json;
use std::sync::Arc;

fn document() -> Workflow {
    workflow(vec![
        agent("a", "echo", "a"),
        Step { depends_on: vec![0], ..group("g", vec![agent("h", "sets", "h"), agent("i", "echo", "i")]) },
        Step { depends_on: vec![1], ..agent("end", "echo", "end") },
        Step {
            // After the step that sets what it reads.
            depends_on: vec![1],
            condition: Some(Condition::Expr(expr("vars.said == 'never'", &[]))),
            ..agent("skipped", "echo", "x")
        },
    ])
}

fn scene() -> Scene {
    Scene::default().echo().agent("sets", |ctx, message| async move {
        ctx.run.set_variable("said".to_owned(), json!(&*message)).await?;
        Ok(text(&message))
    })
}

fn branched(seen: &Seen, from: &str) -> Vec<Arc<RunEvent>> {
    let workflow = Arc::new(document());
    let wish = Wish {
        from: vec![StepPath::from(from)],
        inputs: serde_json::Map::new(),
        workflow: Arc::clone(&workflow),
        opaque: Opaque::default(),
        context_files: Vec::new(),
    };
    let recorded = Recorded { workflow: &workflow, events: &seen.journal };
    branch(recorded, &wish, (&RunId::parse("r").unwrap(), Timestamp::default()))
        .unwrap()
        .events
        .into_iter()
        .map(Arc::new)
        .collect()
}

/// The steps that began since the run was taken up.
fn begun(seen: &Seen) -> Vec<&str> {
    let from = seen.journal.iter().position(|event| event.body.kind() == "run_resumed").unwrap();
    let began = seen.journal[from..].iter().filter(|event| matches!(event.body, Body::StepStarted { .. }));
    began.map(|event| event.path.as_str()).collect()
}

#[test]
fn a_branch_runs_the_chosen_step_and_what_follows_it() {
    let mut document = document();
    document.vars.insert("said".to_owned(), json!("nothing"));
    let whole = scene().run(document.clone());
    assert_eq!(whole.result.status, RunStatus::Completed);
    for (from, expected) in [("g.i", &["g.i", "end"][..]), ("end", &["end"]), ("a", &["a", "g", "g.h", "g.i", "end"])] {
        let again = scene().resume(document.clone(), &branched(&whole, from));
        assert_eq!(again.result.status, RunStatus::Completed, "from {from}");
        assert_eq!(begun(&again), expected, "from {from}");
        let gave = |seen: &Seen| seen.result.steps.iter().map(|step| step.content.to_string()).collect::<Vec<_>>();
        assert_eq!(gave(&again), gave(&whole), "from {from}");
        let seqs: Vec<u64> = again.journal.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn who_reads_a_variable_that_is_set_again_is_decided_about_again() {
    let mut document = document();
    document.vars.insert("said".to_owned(), json!("nothing"));
    let whole = scene().run(document.clone());
    let again = scene().resume(document, &branched(&whole, "g.h"));
    let skips = |seen: &Seen| seen.kinds("skipped").iter().filter(|kind| **kind == "step_skipped").count();
    assert_eq!((skips(&whole), skips(&again)), (1, 1));
    let from = again.journal.iter().position(|event| event.body.kind() == "run_resumed").unwrap();
    assert!(again.journal[from..].iter().any(|event| event.path.as_str() == "skipped"), "{:?}", begun(&again));
    // Agents in code may read what they like.
    assert_eq!(begun(&again), ["g.h", "g.i", "end"]);
}
