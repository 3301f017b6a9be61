//! What looks around, what takes more than its quota, and what names things as it should not.

use crate::probe::{Ends, Family, Probe, Runs, attack};
use Ends::{Own, Well};
use Family::{Names, Quotas, Secrets, Surroundings};

pub(crate) fn probes() -> Vec<Probe> {
    let mut all = surroundings();
    all.extend(quotas());
    all.extend(names());
    all.extend(secrets());
    all
}

/// Fails with `seen` when the word at this address is not zero.
fn seen_at(call: &str, at: u32) -> String {
    format!(
        "{call} (if (i32.load8_u (i32.const {at})) (then (return (call $fail (i32.const 12) (i32.const 2000) (i32.const 4)))))
         (i32.const 320)"
    )
}

fn surroundings() -> Vec<Probe> {
    let word = r#"(data (i32.const 2000) "seen")"#;
    let looks = |name, interface: &str, function: &str, at: u32| {
        let import = format!(r#"(import "{interface}@WASI" "{function}" (func $look (param i32))) {word}"#);
        attack(Surroundings, name, &import, &seen_at("(call $look (i32.const 1024))", at), Well(r#"{"ok":true}"#))
    };
    vec![
        looks("variables of the environment", "wasi:cli/environment", "get-environment", 1028),
        looks("arguments of the process", "wasi:cli/environment", "get-arguments", 1028),
        looks("the working directory", "wasi:cli/environment", "initial-cwd", 1024),
        looks("directories", "wasi:filesystem/preopens", "get-directories", 1028),
        looks("a terminal to read from", "wasi:cli/terminal-stdin", "get-terminal-stdin", 1024),
        looks("a terminal to write to", "wasi:cli/terminal-stdout", "get-terminal-stdout", 1024),
        attack(
            Surroundings,
            "the standard input of the host",
            r#"(import "wasi:cli/stdin@WASI" "get-stdin" (func $stdin (result i32)))
            (import "wasi:io/streams@WASI" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
            (data (i32.const 2000) "seen")"#,
            // The answer is an error (closed), or a list of nothing.
            "(call $read (call $stdin) (i64.const 100) (i32.const 1024))
             (if (i32.and (i32.eqz (i32.load8_u (i32.const 1024))) (i32.ne (i32.const 0) (i32.load (i32.const 1032))))
               (then (return (call $fail (i32.const 12) (i32.const 2000) (i32.const 4)))))
             (i32.const 320)",
            Well(r#"{"ok":true}"#),
        ),
    ]
}

const KV: &str = r#"
(import "cofferdam:host/kv@0.1.0" "get-many" (func $get (param i32 i32 i32)))
(import "cofferdam:host/kv@0.1.0" "commit" (func $commit (param i32 i32 i32)))
(import "cofferdam:host/kv@0.1.0" "scan" (func $scan (param i32 i32 i32 i32 i32 i32 i32)))
;; The letters of a number, eight of them.
(func $letters (param $at i32) (param $number i32) (local $digit i32)
  (loop $more
    (i32.store8 (i32.add (local.get $at) (local.get $digit))
      (i32.add (i32.const 97) (i32.and (local.get $number) (i32.const 15))))
    (local.set $number (i32.shr_u (local.get $number) (i32.const 4)))
    (br_if $more (i32.lt_u (local.tee $digit (i32.add (local.get $digit) (i32.const 1))) (i32.const 8)))))
;; A write: {key at, bytes; value: some, at, bytes; ttl: none; when: none}, 56 bytes long.
(func $write (param $record i32) (param $key i32) (param $size i32) (param $value i32) (param $bytes i32)
  (memory.fill (local.get $record) (i32.const 0) (i32.const 56))
  (i32.store (local.get $record) (local.get $key))
  (i32.store offset=4 (local.get $record) (local.get $size))
  (i32.store8 offset=8 (local.get $record) (i32.const 1))
  (i32.store offset=12 (local.get $record) (local.get $value))
  (i32.store offset=16 (local.get $record) (local.get $bytes)))"#;

const WRITER: &str = r#"
(import "cofferdam:host/blobs@0.1.0" "[constructor]writer" (func $writer (param i32 i32 i32) (result i32)))
(import "cofferdam:host/blobs@0.1.0" "[method]writer.append" (func $append (param i32 i32 i32 i32)))
(import "cofferdam:host/blobs@0.1.0" "[static]writer.finish" (func $finish (param i32 i32)))"#;

const KEPT: &str = r#"{ "kv": { "scope": "project" } }"#;

fn quotas() -> Vec<Probe> {
    // The host's error is given back as its own.
    let answer = "(select (i32.const 1024) (i32.const 320) (i32.load8_u (i32.const 1024)))";
    let kv = |name, does: &str, says| {
        attack(Quotas, name, KV, &format!("{does} {answer}"), Own("too-large", says)).granted(KEPT)
    };
    vec![
        kv(
            "a value of two megabytes",
            "(drop (memory.grow (i32.const 40)))
             (call $write (i32.const 2048) (i32.const 0) (i32.const 4) (i32.const 65536) (i32.const 2000000))
             (call $commit (i32.const 2048) (i32.const 1) (i32.const 1024))",
            "more than 1048576 bytes",
        ),
        kv("a thousand keys at once", "(call $get (i32.const 2048) (i32.const 1000) (i32.const 1024))", "at most 256 keys"),
        kv(
            "twenty thousand values",
            "(drop (memory.grow (i32.const 2)))
             (loop $more
               (local.set $m (i32.const 0))
               (loop $next
                 (local.set $p (i32.add (i32.const 65536) (i32.shl (local.get $m) (i32.const 3))))
                 (call $letters (local.get $p) (i32.add (local.get $n) (local.get $m)))
                 (call $write (i32.add (i32.const 4096) (i32.mul (local.get $m) (i32.const 56))) (local.get $p) (i32.const 8) (i32.const 0) (i32.const 4))
                 (br_if $next (i32.lt_u (local.tee $m (i32.add (local.get $m) (i32.const 1))) (i32.const 200))))
               (call $commit (i32.const 4096) (i32.const 200) (i32.const 1024))
               (if (i32.load8_u (i32.const 1024)) (then (return (i32.const 1024))))
               (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 200))) (i32.const 20000))))",
            "there is no room",
        ),
        attack(
            Quotas,
            "a blob of a hundred megabytes",
            WRITER,
            &format!(
                "(drop (memory.grow (i32.const 64)))
                 (local.set $m (call $writer (i32.const 0) (i32.const 0) (i32.const 0)))
                 (loop $more
                   (call $append (local.get $m) (i32.const 65536) (i32.const 4000000) (i32.const 1024))
                   (br_if $more (i32.and (i32.eqz (i32.load8_u (i32.const 1024)))
                     (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 25)))))
                 {answer}"
            ),
            Own("too-large", "may be written in one call"),
        ),
        attack(
            Quotas,
            "a hundred blobs that are begun",
            WRITER,
            &format!(
                "(loop $more
                   (local.set $m (call $writer (i32.const 0) (i32.const 0) (i32.const 0)))
                   (call $append (local.get $m) (i32.const 0) (i32.const 4) (i32.const 1024))
                   (br_if $more (i32.and (i32.eqz (i32.load8_u (i32.const 1024)))
                     (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100)))))
                 {answer}"
            ),
            Own("invalid-input", "one of more than 16"),
        ),
        attack(
            Quotas,
            "a blob that is written after it was finished",
            WRITER,
            "(local.set $m (call $writer (i32.const 0) (i32.const 0) (i32.const 0)))
             (call $finish (local.get $m) (i32.const 1024))
             (call $append (local.get $m) (i32.const 0) (i32.const 4) (i32.const 1024)) (i32.const 320)",
            Ends::Lie("unknown handle index"),
        ),
    ]
}

/// Names that are paths, and names that are none.
fn names() -> Vec<Probe> {
    let answer = "(select (i32.const 1024) (i32.const 320) (i32.load8_u (i32.const 1024)))";
    let read = r#"(import "cofferdam:host/blobs@0.1.0" "read" (func $read (param i32 i32 i64 i32 i32)))"#;
    let invoke = r#"(import "cofferdam:host/tools@0.1.0" "invoke" (func $invoke (param i32 i32 i32 i32 i32)))"#;
    let text = "(i32.add (local.get $args) (i32.const 1)) (i32.sub (local.get $len) (i32.const 2))";
    let blob = |name, id: &str| {
        let does = format!("(call $read {text} (i64.const 0) (i32.const 100) (i32.const 1024)) {answer}");
        attack(Names, name, read, &does, Own("invalid-input", "64 hexadecimal digits")).called_with(format!("\"{id}\""))
    };
    let key = |name, key: &str, ends| {
        let does = format!(
            "(call $write (i32.const 2048) {text} (i32.const 0) (i32.const 4))
             (call $commit (i32.const 2048) (i32.const 1) (i32.const 1024)) {answer}"
        );
        attack(Names, name, KV, &does, ends).called_with(format!("\"{key}\"")).granted(KEPT)
    };
    let tool = |name, tool: &str, kind, says| {
        let does = format!("(call $invoke {text} (i32.const 288) (i32.const 11) (i32.const 1024)) {answer}");
        attack(Names, name, invoke, &does, Own(kind, says)).called_with(format!("\"{tool}\"")).runs(Runs::Fresh)
    };
    vec![
        blob("a blob by a path upwards", "../../secret.txt"),
        blob("a blob by an absolute path", "{ROOT}/secret.txt"),
        blob("a blob by almost a digest", &"../".repeat(21)),
        key("a key that is a path upwards", "../../../secret.txt", Well(r#"{"ok":true}"#)),
        key("a key that is an absolute path", "{ROOT}/secret.txt", Well(r#"{"ok":true}"#)),
        key("a key of a thousand bytes", &"k".repeat(1000), Own("invalid-input", "1 to 512 bytes")),
        key("a key of nothing", "", Own("invalid-input", "1 to 512 bytes")),
        tool("a tool by a path", "../write", "invalid-input", ""),
        tool("a tool that is not granted", "write", "denied", "no grant allows the tool `write`"),
    ]
}

fn secrets() -> Vec<Probe> {
    let answer = "(select (i32.const 1024) (i32.const 320) (i32.load8_u (i32.const 1024)))";
    let import = |interface: &str, function: &str| {
        format!(
            r#"(import "cofferdam:host/{interface}@0.1.0" "{function}" (func $ask (param i32 i32 i32)))
            (data (i32.const 2048) "KEY")"#
        )
    };
    let ask = "(call $ask (i32.const 2048) (i32.const 3) (i32.const 1024))";
    let named = r#"{ "secrets": ["KEY"] }"#;
    let revealed = r#"{ "secrets": [{ "name": "KEY", "reveal": true }] }"#;
    let log = r#"(import "cofferdam:host/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
    vec![
        attack(Secrets, "a secret to read", &import("secrets-reveal", "reveal"), &format!("{ask}{answer}"), Own("denied", "no grant allows this secret")),
        attack(Secrets, "a secret to read where it may be used", &import("secrets-reveal", "reveal"), &format!("{ask}{answer}"), Own("denied", "no grant"))
            .granted(named),
        attack(Secrets, "what stands for a secret", &import("secrets", "placeholder"), &format!("{ask}{answer}"), Own("denied", "no grant")),
        attack(
            Secrets,
            "whether there is a secret",
            r#"(import "cofferdam:host/secrets@0.1.0" "exists" (func $exists (param i32 i32) (result i32))) (data (i32.const 2048) "KEY")"#,
            "(if (call $exists (i32.const 2048) (i32.const 3)) (then unreachable)) (i32.const 320)",
            Well(r#"{"ok":true}"#),
        ),
        attack(
            Secrets,
            "a revealed secret in its own error",
            &import("secrets-reveal", "reveal"),
            &format!("{ask} (call $fail (i32.const 12) (i32.load (i32.const 1032)) (i32.load (i32.const 1036)))"),
            Own("other", "[redacted]"),
        )
        .granted(revealed)
        .runs(Runs::Fresh),
        attack(
            Secrets,
            "a revealed secret in a line",
            &format!("{log}{}", import("secrets-reveal", "reveal")),
            &format!("{ask} (call $log (i32.const 4) (i32.load (i32.const 1032)) (i32.load (i32.const 1036)) (i32.const 0) (i32.const 0)) (i32.const 320)"),
            Well(r#"{"ok":true}"#),
        )
        .granted(revealed)
        .runs(Runs::Fresh),
        attack(
            Secrets,
            "a revealed secret at the end of a megabyte",
            &format!("{log}{}", import("secrets-reveal", "reveal")),
            &format!(
                "{ask} (drop (memory.grow (i32.const 20))) (memory.fill (i32.const 200000) (i32.const 0x61) (i32.const 4085))
                 (memory.copy (i32.const 204085) (i32.load (i32.const 1032)) (i32.load (i32.const 1036)))
                 (call $log (i32.const 4) (i32.const 200000) (i32.const 5000) (i32.const 0) (i32.const 0)) (i32.const 320)"
            ),
            Well(r#"{"ok":true}"#),
        )
        .granted(revealed)
        .runs(Runs::Fresh),
    ]
}
