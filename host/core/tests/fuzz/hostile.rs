//! Documents that mean harm: each is refused with a place, in little time and memory.

use crate::document::Beside;
use crate::meter::{Cost, measured};
use cofferdam_core::diagnostic::{Diagnostics, Severity};
use cofferdam_core::port::{SourceError, SourceFile, Sources};
use cofferdam_core::spec::{self, Loaded};

/// The memory that reading any document may take.
const MEMORY: usize = 64 * 1024 * 1024;
/// Milliseconds are meant; machines that test are busy, and their builds are slow.
const SECONDS: u64 = 3;

/// A name, what is in the file, and the first error with its place.
type Case = (&'static str, Vec<u8>, &'static str);

fn text(name: &'static str, text: impl Into<String>, first: &'static str) -> Case {
    (name, text.into().into_bytes(), first)
}

const WORKS: &str = "name: w\nsteps: [{id: a, instructions: x}]\n";

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("name: w\nx-deep: {}1{}\n", open.repeat(depth), close.repeat(depth))
}

fn many(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

/// An agent whose temperature is no number that one can set.
fn temperature(name: &'static str, value: &str) -> Case {
    let document = format!("name: w\nagents: {{a: {{description: d, temperature: {value}}}}}\nsteps: [{{id: s}}]\n");
    text(name, document, "W001 2:43")
}

/// Lists of lists of lists: each level repeats the one before nine times.
fn laughs(levels: usize) -> String {
    let level = |at: usize| format!("x-{}: &a{} [{}]\n", at + 1, at + 1, format!("*a{at}, ").repeat(9));
    format!("x-0: &a0 [ha, ha]\n{}{WORKS}", many(levels - 1, level))
}

fn aliases_and_anchors() -> Vec<Case> {
    vec![
        text("a billion laughs", laughs(12), "W002 6:16"),
        text("an alias in its own anchor", "name: &x [*x]\nsteps: []\n", "W001 1:11"),
        text("an alias in its own table", "name: w\nx-a: &x {b: {c: *x}}\n", "W001 2:17"),
        text("an alias of nothing", "name: *nope\n", "W001 1:7"),
        text("a merge of itself", "name: w\nx-a: &a\n  <<: *a\n  b: 1\n", "W001 3:7"),
        text("a circle of merges", "x-a: &a {<<: *b}\nx-b: &b {<<: *a}\n", "W001 1:14"),
        text("a merge of a number", "name: w\n<<: 5\n", "W001 2:5"),
        text(
            "many merges",
            format!("x-a: &a {{k: 1}}\n{}", many(20_000, |at| format!("x-m{at}: {{<<: *a}}\n"))),
            "W002 202:10",
        ),
        text("many anchors", many(20_000, |at| format!("x-{at}: &a{at} 1\n")), "W002 201:14"),
        text("many aliases", format!("x-a: &a 1\nx-l: [{}]\n", "*a, ".repeat(100_000)), "W002 2:807"),
        text(
            "a long text many times",
            format!("x-a: &a '{}'\nx-l: [{}]\n", "y".repeat(100_000), "*a, ".repeat(5_000)),
            "W002 2:167",
        ),
        text(
            "steps that an alias repeats",
            format!("{WORKS}x-s: &s {{id: a}}\nx-t: [*s, *s]\nstepz: *t\n"),
            "W001 5:8",
        ),
    ]
}

fn depth_and_size() -> Vec<Case> {
    let block = |depth: usize| many(depth, |at| format!("{}a:\n", " ".repeat(at)));
    vec![
        text("lists in lists", nested("[", "]", 100), "W002 2:41"),
        text("lists in lists in lists", nested("[", "]", 400_000), "W002 2:41"),
        text("lists that never close", "[".repeat(1_000_000), "W002 1:33"),
        text("tables in tables", nested("{a: ", "}", 100), "W002 2:133"),
        text("tables that never close", "{\"a\":".repeat(200_000), "W002 1:161"),
        text("a staircase", block(1_400), "W002 33:33"),
        text("dashes", "- ".repeat(200_000), "W002 1:65"),
        text("questions", "? ".repeat(200_000), "W002 1:65"),
        text("more than a mebibyte", format!("{WORKS}# {}", "x".repeat(1024 * 1024)), "W002 1:1"),
        text("a mebibyte of keys", many(70_000, |at| format!("k{at}: 1\n")), "W002 25000:9"),
        text("a key of a mebibyte", format!("{}: 1\n{WORKS}", "k".repeat(900_000)), "W001 1:900001"),
        text("too many values", format!("name: w\nx-l: [{}]\n", "1,".repeat(400_000)), "W002 2:99997"),
        text("twenty thousand steps", format!("name: w\nsteps: [{}]\n", "a,".repeat(20_000)), "W009 2:8"),
        text(
            "a loop over too much",
            format!("name: w\nsteps: [{{id: a, loop: {{forEach: [{}]}}}}]\n", "1,".repeat(20_001)),
            "W009 2:33",
        ),
    ]
}

fn keys_and_values() -> Vec<Case> {
    vec![
        text("a key twice", "name: a\nname: b\nsteps: []\n", "W003 2:1"),
        text("a key twice, deep", "name: w\nsteps:\n  - id: a\n    instructions: x\n    id: b\n", "W003 5:5"),
        text("a key twice, quoted", "{\"name\": \"a\", \"n\\u0061me\": \"b\"}", "W003 1:15"),
        text("a number as a key", "name: w\n1: x\nsteps: [{id: a}]\n", "W001 2:1"),
        text("true as a key", "name: w\ntrue: x\nsteps: [{id: a}]\n", "W001 2:1"),
        text("nothing as a key", "name: w\n~: x\nsteps: [{id: a}]\n", "W001 2:1"),
        text("a list as a key", "? [a, b]\n: x\n", "W001 1:1"),
        text("a table as a key", "{{a: b}: c}\n", "W001 1:1"),
        text("an unknown key", "name: w\nstpes: []\nsteps: [{id: a}]\n", "W005 2:1"),
        steps("an unknown key of a step", "[{id: a, instrctions: x}]", "W005 2:17"),
        steps("an unknown key of a loop", "[{id: a, loop: {maxIteratons: 1}}]", "W034 2:23"),
        text("ten thousand unknown keys", format!("{WORKS}{}", many(10_000, |at| format!("nme{at}: 1\n"))), "W005 3:1"),
        text("a tag of another language", "name: !!python/object:os.system x\nsteps: []\n", "W001 1:33"),
        text("a tag of one's own", "name: !include /etc/passwd\nsteps: []\n", "W001 1:16"),
        text("bytes", "name: !!binary aGk=\nsteps: []\n", "W008 2:8"),
        temperature("not a number", ".nan"),
        temperature("without end", ".inf"),
        temperature("a number too large", "1e999"),
        steps("a whole number too large", "[{id: s, retries: 99999999999999999999999}]", "W004 2:26"),
        text("a version of others", "name: w\nversion: 1.0\nsteps: [{id: s}]\n", "W004 2:10"),
        steps("a text where a list stands", "none", "W004 2:8"),
        text("a list alone", "- a\n- b\n", "W004 1:1"),
        text("a text alone", "just words\n", "W004 1:1"),
    ]
}

fn letters_and_lines() -> Vec<Case> {
    let utf16: Vec<u8> = "\u{feff}name: w\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        text("a tab as indentation", "name: w\nsteps:\n\t- id: a\n", "W001 3:2"),
        text("two documents", format!("{WORKS}---\n{WORKS}"), "W002 3:1"),
        text("many documents", "--- a\n".repeat(100_000), "W002 2:1"),
        text("a mark in the middle", "name: w\n\u{feff}steps: []\n", "W001 2:1"),
        text("a quote that never closes", format!("name: w\ndescription: \"{}", "x\n".repeat(100_000)), "W001 3:1"),
        text("a directive", "%YAML 9.9\n---\nname: w\n", "W001 1:1"),
        text("percent signs", "%".repeat(500_000), "W001 1:2"),
        text("half a pair in JSON", "{\"name\": \"\\ud800\", \"steps\": []}", "W001 1:10"),
        text("half a pair, the other half", "{\"name\": \"\\udc00x\", \"steps\": []}", "W001 1:10"),
        text("JSON that goes on", "{\"name\": \"w\", \"steps\": [{\"id\": \"a\"}]} true", "W001 1:39"),
        text("JSON that is cut", "{\"name\": \"w\", \"steps\": [{\"id\": \"a\"", "W001 1:25"),
        text("text that turns around", "name: a\u{202e}b\nsteps: [{id: a}]\n", "W014 1:7"),
        ("nul", b"name: a\0b\nsteps: 5\n".to_vec(), "W001 1:8"),
        ("nothing but nul", vec![0; 10_000], "W001 1:1"),
        ("no text", b"name: caf\xe9\n".to_vec(), "W001 1:10"),
        ("text of another kind", utf16, "W001 1:1"),
    ]
}

/// A document whose second line is the list of its steps.
fn steps(name: &'static str, steps: impl std::fmt::Display, first: &'static str) -> Case {
    text(name, format!("name: w\nsteps: {steps}\n"), first)
}

fn graphs_and_expressions() -> Vec<Case> {
    let ring = |count: usize| {
        let step = |at: usize| format!("  - {{id: s{at}, dependsOn: [s{}], instructions: x}}\n", (at + 1) % count);
        format!("name: w\nsteps:\n{}", many(count, step))
    };
    let condition =
        |text: &str| format!("name: w\nsteps:\n  - id: a\n    instructions: x\n    condition: \"{text}\"\n");
    let template = |text: &str| format!("name: w\nsteps:\n  - id: a\n    tool: read\n    args: {{x: '{text}'}}\n");
    vec![
        steps("a step after itself", "[{id: a, dependsOn: [a]}]", "W022 2:29"),
        text("a circle", "name: w\nsteps:\n  - {id: a, dependsOn: [b]}\n  - {id: b, dependsOn: [a]}\n", "W022 3:25"),
        text("a circle of a thousand", ring(1000), "W022 3:26"),
        text("parentheses", condition(&"(".repeat(100_000)), "W041 5:17"),
        text("a short thicket", condition(&"(".repeat(1_000)), "W041 5:417"),
        text("minus signs", condition(&"-".repeat(1_000)), "W041 5:417"),
        text("a loop in a loop in a loop", condition("[1].all(a, [1].all(b, [1].all(c, true)))"), "W041 5:17"),
        text("holes", template(&"{{ ".repeat(100_000)), "W040 5:16"),
        text("blocks", template(&"{% if true %}".repeat(20_000)), "W041 5:848"),
        text("a hole that never closes", template("{{ inputs.x"), "W040 5:16"),
    ]
}

/// The file that was named.
struct File<'f>(&'f [u8]);

impl Sources for File<'_> {
    fn read(&self, path: &str, max_bytes: usize) -> Result<SourceFile, SourceError> {
        if path != "flow.yaml" {
            return Beside.read(path, max_bytes);
        }
        if self.0.len() > max_bytes {
            return Err(SourceError::TooLarge { path: path.into(), bytes: self.0.len() as u64, limit: max_bytes });
        }
        Ok(SourceFile { bytes: self.0.into() })
    }
}

fn load(bytes: &[u8]) -> (Result<Loaded, Diagnostics>, Cost) {
    measured(|| spec::load("flow.yaml", &File(bytes)))
}

/// Code and place of the first error.
fn first_error(loaded: &Result<Loaded, Diagnostics>) -> String {
    let Err(found) = loaded else { return "accepted".into() };
    let error = found.iter().find(|found| found.severity == Severity::Error).unwrap();
    let place =
        error.place.as_ref().map_or_else(|| "nowhere".into(), |place| format!("{}:{}", place.line, place.column));
    format!("{} {place}", error.code)
}

#[test]
fn every_hostile_document_is_refused_with_its_place_and_at_little_cost() {
    let groups =
        [aliases_and_anchors(), depth_and_size(), keys_and_values(), letters_and_lines(), graphs_and_expressions()];
    let mut wrong = Vec::new();
    let mut count = 0;
    // What is made once for all documents counts for none of them.
    drop(load(WORKS.as_bytes()));
    for (name, bytes, expected) in groups.into_iter().flatten() {
        let (loaded, cost) = load(&bytes);
        let first = first_error(&loaded);
        if first != expected {
            wrong.push(format!("{name}: {first} instead of {expected}"));
        }
        if cost.bytes > MEMORY || cost.time.as_secs() >= SECONDS {
            wrong.push(format!("{name}: {} KiB and {:?}", cost.bytes / 1024, cost.time));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 60);
}

#[test]
fn marks_and_line_ends_of_other_systems_are_read() {
    for document in [
        format!("\u{feff}{WORKS}"),
        WORKS.replace('\n', "\r\n"),
        format!("---\n{WORKS}...\n"),
        format!("# \u{e9}\n{WORKS}"),
    ] {
        let (loaded, cost) = load(document.as_bytes());
        assert_eq!(loaded.unwrap().workflow.name, "w", "{document:?}");
        assert!(cost.bytes < MEMORY);
    }
}
