//! What reaches for files: upwards, by links, over what may only be read. The stage looks whether anything has changed.

use crate::probe::{Ends, Family, Probe, attack};
use Ends::{Own, Well};
use Family::Files;

/// A directory that may be read, and one that may be written. What stays up gets them as well.
const BOTH: &str = r#"{ "fs": { "also": [
    { "from": "{ROOT}/step", "at": "/in", "read": true },
    { "from": "{ROOT}/work", "at": "/work", "read": true, "write": true }] } }"#;
const READ: &str = r#"{ "fs": { "also": [{ "from": "{ROOT}/step", "at": "/in", "read": true }] } }"#;

const DESCRIPTOR: &str = r#"
(import "wasi:filesystem/preopens@WASI" "get-directories" (func $directories (param i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.open-at" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.symlink-at" (func $symlink (param i32 i32 i32 i32 i32 i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.link-at" (func $link (param i32 i32 i32 i32 i32 i32 i32 i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.rename-at" (func $rename (param i32 i32 i32 i32 i32 i32 i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.unlink-file-at" (func $unlink (param i32 i32 i32 i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.create-directory-at" (func $mkdir (param i32 i32 i32 i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.remove-directory-at" (func $rmdir (param i32 i32 i32 i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.set-size" (func $resize (param i32 i64 i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.readlink-at" (func $readlink (param i32 i32 i32 i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.set-times-at" (func $touch (param i32 i32 i32 i32 i32 i64 i32 i32 i64 i32 i32)))
(data (i32.const 2000) "not opened")
(data (i32.const 2048) "plain.txt") (data (i32.const 2064) "../secret.txt") (data (i32.const 2080) "link")
(data (i32.const 2096) "plain.txt/") (data (i32.const 2112) "new.txt") (data (i32.const 2128) "plain.txt\00.md")
(data (i32.const 2160) "../stolen.txt") (data (i32.const 2176) "..") (data (i32.const 2192) "new.txt/")
;; The directory of this number.
(func $dir (param $number i32) (result i32)
  (call $directories (i32.const 1024))
  (i32.load (i32.add (i32.load (i32.const 1024)) (i32.mul (i32.const 12) (local.get $number)))))
;; The answer to an error of the system: denied where it was not permitted, else not found.
(func $said (param $code i32) (result i32)
  (call $fail
    (select (i32.const 3) (i32.const 1)
      (i32.or (i32.eqz (local.get $code)) (i32.or (i32.eq (local.get $code) (i32.const 31)) (i32.eq (local.get $code) (i32.const 33)))))
    (i32.const 2000) (i32.const 10)))"#;

/// What gives a handle or an error: the error stands after four bytes.
const HANDLE: &str =
    "(if (i32.load8_u (i32.const 1040)) (then (return (call $said (i32.load8_u (i32.const 1044)))))) (i32.const 320)";
/// What gives nothing or an error.
const NOTHING: &str =
    "(if (i32.load8_u (i32.const 1040)) (then (return (call $said (i32.load8_u (i32.const 1041)))))) (i32.const 320)";

fn probe(name: &'static str, does: &str, ends: Ends) -> Probe {
    attack(Files, name, DESCRIPTOR, does, ends).granted(BOTH)
}

pub(crate) fn probes() -> Vec<Probe> {
    let mut all = reading();
    all.extend(writing());
    all.extend(leaving());
    all
}

fn reading() -> Vec<Probe> {
    let denied = Own("denied", "not opened");
    let open = |name, path: &str, ends| {
        let does = format!(
            "(call $open (call $dir (i32.const 0)) (i32.const 1) (i32.add (local.get $args) (i32.const 1))
               (i32.sub (local.get $len) (i32.const 2)) (i32.const 0) (i32.const 1) (i32.const 1040)) {HANDLE}"
        );
        attack(Files, name, DESCRIPTOR, &does, ends).called_with(format!("\"{path}\"")).granted(READ)
    };
    vec![
        open("a file beside its directory", "../secret.txt", denied),
        open("an absolute path", "/etc/passwd", denied),
        open("the absolute path of its own file", "{ROOT}/step/plain.txt", denied),
        open("a way out and in again", "../step/plain.txt", denied),
        open("a link that leads out", "relative", denied),
        open("a link that leads out by an absolute path", "absolute", denied),
        open("a link to the directory above", "up/secret.txt", denied),
        open("a link that leads out and in again", "up/step/plain.txt", denied),
        open("a link to itself", "loop", Own("not-found", "")),
        open("the descriptors of the host", "/proc/self/fd/0", denied),
        open("a path of ten thousand steps", &"a/".repeat(10_000), Own("not-found", "")),
        open("a link that stays inside", "inside", Well(r#"{"ok":true}"#)),
        probe(
            "a path with a zero in it",
            &format!(
                "(call $open (call $dir (i32.const 0)) (i32.const 1) (i32.const 2128) (i32.const 13) (i32.const 0) (i32.const 1) (i32.const 1040)) {HANDLE}"
            ),
            Own("not-found", "not opened"),
        ),
        probe(
            "where a link leads that it may not follow",
            &format!(
                "(call $readlink (call $dir (i32.const 0)) (i32.const 2176) (i32.const 2) (i32.const 1040)) {HANDLE}"
            ),
            denied,
        ),
    ]
}

/// In the directory that may only be read.
fn writing() -> Vec<Probe> {
    let denied = Own("denied", "not opened");
    let open = |name, (at, size): (u32, u32), open_flags: u32, flags: u32| {
        probe(
            name,
            &format!(
                "(call $open (call $dir (i32.const 0)) (i32.const 1) (i32.const {at}) (i32.const {size}) (i32.const {open_flags}) (i32.const {flags}) (i32.const 1040)) {HANDLE}"
            ),
            denied,
        )
    };
    let other = |name, call: &str| probe(name, &format!("{call} {NOTHING}"), denied);
    vec![
        open("a new file where it may only read", (2112, 7), 1, 3),
        open("an old file cut to nothing", (2048, 9), 8, 1),
        open("an old file to write to", (2048, 9), 0, 2),
        open("a new file by a path that ends in a slash", (2192, 8), 1, 3),
        open("an old file by a path that ends in a slash", (2096, 10), 8, 3),
        other("a file taken away", "(call $unlink (call $dir (i32.const 0)) (i32.const 2048) (i32.const 9) (i32.const 1040))"),
        other("a new directory", "(call $mkdir (call $dir (i32.const 0)) (i32.const 2112) (i32.const 7) (i32.const 1040))"),
        other("a link where it may only read", "(call $symlink (call $dir (i32.const 0)) (i32.const 2048) (i32.const 9) (i32.const 2112) (i32.const 7) (i32.const 1040))"),
        other("another time of a file", "(call $touch (call $dir (i32.const 0)) (i32.const 0) (i32.const 2048) (i32.const 9) (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 1040))"),
        other("a file renamed", "(call $rename (call $dir (i32.const 0)) (i32.const 2048) (i32.const 9) (call $dir (i32.const 0)) (i32.const 2112) (i32.const 7) (i32.const 1040))"),
        other("a file renamed out of what it may only read", "(call $rename (call $dir (i32.const 0)) (i32.const 2048) (i32.const 9) (call $dir (i32.const 1)) (i32.const 2112) (i32.const 7) (i32.const 1040))"),
        other("a file renamed over what it may only read", "(call $rename (call $dir (i32.const 1)) (i32.const 2048) (i32.const 9) (call $dir (i32.const 0)) (i32.const 2048) (i32.const 9) (i32.const 1040))"),
        other("a hard link out of what it may only read", "(call $link (call $dir (i32.const 0)) (i32.const 0) (i32.const 2048) (i32.const 9) (call $dir (i32.const 1)) (i32.const 2112) (i32.const 7) (i32.const 1040))"),
        other("a hard link into what it may only read", "(call $link (call $dir (i32.const 1)) (i32.const 0) (i32.const 2048) (i32.const 9) (call $dir (i32.const 0)) (i32.const 2112) (i32.const 7) (i32.const 1040))"),
        other(
            "another size of a file that it may only read",
            "(call $open (call $dir (i32.const 0)) (i32.const 1) (i32.const 2048) (i32.const 9) (i32.const 0) (i32.const 1) (i32.const 1040))
             (local.set $n (i32.load (i32.const 1044)))
             (call $resize (local.get $n) (i64.const 0) (i32.const 1040))",
        ),
    ]
}

/// Out of the directory that may be written.
fn leaving() -> Vec<Probe> {
    let denied = Own("denied", "not opened");
    let other = |name, call: &str| probe(name, &format!("{call} {NOTHING}"), denied);
    vec![
        probe(
            "a link made on the way, and followed",
            &format!(
                "(call $symlink (call $dir (i32.const 1)) (i32.const 2064) (i32.const 13) (i32.const 2080) (i32.const 4) (i32.const 1040))
                 (call $open (call $dir (i32.const 1)) (i32.const 1) (i32.const 2080) (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 1040)) {HANDLE}"
            ),
            denied,
        ),
        probe(
            "a link made on the way, and written through",
            &format!(
                "(call $symlink (call $dir (i32.const 1)) (i32.const 2160) (i32.const 13) (i32.const 2080) (i32.const 4) (i32.const 1040))
                 (call $open (call $dir (i32.const 1)) (i32.const 1) (i32.const 2080) (i32.const 4) (i32.const 1) (i32.const 3) (i32.const 1040)) {HANDLE}"
            ),
            denied,
        ),
        other("a hard link to a file outside", "(call $link (call $dir (i32.const 1)) (i32.const 0) (i32.const 2064) (i32.const 13) (call $dir (i32.const 1)) (i32.const 2112) (i32.const 7) (i32.const 1040))"),
        other("a file renamed to the outside", "(call $rename (call $dir (i32.const 1)) (i32.const 2048) (i32.const 9) (call $dir (i32.const 1)) (i32.const 2160) (i32.const 13) (i32.const 1040))"),
        other("a file outside renamed to the inside", "(call $rename (call $dir (i32.const 1)) (i32.const 2064) (i32.const 13) (call $dir (i32.const 1)) (i32.const 2112) (i32.const 7) (i32.const 1040))"),
        other("a file outside taken away", "(call $unlink (call $dir (i32.const 1)) (i32.const 2064) (i32.const 13) (i32.const 1040))"),
        other("a directory made outside", "(call $mkdir (call $dir (i32.const 1)) (i32.const 2160) (i32.const 13) (i32.const 1040))"),
        other("the directory above taken away", "(call $rmdir (call $dir (i32.const 1)) (i32.const 2176) (i32.const 2) (i32.const 1040))"),
    ]
}
