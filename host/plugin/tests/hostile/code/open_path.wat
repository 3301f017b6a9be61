;; Opens the path that its argument names, below the first directory that it sees, following links, and says how
;; that went: the error of the system as the code of an error of its own.
(import "wasi:filesystem/preopens@WASI" "get-directories" (func $directories (param i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.open-at" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
(data (i32.const 2048) "not opened")
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (call $directories (i32.const 1024))
  ;; no directories at all: denied
  (if (i32.eqz (i32.load (i32.const 1028))) (then (return (call $refuse (i32.const 3)))))
  (call $open (i32.load (i32.load (i32.const 1024))) (i32.const 1)
    (i32.add (local.get $args) (i32.const 1)) (i32.sub (local.get $len) (i32.const 2))
    (i32.const 0) (i32.const 1) (i32.const 1040))
  (if (i32.load8_u (i32.const 1040)) (then
    ;; not-permitted is denied, anything else is not-found
    (return (call $refuse (select (i32.const 3) (i32.const 1) (i32.eq (i32.load8_u (i32.const 1044)) (i32.const 31)))))))
  (i32.const 320))
(func $refuse (param $kind i32) (result i32)
  ;; err(plugin-error {kind, code: none, message, ..none})
  (i32.store (i32.const 512) (i32.const 1))
  (i32.store (i32.const 520) (local.get $kind))
  (i32.store (i32.const 536) (i32.const 2048))
  (i32.store (i32.const 540) (i32.const 10))
  (i32.const 512))
