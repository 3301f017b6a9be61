//! What never comes to an end, and what holds its time with the host's help.

use crate::probe::{Ends, Family, Probe, Runs, attack, code_of};
use Ends::{Limit, Unloaded};
use Family::Loops;

const POLL: &str = r#"
(import "wasi:clocks/monotonic-clock@WASI" "subscribe-duration" (func $subscribe (param i64) (result i32)))
(import "wasi:io/poll@WASI" "[method]pollable.block" (func $block (param i32)))
(import "wasi:io/poll@WASI" "poll" (func $poll (param i32 i32 i32)))"#;

pub(crate) fn probes() -> Vec<Probe> {
    let mut all = calls();
    all.extend(elsewhere());
    all
}

const AGAIN: &str = "(loop $again (br $again)) unreachable";

fn calls() -> Vec<Probe> {
    vec![
        attack(Loops, "a loop in the call", "", AGAIN, Limit("wall")),
        attack(
            Loops,
            "a loop of bulk operations",
            "",
            "(drop (memory.grow (i32.const 128)))
             (loop $again (memory.fill (i32.const 65536) (i32.const 1) (i32.const 8388608)) (br $again)) unreachable",
            Limit("wall"),
        ),
        attack(
            Loops,
            "a sleep of an hour",
            POLL,
            "(call $block (call $subscribe (i64.const 3600000000000))) (i32.const 320)",
            Limit("wall"),
        ),
        attack(
            Loops,
            "a poll of a clock that is centuries away",
            POLL,
            "(i32.store (i32.const 2048) (call $subscribe (i64.const -1)))
             (call $poll (i32.const 2048) (i32.const 1) (i32.const 1024)) (i32.const 320)",
            Limit("wall"),
        ),
        attack(
            Loops,
            "a loop of short sleeps",
            r#"(import "wasi:clocks/monotonic-clock@WASI" "subscribe-duration" (func $subscribe (param i64) (result i32)))
            (import "wasi:io/poll@WASI" "[method]pollable.block" (func $block (param i32)))
            (import "wasi:io/poll@WASI" "[resource-drop]pollable" (func $drop (param i32)))"#,
            "(loop $again (local.set $n (call $subscribe (i64.const 1000000))) (call $block (local.get $n)) (call $drop (local.get $n)) (br $again)) unreachable",
            Limit("wall"),
        ),
        attack(
            Loops,
            "a loop of calls of the host",
            r#"(import "wasi:clocks/monotonic-clock@WASI" "now" (func $now (result i64)))"#,
            "(loop $again (drop (call $now)) (br $again)) unreachable",
            Limit("wall"),
        ),
        attack(
            Loops,
            "a loop that catches nothing and calls through a table",
            "(table 2 funcref) (elem (i32.const 0) $one $two) (type $t (func))
             (func $one) (func $two)",
            "(loop $again (call_indirect (type $t) (i32.and (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1))) (br $again)) unreachable",
            Limit("wall"),
        ),
    ]
}

/// Everywhere but in the call.
fn elsewhere() -> Vec<Probe> {
    let described = Unloaded("plugin_describe", "ran longer than its 200ms");
    vec![
        code_of(Loops, "a loop in the start function", format!("(func $start {AGAIN}) (start $start)"), described),
        code_of(
            Loops,
            "a loop where it says who it is",
            format!(r#"(func (export "cofferdam:plugin/lifecycle@0.1.0#describe") (result i32) {AGAIN})"#),
            described,
        ),
        code_of(
            Loops,
            "a loop where it lists its tools",
            format!(r#"(func (export "cofferdam:tool/tool@0.1.0#list-tools") (result i32) {AGAIN})"#),
            described,
        )
        .runs(Runs::Fresh),
        code_of(
            Loops,
            "a loop after its answer",
            format!(r#"(func (export "cabi_post_{{ENTRY}}") (param i32) {AGAIN})"#),
            Limit("wall"),
        )
        .at_once(),
        code_of(
            Loops,
            "a loop where memory is asked for",
            format!(r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {AGAIN})"#),
            Limit("wall"),
        )
        .at_once(),
    ]
}
