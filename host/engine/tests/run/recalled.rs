//! What retrieval memory gave a try is found once: a run that is cut anywhere goes on with the same prompts, and what it lacks
//! is kept then.

use crate::scene::{Scene, agent, text, workflow};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, Hit, Memo, Recall, RecordBody, Search};
use cofferdam_core::spec::workflow::{RecallSettings, Step, Workflow};
use cofferdam_core::value::Map;
use cofferdam_engine::RunRecall;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Finds everything that it has, and counts how often it is asked.
#[derive(Default)]
struct Shelf {
    memos: Mutex<BTreeMap<String, Memo>>,
    searches: AtomicUsize,
}

impl Recall for Shelf {
    fn upsert<'a>(&'a self, _: &'a str, memos: Vec<Memo>) -> BoxFuture<'a, Result<(), Fault>> {
        self.memos.lock().unwrap().extend(memos.into_iter().map(|memo| (memo.id.clone(), memo)));
        Box::pin(std::future::ready(Ok(())))
    }

    fn search<'a>(&'a self, _: &'a str, search: Search) -> BoxFuture<'a, Result<Vec<Hit>, Fault>> {
        self.searches.fetch_add(1, Ordering::SeqCst);
        let all = self.memos.lock().unwrap().values().take(search.limit).cloned().collect::<Vec<_>>();
        let hits = all.into_iter().map(|memo| Hit { memo, score: 1.0 }).collect();
        Box::pin(std::future::ready(Ok(hits)))
    }

    fn forget<'a>(&'a self, _: &'a str, _: Vec<String>) -> BoxFuture<'a, Result<usize, Fault>> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

impl Shelf {
    fn with(text: &str) -> Arc<Self> {
        let shelf = Self::default();
        let memo = Memo { id: "old".to_owned(), text: text.to_owned(), meta: Map::new() };
        shelf.memos.lock().unwrap().insert("old".to_owned(), memo);
        Arc::new(shelf)
    }

    fn ids(&self) -> Vec<String> {
        self.memos.lock().unwrap().keys().cloned().collect()
    }
}

type Told = Arc<Mutex<Vec<(String, String)>>>;

/// Agents that write down what they are told.
fn scene(shelf: &Arc<Shelf>) -> (Scene, Told) {
    let told = Told::default();
    let hears = Arc::clone(&told);
    let scene = Scene::default().agent("writes", move |ctx, message| {
        hears.lock().unwrap().push((ctx.path.to_string(), message.to_string()));
        let gave = format!("{} is done", ctx.path);
        async move { Ok(text(&gave)) }
    });
    let recall =
        RunRecall { store: Arc::clone(shelf) as _, space: "s".to_owned(), settings: RecallSettings::default() };
    (Scene { recall: Some(recall), ..scene }, told)
}

fn three() -> Workflow {
    let step = |id: &str, depends_on: Vec<usize>| Step { depends_on, ..agent(id, "writes", &format!("Do {id}.")) };
    workflow(vec![step("a", vec![]), step("b", vec![0]), step("c", vec![1])])
}

#[test]
fn what_was_found_is_recorded_before_the_agent_is_asked() {
    let shelf = Shelf::with("an old tale");
    let (scene, told) = scene(&shelf);
    let seen = scene.run(three());
    assert_eq!(seen.kinds("a"), ["step_ready", "step_started", "memory_recalled", "step_finished"]);
    let told = told.lock().unwrap();
    assert!(told.iter().all(|(_, message)| message.contains("an old tale")), "{told:?}");
    // What `a` gave stands in the message of `b` already; `c` finds it, and what `b` was told.
    let of = |path: &str| told.iter().find(|(at, _)| at == path).map(|(_, message)| message.as_str()).unwrap();
    assert_eq!((of("b").matches("a is done").count(), of("c").matches("a is done").count()), (1, 2));
    assert_eq!(shelf.searches.load(Ordering::SeqCst), 3);
    let ids = ["old", "r/a/workflow_step_input", "r/a/workflow_step_output", "r/b/workflow_step_input"];
    assert_eq!(shelf.ids()[..4], ids.map(str::to_owned));
    let recalled = seen.journal.iter().find_map(|event| match &event.body {
        Body::MemoryRecalled(recalled) => Some(recalled.clone()),
        _ => None,
    });
    let recalled = recalled.unwrap();
    assert_eq!((&*recalled.input, recalled.found[0].id.as_str()), ("## Task\nDo a.", "old"));
}

#[test]
fn a_run_that_is_cut_anywhere_goes_on_with_the_prompts_that_it_had() {
    let shelf = Shelf::with("an old tale");
    let (whole, told) = scene(&shelf);
    let seen = whole.run(three());
    let told: BTreeMap<String, String> = told.lock().unwrap().drain(..).collect();
    for cut in 1..seen.records.len() - 1 {
        let records = &seen.records[..cut];
        // Meanwhile the memory was lost, and another text is there.
        let other = Shelf::with("another tale");
        let (again, heard) = scene(&other);
        let resumed = again.resume_from(three(), records);
        assert!(resumed.result.success(), "{cut}");
        let recalled: Vec<&str> = records
            .iter()
            .filter_map(|record| match &record.body {
                RecordBody::Event(event) if matches!(event.body, Body::MemoryRecalled(_)) => Some(event.path.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(other.searches.load(Ordering::SeqCst), 3 - recalled.len(), "{cut}");
        for (path, message) in heard.lock().unwrap().iter() {
            let same = *message == told[path];
            assert_eq!(same, recalled.contains(&path.as_str()), "{cut} {path}: {message}");
        }
        // What was given before the cut is kept as well, each once.
        assert_eq!(other.ids().len(), 7, "{cut}: {:?}", other.ids());
    }
}
