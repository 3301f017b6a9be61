//! Fuzzing: seeded inputs, one after the other, until the time is over. Nothing panics, nothing takes long, nothing
//! takes much memory.
//!
//! `FUZZ_SECONDS=3600 cargo test -p cofferdam-core --test fuzz targets` is the long form; `SEED=7` makes each target
//! take that input alone.

use crate::dice::{Dice, rounds, seeds};
use crate::document::{Beside, document};
use crate::meter::measured;
use crate::mutate;
use cofferdam_core::event::RunEvent;
use cofferdam_core::expr::{Expr, Names};
use cofferdam_core::id::{StepId, ToolName};
use cofferdam_core::permission::Rule;
use cofferdam_core::policy::{Grants, PluginLimits, parse_flag};
use cofferdam_core::port::Sources;
use cofferdam_core::spec::{self, export};
use cofferdam_core::template::Template;
use cofferdam_core::{schema, value};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MEMORY: usize = 256 * 1024 * 1024;
/// Twice over this, and an input is slow; once may be the machine's.
const SLOW: Duration = Duration::from_secs(1);

/// Takes inputs until the time is over.
fn fuzz(target: &str, take: impl Fn(&mut Dice)) {
    let until = Instant::now() + Duration::from_secs(rounds("FUZZ_SECONDS", 5));
    // Each target has inputs of its own.
    let own = target.bytes().fold(17_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut taken = 0_u64;
    for seed in seeds(u64::MAX) {
        if Instant::now() > until {
            break;
        }
        let once = || measured(|| catch_unwind(AssertUnwindSafe(|| take(&mut Dice::new(own.wrapping_add(seed))))));
        let (done, cost) = once();
        assert!(done.is_ok(), "SEED={seed} makes {target} panic");
        assert!(cost.bytes < MEMORY, "SEED={seed} makes {target} take {} MiB", cost.bytes >> 20);
        assert!(cost.time < SLOW || once().1.time < SLOW, "SEED={seed} makes {target} take {:?}", cost.time);
        taken += 1;
    }
    assert!(taken > 0, "{target} was never tried");
}

/// A document of the tests, a random one, or pieces of several.
fn authored(dice: &mut Dice, corpus: &[String]) -> String {
    if dice.percent(10) {
        let mut whole = document(dice);
        mutate::value(dice, &mut whole);
        return if dice.percent(50) { whole.to_string() } else { serde_yaml::to_string(&whole).unwrap_or_default() };
    }
    let text = dice.pick(corpus).clone();
    match serde_yaml::from_str::<Value>(&text) {
        Ok(mut whole) if dice.percent(60) => {
            mutate::value(dice, &mut whole);
            if dice.percent(50) { whole.to_string() } else { serde_yaml::to_string(&whole).unwrap_or_default() }
        }
        _ => text,
    }
}

fn corpus() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents");
    let files = |folder: std::path::PathBuf| {
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().filter(|path| path.is_file())
    };
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    let mut texts: Vec<String> = files(folder.join("valid")).map(read).collect();
    for path in files(folder).filter(|path| path.extension().is_some_and(|extension| extension == "cases")) {
        texts.extend(read(path).split("=== ").skip(1).filter_map(|case| Some(case.split_once('\n')?.1.to_owned())));
    }
    texts
}

#[test]
fn documents() {
    let corpus = corpus();
    fuzz("documents", |dice| {
        let text = authored(dice, &corpus);
        let text = if dice.percent(60) { mutate::text(dice, &text, mutate::DOCUMENT) } else { text };
        let Ok(loaded) = spec::parse(&text, "flow.yaml", &Beside) else { return };
        // What was read can be written and read again.
        let written = export::to_yaml(&loaded.workflow);
        let again = spec::parse(&written, "flow.yaml", &Beside);
        assert!(again.is_ok(), "{text}\n--- written\n{written}\n{}", again.unwrap_err());
    });
}

#[test]
fn bytes() {
    struct File(Vec<u8>);
    impl Sources for File {
        fn read(
            &self,
            path: &str,
            _: usize,
        ) -> Result<cofferdam_core::port::SourceFile, cofferdam_core::port::SourceError> {
            match path {
                "flow.yaml" | "prompt.md" => Ok(cofferdam_core::port::SourceFile { bytes: self.0.as_slice().into() }),
                _ => Err(cofferdam_core::port::SourceError::Missing(path.into())),
            }
        }
    }
    fuzz("bytes", |dice| {
        let mut bytes = mutate::pieces(dice, mutate::DOCUMENT, 60).into_bytes();
        for _ in 0..dice.below(8) {
            let at = dice.below(bytes.len() + 1);
            bytes.insert(at, u8::try_from(dice.below(256)).unwrap());
        }
        let _ = spec::load("flow.yaml", &File(bytes));
    });
}

/// Ids, roots and values of what expressions and templates read.
fn variables(dice: &mut Dice) -> value::Map {
    let list: Vec<u64> = (0..dice.below(50) as u64).collect();
    let given = json!({
        "steps": {
            "build": { "content": "ok\n", "result": { "n": 3, "list": list, "text": "a b" }, "status": "completed", "error": null },
            "a-b": { "content": "", "result": null, "status": "failed", "error": { "code": "x", "message": "y" } },
        },
        "inputs": { "dir": "src/\u{e9}", "big": u64::MAX, "low": i64::MIN, "ratio": 0.1, "flag": true, "none": null },
        "item": mutate::scalar(dice),
        "index": dice.below(9),
        "content": "x",
    });
    let Value::Object(map) = given else { unreachable!() };
    map
}

fn with_names<T>(take: impl FnOnce(&Names<'_>) -> T) -> T {
    let ids: BTreeSet<Arc<str>> = ["build", "a-b"].into_iter().map(Arc::from).collect();
    take(&Names { steps: &[&ids], roots: &["steps", "inputs", "item", "index", "content"] })
}

#[test]
fn expressions() {
    fuzz("expressions", |dice| {
        let text = mutate::pieces(dice, mutate::EXPRESSION, 24);
        let Ok(expr) = with_names(|names| Expr::parse(&text, names)) else { return };
        let _ = (expr.evaluate(&variables(dice)), expr.constant());
    });
}

#[test]
fn templates() {
    fuzz("templates", |dice| {
        let text = mutate::pieces(dice, mutate::TEMPLATE, 30);
        let source = if dice.percent(30) { json!([text, { "k": text }]) } else { json!(text) };
        let Ok(template) = with_names(|names| Template::parse(&source, names)) else { return };
        let _ = template.render(&variables(dice));
    });
}

#[test]
fn arguments_of_tools() {
    let schemas = [
        json!({ "type": "object", "properties": { "path": { "type": "string", "pattern": "^[a-z/]+$" } }, "required": ["path"] }),
        json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/x" }, "$defs": { "x": { "type": ["array", "integer"], "items": { "$ref": "#/$defs/x" } } } }),
    ];
    fuzz("arguments", |dice| {
        let text = mutate::pieces(dice, mutate::JSON, 40);
        let parsed = value::parse(&text);
        let mut own = dice.pick(&schemas).clone();
        if dice.percent(30) {
            mutate::value(dice, &mut own);
        }
        let mut given = parsed.unwrap_or_else(|_| json!({ "path": "a/b" }));
        mutate::value(dice, &mut given);
        if let Ok(checker) = schema::check(&own) {
            let _ = (checker.check(&given), checker.first_error(&given));
        }
        let _ = schema::read(&text, schema::Root::Object);
    });
}

#[test]
fn grants_rules_and_names() {
    let whole = json!({
        "http": [{ "host": "*.example.com", "methods": ["GET"], "paths": ["/a/**"], "inject": [{ "secret": "K", "header": "x", "format": "B {}" }] }],
        "fs": { "read": true, "also": [{ "from": "./x", "at": "/data", "read": true }] },
        "kv": { "scope": "run" }, "secrets": ["KEY"], "tools": ["read"],
    });
    fuzz("grants", |dice| {
        let (mut one, mut other) = (whole.clone(), whole.clone());
        mutate::value(dice, &mut one);
        mutate::value(dice, &mut other);
        if let (Ok(one), Ok(other)) = (Grants::parse(&one), Grants::parse(&other)) {
            let both = one.union(&other);
            let _ = (one.intersect(&other), both.missing_from(&one));
            let written = serde_json::to_value(&one).unwrap();
            assert_eq!(Grants::parse(&written), Ok(one), "{written}");
        }
        let _ = PluginLimits::parse(
            &json!({ "memory": mutate::scalar(dice), "wall": mutate::scalar(dice), "fuel": mutate::scalar(dice) }),
        );
        let text = mutate::pieces(dice, mutate::GRANT, 12);
        let _ = (
            parse_flag(&text),
            Rule::parse(&text),
            StepId::parse(&text),
            ToolName::parse(&text),
            ToolName::parse_wire(&text),
        );
        let _ = spec::duration::parse(&text);
    });
}

#[test]
fn records_of_events() {
    let records = [
        json!({ "seq": 1, "at": "2026-11-20T08:00:00.000Z", "run_id": "r", "path": "a[0].b", "attempt": 1, "kind": "step_finished", "status": "completed", "output": { "content": "x" }, "usage": { "input": 1, "output": 2 } }),
        json!({ "seq": 2, "at": "2026-11-20T08:00:00.000Z", "run_id": "r", "kind": "run_started", "schema_version": 1, "workflow": "w", "hash": "", "sources": [], "inputs": {}, "settings": {}, "plan": [] }),
        json!({ "seq": 3, "at": "2026-11-20T08:00:00.000Z", "run_id": "r", "path": "a", "kind": "loop_finished", "iterations": 3, "because": "until" }),
    ];
    fuzz("records", |dice| {
        let mut record = dice.pick(&records).clone();
        mutate::value(dice, &mut record);
        let text = mutate::text(dice, &record.to_string(), mutate::JSON);
        if let Ok(event) = serde_json::from_str::<RunEvent>(&text) {
            let written = serde_json::to_string(&event).unwrap();
            assert!(serde_json::from_str::<RunEvent>(&written).is_ok(), "{written}");
        }
    });
}
