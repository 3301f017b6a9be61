//! What breaks the contract: lengths, addresses, texts, tags, schemas.

use crate::probe::{Ends, Family, Probe, Runs, attack, code_of};
use Ends::{Lie, Limit, Refused, Trap, Unloaded};
use Family::Lies;

/// An error of its own with a text of this length at this address.
fn error_text(at: &str, size: &str) -> String {
    format!("(call $fail (i32.const 12) (i32.const {at}) (i32.const {size}))")
}

pub(crate) fn probes() -> Vec<Probe> {
    let mut all = texts();
    all.extend(results());
    all.extend(descriptions());
    all.extend(crashes());
    all
}

fn texts() -> Vec<Probe> {
    let many = "(loop $more
        (i64.store (i32.add (i32.const 4096) (i32.mul (local.get $n) (i32.const 16))) (i64.const 0x1000000010000))
        (i64.store (i32.add (i32.const 4104) (i32.mul (local.get $n) (i32.const 16))) (i64.const 0x1000000010000))
        (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 2000))))";
    let log = r#"(import "cofferdam:host/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
    vec![
        attack(Lies, "a text that lies beyond its memory", "", &error_text("65536", "0x00ff0000"), Lie("out of bounds")),
        attack(Lies, "a text whose end wraps around", "", &error_text("-8", "64"), Lie("out of bounds")),
        attack(
            Lies,
            "a text that is none",
            "",
            &format!("(i32.store (i32.const 1024) (i32.const 0xfffefdfc)) {}", error_text("1024", "4")),
            Lie("utf-8"),
        ),
        attack(
            Lies,
            "half of a surrogate pair",
            r#"(data (i32.const 1024) "\ed\a0\80")"#,
            &error_text("1024", "3"),
            Lie("utf-8"),
        ),
        attack(Lies, "an answer that is nowhere", "", "(i32.const -4)", Lie("")),
        attack(Lies, "an answer at an odd address", "", "(i32.const 321)", Lie("")),
        attack(Lies, "a tag that no answer has", "", "(i32.store8 (i32.const 1024) (i32.const 7)) (i32.const 1024)", Lie("discriminant")),
        attack(
            Lies,
            "a kind that no error has",
            "",
            "(drop (call $fail (i32.const 99) (i32.const 0) (i32.const 0))) (i32.const 512)",
            Lie("discriminant"),
        ),
        attack(
            Lies,
            "a list that is one text two thousand times",
            log,
            &format!(
                "(drop (memory.grow (i32.const 2))) {many}
                 (call $log (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 4096) (i32.const 2000)) (i32.const 320)"
            ),
            Limit("copied"),
        ),
        attack(
            Lies,
            "a list of a billion entries",
            log,
            "(call $log (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 4096) (i32.const 0x3fffffff)) (i32.const 320)",
            Lie("out of bounds"),
        ),
        attack(
            Lies,
            "a level that no line has",
            log,
            "(call $log (i32.const 9) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)) (i32.const 320)",
            Lie("discriminant"),
        ),
        attack(
            Lies,
            "an argument of the host that lies beyond its memory",
            log,
            "(call $log (i32.const 2) (i32.const 0x7fffffff) (i32.const 100) (i32.const 0) (i32.const 0)) (i32.const 320)",
            Lie("out of bounds"),
        ),
    ]
}

/// What only tools answer with.
fn results() -> Vec<Probe> {
    let json = |at: &str, size: &str| {
        format!(
            "(i32.store (i32.const 332) (i32.const {at})) (i32.store (i32.const 336) (i32.const {size})) (i32.const 320)"
        )
    };
    let fill = |byte: &str, size: &str| format!("(memory.fill (i32.const 1024) (i32.const {byte}) (i32.const {size}))");
    let big = "(drop (memory.grow (i32.const 100))) (i32.store (i32.const 328) (i32.const 1))";
    let schema = r#"(data (i32.const 1024) "{\22type\22:\22string\22}")
        (data (i32.const 244) "\01\00\00\00\00\04\00\00\11\00\00\00")"#;
    vec![
        attack(Lies, "what is no JSON", "", &json("72", "4"), Lie("not valid JSON")),
        attack(
            Lies,
            "JSON that is nested a hundred thousand deep",
            "(memory 4)",
            &format!("(drop (memory.grow (i32.const 2))) {}{}", fill("0x5b", "100000"), json("1024", "100000")),
            Lie("nested deeper than 128 levels"),
        ),
        attack(
            Lies,
            "a result of six million bytes",
            "",
            &format!("{big} {}{}", fill("0x61", "6000000"), json("1024", "6000000")),
            Limit("result"),
        ),
        attack(
            Lies,
            "a result that no call may copy",
            "",
            &format!(
                "(drop (memory.grow (i32.const 200))) (i32.store (i32.const 328) (i32.const 1)) {}",
                json("1024", "13000000")
            ),
            Limit("result"),
        ),
        attack(
            Lies,
            "a result against its own schema",
            schema,
            "(i32.const 320)",
            Lie("does not match its own output schema"),
        ),
        attack(
            Lies,
            "a blob that can be none",
            "",
            &format!("(i32.store (i32.const 328) (i32.const 3)) {}", json("72", "4")),
            Lie("names a blob that cannot be one"),
        ),
        attack(Lies, "a number that is none", r#"(data (i32.const 1024) "1e99999")"#, &json("1024", "7"), Lie("")),
        attack(
            Lies,
            "an object with one key twice",
            r#"(data (i32.const 1024) "{\22a\22:1,\22a\22:2}")"#,
            &json("1024", "13"),
            Ends::Well(r#"{"a":2}"#),
        ),
    ]
    .into_iter()
    .map(|probe| probe.runs(Runs::Fresh))
    .chain([attack(Lies, "arguments larger than it takes", "", "(i32.const 320)", Refused("more than 4 MiB"))
        .called_with(format!("\"{}\"", "x".repeat(5 << 20)))
        .runs(Runs::Fresh)])
    .collect()
}

fn descriptions() -> Vec<Probe> {
    let refused = |says: &'static str| Unloaded("plugin_describe", says);
    let data = |at: usize, text: &str| format!("(data (i32.const {at}) \"{text}\")");
    vec![
        code_of(
            Lies,
            "a list of tools that is larger than its memory",
            r#"(func (export "cofferdam:tool/tool@0.1.0#list-tools") (result i32)
                 (i32.store (i32.const 196) (i32.const 0x04000000)) (i32.const 192))"#
                .to_owned(),
            refused("broke the plugin contract"),
        )
        .runs(Runs::Fresh),
        code_of(
            Lies,
            "a thousand tools",
            r#"(func (export "cofferdam:tool/tool@0.1.0#list-tools") (result i32)
                 (i32.store (i32.const 192) (i32.const 4096)) (i32.store (i32.const 196) (i32.const 600)) (i32.const 192))"#
                .to_owned(),
            refused("600 tools"),
        )
        .runs(Runs::Fresh),
        code_of(Lies, "a schema that is none", data(80, "{\\22type\\22:\\22objecx\\22}"), refused("input schema of its tool `run`"))
            .runs(Runs::Fresh),
        code_of(Lies, "a tool with a name of control characters", data(64, "\\1b[2"), refused("name that does not match"))
            .runs(Runs::Fresh),
        code_of(Lies, "a name with a path in it", data(0, "../../g/xx"), refused("id")),
        code_of(Lies, "a version that is none", data(16, "0.1.x"), refused("version")),
    ]
}

fn crashes() -> Vec<Probe> {
    vec![
        attack(Lies, "a crash", "", "unreachable", Trap("`unreachable` instruction")),
        attack(Lies, "a division by zero", "", "(i32.div_u (i32.const 1) (local.get $n))", Trap("divide by zero")),
        attack(
            Lies,
            "a read beyond its memory",
            "",
            "(i32.load (i32.const 0x7ffffff0))",
            Trap("out of bounds memory access"),
        ),
        attack(
            Lies,
            "a call of what is no function",
            "(table 4 funcref) (type $t (func (result i32)))",
            "(call_indirect (type $t) (i32.const 2))",
            Trap("uninitialized element"),
        ),
        code_of(
            Lies,
            "a crash after its answer",
            r#"(func (export "cabi_post_{ENTRY}") (param i32) unreachable)"#.to_owned(),
            Trap("unreachable"),
        )
        .at_once(),
        attack(
            Lies,
            "an end of its own",
            r#"(import "wasi:cli/exit@WASI" "exit" (func $exit (param i32)))"#,
            "(call $exit (i32.const 1)) unreachable",
            Trap("ended itself with status 1"),
        ),
        attack(
            Lies,
            "an end of its own that looks well",
            r#"(import "wasi:cli/exit@WASI" "exit" (func $exit (param i32)))"#,
            "(call $exit (i32.const 0)) unreachable",
            Trap("ended itself with status 0"),
        ),
    ]
}
