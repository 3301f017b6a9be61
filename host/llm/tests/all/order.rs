//! Equal requests get their recordings in order, each once, however many ask and whoever recorded.

use crate::asking::{names, record, recording, replay, replaying, request, said, server};
use crate::folder::Folder;
use cofferdam_core::port::ModelEvent;
use cofferdam_llm::Api;
use cofferdam_llm::tape::Shelf as _;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// A recording by hand of what is answered to a prompt.
fn write(folder: &Path, number: usize, prompt: usize, answer: &str, key: &str) {
    let event = |delta: &str, end: &str| serde_json::json!({ "choices": [{ "index": 0, "delta": { "content": delta }, "finish_reason": end }] });
    let page = serde_json::json!({
        "version": 1, "key": key, "provider": "acme", "model": "m", "api": "chat", "method": "POST",
        "path": "/chat/completions", "request_headers": [], "request": { "prompt": prompt }, "status": 200, "headers": {},
        "body": [format!("data: {}\n\n", event(answer, "stop")), "data: [DONE]\n\n"], "end": "eof",
    });
    std::fs::write(folder.join(format!("{number:06}-acme-x.json")), page.to_string()).unwrap();
}

/// The keys of these prompts, as a recording has them.
async fn keys(count: usize) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let tape = record(folder.path());
    for prompt in 0..count {
        said(&recording(&server, Api::Chat, "m", &tape), request(&prompt.to_string())).await;
    }
    let page = |name: &String| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap()
    };
    names(folder.path()).iter().map(|name| page(name)["key"].as_str().unwrap().to_owned()).collect()
}

fn text(said: &[Result<ModelEvent, cofferdam_core::fault::Fault>]) -> String {
    let pieces = said.iter().filter_map(|event| match event {
        Ok(ModelEvent::Text(text)) => Some(text.clone()),
        _ => None,
    });
    pieces.collect()
}

#[test]
fn each_recording_is_given_once_and_to_one_asker_in_the_order_of_recording() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let keys = runtime.block_on(keys(3));
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(prompts in proptest::collection::vec(0..3_usize, 1..24), gap in 1..1_000_usize)| {
        let folder = tempfile::tempdir().unwrap();
        let mut expected: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (number, prompt) in prompts.iter().enumerate() {
            // Numbers of more and fewer digits than names are padded to.
            let number = 1 + number * gap * 1_000;
            write(folder.path(), number, *prompt, &number.to_string(), &keys[*prompt]);
            expected.entry(*prompt).or_default().push(number.to_string());
        }
        runtime.block_on(async {
            let tape = replay(folder.path());
            // Side by side: each once.
            let asking = prompts.iter().map(|prompt| {
                let (tape, prompt) = (tape.clone(), *prompt);
                tokio::spawn(async move {
                    (prompt, text(&said(&replaying(Api::Chat, "m", &tape), request(&prompt.to_string())).await))
                })
            });
            let mut given: BTreeMap<usize, Vec<String>> = BTreeMap::new();
            for asked in asking.collect::<Vec<_>>() {
                let (prompt, text) = asked.await.unwrap();
                given.entry(prompt).or_default().push(text);
            }
            given.values_mut().for_each(|texts| texts.sort_by_key(|text| text.parse::<u64>().unwrap()));
            assert_eq!(given, expected);
            assert!(tape.unused().is_empty());
            // One after the other: in order.
            let tape = replay(folder.path());
            for (prompt, texts) in &expected {
                for expected in texts {
                    let again = said(&replaying(Api::Chat, "m", &tape), request(&prompt.to_string())).await;
                    assert_eq!(&text(&again), expected);
                }
            }
        });
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_record_into_one_folder_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    // Two tapes are two processes: they know nothing of each other.
    let tapes = [record(folder.path()), record(folder.path())];
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..40 {
        let model = recording(&server, Api::Chat, "text", &tapes[number % 2]);
        asking.spawn(async move { said(&model, request("hello")).await });
    }
    assert!(asking.join_all().await.iter().all(|said| said.iter().all(Result::is_ok)));
    let names = names(folder.path());
    assert_eq!(names.len(), 40, "{names:?}");
    let tape = replay(folder.path());
    for _ in 0..40 {
        assert!(said(&replaying(Api::Chat, "text", &tape), request("hello")).await.iter().all(Result::is_ok));
    }
    assert!(tape.unused().is_empty());
    // A later recording goes on behind all of them.
    let tape = record(folder.path());
    assert_eq!(tape.found(), 40);
    said(&recording(&server, Api::Chat, "text", &tape), request("hello")).await;
    assert!(crate::asking::names(folder.path()).last().unwrap() > names.last().unwrap());
}

#[test]
fn a_name_is_given_to_one_of_all_who_want_it() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Folder::new(folder.path());
    let wins = std::sync::Mutex::new(BTreeMap::<usize, usize>::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..200 {
                    if let Some(draft) = shelf.begin(&format!("{number}.json")).unwrap() {
                        *wins.lock().unwrap().entry(number).or_default() += 1;
                        draft.finish().unwrap();
                    }
                }
            });
        }
    });
    assert!(wins.into_inner().unwrap().values().all(|wins| *wins == 1));
    // Whoever failed to get a name because its draft collided has moved on; a whole file is never replaced.
    assert!(shelf.begin("0.json").unwrap().is_none());
    assert!(names(folder.path()).iter().all(|name| name.ends_with(".json")));
}
