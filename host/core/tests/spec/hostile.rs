//! Whatever the bytes, loading ends quickly and without a panic.

use crate::case::{Memory, beside, to_json, valid};
use cofferdam_core::spec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Cuts, repeats and mixes pieces of valid documents.
fn mutated(pieces: &[(usize, usize, usize)], documents: &[String]) -> String {
    let mut text = String::new();
    for (document, start, length) in pieces {
        let source: Vec<char> = documents[document % documents.len()].chars().collect();
        let start = start % source.len();
        text.extend(source.iter().skip(start).take(length % 400));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let files = Memory(BTreeMap::from([("x.yaml".to_owned(), bytes)]));
        let _ = spec::load("x.yaml", &files);
    }

    #[test]
    fn no_mutation_makes_it_panic(pieces in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<usize>()), 1..6)) {
        let documents: Vec<String> = valid().into_iter().map(|(_, text)| text).collect();
        let _ = spec::parse(&mutated(&pieces, &documents), "flow.yaml", &beside());
    }

    #[test]
    fn no_value_at_any_place_makes_it_panic(
        at in any::<usize>(),
        put in prop::sample::select(vec!["null", "[]", "{}", "-1", "1e99", "''", "'{{'", "'steps.'", "[[[]]]", "{a: {b: c}}", "'@'", "true", "18446744073709551615"]),
    ) {
        for (name, text) in valid() {
            let mut value = to_json(&text).unwrap();
            let count = places(&mut value, &mut usize::MAX.clone(), &serde_json::Value::Null);
            let put = to_json(put).unwrap();
            places(&mut value, &mut (at % count), &put);
            let _ = spec::parse(&value.to_string(), &name, &beside());
        }
    }
}

/// Counts the values of a tree, and replaces the one at `left`.
fn places(value: &mut serde_json::Value, left: &mut usize, put: &serde_json::Value) -> usize {
    if *left == 0 {
        *value = put.clone();
        *left = usize::MAX;
        return 1;
    }
    *left = left.wrapping_sub(1);
    let inner: usize = match value {
        serde_json::Value::Array(items) => items.iter_mut().map(|item| places(item, left, put)).sum(),
        serde_json::Value::Object(map) => map.values_mut().map(|item| places(item, left, put)).sum(),
        _ => 0,
    };
    inner + 1
}

#[test]
fn a_thousand_steps_are_checked_quickly() {
    let step = |at: usize| match at {
        0 => "  - {id: step-0, tool: glob, args: {pattern: '*'}}\n".to_owned(),
        _ => format!(
            "  - id: step-{at}\n    dependsOn: [step-{}]\n    tool: read\n    args: {{path: '{{{{ steps.step-{}.result }}}}'}}\n    condition: steps.step-{}.status == 'completed' && size(steps.step-0.content) > 1\n",
            at - 1,
            at - 1,
            at - 1
        ),
    };
    let document = format!("name: x\nsteps:\n{}", (0..1000).map(step).collect::<String>());
    let times = (0..5).map(|_| {
        let start = std::time::Instant::now();
        assert!(spec::parse(&document, "flow.yaml", &Memory::default()).is_ok());
        start.elapsed()
    });
    let best = times.min().unwrap();
    // The goal of 50 ms is for an optimised build on a quiet machine.
    assert!(best.as_millis() < 1000, "{best:?}");
}

#[test]
fn hostile_documents_are_refused_quickly() {
    let many = |text: &str| text.repeat(1024 * 1024 / text.len() - 20);
    let documents = [
        many("["),
        many("{"),
        many("{a: "),
        many("- "),
        many("? "),
        many("a:\n"),
        many("&a "),
        many("*a "),
        many("!x "),
        many("\n"),
        many("'"),
        many("\""),
        many("%"),
        many("| "),
        many("#"),
        many("\t"),
        many("a: &x [*x]\n"),
        many("---\n"),
        many("<<: "),
        many("\u{FEFF}"),
        format!("name: x\nsteps: [{{id: a, tool: read, args: {{x: '{}'}}}}]", "{{ ".repeat(200_000)),
        format!("name: x\nsteps: [{{id: a, tool: read, args: {{x: '{}'}}}}]", "{{ a }}".repeat(100_000)),
        format!("name: x\nsteps: [{{id: a, tool: read, args: {{x: '{}'}}}}]", "{% if ".repeat(100_000)),
        format!("name: x\nsteps: [{{id: a, condition: '{}'}}]", "(".repeat(500_000)),
        format!("name: x\nsteps: [{}]", "a,".repeat(20_000)),
        format!("name: x\nsteps: [{{id: a, ask: {{prompt: x, default: b, choices: [{}a]}}}}]", "a,".repeat(20_000)),
        format!("name: x\nsteps: [{{id: a, transform: {{input: [{}a]}}}}]", "trimm,".repeat(20_000)),
        format!(
            "name: x\nsteps: [{{id: g, mode: parallel, steps: [{}]}}, {}]",
            (0..900).map(|at| format!("{{id: inner-step-{at}, instructions: x}},")).collect::<String>(),
            (0..900)
                .map(|at| format!("{{id: s{at}, dependsOn: [g], condition: steps.g.result.inner-stap-{at} == 1}},"))
                .collect::<String>()
        ),
        format!(
            "name: x\nsteps: [{}]",
            (0..900)
                .map(|at| format!(
                    "{{id: s{at}, dependsOn: [{}]}},",
                    (0..40).map(|other| format!("s{},", (at + other) % 900)).collect::<String>()
                ))
                .collect::<String>()
        ),
    ];
    for document in documents {
        let start = std::time::Instant::now();
        let found = spec::parse(&document, "flow.yaml", &Memory::default()).unwrap_err();
        let shown: String = document.chars().take(40).collect();
        assert!(!found.is_empty());
        // Generous, because machines that test are busy; what is meant is milliseconds.
        assert!(start.elapsed().as_secs() < 3, "{shown}: {:?}", start.elapsed());
    }
}
