;; Creates the file that its argument names, below the last directory that it sees.
(import "wasi:filesystem/preopens@WASI" "get-directories" (func $directories (param i32)))
(import "wasi:filesystem/types@WASI" "[method]descriptor.open-at" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
(data (i32.const 2048) "not opened")
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (call $directories (i32.const 1024))
  ;; the handle of the last of the triples {handle, name}
  (call $open
    (i32.load (i32.add (i32.load (i32.const 1024)) (i32.mul (i32.const 12) (i32.sub (i32.load (i32.const 1028)) (i32.const 1)))))
    (i32.const 1)
    (i32.add (local.get $args) (i32.const 1)) (i32.sub (local.get $len) (i32.const 2))
    (i32.const 1) (i32.const 3) (i32.const 1040))
  (if (i32.load8_u (i32.const 1040)) (then
    ;; err(plugin-error {kind: denied if not-permitted or read-only, else not-found, code: none, message, ..none})
    (i32.store (i32.const 512) (i32.const 1))
    (i32.store (i32.const 520) (select (i32.const 3) (i32.const 1)
      (i32.or (i32.eq (i32.load8_u (i32.const 1044)) (i32.const 31)) (i32.eq (i32.load8_u (i32.const 1044)) (i32.const 33)))))
    (i32.store (i32.const 536) (i32.const 2048))
    (i32.store (i32.const 540) (i32.const 10))
    (return (i32.const 512))))
  (i32.const 320))
