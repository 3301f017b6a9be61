//! What takes more than it may have: memory, tables, instances, handles, stack.

use crate::probe::{Ends, Family, Probe, attack, code_of, component};
use Ends::{Lie, Limit, Trap, Unloaded, Well};
use Family::{Growth, Recursion};
use std::fmt::Write as _;

const STDOUT: &str = r#"(import "wasi:cli/stdout@WASI" "get-stdout" (func $stdout (result i32)))"#;

pub(crate) fn probes() -> Vec<Probe> {
    let mut all = memory();
    all.extend(tables_and_instances());
    all.extend(handles());
    all.extend(recursion());
    all
}

fn memory() -> Vec<Probe> {
    vec![
        attack(
            Growth,
            "memory page by page",
            "",
            "(loop $more
               (local.set $n (memory.grow (i32.const 1)))
               (if (i32.eq (local.get $n) (i32.const -1)) (then unreachable))
               (i32.store (i32.mul (local.get $n) (i32.const 65536)) (i32.const 1))
               (br $more))
             unreachable",
            Limit("memory"),
        ),
        attack(
            Growth,
            "all of its memory at once",
            "",
            "(if (i32.eq (memory.grow (i32.const 65000)) (i32.const -1)) (then unreachable)) (i32.const 60000)",
            Limit("memory"),
        ),
        attack(
            Growth,
            "growth that is refused a thousand times, and no crash",
            "",
            "(loop $more
               (drop (memory.grow (i32.const 65000)))
               (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000))))
             (i32.const 320)",
            Well(r#"{"ok":true}"#),
        ),
        code_of(
            Growth,
            "more memory than it may have, declared",
            r#"(memory (export "memory") 16000)"#.to_owned(),
            Unloaded("plugin_describe", "of memory"),
        ),
        attack(
            Growth,
            "an allocator that crashes",
            r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#,
            "(i32.const 320)",
            Trap("unreachable"),
        )
        .at_once(),
        attack(
            Growth,
            "an allocator that points beyond its memory",
            r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const -16))"#,
            "(i32.const 320)",
            Lie("realloc return"),
        )
        .at_once(),
    ]
}

fn tables_and_instances() -> Vec<Probe> {
    vec![
        attack(
            Growth,
            "a table entry by entry",
            "(table $table 1 funcref)",
            "(loop $more
               (if (i32.eq (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable))
               (br $more))
             unreachable",
            Limit("table_elements"),
        ),
        attack(
            Growth,
            "two tables that are too large together",
            "(table $a 1 funcref) (table $b 1 funcref)",
            "(drop (table.grow $a (ref.null func) (i32.const 15000)))
             (if (i32.eq (table.grow $b (ref.null func) (i32.const 15000)) (i32.const -1)) (then unreachable))
             (i32.const 60000)",
            Limit("table_elements"),
        ),
        code_of(
            Growth,
            "a larger table than it may have, declared",
            "(table 100000 funcref)".to_owned(),
            Unloaded("plugin_", "20000"),
        ),
        component(Growth, "forty instances of modules", || crowd("(core module $m)", 40), Unloaded("plugin_", "")),
        component(Growth, "forty memories", || crowd("(core module $m (memory 1))", 40), Unloaded("plugin_", "")),
        component(Growth, "forty tables", || crowd("(core module $m (table 1 funcref))", 40), Unloaded("plugin_", "")),
    ]
}

/// A component that has the exports of a tool by name, and so many instances of a module.
fn crowd(module: &str, count: usize) -> Vec<u8> {
    let mut text = format!("(component {module}");
    for _ in 0..count {
        write!(text, "(core instance (instantiate $m))").unwrap();
    }
    text.push_str(r#"(instance $i) (export "cofferdam:plugin/lifecycle@0.1.0" (instance $i))"#);
    text.push_str(r#"(export "cofferdam:tool/tool@0.1.0" (instance $i)))"#);
    wat::parse_str(text).unwrap()
}

fn handles() -> Vec<Probe> {
    vec![
        attack(
            Growth,
            "handles of a stream",
            STDOUT,
            "(loop $more (drop (call $stdout)) (br $more)) unreachable",
            Limit("handles"),
        ),
        attack(
            Growth,
            "handles of a clock",
            r#"(import "wasi:clocks/monotonic-clock@WASI" "subscribe-duration" (func $subscribe (param i64) (result i32)))"#,
            "(loop $more (drop (call $subscribe (i64.const 1))) (br $more)) unreachable",
            Limit("handles"),
        ),
        attack(
            Growth,
            "handles of blobs",
            r#"(import "cofferdam:host/blobs@0.1.0" "[constructor]writer" (func $writer (param i32 i32 i32) (result i32)))"#,
            "(loop $more (drop (call $writer (i32.const 0) (i32.const 0) (i32.const 0))) (br $more)) unreachable",
            Limit("handles"),
        ),
        attack(
            Growth,
            "a million handles that are let go",
            r#"(import "wasi:cli/stdout@WASI" "get-stdout" (func $stdout (result i32)))
            (import "wasi:io/streams@WASI" "[resource-drop]output-stream" (func $drop (param i32)))"#,
            "(loop $more (call $drop (call $stdout)) (br $more)) unreachable",
            Limit("wall"),
        ),
        attack(
            Growth,
            "a handle that it does not have",
            r#"(import "wasi:io/streams@WASI" "[resource-drop]output-stream" (func $drop (param i32)))"#,
            "(call $drop (i32.const 77)) (i32.const 320)",
            Lie("unknown handle index 77"),
        ),
        attack(
            Growth,
            "a handle that was let go",
            r#"(import "wasi:cli/stdout@WASI" "get-stdout" (func $stdout (result i32)))
            (import "wasi:io/streams@WASI" "[resource-drop]output-stream" (func $drop (param i32)))"#,
            "(local.set $n (call $stdout)) (call $drop (local.get $n)) (call $drop (local.get $n)) (i32.const 320)",
            Lie("unknown handle index"),
        ),
        attack(
            Growth,
            "a handle of another kind",
            r#"(import "wasi:cli/stdout@WASI" "get-stdout" (func $stdout (result i32)))
            (import "wasi:io/poll@WASI" "[method]pollable.block" (func $block (param i32)))"#,
            "(call $block (call $stdout)) (i32.const 320)",
            Lie("handle"),
        ),
        attack(
            Growth,
            "a gigabyte of random bytes",
            r#"(import "wasi:random/random@WASI" "get-random-bytes" (func $random (param i64 i32)))"#,
            "(call $random (i64.const 1073741824) (i32.const 1024)) (i32.const 320)",
            Lie("exceeds limit"),
        ),
    ]
}

fn recursion() -> Vec<Probe> {
    let deeper = "(func $deeper (param i32) (result i32)
        (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))";
    let mutual = "(table 2 funcref) (elem (i32.const 0) $ping $pong) (type $t (func (param i32) (result i32)))
        (func $ping (param i32) (result i32) (i32.add (i32.const 1) (call_indirect (type $t) (local.get 0) (i32.const 1))))
        (func $pong (param i32) (result i32) (i32.add (i32.const 1) (call_indirect (type $t) (local.get 0) (i32.const 0))))";
    let wide = "(func $wide (param v128) (result v128) (local v128 v128 v128 v128)
        (i64x2.add (call $wide (i64x2.add (local.get 0) (local.get 1))) (local.get 0)))";
    vec![
        attack(
            Recursion,
            "a function that calls itself",
            deeper,
            "(drop (call $deeper (i32.const 0))) unreachable",
            Limit("stack"),
        ),
        attack(
            Recursion,
            "two functions that call each other",
            mutual,
            "(drop (call $ping (i32.const 0))) unreachable",
            Limit("stack"),
        ),
        attack(
            Recursion,
            "a function with large frames",
            wide,
            "(drop (call $wide (v128.const i64x2 1 2))) unreachable",
            Limit("stack"),
        ),
        code_of(
            Recursion,
            "a start function that calls itself",
            "(func $start (call $start)) (start $start)".to_owned(),
            Unloaded("plugin_describe", "of stack"),
        ),
    ]
}
