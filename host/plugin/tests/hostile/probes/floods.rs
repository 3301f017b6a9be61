//! What says too much, or what nobody should read: lines, prints, control characters, forged fields.

use crate::probe::{Ends, Family, Probe, attack};
use Ends::{Limit, Own, Well};
use Family::Floods;

const LOG: &str = r#"(import "cofferdam:host/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
const PROGRESS: &str =
    r#"(import "cofferdam:host/run-control@0.1.0" "progress" (func $progress (param i32 i32 i32 f32 i32 i32 i32)))"#;

/// Imports a standard stream and the function that writes to it.
fn stream(name: &str) -> String {
    format!(
        r#"(import "wasi:cli/{name}@WASI" "get-{name}" (func $stream (result i32)))
        (import "wasi:io/streams@WASI" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
        (import "wasi:io/streams@WASI" "[method]output-stream.write" (func $push (param i32 i32 i32 i32)))"#
    )
}

pub(crate) fn probes() -> Vec<Probe> {
    let ok = Well(r#"{"ok":true}"#);
    let print = "(local.set $n (call $stream))
        (loop $more (call $write (local.get $n) (i32.const 0) (i32.const 4096) (i32.const 8192)) (br $more)) unreachable";
    let times = |count: usize, what: &str| {
        format!(
            "(loop $more {what} (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {count}))))
             (i32.const 320)"
        )
    };
    let line = "(call $log (i32.const 4) (i32.const 0) (i32.const 128) (i32.const 0) (i32.const 0))";
    let progress = "(call $progress (i32.const 0) (i32.const 16) (i32.const 1) (f32.const nan) (i32.const 0) (i32.const 0) (i32.const 0))";
    vec![
        attack(Floods, "prints without end", &stream("stdout"), print, Limit("wall")),
        attack(Floods, "errors printed without end", &stream("stderr"), print, Limit("wall")),
        attack(
            Floods,
            "a print larger than it was allowed",
            &stream("stdout"),
            "(drop (memory.grow (i32.const 4)))
             (call $push (call $stream) (i32.const 0) (i32.const 200000) (i32.const 1024)) (i32.const 320)",
            Ends::Lie("more than"),
        ),
        attack(Floods, "fifty thousand lines", LOG, &times(50_000, line), ok),
        attack(Floods, "fifty thousand reports of progress", PROGRESS, &times(50_000, progress), ok),
        attack(
            Floods,
            "a line of ten megabytes",
            LOG,
            "(drop (memory.grow (i32.const 160)))
             (call $log (i32.const 2) (i32.const 65536) (i32.const 10000000) (i32.const 0) (i32.const 0)) (i32.const 320)",
            ok,
        ),
        attack(
            Floods,
            "a line that forges others",
            &format!(r#"{LOG} (data (i32.const 2048) "ok\0a2026-01-01T00:00:00Z ERROR cofferdam: FORGED\1b[2J")"#),
            "(call $log (i32.const 2) (i32.const 2048) (i32.const 54) (i32.const 0) (i32.const 0)) (i32.const 320)",
            ok,
        ),
        attack(
            Floods,
            "a field that forges others",
            &format!(
                r#"{LOG} (data (i32.const 2048) "a\0aplugin") (data (i32.const 2064) "x\0aERROR FORGED\1b]0;")
                (data (i32.const 2112) "\00\08\00\00\08\00\00\00\10\08\00\00\12\00\00\00")"#
            ),
            "(call $log (i32.const 2) (i32.const 0) (i32.const 4) (i32.const 2112) (i32.const 1)) (i32.const 320)",
            ok,
        ),
        attack(
            Floods,
            "an error that moves the cursor of a terminal",
            r#"(data (i32.const 2048) "bad\1b[2J\1b]0;title\07\0d\08\e2\80\aeend")"#,
            "(call $fail (i32.const 12) (i32.const 2048) (i32.const 26))",
            Own("other", "bad"),
        ),
        attack(
            Floods,
            "an error of ten megabytes",
            "",
            "(drop (memory.grow (i32.const 160)))
             (memory.fill (i32.const 65536) (i32.const 0x61) (i32.const 10000000))
             (call $fail (i32.const 12) (i32.const 65536) (i32.const 10000000))",
            Own("other", "aaaa"),
        ),
    ]
}
